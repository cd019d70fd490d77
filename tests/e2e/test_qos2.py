"""QoS 2 in both directions in every state a connection can end in, topic aliases, No Local, and
what a refused message is told."""
import struct
import time
from collections import Counter

import paho.mqtt.client as paho
import pytest

from harness import notifications as wnm
from harness import wire
from harness.clients import V4, V5
from harness.wire import Wire

DWD = "de-dwd"
TREE = "sandbox/#"
OWNER = {"user": "owner", "password": "owner", "read": ["sandbox/#", "origin/a/wis2/#"],
         "write": ["sandbox/#", "origin/a/wis2/#"]}
READER = {"user": "everyone", "password": "everyone", "read": ["sandbox/#", "origin/a/wis2/#"]}
MODEST = {"user": "modest", "password": "modest", "read": ["sandbox/#"], "write": ["sandbox/#"],
          "max_qos": 1}
ACCOUNTS = [OWNER, READER, MODEST]
KEPT = b"\x11" + struct.pack(">I", 300)     # session expiry interval

PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT = 0x40, 0x50, 0x62, 0x70, 0xE0


def number(value):
    return struct.pack(">H", value)


def receive_maximum(value):
    return b"\x21" + number(value)


def alias_maximum(value):
    return b"\x22" + number(value)


def alias(value):
    return b"\x23" + number(value)


def answer(first, packet_id, reason=None):
    return wire.packet(first, number(packet_id) + (b"" if reason is None else bytes([reason])))


class Publish:
    """A PUBLISH as received."""

    def __init__(self, packet, version):
        first, body = packet
        assert first >> 4 == 3, packet
        self.qos, self.dup = first >> 1 & 3, bool(first & 8)
        length = struct.unpack(">H", body[:2])[0]
        self.topic, at = body[2:2 + length].decode(), 2 + length
        self.packet_id = 0
        if self.qos:
            self.packet_id, at = struct.unpack(">H", body[at:at + 2])[0], at + 2
        self.properties = b""
        if version == 5:
            assert body[at] < 0x80
            self.properties, at = body[at + 1:at + 1 + body[at]], at + 1 + body[at]
        self.payload = body[at:]

    @property
    def alias(self):
        return struct.unpack(">H", self.properties[1:3])[0] \
            if self.properties[:1] == b"\x23" else 0


@pytest.fixture
def raw(keeper):
    """raw(broker, version, ...): connected by hand. kept: the session outlives the connection."""
    def make(broker, version=5, kept=False, fresh=False, user=b"owner", properties=b"", **settings):
        if fresh and version == 4:      # clean session 1 cannot be kept
            make(broker, version, user=user, **settings).end()
            fresh = False
        connection = Wire(broker.port)
        keeper.keep(connection.end)
        if kept and version == 5:
            properties += KEPT
        flags = 0xC0 | (0x02 if fresh or not kept else 0)
        connection.send(wire.connect(version, flags=flags, user=user, password=user,
                                     properties=properties if version == 5 else b"", **settings))
        connection.connack = connection.read()
        assert connection.connack[0] == 0x20 and connection.connack[1][1] == 0
        connection.present = connection.connack[1][0] == 1
        connection.version = version
        return connection
    return make


def subscribed(connection, *filters, qos=2):
    connection.send(wire.subscribe(filters, connection.version, qos))
    first, body = connection.read()
    assert first == 0x90
    return connection


def heard(connection):
    return Publish(connection.read(), connection.version)


def is_quiet(connection):
    """Nothing but the answer to a ping, behind everything sent before."""
    connection.send(wire.PINGREQ)
    assert connection.read() == (0xD0, b"")


def send_all(client, payloads, topic="sandbox/x", qos=2):
    client.flush([client.paho.publish(topic, p, qos).mid for p in payloads])


@pytest.fixture
def world(gb, subscriber):
    class World:
        broker = gb(accounts=ACCOUNTS)
        listener = subscriber(broker.port, TREE, user="owner", password="owner")

        def heard_only(self, *payloads):
            """The listener has these, in this order, and nothing more."""
            self.listener.wait_count(len(payloads))
            assert [m.payload for m in self.listener.messages] == list(payloads)
    return World()


# --- from publishers ----------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
def test_a_message_is_published_once_whatever_is_repeated_before_its_pubrel(version, world, raw):
    """[MQTT-4.3.3-8] to [MQTT-4.3.3-12]."""
    sender = raw(world.broker, version)

    def publish(payload, flags=0):
        sender.send(wire.publish("sandbox/x", payload, version, 2, 7, flags=flags))
        assert sender.read() == (PUBREC, number(7))

    def release(reason):
        sender.send(answer(PUBREL, 7))
        assert sender.read() == (PUBCOMP, number(7) + (reason if version == 5 else b""))

    publish(b"one")
    publish(b"one", flags=8)
    publish(b"another in its place", flags=0)
    release(b"")
    release(b"\x92")
    publish(b"two")
    release(b"")
    publish(b"three")
    world.heard_only(b"one", b"two", b"three")
    is_quiet(sender)


@pytest.mark.parametrize("version", [4, 5])
def test_repeats_within_one_write_are_one_message_and_answers_keep_their_order(
        version, world, raw):
    """[MQTT-4.6.0-3]."""
    sender = raw(world.broker, version)

    def packet(payload, packet_id, qos):
        return wire.publish("sandbox/x", payload, version, qos, packet_id)

    sender.send(packet(b"1", 1, 2) + packet(b"1", 1, 2) + packet(b"2", 2, 1) + packet(b"3", 3, 2)
                + packet(b"0", 0, 0) + packet(b"1", 1, 2) + answer(PUBREL, 1) + packet(b"4", 1, 2))
    want = [(PUBREC, 1), (PUBREC, 1), (PUBACK, 2), (PUBREC, 3), (PUBREC, 1), (PUBREC, 1)]
    got = [sender.read() for _ in range(7)]
    assert (PUBCOMP, number(1)) in got
    got.remove((PUBCOMP, number(1)))
    assert got == [(first, number(i)) for first, i in want]
    world.heard_only(b"1", b"2", b"3", b"0", b"4")


@pytest.mark.parametrize("version", [4, 5])
def test_the_ids_taken_outlive_the_connection_with_the_session(version, world, raw):
    """MQTT 5, 4.1: QoS 2 messages received and not completely acknowledged are session state."""
    options = {"version": version, "client_id": "publisher", "kept": True}
    first = raw(world.broker, fresh=True, **options)
    first.send(wire.publish("sandbox/x", b"one", version, 2, 7))
    assert first.read() == (PUBREC, number(7))
    first.end()
    second = raw(world.broker, **options)
    assert second.present
    second.send(wire.publish("sandbox/x", b"one", version, 2, 7, flags=8))
    assert second.read() == (PUBREC, number(7))
    second.end()
    third = raw(world.broker, **options)
    third.send(answer(PUBREL, 7))
    assert third.read() == (PUBCOMP, number(7))
    third.send(wire.publish("sandbox/x", b"two", version, 2, 7))
    assert third.read() == (PUBREC, number(7))
    third.end()
    fresh = raw(world.broker, fresh=True, **options)
    assert not fresh.present
    fresh.send(wire.publish("sandbox/x", b"three", version, 2, 7))
    assert fresh.read() == (PUBREC, number(7))
    world.heard_only(b"one", b"two", b"three")


def test_receive_maximum_counts_qos_2_until_pubcomp(gb, raw):
    """[MQTT-3.3.4-9], MQTT 5, 4.9: 0x93 for the one too many."""
    broker = gb(accounts=ACCOUNTS)
    sender = raw(broker)

    def publish(packet_id):
        sender.send(wire.publish("sandbox/x", b"x", 5, 2, packet_id))

    for packet_id in range(1, 101):
        publish(packet_id)
        assert sender.read() == (PUBREC, number(packet_id))
    sender.send(answer(PUBREL, 50))
    assert sender.read() == (PUBCOMP, number(50))
    publish(101)
    assert sender.read() == (PUBREC, number(101))
    publish(102)
    first, body = sender.read()
    assert first == DISCONNECT and body[0] == 0x93


def test_a_client_of_311_may_have_any_number_unreleased(world, raw):
    """3.1.1 knows no receive maximum: not reading on would wait for a PUBREL that stands behind."""
    sender = raw(world.broker, 4)
    ids = range(1, 501)
    sender.send(b"".join(wire.publish("sandbox/x", b"%d" % i, 4, 2, i) for i in ids))
    assert [sender.read() for _ in ids] == [(PUBREC, number(i)) for i in ids]
    sender.send(b"".join(answer(PUBREL, i) for i in ids))
    assert [sender.read() for _ in ids] == [(PUBCOMP, number(i)) for i in ids]
    world.heard_only(*(b"%d" % i for i in ids))


def test_connack_limits_nothing_and_offers_aliases(gb, raw):
    """Maximum QoS absent means 2 [MQTT-3.2.2-9]; Topic Alias Maximum 16."""
    connection = raw(gb(accounts=ACCOUNTS))
    length = connection.connack[1][2]
    block = connection.connack[1][3:3 + length]
    sizes = {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1,
             0x2a: 1}
    found = {}
    while block:
        if block[0] == 0x12:
            block = block[3 + struct.unpack(">H", block[1:3])[0]:]
            continue
        size = sizes[block[0]]
        found[block[0]] = int.from_bytes(block[1:1 + size], "big")
        block = block[1 + size:]
    assert 0x24 not in found and found[0x22] == 16


# --- refused ------------------------------------------------------------------


@pytest.mark.parametrize("qos, first", [(1, PUBACK), (2, PUBREC)])
def test_what_the_gate_refuses_is_told_with_the_rule(qos, first, gb, raw):
    """A PUBREC of 0x80 and above frees the id [MQTT-4.3.3-9]; the string only to who wants it
    (MQTT 5, 3.1.2.11.7) and when it fits [MQTT-3.5.2-2]."""
    broker = gb(accounts=ACCOUNTS)
    tail, rule = wnm.BROKEN_TAILS[0]
    bad_topic = wnm.broken_topic(DWD, tail)
    bad_payload = wnm.broken_payload(DWD, wnm.BROKEN_PAYLOADS[0])
    plain = raw(broker)
    silent = raw(broker, properties=b"\x17\x00")
    small = raw(broker, properties=b"\x27" + struct.pack(">I", 30), client_id="small")
    reader = raw(broker, user=b"everyone")

    def told(connection, message, packet_id=9):
        connection.send(wire.publish(message.topic, message.payload, 5, qos, packet_id))
        got, body = connection.read()
        assert got == first and body[:2] == number(packet_id), (got, body)
        return body[2], body[3:]

    for _ in range(2):      # the id is free again
        reason, rest = told(plain, bad_topic)
        assert reason == 0x90 and rest[1:2] == b"\x1f" and rest[4:].startswith(
            rule.encode() + b": "), rest
    reason, rest = told(plain, bad_payload)
    assert reason == 0x99 and rest[4:].startswith(b"WNM-"), rest
    assert told(silent, bad_topic) == (0x90, b"")
    assert told(small, bad_topic) == (0x90, b"")
    assert told(reader, bad_payload)[0] == 0x87
    good = wnm.valid(DWD)
    plain.send(wire.publish(good.topic, good.payload, 5, qos, 9))
    assert plain.read() == (first, number(9))


# --- to subscribers -----------------------------------------------------------


@pytest.mark.parametrize("version", [V4, V5])
def test_the_granted_qos_is_the_lower_of_asked_and_allowed(version, gb, client):
    """[MQTT-3.8.4-8]; `max_qos` of the account."""
    broker = gb(accounts=ACCOUNTS)
    for user, most in (("owner", 2), ("modest", 1)):
        one = client(broker.port, version=version, user=user, password=user)
        assert [one.subscribe(TREE, qos=q)[0] for q in (0, 1, 2)] == [0, 1, min(2, most)]


def test_an_account_of_max_qos_1_publishes_at_2(world, raw):
    sender = raw(world.broker, user=b"modest")
    sender.send(wire.publish("sandbox/x", b"one", 5, 2, 3))
    assert sender.read() == (PUBREC, number(3))
    world.heard_only(b"one")


@pytest.mark.parametrize("version", [4, 5])
def test_each_state_of_a_delivery_is_resumed(version, world, raw, client):
    """[MQTT-4.4.0-1]: PUBLISH with DUP and the same id until PUBREC, PUBREL until PUBCOMP."""
    options = {"version": version, "client_id": "resumer", "kept": True}
    one = subscribed(raw(world.broker, fresh=True, **options), TREE)
    sender = client(world.broker.port, user="owner", password="owner")
    send_all(sender, [b"one"])
    got = heard(one)
    assert (got.qos, got.dup, got.payload) == (2, False, b"one")
    for _ in range(2):          # not received: PUBLISH again
        one.end()
        one = raw(world.broker, **options)
        again = heard(one)
        assert one.present and (again.qos, again.dup, again.payload) == (2, True, b"one")
        assert again.packet_id == got.packet_id
        is_quiet(one)
    for _ in range(2):          # received: PUBREL, and once more for a repeated PUBREC
        one.send(answer(PUBREC, got.packet_id))
        assert one.read() == (PUBREL, number(got.packet_id))
    for _ in range(2):          # PUBREL unanswered: again, and the message never
        one.end()
        one = raw(world.broker, **options)
        assert one.read() == (PUBREL, number(got.packet_id))
        is_quiet(one)
    one.send(answer(PUBCOMP, got.packet_id))
    is_quiet(one)
    one.end()
    one = raw(world.broker, **options)
    is_quiet(one)
    send_all(sender, [b"two"])
    got = heard(one)
    assert (got.dup, got.payload) == (False, b"two")


@pytest.mark.parametrize("version", [4, 5])
def test_states_side_by_side_are_resumed_in_order(version, world, raw, client):
    """[MQTT-4.6.0-1], [MQTT-4.6.0-4]; also QoS 1 in between."""
    options = {"version": version, "client_id": "resumer", "kept": True}
    one = subscribed(raw(world.broker, fresh=True, **options), TREE)
    sender = client(world.broker.port, user="owner", password="owner")
    payloads = [b"%d" % i for i in range(6)]
    for i, payload in enumerate(payloads):
        send_all(sender, [payload], qos=1 if i == 3 else 2)
    got = [heard(one) for _ in payloads]
    assert [(m.payload, m.qos) for m in got] == [
        (p, 1 if i == 3 else 2) for i, p in enumerate(payloads)]
    ids = [m.packet_id for m in got]
    for i in (0, 1, 4):         # received; 1 also completed
        one.send(answer(PUBREC, ids[i]))
        assert one.read() == (PUBREL, number(ids[i]))
    one.send(answer(PUBCOMP, ids[1]))
    is_quiet(one)
    one.end()
    world.broker.wait_metric("isobar_sessions_offline", 1)      # else it is sent to who is gone
    send_all(sender, [b"new"])
    one = raw(world.broker, **options)
    assert [one.read() for _ in range(2)] == [(PUBREL, number(ids[i])) for i in (0, 4)]
    again = [heard(one) for _ in range(4)]
    assert [(m.payload, m.packet_id, m.dup, m.qos) for m in again[:3]] == [
        (payloads[i], ids[i], True, 1 if i == 3 else 2) for i in (2, 3, 5)]
    assert (again[3].payload, again[3].dup) == (b"new", False)
    assert again[3].packet_id not in ids
    for i in (0, 4):
        one.send(answer(PUBCOMP, ids[i]))
    one.send(answer(PUBACK, ids[3]))
    for i in (2, 5):
        one.send(answer(PUBREC, ids[i]))
        assert one.read() == (PUBREL, number(ids[i]))
    is_quiet(one)


@pytest.mark.parametrize("version", [4, 5])
def test_states_of_both_directions_outlive_a_restart(version, gb, raw, client, subscriber):
    """MQTT 5, 4.1: a message taken before a restart is none after it."""
    broker = gb(accounts=ACCOUNTS)
    options = {"version": version, "client_id": "resumer", "kept": True}
    one = subscribed(raw(broker, fresh=True, **options), "sandbox/x")
    send_all(client(broker.port, user="owner", password="owner"), [b"one", b"two"])
    ids = [heard(one).packet_id for _ in range(2)]
    one.send(answer(PUBREC, ids[0]))
    assert one.read() == (PUBREL, number(ids[0]))
    one.send(wire.publish("sandbox/y", b"three", version, 2, 7))
    assert one.read() == (PUBREC, number(7))
    one.end()
    assert broker.end() == 0
    broker.start()
    listener = subscriber(broker.port, TREE, user="owner", password="owner")
    one = raw(broker, **options)
    assert one.present and one.read() == (PUBREL, number(ids[0]))
    again = heard(one)
    assert (again.payload, again.packet_id, again.dup, again.qos) == (b"two", ids[1], True, 2)
    one.send(wire.publish("sandbox/y", b"three", version, 2, 7, flags=8))
    assert one.read() == (PUBREC, number(7))
    one.send(answer(PUBREL, 7))
    assert one.read() == (PUBCOMP, number(7))
    send_all(client(broker.port, user="owner", password="owner"), [b"four"], "sandbox/y")
    listener.wait_count(1)
    assert [m.payload for m in listener.messages] == [b"four"]


def test_a_resend_keeps_within_the_new_receive_maximum(world, raw, client):
    """[MQTT-3.3.4-9]: the quota begins anew with each connection; PUBREC does not give it back."""
    one = subscribed(raw(world.broker, fresh=True, client_id="small", kept=True), TREE)
    sender = client(world.broker.port, user="owner", password="owner")
    send_all(sender, [b"%d" % i for i in range(5)])
    ids = [heard(one).packet_id for _ in range(5)]
    one.end()
    send_all(sender, [b"5"])
    one = raw(world.broker, client_id="small", kept=True, properties=receive_maximum(2))
    assert [heard(one).payload for _ in range(2)] == [b"0", b"1"]
    is_quiet(one)
    one.send(answer(PUBREC, ids[0]))
    assert one.read() == (PUBREL, number(ids[0]))
    one.send(answer(PUBCOMP, ids[0]))
    rest = []
    for expected in (b"2", b"3", b"4", b"5"):
        got = heard(one)
        assert got.payload == expected
        is_quiet(one)
        rest.append(got.packet_id)
        done = ids[1] if len(rest) == 1 else rest[-2]
        one.send(answer(PUBREC, done))
        assert one.read() == (PUBREL, number(done))
        one.send(answer(PUBCOMP, done))
    is_quiet(one)


def test_a_pubrec_that_refuses_ends_the_delivery(world, raw, client):
    """[MQTT-4.3.3-4]: no PUBREL; the id is free, nothing is resent."""
    one = subscribed(raw(world.broker, fresh=True, client_id="picky", kept=True), TREE)
    send_all(client(world.broker.port, user="owner", password="owner"), [b"one"])
    one.send(answer(PUBREC, heard(one).packet_id, 0x83))
    is_quiet(one)
    one.end()
    is_quiet(raw(world.broker, client_id="picky", kept=True))


def test_acknowledgements_that_do_not_fit(world, raw, client):
    """MQTT 5, 3.6.2.1: 0x92 for an unknown id; the wrong kind of packet is a protocol error."""
    sender = client(world.broker.port, user="owner", password="owner")
    one = raw(world.broker)
    one.send(answer(PUBREC, 99))
    assert one.read() == (PUBREL, number(99) + b"\x92")
    one.send(answer(PUBCOMP, 99) + answer(PUBACK, 99))
    is_quiet(one)
    for wrong, qos in ((PUBACK, 2), (PUBCOMP, 2), (PUBREC, 1), (PUBCOMP, 1)):
        one = subscribed(raw(world.broker), TREE, qos=qos)
        send_all(sender, [b"x"])
        one.send(answer(wrong, heard(one).packet_id))
        first, body = one.read()
        assert first == DISCONNECT and body[0] == 0x82, (hex(wrong), qos)


@pytest.mark.parametrize("version", [V4, V5])
def test_paho_at_qos_2_both_ways_hears_everything_once(version, gb, client, subscriber):
    broker = gb(accounts=ACCOUNTS)
    options = {"user": "owner", "password": "owner", "version": version}
    listener = subscriber(broker.port, TREE, qos=2, **options)
    assert listener.granted == [2]
    sender = client(broker.port, **options)
    payloads = [b"%d" % i for i in range(1000)]
    send_all(sender, payloads)
    listener.wait_count(len(payloads))
    time.sleep(0.2)
    assert [m.payload for m in listener.messages] == payloads
    assert {m.qos for m in listener.messages} == {2}


def test_a_publisher_that_loses_its_line_again_and_again_is_heard_once(world, raw):
    """As a client library does it: what has no PUBREC is sent again, then what has no PUBCOMP."""
    options = {"client_id": "flaky", "kept": True}
    connection = raw(world.broker, fresh=True, **options)
    payloads = [b"%d" % i for i in range(40)]
    for i, payload in enumerate(payloads):
        packet_id = i % 5 + 1
        connection.send(wire.publish("sandbox/x", payload, 5, 2, packet_id))
        if i % 2:               # the answer is lost
            connection.end()
            connection = raw(world.broker, **options)
            connection.send(wire.publish("sandbox/x", payload, 5, 2, packet_id, flags=8))
        assert connection.read() == (PUBREC, number(packet_id))
        connection.send(answer(PUBREL, packet_id))
        if i % 3 == 0:
            connection.end()
            connection = raw(world.broker, **options)
            connection.send(answer(PUBREL, packet_id))
        first, body = connection.read()
        assert first == PUBCOMP and body[:2] == number(packet_id)
    # A packet in a line that was cut may come too late to be taken, never twice.
    world.listener.wait_count(len(payloads))
    assert Counter(m.payload for m in world.listener.messages) == Counter(payloads)


# --- topic aliases ------------------------------------------------------------


def test_a_publisher_names_topics_by_alias(world, raw):
    """[MQTT-3.3.2-7] to [MQTT-3.3.2-12]: also when named anew within one write, at any QoS."""
    sender = raw(world.broker)
    sender.send(
        wire.publish("sandbox/one", b"1", properties=alias(1))
        + wire.publish("", b"2", properties=alias(1))
        + wire.publish("", b"3", qos=1, packet_id=1, properties=alias(1))
        + wire.publish("sandbox/two", b"4", qos=2, packet_id=2, properties=alias(1))
        + wire.publish("", b"5", properties=alias(1))
        + wire.publish("sandbox/sixteen", b"6", properties=alias(16))
        + wire.publish("", b"7", properties=alias(1) + b"\x26\x00\x01a\x00\x01b")
        + wire.publish("", b"8", properties=alias(16)))
    world.listener.wait_count(8)
    assert [(m.topic, m.payload) for m in world.listener.messages] == [
        (f"sandbox/{name}", b"%d" % (i + 1)) for i, name in enumerate(
            ["one", "one", "one", "two", "two", "sixteen", "two", "sixteen"])]
    assert world.listener.messages[6].properties.UserProperty == [("a", "b")]
    assert not hasattr(world.listener.messages[6].properties, "TopicAlias")


@pytest.mark.parametrize("packets, reason", [
    ([("sandbox/x", 0)], 0x94),
    ([("sandbox/x", 17)], 0x94),
    ([("", 17)], 0x94),
    ([("", 3)], 0x82),
    ([("sandbox/x", 1), ("", 2)], 0x82),
    ([("sandbox/" + "x" * 9000, 1), ("sandbox/" + "y" * 9000, 2)], 0x97),
])
def test_an_alias_that_is_no_alias_ends_the_connection(packets, reason, gb, raw):
    sender = raw(gb(accounts=ACCOUNTS))
    for topic, value in packets:
        sender.send(wire.publish(topic, b"x", properties=alias(value)))
    first, body = sender.read()
    assert first == DISCONNECT and body[0] == reason, body


def test_aliases_end_with_the_connection(gb, raw):
    """[MQTT-3.3.2-7]."""
    broker = gb(accounts=ACCOUNTS)
    first = raw(broker, client_id="same", kept=True, fresh=True)
    first.send(wire.publish("sandbox/x", b"x", qos=1, properties=alias(1)))
    assert first.read()[0] == PUBACK
    first.end()
    second = raw(broker, client_id="same", kept=True)
    second.send(wire.publish("", b"x", properties=alias(1)))
    assert second.read()[1][0] == 0x82


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_client_that_takes_aliases_gets_them_and_nobody_else_does(qos, world, raw, client):
    """[MQTT-3.3.2-10], [MQTT-3.3.2-11]: within its maximum; each means what it was told last."""
    with_aliases = subscribed(raw(world.broker, properties=alias_maximum(3)), TREE, qos=qos)
    without = subscribed(raw(world.broker), TREE, qos=qos)
    many = subscribed(raw(world.broker, properties=alias_maximum(65535)), TREE, qos=qos)
    sender = client(world.broker.port, user="owner", password="owner")
    topics = [f"sandbox/{i * i % 11}" for i in range(60)] + ["sandbox/" + "l" * 300] * 2
    sender.flush([sender.paho.publish(t, b"%d" % i, 2).mid for i, t in enumerate(topics)])
    for connection, most in ((with_aliases, 3), (without, 0), (many, 64)):
        names, short = {}, 0
        for i, topic in enumerate(topics):
            got = heard(connection)
            assert 0 <= got.alias <= most and got.payload == b"%d" % i
            if got.topic and got.alias:
                names[got.alias] = got.topic
            short += not got.topic
            assert (got.topic or names[got.alias]) == topic
            if qos == 1:
                connection.send(answer(PUBACK, got.packet_id))
        assert short > 0 if most else short == 0


def test_aliases_hold_while_a_slow_client_falls_behind_and_catches_up(gb, keeper, raw, client):
    """Each packet that did not leave is made again; an alias told in it was not told."""
    broker = gb(accounts=ACCOUNTS)
    one = subscribed(raw(broker, properties=alias_maximum(20) + receive_maximum(7)), TREE)
    sender = client(broker.port, user="owner", password="owner")
    topics = [f"sandbox/{i * 7919 % 50}" for i in range(600)]
    sender.flush([sender.paho.publish(t, b"%d" % i, 1).mid for i, t in enumerate(topics)])
    names = {}
    for i, topic in enumerate(topics):
        got = heard(one)
        if got.topic and got.alias:
            names[got.alias] = got.topic
        assert (got.topic or names[got.alias], got.payload) == (topic, b"%d" % i)
        one.send(answer(PUBACK, got.packet_id))


def test_a_resend_names_its_topic_in_full(world, raw, client):
    options = {"client_id": "resumer", "kept": True, "properties": alias_maximum(5)}
    one = subscribed(raw(world.broker, fresh=True, **options), TREE)
    sender = client(world.broker.port, user="owner", password="owner")
    send_all(sender, [b"1", b"2"])
    assert [(m.topic, m.alias) for m in (heard(one), heard(one))][1][0] == ""
    one.end()
    one = raw(world.broker, **options)
    assert [heard(one).topic for _ in range(2)] == ["sandbox/x"] * 2
    send_all(sender, [b"3", b"4"])
    told, short = heard(one), heard(one)
    assert told.topic == "sandbox/x" and told.alias and short.topic == ""


# --- No Local -----------------------------------------------------------------


def no_local(connection, **filters):
    """filters: name -> options byte."""
    for at, (topic, options) in enumerate(filters.items()):
        connection.send(wire.packet(0x82, number(at + 1) + b"\0"
                                    + wire.text(topic.replace("_", "/")) + bytes([options])))
        assert connection.read()[0] == 0x90
    return connection


def test_no_local_keeps_ones_own_messages_away_and_only_those(world, raw, client):
    """[MQTT-3.8.3-3], also where the publisher overlaps with a filter without the option."""
    one = no_local(raw(world.broker), sandbox_a=0x05, sandbox_b=0x01)
    other = no_local(raw(world.broker), sandbox_a=0x05, sandbox_b=0x01)
    plain = subscribed(raw(world.broker), TREE, qos=1)
    for who in (one, other):
        for topic in ("sandbox/a", "sandbox/b"):
            who.send(wire.publish(topic, b"one" if who is one else b"other", qos=1))
            while True:
                got = who.read()
                if got[0] == PUBACK:
                    break
                who.early = getattr(who, "early", []) + [got]
    def topics(who, count):
        got = getattr(who, "early", [])
        got = got + [who.read() for _ in range(count - len(got))]
        is_quiet(who)
        return sorted((m.topic, m.payload) for m in (Publish(g, 5) for g in got))
    assert topics(one, 3) == [("sandbox/a", b"other"), ("sandbox/b", b"one"),
                              ("sandbox/b", b"other")]
    assert topics(other, 3) == [("sandbox/a", b"one"), ("sandbox/b", b"one"),
                                ("sandbox/b", b"other")]
    assert len(topics(plain, 4)) == 4


def test_no_local_holds_for_who_was_behind_or_away(world, raw, client):
    one = no_local(raw(world.broker, client_id="bridge", kept=True, fresh=True,
                       properties=receive_maximum(1)), sandbox_x=0x05)
    sender = client(world.broker.port, user="owner", password="owner")
    send_all(sender, [b"1", b"2"])
    one.send(b"".join(wire.publish("sandbox/x", b"own %d" % i, qos=1, packet_id=i + 1)
                      for i in range(3)))
    world.listener.wait_count(5)
    send_all(sender, [b"3"])
    one.end()
    send_all(sender, [b"4"])
    one = raw(world.broker, client_id="bridge", kept=True)
    got = [heard(one) for _ in range(4)]
    is_quiet(one)
    assert [m.payload for m in got] == [b"1", b"2", b"3", b"4"]
    assert [m.dup for m in got] == [True, False, False, False]


def test_paho_with_no_local(world, client):
    one = client(world.broker.port, user="owner", password="owner")
    _, mid = one.paho.subscribe([(TREE, paho.SubscribeOptions(qos=2, noLocal=True))])
    one.wait(lambda: mid in one.codes, what="SUBACK")
    send_all(one, [b"own"])
    send_all(client(world.broker.port, user="owner", password="owner"), [b"theirs"])
    one.wait_count(1)
    world.heard_only(b"own", b"theirs")
    assert [m.payload for m in one.messages] == [b"theirs"]
