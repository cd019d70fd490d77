"""`antiloop.compatible: wis2gb`: one duplicate filter with the existing antiloop, on a real Redis
Cluster; each id is published by exactly one of the two."""
import json
import random
import threading
import time

import pytest

from harness import notifications as wnm
from harness.antiloop import TTL, Antiloop, key_of, masters_by_slot, remembered, slot_of
from harness.clients import Client, Subscriber
from harness.cluster import Nodes, shard_of, stream
from harness.process import wait_until

DWD, MSC = "de-dwd", "ca-eccc-msc"
ACCOUNTS = [{"user": "writer", "password": "writer", "read": ["#"],
             "write": ["origin/a/wis2/#", "free/#"]}]
CONFIG = {"antiloop": {"compatible": "wis2gb"}}
NODES = {"accounts": ACCOUNTS, "config": CONFIG}


@pytest.fixture
def writer(client):
    return lambda node: client(node.port, user="writer", password="writer")


def ids(messages):
    return sorted(m.id for m in messages)


def published(redis):
    return sorted(r.id for r in stream(redis))


def filter_of(redis):
    """What the filter remembers, without Isobar's own events."""
    found = remembered(redis)
    for r in stream(redis, events=True):
        if r.topic.startswith("monitor/"):
            found.pop(r.id, None)
    return found


def shuffled(messages, seed):
    found = list(messages)
    random.Random(seed).shuffle(found)
    return found


def total(both, name):
    return sum(node.metric(name) for node in both)


# --- one filter ------------------------------------------------------------------------------

def test_each_id_is_published_by_exactly_one_of_the_two_under_load(nodes, writer, subscriber):
    both = nodes(2)
    messages = wnm.valid_many(DWD, 1200)
    readers = [subscriber(node.port, "origin/a/wis2/#", user="writer", password="writer")
               for node in both]
    theirs = [Antiloop(both.redis, value).start(shuffled(messages, seed))
              for seed, value in enumerate(["1", "true"])]
    writers = [writer(node) for node in both]
    sent = [[w.publish(m) for m in shuffled(messages, seed)] for seed, w in enumerate(writers, 9)]
    for w, mids in zip(writers, sent):
        w.flush(mids, 60)
    for one in theirs:
        one.wait()
    ours, others = published(both.redis), ids(theirs[0].published + theirs[1].published)
    assert ours and others
    assert sorted(ours + others) == ids(messages)
    for reader in readers:
        got = reader.wait_count(len(ours), 30)
        assert sorted(json.loads(m.payload)["id"] for m in got) == ours
    wait_until(lambda: total(both, "isobar_foreign_repeats_total") == 2 * len(others),
               what="theirs to be counted")
    wait_until(lambda: total(both, "isobar_repeats_total") == 2 * len(messages) - len(ours),
               what="all repeats to be counted")
    values = filter_of(both.redis)
    assert sorted(i for i, (value, _) in values.items() if value == "isobar") == ours


def test_keys_are_those_of_the_antiloop_for_two_hours_and_only_for_messages_with_an_id(
        nodes, writer, empty):
    one = nodes(1, config={**CONFIG, "checks": {"message": "verify"}})
    plain, upper = wnm.valid(DWD, 1), wnm.valid(DWD, 2)
    upper = wnm.Message(upper.topic, upper.payload.replace(upper.id.encode(),
                                                          upper.id.upper().encode()), upper.id)
    nameless = wnm.valid(DWD, 3)
    nameless = wnm.Message(nameless.topic, nameless.payload.replace(nameless.id.encode(), b"7"))
    w = writer(one[0])
    w.publish_all([plain, upper, nameless, wnm.Message("free/x", b"y")])
    w.publish_all([nameless])
    found = filter_of(empty)
    assert sorted(found) == sorted([plain.id, upper.id.upper()])
    assert all(value == "isobar" and TTL - 60 < left <= TTL for value, left in found.values())
    assert len(stream(empty)) == 4
    antiloop = Antiloop(empty).take([plain, upper])
    assert antiloop.dropped == [plain, upper], "its SET with NX fails on our value"


def test_nobody_waits_for_a_message_that_the_antiloop_published(nodes, writer, subscriber, empty):
    both = nodes(2)
    chain = [wnm.valid(DWD, i, tail=wnm.SYNOP) for i in range(12)]
    reader = subscriber(both[1].port, "origin/a/wis2/#", user="writer", password="writer")
    theirs = [chain[i] for i in (0, 1, 4, 5, 9)]
    ours = [m for m in chain if m not in theirs]
    Antiloop(empty).take(theirs)
    writer(both[0]).publish_all(chain)
    before = {r.id: r.previous for r in stream(empty)}
    assert [before[m.id] for m in ours] == ["", *[m.id for m in ours[:-1]]]
    got = reader.wait_count(len(ours))
    assert [m.payload for m in got] == [m.payload for m in ours]
    assert total(both, "isobar_follow_unordered_total") == 0


# --- what goes wrong ----------------------------------------------------------------------------

def test_a_crash_between_the_two_steps_is_healed_when_the_message_comes_again(
        nodes, writer, empty):
    both = nodes(2)
    empty.keep_masters()
    master = masters_by_slot(empty)
    victim = master(slot_of("{0}:log"))
    messages = [m for m in wnm.valid_many(DWD, 200)
                if master(slot_of(f"{{{shard_of(m.id)}}}:log")) is victim
                and master(slot_of(key_of(m.id))) is not victim][:10]
    assert len(messages) == 10
    victim.kill()
    w = writer(both[0])
    for message in messages:
        w.publish(message)

    def first_step_is_done():
        return all(master(slot_of(key_of(m.id))).command("get", key_of(m.id)) == b"isobar"
                   for m in messages)
    wait_until(first_step_is_done, 10, "the first step of each")
    assert not w.acknowledged
    both[0].kill()
    both[0].process.wait(10)
    assert not Antiloop(empty).take(messages).published
    victim.start()
    empty.wait_whole()
    assert stream(empty) == []
    both[1].wait_degraded("", limit=30)
    writer(both[1]).publish_all(messages, limit=30)
    both[0].start()
    both[0].wait_degraded("")
    writer(both[0]).publish_all(messages, limit=30)
    assert published(empty) == ids(messages)
    assert total(both, "isobar_foreign_repeats_total") == 0


def test_nothing_is_lost_and_nothing_is_theirs_when_a_master_dies(nodes, writer, empty):
    one = nodes(1)
    messages = wnm.valid_many(DWD, 900)
    w = writer(one[0])
    w.publish_all(messages[:300])
    victim = empty.masters()[0]
    mids = [w.publish(m) for m in messages[300:600]]
    victim.kill()
    mids += [w.publish(m) for m in messages[600:]]
    w.flush(mids, 60)
    assert published(empty) == ids(messages)
    assert one[0].metric("isobar_foreign_repeats_total") == 0


def test_either_answer_counts_only_once_a_replica_has_it(nodes, writer, empty):
    one = nodes(1)
    ours, theirs = wnm.valid(DWD, 1), wnm.valid(DWD, 2)
    empty.keep_masters()
    stopped = [node for node in empty.running() if node.role() == "slave"]
    for node in stopped:
        node.pause()
    Antiloop(empty).take([theirs])
    w = writer(one[0])
    mids = [w.publish(ours), w.publish(theirs)]
    one[0].wait_degraded("sources are held")
    assert not w.acknowledged and stream(empty) == []
    one[0].process.wait_log(r"cluster holding publishers=\"?writer")
    for node in stopped:
        node.resume()
    w.flush(mids, 30)
    assert published(empty) == [ours.id]


@pytest.mark.parametrize("mode", ["spool", "local"])
def test_what_was_spooled_asks_the_filter_when_redis_is_back(nodes, writer, empty, mode):
    one = nodes(1, cluster={"on_store_failure": mode})
    messages = wnm.valid_many(DWD, 60)
    theirs = Antiloop(empty).take(messages[:25]).published
    for node in empty.nodes:
        node.pause()
    writer(one[0]).publish_all(messages)
    one[0].wait_degraded("kept on this machine's disk")
    for node in empty.nodes:
        node.resume()
    one[0].wait_degraded("", limit=30)
    assert published(empty) == ids(messages[25:])
    assert len(theirs) == 25
    one[0].wait_metric("isobar_foreign_repeats_total", 25)
    one[0].wait_metric("isobar_escaped_total", 25 if mode == "local" else 0)


# --- way B of docs/migrating.md -----------------------------------------------------------------

class OldCentre:
    """The antiloop of one centre: from its WIS2 Node, through the filter, to the old broker."""

    def __init__(self, redis, node, old):
        self.antiloop = Antiloop(redis)
        self.reader = Subscriber(node.port, "origin/a/wis2/#", user=None)
        self.out = Client(old.port, user=None)
        self.done = 0
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ends.is_set():
            rows = self.reader.messages[self.done:]
            self.antiloop.take(rows, self.out.publish)
            self.done += len(rows)
            time.sleep(0.002)

    def end(self):
        self.ends.set()
        self.thread.join(10)
        self.reader.end()
        self.out.end()


def test_centre_by_centre_from_the_antiloops_to_isobar_before_the_old_broker(
        empty, tmp_path, keeper, node, client):
    sources = {centre: node(centre) for centre in (DWD, MSC)}
    old = node("old")
    world = Subscriber(old.port, "origin/a/wis2/#", user=None)
    keeper.keep(world.end)
    settings = {c: {"centre_id": c, "url": sources[c].url, "enabled": False} for c in sources}
    both = Nodes(tmp_path, empty, 2, sources=settings, config={**CONFIG,
                                                              "checks": {"metadata": "off"}})
    both[0].config["publish"] = [{"url": old.url, "topics": ["origin/a/wis2/#"]}]
    both[0].write_config()
    keeper.keep(both.end)
    both.start()
    olds = {c: OldCentre(empty, sources[c], old) for c in sources}
    for one in olds.values():
        keeper.keep(one.end)
    writers = {c: client(sources[c].port, user=None) for c in sources}
    sent = []

    def publish(count=60):
        messages = {c: wnm.valid_many(c, count) for c in sources}
        for c, rows in messages.items():
            writers[c].publish_all(rows)
            sent.extend(rows)
        world.wait_count(len(sent), 30)

    publish()
    for centre in (DWD, MSC):
        for one in both:
            one.write_source(centre, {**settings[centre], "enabled": True})
            one.reload()
        for one in both:
            one.wait_connected(centre)
        publish()
        olds[centre].end()
        publish()
    assert sorted(json.loads(m.payload)["id"] for m in world.messages) == ids(sent)
    theirs = [m for one in olds.values() for m in one.antiloop.published]
    assert len(theirs) >= 2 * 60 and len(published(empty)) >= 3 * 60
    assert len(theirs) + len(published(empty)) == len(sent)
