"""Retained messages on a node that has not followed them: it joins, was away while streams were
trimmed, or delivered without Redis. On a real Redis Cluster."""
import os
import shutil
import signal

import pytest

from harness.clients import V5, properties
from harness.cluster import retained, shard_of_topic, trim
from harness.process import wait_until

PARTNER = {"user": "partner", "password": "partner", "read": ["#"], "max_qos": 2,
           "write": ["free/#"], "session_expiry": "1h"}
NODES = {"accounts": [PARTNER]}
LOGIN = {"user": "partner", "password": "partner"}
COUNT = "isobar_retained_messages"


@pytest.fixture
def nodes(nodes):
    """nodes(n, **settings): so many nodes on an empty Redis Cluster, not started."""
    return lambda n, **settings: nodes(n, start=False, **settings)


def begin(node):
    return node.start().wait_degraded("")


@pytest.fixture
def retain(client):
    """retain(node, topic, payload, **properties): published with the flag, and acknowledged."""
    senders = {}

    def publish(node, topic, payload, **props):
        if node.port not in senders:
            senders[node.port] = client(node.port, **LOGIN)
        sender = senders[node.port]
        made = properties("PUBLISH", **props) if props else None
        sender.flush([sender.paho.publish(topic, payload, 1, True, properties=made).mid])
    return publish


@pytest.fixture
def seen(subscriber):
    """seen(node, n): what a new subscriber to everything gets first, {topic: message}."""
    def look(node, n):
        one = subscriber(node.port, "free/#", qos=2, version=V5, **LOGIN)
        one.wait_count(n)
        assert all(m.retain for m in one.messages), one.messages
        return {m.topic: m for m in one.messages}
    return look


def expiring(redis, shard, *over):
    """The topics retained for a time in Redis, with the ends of these; over: topics that end now."""
    key = f"{{{shard}}}:expiring"
    master = redis.master_of(key)
    for topic in over:
        master.command("zadd", key, "XX", 1, topic)
    words = master.command("zrange", key, 0, -1, "withscores")
    return [(t.decode(), int(ms)) for t, ms in zip(words[::2], words[1::2])]


def payloads(messages):
    return {topic: bytes(m.payload) for topic, m in messages.items()}


def test_a_node_that_joins_has_what_was_retained_before_its_time(nodes, retain, seen, subscriber):
    one, two = nodes(2)
    begin(one)
    watcher = subscriber(one.port, "free/#", **LOGIN)
    retain(one, "free/lasts", b"until then", MessageExpiryInterval=3600, ContentType="text/plain")
    retain(one, "free/brief", b"over soon", MessageExpiryInterval=1)
    retain(one, "free/kept", b"kept")
    retain(one, "free/replaced", b"old")
    retain(one, "free/replaced", b"new")
    retain(one, "free/cleared", b"once")
    retain(one, "free/cleared", b"")
    watcher.wait_count(7)
    want = {"free/lasts": b"until then", "free/kept": b"kept", "free/replaced": b"new"}
    wait_until(lambda: payloads(seen(one, 3)) == want, what="what is brief to be over", pause=0.2)
    trim(one.redis)
    begin(two)
    two.wait_metric(COUNT, 3)
    got = seen(two, 3)
    assert payloads(got) == want
    lasts = got["free/lasts"].properties
    assert 3000 < lasts.MessageExpiryInterval < 3600 and lasts.ContentType == "text/plain"
    assert payloads(seen(one, 3)) == payloads(got)


def test_what_the_streams_still_have_does_not_begin_its_time_anew(nodes, retain, seen, subscriber):
    one, two = nodes(2)
    begin(one)
    watcher = subscriber(one.port, "free/#", **LOGIN)
    retain(one, "free/lasts", b"until then", MessageExpiryInterval=3600)
    retain(one, "free/brief", b"older", MessageExpiryInterval=1000)
    retain(one, "free/brief", b"over soon", MessageExpiryInterval=1)
    watcher.wait_count(3)
    one.wait_metric(COUNT, 1)
    begin(two)
    two.wait_metric("isobar_followed_total", lambda n: n >= 3)
    got = seen(two, 1)
    assert payloads(got) == {"free/lasts": b"until then"}
    assert got["free/lasts"].properties.MessageExpiryInterval < 3600
    replay = subscriber(two.port, "$replay/1h/free/#", version=V5, **LOGIN)
    replay.wait_count(2)
    assert sorted(bytes(m.payload) for m in replay.messages) == [b"older", b"until then"]
    assert all(m.properties.MessageExpiryInterval < 3600 for m in replay.messages)


@pytest.mark.parametrize("how", ["stop", "kill", "sleep"])
def test_a_node_that_missed_what_was_trimmed_has_what_the_others_have(how, nodes, retain, seen):
    one, two = nodes(2)
    begin(one)
    begin(two)
    retain(one, "free/kept", b"kept")
    retain(one, "free/replaced", b"old")
    retain(one, "free/cleared", b"once")
    two.wait_metric(COUNT, 3)
    if how == "sleep":
        two.process.signal(signal.SIGSTOP)
        for i in range(100):                    # the reads that wait in Redis get these
            retain(one, f"free/chat/{i}", b"")
    else:
        getattr(two, how)()
    retain(one, "free/cleared", b"")
    retain(one, "free/replaced", b"new")
    retain(one, "free/added", b"added")
    trim(one.redis)
    if how == "sleep":
        two.process.signal(signal.SIGCONT)
    else:
        begin(two)
    want = {topic: payload for topic, (_, payload) in retained(one.redis).items()}
    assert want == {"free/kept": b"kept", "free/replaced": b"new", "free/added": b"added"}
    for node in (two, one):
        wait_until(lambda n=node: payloads(seen(n, 1)) == want, what="what the others have", pause=0.2)


def test_a_retained_will_of_a_dead_node_is_there_on_one_that_joins(
        nodes, client, seen, subscriber):
    three = nodes(3)
    begin(three[0])
    begin(three[1])
    watcher = subscriber(three[1].port, "free/#", **LOGIN)
    lost = client(three[0].port, connect=False, client_id="lost", **LOGIN)
    lost.paho.will_set("free/lost", b"gone", 1, True)
    lost.connect()
    wait_until(lambda: three.redis.masters() and any(
        node.command("keys", "isobar:wills:*") for node in three.redis.masters()), 20,
        what="the will to be kept")
    three[0].kill()
    lost.paho.loop_stop()
    watcher.wait_count(1, limit=30)
    trim(three.redis)
    begin(three[2])
    three[2].wait_metric(COUNT, 1)
    assert payloads(seen(three[2], 1)) == {"free/lost": b"gone"}


@pytest.mark.parametrize("mode", ["local", "spool"])
def test_what_came_without_redis_ends_up_the_same_everywhere(mode, nodes, retain, seen):
    """Under `local` each of two nodes has its own word first; then the shared log's order counts."""
    two = nodes(2, cluster={"on_store_failure": mode})
    for node in two:
        begin(node)
    redis = two.redis
    retain(two[0], "free/both", b"before")
    retain(two[0], "free/cleared", b"before")
    for node in two:
        node.wait_metric(COUNT, 2)
    for node in redis.nodes:
        node.pause()
    try:
        for i, node in enumerate(two):
            retain(node, "free/both", f"by {i}".encode())
            retain(node, f"free/{i}", b"alone")
        retain(two[1], "free/cleared", b"")
        want = {"free/both": b"before", "free/cleared": b"before"}
        if mode == "local":
            want.update({"free/both": b"by 0", "free/0": b"alone"})
        wait_until(lambda: payloads(seen(two[0], len(want))) == want, what=f"{want} at first", pause=0.2)
    finally:
        for node in redis.nodes:
            node.resume()
    redis.wait_whole()
    for node in two:
        node.wait_degraded("", limit=30)
    want = {topic: payload for topic, (_, payload) in retained(redis).items()}
    assert want.keys() == {"free/both", "free/0", "free/1"}
    for node in two:
        wait_until(lambda n=node: payloads(seen(n, 1)) == want, 30,
                   lambda n=node: f"{payloads(seen(n, 1))} on {n.name}, not {want}", pause=0.2)


def test_a_redis_that_lost_its_data_takes_nothing_away(nodes, retain, seen):
    one = nodes(1)[0]
    begin(one)
    retain(one, "free/kept", b"kept")
    one.stop()
    shutil.rmtree(os.path.join(one.data, "journal"))    # so that nothing can be put back
    for node in one.redis.masters():
        node.cli("flushall")
    begin(one)
    retain(one, "free/later", b"later")
    assert set(retained(one.redis)) == {"free/later"}
    one.stop()
    begin(one)
    assert payloads(seen(one, 2)) == {"free/kept": b"kept", "free/later": b"later"}


def test_a_redis_that_lost_its_data_gets_back_what_is_young(nodes, retain):
    one = nodes(1)[0]
    begin(one)
    retain(one, "free/kept", b"kept")
    one.stop()
    for node in one.redis.masters():
        node.cli("flushall")
    begin(one)
    wait_until(lambda: set(retained(one.redis)) == {"free/kept"}, what="it to be there again")


def test_what_neither_journal_nor_streams_have_comes_from_the_store_each_time(nodes, retain, seen):
    one = nodes(1)[0]
    begin(one)
    for i in range(3):
        retain(one, f"free/{i}", b"kept")
    one.stop()
    shutil.rmtree(os.path.join(one.data, "journal"))
    trim(one.redis)
    begin(one)
    assert not one.process.find_log("cluster retained")     # nothing had to be taken over
    for _ in range(2):
        assert len(seen(one, 3)) == 3
    one.stop()
    begin(one)
    assert len(seen(one, 3)) == 3


def test_what_has_expired_leaves_redis_with_what_is_retained_next(nodes, retain):
    one = nodes(1)[0]
    begin(one)
    shard = shard_of_topic("free/0")
    topics = [t for t in (f"free/{i}" for i in range(400)) if shard_of_topic(t) == shard][:14]
    for topic in topics[:12]:
        retain(one, topic, b"brief", MessageExpiryInterval=1000)
    kept = retained(one.redis)
    assert set(kept) == set(topics[:12])
    ends = dict(expiring(one.redis, shard))
    assert ends == {topic: int(place.split("-")[0]) + 1000000 for topic, (place, _) in kept.items()}
    expiring(one.redis, shard, *ends)           # as if their time were over
    retain(one, topics[12], b"next")
    assert len(retained(one.redis)) == 5        # eight at most go at a time
    retain(one, topics[13], b"")
    assert set(retained(one.redis)) == {topics[12]}


# --- Redis loses what it had acknowledged -----------------------------------------------

def test_what_redis_lost_is_retained_again_unless_something_newer_is(nodes, retain, seen, subscriber):
    one, two = nodes(2)
    redis = one.redis
    begin(one)
    retain(one, "free/replaced", b"old")
    retain(one, "free/again", b"old")
    retain(one, "free/cleared", b"once")
    one.wait_metric(COUNT, 3)
    written = redis.written()
    retain(one, "free/lost", b"lost", MessageExpiryInterval=3600)
    retain(one, "free/replaced", b"lost as well")
    retain(one, "free/again", b"new")
    retain(one, "free/cleared", b"")
    one.wait_metric(COUNT, 3)
    one.kill()
    redis.lose_power(written)
    for node in redis.nodes:
        node.start()
    redis.wait_whole()
    begin(two)
    retain(two, "free/replaced", b"newest")
    begin(one)
    want = {"free/lost": b"lost", "free/replaced": b"newest", "free/again": b"new"}
    def stands():
        return {topic: payload for topic, (_, payload) in retained(redis).items()}
    wait_until(lambda: stands() == want, what=lambda: f"{want}, there is {stands()}")
    for node in (one, two):
        node.wait_metric(COUNT, 3)
        assert payloads(seen(node, 3)) == want
    # Nothing of what was lost is missing for who was not there, the one that was replaced included.
    replay = subscriber(two.port, "$replay/1h/free/#", **LOGIN)
    replay.wait_count(8)
    assert sorted(bytes(m.payload) for m in replay.messages) == sorted(
        [b"old", b"old", b"once", b"lost", b"lost as well", b"new", b"", b"newest"])
