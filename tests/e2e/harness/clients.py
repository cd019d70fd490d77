"""MQTT clients: paho-mqtt in 3.1.1 and 5, and mosquitto_sub."""
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from .process import patience, wait_until

V4, V5 = paho.MQTTv311, paho.MQTTv5
TAKEN_OVER = 0x8E
OWN_SOURCE = b'"source":"io-wis2dev-global-broker"'


def is_own_event(topic, payload):
    """A monitoring event of Isobar itself: clients keep these apart, in `events`."""
    return topic.startswith("monitor/a/wis2/") and OWN_SOURCE in payload


@dataclass
class Received:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    at: float               # time.monotonic()
    properties: object = None


def properties(packet, **values):
    made = Properties(getattr(PacketTypes, packet))
    for name, value in values.items():
        setattr(made, name, value)
    return made


class _Paho(paho.Client):
    """Says when a packet has been handled: whatever answers it is on its way then."""

    on_handled = None

    def stay_away(self):
        """It is not back by itself a second later, as it is after all other ends of a connection."""
        self._reconnect_on_failure = False

    def _packet_handle(self):
        result = super()._packet_handle()
        self.on_handled()
        return result


class Client:
    """A paho client with a thread of its own that keeps whatever happens to it. A message is there once
    its acknowledgement is on its way: a DISCONNECT that follows does not overtake that."""

    def __init__(self, port, version=V5, user="everyone", password="everyone", client_id="",
                 clean=True, keep_alive=60, expiry=None, tls=None, connect=True, limit=10.0,
                 receive_maximum=None, host="127.0.0.1"):
        self.messages = []
        self.events = []            # Isobar's own, on monitor/
        self.arriving = []          # not acknowledged yet; paho's thread only
        self.codes = {}             # SUBACK codes by packet id
        self.unsubscribed = set()   # packet ids
        self.acknowledged = {}      # PUBACK reason codes by packet id (v5), 0 in 3.1.1
        self.connects = []          # (CONNACK code, session present)
        self.disconnects = []       # reasons
        self.changed = threading.Condition()
        self.version = version
        made = {"client_id": client_id, "protocol": version}
        if version == V4:
            made["clean_session"] = clean if client_id else True
        self.paho = _Paho(**made)
        self.paho.on_handled = self._on_handled
        self.paho.max_queued_messages_set(0)
        self.paho.max_inflight_messages_set(100)
        if user is not None:
            self.paho.username_pw_set(user, password)
        if tls:
            self.paho.tls_set(ca_certs=tls)
        self.paho.on_connect = self._on_connect
        self.paho.on_disconnect = self._on_disconnect
        self.paho.on_message = self._on_message
        self.paho.on_subscribe = self._on_subscribe
        self.paho.on_unsubscribe = self._on_unsubscribe
        self.paho.on_publish = self._on_publish
        self.host = host
        self.port = port
        self.keep_alive = keep_alive
        self.options = {}
        if version == V5:
            self.options["clean_start"] = clean
            wanted = {}
            if expiry is not None:
                wanted["SessionExpiryInterval"] = expiry
            if receive_maximum is not None:
                wanted["ReceiveMaximum"] = receive_maximum
            if wanted:
                self.options["properties"] = properties("CONNECT", **wanted)
        if connect:
            self.connect(limit)

    # --- callbacks, on paho's thread

    def _note(self, change):
        with self.changed:
            change()
            self.changed.notify_all()

    def _on_connect(self, client, userdata, flags, reason, props=None):
        code = reason if isinstance(reason, int) else reason.value
        if code != 0:
            client.stay_away()
        self._note(lambda: self.connects.append((code, bool(flags["session present"]))))

    def _on_disconnect(self, client, userdata, reason, props=None):
        code = reason if isinstance(reason, int) else reason.value
        if code == TAKEN_OVER:
            client.stay_away()      # or it would take over in its turn
        self._note(lambda: self.disconnects.append(code))

    def _on_message(self, client, userdata, m):
        # paho decodes topics lazily and may raise on invalid ones: take the text here.
        got = Received(m.topic, m.payload, m.qos, m.retain, time.monotonic(),
                       getattr(m, "properties", None))
        self.arriving.append(got)

    def _on_handled(self):
        arrived, self.arriving = self.arriving, []
        for got in arrived:
            kept = self.events if is_own_event(got.topic, got.payload) else self.messages
            self._note(lambda kept=kept, got=got: kept.append(got))

    def _on_subscribe(self, client, userdata, mid, granted, props=None):
        codes = [g if isinstance(g, int) else g.value for g in granted]
        self._note(lambda: self.codes.__setitem__(mid, codes))

    def _on_unsubscribe(self, client, userdata, mid, *more):
        self._note(lambda: self.unsubscribed.add(mid))

    def _on_publish(self, client, userdata, mid):
        self._note(lambda: self.acknowledged.__setitem__(mid, time.monotonic()))

    # --- what tests do

    def connect(self, limit=10.0, wait=True):
        before = len(self.connects)
        self.paho.connect(self.host, self.port, self.keep_alive, **self.options)
        self.paho.loop_start()
        if wait:
            self.wait(lambda: len(self.connects) > before, limit, "CONNACK")
        return self

    def wait(self, condition, limit=10.0, what="condition"):
        """On every event of this client until the condition holds."""
        end = time.monotonic() + limit * patience()
        with self.changed:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"waited {limit * patience():.0f} s for {what}; "
                                         f"{len(self.messages)} messages, connects "
                                         f"{self.connects}, disconnects {self.disconnects}")
                self.changed.wait(left)

    def subscribe(self, *filters, qos=1, limit=10.0, props=None):
        """The SUBACK codes, one a filter."""
        if self.version == V5:
            rows = [(f, paho.SubscribeOptions(qos=qos)) for f in filters]
            _, mid = self.paho.subscribe(rows, properties=props)
        else:
            _, mid = self.paho.subscribe([(f, qos) for f in filters])
        self.wait(lambda: mid in self.codes, limit, "SUBACK")
        return self.codes[mid]

    def unsubscribe(self, *filters):
        _, mid = self.paho.unsubscribe(list(filters))
        self.wait(lambda: mid in self.unsubscribed, what="UNSUBACK")

    def ping(self):
        """There and back."""
        said = []
        self.paho.on_log = lambda client, userdata, level, text: self._note(lambda: said.append(text))
        self.paho._send_pingreq()
        self.wait(lambda: "Received PINGRESP" in said, what="PINGRESP")
        self.paho.on_log = None
        self.paho._ping_t = 0       # it may have set it after the answer

    def wait_count(self, count, limit=10.0):
        self.wait(lambda: len(self.messages) >= count, limit, f"{count} messages")
        return self.messages

    def publish(self, message, qos=1, retain=False):
        """Sends; the id by which `acknowledged` knows it."""
        return self.paho.publish(message.topic, message.payload, qos, retain).mid

    def flush(self, mids, limit=20.0):
        """Until the broker has acknowledged all of these."""
        mids = set(mids)
        self.wait(lambda: mids <= self.acknowledged.keys(), limit, f"{len(mids)} PUBACKs")

    def publish_all(self, messages, qos=1, limit=20.0):
        self.flush([self.publish(m, qos) for m in messages], limit)

    def refused(self):
        """Of a client made with connect=False: the code that refuses it."""
        self.connect(wait=False)
        self.wait(lambda: self.connects, what="CONNACK")
        return self.connects[-1][0]

    def wait_disconnected(self):
        """The reason of the end of the connection; in 3.1.1 there is none to rely on."""
        self.wait(lambda: self.disconnects, what="the end of the connection")
        return self.disconnects[-1]

    def wait_events(self, count):
        self.wait(lambda: len(self.events) >= count, what=f"{count} events")

    def disconnect(self):
        """With a DISCONNECT packet."""
        before = len(self.disconnects)
        self.paho.disconnect()
        self.wait(lambda: len(self.disconnects) > before, what="the end of the connection")
        self.paho.loop_stop()

    def cut(self):
        """As a broken line would: the socket is closed without a word."""
        self.paho.loop_stop(force=True)
        sock = self.paho.socket()
        if sock:
            sock.close()

    def end(self):
        try:
            self.paho.disconnect()
        except (OSError, ValueError):
            pass
        self.paho.loop_stop()


class Subscriber(Client):
    """Connected and subscribed once made."""

    def __init__(self, port, *filters, qos=1, **options):
        super().__init__(port, **options)
        assert self.connects[-1][0] == 0, self.connects
        self.granted = self.subscribe(*filters, qos=qos)
        assert all(code <= 2 for code in self.granted), self.granted


class MosquittoSub:
    """The command mosquitto_sub, version "mqttv311" or "mqttv5"."""

    def __init__(self, port, *filters, version="mqttv5", qos=1, options=()):
        argv = ["stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", str(port),
                "-u", "everyone", "-P", "everyone", "-V", version, "-q", str(qos), "-d",
                "-F", "MESSAGE %q %t %x", *options]
        for f in filters:
            argv += ["-t", f]
        self.messages = []
        self.events = []
        self.lines = []
        self.changed = threading.Condition()
        self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        wait_until(lambda: any(line.startswith("Subscribed") for line in self.lines),
                   what=lambda: "mosquitto_sub: " + "\n".join(self.lines))

    def _read(self):
        for raw in self.popen.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            with self.changed:
                if line.startswith("MESSAGE "):
                    # an empty payload leaves the last field empty
                    _, qos, rest = line.split(" ", 2)
                    topic, _, text = rest.rpartition(" ")
                    payload = bytes.fromhex(text)
                    kept = self.events if is_own_event(topic, payload) else self.messages
                    kept.append(Received(topic, payload, int(qos), False, time.monotonic()))
                else:
                    self.lines.append(line)
                self.changed.notify_all()

    def wait_count(self, count, limit=10.0):
        wait_until(lambda: len(self.messages) >= count, limit,
                   lambda: f"{count} messages at mosquitto_sub, has {len(self.messages)}")
        return self.messages

    def end(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(5)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        self.reader.join(5 * patience())


def assert_same(messages, wanted):
    """Exactly these messages, each once, byte for byte, on their topics; order is free."""
    got = Counter((m.topic, bytes(m.payload)) for m in messages)
    want = Counter((m.topic, bytes(m.payload)) for m in wanted)
    missing, surplus = want - got, got - want
    assert not missing and not surplus, (
        f"{sum(missing.values())} missing, {sum(surplus.values())} too many of "
        f"{len(wanted)}; missing {[t for t, _ in list(missing)[:3]]}, "
        f"surplus {list(surplus)[:3]}")
