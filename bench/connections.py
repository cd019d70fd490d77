#!/usr/bin/python3
"""What a connection costs Isobar and, beside it, Debian's mosquitto: memory and CPU time.

    bench/connections.py BUILD/isobar [PART...]      (make bench-connections)

What each part measures stands in bench/README.md. Settings by environment:
    BENCH_IDLE 15000   BENCH_IDLE_TLS 2000   BENCH_OFFLINE 10000
    BENCH_CONNECTS 4000   BENCH_CONNECTS_TLS 1000   BENCH_ROUNDS 5
Prints a table and writes build/connections.json. Exit status 0 when all connections came about; a goal
missed is marked, as processor time depends on what else the machine does.
"""
import getpass
import json
import os
import resource
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

FILTER = b"cache/a/wis2/#"
IDLE = int(os.environ.get("BENCH_IDLE", 15000))
IDLE_TLS = int(os.environ.get("BENCH_IDLE_TLS", 2000))
OFFLINE = int(os.environ.get("BENCH_OFFLINE", 10000))
CONNECTS = int(os.environ.get("BENCH_CONNECTS", 4000))
CONNECTS_TLS = int(os.environ.get("BENCH_CONNECTS_TLS", 1000))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 5))
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
AT_ONCE = 100           # connections being opened at a time


# --- MQTT 5, as little of it as is needed ------------------------------------

def text(value):
    return len(value).to_bytes(2, "big") + value


def packet(first, body):
    assert len(body) < 128
    return bytes([first, len(body)]) + body


def connect(client_id, keep_s=0):
    """CONNECT of everyone/everyone; keep_s: how long the session is to be kept."""
    flags = bytes([0xC0 | (0 if keep_s else 2)])
    properties = b"\x05\x11" + keep_s.to_bytes(4, "big") if keep_s else b"\x00"
    return packet(0x10, text(b"MQTT") + b"\x05" + flags + (0).to_bytes(2, "big") + properties
                  + text(client_id) + text(b"everyone") + text(b"everyone"))


def subscribe(topic_filter):
    return packet(0x82, b"\x00\x01\x00" + text(topic_filter) + b"\x01")


DISCONNECT = b"\xe0\x00"


def expect(link, first):
    """Reads one short packet of this type."""
    head = b""
    while len(head) < 2:
        some = link.recv(2 - len(head))
        if not some:
            raise ConnectionError("closed by the broker")
        head += some
    assert head[0] == first and head[1] < 128, head
    left = head[1]
    body = b""
    while len(body) < left:
        body += link.recv(left - len(body))
    assert first != 0x20 or body[1] == 0, f"CONNACK {body[1]:#x}"
    assert first != 0x90 or body[-1] < 0x80, f"SUBACK {body[-1]:#x}"


# --- brokers -------------------------------------------------------------------

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Broker:
    """One process, on a core of its own where there are two; a fresh one for each part."""

    def __init__(self, folder, name, program):
        self.folder = folder
        self.name = name
        self.program = program
        self.ports = {"plain": free_port(), "tls": free_port()}
        self.process = None

    def argv(self):
        path = os.path.join(self.folder, self.name + ".conf")
        files = {"certificate": self.folder + "/server.pem", "key": self.folder + "/server.key"}
        with open(path, "w", encoding="ascii") as f:
            f.write(self.configuration(**files))
        return [self.program, *(("run",) if self.name == "isobar" else ()), "-c", path]

    def configuration(self, certificate, key):
        if self.name == "isobar":
            return json.dumps({
                "data_dir": self.folder + "/data", "workers": 1,
                "listeners": [f"mqtt://127.0.0.1:{self.ports['plain']}",
                              f"mqtts://127.0.0.1:{self.ports['tls']}"],
                "tls": {"certificate": certificate, "key": key},
                "limits": {"sessions_per_address": 0},
                "journal": {"size": "256MiB"}, "log": {"level": "error"}})
        return (f"user {getpass.getuser()}\nallow_anonymous true\n"
                f"listener {self.ports['plain']} 127.0.0.1\n"
                f"listener {self.ports['tls']} 127.0.0.1\n"
                f"certfile {certificate}\nkeyfile {key}\npersistence false\nlog_type none\n"
                "set_tcp_nodelay true\n")

    def __enter__(self):
        core = ["taskset", "-c", "0"] if os.cpu_count() > 1 else []
        self.process = subprocess.Popen([*core, *self.argv()])
        for _ in range(400):
            try:
                for port in self.ports.values():
                    socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        time.sleep(1)   # what the start leaves behind is not counted
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        shutil.rmtree(self.folder + "/data", ignore_errors=True)

    def cpu_us(self):
        """Of all its threads (clock_getcpuclockid(3))."""
        return time.clock_gettime(~self.process.pid << 3 | 2) * 1e6

    def anonymous(self):
        """Bytes."""
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as f:
            for line in f:
                if line.startswith("Anonymous:"):
                    return int(line.split()[1]) * 1024
        raise RuntimeError("no Anonymous in smaps_rollup")

    def sockets(self):
        """Connections it has: the exact count by which memory is divided."""
        count = 0
        folder = f"/proc/{self.process.pid}/fd"
        for name in os.listdir(folder):
            try:
                count += os.readlink(os.path.join(folder, name)).startswith("socket:")
            except FileNotFoundError:
                pass
        return count

    def settled(self):
        """Anonymous memory once nothing is left to do."""
        last = -1.0
        while self.cpu_us() - last > 2000:
            last = self.cpu_us()
            time.sleep(0.3)
        return self.anonymous()


# --- loads ---------------------------------------------------------------------

class Load:
    def __init__(self, broker, tls, version=V13):
        self.address = ("127.0.0.1", broker.ports["tls" if tls else "plain"])
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.context.check_hostname = False
            self.context.verify_mode = ssl.CERT_NONE
            self.context.minimum_version = self.context.maximum_version = version

    def begin(self, session=None):
        """A connection whose TLS handshake is under way."""
        link = socket.create_connection(self.address)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context is None:
            return link
        link = self.context.wrap_socket(link, session=session, do_handshake_on_connect=False)
        link.setblocking(False)
        try:
            link.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return link

    def open(self, count, sessions=None):
        """count connections, all at a time."""
        links = [self.begin(session) for session in sessions or [None] * count]
        if self.context:
            for link in links:
                link.setblocking(True)
                link.do_handshake()
        return links

    def subscribed(self, first, count, topic_filter, keep_s=0):
        """count connections with a subscription each, AT_ONCE being set up at a time."""
        links = []
        for start in range(first, first + count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, first + count))
            some = list(zip(numbers, self.open(len(numbers))))
            for n, link in some:
                link.sendall(connect(b"idle-%08d" % n, keep_s) + subscribe(topic_filter(n)))
            for _, link in some:
                expect(link, 0x20)
                expect(link, 0x90)
            links.extend(link for _, link in some)
        return links


def common_filter(_):
    return FILTER


def own_filter(n):
    return b"cache/a/wis2/xx-centre-%05d/#" % n


def idle(broker, count, topic_filter, tls=False):
    load = Load(broker, tls)
    before, had = broker.settled(), broker.sockets()
    links = load.subscribed(0, count, topic_filter)
    taken, have = broker.settled() - before, broker.sockets() - had
    assert have == count, f"{have} connections instead of {count}"
    for link in links:
        link.close()
    return [taken / count]


def offline(broker, count, topic_filter):
    """Their connections come and go AT_ONCE at a time, so that what counts is what stays."""
    load = Load(broker, False)
    before = broker.settled()
    for start in range(0, count, AT_ONCE):
        for link in load.subscribed(start, min(AT_ONCE, count - start), topic_filter, 3600):
            link.sendall(DISCONNECT)
            link.close()
    return [(broker.settled() - before) / count]


def crowd(load, count, with_subscription, sessions):
    """count connections to their end, a step of all at a time; gives their TLS sessions."""
    links = load.open(count, sessions)
    for link in links:
        link.sendall(connect(b"crowd-%06d" % id(link)))
    for link in links:
        expect(link, 0x20)
    if with_subscription:
        for link in links:
            link.sendall(subscribe(FILTER))
        for link in links:
            expect(link, 0x90)
    assert not sessions or all(link.session_reused for link in links), "not resumed"
    found = [link.session for link in links] if load.context else None
    for link in links:
        link.sendall(DISCONNECT)
        link.close()
    return found


def connects(broker, count, tls=False, resumed=False, with_subscription=False, version=V13):
    """CPU time of the broker per connection; one figure a round."""
    load = Load(broker, tls, version)
    figures = []
    sessions = crowd(load, AT_ONCE, with_subscription, None)
    for _ in range(ROUNDS):
        began = broker.cpu_us()
        for _ in range(count // AT_ONCE):
            got = crowd(load, AT_ONCE, with_subscription, sessions if resumed else None)
            sessions = got if resumed else None
        time.sleep(0.2)
        figures.append((broker.cpu_us() - began) / (count // AT_ONCE * AT_ONCE))
    return figures


def parts():
    """name: (what, unit, goal for Isobar or None, measure)"""
    return {
        "idle": ("idle plain connection, one subscription all have", "bytes", 1536,
                 lambda b: idle(b, IDLE, common_filter)),
        "idle_own": ("the same, a filter of its own each", "bytes", None,
                     lambda b: idle(b, IDLE, own_filter)),
        "idle_tls": ("idle TLS connection, one subscription", "bytes", 16384,
                     lambda b: idle(b, IDLE_TLS, common_filter, tls=True)),
        "offline": ("persistent session offline, one subscription", "bytes", 512,
                    lambda b: offline(b, OFFLINE, common_filter)),
        "connect": ("CONNECT, CONNACK, DISCONNECT", "us", 40,
                    lambda b: connects(b, CONNECTS)),
        "subscribe": ("the same with SUBSCRIBE, SUBACK", "us", None,
                      lambda b: connects(b, CONNECTS, with_subscription=True)),
        "tls": ("the same over TLS 1.3, full handshake, P-256", "us", 350,
                lambda b: connects(b, CONNECTS_TLS, tls=True)),
        "resumed": ("the same, resumed", "us", 150,
                    lambda b: connects(b, CONNECTS_TLS, tls=True, resumed=True)),
        "resumed_1_2": ("resumed over TLS 1.2", "us", 150,
                        lambda b: connects(b, CONNECTS_TLS, tls=True, resumed=True, version=V12)),
    }


# --- OpenSSL alone ---------------------------------------------------------------

def shake_hands(server, client, session):
    """CPU microseconds of the server's side of one handshake without sockets; the client's session."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    asking = client.wrap_bio(to_client, to_server, session=session)
    spent = 0
    waiting = [asking, answering]
    while waiting:
        side = waiting.pop(0)
        began = time.thread_time_ns()
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
        spent += (time.thread_time_ns() - began) * (side is answering)
    answering.write(b"x")
    asking.read(1)      # the ticket comes with it
    assert asking.session_reused == bool(session)
    return spent / 1000, asking.session


def library(folder):
    """What the handshakes cost at least: full, resumed, resumed over TLS 1.2 (microseconds)."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder + "/server.pem", folder + "/server.key")
    server.num_tickets = 1
    figures = []
    for version, resumed in ((V13, False), (V13, True), (V12, True)):
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        client.minimum_version = client.maximum_version = version
        _, session = shake_hands(server, client, None)
        times = []
        for _ in range(500):
            spent, fresh = shake_hands(server, client, session if resumed else None)
            session = fresh if resumed else None
            times.append(spent)
        figures.append(statistics.median(times))
    return figures


# --- the whole -----------------------------------------------------------------

def make_certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder + "/server.key",
                    "-out", folder + "/server.pem", "-days", "30", "-subj", "/CN=localhost"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(folder, program, wanted):
    mosquitto = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    rows = []
    for name, (what, unit, goal, measure) in parts().items():
        if wanted and name not in wanted:
            continue
        row = {"part": name, "what": what, "unit": unit, "goal": goal}
        for broker, path in (("isobar", program), ("mosquitto", mosquitto)):
            with Broker(folder, broker, path) as running:
                row[broker] = measure(running)
        value, other = (statistics.median(row[b]) for b in ("isobar", "mosquitto"))
        note = "" if goal is None else f"goal {goal}" + (", missed" if value > goal else "")
        print(f"{what:52} {value:9.1f} {other:9.1f} {unit:6} {note}", flush=True)
        rows.append(row)
    return rows


def main():
    program = os.path.realpath(sys.argv[1])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if os.cpu_count() > 1:
        os.sched_setaffinity(0, {1})
    folder = tempfile.mkdtemp()
    try:
        make_certificate(folder)
        print(f"{'':52} {'Isobar':>9} {'mosquitto':>9}")
        rows = run(folder, program, sys.argv[2:])
        with open(os.path.join(os.path.dirname(program), "connections.json"), "w",
                  encoding="ascii") as f:
            json.dump(rows, f, indent=1)
        print("OpenSSL's share, measured alone and without sockets: full %.0f us, resumed %.0f us, "
              "resumed over TLS 1.2 %.0f us" % tuple(library(folder)))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
