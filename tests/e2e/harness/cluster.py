"""Several Isobar nodes on one Redis Cluster: one Global Broker."""
import os
import uuid
from dataclasses import dataclass

from .isobar import Isobar
from .process import wait_until

SHARDS = 16


def _shard(raw):
    """FNV-1a, as src/cluster/claim.c."""
    value = 2166136261
    for byte in raw:
        value = (value ^ byte) * 16777619 & 0xffffffff
    return value % SHARDS


def shard_of(identity):
    """Of a message with a claim."""
    return _shard(bytes.fromhex(identity.replace("-", "")))


def shard_of_topic(topic):
    """Of a message without one."""
    return _shard(topic.encode())


def address(redis):
    """The configuration's addresses of a harness.redis.RedisCluster."""
    scheme = "rediss" if redis.tls else "redis"
    who = f":{redis.password}@" if redis.password else ""
    return [f"{scheme}://{who}{node.name}" for node in redis.nodes]


class ClusterNode(Isobar):
    """One node, as harness.isobar.Isobar; cluster: keys of `cluster:` over the defaults."""

    def __init__(self, folder, redis, name, sources=None, cluster=None, config=None, **settings):
        self.name, self.redis = name, redis
        wanted = {"redis": address(redis), "node": name, **(cluster or {})}
        if redis.tls:
            wanted.setdefault("tls", {"ca": redis.tls.ca})
        super().__init__(os.path.join(str(folder), name), sources,
                         config={**(config or {}), "cluster": wanted}, **settings)

    def degraded(self):
        """Why it is, or ""."""
        return self.get_json("/readyz")["degraded_reason"]

    def wait_degraded(self, text, limit=15.0):
        """Until the reason holds this text; "": until it is not degraded."""
        def is_so():
            why = self.degraded()
            return text in why if text else why == ""
        wait_until(is_so, limit, lambda: f"degraded: {text!r}, is {self.degraded()!r}:\n"
                   + "\n".join(self.process.lines[-25:]), pause=0.05)


class Nodes:
    """n nodes of one Global Broker, named node-1 ...; settings as of ClusterNode."""

    def __init__(self, folder, redis, n, **settings):
        self.redis = redis
        self.nodes = [ClusterNode(folder, redis, f"node-{i + 1}", **settings) for i in range(n)]

    def __getitem__(self, i):
        return self.nodes[i]

    def __iter__(self):
        return iter(self.nodes)

    def start(self, settled=True):
        """settled: until each has reached Redis, is not degraded, and knows the others: whom a node does not
        know yet is dead to it when shards are dealt."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            if settled:
                node.wait_degraded("")
                node.process.wait_log(rf"cluster nodes alive={len(self.nodes)} ")
        return self

    def end(self):
        """A node that still ran must end cleanly."""
        for node in self.nodes:
            if not node.process:
                continue
            was_running = node.process.is_running()
            status = node.end()
            print(f"--- last lines of {node.name}'s log\n" + "\n".join(node.process.lines[-40:]))
            assert status == 0 or not was_running, f"{node.name} ended with status {status}:\n" \
                + node.process.log()[-8000:]


@dataclass(frozen=True)
class Record:
    """A message as it stands in the shared log (src/cluster/record.h)."""
    shard: int
    place: str
    id: str
    topic: str
    publisher: str
    previous: str = ""


def _record(shard, place, raw):
    flags, at = raw[1], 7
    identity = str(uuid.UUID(bytes=raw[at:at + 16]))
    at += 16
    previous = ""
    if flags & 0x80:
        previous = str(uuid.UUID(bytes=raw[at:at + 16]))
        at += 16
    texts = []
    for _ in range(3):
        n = int.from_bytes(raw[at:at + 2], "big")
        texts.append(raw[at + 2:at + 2 + n].decode())
        at += 2 + n
    return Record(shard, place, identity, texts[0], texts[1], previous)


def encode(message, previous="", publisher="by-hand"):
    """A harness.notifications.Message as another node would write it; previous: an id."""
    def text(value, length=2):
        return len(value).to_bytes(length, "big") + value
    return b"".join([
        bytes([1, 1 | (0x80 if previous else 0), 1]), bytes(4), uuid.UUID(message.id).bytes,
        uuid.UUID(previous).bytes if previous else b"", text(message.topic.encode()),
        text(publisher.encode()), text(b""), text(b"", 4), message.payload])


def add(redis, shard, *raws):
    """Appends these bytes to the shard's stream, in one piece; gives their places."""
    key = f"{{{shard}}}:log"
    return [redis.ask(key, "xadd", key, "*", "m", raw).decode() for raw in raws]


def stream(redis, events=False):
    """What the streams of all shards hold; events: Isobar's own on monitor/ as well."""
    found = []
    for k in range(SHARDS):
        key = f"{{{k}}}:log"
        for place, fields in redis.ask(key, "xrange", key, "-", "+"):
            found.append(_record(k, place.decode(), fields[1]))
    return [r for r in found if events or not r.topic.startswith("monitor/")]


def trim(redis):
    """No stream has an entry any more."""
    for k in range(SHARDS):
        redis.ask(f"{{{k}}}:log", "xtrim", f"{{{k}}}:log", "maxlen", 0)


def retained(redis):
    """What Redis has retained: {topic: (place, payload)}, without the mark from when on."""
    found = {}
    for k in range(SHARDS):
        key = f"{{{k}}}:retained"
        pairs = redis.ask(key, "hgetall", key)
        for topic, value in zip(pairs[::2], pairs[1::2]):
            place, record = value.split(b" ", 1) if topic else (value, b"")
            if topic:
                found[topic.decode()] = (place.decode(), _payload(record))
    return found


def _payload(raw):
    """Of a record (src/cluster/record.h) without a previous one."""
    at = 23
    for width in (2, 2, 2, 4):
        at += width + int.from_bytes(raw[at:at + width], "big")
    return raw[at:]
