"""A client by hand for the conformance tests: any packet, whatever is wrong with it, and every packet
that comes back, decoded by model.packets."""
import itertools
import struct

from model import packets as mqtt

from .process import patience
from .wire import Wire

V4, V5 = 4, 5
VERSIONS = (V4, V5)
USER = b"owner"
CLOSES_WITHIN = 4.0     # seconds: less than a client may take to CONNECT
KINDS = {2: "CONNACK", 3: "PUBLISH", 4: "PUBACK", 5: "PUBREC", 6: "PUBREL", 7: "PUBCOMP", 9: "SUBACK",
         11: "UNSUBACK", 13: "PINGRESP", 14: "DISCONNECT"}


def number(value):
    return struct.pack(">H", value)


def binary(value):
    return mqtt.binary(value if isinstance(value, bytes) else value.encode())


def block(version, properties):
    """The properties as the version has them: [(identifier, value)] or their bytes."""
    if version != V5:
        return b""
    if isinstance(properties, bytes):
        return mqtt.variable(len(properties)) + properties
    return mqtt.properties(properties)


class Will:
    def __init__(self, topic, payload=b"gone", qos=0, retain=False, properties=()):
        self.topic, self.payload, self.qos = topic, payload, qos
        self.retain, self.properties = retain, properties


def connect(version=V5, client_id="", clean=True, keep_alive=60, properties=(), will=None, user=USER,
            password=USER, flags=None, name="MQTT", level=None, tail=b""):
    """A CONNECT; flags, name, level and tail for what no client sends."""
    bits = 0x02 * clean | 0x80 * (user is not None) | 0x40 * (password is not None)
    if will:
        bits |= 0x04 | will.qos << 3 | 0x20 * will.retain
    body = binary(name) + bytes([level or version, bits if flags is None else flags])
    body += number(keep_alive) + block(version, properties) + binary(client_id)
    if will:
        body += block(version, will.properties) + binary(will.topic) + binary(will.payload)
    body += b"".join(binary(field) for field in (user, password) if field is not None)
    return mqtt.packet(0x10, body + tail)


def publish(topic, payload=b"", version=V5, qos=0, packet_id=1, properties=(), retain=False,
            dup=False):
    body = binary(topic) + (number(packet_id) if qos else b"") + block(version, properties)
    return mqtt.packet(0x30 | 0x08 * dup | qos << 1 | retain, body + payload)


def subscribe(filters, version=V5, options=0, packet_id=1, properties=()):
    """filters: of these options each, or (filter, options)."""
    rows = [f if isinstance(f, tuple) else (f, options) for f in filters]
    body = number(packet_id) + block(version, properties)
    return mqtt.packet(0x82, body + b"".join(binary(f) + bytes([o]) for f, o in rows))


def unsubscribe(filters, version=V5, packet_id=1):
    return mqtt.packet(0xA2, number(packet_id) + block(version, ())
                       + b"".join(binary(f) for f in filters))


def ack(first, packet_id, reason=None):
    """PUBACK 0x40, PUBREC 0x50, PUBREL 0x62, PUBCOMP 0x70."""
    return mqtt.packet(first, number(packet_id) + (b"" if reason is None else bytes([reason])))


class Peer(Wire):
    """Each comes from an address of its own, so that what an address may do (failed logins, sessions
    left behind) does not add up over the tests."""
    addresses = itertools.count(1)

    def __init__(self, port, version=V5):
        n = next(self.addresses)
        super().__init__(port, source=f"127.77.{n >> 8 & 255}.{n & 255}")
        self.version = version
        self.connack = None
        self.passed = []        # read while something else was waited for

    # --- reading

    def next(self):
        """The next packet, whatever it is; None: the connection is closed."""
        return self.passed.pop(0) if self.passed else self._arrived()

    def _arrived(self):
        found = self.read()
        return found and mqtt.decode(*found, self.version)

    def _await(self, kind, packet_id):
        """An answer that may come behind messages that were under way."""
        while True:
            found = self._arrived()
            assert found, f"closed instead of {KINDS[kind]}"
            if found.kind == kind:
                assert found.packet_id == packet_id, found
                return found
            self.passed.append(found)

    def expect(self, kind):
        found = self.next()
        assert found and found.kind == kind, (KINDS[kind], found)
        return found

    def closed(self):
        """Packets up to the end of the connection, which must come by itself."""
        self.socket.settimeout(CLOSES_WITHIN * patience())
        try:
            return [mqtt.decode(*found, self.version) for found in self.read_all()]
        except TimeoutError:
            raise AssertionError("the connection stays open") from None

    def refused(self, reason):
        """Closed; MQTT 5 is told why by a DISCONNECT, MQTT 3.1.1 is told nothing."""
        last = self.closed()[-1:]
        wanted = [] if self.version == V4 else [(mqtt.DISCONNECT, [reason])]
        assert [(p.kind, p.reasons) for p in last] == wanted, (last, hex(reason))

    def pong(self):
        """Packets before the answer to a ping: what the server had to say to all that was sent."""
        self.send(mqtt.packet(0xC0))
        packets = []
        while True:
            packets.append(self.next())
            assert packets[-1], packets
            if packets[-1].kind == mqtt.PINGRESP:
                return packets[:-1]

    def quiet(self):
        assert self.pong() == []

    # --- the usual

    def connect(self, client_id="", accepted=True, **settings):
        self.send(connect(self.version, client_id, **settings))
        self.connack = self.expect(mqtt.CONNACK)
        assert not accepted or self.connack.reasons == [0], self.connack
        return self

    def subscribe(self, *filters, qos=0, options=None, packet_id=1, properties=()):
        """The codes of SUBACK."""
        self.send(subscribe(filters, self.version, qos if options is None else options, packet_id,
                            properties))
        return self._await(mqtt.SUBACK, packet_id).reasons

    def unsubscribe(self, *filters, packet_id=1):
        self.send(unsubscribe(filters, self.version, packet_id))
        return self._await(mqtt.UNSUBACK, packet_id).reasons

    def publish(self, topic, payload=b"", qos=0, packet_id=1, **settings):
        """With the whole exchange: gives the reason code of PUBACK or PUBREC."""
        self.send(publish(topic, payload, self.version, qos, packet_id, **settings))
        if qos == 0:
            return 0
        answer = self._await({1: mqtt.PUBACK, 2: mqtt.PUBREC}[qos], packet_id)
        if qos == 2 and answer.reasons[0] < 0x80:
            self.send(ack(0x62, packet_id))
            self._await(mqtt.PUBCOMP, packet_id)
        return answer.reasons[0]

    def message(self):
        """The next message; not acknowledged."""
        return self.expect(mqtt.PUBLISH)

    def take(self):
        """The next message, acknowledged as its QoS asks."""
        found = self.message()
        if found.qos == 1:
            self.send(ack(0x40, found.packet_id))
        elif found.qos == 2:
            self.send(ack(0x50, found.packet_id))
            self._await(mqtt.PUBREL, found.packet_id)
            self.send(ack(0x70, found.packet_id))
        return found

    def take_until(self, payload):
        """Payloads up to this one, which is left out."""
        found = []
        while True:
            found.append(self.take().payload)
            if found[-1] == payload:
                return found[:-1]

    def disconnect(self, reason=None, properties=b""):
        body = b"" if reason is None else bytes([reason]) + block(self.version, properties)
        self.send(mqtt.packet(0xE0, body))
        return self.closed()
