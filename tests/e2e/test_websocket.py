"""MQTT over WebSocket: paho on every kind of listener, and frames made by hand."""
import base64
import hashlib
import os
import signal
import socket
import ssl
import struct

import pytest

from harness import notifications as wnm
from harness import wire
from harness.clients import V4, V5, Client, assert_same
from harness.kept import kept
from harness.process import patience, wait_until

DWD = "de-dwd"
ALL = "origin/a/wis2/#"
ACCOUNTS = [{"user": "everyone", "password": "everyone", "read": [ALL]},
            {"user": "partner", "password": "partner", "read": [ALL], "write": [ALL]}]
SCHEMES = ["ws", "wss", "http", "https"]
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN = 0x80


@pytest.fixture
def world(gb, authority):
    """Isobar with one listener of each scheme; `authority` signs for localhost."""
    leaf = authority.issue("localhost")
    listeners = ["mqtt://127.0.0.1:0"]
    listeners += [f"{scheme}://127.0.0.1:0" for scheme in SCHEMES]
    return gb(accounts=ACCOUNTS, config={
        "listeners": listeners, "tls": {"certificate": leaf.certificate, "key": leaf.key}})


class WebClient(Client):
    """The harness's client, over WebSocket."""

    def __init__(self, port, path="/mqtt", **options):
        ca = options.pop("ca", None)
        limit = options.pop("limit", 10.0)
        super().__init__(port, connect=False, **options)
        old, made = self.paho, {"transport": "websockets", "protocol": self.version}
        if self.version == V4:
            made["clean_session"] = True
        self.paho = type(old)(client_id=options.get("client_id", ""), **made)
        self.paho.ws_set_options(path=path)
        self.paho.max_queued_messages_set(0)
        self.paho.max_inflight_messages_set(100)
        self.paho.username_pw_set(options.get("user", "everyone"),
                                  options.get("password", "everyone"))
        if ca:
            self.paho.tls_set(ca_certs=ca)
            self.paho.tls_insecure_set(True)
        for name in ("on_connect", "on_disconnect", "on_message", "on_subscribe", "on_unsubscribe",
                     "on_publish", "on_handled"):
            setattr(self.paho, name, getattr(old, name))
        self.connect(limit)


web = kept(WebClient)


# --- paho ---------------------------------------------------------------------


@pytest.mark.parametrize("version", [V4, V5])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_one_publishes_another_receives_byte_for_byte(scheme, version, world, web, client,
                                                           authority):
    """In binary frames [MQTT-6.0.0-1], [MQTT3-6.0.0-1]."""
    ca = authority.certificate if scheme in ("wss", "https") else None
    port = world.ports[scheme]
    reader = web(port, version=version, ca=ca)
    plain = client(world.port, version=version)
    assert reader.subscribe(ALL) == [1] and plain.subscribe(ALL) == [1]
    writer = web(port, version=version, ca=ca, user="partner", password="partner")
    messages = wnm.valid_many(DWD, 300)
    writer.publish_all(messages, limit=40)
    for each in (reader, plain):
        each.wait_count(len(messages), 40)
        assert_same(each.messages, messages)
        assert not each.disconnects


@pytest.mark.parametrize("scheme, ca", [("ws", False), ("wss", True)])
def test_a_large_burst_arrives_whole_and_in_order(scheme, ca, world, web, client, authority):
    ca = authority.certificate if ca else None
    readers = [web(world.ports[scheme], version=version, ca=ca) for version in (V4, V5)]
    for reader in readers:
        reader.subscribe(ALL, qos=0)
    writer = client(world.port, user="partner", password="partner")
    messages = wnm.valid_many(DWD, 4000)
    writer.publish_all(messages, limit=60)
    for reader in readers:
        reader.wait_count(len(messages), 60)
        assert [m.payload for m in reader.messages] == [m.payload for m in messages]


@pytest.mark.parametrize("path", ["/", "/mqtt?token=1"])
def test_old_clients_find_it_at_the_root_and_a_query_does_no_harm(path, world, web):
    assert web(world.ports["http"], path=path).subscribe(ALL) == [1]
    assert web(world.ports["ws"], path=path).subscribe(ALL) == [1]


# --- by hand ------------------------------------------------------------------

KEY = base64.b64encode(bytes(range(16))).decode()
GOOD = {"Host": "a", "Upgrade": "websocket", "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Protocol": "mqtt"}


def frame(opcode, payload=b"", first=FIN, mask=b"\x11\x22\x33\x44"):
    n = len(payload)
    bit = 0x80 if mask else 0
    if n < 126:
        head = bytes([first | opcode, bit | n])
    elif n < 65536:
        head = bytes([first | opcode, bit | 126]) + struct.pack(">H", n)
    else:
        head = bytes([first | opcode, bit | 127]) + struct.pack(">Q", n)
    if not mask:
        return head + payload
    return head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(payload))


class Raw:
    def __init__(self, port, headers=None, path="/mqtt", method="GET", behind=b"",
                 version="1.1", receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(10 * patience())
        self.socket.connect(("127.0.0.1", port))
        wanted = {k: v for k, v in {**GOOD, **(headers or {})}.items() if v is not None}
        head = f"{method} {path} HTTP/{version}\r\n"
        head += "".join(f"{k}: {v}\r\n" for k, v in wanted.items()) + "\r\n"
        self.socket.sendall(head.encode() + behind)
        self.data = b""
        while b"\r\n\r\n" not in self.data and self._more():
            pass
        text, _, self.data = self.data.partition(b"\r\n\r\n")
        lines = text.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = [tuple(x.split(": ", 1)) for x in lines[1:]]

    def _more(self):
        try:
            got = self.socket.recv(65536)
        except ConnectionResetError:
            got = b""
        self.data += got
        return bool(got)

    def header(self, name):
        return ", ".join(v for k, v in self.headers if k.lower() == name.lower())

    def need(self, n):
        while len(self.data) < n:
            if not self._more():
                return False
        return True

    def read(self):
        """(first byte, payload) of a frame, or None at the end."""
        if not self.need(2):
            return None
        n, at = self.data[1], 2
        assert n < 128, "a server does not mask"
        if n == 126:
            self.need(4)
            n, at = struct.unpack(">H", self.data[2:4])[0], 4
        elif n == 127:
            self.need(10)
            n, at = struct.unpack(">Q", self.data[2:10])[0], 10
        assert self.need(at + n), "the frame announced more than came"
        first, payload = self.data[0], self.data[at:at + n]
        self.data = self.data[at + n:]
        return first, payload

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def login(self, version=5):
        self.send(frame(BINARY, wire.connect(version)))
        first, payload = self.read()
        assert first == FIN | BINARY and payload[0] == 0x20 and payload[3] == 0, payload
        return self

    def closed_with(self):
        """The code of the Close frame that ends the connection; 0: a Close without one."""
        while True:
            got = self.read()
            assert got is not None, "the end came without Close"
            if got[0] == FIN | CLOSE:
                break
        assert self.read() is None
        return struct.unpack(">H", got[1][:2])[0] if got[1] else 0

    def end(self):
        self.socket.close()


raw = kept(Raw)


@pytest.fixture
def plain(gb):
    """Without TLS, which the frames do not see."""
    return gb(accounts=ACCOUNTS, config={
        "listeners": ["mqtt://127.0.0.1:0", "ws://127.0.0.1:0", "http://127.0.0.1:0"]})


@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_the_handshake_is_answered_as_prescribed(scheme, plain, raw):
    """[MQTT-6.0.0-4], [MQTT3-6.0.0-4]."""
    got = raw(plain.ports[scheme], {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"})
    digest = hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    assert got.status == 101
    assert got.header("Sec-WebSocket-Accept") == base64.b64encode(digest).decode()
    assert got.header("Upgrade").lower() == "websocket"
    assert got.header("Connection").lower() == "upgrade"
    assert got.header("Sec-WebSocket-Protocol") == "mqtt"
    got.login()


REFUSED = [
    (426, {"Upgrade": None}),
    (426, {"Upgrade": "h2c"}),
    (426, {"Sec-WebSocket-Version": "8"}),
    (426, {"Sec-WebSocket-Version": None}),
    (400, {"Connection": "keep-alive"}),
    (400, {"Sec-WebSocket-Key": None}),
    (400, {"Sec-WebSocket-Key": "short"}),
    (400, {"Sec-WebSocket-Protocol": "chat, amqp"}),
    (400, {"Sec-WebSocket-Protocol": None}),
]


@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_requests_that_cannot_become_one_are_answered_and_the_connection_lives(scheme, plain, raw):
    """Who does not offer "mqtt" is refused [MQTT-6.0.0-3], [MQTT3-6.0.0-3]."""
    port = plain.ports[scheme]
    for status, headers in REFUSED:
        got = raw(port, headers)
        assert got.status == status, headers
        if status == 426:
            assert got.header("Sec-WebSocket-Version") == "13"
            assert got.header("Upgrade") == "websocket"
    assert raw(port, method="POST").status == 405
    assert raw(port, version="1.0").status == 400
    assert raw(port, path="/other").status == 404
    assert raw(port, {"Sec-WebSocket-Protocol": "chat, mqttv3.1"}) \
        .header("Sec-WebSocket-Protocol") == "mqttv3.1"
    assert raw(port, {"Origin": "https://anywhere.example"}).status == 101


def test_pages_are_still_served_beside_it(plain):
    assert plain.get("/")[0] == 200 and plain.get("/metrics")[0] == 200
    assert plain.get("/mqtt")[0] == 426


def test_paths_and_origins_are_those_configured_and_follow_a_reload(gb, raw):
    broker = gb(config={"listeners": ["http://127.0.0.1:0", "ws://127.0.0.1:0"],
                        "websocket_paths": ["/ws", "/old/mqtt"],
                        "websocket_origins": ["https://good.example", "http://b.example:8080"]})
    good = {"Origin": "https://good.example"}
    old = None
    for port in (broker.ports["http"], broker.ports["ws"]):
        for path in ("/ws", "/old/mqtt", "/"):
            old = raw(port, good, path=path)
            assert old.status == 101
        assert raw(port, good).status == 404
        assert raw(port, {"Origin": "HTTP://B.example:8080"}, path="/ws").status == 101
        assert raw(port, {"Origin": None}, path="/ws").status == 101
        for bad in ("https://good.example.evil", "http://good.example", "null", ""):
            assert raw(port, {"Origin": bad}, path="/ws").status == 403, bad
    broker.config.update(websocket_paths=["/new"], websocket_origins=[])
    broker.write_config()
    broker.reload()
    wait_until(lambda: raw(broker.ports["ws"], path="/new").status == 101, 10, "the new path")
    assert raw(broker.ports["http"], {"Origin": "https://any.example"}, path="/new").status == 101
    assert raw(broker.ports["http"], path="/ws").status == 404
    old.login()


def test_packets_split_and_joined_across_frames_are_read(plain, raw):
    """[MQTT-6.0.0-1], [MQTT-6.0.0-2], [MQTT3-6.0.0-1], [MQTT3-6.0.0-2]."""
    got = raw(plain.ports["ws"])
    bytes_ = wire.connect(5) + wire.subscribe([ALL], 5) + wire.PINGREQ
    fragments = frame(BINARY, bytes_[:3], first=0) + frame(PING, b"between") \
        + frame(CONTINUATION, b"", first=0) + frame(CONTINUATION, bytes_[3:20], first=0) \
        + frame(CONTINUATION, bytes_[20:-1])
    for i in range(len(fragments)):
        got.send(fragments[i:i + 1])
    got.send(frame(BINARY, b"") + frame(BINARY, bytes_[-1:]))
    seen, pongs = b"", []
    while not (seen.endswith(b"\xd0\x00") and pongs):
        first, payload = got.read()
        if first == FIN | PONG:
            pongs.append(payload)
        else:
            assert first == FIN | BINARY
            seen += payload
    assert pongs == [b"between"]
    assert seen[0] == 0x20 and b"\x90" in seen
    # the other way round: one frame, many packets
    got.send(frame(BINARY, wire.PINGREQ * 1000))
    count = 0
    while count < 2000:
        count += len(got.read()[1])


def test_frames_right_behind_the_request_are_not_lost(plain, raw):
    for scheme in ("ws", "http"):
        got = raw(plain.ports[scheme], behind=frame(BINARY, wire.connect(4)) + frame(PING, b"x")[:4])
        assert got.read() == (FIN | BINARY, b"\x20\x02\x00\x00")
        got.send(frame(PING, b"x")[4:])
        assert got.read() == (FIN | PONG, b"x")


@pytest.mark.parametrize("what, sent, code", [
    ("text", frame(TEXT, b"hello"), 1003),
    ("no mask", frame(BINARY, b"\xc0\x00", mask=None), 1002),
    ("RSV1", frame(BINARY, b"x", first=FIN | 0x40), 1002),
    ("RSV3", frame(BINARY, b"x", first=FIN | 0x10), 1002),
    ("opcode 3", frame(3, b"x"), 1002),
    ("opcode 11", frame(11, b"x"), 1002),
    ("continuation of nothing", frame(CONTINUATION, b"x"), 1002),
    ("message in a message", frame(BINARY, b"", first=0) + frame(BINARY, b""), 1002),
    ("ping in pieces", frame(PING, b"", first=0), 1002),
    ("long ping", frame(PING, b"x" * 126), 1002),
    ("length not shortest", b"\x82\xfe\x00\x05\0\0\0\0", 1002),
    ("64 bits", b"\x82\xff" + b"\xff" * 8 + b"\0\0\0\0", 1002),
    ("huge", b"\x82\xff" + struct.pack(">Q", 1 << 40) + b"\0\0\0\0", 1009),
    ("close", frame(CLOSE, b"\x03\xe8bye"), 1000),
    ("close of an application", frame(CLOSE, struct.pack(">H", 4711)), 4711),
    ("close without a code", frame(CLOSE), 0),
    ("close of one byte", frame(CLOSE, b"\x03"), 1002),
    ("close 1005", frame(CLOSE, struct.pack(">H", 1005)), 1002),
    ("close 999", frame(CLOSE, struct.pack(">H", 999)), 1002),
    ("close not UTF-8", frame(CLOSE, b"\x03\xe8\xc3\x28"), 1007),
    ("MQTT DISCONNECT", frame(BINARY, wire.DISCONNECT), 1000),
    ("MQTT that is none", frame(BINARY, b"\xf0\x01\x02"), None),
])
def test_each_end_has_its_code(what, sent, code, plain, raw):
    """A text frame is the first [MQTT-6.0.0-1], [MQTT3-6.0.0-1]."""
    got = raw(plain.ports["ws"]).login(4)
    got.send(sent)
    ended = got.closed_with()
    assert ended == code if code is not None else ended == 1002
    assert not raw(plain.ports["ws"]).login().data


def test_a_refused_login_is_told_by_mqtt_and_by_the_code(plain, raw):
    got = raw(plain.ports["ws"])
    got.send(frame(BINARY, wire.connect(5, password=b"wrong")))
    first, payload = got.read()
    assert first == FIN | BINARY and payload[0] == 0x20 and payload[3] == 0x86, payload
    assert got.closed_with() == 1008


def test_a_message_before_close_in_one_piece_is_published(plain, raw, subscriber):
    listener = subscriber(plain.port, ALL)
    message = wnm.valid(DWD)
    got = raw(plain.ports["ws"])
    got.send(frame(BINARY, wire.connect(5, user=b"partner", password=b"partner")
                   + wire.publish(message.topic, message.payload)) + frame(CLOSE, b"\x03\xe8"))
    assert got.closed_with() == 1000
    listener.wait_count(1)
    assert_same(listener.messages, [message])


def test_who_stops_reading_gets_whole_frames_later(plain, raw, client):
    slow = raw(plain.ports["ws"], receive_buffer=4096).login(4)
    slow.send(frame(BINARY, wire.subscribe([ALL], 4)))
    assert slow.read()[1][0] == 0x90
    writer = client(plain.port, user="partner", password="partner")
    messages = wnm.valid_many(DWD, 6000)
    writer.publish_all(messages, limit=60)
    slow.send(frame(PING, b"still there"))
    seen, pongs = b"", 0
    wanted = b"".join(wire.publish(m.topic, m.payload, 4) for m in messages)
    while len(seen) < len(wanted):
        first, payload = slow.read()
        pongs += first == FIN | PONG
        seen += payload if first == FIN | BINARY else b""
    assert seen == wanted
    if not pongs:
        assert slow.read() == (FIN | PONG, b"still there")


def test_going_away_is_said_when_it_ends(plain, raw):
    got = raw(plain.ports["http"]).login(4)
    plain.process.signal(signal.SIGTERM)
    assert got.closed_with() == 1001
    assert plain.process.wait(15) == 0


def test_tls_carries_the_upgrade_and_what_follows_at_once(world, authority):
    context = ssl.create_default_context(cafile=authority.certificate)
    context.check_hostname = False
    context.set_alpn_protocols(["http/1.1"])
    head = "GET /mqtt HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in GOOD.items()) + "\r\n"
    for scheme in ("wss", "https"):
        with socket.create_connection(("127.0.0.1", world.ports[scheme]), 10 * patience()) as s:
            with context.wrap_socket(s, server_hostname="localhost") as tls:
                assert tls.selected_alpn_protocol() == "http/1.1"
                tls.sendall(head.encode() + frame(BINARY, wire.connect(4)))
                data = b""
                while b"\x82\x04\x20\x02\x00\x00" not in data:
                    more = tls.recv(4096)
                    assert more, data
                    data += more


def test_many_at_once_come_and_go(plain, raw):
    """None is lost on the way from HTTP to MQTT, and none stays."""
    before = plain.metric("isobar_connections")
    all_ = [raw(plain.ports["http" if i % 2 else "ws"]) for i in range(200)]
    for each in all_:
        each.send(frame(BINARY, wire.connect(4)))
    for each in all_:
        assert each.read() == (FIN | BINARY, b"\x20\x02\x00\x00")
    for each in all_[:100]:
        each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        each.end()
    for each in all_[100:]:
        each.send(frame(CLOSE))
        assert each.closed_with() == 0
    plain.wait_metric("isobar_connections", before)
    assert os.path.exists(plain.path)
