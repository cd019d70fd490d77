"""Statements of both versions of MQTT on the form of packets: each row is a packet that is wrong, named
by the statements that say so, and how the connection ends; and what is right all the same."""
import pytest

from harness.peer import V4, V5, VERSIONS, ack, binary, publish, subscribe, unsubscribe
from model import packets as mqtt

BOTH = pytest.mark.parametrize("version", VERSIONS)
BAD = b"\xc3\x28"                   # no UTF-8
SURROGATE = b"\xed\xa0\x80"


def publish_with(*properties):
    """A PUBLISH of these bytes as properties, as no encoder would write them."""
    return lambda v: publish("t/x", b"", V5, properties=b"".join(properties))


def pair(first, second):
    return b"\x26" + binary(first) + binary(second)


# A name with the statements, packet(version), reason code of DISCONNECT (MQTT 5; 3.1.1 closes). None:
# only in MQTT 5.
ENDS = [
    ("[MQTT-1.5.4-1] [MQTT3-1.5.3-1] surrogate", lambda v: publish(SURROGATE, b"", v), 0x81),
    ("[MQTT-1.5.4-1] [MQTT3-1.5.3-1] not UTF-8 in a filter", lambda v: subscribe([BAD], v), 0x81),
    ("[MQTT-1.5.4-2] [MQTT3-1.5.3-2] [MQTT-4.7.3-2] [MQTT3-4.7.3-2] U+0000 in a topic",
     lambda v: publish("t/\0", b"", v), 0x81),
    ("[MQTT-1.5.4-2] [MQTT3-1.5.3-2] [MQTT-4.7.3-2] [MQTT3-4.7.3-2] U+0000 in a filter",
     lambda v: subscribe(["t/\0"], v), 0x81),
    ("[MQTT-2.1.3-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2] PUBACK flags",
     lambda v: ack(0x41, 1), 0x81),
    ("[MQTT-2.1.3-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2] PINGREQ flags", lambda v: b"\xc1\0", 0x81),
    ("[MQTT-3.6.1-1] [MQTT3-3.6.1-1] PUBREL flags", lambda v: ack(0x60, 1), 0x81),
    ("[MQTT-3.8.1-1] [MQTT3-3.8.1-1] SUBSCRIBE flags",
     lambda v: b"\x80" + subscribe(["t/x"], v)[1:], 0x81),
    ("[MQTT-3.10.1-1] [MQTT3-3.10.1-1] UNSUBSCRIBE flags",
     lambda v: b"\xa0" + unsubscribe(["t/x"], v)[1:], 0x81),
    ("[MQTT-3.14.1-1] [MQTT3-3.14.1-1] DISCONNECT flags", lambda v: b"\xe1\0", 0x81),
    ("[MQTT-2.2.1-3] [MQTT3-2.3.1-1] PUBLISH identifier 0",
     lambda v: publish("t/x", b"", v, 1, 0), 0x82),
    ("[MQTT-2.2.1-3] [MQTT3-2.3.1-1] SUBSCRIBE identifier 0",
     lambda v: subscribe(["t/x"], v, packet_id=0), 0x82),
    ("[MQTT-2.2.1-3] [MQTT3-2.3.1-1] UNSUBSCRIBE identifier 0",
     lambda v: unsubscribe(["t/x"], v, packet_id=0), 0x82),
    ("[MQTT-3.3.1-2] [MQTT3-3.3.1-2] DUP at QoS 0", lambda v: publish("t/x", b"", v, dup=True), 0x82),
    ("[MQTT-3.3.1-4] [MQTT3-3.3.1-4] QoS 3", lambda v: publish("t/x", b"", v, 3), 0x81),
    ("[MQTT-3.3.2-1] [MQTT3-3.3.2-1] topic not UTF-8", lambda v: publish(BAD, b"", v), 0x81),
    ("[MQTT-3.3.2-1] [MQTT3-3.3.2-1] no topic", lambda v: mqtt.packet(0x30, b"\0"), 0x81),
    ("[MQTT-3.3.2-2] [MQTT3-3.3.2-2] [MQTT-4.7.0-1] [MQTT3-4.7.1-1] # in a topic",
     lambda v: publish("t/#", b"", v), 0x90),
    ("[MQTT-3.3.2-2] [MQTT3-3.3.2-2] [MQTT-4.7.0-1] [MQTT3-4.7.1-1] + in a topic",
     lambda v: publish("t/+/x", b"", v), 0x90),
    ("[MQTT-3.8.3-1] [MQTT3-3.8.3-1] filter of SUBSCRIBE not UTF-8",
     lambda v: subscribe(["t/x", BAD], v), 0x81),
    ("[MQTT-3.8.3-2] [MQTT3-3.8.3-3] SUBSCRIBE to nothing", lambda v: subscribe([], v), 0x82),
    ("[MQTT-3.10.3-1] [MQTT3-3.10.3-1] filter of UNSUBSCRIBE not UTF-8",
     lambda v: unsubscribe(["t/x", BAD], v), 0x81),
    ("[MQTT-3.10.3-2] [MQTT3-3.10.3-2] UNSUBSCRIBE from nothing", lambda v: unsubscribe([], v), 0x82),
    ("[MQTT3-3.8.3-4] QoS 3 in a subscription", lambda v: subscribe(["t/x"], v, 3),
     0x82),
    ("[MQTT-4.7.1-1] [MQTT3-4.7.1-2] # not last", lambda v: subscribe(["t/#/x"], v), 0x8F),
    ("[MQTT-4.7.1-1] [MQTT3-4.7.1-2] # behind a character", lambda v: subscribe(["t/x#"], v), 0x8F),
    ("[MQTT-4.7.1-2] [MQTT3-4.7.1-3] + behind a character", lambda v: subscribe(["t/x+"], v), 0x8F),
    ("[MQTT-4.7.1-2] [MQTT3-4.7.1-3] + before a character", lambda v: subscribe(["t/+x/y"], v), 0x8F),
    ("[MQTT-4.7.3-1] [MQTT3-4.7.3-1] empty topic", lambda v: publish("", b"", v), 0x82),
    ("[MQTT-4.7.3-1] [MQTT3-4.7.3-1] empty filter", lambda v: subscribe([""], v), 0x8F),
    ("[MQTT-4.13.1-1] [MQTT-4.13.2-1] [MQTT3-4.8.0-1] a packet of no type", lambda v: b"\0\0", 0x81),
    ("[MQTT-4.13.1-1] [MQTT-4.13.2-1] [MQTT3-4.8.0-1] a server's packet", lambda v: b"\xd0\0", 0x82),
    ("[MQTT-4.13.1-1] [MQTT-4.13.2-1] [MQTT3-4.8.0-1] a length of five bytes",
     lambda v: b"\xc0\x80\x80\x80\x80\0", 0x81),
]
ENDS_5 = [
    ("[MQTT-1.5.5-1] length not shortest", lambda v: b"\xc0\x80\0", 0x81),
    ("[MQTT-1.5.5-1] property length not shortest",
     lambda v: mqtt.packet(0x30, binary("t/x") + b"\x80\0"), 0x81),
    ("[MQTT-1.5.7-1] name of a pair", publish_with(pair(BAD, "value")), 0x81),
    ("[MQTT-1.5.7-1] value of a pair", publish_with(pair("name", BAD)), 0x81),
    ("[MQTT-2.2.2-1] no property length", lambda v: mqtt.packet(0x30, binary("t/x")), 0x81),
    ("[MQTT-3.3.2-8] alias 0", publish_with(b"\x23\0\0"), 0x94),
    ("[MQTT-3.3.2-9] alias above the maximum", publish_with(b"\x23\xff\xff"), 0x94),
    ("[MQTT-3.3.2-13] response topic not UTF-8", publish_with(b"\x08" + binary(BAD)), 0x81),
    ("[MQTT-3.3.2-14] response topic with #", publish_with(b"\x08" + binary("t/#")), 0x82),
    ("[MQTT-3.3.2-14] response topic with +", publish_with(b"\x08" + binary("+/t")), 0x82),
    ("[MQTT-3.3.2-19] content type not UTF-8", publish_with(b"\x03" + binary(BAD)), 0x81),
    ("[MQTT-3.3.4-6] subscription identifier in PUBLISH", publish_with(b"\x0b\x01"), 0x82),
    ("[MQTT-3.4.2-1] reason of PUBACK", lambda v: ack(0x40, 1, 0x92), 0x82),
    ("[MQTT-3.5.2-1] reason of PUBREC", lambda v: ack(0x50, 1, 0x92), 0x82),
    ("[MQTT-3.6.2-1] reason of PUBREL", lambda v: ack(0x62, 1, 0x87), 0x82),
    ("[MQTT-3.7.2-1] reason of PUBCOMP", lambda v: ack(0x70, 1, 0x87), 0x82),
    ("[MQTT-3.14.2-1] reason of DISCONNECT", lambda v: b"\xe0\x01\x87", 0x82),
    ("[MQTT-3.8.3-4] no local, shared", lambda v: subscribe(["$share/g/t/x"], v, 4), 0x82),
    ("[MQTT-3.8.3-5] reserved bit 6", lambda v: subscribe(["t/x"], v, 0x40), 0x81),
    ("[MQTT-3.8.3-5] reserved bit 7", lambda v: subscribe(["t/x"], v, 0x80), 0x81),
    ("[MQTT-3.15.1-1] AUTH flags", lambda v: b"\xf1\0", 0x81),
    ("[MQTT-4.8.2-1] no share name", lambda v: subscribe(["$share//t"], v), 0x8F),
    ("[MQTT-4.8.2-2] + in a share name", lambda v: subscribe(["$share/a+/t"], v), 0x8F),
    ("[MQTT-4.8.2-2] # in a share name", lambda v: subscribe(["$share/#/t"], v), 0x8F),
    ("[MQTT-4.8.2-2] no filter behind the name", lambda v: subscribe(["$share/a"], v), 0x8F),
    ("[MQTT-4.8.2-2] an empty filter behind the name", lambda v: subscribe(["$share/a/"], v), 0x8F),
    ("[MQTT-4.12.1-2] AUTH", lambda v: b"\xf0\x05\x19\x03\x15\0\0", 0x82),
]
# What only MQTT 3.1.1 forbids.
ENDS_4 = [
    ("[MQTT3-3.8.3-4] reserved bits", lambda v: subscribe(["t/x"], v, 4), None),
    ("[MQTT3-2.2.2-2] AUTH is no packet", lambda v: b"\xf0\0", None),
]


def rows(table):
    return pytest.mark.parametrize("packet, reason", [row[1:] for row in table],
                                   ids=[row[0] for row in table])


@BOTH
@rows(ENDS)
def test_a_packet_that_is_wrong_ends_the_connection(packet, reason, version, peer):
    made = peer(version)
    made.send(packet(version))
    made.refused(reason)


@rows(ENDS_5)
def test_a_packet_that_mqtt_5_forbids_ends_the_connection(packet, reason, peer):
    made = peer(V5)
    made.send(packet(V5))
    made.refused(reason)


@rows(ENDS_4)
def test_a_packet_that_mqtt_3_1_1_forbids_ends_the_connection(packet, reason, peer):
    made = peer(V4)
    made.send(packet(V4))
    made.refused(reason)


@BOTH
def test_what_is_as_it_has_to_be_is_taken(version, peer):
    """The other side of the rows above, so that nothing is refused that is right: [MQTT-1.5.4-1],
    [MQTT-1.5.4-3], [MQTT3-1.5.3-1], [MQTT3-1.5.3-3], [MQTT-2.1.3-1], [MQTT3-2.2.2-1], [MQTT-2.2.1-2],
    [MQTT3-2.3.1-5], [MQTT-3.3.2-1], [MQTT3-3.3.2-1], [MQTT-3.8.3-1], [MQTT3-3.8.3-1],
    [MQTT-3.10.3-1], [MQTT3-3.10.3-1], [MQTT-3.3.2-2], [MQTT3-3.3.2-2], [MQTT-4.7.0-1], [MQTT3-4.7.1-1],
    [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT3-4.7.1-2], [MQTT3-4.7.1-3], [MQTT-4.7.3-1], [MQTT3-4.7.3-1],
    [MQTT-4.7.3-2], [MQTT3-4.7.3-2]."""
    made = peer(version)
    filters = ["t/\ufeff", "t/\u00e9\U0001f300/+", "t/+/y/#", "+/y"]
    assert made.subscribe(*filters) == [0] * 4
    for topic in ("t/\ufeff", "t/\u00e9\U0001f300/x", "t/x/y/z/a"):
        made.publish(topic, topic.encode())
        found = made.take()
        assert (found.topic, found.payload, found.packet_id) == (topic, topic.encode(), 0)
    made.unsubscribe(*filters)
    made.publish("t/\ufeff", b"unheard")
    made.quiet()


@BOTH
def test_a_topic_of_65535_bytes_is_a_topic(version, peer):
    """[MQTT-4.7.3-3], [MQTT3-4.7.3-3]."""
    longest = "t/" + "x" * 65533
    made = peer(version)
    assert made.subscribe("t/+") == [0]
    made.publish(longest, b"long")
    assert made.take().topic == longest


def test_properties_that_are_right_are_taken(peer):
    """[MQTT-1.5.7-1], [MQTT-3.3.2-13], [MQTT-3.3.2-14], [MQTT-3.3.2-19], [MQTT-2.2.2-1]."""
    made = peer(V5)
    made.subscribe("t/right")
    for properties in ([], [(38, ("n\u00e4me", ""))], [(8, "t/answer"), (3, "text/plain")]):
        made.publish("t/right", properties=properties)
        assert made.take().properties == properties


@BOTH
def test_packets_may_come_in_pieces_and_together(version, peer):
    """[MQTT-4.2.0-1], [MQTT3-7.1.1-1]: a stream of bytes."""
    made = peer(version)
    made.subscribe("t/pieces", qos=1)
    data = b"".join(publish("t/pieces", b"%d" % i, version, 1, i + 1) for i in range(20))
    for i in range(0, len(data), 7):
        made.send(data[i:i + 7])
    found = [made.next() for _ in range(40)]
    assert [p.packet_id for p in found if p.kind == mqtt.PUBACK] == list(range(1, 21))
    assert [p.payload for p in found if p.kind == mqtt.PUBLISH] == [b"%d" % i for i in range(20)]


@BOTH
def test_answers_have_the_identifier_of_what_they_answer(version, peer):
    """[MQTT-2.2.1-5], [MQTT-2.2.1-6], [MQTT3-2.3.1-6], [MQTT3-2.3.1-7], [MQTT-3.8.4-2],
    [MQTT3-3.8.4-2], [MQTT-3.10.4-5], [MQTT3-3.10.4-4], [MQTT-4.3.3-4]."""
    made = peer(version, f"answers-{version}")
    for packet_id in (0xFFFF, 0x1234, 1):
        made.subscribe("t/answers", qos=2, packet_id=packet_id)
        made.unsubscribe("t/answers", packet_id=packet_id)
        made.publish("t/answers", b"", 1, packet_id)
        made.publish("t/answers", b"", 2, packet_id)
    made.subscribe("t/answers", qos=2)
    peer(V5).publish("t/answers", b"", 2)
    made.take()


def test_reason_codes_are_those_of_the_packet(peer):
    """[MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1], [MQTT-3.9.3-2],
    [MQTT-3.11.3-2], [MQTT-3.14.2-1]."""
    made = peer(V5, "codes", user="reader", password="reader")
    assert made.publish("t/codes", b"", 1) == 0x87
    assert made.publish("t/codes", b"", 2) == 0x87
    made.send(ack(0x50, 7))
    found = made.expect(mqtt.PUBREL)
    assert (found.packet_id, found.reasons) == (7, [0x92])
    made.send(ack(0x62, 8))
    found = made.expect(mqtt.PUBCOMP)
    assert (found.packet_id, found.reasons) == (8, [0x92])
    assert made.subscribe("t/codes", "other/#", qos=1) == [1, 0x87]
    assert made.unsubscribe("t/codes", "t/codes") == [0, 0x11]
    made.send(b"\0\0")
    assert made.closed()[-1].reasons == [0x81]


def test_codes_of_3_1_1_are_granted_or_0x80(peer):
    """[MQTT3-3.9.3-2], [MQTT3-3.8.4-5]."""
    made = peer(V4, "codes-4", user="reader", password="reader")
    assert made.subscribe("t/codes", "other/#", qos=1) == [1, 0x80]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_3_1_1_may_not_publish_closes_the_connection(qos, peer):
    """[MQTT3-3.3.5-2]."""
    made = peer(V4, user="reader", password="reader")
    made.send(publish("t/denied", b"", V4, qos))
    assert made.closed() == []


def test_refusals_have_no_reason_string_that_does_not_fit(peer):
    """[MQTT-3.4.2-2], [MQTT-3.5.2-2]."""
    for qos, first in ((1, 0x40), (2, 0x50)):
        for largest, has_string in ((31, False), (300, True)):
            made = peer(V5, "strings", properties=[(39, largest)])
            made.send(publish("origin/a/none", b"", V5, qos))
            kind, content = made.read()
            assert kind == first and content[2] >= 0x80, content
            assert (len(content) > 4) == has_string and len(content) + 2 <= largest
