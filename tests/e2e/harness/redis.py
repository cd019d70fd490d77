"""A real Redis Cluster on 127.0.0.1: masters, a replica for each, faults on demand.

$ISOBAR_REDIS is what its programs' names begin with, "redis" if not given: with /opt/valkey/bin/valkey
the cluster is one of valkey-server, and valkey-cli speaks to it.
"""
import glob
import os
import shutil
import signal
import socket
import subprocess

from .ports import free_port
from .process import Process, wait_until


def program(kind):
    """The path of the server, cli or benchmark."""
    name = f"{os.environ.get('ISOBAR_REDIS') or 'redis'}-{kind}"
    return shutil.which(name) or f"/usr/bin/{name}"


def _port():
    """One whose port for the cluster's own bus, 10 000 above, is free as well."""
    while True:
        port = free_port(10000, 15000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
        return port


def _send(f, words):
    f.write(b"*%d\r\n" % len(words))
    for word in words:
        f.write(b"$%d\r\n%s\r\n" % (len(word), word))
    f.flush()


def _reply(f):
    line = f.readline()
    mark, rest = line[:1], line[1:].rstrip()
    if mark == b"-":
        raise AssertionError(rest.decode())
    if mark in b"+:":
        return rest
    if rest == b"-1":
        return None
    if mark == b"$":
        return f.read(int(rest) + 2)[:-2]
    return [_reply(f) for _ in range(int(rest))]


class RedisNode:
    def __init__(self, cluster, index):
        self.cluster = cluster
        self.port = _port()
        self.folder = os.path.join(cluster.folder, str(index))
        os.makedirs(self.folder, exist_ok=True)
        self.process = None
        self.wrapper = []           # of the program, such as env with a clock of its own
        self.is_paused = False

    def _options(self):
        c = self.cluster
        if c.tls:
            yield from ["--port", "0", "--tls-port", str(self.port), "--tls-cluster", "yes",
                        "--tls-replication", "yes", "--tls-cert-file", c.tls.certificate,
                        "--tls-key-file", c.tls.key, "--tls-ca-cert-file", c.tls.ca,
                        "--tls-auth-clients", "no"]
        else:
            yield from ["--port", str(self.port)]
        yield from ["--bind", "127.0.0.1", "--dir", self.folder, "--save", "",
                    "--cluster-port", str(self.port + 10000),
                    "--cluster-enabled", "yes", "--cluster-node-timeout", str(c.node_timeout_ms),
                    "--appendonly", "yes", "--appendfsync", c.appendfsync,
                    "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]
        if c.password:
            yield from ["--requirepass", c.password, "--masterauth", c.password]
        yield from c.options

    def start(self):
        # Its log is on standard output; Process reads standard error.
        self.process = Process(["/bin/sh", "-c", 'exec "$@" >&2', "sh", *self.wrapper,
                                program("server"), *self._options()], f"redis {self.port}")
        self.process.wait_log("Ready to accept connections")
        self.is_paused = False
        return self

    def pause(self):
        """It keeps its connections and answers nothing, as a machine that is cut off."""
        self.process.signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self):
        self.process.signal(signal.SIGCONT)
        self.is_paused = False

    def kill(self):
        self.process.signal(signal.SIGKILL)
        self.process.popen.wait()

    def end(self):
        if self.process and self.process.is_running():
            self.kill()

    def cli(self, *words, check=True):
        argv = [program("cli"), "-h", "127.0.0.1", "-p", str(self.port), *self.cluster.cli_options(),
                *map(str, words)]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=120)
        assert not check or done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout.strip()

    def command(self, *words):
        """One command with bytes in it, without TLS; gives the reply (arrays as lists)."""
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        with socket.create_connection(("127.0.0.1", self.port), 60) as s, s.makefile("rwb") as f:
            if self.cluster.password:
                _send(f, [b"AUTH", self.cluster.password.encode()])
                _reply(f)
            _send(f, words)
            return _reply(f)

    def pipeline(self, commands):
        """Commands of words in bytes, sent as one; their replies."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as s, s.makefile("rwb") as f:
            f.write(b"".join(b"*%d\r\n" % len(words) + b"".join(
                b"$%d\r\n%s\r\n" % (len(word), word) for word in words) for words in commands))
            f.flush()
            return [_reply(f) for _ in commands]

    def replicas(self):
        """Nodes that replicate this master."""
        mine = self.cli("cluster", "myid")
        return [node for node in self.cluster.running()
                if node is not self and mine in node.cli("cluster", "nodes").split("myself", 1)[1]
                .split("\n")[0]]

    def is_running(self):
        return self.process is not None and self.process.is_running()

    def role(self):
        if self.cluster.tls:
            return self.cli("role").split("\n")[0]
        return self.command("role")[0].decode()     # a socket is quicker than a process

    def has_slot_of(self, key):
        if self.cluster.tls:
            return not self.cli("object", "encoding", key).startswith("MOVED")
        try:
            self.command("exists", key)
        except AssertionError as refusal:
            if not str(refusal).startswith(("MOVED", "CLUSTERDOWN")):
                raise
            return False
        return True

    @property
    def name(self):
        return f"127.0.0.1:{self.port}"


class RedisCluster:
    """folder: for its files. replicas: of each master. tls: a certificate of harness.certificates.
    options: further arguments of redis-server. appendfsync: with "everysec" a write to the file may wait
    for the disk, and be lost with a process that is killed; with "no" only with the machine."""

    def __init__(self, folder, masters=3, replicas=1, tls=None, password=None, options=(),
                 node_timeout_ms=1000, appendfsync="no"):
        self.folder = os.path.join(str(folder), "redis")
        self.replicas = replicas
        self.tls = tls
        self.password = password
        self.options = list(options)
        self.node_timeout_ms = node_timeout_ms
        self.appendfsync = appendfsync
        self.nodes = [RedisNode(self, i) for i in range(masters * (1 + replicas))]

    def cli_options(self):
        options = ["--no-auth-warning"]
        if self.password:
            options += ["-a", self.password]
        if self.tls:
            options += ["--tls", "--cacert", self.tls.ca]
        return options

    def start(self):
        for node in self.nodes:
            node.start()
        # Who does not answer within this time while they meet is forgotten, and never asked again.
        self.set_node_timeout(60000)
        self.nodes[0].cli("--cluster", "create", *self.names(), "--cluster-replicas",
                          self.replicas, "--cluster-yes")
        self.wait_whole()
        self.set_node_timeout(self.node_timeout_ms)
        return self

    def end(self):
        for node in self.nodes:
            node.end()

    def names(self):
        return [node.name for node in self.nodes]

    def running(self):
        """Those that answer."""
        return [node for node in self.nodes if node.is_running() and not node.is_paused]

    def mend(self):
        """All of them run, and the cluster is whole."""
        for node in self.nodes:
            if not node.is_running():
                node.start()
            elif node.is_paused:
                node.resume()
        self.wait_whole()

    def masters(self):
        return [node for node in self.running() if node.role() == "master"]

    def master_of(self, key):
        """By the word of a master that has the slot; for a moment there may be none."""
        return wait_until(lambda: next((n for n in self.masters() if n.has_slot_of(key)), None), 15,
                          f"a master that has {key}", pause=0.1)

    def ask(self, key, *words):
        """One command about this key, of whoever is its master; for a moment that may be nobody."""
        def answer():
            try:
                return [self.master_of(key).command(*words)]
            except AssertionError as refusal:
                if not str(refusal).startswith(("MOVED", "CLUSTERDOWN", "READONLY")):
                    raise
                return None
        return wait_until(answer, 15, f"an answer about {key}", pause=0.1)[0]

    def keep_masters(self):
        """From now on nobody is said to have failed for the time a test takes: for what a failover, which
        a busy machine may bring about, would change."""
        self.set_node_timeout(600000)

    def set_node_timeout(self, ms):
        for node in self.running():
            node.cli("config", "set", "cluster-node-timeout", ms)

    def is_whole(self):
        """All nodes run, say "ok", and each replica has caught up."""
        for node in self.running():
            if "cluster_state:ok" not in node.cli("cluster", "info"):
                return False
            role = node.role()
            info = node.cli("info", "replication")
            if role == "master" and info.count("state=online") < self.replicas:
                return False
            if role == "slave" and "master_link_status:up" not in info:
                return False
        return True

    def wait_whole(self, limit=60):
        wait_until(self.is_whole, limit, "the Redis Cluster to be whole", pause=0.1)

    def wait_promoted(self, node, limit=30):
        """The running nodes agree and `node` (a master, now gone) has a successor."""
        def is_so():
            return all("cluster_state:ok" in other.cli("cluster", "info")
                       for other in self.running()) and len(self.masters()) * (
                           1 + self.replicas) == len(self.nodes)
        wait_until(is_so, limit, f"a successor of {node.name}", pause=0.1)

    def restart(self):
        """All of them killed, then all of them started; the data is in their append-only files."""
        for node in self.running():
            node.kill()
        for node in self.nodes:
            node.start()

    def written(self):
        """How long the append-only files of all nodes are: what a power failure may leave of them."""
        return {path: os.path.getsize(path) for node in self.nodes
                for path in glob.glob(os.path.join(node.folder, "appendonlydir", "*"))}

    def lose_power(self, written):
        """All of them end at once, and have on disk what they had at written(); they are not started."""
        for node in self.running():
            node.kill()
        for path, size in written.items():
            os.truncate(path, size)

    def move_slot(self, slot, source, target, meanwhile=lambda: None):
        """One slot with its keys, as redis-cli's reshard does; meanwhile(): before the nodes hear that it
        has moved."""
        source_id, target_id = source.cli("cluster", "myid"), target.cli("cluster", "myid")
        target.cli("cluster", "setslot", slot, "importing", source_id)
        source.cli("cluster", "setslot", slot, "migrating", target_id)
        auth = ["AUTH", self.password] if self.password else []
        while True:
            # Identifiers are bytes, which redis-cli would quote.
            keys = source.command("cluster", "getkeysinslot", slot, 500)
            if not keys:
                break
            source.command("migrate", "127.0.0.1", target.port, "", 0, 10000, *auth, "KEYS", *keys)
        meanwhile()
        for node in [target, source, *self.masters()]:
            node.cli("cluster", "setslot", slot, "node", target_id)
