"""Isobar as a client over WebSocket: sources at a real mosquitto and at another Isobar, servers that do
not agree, and the commands."""
import base64
import hashlib
import json
import re
import socket
import threading

import pytest

from harness import notifications as wnm
from harness.clients import Client, assert_same
from harness.isobar import Isobar, isobar
from harness.ports import free_port
from harness.process import wait_until

DWD = "de-dwd"
ALL = "origin/a/wis2/#"
FLAG = "wmo_wis2_gb_connected_flag"
RECEIVED = "wmo_wis2_gb_messages_received_total"
ACCOUNTS = [{"user": "everyone", "password": "everyone", "read": [ALL]},
            {"user": "writer", "password": "writer", "read": [ALL], "write": [ALL]}]


def source_of(broker, name):
    return next(s for s in broker.get_json("/api/v1/sources")["sources"] if s["name"] == name)


def wait_error(broker, name, words):
    wait_until(lambda: re.search(words, source_of(broker, name)["last_error"] or ""), 15,
               lambda: f"{words}: {source_of(broker, name)}")


# --- a WIS2 Node ----------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_mosquitto_over_websocket_loses_nothing_over_breaks_of_either_side(
        scheme, node, gb, client, subscriber, authority):
    leaf = authority.issue("localhost") if scheme == "wss" else None
    users = {"everyone": "everyone", "partner": "secret-word", "writer": "writer"}
    a_node = node("dwd", tls=leaf, websocket=True, users=users,
                  options=[f"listener {(plain := free_port())} 127.0.0.1"])
    url = a_node.websocket_url.replace("://", "://partner:secret-word@") + "/mqtt?token=hidden"
    broker = gb({"dwd": {"centre_id": DWD, "url": url, "tls": {"ca": authority.certificate}}})
    broker.wait_connected(DWD)
    listener = subscriber(broker.port, "$replay/1h/" + ALL)
    sent = []

    def send(count=100):
        messages = wnm.valid_many(DWD, count)
        client(plain, user="writer", password="writer").publish_all(messages)
        sent.extend(messages)
    send()
    listener.wait_count(100)
    assert source_of(broker, "dwd")["url"] == a_node.websocket_url + "/mqtt"
    # The node goes and comes back with what it has queued meanwhile.
    a_node.stop()
    broker.wait_metric(FLAG, 0, centre_id=DWD)
    a_node.start()
    broker.wait_connected(DWD)
    send()
    listener.wait_count(200)
    # Isobar goes, once as in a crash.
    for stop in (broker.stop, broker.kill):
        stop()
        send(300)
        broker.start()
        broker.wait_connected(DWD)
        broker.wait_metric(RECEIVED, 300, centre_id=DWD)
    listener = subscriber(broker.port, "$replay/1h/" + ALL)
    listener.wait_count(len(sent))
    assert_same(listener.messages, sent)
    for shown in (broker.process.log(), broker.get("/api/v1/sources")[2].decode()):
        assert "secret-word" not in shown and "hidden" not in shown


def test_wss_verifies_the_server_as_mqtts_does(node, gb, authority):
    a_node = node("dwd", tls=authority.issue("localhost"), websocket=True)
    stranger = node("msc", websocket=True, tls=authority.issue("stranger", "DNS:other.example"))
    trust = {"ca": authority.certificate}
    broker = gb({
        "unknown": {"centre_id": DWD, "url": a_node.websocket_url},
        "misnamed": {"centre_id": DWD, "url": stranger.websocket_url, "tls": trust},
        "unverified": {"centre_id": "ca-eccc-msc", "url": stranger.websocket_url,
                       "tls": {"verify": False}},
        "verified": {"centre_id": "fr-meteofrance", "tls": trust,
                     "url": f"wss://localhost:{a_node.websocket_port}"},
    })
    broker.wait_connected("ca-eccc-msc", "fr-meteofrance")
    wait_error(broker, "unknown", "(?i)certificate|issuer")
    wait_error(broker, "misnamed", "(?i)mismatch|name|address")


# --- another Isobar ---------------------------------------------------------------


@pytest.mark.parametrize("scheme, path", [("ws", ""), ("wss", "/other"), ("http", "/mqtt")])
def test_isobar_is_the_node_of_isobar(scheme, path, tmp_path, gb, keeper, authority):
    """Over breaks in the middle of a stream: each message once and whole."""
    leaf, port = authority.issue("localhost"), free_port()
    listeners = ["mqtt://127.0.0.1:0", f"{scheme}://127.0.0.1:{port}"]
    if scheme != "http":
        listeners.append("http://127.0.0.1:0")
    first = Isobar(tmp_path / "first", accounts=ACCOUNTS, config={
        "listeners": listeners, "websocket_paths": ["/mqtt", "/other"],
        "tls": {"certificate": leaf.certificate, "key": leaf.key}}).start()
    keeper.keep(first.end)
    url = f"{'ws' if scheme == 'http' else scheme}://127.0.0.1:{port}{path}"
    second = gb({"first": {"centre_id": "fr-meteofrance-global-broker", "kind": "broker",
                           "url": url, "topics": [ALL], "tls": {"ca": authority.certificate}}})
    second.wait_metric("isobar_source_connects_total", 1)
    sent = []

    def send(count):
        writer = Client(first.port, user="writer", password="writer")
        messages = wnm.valid_many(DWD, count)
        writer.publish_all(messages)
        writer.end()
        sent.extend(messages)
    send(2000)
    first.kill()
    first.start()
    send(300)
    second.stop()
    send(300)
    second.start()
    send(300)
    reader = Client(second.port)
    keeper.keep(reader.end)
    reader.subscribe("$replay/1h/" + ALL)
    reader.wait_count(len(sent), 40)
    assert_same(reader.messages, sent)


# --- servers that do not agree ----------------------------------------------------


class Answers:
    """Reads each request and answers it with what the test says; then closes, or waits."""

    def __init__(self, answer, closes=True):
        self.answer, self.closes = answer, closes
        self.requests = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.open = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    piece = peer.recv(4096)
                    if not piece:
                        break
                    request += piece
                self.requests.append(request.decode())
                answer = self.answer(request) if callable(self.answer) else self.answer
                peer.sendall(answer)
                self.open.append(peer)
                if self.closes:
                    peer.close()
            except OSError:
                if self.socket.fileno() < 0:
                    return

    def end(self):
        self.socket.close()
        for peer in self.open:
            peer.close()


def agreed(request, protocol=b"mqtt", key=None):
    key = key or re.search(rb"Sec-WebSocket-Key: (\S+)", request).group(1)
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n"
            b"Sec-WebSocket-Protocol: " + protocol + b"\r\n\r\n")


@pytest.mark.parametrize("answer, words", [
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404 Not Found, not 101"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "answers 200 OK, not 101"),
    (b"HTTP/1.0 401 Who are you?\r\n\r\n", r"answers 401 Who are you\?, not 101"),
    (b"HTTP/1.1 308 Gone\r\nLocation: wss://b.example/x\r\n\r\n",
     r"redirects \(308\) to wss://b.example/x, which is not followed"),
    (b"HTTP/1.1 101 Yes\r\n\r\n", "no Upgrade: websocket"),
    (lambda r: agreed(r, key=b"x" * 24), "Sec-WebSocket-Accept does not belong to our key"),
    (lambda r: agreed(r, protocol=b"amqp"), 'wants to speak "amqp", not mqtt'),
    (b"220 mail.example ESMTP\r\n", "not HTTP/1.1"),
    (b"HTTP/1.1 101 Yes\r\nX: " + b"x" * 20000, "head of the answer is too large"),
    (b"", "closed by the peer during the WebSocket handshake"),
    (lambda r: agreed(r) + b"\x82\x84abcd\x20\x02\0\0", "masked frame of a server"),
    (lambda r: agreed(r) + b"\x81\x02hi", "text frame"),
    (lambda r: agreed(r) + b"\x82\x05hello", "reserved flags"),
], ids=range(13))
def test_what_a_server_answers_wrongly_is_its_last_error(answer, words, gb, keeper):
    # Who has agreed stays, so that it is our end that ends it: ours has said CONNECT by then.
    server = Answers(answer, closes=not callable(answer))
    keeper.keep(server.end)
    broker = gb({"dwd": {"centre_id": DWD, "url": f"ws://u:pass-word@127.0.0.1:{server.port}/a?b=c"}})
    wait_error(broker, "dwd", words)
    broker.process.wait_log(rf"source failed name=dwd .*url=ws://127.0.0.1:{server.port}/a ")
    request = server.requests[0]
    assert request.startswith(f"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n")
    assert "Authorization" not in request and "pass-word" not in request


def test_the_next_address_is_used_when_one_is_no_websocket(node, gb, keeper):
    server = Answers(b"HTTP/1.1 503 Later\r\n\r\n")
    keeper.keep(server.end)
    a_node = node("dwd", websocket=True)
    broker = gb({"dwd": {"centre_id": DWD, "urls": [
        f"ws://127.0.0.1:{server.port}", a_node.url.replace("mqtt:", "ws:"),
        a_node.websocket_url]}})
    broker.wait_connected(DWD)
    assert source_of(broker, "dwd")["url"] == a_node.websocket_url + "/mqtt"
    assert 'why="closed by the peer during the WebSocket handshake"' in broker.process.log()


# --- commands -----------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_the_commands_speak_websocket(scheme, tmp_path, gb, authority):
    leaf = authority.issue("localhost")
    broker = gb(accounts=ACCOUNTS, config={
        "listeners": ["mqtt://127.0.0.1:0", "http://127.0.0.1:0", f"{scheme}://127.0.0.1:0"],
        "tls": {"certificate": leaf.certificate, "key": leaf.key}})
    at = f"127.0.0.1:{broker.ports[scheme]}"
    ours = ["-b", f"{scheme}://writer:writer@{at}"]
    trust = ["--ca", authority.certificate] if scheme == "wss" else []
    message = wnm.valid(DWD)
    path = tmp_path / "m.json"
    path.write_bytes(message.payload)
    sent = isobar("pub", *ours, *trust, "-t", message.topic, path)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    got = isobar("sub", *ours, *trust, "-s", "1h", "-n", "1", "--json", ALL)
    assert got.returncode == 0, got.stderr
    assert json.loads(got.stdout)["payload"].encode() == message.payload
    wrong = isobar("sub", "-b", f"{scheme}://{at}/nowhere", *trust, "-n", "1", ALL)
    assert wrong.returncode == 3 and "answers 404 Not Found, not 101" in wrong.stderr
    if scheme == "wss":
        assert "certificate" in isobar("sub", *ours, "-n", "1", ALL).stderr
        return
    bench = isobar("bench", *ours, "--subscribers", 3, "--qos", 1, "--messages", 2000, limit=60)
    assert bench.returncode == 0, bench.stdout + bench.stderr
    said = json.loads(bench.stdout.strip().split("\n")[-1])
    assert said["lost"] == 0 and said["repeated"] == 0, said
    judged = isobar("verify", "--from", ours[1], "-n", 1, "$replay/1h/" + ALL)
    assert judged.returncode == 0, judged.stdout + judged.stderr
