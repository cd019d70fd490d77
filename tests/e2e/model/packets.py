"""MQTT packets as the model needs them, written from the specifications alone: nothing here is shared
with the program under test."""
import struct
from dataclasses import dataclass, field

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 2, 3, 4, 5, 6, 7
SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 9, 11, 13, 14

BYTE, TWO, FOUR, VARIABLE, TEXT, BINARY, PAIR = range(7)
KINDS = {
    1: BYTE, 2: FOUR, 3: TEXT, 8: TEXT, 9: BINARY, 11: VARIABLE, 17: FOUR, 18: TEXT, 19: TWO,
    21: TEXT, 22: BINARY, 23: BYTE, 24: FOUR, 25: BYTE, 26: TEXT, 28: TEXT, 31: TEXT, 33: TWO,
    34: TWO, 35: TWO, 36: BYTE, 37: BYTE, 38: PAIR, 39: FOUR, 40: BYTE, 41: BYTE, 42: BYTE,
}
PAYLOAD_FORMAT, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION, SUBSCRIPTION_ID = 1, 3, 8, 9, 11
SESSION_EXPIRY, RECEIVE_MAXIMUM, ALIAS_MAXIMUM, ALIAS, USER = 17, 33, 34, 35, 38


def variable(value):
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | (128 if value else 0))
        if not value:
            return bytes(out)


def binary(value):
    return struct.pack(">H", len(value)) + value


def text(value):
    return binary(value.encode())


WRITE = {
    BYTE: lambda v: bytes([v]), TWO: lambda v: struct.pack(">H", v),
    FOUR: lambda v: struct.pack(">I", v), VARIABLE: variable, TEXT: text, BINARY: binary,
    PAIR: lambda v: text(v[0]) + text(v[1]),
}


def properties(items):
    block = b"".join(bytes([number]) + WRITE[KINDS[number]](value) for number, value in items)
    return variable(len(block)) + block


def packet(first, body=b""):
    return bytes([first]) + variable(len(body)) + body


class Cursor:
    """Reads the body of a packet."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        found = self.data[self.at:self.at + n]
        assert len(found) == n, "packet cut short"
        self.at += n
        return found

    def byte(self):
        return self.take(1)[0]

    def two(self):
        return struct.unpack(">H", self.take(2))[0]

    def variable(self):
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def binary(self):
        return self.take(self.two())

    def text(self):
        return self.binary().decode()

    def rest(self):
        return self.take(len(self.data) - self.at)

    def properties(self):
        end = self.variable() + self.at
        found = []
        read = {BYTE: self.byte, TWO: self.two, VARIABLE: self.variable, TEXT: self.text,
                FOUR: lambda: struct.unpack(">I", self.take(4))[0], BINARY: self.binary,
                PAIR: lambda: (self.text(), self.text())}
        while self.at < end:
            number = self.byte()
            found.append((number, read[KINDS[number]]()))
        assert self.at == end, "properties overrun their length"
        return found


@dataclass
class Packet:
    """One from the server. What a kind does not have stays as it is here."""
    kind: int
    flags: int = 0
    packet_id: int = 0
    reasons: list = field(default_factory=list)
    session_present: bool = False
    topic: str = ""
    payload: bytes = b""
    properties: list = field(default_factory=list)

    @property
    def qos(self):
        return self.flags >> 1 & 3

    @property
    def dup(self):
        return bool(self.flags & 8)

    @property
    def retain(self):
        return bool(self.flags & 1)

    def property(self, number, otherwise=None):
        return next((value for n, value in self.properties if n == number), otherwise)


def decode(first, body, version):
    p = Packet(first >> 4, first & 15)
    c = Cursor(body)
    if p.kind == CONNACK:
        p.session_present = bool(c.byte())
        p.reasons = [c.byte()]
        p.properties = c.properties() if version == 5 else []
    elif p.kind == PUBLISH:
        p.topic = c.text()
        p.packet_id = c.two() if p.qos else 0
        p.properties = c.properties() if version == 5 else []
        p.payload = c.rest()
    elif p.kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
        p.packet_id = c.two()
        p.reasons = [c.byte() if c.at < len(body) else 0]
    elif p.kind in (SUBACK, UNSUBACK):
        p.packet_id = c.two()
        p.properties = c.properties() if version == 5 else []
        p.reasons = list(c.rest())
    elif p.kind == DISCONNECT:
        p.reasons = [c.byte() if body else 0]
    else:
        assert p.kind == PINGRESP, f"a server sent a packet of type {p.kind}"
    return p
