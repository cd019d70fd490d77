"""Statements of both versions of MQTT on SUBSCRIBE, UNSUBSCRIBE and what matches. Raw packets, both
versions, one broker."""
import itertools

import pytest

from harness.peer import V5, VERSIONS, ack, subscribe, unsubscribe
from model import packets as mqtt

BOTH = pytest.mark.parametrize("version", VERSIONS)
NO_LOCAL, NEVER = 4, 0x20
SUBSCRIPTION_ID = 11


@pytest.fixture
def sender(peer):
    return peer(V5, "sender")


@pytest.fixture
def heard(sender):
    """heard(peer): what it has been sent up to now."""
    fences = itertools.count()

    def find(made):
        fence = b"fence %d" % next(fences)
        made.subscribe("t/fence")
        sender.publish("t/fence", fence)
        found = []
        while not found or found[-1].payload != fence:
            found.append(made.take())
        return [p for p in found if p.topic != "t/fence"]
    return find


# --- SUBACK and UNSUBACK ------------------------------------------------------------------


@BOTH
def test_suback_answers_each_filter_in_its_place(version, peer):
    """[MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-3.8.4-5], [MQTT-3.8.4-6], [MQTT-3.8.4-7], [MQTT-3.9.3-1],
    [MQTT-3.9.3-2], [MQTT3-3.8.4-1], [MQTT3-3.8.4-2], [MQTT3-3.8.4-4], [MQTT3-3.8.4-5],
    [MQTT3-3.9.3-1], [MQTT3-3.9.3-2]."""
    made = peer(version, f"suback-{version}", user="reader", password="reader")
    made.send(subscribe([("t/a", 2), ("other/#", 0), ("t/b", 0), ("t/c", 1)], version, packet_id=77))
    found = made.expect(mqtt.SUBACK)
    denied = 0x87 if version == V5 else 0x80
    assert found.packet_id == 77
    assert found.reasons[1] == denied and found.reasons[2:] == [0, 1] and found.reasons[0] <= 2


@BOTH
def test_several_filters_are_as_several_packets(version, peer, sender, heard):
    """[MQTT-3.8.4-5], [MQTT3-3.8.4-4], [MQTT-3.10.4-6], [MQTT3-3.10.4-6]: one filter twice is the last
    of it, and one answer comes."""
    made = peer(version)
    assert made.subscribe(("t/twice", 0), ("t/other", 1), ("t/twice", 1)) == [0, 1, 1]
    sender.publish("t/twice", b"", 1)
    sender.publish("t/other", b"", 1)
    assert [(p.topic, p.qos) for p in heard(made)] == [("t/twice", 1), ("t/other", 1)]
    made.unsubscribe("t/twice", "t/other")
    sender.publish("t/twice", b"", 1)
    sender.publish("t/other", b"", 1)
    assert heard(made) == []
    made.quiet()


@BOTH
def test_unsuback_answers_whatever_there_was(version, peer):
    """[MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT-3.10.4-6], [MQTT-3.11.3-1], [MQTT-3.11.3-2],
    [MQTT3-3.10.4-4], [MQTT3-3.10.4-5], [MQTT3-3.10.4-6]."""
    made = peer(version)
    made.subscribe("t/a", "t/b")
    made.send(unsubscribe(["t/none", "t/a", "t/nothing", "t/b"], version, packet_id=99))
    found = made.expect(mqtt.UNSUBACK)
    assert found.packet_id == 99
    assert found.reasons == ([0x11, 0, 0x11, 0] if version == V5 else [])
    made.quiet()


@BOTH
def test_unsubscribe_takes_exactly_that_filter_away(version, peer, sender, heard):
    """[MQTT-3.10.4-1], [MQTT-3.10.4-2], [MQTT3-3.10.4-1], [MQTT3-3.10.4-2]: what would match it stays."""
    made = peer(version)
    made.subscribe("t/exact/+", "t/exact/a")
    made.unsubscribe("t/exact/#", "t/exact/b", "t/Exact/+", "t/exact")
    sender.publish("t/exact/b", b"1")
    assert [p.payload for p in heard(made)] == [b"1"]
    made.unsubscribe("t/exact/+")
    sender.publish("t/exact/b", b"2")
    sender.publish("t/exact/a", b"3")
    assert [p.payload for p in heard(made)] == [b"3"]


@BOTH
def test_the_same_filter_again_replaces_the_subscription(version, peer, sender, heard):
    """[MQTT-3.8.4-3], [MQTT-3.8.4-4], [MQTT3-3.8.4-3]: one copy, of the new QoS, and none is lost."""
    made = peer(version, f"replaces-{version}")
    made.subscribe("t/replaced", qos=1)
    for i in range(40):
        sender.publish("t/replaced", b"%d" % i, 1)
        if i % 5 == 0:
            made.send(subscribe(["t/replaced"], version, options=i % 2, packet_id=i + 1))
    assert heard_with_acks(made, 40) == [b"%d" % i for i in range(40)]
    made.subscribe("t/replaced", qos=0)
    sender.publish("t/replaced", b"once", 1)
    assert [(p.payload, p.qos) for p in heard(made)] == [(b"once", 0)]
    if version == V5:
        made.subscribe("t/replaced", properties=[(SUBSCRIPTION_ID, 5)])
        made.subscribe("t/replaced", properties=[(SUBSCRIPTION_ID, 6)])
        sender.publish("t/replaced", b"once")
        assert [p.property(SUBSCRIPTION_ID) for p in heard(made)] == [6]


@BOTH
def test_what_waits_for_a_client_is_not_lost_when_it_subscribes_again(version, peer, sender):
    """[MQTT-3.8.4-4], [MQTT3-3.8.4-3]."""
    name, settings = f"waits-{version}", {"user": "narrow", "password": "narrow"}
    if version == V5:
        settings["properties"] = [(17, 60)]
    made = peer(version, name, clean=False, **settings)
    made.subscribe("t/waits", qos=1)
    made.end()
    for payload in (b"1", b"2", b"3"):
        sender.publish("t/waits", payload, 1)
    made = peer(version, name, clean=False, **settings)
    first = made.message()
    assert made.subscribe("t/waits", qos=1) == [1]
    made.send(ack(0x40, first.packet_id))
    assert [first.payload] + [made.take().payload for _ in range(2)] == [b"1", b"2", b"3"]


def heard_with_acks(made, count):
    """Payloads of so many messages, whatever SUBACKs stand between them."""
    found = []
    while len(found) < count:
        p = made.next()
        if p.kind == mqtt.PUBLISH:
            found.append(p.payload)
            if p.qos:
                made.send(ack(0x40, p.packet_id))
    return found


# --- what matches -----------------------------------------------------------------------------

MATCHES = [
    # filter, topics that match, topics that do not
    ("t/m/#", ["t/m", "t/m/", "t/m/a", "t/m/a/b", "t/m/$a"], ["t/mm", "t", "t/M/a"]),
    ("t/+/c", ["t/m/c", "t//c", "t/$/c"], ["t/m/d/c", "t/c", "t/m/c/"]),
    ("t/m/+", ["t/m/", "t/m/x"], ["t/m", "t/m/x/y"]),
    ("+/m", ["t/m", "/m"], ["$odd/m", "t/m/m", "m"]),
    ("#", ["t/m", "/", "t", "t/m/$x"], ["$odd/m", "$odd"]),
    ("+/+", ["t/m", "/m", "/"], ["$odd/m", "t"]),
    ("$odd/#", ["$odd/m", "$odd/"], ["t/$odd/m"]),
    ("$odd/+", ["$odd/m"], ["$odd/m/n", "t/m"]),
    ("t/m", ["t/m"], ["t/m/", "/t/m", "T/m", "t/M", "t//m"]),
    ("t/\u00e9", ["t/\u00e9"], ["t/e\u0301", "t/e"]),
    ("t/ m", ["t/ m"], ["t/m", "t/  m"]),
]


@BOTH
@pytest.mark.parametrize("pattern, yes, no", MATCHES, ids=[row[0] for row in MATCHES])
def test_a_filter_matches_what_it_says(pattern, yes, no, version, peer, sender, heard):
    """[MQTT-3.3.2-3], [MQTT3-3.3.2-3], [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT3-4.7.1-2], [MQTT3-4.7.1-3],
    [MQTT-4.7.2-1], [MQTT3-4.7.2-1], [MQTT-4.7.3-4], [MQTT3-4.7.3-4], [MQTT-4.5.0-1], [MQTT3-4.5.0-1]."""
    made = peer(version)
    assert made.subscribe(pattern, qos=1) == [1]
    for topic in [t for pair in zip(yes, no) for t in pair] + yes[len(no):] + no[len(yes):]:
        sender.publish(topic, b"x", 1)
    found = [p.topic for p in heard(made)]
    assert sorted(found) == sorted(yes)


@BOTH
def test_overlapping_subscriptions_give_the_highest_qos(version, peer, sender, heard):
    """[MQTT-3.3.4-2], [MQTT3-3.3.5-1]."""
    made = peer(version)
    made.subscribe(("t/over/#", 0), ("t/over/+", 2), ("t/over/x", 1))
    sender.publish("t/over/x", b"", 2)
    sender.publish("t/over/x/y", b"", 2)
    assert [(p.topic, p.qos) for p in heard(made)] == [("t/over/x", 2), ("t/over/x/y", 0)]


def test_identifiers_of_all_subscriptions_that_match_are_sent(peer, sender, heard):
    """[MQTT-3.3.4-3], [MQTT-3.3.4-4]; the one without has none."""
    made = peer(V5)
    made.subscribe("t/ids/#", properties=[(SUBSCRIPTION_ID, 1)])
    made.subscribe("t/ids/+", properties=[(SUBSCRIPTION_ID, 268435455)])
    made.subscribe("t/ids/x")
    made.subscribe("t/other", properties=[(SUBSCRIPTION_ID, 9)])
    for topic in ("t/ids/x", "t/ids/x/y", "t/other"):
        sender.publish(topic)
    ids = [[v for n, v in p.properties if n == SUBSCRIPTION_ID] for p in heard(made)]
    assert [sorted(i) for i in ids] == [[1, 268435455], [1], [9]]


def test_no_local_keeps_a_client_s_own_messages_from_it(peer, sender, heard):
    """[MQTT-3.8.3-3]."""
    made, other = peer(V5, "local"), peer(V5, "local-other")
    made.subscribe("t/local", options=NO_LOCAL | 1)
    other.subscribe("t/local", options=1)
    made.publish("t/local", b"own", 1)
    sender.publish("t/local", b"other's", 1)
    assert [p.payload for p in heard(made)] == [b"other's"]
    assert [p.payload for p in heard(other)] == [b"own", b"other's"]
    made.subscribe("t/local", options=1)
    made.publish("t/local", b"own")
    assert [p.payload for p in heard(made)] == [b"own"]
    made.subscribe("t/local", options=NO_LOCAL, properties=[(SUBSCRIPTION_ID, 1)])
    made.subscribe("t/+", options=NEVER, properties=[(SUBSCRIPTION_ID, 2)])
    made.publish("t/local", b"own")
    sender.publish("t/local", b"other's")
    found = [(p.payload, sorted(v for n, v in p.properties if n == SUBSCRIPTION_ID))
             for p in heard(made)]
    assert found == [(b"own", [2]), (b"other's", [1, 2])]


@BOTH
def test_every_session_that_matches_gets_the_message(version, peer, sender):
    """[MQTT-4.5.0-1], [MQTT3-4.5.0-1], [MQTT3-3.1.2-5]: those that are away as well."""
    settings = {"properties": [(17, 60)]} if version == V5 else {}
    clean = version == V5
    away = peer(version, f"away-{version}", clean=clean, **settings)
    away.subscribe("t/every", qos=2)
    away.end()
    here = [peer(version) for _ in range(3)]
    for p in here:
        p.subscribe("t/every", qos=1)
    sender.publish("t/every", b"all", 2)
    assert [p.take().payload for p in here] == [b"all"] * 3
    back = peer(version, f"away-{version}", clean=False, **settings)
    assert back.take().payload == b"all"
