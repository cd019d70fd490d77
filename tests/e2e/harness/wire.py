"""MQTT by hand, for what no well-behaved client would send or leave unread."""
import socket
import struct
import time

from .process import patience


def text(value):
    raw = value if isinstance(value, bytes) else value.encode("utf-8")
    return struct.pack(">H", len(raw)) + raw


def variable(value):
    out = b""
    while True:
        value, low = divmod(value, 128)
        out += bytes([low | (0x80 if value else 0)])
        if not value:
            return out


def packet(first, body=b""):
    return bytes([first]) + variable(len(body)) + body


def connect(version=5, client_id="", user=b"everyone", password=b"everyone", keep_alive=60,
            flags=None, properties=b"", name="MQTT"):
    flags = flags if flags is not None else 0x02 | (0x80 if user is not None else 0) \
        | (0x40 if password is not None else 0)
    body = text(name) + bytes([version, flags]) + struct.pack(">H", keep_alive)
    if version == 5:
        body += variable(len(properties)) + properties
    body += text(client_id)
    body += text(user) if user is not None else b""
    body += text(password) if password is not None else b""
    return packet(0x10, body)


def subscribe(filters, version=5, qos=0, packet_id=1):
    body = struct.pack(">H", packet_id) + (b"\0" if version == 5 else b"")
    for f in filters:
        body += text(f) + bytes([qos])
    return packet(0x82, body)


def publish(topic, payload=b"", version=5, qos=0, packet_id=1, properties=b"", flags=0):
    body = text(topic) + (struct.pack(">H", packet_id) if qos else b"")
    if version == 5:
        body += variable(len(properties)) + properties
    return packet(0x30 | qos << 1 | flags, body + payload)


PINGREQ = packet(0xC0)
DISCONNECT = packet(0xE0)


class Wire:
    """A socket that reads whole packets. receive_buffer: small, for one who reads slowly; source:
    the address to come from."""

    def __init__(self, port, receive_buffer=None, host="127.0.0.1", source=None):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if source:
            self.socket.bind((source, 0))
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(10 * patience())
        self.socket.connect((host, port))
        self.buffer = b""

    def send(self, data):
        """What is sent into a connection the other side has closed is lost, and that is fine."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def _fill(self):
        try:
            more = self.socket.recv(65536)
        except ConnectionResetError:
            more = b""
        self.buffer += more
        return bool(more)

    def read(self):
        """(first byte, body) of the next packet; None: closed by the peer."""
        while True:
            length, shift, at = 0, 0, 1
            while at < len(self.buffer):
                byte = self.buffer[at]
                length |= (byte & 0x7F) << shift
                shift += 7
                at += 1
                if byte < 0x80:
                    if len(self.buffer) < at + length:
                        break
                    first, body = self.buffer[0], self.buffer[at:at + length]
                    self.buffer = self.buffer[at + length:]
                    return first, body
            if not self._fill():
                return None

    def login(self, version=5, **settings):
        """CONNECT accepted; gives self."""
        self.send(connect(version, **settings))
        answer = self.read()
        assert answer and answer[0] == 0x20 and answer[1][1] == 0, answer
        return self

    def read_all(self):
        """Packets up to the end of the connection."""
        packets = []
        while True:
            found = self.read()
            if found is None:
                return packets
            packets.append(found)

    def wait_closed(self, limit):
        """Seconds until the peer closes; fails after the limit."""
        begun = time.monotonic()
        self.socket.settimeout(limit * patience())
        self.read_all()
        return time.monotonic() - begun

    def end(self):
        self.socket.close()
