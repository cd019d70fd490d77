"""A real HAProxy with a configuration of deploy/haproxy, whose addresses are changed for those of a test."""
import csv
import os
import re
import shutil
import socket
import urllib.request

from .ports import free_port
from .process import Process, patience, wait_until

DEPLOY = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                       "..", "..", "..", "deploy"))
HOSTS = {"10.0.0.21": 0, "10.0.0.22": 1}


def program():
    return shutil.which("haproxy") or "/usr/sbin/haproxy"


def text_of(name):
    with open(os.path.join(DEPLOY, "haproxy", name), encoding="utf-8") as f:
        return f.read()


class Haproxy:
    """name: of the .cfg file. ports: {(broker 0 or 1, port as written): port of this test}. replace: what
    else is different here, each text to be found at least once."""

    def __init__(self, folder, name, ports, replace=()):
        self.folder = str(folder)
        self.ports = {front: free_port() for front in ("8883", "443", "8404")}
        self.socket = os.path.join(self.folder, "admin.sock")
        text = text_of(name)
        for old, new in [(f"bind :::{p} v4v6", f"bind 127.0.0.1:{self.ports[p]}") for p in ("8883", "443")] + [
                ("127.0.0.1:8404", f"127.0.0.1:{self.ports['8404']}"), ("/run/haproxy/admin.sock", self.socket),
                ("    log /dev/log local0\n", "    log stderr format raw local0\n"),
                ("    chroot /var/lib/haproxy\n", ""), ("    user haproxy\n", ""), ("    group haproxy\n", ""),
                ("maxconn 150000", "maxconn 500"), ("10.0.0.10:10000", f"127.0.0.1:{free_port()}"),
                ("10.0.0.11:10000", f"127.0.0.1:{free_port()}"), *replace]:
            assert old in text, old
            text = text.replace(old, new)
        # One check port a server: that of default-server is the same on all machines, not here.
        text = text.replace("check port 8080", "check")

        def server(match):
            broker, port = HOSTS[match[2]], match[3]
            return (f"{match[1]} 127.0.0.1:{ports[broker, port]} port {ports[broker, '8080']}")
        text, count = re.subn(r"(    server broker\d) (10\.0\.0\.2\d):(\d+)", server, text)
        assert count == 4
        self.path = os.path.join(self.folder, "haproxy.cfg")
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(text)
        self.process = None

    def start(self):
        self.process = Process([program(), "-db", "-f", self.path], "haproxy")
        wait_until(lambda: os.path.exists(self.socket) or not self.process.is_running(),
                   what=lambda: self.process.log())
        self.statistics()
        return self

    def end(self):
        if self.process:
            self.process.end()

    def order(self, text):
        """Of its socket for operators: gives the answer."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10 * patience())
            s.connect(self.socket)
            s.sendall(text.encode() + b"\n")
            answer = b""
            while more := s.recv(65536):
                answer += more
        return answer.decode()

    def statistics(self):
        """{(proxy, server): row}."""
        rows = csv.DictReader(self.order("show stat").lstrip("# ").splitlines())
        return {(row["pxname"], row["svname"]): row for row in rows}

    def wait_status(self, server, status, backend="brokers_mqtt", limit=20):
        def is_so():
            row = self.statistics()[backend, server]
            return row["status"].startswith(status) and row["check_status"].lstrip("* ") != "INI"
        wait_until(is_so, limit, lambda: f"{server} {status}: {self.statistics()[backend, server]}", pause=0.05)

    def get(self, path):
        url = f"http://127.0.0.1:{self.ports['8404']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10 * patience()) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()


class Front:
    """One address before the nodes of a cluster, in plain MQTT: brokers are (MQTT port, HTTP port)."""

    def __init__(self, folder, brokers):
        self.port = free_port()
        self.path = os.path.join(str(folder), "front.cfg")
        servers = "".join(f"    server broker{i + 1} 127.0.0.1:{mqtt} check port {http}\n"
                          for i, (mqtt, http) in enumerate(brokers))
        with open(self.path, "w", encoding="utf-8") as f:
            f.write("global\n    maxconn 500\n    log stderr format raw local0\n"
                    "defaults\n    mode tcp\n    log global\n    timeout connect 1s\n    timeout client 1h\n"
                    "    timeout server 1h\n    retries 3\n    option redispatch\n"
                    f"listen mqtt\n    bind 127.0.0.1:{self.port}\n    balance leastconn\n"
                    "    option httpchk GET /readyz\n"
                    "    default-server inter 200ms fall 2 rise 1 on-marked-down shutdown-sessions\n"
                    + servers)
        self.process = None

    def start(self):
        self.process = Process([program(), "-db", "-f", self.path], "haproxy")

        def is_open():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) == 0
        wait_until(is_open, what=lambda: self.process.log())
        return self

    def end(self):
        if self.process:
            self.process.end()
