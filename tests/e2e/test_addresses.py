"""IPv6 beside IPv4, and connections that never get anywhere."""
import socket
import ssl
import threading
import time

import pytest

from harness import notifications as wnm
from harness import wire
from harness.ports import free_port

DWD = "de-dwd"
EVERYONE = {"user": "everyone", "password": "everyone", "read": ["#"], "write": ["t/#"]}


def listeners(broker):
    return broker.get_json("/api/v1/status")["listeners"]


def port_of(broker, start):
    return next(int(url.rsplit(":", 1)[1]) for url in listeners(broker) if url.startswith(start))


@pytest.fixture
def connected(keeper):
    """The reason code of CONNACK, and the connection."""
    def make(port, host):
        made = wire.Wire(port, host=host)
        keeper.keep(made.end)
        made.send(wire.connect())
        return made.read()[1][1], made
    return make


def test_clients_come_over_ipv6(gb, connected):
    broker = gb(accounts=[EVERYONE], config={
        "listeners": ["mqtt://[::1]:0", "http://127.0.0.1:0", "http://[::1]:0"],
        "limits": {"connections_per_address": 1}})
    port = port_of(broker, "mqtt://[::1]:")
    code, one = connected(port, "::1")
    assert code == 0
    one.send(wire.subscribe(["t/#"]) + wire.publish("t/a", b"x", qos=1, packet_id=3))
    assert {one.read()[0] for _ in range(3)} == {0x90, 0x40, 0x30}
    assert connected(port, "::1")[0] == 0x97, "limits count it like any other"
    with socket.create_connection(("::1", port_of(broker, "http://[::1]:"))) as s:
        s.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert s.recv(20).startswith(b"HTTP/1.1 200")


def test_all_addresses_of_ipv6_are_those_of_ipv4_as_well(gb, connected):
    broker = gb(accounts=[EVERYONE], config={
        "listeners": ["mqtt://[::]:0", "mqtt://127.0.0.1:0", "http://127.0.0.1:0"],
        "limits": {"connections_per_address": 1}})
    both = port_of(broker, "mqtt://[::]:")
    assert connected(both, "::1")[0] == 0
    assert connected(both, "127.0.0.1")[0] == 0
    # 127.0.0.1 is the same address by whichever listener it comes
    assert connected(port_of(broker, "mqtt://127.0.0.1:"), "127.0.0.1")[0] == 0x97


def test_each_family_may_have_a_listener_of_its_own_on_one_port(gb, connected):
    port = free_port()
    broker = gb(accounts=[EVERYONE], config={
        "listeners": [f"mqtt://0.0.0.0:{port}", f"mqtt://[::]:{port}", "http://127.0.0.1:0"]})
    assert connected(port, "::1")[0] == 0 and connected(port, "127.0.0.1")[0] == 0
    assert len(listeners(broker)) == 3


def test_a_source_is_reached_over_ipv6(node, gb, client, subscriber):
    port = free_port()
    a_node = node("six", options=[f"listener {port} ::1"])
    broker = gb({"six": {"centre_id": DWD, "url": f"mqtt://[::1]:{port}"}})
    broker.wait_connected(DWD)
    listener = subscriber(broker.port, "origin/a/wis2/#")
    message = wnm.valid(DWD)
    client(a_node.port).publish_all([message])
    assert listener.wait_count(1)[0].payload == message.payload


def trickle(sock, data, stop):
    """One byte after the other, for as long as it is taken."""
    for i in range(len(data)):
        if stop.wait(1.0):
            return
        try:
            sock.sendall(data[i:i + 1])
        except OSError:
            return


def upgraded(port):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(b"GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                 b"Sec-WebSocket-Protocol: mqtt\r\n\r\n")
    assert sock.recv(4096).startswith(b"HTTP/1.1 101")
    return sock


def test_who_never_finishes_a_handshake_a_head_or_a_connect_is_cut_off(gb, authority, subscriber):
    """There are 10 s for it, and one byte more does not prolong that: all would come in 200 s and more."""
    leaf = authority.issue("localhost")
    schemes = ("mqtt", "mqtts", "ws", "wss", "http", "https")
    broker = gb(accounts=[EVERYONE], config={
        "listeners": [f"{s}://127.0.0.1:0" for s in schemes],
        "tls": {"certificate": leaf.certificate, "key": leaf.key}})
    steady = subscriber(broker.port, "t/#")
    head = b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 1000
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500
    context = ssl.create_default_context(cafile=authority.certificate)
    context.check_hostname = False
    plain = [(s, b"") for s in ("mqtt", "mqtts", "wss", "https")]
    slow = [("mqtt", wire.connect(client_id="x" * 200)), ("mqtts", hello), ("wss", hello),
            ("ws", head), ("http", head), ("https", hello)]
    stop = threading.Event()
    waiting = []
    begun = time.monotonic()
    for scheme, data in plain + slow:
        sock = socket.create_connection(("127.0.0.1", broker.ports[scheme]))
        waiting.append((f"{scheme}, {len(data)} bytes", sock))
        threading.Thread(target=trickle, args=(sock, data, stop), daemon=True).start()
    for scheme in ("mqtts", "https"):   # the handshake is done, then nothing, or half a head
        sock = context.wrap_socket(
            socket.create_connection(("127.0.0.1", broker.ports[scheme])))
        waiting.append((scheme + " after the handshake", sock))
        if scheme == "https":
            sock.sendall(head)
    waiting.append(("ws after the upgrade", upgraded(broker.ports["ws"])))
    late = []
    for name, sock in waiting:
        sock.settimeout(max(0.1, begun + 100 - time.monotonic()))
        try:
            while sock.recv(4096):
                pass
        except (ConnectionResetError, ssl.SSLError):
            pass
        except TimeoutError:
            late.append(name)
        sock.close()
    stop.set()
    assert not late, late
    assert not steady.disconnects
    broker.wait_metric("isobar_connections", 1)
