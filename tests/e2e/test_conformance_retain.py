"""Statements of both versions of MQTT on retained messages and shared subscriptions. Raw packets, one
broker."""
import pytest

from harness.peer import V4, V5, VERSIONS, Will, ack
from model import packets as mqtt

BOTH = pytest.mark.parametrize("version", VERSIONS)
AS_PUBLISHED, IF_NEW, NEVER = 0x08, 0x10, 0x20
KEPT = [(17, 60)]


@pytest.fixture
def sender(peer):
    return peer(V5, "sender")


@pytest.fixture
def fence(sender):
    """fence(peer, *filters): what it is sent, up to now; the last of it is published for that."""
    def find(made):
        made.subscribe("t/fence")
        sender.publish("t/fence", b"fence", 1)
        found = []
        while not found or found[-1].payload != b"fence":
            found.append(made.take())
        return found[:-1]
    return find


@pytest.fixture
def late(peer, fence):
    """late(filter, ...): what a new subscription brings."""
    def find(pattern, version=V5, options=0):
        made = peer(version)
        made.subscribe(pattern, options=options)
        return [(p.topic, p.payload, p.retain, p.qos) for p in fence(made)]
    return find


# --- retained messages -------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_last_message_with_retain_is_sent_to_who_subscribes(qos, version, peer, late):
    """[MQTT-3.3.1-5], [MQTT-3.3.1-9], [MQTT3-3.3.1-5], [MQTT3-3.3.1-6], [MQTT3-3.3.1-7], [MQTT3-3.3.1-8]."""
    made = peer(version)
    topic = f"t/kept/{version}/{qos}"
    for payload in (b"first", b"second"):
        made.publish(topic, payload, qos, retain=True)
    made.quiet()
    assert late(topic, version, options=2) == [(topic, b"second", True, qos)]
    assert late("t/kept/#", version, options=0).count((topic, b"second", True, 0)) == 1


@BOTH
def test_an_empty_message_with_retain_is_delivered_and_clears(version, peer, late, fence):
    """[MQTT-3.3.1-6], [MQTT-3.3.1-7], [MQTT3-3.3.1-10], [MQTT3-3.3.1-11]."""
    made, here = peer(version), peer(version)
    here.subscribe("t/cleared")
    for payload in (b"kept", b""):
        made.publish("t/cleared", payload, 1, retain=True)
    assert [(p.payload, p.retain) for p in fence(here)] == [(b"kept", False), (b"", False)]
    assert late("t/cleared") == []


@BOTH
def test_a_message_without_retain_leaves_what_is_retained(version, peer, late):
    """[MQTT-3.3.1-8], [MQTT3-3.3.1-12]."""
    made = peer(version)
    topic = f"t/left/{version}"
    made.publish(topic, b"passing", 1)
    assert late(topic) == []
    made.publish(topic, b"kept", 1, retain=True)
    for payload in (b"passing", b""):
        made.publish(topic, payload, 1)
    assert late(topic) == [(topic, b"kept", True, 0)]


@BOTH
def test_what_is_retained_outlives_the_session_it_came_from(version, peer, late):
    """[MQTT3-3.1.2-7]."""
    topic = f"t/outlives/{version}"
    made = peer(version, f"outlives-{version}")
    made.publish(topic, b"kept", 1, retain=True)
    made.disconnect()
    peer(version, f"outlives-{version}").quiet()
    assert late(topic) == [(topic, b"kept", True, 0)]


def test_retain_handling_says_when_retained_messages_are_sent(peer, sender, fence):
    """[MQTT-3.3.1-9] to [MQTT-3.3.1-11], [MQTT-3.8.4-4]."""
    sender.publish("t/handling", b"kept", 1, retain=True)
    for options, wanted in ((0, [True, True]), (IF_NEW, [True, False]), (NEVER, [False, False])):
        made = peer(V5)
        for is_sent in wanted:
            made.subscribe("t/handling", options=options)
            assert [p.payload for p in fence(made)] == ([b"kept"] if is_sent else [])
    made = peer(V5)
    made.subscribe("t/handling", options=NEVER)
    made.subscribe("t/handling", options=0)
    assert [p.payload for p in fence(made)] == [b"kept"]


def test_3_1_1_is_sent_them_with_every_subscribe(peer, sender, fence):
    """[MQTT3-3.8.4-3], [MQTT3-3.3.1-6]."""
    sender.publish("t/every", b"kept", 1, retain=True)
    made = peer(V4)
    for _ in range(2):
        made.subscribe("t/every")
        assert [(p.payload, p.retain) for p in fence(made)] == [(b"kept", True)]


def test_retain_is_as_published_for_who_asks_for_it(peer, sender, fence):
    """[MQTT-3.3.1-12], [MQTT-3.3.1-13], [MQTT3-3.3.1-9]."""
    plain, wants, old = peer(V5), peer(V5), peer(V4)
    plain.subscribe("t/as", options=0)
    wants.subscribe("t/as", options=AS_PUBLISHED)
    old.subscribe("t/as")
    for retain in (True, False):
        sender.publish("t/as", b"x", 1, retain=retain)
    assert [p.retain for p in fence(wants)] == [True, False]
    assert [p.retain for p in fence(plain)] == [False, False]
    assert [p.retain for p in fence(old)] == [False, False]


@BOTH
def test_a_will_is_retained_when_it_says_so(version, peer, late):
    """[MQTT-3.1.2-14], [MQTT-3.1.2-15], [MQTT3-3.1.2-16], [MQTT3-3.1.2-17]."""
    hearer = peer(V5)
    hearer.subscribe(f"t/retained-will/{version}/#")
    for retain in (False, True):
        topic = f"t/retained-will/{version}/{retain}"
        peer(version, will=Will(topic, retain=retain)).end()
        assert hearer.take().topic == topic
        assert late(topic) == ([(topic, b"gone", True, 0)] if retain else [])


# --- shared subscriptions ---------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_a_member_gets_no_more_than_its_qos(granted, version, peer, sender):
    """[MQTT-4.8.2-3], [MQTT-4.8.2-1], [MQTT-4.8.2-2], [MQTT-3.8.4-7], [MQTT-3.8.4-8], [MQTT3-3.8.4-5],
    [MQTT3-3.8.4-6]."""
    made = peer(version)
    assert made.subscribe(f"$share/qos-{granted}/t/shared", qos=granted) == [granted]
    for qos in (0, 1, 2):
        sender.publish("t/shared", b"%d" % qos, qos)
    assert [made.take().qos for _ in range(3)] == [min(q, granted) for q in range(3)]
    made.unsubscribe(f"$share/qos-{granted}/t/shared")


def test_each_copy_has_the_identifier_of_its_subscription(peer, sender):
    """[MQTT-3.3.4-5]: one comes by the shared subscription, one by the others."""
    made = peer(V5)
    for pattern, number in (("t/copies", 1), ("t/+", 2), ("$share/copies/t/copies", 3)):
        made.subscribe(pattern, options=0 if number == 3 else NEVER, properties=[(11, number)])
    sender.publish("t/copies", b"x")
    copies = [sorted(v for n, v in made.take().properties if n == 11) for _ in range(2)]
    assert sorted(copies) == [[1, 2], [3]]


def crew(peer, name, qos):
    """Two members with sessions; the first gets the next message."""
    made = [peer(V5, f"{name}-{i}", properties=KEPT) for i in range(2)]
    for one in made:
        assert one.subscribe(f"$share/{name}/t/{name}", qos=qos) == [qos]
    return made


def test_what_a_member_refuses_goes_to_no_other(peer, sender):
    """[MQTT-4.8.2-6], [MQTT-4.4.0-2]."""
    for qos, first in ((1, 0x40), (2, 0x50)):
        name = f"refuse{qos}"
        members = crew(peer, name, qos)
        sender.publish(f"t/{name}", b"refused", qos)
        sender.publish(f"t/{name}", b"next", qos)
        found = [one.message() for one in members]
        refuser = next(i for i, p in enumerate(found) if p.payload == b"refused")
        members[refuser].send(ack(first, found[refuser].packet_id, 0x83))
        members[refuser].quiet()
        members[refuser].end()
        members[1 - refuser].quiet()
        peer(V5, f"{name}-{refuser}", clean=False, properties=KEPT).quiet()


def test_qos_2_begun_with_a_member_stays_with_it(peer, sender):
    """[MQTT-4.8.2-4], [MQTT-4.8.2-5]."""
    members = crew(peer, "stays", 2)
    sender.publish("t/stays", b"begun", 2)
    sender.publish("t/stays", b"other", 2)
    found = [one.message() for one in members]
    one = next(i for i, p in enumerate(found) if p.payload == b"begun")
    members[one].end()
    other = members[1 - one]
    other.quiet()
    back = peer(V5, f"stays-{one}", clean=False, properties=KEPT)
    again = back.message()
    assert (again.payload, again.dup, again.packet_id) == (b"begun", True, found[one].packet_id)
    back.send(mqtt.packet(0xE0, b"\0\x05\x11\0\0\0\0"))     # the session ends with the connection
    assert back.closed() == []
    other.quiet()
