"""`publish` on several nodes of one cluster, on a real Redis Cluster: each target has one feeder, which
changes when a node dies, leaves, or cannot reach the target, and nothing is lost by that.

What is counted is what a subscriber of the fed mosquitto gets."""
import threading
from collections import Counter

import pytest

from harness.clients import Subscriber
from harness.mosquitto import Mosquitto
from harness.process import wait_until

WRITER = {"user": "writer", "password": "writer", "read": ["#"], "write": ["#"]}
NODES = {"accounts": [WRITER]}
TOPICS = 8
SHARDS = 16


class Message:
    def __init__(self, number):
        self.number = number
        self.topic, self.payload = f"free/{number % TOPICS}", b"%d" % number


@pytest.fixture
def fed(tmp_path, keeper):
    """fed(name): a mosquitto to be fed."""
    def make(name="fed", start=True):
        broker = Mosquitto(tmp_path, name)
        keeper.keep(lambda: broker.process and broker.process.end())
        return broker.start() if start else broker
    return make


@pytest.fixture
def nodes(nodes):
    """nodes(n, targets): running nodes on an empty Redis Cluster, all with the same targets."""
    def make(n, targets, **settings):
        wanted = [{"name": t.name, "url": t.url, "topics": ["free/#"]} for t in targets]
        return nodes(n, config={"publish": wanted, **settings.pop("config", {})}, **settings)
    return make


@pytest.fixture
def listen(keeper):
    """listen(broker): a subscriber of a fed broker, whose session stays when the broker is stopped."""
    def make(broker):
        made = Subscriber(broker.port, "free/#", user=None, client_id="listener", clean=False,
                          expiry=3600)
        keeper.keep(made.end)
        return made
    return make


def shown(node, target):
    return next(t for t in node.get_json("/api/v1/status")["publish"]
                if t["target"] == target.name)


def feeders(running, target):
    """The nodes that say that they feed it, with how many shards."""
    found = {n: shown(n, target)["shards"] for n in running}
    return {n.name: shards for n, shards in found.items() if shards}


def wait_feeder(running, target, wanted=None, limit=20.0):
    """Until one of them (this one) feeds all of it and all agree on that; it."""
    def is_so():
        found = feeders(running, target)
        if list(found.values()) != [SHARDS]:
            return None
        name = next(iter(found))
        if wanted and wanted.name != name:
            return None
        everything = {name: list(range(SHARDS))}
        if any(shown(n, target)["fed_by"] != everything for n in running):
            return None
        return next(n for n in running if n.name == name)
    return wait_until(is_so, limit, lambda: f"fed by {feeders(running, target)}: "
                      f"{[shown(n, target)['fed_by'] for n in running]}")


def wait_connected(running, target):
    for node in running:
        node.wait_metric("isobar_publish_connected", 1, 20, target=target.name)


def total(running, name, target):
    return sum(n.metric("isobar_publish_" + name, target=target.name) for n in running)


def wait_fed(running, target):
    """Until the target has acknowledged all there is for it."""
    wait_until(lambda: total(running, "lag_messages", target) == 0, 30,
               lambda: f"lag of {target.name}: {total(running, 'lag_messages', target)}")


class Feed:
    """Publishes at one node until it is stopped, one message every two milliseconds, behind those sent."""

    def __init__(self, client, sent):
        self.sent, self.ids, self.client = list(sent), [], client
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped.wait(0.002):
            message = Message(len(self.sent))
            self.sent.append(message)
            self.ids.append(self.client.publish(message, qos=1))

    def wait_sent(self, n):
        wait_until(lambda: len(self.sent) >= n, 30)

    def stop(self):
        self.stopped.set()
        self.thread.join()
        self.client.flush(self.ids)
        return self.sent


@pytest.fixture
def feed(client):
    return lambda node, sent=(): Feed(client(node.port, user="writer", password="writer"), sent)


def payloads(seen):
    return Counter(bytes(m.payload) for m in seen.messages)


def wait_seen(seen, sent, limit=30.0):
    """Until the subscriber has all of these."""
    wanted = {m.payload for m in sent}
    wait_until(lambda: wanted <= payloads(seen).keys(), limit,
               lambda: f"{len(wanted - payloads(seen).keys())} of {len(wanted)} missing, such as "
                       f"{sorted(wanted - payloads(seen).keys())[:5]}")


def wait_all(seen, sent, limit=30.0):
    """Until the subscriber has all, and nothing else; how many came again."""
    wait_seen(seen, sent, limit)
    counts = payloads(seen)
    assert counts.keys() == {m.payload for m in sent}
    return sum(counts.values()) - len(counts)


def assert_order(seen, sent):
    """The first time of each of these, in the order they were published on each topic."""
    wanted = {m.payload for m in sent}
    for topic in {m.topic for m in sent}:
        firsts = list(dict.fromkeys(bytes(m.payload) for m in seen.messages
                                    if m.topic == topic and m.payload in wanted))
        assert firsts == [m.payload for m in sent if m.topic == topic], topic


def test_each_message_arrives_once_however_many_nodes_feed(nodes, fed, feed, listen):
    targets = [fed("a"), fed("b")]
    three = nodes(3, targets)
    seen = [listen(t) for t in targets]
    for target in targets:
        wait_connected(three, target)
        wait_feeder(three, target)
    feeds = [feed(n) for n in three]
    feeds[0].wait_sent(300)
    sent = [f.stop() for f in feeds]
    for target, subscriber in zip(targets, seen):
        subscriber.wait_count(sum(map(len, sent)))
        wait_until(lambda: total(three, "acknowledged_total", target) == sum(map(len, sent)))
        wait_fed(three, target)
        assert len(subscriber.messages) == sum(map(len, sent))
        wait_until(lambda: total(three, "shards", target) == SHARDS, what="all shards to be fed")
        assert total(three, "gaps_total", target) == 0


def test_what_a_killed_node_fed_is_fed_by_another(nodes, fed, feed, listen):
    target = fed()
    three = nodes(3, [target])
    seen = listen(target)
    wait_connected(three, target)
    first = wait_feeder(three, target)
    others = [n for n in three if n is not first]
    running = feed(others[0])
    running.wait_sent(500)
    first.kill()
    second = wait_feeder(others, target)
    assert second is not first
    running.wait_sent(len(running.sent) + 200)
    sent = running.stop()
    again = wait_all(seen, sent)
    assert_order(seen, sent)
    print(f"{again} of {len(sent)} came again")
    assert total(others, "gaps_total", target) == 0
    first.start()
    wait_feeder(three, target)
    assert wait_all(seen, sent) == again


def test_who_leaves_hands_over_what_it_fed(nodes, fed, feed, listen):
    target = fed()
    three = nodes(3, [target])
    seen = listen(target)
    wait_connected(three, target)
    first = wait_feeder(three, target)
    others = [n for n in three if n is not first]
    running = feed(others[0])
    running.wait_sent(300)
    assert first.end() == 0
    wait_feeder(others, target)
    running.wait_sent(len(running.sent) + 200)
    sent = running.stop()
    assert wait_all(seen, sent) == 0, "all was acknowledged before it was handed over"
    assert_order(seen, sent)


def test_who_has_a_target_no_more_hands_it_over_without_a_repeat(nodes, fed, feed, listen):
    target = fed()
    two = nodes(2, [target])
    seen = listen(target)
    wait_connected(two, target)
    first = wait_feeder(two, target)
    other = next(n for n in two if n is not first)
    running = feed(other)
    running.wait_sent(300)
    wanted = first.config["publish"]
    first.config["publish"] = []
    first.write_config()
    first.reload()
    wait_feeder([other], target)
    running.wait_sent(len(running.sent) + 200)
    first.config["publish"] = wanted        # and back again
    first.write_config()
    first.reload()
    wait_connected(two, target)
    running.wait_sent(len(running.sent) + 200)
    sent = running.stop()
    assert wait_all(seen, sent) == 0, "all was acknowledged before it was handed over"
    assert_order(seen, sent)


def test_a_target_that_was_away_gets_everything_in_order(nodes, fed, feed, listen):
    target = fed()
    two = nodes(2, [target])
    seen = listen(target)
    wait_connected(two, target)
    first = wait_feeder(two, target)
    other = next(n for n in two if n is not first)
    running = feed(other)
    running.wait_sent(100)
    target.stop()
    running.wait_sent(400)
    first.kill()                # and who fed it dies meanwhile
    running.wait_sent(800)
    sent = running.stop()
    wait_until(lambda: total([other], "lag_messages", target) > 0,
               20, "the backlog to be somebody's")
    target.start()
    wait_all(seen, sent)
    assert_order(seen, sent)


def test_a_node_that_cannot_reach_the_target_leaves_it_to_another(nodes, fed, feed, listen):
    target = fed()
    two = nodes(2, [target])
    wait_connected(two, target)
    first = wait_feeder(two, target)
    other = next(n for n in two if n is not first)
    first.config["publish"] = [{**first.config["publish"][0], "url": "mqtt://127.0.0.1:1"}]
    first.write_config()
    first.reload()
    wait_feeder(two, target, other)
    seen = listen(target)
    running = feed(first)
    running.wait_sent(100)
    assert wait_all(seen, running.stop()) == 0


def test_all_nodes_go_on_where_they_were_after_a_restart(nodes, fed, feed, listen):
    target = fed()
    two = nodes(2, [target])
    seen = listen(target)
    wait_connected(two, target)
    wait_feeder(two, target)
    running = feed(two[0])
    running.wait_sent(200)
    sent = running.stop()
    assert wait_all(seen, sent) == 0
    wait_fed(two, target)       # what it has and could not say would come again
    target.stop()
    running = feed(two[1])
    running.wait_sent(200)
    more = running.stop()       # numbered as the first
    for node in two:
        assert node.end() == 0
    target.start()
    two.start()
    seen.wait_count(len(sent) + len(more))
    running = feed(two[0])
    running.wait_sent(50)
    more += running.stop()
    seen.wait_count(len(sent) + len(more))
    wait_fed(two, target)
    assert len(seen.messages) == len(sent) + len(more)


def test_while_redis_is_away_each_node_sends_what_it_takes_in_itself(
        nodes, fed, feed, listen, redis):
    target = fed()
    two = nodes(2, [target], cluster={"on_store_failure": "local"})
    seen = listen(target)
    wait_connected(two, target)
    first = wait_feeder(two, target)
    other = next(n for n in two if n is not first)
    running = feed(other)
    running.wait_sent(50)
    wait_until(lambda: len(seen.messages) > 20)
    for node in redis.nodes:
        node.pause()
    before = running.stop()     # acknowledged, as it is kept here or in Redis
    for node in two:
        node.wait_degraded("Redis")
    fed_by = feeders(two, target)
    running = feed(other, before)
    running.wait_sent(len(before) + 100)
    sent = running.stop()
    wait_seen(seen, sent[len(before):])         # though Redis is away
    # What Redis had confirmed and nobody had read when it went, comes from there, and so behind these.
    unread = [m for m in before if m.payload not in payloads(seen)]
    assert feeders(two, target) == fed_by
    redis.mend()
    for node in two:
        node.wait_degraded("", 30)
    wait_feeder(two, target)    # another for a moment, if one was back at Redis long before
    running = feed(first, sent)
    running.wait_sent(len(sent) + 50)
    sent = running.stop()
    assert wait_all(seen, sent) <= len(sent), "each once more at most"
    assert_order(seen, [m for m in sent if m not in unread])
    assert total(two, "gaps_total", target) == 0
