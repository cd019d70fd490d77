"""Commit through a real Redis Cluster of six: claimed once, acknowledged when replicas have it."""
import socket
import time

from harness import notifications as wnm
from harness import wire
from harness.certificates import Authority
from harness.cluster import SHARDS, ClusterNode, shard_of, stream
from harness.kept import kept
from harness.process import wait_until
from harness.redis import RedisCluster

DWD = "de-dwd"
WRITER = {"user": "writer", "password": "writer", "read": ["#"],
          "write": ["origin/a/wis2/#", "free/#"], "session_expiry": "1h"}
NODES = {"accounts": [WRITER]}
WINDOW = 50


class Writer:
    """Publishes at QoS 1, WINDOW messages open at most, and knows which are acknowledged."""

    def __init__(self, node):
        self.wire = wire.Wire(node.port).login(user=b"writer", password=b"writer")
        self.wire.socket.settimeout(0.05)
        self.open = {}
        self.acknowledged = []
        self.next = 0

    def send(self, message):
        self.next = self.next % 60000 + 1
        self.open[self.next] = message
        self.wire.send(wire.publish(message.topic, message.payload, 5, 1, self.next))

    def take(self):
        """PUBACKs that are there, or come very soon."""
        try:
            found = self.wire.read()
        except socket.timeout:
            return
        assert found and found[0] == 0x40, found
        assert len(found[1]) == 2 or found[1][2] in (0, 0x10), found
        self.acknowledged.append(self.open.pop(int.from_bytes(found[1][:2], "big")))

    def wait(self, most=0, limit=30):
        """Until so many at most are open."""
        def is_so():
            if len(self.open) > most:
                self.take()
            return len(self.open) <= most
        wait_until(is_so, limit, lambda: f"{len(self.open)} messages to be acknowledged", pause=0)

    def publish(self, messages):
        for message in messages:
            self.send(message)
            self.wait(WINDOW - 1)
        self.wait()
        return self

    def stays_open(self, seconds):
        """Nothing is acknowledged for so long."""
        end, before = time.monotonic() + seconds, len(self.acknowledged)
        while time.monotonic() < end:
            self.take()
        return len(self.acknowledged) == before

    def end(self):
        self.wire.end()


writer = kept(Writer)


def ids(messages):
    return sorted(m.id for m in messages)


def pause(nodes):
    for node in nodes:
        node.pause()


def resume(nodes):
    for node in nodes:
        node.resume()


def replicas(redis):
    return [node for node in redis.running() if node.role() == "slave"]


def check_stream(redis, messages):
    """Each of them stands in the shared log once, and nothing else."""
    assert ids(stream(redis)) == ids(messages)


# --- claims ----------------------------------------------------------------------------

def test_a_message_is_claimed_once_over_two_nodes(nodes, writer, subscriber):
    both = nodes(2)
    readers = [subscriber(node.port, "origin/a/wis2/#", user="writer", password="writer")
               for node in both]
    messages = wnm.valid_many(DWD, 60)
    one, other = [writer(node) for node in both]
    for first, second in zip(messages, reversed(messages)):
        one.send(first)
        other.send(second)
        one.wait(WINDOW - 1)
        other.wait(WINDOW - 1)
    one.wait()
    other.wait()
    check_stream(both.redis, messages)
    assert {r.publisher for r in stream(both.redis)} == {"writer"}
    wait_until(lambda: sum(n.metric("isobar_repeats_total") for n in both) == 60, what="60 repeats")
    for reader in readers:
        got = reader.wait_count(60)
        assert sorted(m.payload for m in got) == sorted(m.payload for m in messages)


def test_messages_of_one_topic_name_the_one_before_and_those_without_a_claim_share_a_shard(
        nodes, writer):
    one = nodes(1)
    chain = [wnm.valid(DWD, number, tail=wnm.SYNOP) for number in range(5)]
    free = [wnm.Message("free/chat", f"{i}".encode()) for i in range(20)]
    writer(one[0]).publish(chain + free)
    records = stream(one.redis)
    before = {r.id: r.previous for r in records if r.topic == chain[0].topic}
    assert [before[m.id] for m in chain] == ["", *[m.id for m in chain[:-1]]]
    spoken = [r for r in records if r.topic == "free/chat"]
    assert len(spoken) == 20 and len({r.shard for r in spoken}) == 1
    assert len({r.id for r in spoken}) == 20


def test_claims_live_for_the_window_and_ten_minutes(nodes, writer):
    one = nodes(1, config={"antiloop": {"window": "2h"}})
    writer(one[0]).publish([wnm.valid(DWD), wnm.Message("free/x", b"y")])
    left = {}
    for k in range(SHARDS):
        master = one.redis.master_of(f"{{{k}}}:log")
        for key in master.command("keys", f"{{{k}}}:*"):
            if not key.endswith(b":log"):
                left[key] = master.command("pttl", key)
    times = sorted(int(ms) // 60000 for ms in left.values())
    assert times[0] in (9, 10) and times[-1] in (129, 130), times


def test_streams_are_trimmed_by_age_and_by_size(nodes, writer):
    one = nodes(1, cluster={"stream": {"keep": "1m", "size": "1MiB"}})
    w = writer(one[0])
    large = [wnm.Message("free/large", bytes(20000)) for _ in range(100)]

    def is_trimmed():
        w.publish(large)
        return any(int(one.redis.master_of(key).command("xlen", key)) < 100
                   for key in [f"{{{stream(one.redis)[0].shard}}}:log"])
    wait_until(is_trimmed, 20, "a shorter stream", pause=0.5)


# --- replicas ----------------------------------------------------------------------------

def test_first_and_repeat_alike_are_acknowledged_only_once_a_replica_has_them(
        nodes, writer, subscriber):
    both = nodes(2)
    one, other = [writer(node) for node in both]
    reader = subscriber(both[1].port, "origin/a/wis2/#", user="writer", password="writer")
    both.redis.keep_masters()
    stopped = replicas(both.redis)
    pause(stopped)
    # One of each shard: what comes behind another there, as a node's own events may be, waits.
    messages = list({shard_of(m.id): m for m in wnm.valid_many(DWD, 200)}.values())
    for message in messages:
        one.send(message)
    wait_until(lambda: len(stream(both.redis)) >= len(messages) // 2,
               what="messages in the streams")
    for message in messages:
        other.send(message)
    assert one.stays_open(2) and other.stays_open(0.5)
    assert not reader.messages, "what no replica has is not delivered"
    both[0].wait_degraded("sources are held")
    assert both[0].get("/readyz")[0] == 200
    resume(stopped)
    one.wait()
    other.wait()
    check_stream(both.redis, messages)
    both[0].wait_degraded("")
    both[0].wait_metric("isobar_hold_seconds", lambda n: n > 0)
    both[0].process.wait_log(r"cluster holding publishers=\"?writer")
    reader.wait_count(len(messages))


def test_messages_count_without_replicas_once_the_cluster_agrees_that_they_failed(nodes, writer):
    one = nodes(1)
    for node in replicas(one.redis):
        node.kill()
    w = writer(one[0]).publish(wnm.valid_many(DWD, 20))
    one[0].wait_degraded("replicas are missing")
    one[0].wait_metric("isobar_redis_short_shards", SHARDS)     # each master sees it for itself
    one.redis.mend()
    one[0].wait_degraded("")
    w.publish(wnm.valid_many(DWD, 20))
    one[0].wait_metric("isobar_redis_short_shards", 0)


# --- what goes wrong ------------------------------------------------------------------------

def disturbed(one, writer, disturb, count=600):
    """Publishes while `disturb` happens a third in; every message is there once and a first."""
    messages = wnm.valid_many(DWD, count)
    w = writer(one[0])
    w.publish(messages[:count // 3])
    disturb()
    w.publish(messages[count // 3:])
    check_stream(one.redis, messages)
    assert one[0].metric("isobar_repeats_total") == 0
    assert len(w.acknowledged) == count


def test_an_own_token_in_a_repeat_is_a_first_after_answers_were_lost(nodes, writer):
    one = nodes(1)
    messages = wnm.valid_many(DWD, 600)
    w = writer(one[0])
    for i, message in enumerate(messages):
        w.send(message)
        w.wait(WINDOW - 1)
        if i % 40 == 0:
            for node in one.redis.masters():
                node.cli("client", "kill", "type", "normal")
    w.wait()
    check_stream(one.redis, messages)
    assert one[0].metric("isobar_repeats_total") == 0
    one[0].wait_metric("isobar_redis_connections_lost_total", lambda n: n > 0)


def test_masters_that_forget_the_script_are_told_again(nodes, writer):
    one = nodes(1)
    disturbed(one, writer, lambda: [n.cli("script", "flush", "sync") for n in one.redis.masters()])


def test_nothing_is_lost_when_a_master_dies(nodes, writer):
    one = nodes(1)
    victim = one.redis.masters()[0]

    def kill():
        victim.kill()
    disturbed(one, writer, kill)


def test_a_node_starts_without_redis_and_serves_its_journal(nodes, writer, subscriber):
    one = nodes(1, settled=False)
    one[0].wait_degraded("")
    messages = wnm.valid_many(DWD, 10)
    writer(one[0]).publish(messages)
    one[0].wait_metric("isobar_followed_total", lambda n: n >= 10)
    one[0].stop()
    pause(one.redis.nodes)
    one[0].start()
    assert "not been reached" in one[0].degraded()
    reader = subscriber(one[0].port, "$replay/1h/origin/a/wis2/#", user="writer",
                        password="writer")
    assert len(reader.wait_count(10)) == 10
    w = writer(one[0])
    late = wnm.valid(DWD, 11)
    w.send(late)
    assert w.stays_open(0.5)
    resume(one.redis.nodes)
    w.wait()
    one[0].wait_degraded("")
    check_stream(one.redis, [*messages, late])


def test_a_cluster_of_another_kind_is_left_alone(nodes, empty, writer):
    empty.master_of("{isobar}:cluster").cli("set", "{isobar}:cluster", "1 4")
    one = nodes(1, settled=False)
    one[0].wait_degraded("another kind")
    w = writer(one[0])
    w.send(wnm.valid(DWD))
    assert w.stays_open(0.5)
    assert stream(empty, events=True) == []


def test_redis_behind_tls_and_a_password(tmp_path, keeper, writer):
    authority = Authority(tmp_path)
    certificate = authority.issue("redis", "IP:127.0.0.1,DNS:localhost")
    certificate.ca = authority.certificate
    redis = RedisCluster(tmp_path, replicas=0, tls=certificate, password="s3cret!")
    keeper.keep(redis.end)
    redis.start()
    node = ClusterNode(tmp_path, redis, "node-1", accounts=[WRITER], cluster={"acknowledge": 0})
    keeper.keep(lambda: node.process and node.end())
    node.start().wait_degraded("")
    writer(node).publish(wnm.valid_many(DWD, 20))
    node.wait_metric("isobar_claims_total", lambda n: n >= 20)
    assert "s3cret" not in node.process.log()


# --- Redis out of reach ----------------------------------------------------------------------

def test_spooled_messages_are_acknowledged_and_committed_in_order_after_a_kill(nodes, writer):
    both = nodes(2, cluster={"on_store_failure": "spool"})
    pause(both.redis.nodes)
    messages = [wnm.valid(DWD, i, tail=wnm.SYNOP) for i in range(200)]
    w = writer(both[0]).publish(messages)
    assert len(w.acknowledged) == 200
    both[0].wait_degraded("kept on this machine's disk")
    both[0].wait_metric("isobar_cluster_state", 1, state="spooling")
    repeats = writer(both[0]).publish(messages[:50])
    assert len(repeats.acknowledged) == 50
    both[0].wait_metric("isobar_spool_messages", lambda n: n >= 200)
    both[0].kill()
    both[0].process.wait(10)
    both[0].start(ready=True)
    assert both[0].metric("isobar_spool_messages") >= 200
    resume(both.redis.nodes)
    both[0].wait_degraded("", limit=30)
    check_stream(both.redis, messages)
    chain = {r.id: r.previous for r in stream(both.redis)}
    assert [chain[m.id] for m in messages[1:]] == [m.id for m in messages[:-1]]
    both[0].wait_metric("isobar_spool_messages", 0)
    writer(both[0]).publish([wnm.valid(DWD, 500)])


def test_under_local_this_nodes_subscribers_go_on_and_what_escaped_is_counted(
        nodes, writer, subscriber):
    both = nodes(2, cluster={"on_store_failure": "local"},
                 config={"journal": {"size": "1GiB", "sync": "always"}})
    here, there = [subscriber(node.port, "origin/a/wis2/#", user="writer", password="writer")
                   for node in both]
    pause(both.redis.nodes)
    messages = wnm.valid_many(DWD, 40)
    writer(both[0]).publish(messages)
    assert len(here.wait_count(40)) == 40 and not there.messages
    writer(both[1]).publish(messages[:15])
    assert len(there.wait_count(15)) == 15
    resume(both.redis.nodes)
    for node in both:
        node.wait_degraded("", limit=30)
    check_stream(both.redis, messages)
    there.wait_count(40)
    wait_until(lambda: sum(node.metric("isobar_escaped_total") for node in both) == 15,
               what="all that escaped to be counted")
    for reader in (here, there):
        assert len({m.payload for m in reader.messages}) == len(reader.messages) == 40


def test_held_messages_are_committed_once_when_all_of_redis_comes_back(nodes, writer):
    one = nodes(1)
    messages = wnm.valid_many(DWD, 120)
    w = writer(one[0]).publish(messages[:60])
    for node in one.redis.running():
        node.kill()
    for message in messages[60:60 + WINDOW]:
        w.send(message)
    assert w.stays_open(2)
    one[0].wait_degraded("sources are held")
    one[0].stop()
    one[0].start()
    for node in one.redis.nodes:
        node.start()
    w = writer(one[0])
    for message in messages[60:60 + WINDOW]:
        w.send(message)
    w.wait()
    w.publish(messages[60 + WINDOW:])
    check_stream(one.redis, messages)
