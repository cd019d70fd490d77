"""Retained messages: set, replaced, cleared, expired; what a new subscription gets and when; kept over
restarts and kills; bounded."""
import os
import shutil
import struct
import time

import paho.mqtt.client as paho
import pytest

from harness import wire
from harness.clients import V4, V5, properties
from harness.process import within
from harness.wire import Wire

OWNER = {"user": "owner", "password": "owner", "read": ["#"], "write": ["#", "$other/#"]}
READER = {"user": "reader", "password": "reader", "read": ["sandbox/#"],
          "deny": ["sandbox/closed/#"]}
ACCOUNTS = [OWNER, READER]
LOGIN = {"user": b"owner", "password": b"owner"}


@pytest.fixture
def world(gb, client, subscriber):
    class World:
        broker = gb(accounts=ACCOUNTS)
        sender = None

        def connect(self, **options):
            return client(self.broker.port, user="owner", password="owner", **options)

        def retain(self, topic, payload, qos=1, **props):
            if self.sender is None:
                self.sender = self.connect()
            self.publish(topic, payload, qos, True, **props)

        def publish(self, topic, payload, qos=1, retain=False, **props):
            if self.sender is None:
                self.sender = self.connect()
            made = properties("PUBLISH", **props) if props else None
            self.sender.flush([self.sender.paho.publish(topic, payload, qos, retain,
                                                        properties=made).mid])

        def seen(self, *filters, count=None, qos=2, version=V5, user="owner", fence=True):
            """What a new subscriber gets first: (topic, payload, retain) in order."""
            one = subscriber(self.broker.port, *filters, qos=qos, user=user, password=user,
                             version=version)
            if count is not None:
                one.wait_count(count)
            return self.until_fence(one, filters) if fence else one

        def until_fence(self, one, filters=None):
            granted = one.subscribe("sandbox/fence", qos=1)
            assert granted == [1], granted
            self.publish("sandbox/fence", b"fence")
            one.wait(lambda: any(m.payload == b"fence" for m in one.messages), what="fence")
            return [(m.topic, bytes(m.payload), m.retain) for m in one.messages
                    if m.payload != b"fence"]
    return World()


def settle(broker, count):
    broker.wait_metric("isobar_retained_messages", count)


VERSIONS = pytest.mark.parametrize("version", [V4, V5], ids=["3.1.1", "5"])


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_last_one_of_a_topic_is_kept_and_sent_to_a_new_subscription(qos, version, world):
    """[MQTT-3.3.1-5], [MQTT3-3.3.1-6], [MQTT3-3.3.1-7], [MQTT3-3.3.1-8]."""
    world.retain("sandbox/a", b"one", qos)
    world.retain("sandbox/a", b"two", qos)
    world.publish("sandbox/fence", b"behind both")
    one = world.seen("sandbox/a", version=version, count=1, fence=False)
    assert [(m.payload, m.retain, m.qos) for m in one.messages] == [(b"two", True, qos)]


@VERSIONS
def test_an_empty_payload_clears_it_and_is_not_kept(version, world):
    """[MQTT-3.3.1-6], [MQTT-3.3.1-7], [MQTT3-3.3.1-10], [MQTT3-3.3.1-11]."""
    listener = world.seen("sandbox/a", version=version, fence=False)
    world.retain("sandbox/a", b"one")
    world.retain("sandbox/a", b"")
    assert world.seen("sandbox/a", version=version) == []
    assert [(m.payload, m.retain) for m in listener.wait_count(2)] == [(b"one", False), (b"", False)]


def test_a_message_without_the_flag_leaves_the_retained_one(world):
    """[MQTT-3.3.1-8], [MQTT3-3.3.1-12]."""
    world.retain("sandbox/a", b"kept")
    world.publish("sandbox/a", b"passing")
    assert world.seen("sandbox/a") == [("sandbox/a", b"kept", True)]


FILTERS = [
    ("#", ["/", "b", "sandbox", "sandbox/a/x", "sandbox/b/x"]),
    ("+", ["b", "sandbox"]),
    ("sandbox/#", ["sandbox", "sandbox/a/x", "sandbox/b/x"]),
    ("sandbox/+/x", ["sandbox/a/x", "sandbox/b/x"]),
    ("+/a/#", ["sandbox/a/x"]),
    ("sandbox/a/x", ["sandbox/a/x"]),
    ("sandbox/a", []),
    ("/+", ["/"]),
    ("$other/#", ["$other/a"]),
    ("sandbox/a/x/#", ["sandbox/a/x"]),
]


def test_wildcards_find_what_they_match_and_never_a_topic_with_a_dollar(world):
    """[MQTT-4.7.2-1] for # and +."""
    world.broker.config
    for topic in ["b", "/", "sandbox", "sandbox/a/x", "sandbox/b/x", "$other/a"]:
        world.retain(topic, b"x")
    wire_client = Wire(world.broker.port).login(**LOGIN)
    for number, (asked, topics) in enumerate(FILTERS, 1):
        if asked.startswith("$"):
            continue
        wire_client.send(wire.subscribe([asked], packet_id=number) + wire.PINGREQ)
        assert wire_client.read()[0] == 0x90
        got = []
        assert wire_client.read()[0] == 0xD0
        for _ in topics:
            first, body = wire_client.read()
            assert first == 0x31
            length = struct.unpack(">H", body[:2])[0]
            got.append(body[2:2 + length].decode())
        assert got == topics, asked
        wire_client.send(wire.packet(0xA2, struct.pack(">H", 100) + b"\0" + wire.text(asked)))
        assert wire_client.read()[0] == 0xB0
    wire_client.end()


def test_retain_handling_says_when_they_are_sent(world):
    """[MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]."""
    world.retain("sandbox/a", b"x")
    one = world.connect()

    def subscribe(handling):
        one.messages.clear()
        options = paho.SubscribeOptions(qos=1, retainHandling=handling)
        _, mid = one.paho.subscribe([("sandbox/a", options)])
        one.wait(lambda: mid in one.codes)
        found = [(t, p) for t, p, _ in world.until_fence(one)]
        return len(found)
    assert subscribe(2) == 0
    assert subscribe(1) == 0    # it existed
    assert subscribe(0) == 1
    one.paho.unsubscribe("sandbox/a")
    assert subscribe(1) == 1
    assert subscribe(1) == 0
    assert subscribe(0) == 1


@VERSIONS
def test_a_repeated_subscription_gets_them_again(version, world):
    """[MQTT3-3.8.4-3], [MQTT-3.8.4-4], [MQTT-3.3.1-9]."""
    world.retain("sandbox/a", b"x")
    one = world.seen("sandbox/a", version=version, count=1, fence=False)
    one.subscribe("sandbox/a", qos=1)
    one.wait_count(2)
    assert all(m.retain for m in one.messages)


def test_live_delivery_keeps_the_flag_only_for_who_asked(world):
    """[MQTT-3.3.1-12], [MQTT-3.3.1-13]."""
    def listen(**options):
        one = world.connect()
        _, mid = one.paho.subscribe([("sandbox/#", paho.SubscribeOptions(qos=1, **options))])
        one.wait(lambda: mid in one.codes)
        return one
    plain, keeping = listen(), listen(retainAsPublished=True)
    old = world.seen("sandbox/#", version=V4, fence=False)
    world.retain("sandbox/a", b"retained")
    world.publish("sandbox/a", b"passing")
    for one, flags in [(plain, [False, False]), (keeping, [True, False]), (old, [False, False])]:
        assert [m.retain for m in one.wait_count(2)] == flags


def test_properties_and_what_is_left_of_the_expiry_come_along(world):
    """[MQTT-3.3.2-6]."""
    world.retain("sandbox/a", b"x", MessageExpiryInterval=1000, ContentType="text/x",
                 UserProperty=[("a", "1"), ("a", "2")], ResponseTopic="sandbox/r",
                 CorrelationData=b"\0\1", PayloadFormatIndicator=1)
    time.sleep(1.1)
    one = world.connect()
    made = properties("SUBSCRIBE", SubscriptionIdentifier=77)
    one.subscribe("sandbox/#", props=made)
    got = one.wait_count(1)[0].properties
    assert 900 < got.MessageExpiryInterval < 1000
    assert (got.ContentType, got.UserProperty, got.ResponseTopic, got.CorrelationData,
            got.PayloadFormatIndicator, got.SubscriptionIdentifier) == (
                "text/x", [("a", "1"), ("a", "2")], "sandbox/r", b"\0\1", 1, [77])


def test_an_expired_one_is_gone(world):
    """[MQTT-3.3.2-5]."""
    def is_there(seconds):
        world.retain("sandbox/a", b"x", MessageExpiryInterval=seconds)
        settle(world.broker, 1)
    within(1, is_there)
    settle(world.broker, 0)
    assert world.seen("sandbox/a") == []


def test_denied_topics_are_left_out(world):
    world.retain("sandbox/open", b"x")
    world.retain("sandbox/closed/a", b"x")
    one = Wire(world.broker.port).login(user=b"reader", password=b"reader")
    one.send(wire.subscribe(["sandbox/#"]))
    assert one.read()[0] == 0x90
    first, body = one.read()
    assert first == 0x31 and body[2:14] == b"sandbox/open"
    one.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        one.read()
    one.end()


def test_a_retained_will_is_retained(world):
    """[MQTT-3.1.2-15], [MQTT3-3.1.2-17]."""
    dying = world.connect(connect=False)
    dying.paho.will_set("sandbox/will", b"gone", 1, True)
    dying.connect()
    dying.cut()
    settle(world.broker, 1)
    assert world.seen("sandbox/will") == [("sandbox/will", b"gone", True)]


def test_a_replay_gets_none(world):
    world.retain("sandbox/a", b"x")
    one = world.connect()
    one.subscribe("$replay/1h/sandbox/a")
    assert world.until_fence(one) == [("sandbox/a", b"x", False)]


def test_no_local_holds_for_retained_messages(world):
    """[MQTT-3.8.3-3]."""
    one = world.connect()
    _, mid = one.paho.subscribe([("sandbox/a", paho.SubscribeOptions(qos=1, noLocal=True))])
    one.wait(lambda: mid in one.codes)
    one.flush([one.paho.publish("sandbox/a", b"x", 1, True).mid])
    _, mid = one.paho.subscribe([("sandbox/a", paho.SubscribeOptions(qos=1, noLocal=True))])
    one.wait(lambda: mid in one.codes)
    assert world.until_fence(one) == []


def test_connack_does_not_deny_retain(world):
    """[MQTT-3.2.2-13], [MQTT-3.2.2-14]: the property is absent, so it is available."""
    one = Wire(world.broker.port)
    one.send(wire.connect(5, **LOGIN))
    first, body = one.read()
    assert first == 0x20 and body[1] == 0
    at, end = 3, 3 + body[2]
    sizes = {0x11: 4, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1,
             0x13: 2}
    while at < end:
        name = body[at]
        at += 1 + (2 + struct.unpack(">H", body[at + 1:at + 3])[0] if name == 0x12
                   else sizes[name])
        assert name != 0x25
    one.end()


# --- order and resends ------------------------------------------------------------


def test_a_message_in_flight_is_sent_again_with_its_flag(world):
    """[MQTT-4.4.0-1]: DUP set, the rest as it was."""
    world.retain("sandbox/a", b"x")
    session = b"\x11" + struct.pack(">I", 60)
    one = Wire(world.broker.port).login(client_id="again", properties=session, **LOGIN)
    one.send(wire.subscribe(["sandbox/a"], qos=1))
    assert one.read()[0] == 0x90
    assert one.read()[0] == 0x33
    one.end()
    one = Wire(world.broker.port)
    one.send(wire.connect(5, client_id="again", flags=0xC0, properties=session, **LOGIN))
    assert one.read()[1][0] == 1
    assert one.read()[0] == 0x3B
    one.end()


def test_a_backlog_comes_before_and_later_messages_behind(world):
    """A SUBSCRIBE is a point in the order of all messages."""
    one = world.connect(client_id="away", clean=False, expiry=60)
    one.subscribe("sandbox/log")
    one.disconnect()
    for n in range(5):
        world.publish("sandbox/log", b"%d" % n)
    for n in range(300):
        world.publish("sandbox/state/%03d" % n, b"old", qos=0, retain=True)
    world.publish("sandbox/log", b"5")
    back = world.connect(client_id="away", clean=False, expiry=60)
    back.subscribe("sandbox/state/#")
    world.publish("sandbox/state/299", b"new", retain=True)
    got = [(m.topic, m.payload, m.retain) for m in back.wait_count(307)]
    assert [p for t, p, _ in got if t == "sandbox/log"] == [b"%d" % n for n in range(6)]
    assert [p for t, p, _ in got if t == "sandbox/state/299"] in ([b"old", b"new"], [b"new"])
    assert sum(r for _, _, r in got) >= 299


# --- kept -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_they_survive_the_end_of_the_process(how, world):
    for n in range(20):
        world.retain("sandbox/%02d" % n, b"first")
    world.retain("sandbox/00", b"second", ContentType="text/x")
    world.retain("sandbox/01", b"")
    world.retain("sandbox/02", b"x", MessageExpiryInterval=1)
    getattr(world.broker, how)()
    time.sleep(1.1)
    world.broker.start()
    world.sender = None
    got = world.seen("sandbox/+", count=18)
    assert got[0] == ("sandbox/00", b"second", True)
    assert [t for t, _, _ in got] == ["sandbox/%02d" % n for n in [0, *range(3, 20)]]
    world.retain("sandbox/00", b"third")
    assert world.seen("sandbox/00") == [("sandbox/00", b"third", True)]


def test_they_outlive_the_journal(world):
    """The segment with the message is thrown away; the store has it."""
    world.retain("sandbox/a", b"x", qos=1, ContentType="text/x")
    world.broker.stop()
    shutil.rmtree(os.path.join(world.broker.data, "journal"))
    world.broker.start()
    world.sender = None
    one = world.seen("sandbox/a", count=1, fence=False)
    got = one.messages[0]
    assert (got.payload, got.retain, got.qos, got.properties.ContentType) == (
        b"x", True, 1, "text/x")


# --- bounds -----------------------------------------------------------------------


def anonymous_bytes(broker):
    return broker.metric("isobar_anonymous_memory_bytes")


def fill(port, count, size, prefix=b"sandbox/many/", start=0):
    """QoS 1, so many, pipelined within the receive maximum; the reason codes."""
    sender = Wire(port).login(**LOGIN)
    codes = []
    payload = b"p" * size
    for base in range(start, start + count, 100):
        part = range(base, min(base + 100, start + count))
        sender.send(b"".join(wire.publish(prefix + b"%06d" % n, payload, qos=1, flags=1,
                                          packet_id=n % 100 + 1) for n in part))
        for _ in part:
            first, body = sender.read()
            assert first == 0x40
            codes.append(body[2] if len(body) > 2 else 0)
    sender.end()
    return codes


def test_a_slow_subscriber_of_thousands_costs_no_memory(world):
    count, size = 5000, 4000
    assert set(fill(world.broker.port, count, size)) <= {0x00, 0x10}
    world.broker.stop()     # else what the store still writes, and what it needed for that, would be counted
    world.broker.start()
    settle(world.broker, count)
    slow = Wire(world.broker.port, receive_buffer=4096).login(version=4, **LOGIN)
    before = anonymous_bytes(world.broker)
    slow.send(wire.subscribe(["sandbox/many/#"], version=4, qos=1))
    assert slow.read()[0] == 0x90
    seen = []
    for _ in range(count):
        first, body = slow.read()
        assert first == 0x33
        length = struct.unpack(">H", body[:2])[0]
        seen.append(int(body[2:2 + length][-6:]))
        slow.send(wire.packet(0x40, body[2 + length:4 + length]))
        if len(seen) % 1000 == 1:
            assert anonymous_bytes(world.broker) - before < 2 << 20
    assert seen == list(range(count))
    slow.end()


def test_a_full_store_refuses_and_counts(world):
    """0x97, and what was there stays."""
    size = 250 << 10
    most = (128 << 20) // (size + 30)
    codes = fill(world.broker.port, most + 20, size)
    assert codes[:most - 100].count(0x97) == 0 and codes[-10:] == [0x97] * 10
    refused = codes.count(0x97)
    world.broker.wait_metric("isobar_retained_refused_total", refused)
    settle(world.broker, most + 20 - refused)
    assert world.seen("sandbox/many/000000", count=1)[0][2]
