"""The configurations of deploy/haproxy with a real HAProxy: two brokers behind it, of which one is killed,
drained, and said to be better left alone."""
import base64
import json
import os
import re
import signal
import socket
import ssl
import subprocess

import pytest
import yaml

from harness import wire
from harness.haproxy import DEPLOY, HOSTS, Haproxy, program, text_of
from harness.isobar import Isobar, isobar
from harness.kept import kept
from harness.process import patience, wait_until

ACCOUNTS = [{"user": "reader", "password": "reader", "read": ["#"]},
            {"user": "node", "certificate": "node7", "read": ["#"]}]
FILES = ["passthrough", "terminate"]


class House:
    """Two brokers, with the listeners that the .yaml file has beside the .cfg, and HAProxy before them."""

    def __init__(self, folder, name, authority):
        self.authority = authority
        self.hangs = None       # number of a broker that cannot be asked
        self.brokers = [Isobar(os.path.join(str(folder), f"b{n}"), accounts=ACCOUNTS,
                               config=self.config(name, folder)) for n in (0, 1)]
        for broker in self.brokers:
            broker.start(ready=False)
            broker.process.wait_log("ready listeners=")
        self.haproxy = Haproxy(folder, name + ".cfg", self.ports(name), self.replacements(name, folder))

    def config(self, name, folder):
        leaf = self.authority.issue("gb.example.org", names="IP:127.0.0.1,DNS:gb.example.org")
        self.leaf = leaf
        config = yaml.safe_load(text_of(name + ".yaml"))
        listeners = []
        for row in config["listeners"]:
            row = {"url": row} if isinstance(row, str) else row
            row["url"] = re.sub(r"//10\.0\.0\.21:\d+", "//127.0.0.1:0", row["url"])
            if "proxy_protocol_from" in row:
                row["proxy_protocol_from"] = ["127.0.0.1"]
            listeners.append(row)
        if "tls" in config:     # an operator who wants client certificates adds this
            config["tls"] = {"certificate": leaf.certificate, "key": leaf.key,
                             "client_ca": self.authority.certificate}
            listeners[0]["client_certificate"] = "optional"
        return {**config, "workers": 1, "listeners": listeners}

    def ports(self, name):
        """By the ports as written in the .yaml file; the order of its listeners is that of the log's."""
        written = re.findall(r"//10\.0\.0\.21:(\d+)", text_of(name + ".yaml"))
        ports = {}
        for host in HOSTS.values():
            broker = self.brokers[host]
            seen = [int(line) for line in re.findall(r"listener url=\S+?:(\d+)(?: |$)", broker.process.log(),
                                                     re.M)]
            assert len(seen) == len(written)
            for port, real in zip(written, seen):
                ports[host, port] = real
            broker.ports["http"] = ports[host, "8080"]
        return ports

    def replacements(self, name, folder):
        if name == "passthrough":
            return []
        certs = os.path.join(str(folder), "certs")
        os.makedirs(certs)
        with open(os.path.join(certs, "gb.pem"), "w", encoding="ascii") as out:
            for path in (self.leaf.certificate, self.leaf.key):
                with open(path, encoding="ascii") as part:
                    out.write(part.read())
        return [("/etc/haproxy/certs", certs), ("/etc/haproxy/clients.pem", self.authority.certificate)]

    def clients(self):
        """{client id: (number of its broker, row)}"""
        found = {}
        for number, broker in enumerate(self.brokers):
            if broker.process.is_running() and number != self.hangs:
                listed = isobar("client", "list", "--json", "-c", broker.path).stdout
                found.update({row["client_id"]: (number, row)
                              for row in map(json.loads, listed.splitlines())})
        return found

    def end(self):
        self.haproxy.end()
        assert [broker.end() for broker in self.brokers if broker.process.is_running()] is not None


class Through:
    """A client that comes to HAProxy from an address of its own."""

    def __init__(self, house, source, certificate=None):
        context = ssl.create_default_context(cafile=house.authority.certificate)
        if certificate:
            context.load_cert_chain(certificate.certificate, certificate.key)
        plain = socket.create_connection(("127.0.0.1", house.haproxy.ports["8883"]),
                                         timeout=10 * patience(), source_address=(source, 0))
        self.socket = context.wrap_socket(plain, server_hostname="gb.example.org")

    def connect(self, client_id, user="reader", clean=True):
        flags = (0x02 if clean else 0) | (0xC0 if user else 0)
        self.socket.sendall(wire.connect(client_id=client_id, user=user and user.encode(),
                                         password=user and user.encode(), flags=flags))
        answer = self.socket.recv(4)
        assert answer and answer[0] == 0x20, answer
        return answer[3]

    def ping(self):
        self.drain()
        self.socket.sendall(wire.PINGREQ)
        return self.socket.recv(2) == b"\xd0\x00"

    def drain(self):
        """The rest of CONNACK."""
        self.socket.settimeout(0.05)
        try:
            self.socket.recv(65536)
        except TimeoutError:
            pass
        self.socket.settimeout(10 * patience())

    def wait_end(self):
        try:
            while self.socket.recv(65536):
                pass
        except (ConnectionResetError, ssl.SSLError):
            pass

    def close(self):
        self.socket.close()


@pytest.fixture
def house(tmp_path, keeper, authority):
    def make(name):
        made = House(tmp_path, name, authority)
        keeper.keep(made.end)
        made.haproxy.start()
        for server in ("broker1", "broker2"):
            made.haproxy.wait_status(server, "UP")
        return made
    return make


through = kept(Through, "close")


@pytest.mark.parametrize("name", FILES)
def test_the_brokers_share_the_clients_and_see_their_addresses(name, house, through, authority):
    world = house(name)
    links = [through(world, f"127.0.1.{n}") for n in range(1, 5)]
    for n, link in enumerate(links, 1):
        assert link.connect(f"c{n}") == 0
    found = world.clients()
    assert sorted(number for number, _ in found.values()) == [0, 0, 1, 1]
    for n in range(1, 5):
        row = found[f"c{n}"][1]
        assert row["address"].startswith(f"127.0.1.{n}:") and row["transport"] == "mqtts"

    for number, certificate in enumerate(("node7", "node8")):
        link = through(world, "127.0.1.9", certificate=authority.issue(certificate))
        assert link.connect(certificate, user=None) == (0, 0x87)[number]
    assert world.clients()["node7"][1]["user"] == "node"

    rows = world.haproxy.statistics()
    assert rows["brokers_mqtt", "broker1"]["check_status"] == "L7OK"
    assert rows["brokers_mqtt", "broker1"]["check_code"] == "200"
    status, metrics = world.haproxy.get("/metrics")
    assert status == 200 and 'haproxy_server_status{proxy="brokers_mqtt",server="broker2",state="UP"} 1' in metrics
    assert world.haproxy.get("/ready")[0] == 200
    for broker in world.brokers:
        assert broker.metric("isobar_proxy_refused_total", reason="header") == 0


@pytest.mark.parametrize("name", FILES)
def test_over_the_web_port_too(name, house, authority):
    world = house(name)
    context = ssl.create_default_context(cafile=authority.certificate)
    plain = socket.create_connection(("127.0.0.1", world.haproxy.ports["443"]), timeout=10 * patience(),
                                     source_address=("127.0.1.7", 0))
    with context.wrap_socket(plain, server_hostname="gb.example.org") as s:
        s.sendall(b"GET /mqtt HTTP/1.1\r\nHost: gb.example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: "
                  + base64.b64encode(os.urandom(16)) + b"\r\n\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += s.recv(1)
        assert head.startswith(b"HTTP/1.1 101")
        packet = wire.connect(client_id="web", user=b"reader", password=b"reader")
        s.sendall(b"\x82" + bytes([0x80 | len(packet)]) + bytes(4) + packet)
        assert s.recv(2)[0] == 0x82
        row = world.clients()["web"][1]
        assert row["address"].startswith("127.0.1.7:") and row["transport"] == "wss"


def elsewhere(world, through, client_id, source, before):
    """The client comes again, as often as it takes, until the other broker has it."""
    def is_there():
        try:
            link = through(world, source)
            if link.connect(client_id) != 0:
                return None
        except (OSError, AssertionError):
            return None
        found = world.clients().get(client_id)
        return link if found and found[0] != before else None
    return wait_until(is_there, 20, f"{client_id} on the other broker")


@pytest.mark.parametrize("name", FILES)
def test_clients_of_a_killed_broker_land_on_the_other(name, house, through):
    world = house(name)
    link = through(world, "127.0.1.1")
    assert link.connect("c1") == 0
    first = world.clients()["c1"][0]
    world.brokers[first].kill()
    link.wait_end()
    elsewhere(world, through, "c1", "127.0.1.1", first)
    world.haproxy.wait_status(f"broker{first + 1}", "DOWN")
    assert world.haproxy.get("/ready")[0] == 200
    world.brokers[1 - first].kill()
    world.haproxy.wait_status(f"broker{2 - first}", "DOWN")
    assert world.haproxy.get("/ready")[0] == 503


@pytest.mark.parametrize("name", FILES)
def test_a_broker_is_drained_and_then_left(name, house, through):
    world = house(name)
    stays = through(world, "127.0.1.1")
    assert stays.connect("c1") == 0
    first = world.clients()["c1"][0]
    server = f"brokers_mqtt/broker{first + 1}"
    world.haproxy.order(f"set server {server} state drain")
    fresh = [through(world, f"127.0.1.{n}") for n in (2, 3)]
    for n, link in enumerate(fresh, 2):
        assert link.connect(f"c{n}") == 0
        assert world.clients()[f"c{n}"][0] != first
    assert stays.ping()

    world.haproxy.order(f"set server {server} state maint")
    stays.wait_end()
    moved = elsewhere(world, through, "c1", "127.0.1.1", first)
    assert fresh[0].ping() and moved.ping()
    world.haproxy.order(f"set server {server} state ready")
    world.haproxy.wait_status(f"broker{first + 1}", "UP")


@pytest.mark.parametrize("name", FILES)
def test_a_session_is_found_again_and_a_broker_that_hangs_is_left_alone(name, house, through):
    world = house(name)
    link = through(world, "127.0.1.1")
    assert link.connect("c1", clean=False) == 0
    first = world.clients()["c1"][0]
    other = through(world, "127.0.1.2")     # so that leastconn alone would not send c1 back
    link.close()
    assert other.connect("c2") == 0
    for _ in range(3):
        again = through(world, "127.0.1.1")
        assert again.connect("c1", clean=False) == 0
        assert world.clients()["c1"][0] == first
        again.close()

    os.kill(world.brokers[first].process.pid, signal.SIGSTOP)   # nothing is closed
    world.hangs = first
    try:
        world.haproxy.wait_status(f"broker{first + 1}", "DOWN", limit=30)
        elsewhere(world, through, "c1", "127.0.1.1", first)
    finally:
        os.kill(world.brokers[first].process.pid, signal.SIGCONT)
    world.haproxy.wait_status(f"broker{first + 1}", "UP")


def test_the_files_are_valid_as_they_are():
    result = subprocess.run([program(), "-c", "-f", os.path.join(DEPLOY, "haproxy", "passthrough.cfg")],
                            capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "warning" not in result.stderr.lower(), result.stderr
