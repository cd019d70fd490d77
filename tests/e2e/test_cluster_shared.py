"""Shared subscriptions with members on several nodes, on a real Redis Cluster."""
import os
import threading
from collections import Counter

import pytest

from harness.clients import V4, V5
from harness.process import wait_until

OWNER = {"user": "owner", "password": "owner", "read": ["free/#"], "write": ["free/#"],
         "max_qos": 2, "session_expiry": "1h"}
NODES = {"accounts": [OWNER]}
SHARED = "$share/crew/free/#"
SCRIPT = os.path.join(os.path.dirname(__file__), "..", "..", "src", "cluster", "group.lua")
TOPICS = 64                     # over all shards
QOS = pytest.mark.parametrize("qos", [1, 2])


class Message:
    def __init__(self, number):
        self.topic, self.payload = f"free/{number % TOPICS}", b"%d" % number


def made(first, count):
    return [Message(i) for i in range(first, first + count)]


@pytest.fixture
def connect(client):
    def make(broker, name=None, version=V5, **options):
        if name:
            options.update(client_id=name, clean=False)
            if version == V5:
                options["expiry"] = 3600
        return client(broker.port, user="owner", password="owner", version=version, **options)
    return make


@pytest.fixture
def member(connect):
    """A client that acknowledges what it gets."""
    def make(broker, name=None, qos=1, **options):
        one = connect(broker, name, **options)
        one.subscribe(SHARED, qos=qos)
        return one
    return make


def owners(redis):
    """Of the group's shards: a run for each."""
    key = b"isobar:group:owner\0\0crew/free/#"
    for node in redis.nodes:
        try:
            fields = node.command("hgetall", key)
        except AssertionError:      # MOVED: another one has it
            continue
        if fields:
            pairs = dict(zip(fields[::2], fields[1::2]))
            return {k: v.split(b"/")[0].decode() for k, v in pairs.items() if k[:1] == b"#"}
    return {}


def wait_owners(redis, *names, limit=20.0):
    """Until the shards are spread over these nodes."""
    def is_so():
        found = owners(redis)
        return len(found) == 16 and set(found.values()) == set(names)
    wait_until(is_so, limit, lambda: f"shards are owned so: {owners(redis)}")


def payloads(*clients):
    return Counter(bytes(m.payload) for c in clients for m in c.messages)


def wait_all(messages, *clients, limit=30.0):
    """Until the clients together have all; how often each came."""
    wanted = {m.payload for m in messages}
    wait_until(lambda: wanted <= payloads(*clients).keys(), limit,
               lambda: f"{len(wanted - payloads(*clients).keys())} of {len(wanted)} missing")
    assert payloads(*clients).keys() == wanted
    return payloads(*clients)


class Feed:
    """Publishes one message after the other until it is stopped."""

    def __init__(self, publisher, qos, first=0):
        self.sent, self.ids, self.publisher, self.qos = [], [], publisher, qos
        self.first = first
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped.wait(0.002):
            message = Message(self.first + len(self.sent))
            self.sent.append(message)
            self.ids.append(self.publisher.publish(message, qos=self.qos))

    def stop(self):
        self.stopped.set()
        self.thread.join()
        self.publisher.flush(self.ids)
        return self.sent


@QOS
def test_each_message_goes_to_one_member_on_one_node(qos, nodes, redis, member, connect):
    three = nodes(3)
    crew = [member(node, qos=qos) for node in three]
    crew.append(member(three[0], qos=qos, version=V4))
    plain = connect(three[1])
    plain.subscribe("free/#", qos=qos)
    wait_owners(redis, "node-1", "node-2", "node-3")
    publisher = connect(three[2])
    sent = []

    def everyone_has_some():
        more = made(len(sent), 300)
        publisher.publish_all(more, qos=qos)
        sent.extend(more)
        wait_all(sent, plain)
        wait_all(sent, *crew)
        return min(len(c.messages) for c in crew) > 50
    wait_until(everyone_has_some, what=lambda: f"all to have some: {[len(c.messages) for c in crew]}")
    more = made(len(sent), 200)     # what came too often would have come before these
    publisher.publish_all(more, qos=qos)
    assert set(wait_all(sent + more, *crew).values()) == {1}


@QOS
def test_nothing_is_lost_when_a_members_node_is_killed(qos, nodes, redis, member, connect):
    one, two, three = nodes(3)
    crew = [member(node, f"member-{i}", qos=qos) for i, node in enumerate((one, two, three))]
    wait_owners(redis, "node-1", "node-2", "node-3")
    feed = Feed(connect(three), qos)
    wait_until(lambda: min(len(c.messages) for c in crew) > 200)
    one.kill()
    crew[0].paho.loop_stop()
    had = len(payloads(*crew))
    crew.append(member(two, "member-0", qos=qos))   # what is in flight at QoS 2 is its own
    wait_owners(redis, "node-2", "node-3")
    sent = feed.stop()
    counts = wait_all(sent, *crew)
    repeats = sum(counts.values()) - len(counts)
    print(f"{had} before the kill, {len(sent)} in all, {repeats} repeats")
    assert repeats <= 1500, "at most some seconds of a third of all"


def test_a_member_on_another_node_takes_its_part_and_nothing_comes_twice(
        nodes, redis, member, connect):
    one, two = nodes(2)
    first = member(one)
    wait_owners(redis, "node-1")
    feed = Feed(connect(two), 1)
    wait_until(lambda: len(first.messages) > 300)
    second = member(two)
    wait_owners(redis, "node-1", "node-2")
    wait_until(lambda: len(second.messages) > 100)
    sent = feed.stop()
    counts = wait_all(sent, first, second)
    assert set(counts.values()) == {1}, Counter(counts.values())


def test_the_last_member_of_a_node_leaves_its_part_to_the_others(nodes, redis, member, connect):
    one, two = nodes(2)
    first, second = member(one, "first"), member(two, "second")
    wait_owners(redis, "node-1", "node-2")
    feed = Feed(connect(two), 1)
    wait_until(lambda: min(len(first.messages), len(second.messages)) > 100)
    first.disconnect()
    wait_owners(redis, "node-2")
    sent = feed.stop()
    counts = wait_all(sent, first, second)
    assert sum(counts.values()) - len(counts) <= 100, "what was in flight"


def test_what_comes_while_all_are_away_waits_for_whoever_is_back_first(
        nodes, redis, member, connect):
    one, two = nodes(2)
    away = member(one, "away")
    wait_owners(redis, "node-1")
    publisher = connect(two)
    sent = made(0, 100)
    publisher.publish_all(sent)
    wait_all(sent, away)
    one.wait_metric("isobar_acknowledged_total", 100)
    away.disconnect()
    one.wait_metric("isobar_sessions_offline", 1)
    sent += made(100, 200)
    publisher.publish_all(made(100, 200))
    back = member(two)
    # A node whose members are all away asks only once a minute by itself.
    counts = wait_all(sent, away, back, limit=5.0)
    assert set(counts.values()) == {1}, Counter(counts.values())


@pytest.mark.parametrize("members", [1, 2], ids=["nobody-else-is-there", "others-are-there"])
def test_a_planned_stop_of_a_node_repeats_nothing_that_was_acknowledged(
        members, nodes, redis, member, connect):
    one, two = nodes(2)
    crew = [member(node, f"member-{i}") for i, node in enumerate((one, two)[:members])]
    wait_owners(redis, *(f"node-{i + 1}" for i in range(members)))
    feed = Feed(connect(two), 1)
    wait_until(lambda: min(len(c.messages) for c in crew) > 300)
    one.end()
    crew[0].paho.loop_stop()
    crew.append(member(two, "member-0"))
    wait_owners(redis, "node-2")
    sent = feed.stop()
    counts = wait_all(sent, *crew)
    assert set(counts.values()) == {1}, Counter(counts.values())


def test_the_last_session_on_a_node_ends_and_nothing_acknowledged_is_repeated(
        nodes, redis, member, connect):
    one, two = nodes(2)
    first, second = member(one), member(two)
    wait_owners(redis, "node-1", "node-2")
    publisher = connect(two)
    sent = made(0, 300)
    publisher.publish_all(sent)
    wait_all(sent, first, second)
    one.wait_metric("isobar_acknowledged_total", len(first.messages))
    first.disconnect()
    wait_owners(redis, "node-2")
    more = made(300, 200)
    publisher.publish_all(more)
    counts = wait_all(sent + more, first, second)
    assert set(counts.values()) == {1}, Counter(counts.values())


def test_a_group_made_on_two_nodes_at_once_misses_nothing_after_the_first_suback(
        nodes, redis, connect):
    one, two = nodes(2)
    for turn in range(5):
        name = f"$share/crew-{turn}/free/#"
        feed = Feed(connect(one), 1, first=turn * 100000)
        wait_until(lambda: len(feed.sent) > 20)
        first, second = connect(one), connect(two)
        first.subscribe(name)
        begun = len(feed.sent)          # one may be under way, all behind it are later
        second.subscribe(name)
        wait_until(lambda: len(feed.sent) > begun + 150)
        sent = feed.stop()
        wanted = {m.payload for m in sent[begun + 1:]}
        wait_until(lambda: wanted <= payloads(first, second).keys(), 20.0,
                   lambda: f"{len(wanted - payloads(first, second).keys())} missing")


def test_the_script_keeps_the_least_beginning_until_somebody_has_the_shard(empty):
    with open(SCRIPT, encoding="utf-8") as f:
        script = f.read()
    key = b"isobar:group:by-hand"
    master = empty.master_of(key)

    def call(node, state, *changes):
        found = master.command("eval", script, 1, key, node, "1", state, "60000", *changes)
        return dict(zip(found[::2], found[1::2])).get(b"#3", b"").decode()

    assert call("a", "seated", "3", "", "", "0030") == " 0030"
    assert call("b", "seated", "3", "", "", "0010") == " 0010"
    assert call("a", "seated", "3", "", "a/1", "0030") == "a/1 0010"
    assert call("c", "seated", "3", "", "", "0001") == "a/1 0010", "it has begun"
    assert call("a", "seated", "3", "a/1", "a/1", "0040") == "a/1 0040"
    assert call("b", "seated", "3", "a/1", "b/1", "") == "b/1 0040"
    call("b", "", "3", "b/1", "b/1", "0050")
    assert call("c", "seated") == "b/1 0050", "last words count"
    assert call("c", "seated", "3", "b/1", "c/1", "") == "c/1 0050"
