"""The main job: three WIS2 Nodes and another Global Broker in, each valid message once out.

These also run under the sanitizers (Makefile, E2E_CORE).
"""
import json
import time
import uuid
from collections import Counter

import pytest

from harness import notifications as wnm
from harness.clients import V4, V5, assert_same
from harness.isobar import CENTRE_ID
from harness.notifications import Message
from harness.process import factor, wait_equal

DWD, MSC, WILD, PEER = "de-dwd", "ca-eccc-msc", "io-wis2dev-11-test", "fr-meteofrance-global-broker"
CENTRES = (DWD, MSC, WILD, PEER)
TREES = ("origin/a/wis2/#", "cache/a/wis2/#", "monitor/a/wis2/#")


class World:
    """Four mosquittos, a publisher at each, and Isobar with all four as sources.

    The second node speaks for DWD too (`centres`), the third sends whatever it likes (its topics
    are wider than its rights), the fourth is another Global Broker."""

    def __init__(self, node, gb, client):
        self.nodes = {name: node(name) for name in CENTRES}
        url = {name: made.url for name, made in self.nodes.items()}
        self.gb = gb({
            "dwd": {"centre_id": DWD, "url": url[DWD]},
            "msc": {"centre_id": MSC, "url": url[MSC], "protocol": "3.1.1", "centres": [DWD],
                    "topics": [f"origin/a/wis2/{MSC}/#", f"origin/a/wis2/{DWD}/#"]},
            "wild": {"centre_id": WILD, "url": url[WILD],
                     "topics": ["origin/#", "cache/#"]},
            "peer": {"centre_id": PEER, "kind": "broker", "url": url[PEER],
                     "topics": ["origin/#", "cache/#"]},
        })
        self.gb.wait_connected(*CENTRES)
        self.to = {name: client(made.port) for name, made in self.nodes.items()}

    def send(self, centre, messages, qos=1):
        self.to[centre].publish_all(messages, qos)

    def wait_received(self, **wanted):
        for name, count in wanted.items():
            self.gb.wait_received(count, globals()[name])

    def counters(self, centre):
        """The five of MON-03 and ours, as a dict without zeros."""
        m = self.gb.metrics()
        names = {"received": "wmo_wis2_gb_messages_received_total",
                 "published": "wmo_wis2_gb_messages_published_total",
                 "topic": "wmo_wis2_gb_messages_invalid_topic_total",
                 "format": "wmo_wis2_gb_messages_invalid_format_total",
                 "metadata": "wmo_wis2_gb_messages_no_metadata_total",
                 "duplicates": "isobar_duplicates_total",
                 "conflicts": "isobar_conflicts_total"}
        found = {key: m.value(name, 0, centre_id=centre) for key, name in names.items()}
        for labels, value in m.series("isobar_rejected_total"):
            if labels["centre_id"] == centre:
                found[labels["rule"]] = value
        return {key: value for key, value in found.items() if value}


@pytest.fixture
def world(node, gb, client):
    return World(node, gb, client)


@pytest.fixture
def audience(world, subscriber, mosquitto_sub):
    """Everyone who listens: both versions at QoS 0 and 1, and mosquitto_sub."""
    port = world.gb.port
    return [
        subscriber(port, *TREES, version=V4, qos=0),
        subscriber(port, *TREES, version=V4, qos=1),
        subscriber(port, *TREES, version=V5, qos=0),
        subscriber(port, *TREES, version=V5, qos=1),
        mosquitto_sub(port, *TREES, version="mqttv311", qos=1),
        mosquitto_sub(port, *TREES, version="mqttv5", qos=0),
    ]


def assert_heard(audience, wanted, sentinel):
    """All heard exactly `wanted`; the sentinel, published last, closes the list."""
    for listener in audience:
        listener.wait_count(len(wanted) + 1)
        assert_same(listener.messages, [*wanted, sentinel])


def test_each_valid_message_reaches_every_subscriber_once_and_at_once(world, audience):
    sent_at = {}
    messages = wnm.valid_many(DWD, 200)
    for part in range(4):               # a machine that stands still may do so for one of them
        for m in messages[part * 50:part * 50 + 50]:
            sent_at[m.payload] = time.monotonic()
            world.to[DWD].publish(m)
        for listener in audience:
            listener.wait_count(part * 50 + 50)
    world.send(MSC, messages)
    world.send(PEER, messages)
    world.send(DWD, messages[:50])
    world.wait_received(DWD=250, MSC=200, PEER=200)
    sentinel = wnm.valid(MSC)
    world.send(MSC, [sentinel])
    assert_heard(audience, messages, sentinel)
    for listener in audience:
        late = [r.at - sent_at[r.payload] for r in listener.messages if r.payload in sent_at]
        assert min(late) < 1.0 * factor(), late     # one in time of 200 is enough
    wait_equal(lambda: world.counters(DWD), {"received": 250, "published": 200, "duplicates": 50})
    wait_equal(lambda: world.counters(MSC), {"received": 201, "published": 1, "duplicates": 200})
    wait_equal(lambda: world.counters(PEER), {"received": 200, "duplicates": 200})


def test_three_ways_at_once_still_publish_once(world, audience):
    messages = wnm.valid_many(DWD, 500)
    ways = (DWD, MSC, PEER)
    under_way = [(way, world.to[way].publish(m)) for m in messages for way in ways]
    for way in ways:
        world.to[way].flush([mid for w, mid in under_way if w == way])
    world.wait_received(DWD=500, MSC=500, PEER=500)
    sentinel = wnm.valid(DWD)
    world.send(DWD, [sentinel])
    assert_heard(audience, messages, sentinel)
    wait_equal(lambda: sum((Counter(world.counters(way)) for way in ways), Counter()),
               {"received": 1501, "published": 501, "duplicates": 1000})


def test_broken_notifications_are_counted_by_rule_and_heard_by_nobody(world, audience):
    broken = [(wnm.broken_payload(DWD, row, number), row[1])
              for number, row in enumerate(wnm.BROKEN_PAYLOADS)]
    world.send(DWD, [m for m, _ in broken])
    world.wait_received(DWD=len(broken))
    sentinel = wnm.valid(DWD)
    world.send(DWD, [sentinel])
    assert_heard(audience, [], sentinel)
    wait_equal(lambda: world.counters(DWD), {
        "received": len(broken) + 1, "published": 1, "format": len(broken),
        **Counter(rule for _, rule in broken)})


def test_wrong_topics_are_counted_by_rule_and_heard_by_nobody(world, audience):
    broken = [(wnm.broken_topic(DWD, tail), rule) for tail, rule in wnm.BROKEN_TAILS]
    world.send(DWD, [m for m, _ in broken])
    world.wait_received(DWD=len(broken))
    good = wnm.valid(DWD)
    bad_ahead = [(wnm.Message(topic, good.payload), rule) for topic, rule in (
        (good.topic.replace("/a/", "/b/", 1), "WTH-05"),
        (good.topic.replace("/wis2/", "/wis3/", 1), "WTH-06"),
        (good.topic.replace(DWD, "de-dwdd", 1), "WTH-07"))]
    world.send(PEER, [m for m, _ in bad_ahead])
    world.wait_received(PEER=3)
    world.send(DWD, [good])
    assert_heard(audience, [], good)
    wait_equal(lambda: world.counters(DWD), {
        "received": len(broken) + 1, "published": 1, "topic": len(broken),
        **Counter(rule for _, rule in broken)})
    wait_equal(lambda: world.counters(PEER), {"received": 3, "topic": 3,
                                    **Counter(rule for _, rule in bad_ahead)})


def test_a_node_that_speaks_for_another_is_ignored(world, audience):
    """WTH-22, WTH-23: received, in no error counter, and the id stays unclaimed."""
    foreign = wnm.valid_many(DWD, 5)
    wrong_channel = wnm.valid_many(WILD, 3, channel="cache")
    world.send(WILD, foreign + wrong_channel)
    world.wait_received(WILD=8)
    world.send(DWD, foreign)
    world.wait_received(DWD=5)
    sentinel = wnm.valid(WILD)
    world.send(WILD, [sentinel])
    assert_heard(audience, foreign, sentinel)
    wait_equal(lambda: world.counters(WILD), {"received": 9, "published": 1, "WTH-22": 5, "WTH-23": 3})
    wait_equal(lambda: world.counters(DWD), {"received": 5, "published": 5})


def test_a_refused_message_does_not_claim_its_id(world, audience):
    good = wnm.valid_many(DWD, 10)
    spoilt = [Message(m.topic, m.payload.replace(b'"canonical"', b'"alternate"'), m.id)
              for m in good]
    world.send(DWD, spoilt)
    world.wait_received(DWD=10)
    world.send(PEER, good)
    world.wait_received(PEER=10)
    sentinel = wnm.valid(DWD)
    world.send(DWD, [sentinel])
    assert_heard(audience, good, sentinel)
    wait_equal(lambda: world.counters(DWD), {"received": 11, "published": 1, "format": 10, "WNM-65": 10})
    wait_equal(lambda: world.counters(PEER), {"received": 10, "published": 10})


def test_the_id_alone_decides_whatever_its_case_topic_or_centre(world, audience):
    """GB-50; wnm.md section 3."""
    identity = str(uuid.uuid4())
    first = wnm.document(DWD, identity=identity)
    shouted = wnm.document(DWD, identity=identity.upper(), number=1)
    elsewhere = wnm.document(MSC, identity=identity, number=2)
    first = Message(wnm.topic_of(DWD), wnm.encode(first))
    world.send(DWD, [first])
    world.wait_received(DWD=1)
    world.send(DWD, [Message(wnm.topic_of(DWD, wnm.TAILS[1]), wnm.encode(shouted))])
    world.send(MSC, [Message(wnm.topic_of(MSC), wnm.encode(elsewhere))])
    world.wait_received(DWD=2, MSC=1)
    sentinel = wnm.valid(PEER, tail="metadata")
    world.send(PEER, [sentinel])
    assert_heard(audience, [first], sentinel)
    wait_equal(lambda: world.counters(DWD), {"received": 2, "published": 1, "duplicates": 1, "conflicts": 1})
    wait_equal(lambda: world.counters(MSC), {"received": 1, "duplicates": 1, "conflicts": 1})


def test_unusual_but_valid_messages_pass_byte_for_byte(world, audience):
    base = wnm.document(DWD)

    def made(change, spaces=False):
        doc = json.loads(json.dumps(base))
        doc["id"] = str(uuid.uuid4())
        change(doc)
        text = json.dumps(doc, indent=2 if spaces else None, ensure_ascii=not spaces)
        return Message(wnm.topic_of(DWD), text.encode("utf-8"))

    def old_style(doc):
        del doc["conformsTo"]
        doc["version"] = "v04"

    def period(doc):
        del doc["properties"]["datetime"]
        doc["properties"].update(start_datetime="2026-01-01T00:00:00Z",
                                 end_datetime="2026-01-02t00:00:00.123456789z")

    messages = [
        made(lambda doc: None, spaces=True),
        made(old_style),
        made(period),
        made(lambda doc: doc.update(geometry=None)),
        made(lambda doc: doc.update(__proto__={"": [1e308, -0.0, None]}, bbox=[])),
        made(lambda doc: doc["properties"].update(datetime=None, gts={"ttaaii": "SMDL01"})),
        made(lambda doc: doc["properties"].update(pubtime="2016-12-31T23:59:60Z")),
        made(lambda doc: doc["properties"]["integrity"].update(value="this_is_no_hash")),
        Message(wnm.topic_of(DWD), made(lambda doc: None).payload.ljust(8192)),
    ]
    deep = made(lambda doc: None)
    nested = b',"x":' + b"[" * 63 + b"]" * 63 + b"}"
    messages.append(Message(deep.topic, deep.payload[:-1] + nested))
    number = made(lambda doc: None)
    messages.append(Message(number.topic, number.payload[:-1] + b',"x":1e999}'))
    world.send(DWD, messages)
    sentinel = wnm.valid(MSC)
    world.wait_received(DWD=len(messages))
    world.send(MSC, [sentinel])
    assert_heard(audience, messages, sentinel)
    wait_equal(lambda: world.counters(DWD), {"received": len(messages), "published": len(messages)})


def test_published_at_any_qos_and_retained_it_arrives_once_and_unretained(
        world, audience, subscriber):
    """GB-31, GB-67."""
    by_qos = [wnm.valid(DWD, number) for number in range(3)]
    for qos, message in enumerate(by_qos):
        world.to[DWD].flush([world.to[DWD].publish(message, qos=qos, retain=True)])
    world.wait_received(DWD=3)
    sentinel = wnm.valid(MSC)
    world.send(MSC, [sentinel])
    assert_heard(audience, by_qos, sentinel)
    for listener in audience[:4]:
        assert not any(m.retain for m in listener.messages)
    assert {m.qos for m in audience[0].messages} == {0}
    assert {m.qos for m in audience[2].messages} == {0}
    assert max(m.qos for m in audience[1].messages) == 1
    assert max(m.qos for m in audience[3].messages) == 1
    late = subscriber(world.gb.port, *TREES)
    after = wnm.valid(MSC, 1)
    world.send(MSC, [after])
    late.wait_count(1)
    assert_same(late.messages, [after])


def test_filters_choose_what_a_subscriber_gets(world, subscriber):
    port = world.gb.port
    one = subscriber(port, f"origin/a/wis2/{DWD}/{wnm.SYNOP}")
    plus = subscriber(port, "origin/a/wis2/+/data/core/weather/aviation/+", version=V4)
    several = subscriber(port, f"origin/a/wis2/{MSC}/#", "origin/a/wis2/+/data/core/ocean/#",
                         f"origin/a/wis2/{MSC}/data/#")
    everything = subscriber(port, "origin/a/wis2/#")
    messages = wnm.valid_many(DWD, 24) + wnm.valid_many(MSC, 24)
    world.send(DWD, messages[:24])
    world.send(MSC, messages[24:])
    everything.wait_count(48)
    for listener, wants in (
            (one, lambda t: t == f"origin/a/wis2/{DWD}/{wnm.SYNOP}"),
            (plus, lambda t: "/data/core/weather/aviation/" in t),
            (several, lambda t: f"/{MSC}/" in t or "/data/core/ocean/" in t)):
        wanted = [m for m in messages if wants(m.topic)]
        assert wanted
        listener.wait_count(len(wanted))
        # Overlapping filters: the standard allows one copy or several, once each is the promise.
        assert_same(listener.messages, wanted)
    assert_same(everything.messages, messages)


def test_the_wis2_metrics_carry_the_right_names_and_labels(world, audience):
    world.send(DWD, wnm.valid_many(DWD, 3))
    audience[0].wait_count(3)
    world.wait_received(DWD=3)
    m = world.gb.metrics()
    for centre in CENTRES:
        labels = {"centre_id": centre, "report_by": CENTRE_ID}
        assert m.value("wmo_wis2_gb_connected_flag", **labels) == 1
    stamp = m.value("wmo_wis2_gb_last_message_timestamp_seconds", centre_id=DWD)
    assert abs(stamp - time.time()) < 60 * factor()
    for (name, labels) in m.samples:
        if name.startswith("wmo_wis2_"):
            assert {k for k, _ in labels} == {"centre_id", "report_by"}, (name, labels)


def test_a_clean_stop_takes_leave_and_a_start_goes_on(world, subscriber):
    """SIGTERM: MQTT 5 clients are told 0x8B; what was seen stays seen."""
    messages = wnm.valid_many(DWD, 20)
    listener = subscriber(world.gb.port, *TREES)
    world.send(DWD, messages)
    listener.wait_count(20)
    world.gb.stop()
    listener.wait(lambda: listener.disconnects, what="DISCONNECT")
    assert listener.disconnects[0] == 0x8B
    world.gb.start()
    world.gb.wait_connected(DWD, PEER)
    again = subscriber(world.gb.port, *TREES)
    world.send(PEER, messages)
    world.wait_received(PEER=20)
    fresh = wnm.valid(DWD)
    world.send(DWD, [fresh])
    again.wait_count(1)
    assert_same(again.messages, [fresh])
    wait_equal(lambda: world.counters(PEER), {"received": 20, "duplicates": 20})
