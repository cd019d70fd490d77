"""paho-mqtt as an agent: orders on standard input, answers on standard output (agent.h)."""
import json
import sys
import threading

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PROPERTIES = (      # our name, theirs
    ("payload_format", "PayloadFormatIndicator"),
    ("expiry", "MessageExpiryInterval"),
    ("content_type", "ContentType"),
    ("response_topic", "ResponseTopic"),
    ("correlation", "CorrelationData"),
    ("session_expiry", "SessionExpiryInterval"),
    ("receive_maximum", "ReceiveMaximum"),
    ("alias_maximum", "TopicAliasMaximum"),
    ("alias", "TopicAlias"),
)
_output = threading.Lock()


def emit(**fields):
    with _output:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()


def to_properties(packet, values):
    made = Properties(packet)
    for ours, theirs in PROPERTIES:
        if ours in values:
            value = values[ours]
            setattr(made, theirs, bytes.fromhex(value) if ours == "correlation" else value)
    for pair in values.get("user", ()):
        made.UserProperty = tuple(pair)
    return made


def from_properties(found):
    made = {"user": []}
    for ours, theirs in PROPERTIES:
        if hasattr(found, theirs):
            value = getattr(found, theirs)
            made[ours] = value.hex() if ours == "correlation" else value
    made["user"] = [list(pair) for pair in getattr(found, "UserProperty", ())]
    return made


def code_of(reason):
    return reason if isinstance(reason, int) else reason.value


class Agent:
    def __init__(self):
        self.client = None
        self.connecting = self.disconnecting = None     # orders that wait
        self.waiting = {}       # order by packet id
        self.early = {}         # answer by packet id, when it came before the call returned
        self.lock = threading.Lock()

    # --- answers by packet id

    def _sent(self, mid, n):
        with self.lock:
            if mid not in self.early:
                self.waiting[mid] = n
                return
            code = self.early.pop(mid)
        emit(n=n, code=code)

    def _acknowledged(self, mid, code):
        with self.lock:
            if mid not in self.waiting:
                self.early[mid] = code
                return
            n = self.waiting.pop(mid)
        emit(n=n, code=code)

    # --- callbacks

    def _on_connect(self, client, userdata, flags, reason, properties=None):
        n, self.connecting = self.connecting, None
        emit(n=n, code=code_of(reason), present=bool(flags["session present"]))

    def _on_disconnect(self, client, userdata, reason, properties=None):
        if client is not self.client:
            return
        if self.disconnecting:
            n, self.disconnecting = self.disconnecting, None
            emit(n=n, code=0)
        else:
            code = code_of(reason)
            emit(event="lost", code=code if code >= 128 else 0)
        client.disconnect()         # the loop would connect again by itself

    def _on_message(self, client, userdata, m):
        emit(event="message", topic=m.topic, payload=m.payload.hex(), qos=m.qos, retain=m.retain,
             properties=from_properties(getattr(m, "properties", None)))

    def _on_subscribe(self, client, userdata, mid, granted, properties=None):
        self._acknowledged(mid, code_of(granted[0]))

    def _on_unsubscribe(self, client, userdata, mid, properties=None, reasons=None):
        reasons = reasons if isinstance(reasons, list) else [reasons]
        self._acknowledged(mid, 0 if reasons[0] is None else code_of(reasons[0]))

    def _on_publish(self, client, userdata, mid):
        self._acknowledged(mid, 0)

    # --- orders

    def connect(self, n, order):
        version = order["version"]
        is_web = order["scheme"] in ("ws", "wss")
        made = {"client_id": order["id"], "protocol": version,
                "transport": "websockets" if is_web else "tcp"}
        if version == paho.MQTTv311:
            made["clean_session"] = order["clean"]
        old, self.client = self.client, paho.Client(**made)
        if old:
            old.loop_stop()
        c = self.client
        c.username_pw_set(order["user"], order["password"])
        if order["scheme"] in ("mqtts", "wss"):
            c.tls_set(ca_certs=order["ca"])
        for name in ("on_connect", "on_disconnect", "on_message", "on_subscribe", "on_unsubscribe",
                     "on_publish"):
            setattr(c, name, getattr(self, "_" + name))
        is_v5 = version == paho.MQTTv5
        will = order.get("will")
        if will:
            c.will_set(will["topic"], bytes.fromhex(will["payload"]), will["qos"], will["retain"],
                       to_properties(PacketTypes.WILLMESSAGE, will["properties"]) if is_v5 else None)
        options = {"clean_start": order["clean"], "properties": to_properties(
            PacketTypes.CONNECT, order["properties"])} if is_v5 else {}
        self.connecting, self.disconnecting = n, None
        self.waiting, self.early = {}, {}
        try:
            c.connect("127.0.0.1", order["port"], order["keep_alive"], **options)
        except (OSError, ValueError):
            emit(n=n, code=-1, present=False)
        else:
            c.loop_start()

    def subscribe(self, n, order):
        if self.client._protocol == paho.MQTTv5:
            result = self.client.subscribe(order["filter"],
                                           options=paho.SubscribeOptions(order["qos"]))
        else:
            result = self.client.subscribe(order["filter"], order["qos"])
        self._sent(result[1], n)

    def unsubscribe(self, n, order):
        self._sent(self.client.unsubscribe(order["filter"])[1], n)

    def publish(self, n, order):
        is_v5 = self.client._protocol == paho.MQTTv5
        properties = to_properties(PacketTypes.PUBLISH, order["properties"]) if is_v5 else None
        info = self.client.publish(order["topic"], bytes.fromhex(order["payload"]), order["qos"],
                                   order["retain"], properties)
        self._sent(info.mid, n)

    def disconnect(self, n, order):
        self.disconnecting = n
        self.client.disconnect()


def main():
    agent = Agent()
    for line in sys.stdin:
        order = json.loads(line)
        getattr(agent, order["do"])(order["n"], order)


main()
