"""Listeners for load balancers: who is let in, and whose address counts afterwards."""
import base64
import json
import os
import socket
import ssl

import pytest

from harness import proxy, wire
from harness.isobar import isobar
from harness.kept import kept
from harness.ports import free_port
from harness.process import patience

CLIENT = "198.51.100.7"
READER = {"user": "reader", "password": "reader", "read": ["#"]}
NODE = {"user": "node", "certificate": "node7", "read": ["#"]}
WHOLE = {"user": "whole", "certificate": "CN=node8,O=WMO", "read": ["#"]}
ADMIN = {"user": "ops", "password": "ops", "admin": True}
SCHEMES = ["mqtt", "mqtts", "ws", "wss", "http", "https"]
FROM = ["127.0.0.1"]


@pytest.fixture
def world(gb, authority):
    """world(**of each listener): a listener for load balancers of each scheme, and plain HTTP for the test."""
    def make(schemes=SCHEMES, config=None, **listener):
        leaf = authority.issue("localhost")
        marked = [{"url": f"{scheme}://127.0.0.1:0", "proxy_protocol_from": FROM, **listener}
                  for scheme in schemes]
        broker = gb(accounts=[READER, NODE, WHOLE, ADMIN], config={
            "workers": 1, "listeners": marked + ["http://127.0.0.1:0"],
            "tls": {"certificate": leaf.certificate, "key": leaf.key}, **(config or {})}, start=False)
        broker.start(ready=False)
        broker.process.wait_log(r"ready listeners=")
        # The last of the log's is the plain one.
        broker.marked_http = broker.ports["http"]
        broker.ports["http"] = int(broker.process.find_log("listener url=http://")[-1].rsplit(":", 1)[1])
        return broker
    return make


class Balanced:
    """A connection as a balancer passes it on: the header, then TLS and WebSocket as the scheme has them."""

    def __init__(self, scheme, port, header, pieces=1, source="127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10 * patience(),
                                               source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = -(-len(header) // pieces)
        for at in range(0, len(header), size):
            self.socket.sendall(header[at:at + size])
        self.is_web = scheme not in ("mqtt", "mqtts")
        if scheme in ("mqtts", "wss", "https"):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        if self.is_web:
            self.socket.sendall(b"GET /mqtt HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
                                b"Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)) + b"\r\n\r\n")
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += self.socket.recv(1)
            assert head.startswith(b"HTTP/1.1 101"), head

    def connect(self, **options):
        """CONNACK's reason code."""
        packet = wire.connect(**{"user": b"reader", "password": b"reader", **options})
        if self.is_web:     # one masked frame, the mask is zero
            packet = b"\x82" + bytes([0x80 | len(packet)]) + bytes(4) + packet
        self.socket.sendall(packet)
        answer = b""
        want = 6 if self.is_web else 4
        while len(answer) < want:
            more = self.socket.recv(64)
            assert more, answer
            answer += more
        return answer[2:][3] if self.is_web else answer[3]

    def is_closed(self):
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()


balanced = kept(Balanced, "close")


def listed(broker):
    result = isobar("client", "list", "--json", "-c", broker.path)
    assert result.returncode == 0, result.stderr
    return {row["client_id"]: row for row in map(json.loads, result.stdout.splitlines())}


def port_of(broker, scheme):
    return broker.marked_http if scheme == "http" else broker.ports[scheme]


# --- addresses --------------------------------------------------------------------


def test_on_every_scheme_the_clients_address_is_seen(world, balanced):
    broker = world()
    links = []
    for scheme in SCHEMES:
        for name, header in (("v1", proxy.v1(CLIENT)), ("v2", proxy.v2("2001:db8::7")),
                             ("local", proxy.LOCAL)):
            link = balanced(scheme, port_of(broker, scheme), header)
            assert link.connect(client_id=f"{scheme}-{name}") == 0
            links.append(link)
    rows = listed(broker)
    assert len(rows) == 3 * len(SCHEMES)
    for scheme in SCHEMES:
        assert rows[f"{scheme}-v1"]["address"] == f"{CLIENT}:40000"
        assert rows[f"{scheme}-v2"]["address"] == "[2001:db8::7]:40000"
        assert rows[f"{scheme}-local"]["address"].startswith("127.0.0.1:")
        assert rows[f"{scheme}-v1"]["transport"] == {"http": "ws", "https": "wss"}.get(scheme, scheme)


def test_a_header_in_many_pieces_is_put_together(world, balanced):
    broker = world(["mqtt", "mqtts"])
    for scheme in ("mqtt", "mqtts"):
        link = balanced(scheme, port_of(broker, scheme), proxy.v2(CLIENT, proxy.tls()), pieces=50)
        assert link.connect(client_id=scheme) == 0
        assert listed(broker)[scheme]["address"] == f"{CLIENT}:40000"


def test_limits_and_bans_are_by_the_clients_address(world, balanced):
    broker = world(["mqtt"], {"limits": {"connections_per_address": 1}})
    port = port_of(broker, "mqtt")
    first = balanced("mqtt", port, proxy.v2(CLIENT))
    assert first.connect() == 0
    assert balanced("mqtt", port, proxy.v2(CLIENT)).connect() == 0x97
    assert balanced("mqtt", port, proxy.v2("198.51.100.8")).connect() == 0
    assert isobar("client", "ban", "198.51.100.9", "-c", broker.path).returncode == 0
    assert balanced("mqtt", port, proxy.v2("198.51.100.9")).connect() == 0x8A
    broker.process.wait_log(r"connect-refused .*peer=198\.51\.100\.9:40000")


# --- who is refused ---------------------------------------------------------------


def test_who_is_not_a_trusted_balancer_is_refused_and_told_of_once(world, balanced):
    broker = world(["mqtt"])
    for _ in range(3):
        link = balanced("mqtt", port_of(broker, "mqtt"), proxy.v2(CLIENT), source="127.0.0.3")
        assert link.is_closed()
    broker.wait_metric("isobar_proxy_refused_total", 3, reason="untrusted")
    broker.process.wait_log("reason=untrusted")
    assert len(broker.process.find_log(r"proxy_refused .*peer=127\.0\.0\.3:\d+ reason=untrusted")) == 1
    broker.wait_metric("isobar_connections", 0)


@pytest.mark.parametrize("scheme,said", [
    ("mqtt", wire.connect()), ("mqtts", b"\x16\x03\x01\x02\x00"), ("http", b"GET / HTTP/1.1\r\n\r\n"),
    ("mqtt", proxy.SIGNATURE + b"\x21\x11\0\x0b" + bytes(11))])
def test_a_trusted_balancer_has_to_begin_with_a_header(scheme, said, world, keeper):
    broker = world([scheme])
    link = wire.Wire(port_of(broker, scheme))
    keeper.keep(link.end)
    link.send(said).wait_closed(10)
    broker.wait_metric("isobar_proxy_refused_total", 1, reason="header")
    broker.process.wait_log(r"proxy_refused .*reason=header why=\"")


# --- client certificates ----------------------------------------------------------


def test_a_name_the_balancer_verified_stands_for_its_account_where_asked_for(world, balanced):
    broker = world(["mqtt", "mqtts"], client_certificate="no")
    vouched = proxy.v2(CLIENT, proxy.tls("node7"))
    assert balanced("mqtt", port_of(broker, "mqtt"), vouched).connect(user=None, password=None) == 0x87

    broker.config["listeners"][0]["client_certificate"] = "optional"
    broker.config["listeners"].pop(1)
    broker.write_config()
    mark = broker.reload()
    port = int(broker.process.wait_log(r"listener url=mqtt://127\.0\.0\.1:(\d+)", mark)[1])
    broker.process.wait_log("reloaded", mark)

    link = balanced("mqtt", port, vouched)
    assert link.connect(user=None, password=None, client_id="n") == 0
    row = listed(broker)["n"]
    assert (row["user"], row["transport"]) == ("node", "mqtts")
    for header in (proxy.v2(CLIENT, proxy.tls("node7", verified=False)), proxy.v2(CLIENT), proxy.LOCAL,
                   proxy.v2(CLIENT, proxy.tls("node8")), proxy.v2(CLIENT, proxy.tls("CN=node8,O=WMO"))):
        assert balanced("mqtt", port, header).connect(user=None, password=None) == 0x87, header


@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_the_name_goes_along_into_a_websocket(scheme, world, balanced):
    broker = world([scheme], client_certificate="optional")
    link = balanced(scheme, port_of(broker, scheme), proxy.v2(CLIENT, proxy.tls("node7")))
    assert link.connect(user=None, password=None, client_id="n") == 0
    row = listed(broker)["n"]
    assert (row["user"], row["transport"]) == ("node", "wss")


def test_where_tls_is_ours_only_our_own_verdict_counts(world, balanced, authority):
    broker = world(["mqtts"], client_certificate="optional",
                   config={"tls": {"certificate": authority.issue("a").certificate,
                                   "key": os.path.join(authority.folder, "a.key"),
                                   "client_ca": authority.certificate}})
    link = balanced("mqtts", port_of(broker, "mqtts"), proxy.v2(CLIENT, proxy.tls("node7")))
    assert link.connect(user=None, password=None) == 0x87


def test_a_required_certificate_is_required(world, balanced):
    broker = world(["mqtt"], client_certificate="required")
    port = port_of(broker, "mqtt")
    assert balanced("mqtt", port, proxy.v2(CLIENT, proxy.tls("any"))).connect() == 0
    assert balanced("mqtt", port, proxy.v2(CLIENT, proxy.tls())).is_closed()
    broker.wait_metric("isobar_proxy_refused_total", 1, reason="certificate")


# --- reload -----------------------------------------------------------------------


def test_a_reload_changes_who_is_trusted_and_drops_nobody(world, balanced):
    port = free_port()
    broker = world(["mqtt"], url=f"mqtt://127.0.0.1:{port}")
    stays = balanced("mqtt", port, proxy.v2(CLIENT))
    assert stays.connect() == 0
    broker.config["listeners"][0] = {"url": f"mqtt://127.0.0.1:{port}",
                                     "proxy_protocol_from": ["127.0.0.2/31"]}
    broker.write_config()
    mark = broker.reload()
    broker.process.wait_log("reloaded", mark)
    assert balanced("mqtt", port, proxy.v2(CLIENT)).is_closed()
    assert balanced("mqtt", port, proxy.v2(CLIENT), source="127.0.0.3").connect() == 0
    stays.socket.sendall(wire.PINGREQ)
    assert b"\xd0\x00" in stays.socket.recv(64)
