"""Statements of both versions of MQTT on PUBLISH and its acknowledgements, in both directions, over the
end of a connection too. Raw packets, both versions, one broker."""
import time

import pytest

from harness.peer import V5, VERSIONS, ack, publish
from harness.process import wait_until, within
from model import packets as mqtt

BOTH = pytest.mark.parametrize("version", VERSIONS)
EXPIRY, RECEIVE_MAXIMUM, ALIAS_MAXIMUM, ALIAS, MESSAGE_EXPIRY, LARGEST = 17, 33, 34, 35, 2, 39
KEPT = (EXPIRY, 60)
PUBACK, PUBREC, PUBREL, PUBCOMP = 0x40, 0x50, 0x62, 0x70


def kept(peer, version, client_id, *properties, clean=False, **settings):
    """Connected with a session that outlives the connection."""
    if version == V5:
        settings["properties"] = (KEPT, *properties)
    return peer(version, client_id, clean=clean, **settings)


def fresh(peer, version, client_id, *filters, qos=2, **settings):
    """The same with a new session, subscribed."""
    kept(peer, version, client_id, clean=True).disconnect()
    made = kept(peer, version, client_id, **settings)
    made.subscribe(*filters, qos=qos)
    return made


@pytest.fixture
def sender(peer):
    return peer(V5, "sender")


# --- from publishers ------------------------------------------------------------------


@BOTH
def test_a_publish_is_answered_by_its_qos(version, peer):
    """[MQTT-3.3.4-1], [MQTT3-3.3.4-1], [MQTT-4.3.2-4], [MQTT-4.3.3-8], [MQTT-4.3.3-11],
    [MQTT3-4.3.2-2], [MQTT3-4.3.3-2], [MQTT-2.2.1-5]."""
    made = peer(version)
    hearer = peer(V5)
    hearer.subscribe("t/answered", qos=2)
    made.send(publish("t/answered", b"0", version))
    made.send(publish("t/answered", b"1", version, 1, 11))
    made.send(publish("t/answered", b"2", version, 2, 12))
    found = [made.next() for _ in range(2)]
    assert [(p.kind, p.packet_id, p.reasons) for p in found] == [(mqtt.PUBACK, 11, [0]),
                                                                 (mqtt.PUBREC, 12, [0])]
    made.send(ack(PUBREL, 12))
    assert made.expect(mqtt.PUBCOMP).packet_id == 12
    made.quiet()
    assert [hearer.take().qos for _ in range(3)] == [0, 1, 2]


@BOTH
def test_after_puback_the_identifier_is_a_new_message_whatever_dup_says(version, peer):
    """[MQTT-4.3.2-5], [MQTT3-4.3.2-2], [MQTT-3.3.1-3], [MQTT3-3.3.1-3]."""
    made, hearer = peer(version), peer(V5)
    hearer.subscribe("t/again", qos=1)
    for dup in (False, True):
        made.publish("t/again", b"%d" % dup, 1, 5, dup=dup)
        found = hearer.take()
        assert (found.payload, found.dup) == (b"%d" % dup, False)


@BOTH
def test_qos_2_is_delivered_once_until_its_identifier_is_released(version, peer):
    """[MQTT-4.3.3-8], [MQTT-4.3.3-10] to [MQTT-4.3.3-12], [MQTT3-4.3.3-2]."""
    made, hearer = peer(version), peer(V5)
    hearer.subscribe("t/once", qos=2)
    for payload in (b"first", b"second"):
        for dup in (False, True, True):
            made.send(publish("t/once", payload, version, 2, 9, dup=dup))
            assert made.expect(mqtt.PUBREC).packet_id == 9
        made.send(ack(PUBREL, 9))
        assert made.expect(mqtt.PUBCOMP).packet_id == 9
    made.publish("t/once", b"fence", 1)
    assert hearer.take_until(b"fence") == [b"first", b"second"]


@BOTH
def test_a_qos_2_identifier_is_known_after_the_connection_broke(version, peer):
    """[MQTT-4.3.3-10], [MQTT3-4.3.3-2], [MQTT-4.1.0-1]."""
    hearer = peer(V5)
    hearer.subscribe("t/known", qos=2)
    made = fresh(peer, version, f"known-{version}", "t/none")
    made.send(publish("t/known", b"once", version, 2, 3))
    made.expect(mqtt.PUBREC)
    made.end()
    made = kept(peer, version, f"known-{version}")
    made.send(publish("t/known", b"once", version, 2, 3, dup=True))
    made.expect(mqtt.PUBREC)
    made.send(ack(PUBREL, 3))
    made.expect(mqtt.PUBCOMP)
    made.publish("t/known", b"fence", 1)
    assert hearer.take_until(b"fence") == [b"once"]


def test_a_pubrec_that_refuses_frees_the_identifier(peer):
    """[MQTT-4.3.3-9], [MQTT-3.5.2-1]."""
    made, hearer = peer(V5), peer(V5)
    hearer.subscribe("t/freed", qos=2)
    assert made.publish("origin/a/none", b"", 2, 4) >= 0x80
    assert made.publish("t/freed", b"new", 2, 4) == 0
    assert hearer.take().payload == b"new"


def test_the_handshake_goes_on_when_the_message_has_expired(peer):
    """[MQTT-4.3.3-13]."""
    made = peer(V5)
    made.send(publish("t/late", b"", V5, 2, 6, properties=[(MESSAGE_EXPIRY, 1)]))
    made.expect(mqtt.PUBREC)
    time.sleep(1.1)
    made.send(ack(PUBREL, 6))
    assert made.expect(mqtt.PUBCOMP).reasons == [0]


@BOTH
def test_acknowledgements_have_the_order_of_what_they_acknowledge(version, peer):
    """[MQTT3-4.6.0-2], [MQTT3-4.6.0-3], [MQTT-4.6.0-2], [MQTT-4.6.0-3]."""
    made = peer(version)
    made.send(b"".join(publish("t/order", b"", version, 1 + i % 2, i + 1) for i in range(60)))
    assert [made.next().packet_id for _ in range(60)] == list(range(1, 61))


def test_aliases_stand_for_their_topics(peer):
    """[MQTT-3.3.2-12], [MQTT-3.3.2-7]: all up to the maximum of CONNACK, and none of an earlier
    connection."""
    hearer = peer(V5)
    hearer.subscribe("t/alias/+")
    made = peer(V5, "alias")
    most = made.connack.property(ALIAS_MAXIMUM)
    assert most > 1
    for alias in (1, most):
        made.publish(f"t/alias/{alias}", b"told", properties=[(ALIAS, alias)])
    for alias in (most, 1):
        made.publish("", b"used", properties=[(ALIAS, alias)])
    wanted = ["1", str(most), str(most), "1"]
    found = [hearer.take() for _ in wanted]
    assert [p.topic for p in found] == [f"t/alias/{w}" for w in wanted]
    assert all(p.property(ALIAS) is None for p in found)
    made.end()
    made = peer(V5, "alias")
    made.send(publish("", b"", V5, properties=[(ALIAS, 1)]))
    made.refused(0x82)


# --- to subscribers -----------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_a_message_has_the_lower_qos_and_an_identifier_when_it_needs_one(published, granted, version,
                                                                         peer, sender):
    """[MQTT-3.8.4-8], [MQTT3-3.8.4-6], [MQTT-2.2.1-2], [MQTT3-2.3.1-5], [MQTT-2.2.1-4], [MQTT3-2.3.1-1],
    [MQTT3-2.3.1-4], [MQTT-4.3.1-1], [MQTT-4.3.2-2], [MQTT-4.3.3-2], [MQTT-3.3.1-2], [MQTT3-3.3.1-2],
    [MQTT3-4.3.1-1]."""
    later = fresh(peer, version, f"lower-{version}", "t/lower", qos=granted)
    later.end()
    made = peer(version)
    assert made.subscribe("t/lower", qos=granted) == [granted]
    sender.publish("t/lower", b"x", published)
    sender.publish("t/lower", b"y", 1)
    for one in (made, kept(peer, version, f"lower-{version}")):
        found = one.take()
        assert (found.qos, found.dup) == (min(published, granted), False)
        assert (found.packet_id > 0) == (found.qos > 0)
        assert one.take().qos == min(1, granted)
        one.quiet()


@BOTH
@pytest.mark.parametrize("qos", [1, 2])
def test_identifiers_in_use_are_not_given_again(qos, version, peer, sender):
    """[MQTT-2.2.1-4], [MQTT3-2.3.1-4], [MQTT-4.3.2-1], [MQTT-4.3.3-1], [MQTT3-4.3.2-1],
    [MQTT3-4.3.3-1]."""
    made = peer(version)
    made.subscribe("t/ids", qos=qos)
    for i in range(60):
        sender.publish("t/ids", b"%d" % i, 1 + (qos == 2))
    found = [made.message() for _ in range(60)]
    assert len({p.packet_id for p in found}) == 60 and all(p.packet_id for p in found)
    assert [p.payload for p in found] == [b"%d" % i for i in range(60)]


def released(made, packet_id):
    made.send(ack(PUBREC, packet_id))
    assert made.expect(mqtt.PUBREL).packet_id == packet_id


@BOTH
def test_what_was_not_acknowledged_is_sent_again_when_the_client_is_back(version, peer, sender):
    """[MQTT-4.4.0-1], [MQTT3-4.4.0-1], [MQTT-3.3.1-1], [MQTT3-3.3.1-1], [MQTT-4.3.2-3], [MQTT-4.3.3-3],
    [MQTT-4.3.3-5], [MQTT-4.3.3-6], [MQTT3-4.3.2-1], [MQTT3-4.3.3-1], [MQTT3-4.6.0-1],
    [MQTT-3.3.1-3], [MQTT3-3.3.1-3], [MQTT3-4.6.0-4]: in the order and with the identifiers of the first
    time, PUBLISH with DUP, PUBREL for what the client has."""
    name = f"again-{version}"
    made = fresh(peer, version, name, "t/resent")
    for i, qos in enumerate((1, 2, 1, 2, 2, 1)):
        sender.publish("t/resent", b"%d" % i, qos)
    first = [made.message() for _ in range(6)]
    assert not any(p.dup for p in first)
    made.send(ack(PUBACK, first[2].packet_id))
    released(made, first[4].packet_id)
    released(made, first[1].packet_id)
    made.quiet()                    # and nothing is sent again before that [MQTT-4.4.0-1]
    made.end()
    made = kept(peer, version, name)
    found = [made.next() for _ in range(5)]
    releases = [p.packet_id for p in found if p.kind == mqtt.PUBREL]
    again = [p for p in found if p.kind == mqtt.PUBLISH]
    assert sorted(releases) == sorted([first[1].packet_id, first[4].packet_id])
    assert [(p.packet_id, p.payload, p.qos) for p in again] \
        == [(first[i].packet_id, first[i].payload, first[i].qos) for i in (0, 3, 5)]
    assert all(p.dup for p in again)
    for packet_id in releases:
        made.send(ack(PUBCOMP, packet_id))
    for p in again:
        if p.qos == 2:
            released(made, p.packet_id)
        made.send(ack(PUBACK if p.qos == 1 else PUBCOMP, p.packet_id))
    made.quiet()
    made.end()
    kept(peer, version, name).quiet()


@BOTH
def test_pubrel_has_the_order_of_pubrec_also_when_sent_again(version, peer, sender):
    """[MQTT3-4.6.0-4], [MQTT-4.6.0-4], [MQTT-4.4.0-1], [MQTT-4.3.3-4], [MQTT-4.3.3-5]."""
    name = f"pubrel-{version}"
    made = fresh(peer, version, name, "t/pubrel")
    for i in range(5):
        sender.publish("t/pubrel", b"%d" % i, 2)
    ids = [made.message().packet_id for _ in range(5)]
    made.send(b"".join(ack(PUBREC, i) for i in ids))
    assert [made.expect(mqtt.PUBREL).packet_id for _ in ids] == ids
    made.end()
    made = kept(peer, version, name)
    assert [made.expect(mqtt.PUBREL).packet_id for _ in ids] == ids
    made.send(b"".join(ack(PUBCOMP, i) for i in ids))
    made.quiet()
    made.end()
    kept(peer, version, name).quiet()


def test_what_the_client_refused_is_not_sent_again(peer, sender):
    """[MQTT-4.4.0-2]."""
    made = fresh(peer, V5, "refuses", "t/refused")
    sender.publish("t/refused", b"1", 1)
    sender.publish("t/refused", b"2", 2)
    for first in (PUBACK, PUBREC):
        made.send(ack(first, made.message().packet_id, 0x83))
    made.quiet()
    made.end()
    kept(peer, V5, "refuses").quiet()


@BOTH
def test_messages_come_in_the_order_in_which_they_were_published(version, peer, sender):
    """[MQTT-4.6.0-5], [MQTT-4.6.0-6], [MQTT3-4.6.0-5], [MQTT3-4.6.0-6], [MQTT-4.5.0-1], [MQTT3-4.5.0-1]."""
    made = fresh(peer, version, f"order-{version}", "t/order/#")
    wanted = [b"%d" % i for i in range(90)]
    sent = sender.send(b"".join(publish("t/order/x", p, V5, i % 3, i + 1)
                                for i, p in enumerate(wanted)))
    answers = [sent.next() for _ in range(60)]
    for p in answers:
        if p.kind == mqtt.PUBREC:
            sender.send(ack(PUBREL, p.packet_id))
            sender.expect(mqtt.PUBCOMP)
    found = []
    while len(found) < 90:
        p = made.next()
        if p.kind == mqtt.PUBREL:
            made.send(ack(PUBCOMP, p.packet_id))
            continue
        found.append(p.payload)
        if p.qos:
            made.send(ack(PUBACK if p.qos == 1 else PUBREC, p.packet_id))
    assert found == wanted


PROPERTIES = [(1, 1), (8, "t/answer"), (9, b"\0\xff\1"), (38, ("z", "1")), (38, ("a", "2")),
              (3, "application/geo+json"), (38, ("z", "1")), (38, ("", ""))]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_properties_are_passed_on_unchanged_in_their_order(qos, peer, sender):
    """[MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-18], [MQTT-3.3.2-20]."""
    live, later = peer(V5), fresh(peer, V5, "properties", "t/properties")
    live.subscribe("t/properties", qos=qos)
    later.end()
    sender.publish("t/properties", b"x", qos, properties=PROPERTIES)
    assert live.take().properties == PROPERTIES
    assert kept(peer, V5, "properties").take().properties == PROPERTIES


def test_expiry_counts_down_and_ends_a_message_not_yet_sent(peer, sender):
    """[MQTT-3.3.2-5], [MQTT-3.3.2-6]."""
    def comes_in_time(seconds):
        live = peer(V5)
        live.subscribe("t/expiry", qos=1)
        later = fresh(peer, V5, "expiry", "t/expiry")
        later.end()
        sender.publish("t/expiry", b"short", 1, properties=[(MESSAGE_EXPIRY, seconds)])
        sender.publish("t/expiry", b"long", 1, properties=[(MESSAGE_EXPIRY, 1000)])
        found = [live.take() for _ in range(2)]
        assert [p.payload for p in found] == [b"short", b"long"]
        left = [p.property(MESSAGE_EXPIRY) for p in found]
        assert 1 <= left[0] <= seconds and 1000 - seconds <= left[1] <= 1000
        return seconds
    seconds = within(2, comes_in_time)
    time.sleep(seconds + 0.1)
    back = kept(peer, V5, "expiry")
    found = back.take()
    assert found.payload == b"long" and 900 <= found.property(MESSAGE_EXPIRY) <= 1000 - seconds
    back.quiet()


def test_a_message_sent_does_not_expire_any_more(peer, sender):
    """[MQTT-4.3.3-7]."""
    def is_sent(seconds):
        made = fresh(peer, V5, "begun", "t/begun")
        sender.publish("t/begun", b"begun", 2, properties=[(MESSAGE_EXPIRY, seconds)])
        made.message()
        made.end()
        return seconds
    time.sleep(within(2, is_sent) + 0.1)
    found = kept(peer, V5, "begun").message()
    assert (found.payload, found.dup) == (b"begun", True)


def test_no_alias_is_sent_that_the_client_does_not_take(peer, sender):
    """[MQTT-3.1.2-26], [MQTT-3.1.2-27], [MQTT-3.3.2-8], [MQTT-3.3.2-11], [MQTT-3.3.2-7]."""
    for _ in range(2):              # the second connection knows nothing of the first
        for most in (None, 0, 1, 3):
            made = peer(V5, "takes", properties=[] if most is None else [(ALIAS_MAXIMUM, most)])
            made.subscribe("t/takes/#")
            for i in range(12):
                sender.publish(f"t/takes/{i // 3}", b"%d" % i)
            told, used = {}, set()
            for i in range(12):
                found = made.take()
                alias = found.property(ALIAS)
                assert alias is None or 1 <= alias <= (most or 0)
                if found.topic:
                    told[alias] = found.topic
                else:
                    used.add(alias)
                assert (found.topic or told[alias]) == f"t/takes/{i // 3}"
            assert bool(used) == bool(most)
            made.end()


def test_what_is_too_large_for_the_client_counts_as_sent(peer, sender):
    """[MQTT-3.1.2-24], [MQTT-3.1.2-25]."""
    for qos in (0, 1, 2):
        made = fresh(peer, V5, "small", "t/large", qos=qos)
        made.end()
        made = kept(peer, V5, "small", (LARGEST, 100))
        for payload in (b"x" * 200, b"fits", b"y" * 100, b"z" * 60):
            sender.publish("t/large", payload, qos)
        assert [made.take().payload for _ in range(2)] == [b"fits", b"z" * 60]
        made.quiet()
        made.end()
    made = fresh(peer, V5, "shrinks", "t/large")
    sender.publish("t/large", b"x" * 200, 1)
    made.message()
    made.end()
    made = kept(peer, V5, "shrinks", (LARGEST, 100))
    made.quiet()
    made.end()
    kept(peer, V5, "shrinks").quiet()


@BOTH
def test_the_largest_message_that_fits_is_sent(version, peer, sender):
    """[MQTT-3.1.2-24]: as large as allowed is not too large."""
    properties = [(LARGEST, 100)] if version == V5 else []
    made = peer(version, properties=properties)
    made.subscribe("t/fits")
    head = 2 + 2 + len("t/fits") + (version == V5)
    sender.publish("t/fits", b"x" * (100 - head + (version != V5)))
    assert len(made.take().payload) == 100 - head + (version != V5)


# --- flow control ------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [1, 2])
def test_no_more_is_in_flight_than_the_client_takes(qos, peer, sender):
    """[MQTT-3.3.4-9], [MQTT-4.9.0-1], [MQTT-4.9.0-2]; everything else goes on [MQTT-3.3.4-10],
    [MQTT-4.9.0-3]."""
    made = fresh(peer, V5, "quota", "t/quota", "t/free", qos=qos)
    made.end()
    for i in range(7):
        sender.publish("t/quota", b"%d" % i, 2)
    made = kept(peer, V5, "quota", (RECEIVE_MAXIMUM, 3))
    open_ids = [made.message().packet_id for _ in range(3)]
    made.quiet()
    assert made.subscribe("t/other") == [0]
    assert made.publish("t/elsewhere", b"", 2) == 0
    count = 3
    while count < 7:
        if qos == 2:
            released(made, open_ids[0])
        made.send(ack(PUBACK if qos == 1 else PUBCOMP, open_ids.pop(0)))
        found = made.message()
        assert found.payload == b"%d" % count
        open_ids.append(found.packet_id)
        made.quiet()
        count += 1


def test_a_live_session_keeps_to_its_receive_maximum(peer, sender):
    """[MQTT-3.3.4-9], [MQTT-4.9.0-2]: the window of one who has no backlog; a resend as well."""
    made = fresh(peer, V5, "live-quota", "t/live", qos=1)
    made.end()
    made = kept(peer, V5, "live-quota", (RECEIVE_MAXIMUM, 2))
    made.quiet()
    for i in range(5):
        sender.publish("t/live", b"%d" % i, 1)
    assert [made.message().payload for _ in range(2)] == [b"0", b"1"]
    made.quiet()
    made.end()
    made = kept(peer, V5, "live-quota", (RECEIVE_MAXIMUM, 1))
    found = made.message()
    assert (found.payload, found.dup) == (b"0", True)
    made.quiet()
    made.send(ack(PUBACK, found.packet_id))
    assert made.take().payload == b"1"
    assert [made.take().payload for _ in range(3)] == [b"2", b"3", b"4"]


def test_who_publishes_more_than_the_server_takes_is_told(peer):
    """What the server does at its own maximum (MQTT 5, 3.3.4)."""
    made = peer(V5, "too-much")
    most = made.connack.property(RECEIVE_MAXIMUM, 65535)
    made.send(b"".join(publish("t/most", b"", V5, 2, i + 1) for i in range(most + 1)))
    made.refused(0x93)


@BOTH
def test_what_is_in_flight_is_completed_after_unsubscribe(version, peer, sender):
    """[MQTT-3.10.4-3], [MQTT3-3.10.4-3], [MQTT-3.10.4-2], [MQTT3-3.10.4-2]."""
    name = f"completes-{version}"
    made = fresh(peer, version, name, "t/completed")
    sender.publish("t/completed", b"begun", 2)
    first = made.message()
    made.unsubscribe("t/completed")
    sender.publish("t/completed", b"not begun", 2)
    made.quiet()
    made.end()
    made = kept(peer, version, name)
    found = made.message()
    assert (found.payload, found.packet_id, found.dup) == (b"begun", first.packet_id, True)
    released(made, found.packet_id)
    made.send(ack(PUBCOMP, found.packet_id))
    made.quiet()


def test_a_message_is_done_when_it_is_acknowledged(hall, peer, sender):
    """[MQTT-4.3.2-3]."""
    made = fresh(peer, V5, "counted", "t/counted", qos=1)
    sender.publish("t/counted", b"x", 1)
    found = made.message()
    before = hall.metric("isobar_acknowledged_total")
    made.send(ack(PUBACK, found.packet_id))
    made.quiet()
    wait_until(lambda: hall.metric("isobar_acknowledged_total") == before + 1)
