"""A whole cluster under a steady load, and what may befall it, one fault after the other.

    WIS2 Nodes (mosquitto), another Global Broker that repeats all      each with two holders
       \\ | /
    three Isobar nodes <-----> six Redis instances                      claims, the shared log
       / | \\   \\
    a persistent and a clean reader on each, two more through HAProxy   each counts what it gets

A fault is a function of the World; FAULTS names them, so any sequence of names is a story. After each one
everything that went is brought back and `settle` counts: every message that a WIS2 Node acknowledged
reaches every persistent reader, no id stands in the streams twice, no reader saw a message twice on one
connection, no session was lost. The longest gap in delivery is printed, not judged: a busy machine has
gaps of its own (the gap of three quiet seconds before the fault is printed with it).
"""
import base64
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter

from . import haproxy
from .clients import Subscriber
from .cluster import SHARDS, ClusterNode
from .load import Feed, Reader, Readers
from .mosquitto import Mosquitto
from .ports import free_port
from .process import binary, wait_until
from .redis import RedisCluster

CENTRES = ("de-dwd", "ca-eccc-msc", "fr-meteofrance", "jp-jma")
BASIC = {"Authorization": "Basic " + base64.b64encode(b"everyone:everyone").decode()}
REPEATER = "cn-cma-global-broker"
READER = {"user": "everyone", "password": "everyone", "read": ["#"], "session_expiry": "1h", "admin": True}
GROUP = 64003           # of the node that is cut off: its packets are known by it
TABLE = "isobar_test"


def clock(seconds):
    """A wrapper for a program whose wall clock is so far off (tests/cluster/clock.c)."""
    library = os.path.join(os.path.dirname(binary()), "tests", "cluster", "clock.so")
    return ["env", f"LD_PRELOAD={library}", f"CLOCK_OFFSET={seconds}"] if seconds else []


class World:
    """folder: for all files. rate: messages a second at the WIS2 Nodes, and as many repeats. on_failure: of
    the nodes. queue: messages a WIS2 Node keeps for a client, 0: all. clocks: seconds by which the wall
    clocks of the nodes, and of the Redis instances, are off. cut: whether the last node can be cut
    off. holders: of each source. seed: of whatever is random."""

    def __init__(self, folder, rate, on_failure="hold", queue=0, clocks=(0, 0, 0), cut=False, holders=2,
                 seed=1):
        self.folder, self.rate, self.queue, self.each = str(folder), rate, queue, holders
        self.random = random.Random(seed)
        self.redis = RedisCluster(folder)
        for i, instance in enumerate(self.redis.nodes):
            instance.wrapper = clock(clocks[i % len(clocks)])
        self.peers = {centre: self._peer(centre) for centre in CENTRES}
        self.repeater = self._peer(REPEATER)
        self.repeats = holders > 1  # of which there are none where drops are counted
        self.nodes = [self._node(i, on_failure, clocks[i % len(clocks)], cut) for i in range(3)]
        self.front = haproxy.Front(folder, [(n.fixed["mqtt"], n.fixed["http"]) for n in self.nodes])
        self.feed = self.readers = None
        self.places = {}            # of each shard's stream: read so far
        self.appended = Counter()
        self.touched = set()        # numbers of the nodes that this fault took away
        self.lost = set()           # ids that need not come, since their WIS2 Node dropped them
        self.lines = []
        self.begun = time.monotonic()

    def _peer(self, centre):
        options = [f"max_queued_messages {self.queue}", "sys_interval 1"]
        return Mosquitto(self.folder, centre, options=options, log="information")

    def _node(self, i, on_failure, seconds, cut):
        ports = {"mqtt": free_port(), "http": free_port()}
        sources = {c: {"centre_id": c, "kind": "node", "url": p.url} for c, p in self.peers.items()}
        sources[REPEATER] = {"centre_id": REPEATER, "kind": "broker", "url": self.repeater.url}
        wrapper = clock(seconds)
        if cut and i == 2:
            wrapper = [*wrapper, "setpriv", f"--regid={GROUP}", "--clear-groups"]
        node = ClusterNode(
            self.folder, self.redis, f"node-{i + 1}", sources, accounts=[READER], wrapper=wrapper,
            cluster={"on_store_failure": on_failure, "replicas": self.each, "stream": {"keep": "5m"}},
            config={"listeners": [f"{scheme}://127.0.0.1:{port}" for scheme, port in ports.items()],
                    "journal": {"size": "4GiB"}})
        node.fixed = ports
        return node

    # --- life

    def start(self):
        self.redis.start()
        for peer in [*self.peers.values(), self.repeater]:
            peer.start()
        for node in self.nodes:
            node.start()
        self.wait_whole()
        self.front.start()
        self.readers = Readers([reader for i, node in enumerate(self.nodes)
                                for reader in self._pair(f"node-{i + 1}", node.fixed["mqtt"])]
                               + self._pair("front", self.front.port))
        wait_until(lambda: all(r.is_subscribed for r in self.readers.readers), 20, "subscriptions")
        self.feed = Feed(self.peers, self.rate, self.repeater if self.repeats else None)
        wait_until(lambda: len(self.feed.acknowledged) > self.rate, 20, "the first messages")
        return self

    @staticmethod
    def _pair(name, port):
        return [Reader(f"{name}-persistent", lambda: port, True), Reader(f"{name}-clean", lambda: port, False)]

    def end(self):
        heal()
        things = [self.feed, self.readers, *(n for n in self.nodes if n.process), self.front,
                  *(p.process for p in [*self.peers.values(), self.repeater] if p.process), self.redis]
        for thing in things:
            if thing:
                thing.end()

    # --- the state it is in

    def reached_by_front(self):
        """The number of the node that the persistent reader behind HAProxy is connected to."""
        name = self.readers.readers[-2].name
        for number, node in enumerate(self.nodes):
            status, _, body = node.get(f"/api/v1/clients?client_id={name}", headers=BASIC)
            if status == 200 and json.loads(body)["clients"]:
                return number
        raise AssertionError(f"nobody has {name}")

    def holders(self):
        """Of each source: so many are connected."""
        found = Counter()
        for node in self.nodes:
            status, _, _ = node.get("/readyz")
            if status:
                found.update(s["centre_id"] for s in node.get_json("/api/v1/sources")["sources"]
                             if s["state"] == "connected")
        return found

    def is_held(self):
        found = self.holders()
        return all(found[c] == self.each for c in [*CENTRES, REPEATER])

    def wait_whole(self, limit=60):
        for node in self.nodes:
            node.wait_degraded("", limit)
        wait_until(self.is_held, limit, lambda: f"holders: {self.holders()}", pause=0.1)

    def tell(self, text):
        line = f"{time.monotonic() - self.begun:7.1f} s  {text}"
        self.lines.append(line)
        print(line, flush=True)

    def pause(self, seconds):
        time.sleep(seconds)
        assert not self.feed.failure, self.feed.failure
        assert not self.readers.failure, self.readers.failure

    # --- the story

    def play(self, names):
        for name in names:
            self.run(name)
        return self

    def run(self, name):
        self.mark()
        self.pause(3)
        quiet = max(r.longest[0] for r in self.readers.readers)
        self.touched = set()
        self.mark()
        began = time.monotonic()
        self.tell(f"{name}: begins, longest gap before {quiet * 1000:.0f} ms, "
                  f"load of the machine {os.getloadavg()[0]:.1f}")
        result = FAULTS[name](self)
        over = time.monotonic()
        self.settle()
        self.tell(f"{name}: {result or 'over'}; it took {over - began:.1f} s, all delivered after "
                  f"{time.monotonic() - over:.1f} s more; longest gap at survivors "
                  f"{self.longest() * 1000:.0f} ms, through HAProxy "
                  f"{max(r.longest[0] for r in self.readers.readers[-2:]) * 1000:.0f} ms; "
                  f"{len(self.feed.acknowledged)} messages so far")

    def mark(self):
        for reader in self.readers.readers:
            reader.mark()

    def longest(self):
        """The longest gap of a reader whose node stayed."""
        return max([r.longest[0] for i in range(3) if i not in self.touched
                    for r in self.readers.readers[2 * i:2 * i + 2]] or [0])

    def settle(self):
        """Everything is brought back and counted."""
        heal()
        self.redis.mend()
        for node in self.nodes:
            if not node.process.is_running():
                node.start()
        self.wait_whole(120)
        acknowledged = [i for i in list(self.feed.acknowledged) if i not in self.lost]
        for reader in self.readers.readers:
            if reader.is_persistent:
                wait_until(lambda r=reader: not r.missing(acknowledged), 60,
                           lambda r=reader: self._blame(r, acknowledged), pause=0.1)
            assert reader.repeats == 0, f"{reader.name}: {reader.repeats} repeats on one connection"
            assert reader.lost_sessions == 0, f"{reader.name}: {reader.lost_sessions} sessions lost"
        self.check_streams(acknowledged)

    def dropped(self):
        """How many messages the centres' brokers say they dropped."""
        total = 0
        for peer in self.peers.values():
            reader = Subscriber(peer.port, "$SYS/broker/publish/messages/dropped")
            total += int(reader.wait_count(1)[-1].payload)
            reader.end()
        return total

    def wait_drained(self):
        """Until what the WIS2 Nodes held has been taken, and what came last has come; the ids that no
        reader got."""
        persistent = [r for r in self.readers.readers if r.is_persistent]
        count = len(self.feed.acknowledged) + 2 * self.rate
        wait_until(lambda: len(self.feed.acknowledged) > count, 60, "more messages")
        acknowledged = self.feed.acknowledged[:count]
        last = acknowledged[-len(self.feed.forms):]     # one of each topic, and each topic is in order
        for reader in persistent:
            wait_until(lambda r=reader: all(i in r.counts for i in last), 60, f"{reader.name}: the last")
        lost = [set(r.missing(acknowledged)) for r in persistent]
        assert all(ids == lost[0] for ids in lost), f"lost: {[len(ids) for ids in lost]}"
        return lost[0]

    def _blame(self, reader, acknowledged):
        missing = reader.missing(acknowledged)
        where = Counter()
        for identity in missing:
            where[("in the streams" if self.appended[identity.decode()] else "not in the streams")] += 1
            where["with others"] += any(identity in r.counts for r in self.readers.readers)
        return (f"{reader.name}: {len(missing)} of {len(acknowledged)} missing, {dict(where)}, "
                f"first ones {missing[:3]}, the {acknowledged.index(missing[0])}th of all")

    def check_streams(self, acknowledged):
        """No id was appended twice, and all were appended."""
        for k in range(SHARDS):
            key = f"{{{k}}}:log"
            after = self.places.get(k)
            for place, fields in self.redis.ask(
                    key, "xrange", key, f"({after}" if after else "-", "+"):
                self.places[k] = place.decode()
                self.appended[identity_of(fields[1])] += 1
        twice = [i for i, n in self.appended.items() if n > 1]
        assert not twice, f"{len(twice)} ids were appended more than once, first ones {twice[:3]}"
        never = [i for i in acknowledged if not self.appended[i.decode()]]
        assert not never, f"{len(never)} messages are not in the streams, first ones {never[:3]}"


def identity_of(raw):
    """Of a record of the shared log (src/cluster/record.h), as text."""
    text = raw[7:23].hex()
    return "-".join([text[:8], text[8:12], text[12:16], text[16:20], text[20:]])


def cut_off():
    """Packets of the last node go nowhere from now on, in either direction."""
    subprocess.run(["nft", "-f", "-"], check=True, text=True, input=f"""
        table inet {TABLE} {{
            chain out {{ type filter hook output priority 0; meta skgid {GROUP} drop; }}
        }}""")


def heal():
    if os.geteuid() == 0:
        subprocess.run(["nft", "delete", "table", "inet", TABLE], check=False, capture_output=True)


# --- faults ------------------------------------------------------------------

def kill_node(world, away=3):
    """An Isobar node dies and comes back."""
    number = world.random.randrange(3)
    world.touched.add(number)
    world.nodes[number].kill()
    world.pause(away)
    world.nodes[number].start()
    return f"node-{number + 1} killed, away for {away} s"


def stop_node(world):
    """An Isobar node is told to end."""
    number = world.random.randrange(3)
    world.touched.add(number)
    world.nodes[number].stop()
    world.pause(1)
    world.nodes[number].start()
    return f"node-{number + 1} stopped"


def kill_master(world):
    """A Redis master dies, its replica takes over."""
    master = world.random.choice(world.redis.masters())
    begun = time.monotonic()
    master.kill()
    world.redis.wait_promoted(master)
    failover = time.monotonic() - begun
    world.pause(2)
    return f"Redis failed over in {failover:.2f} s"


def partition(world):
    """The last node reaches nobody, and nobody it, for ten seconds."""
    world.touched.add(2)
    cut_off()
    world.pause(10)
    heal()
    return "node-3 cut off for 10 s"


def outage(world, seconds=30):
    """No Redis instance is there; all come back with what their files have."""
    for instance in world.redis.nodes:
        instance.kill()
    world.pause(seconds)
    for instance in world.redis.nodes:
        instance.start()
    back = time.monotonic()
    count = len(world.feed.acknowledged)

    def is_caught_up():
        """What the WIS2 Nodes were given since, if they did not have to drop it."""
        fresh = world.feed.acknowledged[count:][-2 * world.rate:]
        return any(i in r.counts for r in world.readers.readers for i in fresh)
    wait_until(is_caught_up, 60, "delivery again", pause=0.1)
    return f"all of Redis gone for {seconds} s, caught up {time.monotonic() - back:.1f} s after its start"


def short_outage(world):
    return outage(world, 3)


def outage_held(world):
    """The same under `hold`, with queues too short: lost is what the WIS2 Nodes dropped, no more, and the
    log names every one of them. One holder each, so that a broker drops a message once."""
    before = world.dropped()
    marks = [node.process.mark() for node in world.nodes]
    result = outage(world)
    world.wait_whole()
    world.lost = world.wait_drained()
    dropped = world.dropped() - before
    assert len(world.lost) == dropped, f"lost {len(world.lost)}, dropped by WIS2 Nodes {dropped}"
    named = "".join(line for node, mark in zip(world.nodes, marks)
                    for line in node.process.find_log("cluster holding publishers=", mark))
    assert all(centre in named for centre in world.peers), named
    return f"{result}; WIS2 Nodes dropped {dropped} messages, and these are what is missing"


def outage_moved(world):
    """Clients have to change nodes while there is no Redis: the front's node dies."""
    for instance in world.redis.nodes:
        instance.kill()
    world.pause(2)
    number = world.reached_by_front()
    world.touched.add(number)
    world.nodes[number].kill()
    world.pause(3)
    for instance in world.redis.nodes:
        instance.start()
    world.nodes[number].start()
    return f"all of Redis gone, and node-{number + 1} killed meanwhile"


def rolling(world):
    """Every program is restarted, one after the other."""
    for number, node in enumerate(world.nodes):
        world.touched.add(number)
        node.stop()
        node.start()
        world.wait_whole()
    for instance in world.redis.nodes:
        instance.process.signal(signal.SIGTERM)
        instance.process.wait()
        instance.start()
        world.redis.wait_whole()
    world.front.end()
    world.front.start()
    return "three nodes, six Redis instances and HAProxy restarted"


def kills(world, count=20):
    """Whatever it is, at any moment. Redis' instances only while it is whole: two at a time may be a master
    and its only replica, which no broker survives."""
    killed = Counter()
    for _ in range(count):
        world.pause(world.random.uniform(0.1, 2.5))
        down = [i for i, n in enumerate(world.nodes) if not n.process.is_running()]
        if world.random.random() < 0.4 and world.redis.is_whole() \
                and len(world.redis.running()) == len(world.redis.nodes):
            victim = world.random.choice(world.redis.nodes)
            victim.kill()
            killed["Redis"] += 1
        else:
            number = world.random.choice([i for i in range(3) if i not in down])
            world.touched.add(number)
            world.nodes[number].kill()
            killed["Isobar"] += 1
            down.append(number)
        if down and (len(down) == 2 or world.random.random() < 0.5):
            world.nodes[world.random.choice(down)].start(ready=False)
        if world.random.random() < 0.5:
            for instance in world.redis.nodes:
                if not instance.is_running():
                    instance.start()
    return f"killed {dict(killed)}"


FAULTS = {
    "kill-node": kill_node, "stop-node": stop_node, "kill-master": kill_master, "partition": partition,
    "outage": outage, "short-outage": short_outage, "outage-held": outage_held,
    "outage-moved": outage_moved, "rolling": rolling, "kills": kills,
}
