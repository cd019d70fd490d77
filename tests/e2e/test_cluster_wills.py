"""What clients left to be said, and who says it when their node has died, on a real Redis Cluster."""
import time
from dataclasses import dataclass

import pytest

from harness.clients import V5, properties
from harness.cluster import stream
from harness.process import wait_until

PARTNER = {"user": "partner", "password": "partner", "read": ["#"], "max_qos": 2,
           "write": ["free/#"], "session_expiry": "1h"}
NODES = {"accounts": [PARTNER]}


@pytest.fixture
def connect(client):
    def make(broker, name, **options):
        return client(broker.port, user="partner", password="partner", client_id=name, **options)
    return make


@pytest.fixture
def with_will(connect):
    """with_will(broker, name, delay, expiry): a client whose will is "free/NAME"."""
    def make(broker, name, delay=0, expiry=0, qos=1, retain=False, **options):
        made = connect(broker, name, connect=False, version=V5, expiry=expiry, **options)
        made.paho.will_set(f"free/{name}", b"gone", qos, retain, properties=_delay(delay))
        made.connect()
        return made
    return make


@dataclass
class Said:
    topic: str
    payload: bytes


def _delay(seconds):
    return properties("WILLMESSAGE", WillDelayInterval=seconds) if seconds else None


@pytest.fixture
def watch(connect):
    def make(broker):
        made = connect(broker, "watcher")
        made.subscribe("free/#", qos=2)
        return made
    return make


def wills_in(redis):
    """All that is kept in Redis: (run, session) pairs."""
    found = []
    for node in redis.masters():
        for key in node.command("keys", "isobar:wills:*"):
            found += [(key, name) for name in node.command("hkeys", key)]
    return found


def wait_kept(redis, n):
    wait_until(lambda: len(wills_in(redis)) == n, 20,
               lambda: f"{wills_in(redis)} are kept, not {n}")


def abandon(*clients):
    for c in clients:
        c.paho.loop_stop()


def said(watcher):
    return sorted(m.topic for m in watcher.messages)


def published(redis):
    return sorted(r.topic for r in stream(redis) if r.topic.startswith("free/"))


@pytest.mark.parametrize("expiry", [0, 3600], ids=["does-not-last", "lasts"])
def test_a_survivor_publishes_the_wills_of_a_node_that_was_killed(
        expiry, redis, nodes, with_will, watch):
    one, two = nodes(2)
    watcher = watch(two)
    lost = [with_will(one, f"lost-{i}", qos=i, retain=i == 2, expiry=expiry) for i in range(3)]
    polite = with_will(one, "polite", expiry=expiry)
    polite.disconnect()
    wait_kept(redis, 3)
    one.kill()
    abandon(*lost)
    watcher.wait_count(3)
    assert said(watcher) == ["free/lost-0", "free/lost-1", "free/lost-2"]
    assert {m.topic[-1]: m.qos for m in watcher.messages} == {"0": 0, "1": 1, "2": 2}
    wait_kept(redis, 0)
    late = watch(two)
    late.wait_count(1)
    assert said(late) == ["free/lost-2"] and late.messages[0].retain


def test_what_is_published_while_its_node_lives_is_published_once(redis, nodes, with_will, watch):
    one, two = nodes(2)
    watcher = watch(two)
    cut = with_will(one, "cut")
    wait_kept(redis, 1)
    cut.cut()
    watcher.wait_count(1)
    wait_kept(redis, 0)
    again = with_will(one, "cut")
    wait_kept(redis, 1)
    again.disconnect()
    wait_kept(redis, 0)
    one.kill()
    wait_until(lambda: "wills-done" in two.process.log(), 20)
    assert published(redis) == ["free/cut"]


def test_a_will_with_delay_waits_for_its_client(redis, nodes, with_will, watch, connect):
    one, two = nodes(2)
    watcher = watch(two)
    clients = [with_will(one, name, delay=delay, expiry=3600)
               for name, delay in (("back", 30), ("away", 4), ("patient", 3000))]
    wait_kept(redis, 3)
    killed = time.monotonic()
    one.kill()
    abandon(*clients)
    back = connect(two, "back", clean=False, expiry=3600)
    assert back.connects[-1] == (0, True)
    wait_kept(redis, 2)
    watcher.wait_count(1, limit=30)
    assert time.monotonic() - killed >= 4
    wait_kept(redis, 1)
    assert said(watcher) == ["free/away"]


def test_no_session_no_delay(redis, nodes, with_will, watch):
    """The session ends with the connection, and so does the waiting."""
    one, two = nodes(2)
    watcher = watch(two)
    lost = with_will(one, "lost", delay=3000, expiry=0)
    wait_kept(redis, 1)
    one.kill()
    abandon(lost)
    watcher.wait_count(1, limit=20)


def test_of_three_nodes_one_says_it_and_another_when_that_dies_too(
        redis, nodes, with_will, watch):
    one, two, three = nodes(3)
    watcher = watch(three)
    lost = [with_will(one, f"lost-{i}") for i in range(40)]
    wait_kept(redis, 40)
    one.kill()
    abandon(*lost)
    wait_until(lambda: published(redis), 20, "the first of the wills")
    two.kill()
    watcher.wait_count(40, limit=30)
    wait_kept(redis, 0)
    assert published(redis) == sorted(f"free/lost-{i}" for i in range(40))
    assert len(watcher.messages) == 40


def test_a_node_that_comes_back_says_what_its_last_run_left(redis, nodes, with_will, watch):
    [one] = nodes(1)
    lost = [with_will(one, name, expiry=3600, delay=delay)
            for name, delay in (("lost", 0), ("patient", 3000))]
    wait_kept(redis, 2)
    one.kill()
    abandon(*lost)
    one.start()
    one.wait_degraded("")
    wait_kept(redis, 1)
    assert published(redis) == ["free/lost"]


@pytest.mark.parametrize("how", ["killed", "alive"])
@pytest.mark.parametrize("delay, clean, is_said",
                         [(0, False, True), (0, True, True), (3000, False, False),
                          (3000, True, True)])
def test_what_a_client_that_is_back_elsewhere_had_left_to_be_said(
        how, delay, clean, is_said, redis, nodes, with_will, watch, connect):
    """Its old connection has ended, and with a clean start its session (MQTT 5, 3.1.2.5, 3.1.4)."""
    one, two = nodes(2)
    watcher = watch(two)
    first = with_will(one, "roamer", delay=delay, expiry=3600)
    wait_kept(redis, 1)
    if how == "killed":
        one.kill()
        abandon(first)
    back = connect(two, "roamer", clean=clean, expiry=3600)
    if how == "alive":
        assert first.wait_disconnected() == 0x8E
        abandon(first)
    back.publish_all([Said("free/roamer", b"here")])
    wait_kept(redis, 0)
    watcher.wait_count(1 + is_said)
    assert [m.payload for m in watcher.messages] == [b"gone"] * is_said + [b"here"]
    assert len(published(redis)) == 1 + is_said
