"""Every node follows the shared log of a real Redis Cluster of six into its own journal."""
import os
import threading

import pytest

from harness import notifications as wnm
from harness.clients import assert_same
from harness.cluster import add, encode, stream
from harness.process import wait_until

DWD = "de-dwd"
ACCOUNTS = [{"user": "writer", "password": "writer", "read": ["#"],
             "write": ["origin/a/wis2/#", "free/#"]},
            {"user": "everyone", "password": "everyone", "read": ["#"]}]
NODES = {"accounts": ACCOUNTS}


@pytest.fixture
def writer(client):
    return lambda node: client(node.port, user="writer", password="writer")


class Steady:
    """Publishes in a thread, 20 at a time, each acknowledged; `count` of them in all."""

    def __init__(self, client, count, start=0):
        self.messages = [wnm.valid(DWD, start + i) for i in range(count)]
        self.client = client
        self.done = 0
        self.failure = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            for at in range(0, len(self.messages), 20):
                self.client.publish_all(self.messages[at:at + 20], limit=60)
                self.done = min(at + 20, len(self.messages))
        except AssertionError as failure:
            self.failure = failure

    def wait(self, least, limit=60):
        wait_until(lambda: self.done >= least or self.failure, limit,
                   lambda: f"{self.done} of {least} published")
        assert not self.failure, self.failure

    def end(self):
        self.wait(len(self.messages))
        self.thread.join()
        return self.messages


def expect_all(readers, messages, limit=30):
    for reader in readers:
        reader.wait_count(len(messages), limit)
    for reader in readers:
        assert_same(reader.messages, messages)


def replayed(subscriber, node, messages, limit=30):
    """The node's journal has these messages, each once."""
    reader = subscriber(node.port, "$replay/1h/origin/#")
    reader.wait_count(len(messages), limit)
    assert_same(reader.messages, messages)


def by_topic(messages):
    rows = {}
    for m in messages:
        rows.setdefault(m.topic, []).append(bytes(m.payload))
    return rows


# --- the same everywhere -----------------------------------------------------

def test_every_node_delivers_every_message_once(nodes, writer, subscriber):
    three = nodes(3)
    readers = [subscriber(node.port, "origin/#") for node in three]
    writers = [writer(node) for node in three]
    messages = wnm.valid_many(DWD, 300)
    for i, w in enumerate(writers):
        w.publish_all(messages[i * 60:i * 60 + 180])
    expect_all(readers, messages)


def test_what_one_connection_publishes_stays_in_order_per_topic(nodes, writer, subscriber):
    two = nodes(2)
    readers = [subscriber(node.port, "origin/#") for node in two]
    messages = [wnm.valid(DWD, i, tail=wnm.TAILS[i % 2]) for i in range(600)]
    writer(two[0]).publish_all(messages)
    expect_all(readers, messages)
    for node, reader in zip(two, readers):
        if node.metric("isobar_follow_unordered_total") == 0:
            assert by_topic(reader.messages) == by_topic(messages)


# --- order, with records placed by hand --------------------------------------

def two_shards_of_one_master(redis):
    """Shards whose entries can be added by one master in one go."""
    first = redis.master_of("{0}:log")
    second = next(k for k in range(1, 16) if redis.master_of(f"{{{k}}}:log") is first)
    return first, 0, second


def test_a_record_is_kept_back_until_the_one_before_it_is_there(nodes, subscriber):
    """Without that the second of each pair, which stands in a shard that is read first, comes first."""
    node = nodes(1)[0]
    reader = subscriber(node.port, "origin/#")
    master, early, late = two_shards_of_one_master(node.redis)
    messages = wnm.valid_many(DWD, 400, tail=wnm.SYNOP)
    commands = []
    for i in range(0, 400, 2):
        commands.append([b"XADD", b"{%d}:log" % early, b"*", b"m",
                         encode(messages[i + 1], previous=messages[i].id)])
    for i in range(0, 400, 2):
        commands.append([b"XADD", b"{%d}:log" % late, b"*", b"m", encode(messages[i])])
    master.pipeline(commands)
    reader.wait_count(400)
    assert_same(reader.messages, messages)
    place = {bytes(m.payload): i for i, m in enumerate(reader.messages)}
    wrong = sum(place[messages[i].payload] > place[messages[i + 1].payload]
                for i in range(0, 400, 2))
    node.wait_metric("isobar_follow_unordered_total", lambda told: wrong <= told)


def test_what_never_comes_holds_nobody_for_long(nodes, subscriber):
    node = nodes(1)[0]
    reader = subscriber(node.port, "origin/#")
    messages = wnm.valid_many(DWD, 3)
    lost = wnm.valid(DWD, 9)
    add(node.redis, 4, encode(messages[0], previous=lost.id), encode(messages[1]))
    add(node.redis, 5, encode(messages[2]))
    expect_all([reader], messages)
    node.wait_metric("isobar_follow_unordered_total", 1)
    order = [bytes(m.payload) for m in reader.messages if m.payload != messages[2].payload]
    assert order == [messages[0].payload, messages[1].payload]


# --- what counts, and what is no record ----------------------------------------

def test_what_only_an_isolated_master_has_is_never_delivered(nodes, subscriber):
    node = nodes(1)[0]
    redis = node.redis
    redis.keep_masters()
    reader = subscriber(node.port, "origin/#")
    before, isolated, after, elsewhere = wnm.valid_many(DWD, 4)
    add(redis, 3, encode(before))
    reader.wait_count(1)
    master = redis.master_of("{3}:log")
    replica = master.replicas()[0]
    master.cli("acl", "setuser", "default", "-psync", "-sync")     # it is alive, and gets nothing
    try:
        master.cli("client", "kill", "type", "replica")
        wait_until(lambda: "connected_slaves:0" in master.cli("info", "replication"),
                   what="the replica to be cut off")
        add(redis, 3, encode(isolated))
        other = next(k for k in range(16) if redis.master_of(f"{{{k}}}:log") is not master)
        add(redis, other, encode(elsewhere))
        node.wait_metric("isobar_follow_unconfirmed_total", lambda n: n >= 2)
        node.wait_metric("isobar_follow_shards", lambda n: n >= 1, state="unsafe")
        replica.cli("cluster", "failover", "takeover")
        wait_until(lambda: replica.role() == "master", what="the replica to take over")
    finally:
        master.cli("acl", "setuser", "default", "+psync", "+sync")
    redis.wait_whole()
    assert isolated.id not in {r.id for r in stream(redis)}
    add(redis, 3, encode(after))
    expect_all([reader], [before, elsewhere, after])


def test_what_is_no_record_is_passed_over_and_counted(nodes, subscriber):
    node = nodes(1)[0]
    reader = subscriber(node.port, "origin/#")
    messages = wnm.valid_many(DWD, 2)
    add(node.redis, 6, encode(messages[0]), b"\x01 no record", b"", encode(messages[1]))
    expect_all([reader], messages)
    node.wait_metric("isobar_follow_malformed_total", 2)
    node.process.wait_log("no_record")


def test_a_shard_stands_still_at_a_record_of_a_newer_version(nodes, subscriber):
    node = nodes(1)[0]
    reader = subscriber(node.port, "origin/#")
    before, newer, behind, elsewhere = wnm.valid_many(DWD, 4)
    add(node.redis, 7, encode(before), b"\x02" + encode(newer)[1:], encode(behind))
    node.wait_metric("isobar_follow_shards", 1, state="newer")
    add(node.redis, 8, encode(elsewhere))
    expect_all([reader], [before, elsewhere])
    node.wait_degraded("upgraded")
    node.process.wait_log("newer_record")
    assert len(node.process.find_log("newer_record")) == 1
    assert node.get("/readyz")[0] == 200
    # It is passed by who can read it, or when the stream no longer has it.
    node.redis.master_of("{7}:log").command("xtrim", "{7}:log", "maxlen", 1)
    node.stop()
    node.start().wait_degraded("")
    replayed(subscriber, node, [before, elsewhere, behind])


# --- restarts -------------------------------------------------------------------

@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restarted_node_goes_on_where_it_was(nodes, writer, subscriber, how):
    two = nodes(2)
    two.redis.keep_masters()
    w = writer(two[0])
    first = wnm.valid_many(DWD, 100)
    w.publish_all(first)
    two[1].wait_metric("isobar_followed_total", lambda n: n >= 100)
    getattr(two[1], how)()
    second = [wnm.valid(DWD, 100 + i) for i in range(150)]
    w.publish_all(second)
    two[1].start().wait_degraded("")
    replayed(subscriber, two[1], first + second)
    assert two[1].metric("isobar_follow_missed_total") == 0
    if how == "stop":
        # What it had is not read again: nothing changed at Redis meanwhile.
        two[1].wait_metric("isobar_followed_total", lambda n: n >= 150)
        assert two[1].metric("isobar_followed_total") < 200


def test_a_new_node_begins_with_the_oldest_that_redis_has(nodes, writer, subscriber):
    two = nodes(2, start=False)
    two[0].start().wait_degraded("")
    messages = wnm.valid_many(DWD, 200)
    writer(two[0]).publish_all(messages)
    two[1].start()
    replayed(subscriber, two[1], messages)


def ever_added(redis):
    """Entries of all streams, those trimmed included."""
    states = [redis.master_of(f"{{{k}}}:log").command("xinfo", "stream", f"{{{k}}}:log")
              for k in range(16)]
    return sum(int(row[row.index(b"entries-added") + 1]) for row in states)


def has_counted(node):
    """Does its bookmark (src/cluster/bookmark.h) know the ordinals of all shards?"""
    path = os.path.join(node.data, "cluster", "bookmark")
    if not os.path.exists(path):
        return False
    with open(path, "rb") as f:
        both = f.read()
    for slot in (both[:16384], both[16384:]):
        rows = [slot[at:at + 56] for at in range(40, 40 + 56 * 16, 56)]
        if slot[:8] == b"isobarBM" and all(row[8:16] != b"\xff" * 8 for row in rows):
            return True
    return False


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_what_was_trimmed_before_it_was_read_is_counted(nodes, writer, how):
    two = nodes(2)
    redis = two.redis
    w = writer(two[0])
    w.publish_all(wnm.valid_many(DWD, 100))
    two[1].wait_metric("isobar_followed_total", lambda n: n >= 100)
    wait_until(lambda: has_counted(two[1]), what="a bookmark with ordinals")
    getattr(two[1], how)()
    w.publish_all([wnm.valid(DWD, 100 + i) for i in range(300)])
    for k in range(16):
        redis.master_of(f"{{{k}}}:log").command("xtrim", f"{{{k}}}:log", "maxlen", 2)
    two[1].start()
    w.publish_all([wnm.valid(DWD, 1000)])
    # Not one more or less: what it has and what it missed is what there ever was.
    wait_until(lambda: two[1].metric("isobar_follow_missed_total") == ever_added(redis)
               - two[1].get_json("/api/v1/status")["antiloop"]["ids"],
               what="all missed ones to be counted")
    assert two[1].metric("isobar_follow_missed_total") >= 250
    two[1].process.wait_log("missed shard=")


# --- another master, another stream -------------------------------------------

def rewrite(master, shard, *entries):
    """The shard's stream becomes these (milliseconds, message), in one step."""
    lines = ["redis.call('DEL', KEYS[1])"]
    words = []
    for i, (ms, message) in enumerate(entries):
        lines.append(f"redis.call('XADD', KEYS[1], ARGV[{2 * i + 1}], 'm', ARGV[{2 * i + 2}])")
        words += [f"{ms}-0".encode(), encode(message)]
    master.command("eval", "\n".join(lines), 1, f"{{{shard}}}:log", *words)


def test_on_another_master_it_goes_back_a_minute_and_drops_what_it_has(nodes, subscriber):
    node = nodes(1)[0]
    redis = node.redis
    redis.keep_masters()
    reader = subscriber(node.port, "origin/#")
    first, older, second, third = wnm.valid_many(DWD, 4)
    master = redis.master_of("{9}:log")
    now = int(add(redis, 9, encode(first))[0].split("-")[0])
    reader.wait_count(1)
    # As a master does whose clock is late: an entry at a place that has been passed.
    rewrite(master, 9, (now - 30000, older), (now, first), (now + 1, second))
    reader.wait_count(2)
    assert_same(reader.messages, [first, second])
    before = node.metric("isobar_followed_total")
    replica = master.replicas()[0]
    replica.cli("cluster", "failover", "takeover")   # it has all that was delivered
    wait_until(lambda: replica.role() == "master", what="the replica to take over")
    redis.wait_whole()
    add(redis, 9, encode(third))
    expect_all([reader], [first, second, older, third])
    node.wait_metric("isobar_followed_total", lambda n: n >= before + 4)


def test_a_stream_that_fell_back_is_followed_from_there(nodes, subscriber):
    node = nodes(1)[0]
    redis = node.redis
    redis.keep_masters()
    reader = subscriber(node.port, "origin/#")
    first, second, third = wnm.valid_many(DWD, 3)
    now = int(add(redis, 10, encode(first))[0].split("-")[0])
    reader.wait_count(1)
    rewrite(redis.master_of("{10}:log"), 10, (now - 100000, second), (now - 90000, third))
    expect_all([reader], [first, second, third])
    assert node.metric("isobar_follow_missed_total") == 0


# --- faults of Redis under load ---------------------------------------------------

def test_a_killed_master_loses_and_repeats_nothing(nodes, writer, subscriber):
    two = nodes(2)
    redis = two.redis
    readers = [subscriber(node.port, "origin/#") for node in two]
    load = Steady(writer(two[0]), 800)
    load.wait(200)
    victim = redis.master_of("{3}:log")
    victim.kill()
    redis.wait_promoted(victim)
    victim.start()
    expect_all(readers, load.end())


def test_a_slot_moves_under_load(nodes, writer, subscriber):
    two = nodes(2)
    redis = two.redis
    readers = [subscriber(node.port, "origin/#") for node in two]
    load = Steady(writer(two[0]), 800)
    load.wait(200)
    source = redis.master_of("{5}:log")
    target = next(node for node in redis.masters() if node is not source)
    redis.move_slot(int(source.cli("cluster", "keyslot", "{5}:log")), source, target)
    expect_all(readers, load.end())
    assert redis.master_of("{5}:log") is target
    assert two[1].metric("isobar_follow_missed_total") == 0


def test_all_of_redis_restarts_under_load(nodes, writer, subscriber):
    two = nodes(2)
    redis = two.redis
    readers = [subscriber(node.port, "origin/#") for node in two]
    load = Steady(writer(two[0]), 800)
    load.wait(200)
    redis.restart()
    expect_all(readers, load.end(), limit=60)
    assert two[1].metric("isobar_follow_missed_total") == 0
# --- Redis loses what it had acknowledged -------------------------------------------------

def test_what_redis_lost_is_put_back_by_who_has_it(nodes, writer, subscriber):
    """All instances lose power, and the last of their files was not on disk: a node that was away gets it
    from the shared log all the same, and nobody gets anything twice."""
    one, two, three = nodes(3)
    redis = one.redis
    readers = [subscriber(node.port, "origin/#") for node in (one, three)]
    messages = [wnm.valid(DWD, i) for i in range(120)]
    w = writer(one)
    w.publish_all(messages[:40])
    two.wait_metric("isobar_followed_total", lambda n: n >= 40)
    two.stop()
    written = redis.written()
    w.publish_all(messages[40:80])
    for reader in readers:
        reader.wait_count(80)
    redis.lose_power(written)
    for node in redis.nodes:
        node.start()
    redis.wait_whole()
    w.publish_all(messages[80:])
    two.start().wait_degraded("")
    replayed(subscriber, two, messages)
    expect_all(readers, messages)
    # Each of them once, by the one or the other.
    ids = [r.id for r in stream(redis)]
    assert sorted(ids) == sorted(m.id for m in messages)
    assert sum(node.metric("isobar_put_back_total") for node in (one, three)) == 40
    assert one.process.find_log("put_back shard=")


def test_after_a_failover_that_lost_nothing_nothing_is_put_back(nodes, writer, subscriber):
    node = nodes(1)[0]
    redis = node.redis
    reader = subscriber(node.port, "origin/#")
    messages = wnm.valid_many(DWD, 100)
    w = writer(node)
    w.publish_all(messages[:50])
    redis.restart()
    redis.wait_whole()
    w.publish_all(messages[50:])
    expect_all([reader], messages)
    assert not node.process.find_log("put_back")
