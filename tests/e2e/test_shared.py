"""Shared subscriptions: each message to one member of a group, members on several workers."""
import struct
import time
from collections import Counter, namedtuple

import pytest

from harness import wire
from harness.clients import V4, V5
from harness.process import wait_until
from harness.wire import Wire

OWNER = {"user": "owner", "password": "owner", "read": ["sandbox/#", "origin/a/wis2/#"],
         "write": ["sandbox/#"], "deny": ["sandbox/secret/#"], "replay": "24h"}
OTHER = {"user": "other", "password": "other", "read": ["sandbox/#"]}
WRITER = {"user": "writer", "password": "writer", "write": ["sandbox/#"]}
LOGIN = {"user": "owner", "password": "owner"}
FOR_EVER = 0xFFFFFFFF
SHARED = "$share/crew/sandbox/#"
PUBACK, PUBREC, SUBACK, UNSUBACK = 0x40, 0x50, 0x90, 0xB0
VERSIONS = pytest.mark.parametrize("version", [V4, V5], ids=["3.1.1", "5"])
Message = namedtuple("Message", "topic payload")
Delivery = namedtuple("Delivery", "payload qos dup packet_id properties")


def made(first, count, topic="sandbox/a"):
    return [Message(topic, b"%d" % i) for i in range(first, first + count)]


def payloads(*clients):
    return Counter(bytes(m.payload) for c in clients for m in c.messages)


def expected(messages):
    return Counter(m.payload for m in messages)


@pytest.fixture
def broker(gb):
    return gb(accounts=[OWNER, OTHER, WRITER], config={"workers": 3})


@pytest.fixture
def publisher(broker, client):
    return client(broker.port, **LOGIN)


@pytest.fixture
def member(broker, subscriber):
    """A paho client that acknowledges what it gets."""
    def make(filters=(SHARED,), qos=1, version=V5, **options):
        return subscriber(broker.port, *filters, qos=qos, version=version, **{**LOGIN, **options})
    return make


class Hand(Wire):
    """A member by hand: acknowledges only what it is told to."""

    def __init__(self, port, client_id, kept=True, window=65535, clean=False, **settings):
        super().__init__(port, **settings)
        properties = b"\x21" + struct.pack(">H", window)
        if kept:
            properties += b"\x11" + struct.pack(">I", FOR_EVER)
        self.send(wire.connect(5, client_id, b"owner", b"owner", properties=properties,
                               flags=0xC0 | (2 if clean else 0)))
        first, self.connack = self.read()
        assert first == 0x20 and self.connack[1] == 0, self.connack
        self.is_present = self.connack[0] == 1

    def subscribe(self, *filters, qos=1):
        self.send(wire.subscribe(filters, qos=qos))
        first, body = self.read()
        assert first == SUBACK, first
        return list(body[3:])

    def take(self, count):
        """The next deliveries."""
        return [self.take_one() for _ in range(count)]

    def take_one(self):
        first, body = self.read()
        assert first >> 4 == 3, (first, body)
        qos, at = first >> 1 & 3, 2 + struct.unpack(">H", body[:2])[0]
        packet_id = 0
        if qos:
            packet_id, at = struct.unpack(">H", body[at:at + 2])[0], at + 2
        properties, at = body[at + 1:at + 1 + body[at]], at + 1 + body[at]
        return Delivery(body[at:], qos, bool(first & 8), packet_id, properties)

    def acknowledge(self, delivery, kind=PUBACK, reason=0):
        self.send(wire.packet(kind, struct.pack(">HB", delivery.packet_id, reason)))

    def assert_quiet(self):
        """Nothing came before the answer to a ping."""
        self.send(wire.PINGREQ)
        assert self.read() == (0xD0, b"")


@pytest.fixture
def hand(broker, keeper):
    def make(client_id, **settings):
        one = Hand(broker.port, client_id, **settings)
        keeper.keep(one.end)
        return one
    return make


def wait_all(messages, *clients, limit=20.0):
    wanted = expected(messages)
    wait_until(lambda: not wanted - payloads(*clients), limit,
               lambda: f"{sum((wanted - payloads(*clients)).values())} missing")


# --- who gets what -----------------------------------------------------------------


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_message_goes_to_one_member_of_each_group(version, qos, publisher, member):
    crew = [member(qos=qos, version=version) for _ in range(6)]
    pair = [member(["$share/pair/sandbox/+"], qos=qos, version=version) for _ in range(2)]
    both = member([SHARED, "sandbox/a"], qos=qos, version=version)
    sent = made(0, 900)
    publisher.publish_all(sent, qos=qos)
    wait_until(lambda: sum(payloads(*crew, both).values()) >= 1800)
    wait_all(sent, *pair)
    last = made(900, 30)                # what came too often would have come before these
    publisher.publish_all(last, qos=qos)
    wait_until(lambda: sum(payloads(*crew, both).values()) >= 1860)
    wait_all(last, *pair)
    twice = expected(sent + last) + expected(sent + last)
    assert payloads(*crew, both) == twice           # the plain subscription of `both` is the second
    assert payloads(*pair) == expected(sent + last)
    shares = [len(c.messages) for c in crew]
    assert min(shares) >= 930 / 7 / 2, shares
    assert {m.qos for c in crew for m in c.messages} == {qos}


def test_messages_that_come_one_by_one_go_round(publisher, member):
    pair = [member(), member()]
    for i in range(10):
        publisher.publish_all(made(i, 1))
        wait_until(lambda: sum(payloads(*pair).values()) == i + 1)
    assert [len(c.messages) for c in pair] == [5, 5]


def test_each_member_has_its_own_quality_and_identifier(publisher, hand):
    """[MQTT-4.8.2-3]."""
    one = hand("one")
    one.send(wire.packet(0x82, b"\0\1\2\x0b\7" + wire.text(SHARED) + b"\0"))
    assert one.read()[0] == SUBACK
    other = hand("other")
    other.send(wire.packet(0x82, b"\0\1\2\x0b\x09" + wire.text(SHARED) + b"\1"))
    assert other.read()[0] == SUBACK
    publisher.publish_all(made(0, 4), qos=2)
    assert {(d.qos, d.properties) for d in one.take(2)} == {(0, b"\x0b\7")}
    assert {(d.qos, d.properties) for d in other.take(2)} == {(1, b"\x0b\x09")}


def test_accounts_do_not_share(broker, publisher, member, subscriber):
    mine = member()
    theirs = subscriber(broker.port, SHARED, user="other", password="other")
    publisher.publish_all(made(0, 20))
    for one in (mine, theirs):
        wait_all(made(0, 20), one)
    publisher.publish_all(made(20, 1))
    for one in (mine, theirs):
        wait_all(made(20, 1), one)
        assert payloads(one) == expected(made(0, 21))


def test_what_is_denied_is_not_dealt(broker, client, subscriber, member):
    mine = member()
    theirs = subscriber(broker.port, SHARED, user="other", password="other")
    author = client(broker.port, user="writer", password="writer")
    author.publish_all(made(0, 3, "sandbox/secret/x") + made(3, 3))
    wait_all(made(0, 6), theirs)
    wait_all(made(3, 3), mine)
    assert payloads(mine) == expected(made(3, 3))


# --- members that do not keep up -----------------------------------------------------


def test_a_member_that_does_not_acknowledge_holds_up_nobody(publisher, member, hand):
    stuck = hand("stuck", window=5)
    stuck.subscribe(SHARED)
    good = member()
    sent = made(0, 500)
    publisher.publish_all(sent)
    held = stuck.take(5)
    wait_until(lambda: len(good.messages) >= 495)
    stuck.assert_quiet()
    assert payloads(good) + Counter(d.payload for d in held) == expected(sent)


@pytest.mark.parametrize("qos", [0, 1])
def test_a_member_that_does_not_read_holds_up_nobody(qos, publisher, member, hand):
    stuck = hand("stuck", receive_buffer=4096)
    stuck.subscribe(SHARED, qos=qos)
    good = member(qos=qos)
    sent = [Message("sandbox/a", b"%06d" % i + bytes(20000)) for i in range(300)]
    publisher.publish_all(sent)
    wait_until(lambda: len(good.messages) >= 200)
    stuck.end()
    if qos:
        wait_all(sent, good)            # the rest went to the front
        assert payloads(good) == expected(sent)


# --- members that leave --------------------------------------------------------------


def test_what_a_leaving_member_had_open_goes_to_others_first_and_in_order(publisher, hand):
    leaver = hand("leaver")
    leaver.subscribe(SHARED)
    publisher.publish_all(made(0, 10))
    got = leaver.take(10)
    leaver.acknowledge(got[0])
    leaver.acknowledge(got[1], reason=0x83)     # refused: not sent to anybody again
    leaver.assert_quiet()
    other = hand("other", window=3)
    other.subscribe(SHARED)
    other.assert_quiet()
    leaver.end()
    first = other.take(3)
    publisher.publish_all(made(10, 2))
    seen = list(first)
    while len(seen) < 10:
        other.acknowledge(seen[len(seen) - 3])
        seen.append(other.take_one())
    assert [d.payload for d in seen] == [m.payload for m in made(2, 10)]
    assert not any(d.dup for d in seen)
    again = hand("leaver")
    assert again.is_present
    again.assert_quiet()


def test_what_is_in_flight_at_qos_2_stays_with_its_session(broker, publisher, hand):
    """[MQTT-4.8.2-4]."""
    leaver = hand("leaver")
    leaver.subscribe(SHARED, qos=2)
    publisher.publish_all(made(0, 4), qos=2)
    got = leaver.take(4)
    leaver.acknowledge(got[1], PUBREC, 0x97)    # refused: done
    leaver.acknowledge(got[0], PUBREC)
    assert leaver.read()[0] == 0x62             # PUBREL
    other = hand("other")
    other.subscribe(SHARED, qos=2)
    leaver.end()
    broker.wait_metric("isobar_sessions_offline", 1)
    publisher.publish_all(made(4, 1), qos=2)
    assert other.take_one().payload == b"4"
    again = hand("leaver")
    assert again.read()[0] == 0x62
    assert again.take(2) == [d._replace(dup=True) for d in got[2:]]


def test_qos_2_of_a_session_that_ends_is_sent_to_nobody_else(broker, publisher, hand):
    """[MQTT-4.8.2-5]."""
    leaver = hand("leaver", kept=False)
    leaver.subscribe(SHARED, qos=2)
    publisher.publish_all(made(0, 2), qos=2)
    leaver.take(2)
    other = hand("other")
    other.subscribe(SHARED, qos=2)
    leaver.end()
    broker.wait_metric("isobar_sessions", 2)
    publisher.publish_all(made(2, 1), qos=2)
    assert other.take_one().payload == b"2"


def test_what_comes_while_all_are_away_goes_to_whoever_is_back_first(broker, publisher, hand):
    one, other = hand("one"), hand("other")
    for each in (one, other):
        each.subscribe(SHARED)
        each.end()
    broker.wait_metric("isobar_sessions_offline", 2)
    publisher.publish_all(made(0, 50))
    back = hand("other")
    assert [d.payload for d in back.take(50)] == [m.payload for m in made(0, 50)]
    late = hand("one")
    late.assert_quiet()


def test_a_group_without_sessions_is_no_more(broker, publisher, hand):
    one = hand("one", kept=False)
    one.subscribe(SHARED)
    broker.wait_metric("isobar_shared_groups", 1)
    one.end()
    broker.wait_metric("isobar_shared_groups", 0)
    publisher.publish_all(made(0, 5))
    again = hand("one", kept=False)
    again.subscribe(SHARED)
    publisher.publish_all(made(5, 1))
    assert again.take_one().payload == b"5"


def test_who_unsubscribes_gets_no_more(publisher, hand):
    one, other = hand("one"), hand("other")
    for each in (one, other):
        each.subscribe(SHARED)
    one.send(wire.packet(0xA2, b"\0\2\0" + wire.text(SHARED)))
    assert one.read() == (UNSUBACK, b"\0\2\0\0")
    publisher.publish_all(made(0, 20))
    assert len(other.take(20)) == 20
    one.assert_quiet()
    one.send(wire.packet(0xA2, b"\0\2\0" + wire.text(SHARED)))
    assert one.read() == (UNSUBACK, b"\0\2\0\x11")


def test_a_connection_taken_over_gives_back_what_it_had(publisher, hand):
    one = hand("one")
    one.subscribe(SHARED)
    publisher.publish_all(made(0, 5))
    one.take(5)
    again = hand("one")
    assert again.is_present
    assert [d.payload for d in again.take(5)] == [m.payload for m in made(0, 5)]
    fresh = hand("one", clean=True)
    assert not fresh.is_present
    publisher.publish_all(made(5, 1))
    fresh.assert_quiet()


def test_members_that_come_and_go_lose_nothing(broker, publisher, client, member):
    stays = member()
    sent = []
    seen = []
    for turn in range(12):
        guest = member(client_id=f"guest{turn % 3}", expiry=FOR_EVER, clean=False)
        batch = made(100 * turn, 100)
        publisher.publish_all(batch)
        sent += batch
        guest.cut()
        seen.append(guest)
    wait_until(lambda: not expected(sent) - payloads(stays, *seen), 20,
               lambda: f"{len(expected(sent) - payloads(stays, *seen))} missing")


# --- restart --------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_a_group_outlives_the_program(way, broker, client, hand):
    publisher = client(broker.port, **LOGIN)
    one, other = hand("one", window=10), hand("other", window=10)
    for each in (one, other):
        each.subscribe(SHARED)
    publisher.publish_all(made(0, 60))
    got = one.take(10) + other.take(10)
    for delivery in got[:4]:
        one.acknowledge(delivery)
    got += one.take(4)
    one.assert_quiet()
    time.sleep(1.6 if way == "kill" else 0)     # checkpoints have seen most of it
    broker.stop() if way == "stop" else broker.kill()
    broker.start()
    again = hand("other")
    assert again.is_present
    left = {m.payload for m in made(0, 60)} - {d.payload for d in got[:4]}
    seen = []
    while not left <= {d.payload for d in seen}:
        seen.append(again.take_one())
        again.acknowledge(seen[-1])
    if way == "stop":
        assert [d.payload for d in seen] == sorted(left, key=int)
        again.assert_quiet()
    publisher = client(broker.port, **LOGIN)
    publisher.publish_all(made(60, 1))
    while seen[-1].payload != b"60":
        seen.append(again.take_one())
        again.acknowledge(seen[-1])
    assert max(Counter(d.payload for d in seen).values()) == 1


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_a_restart_under_load_loses_nothing(way, broker, client):
    def join(name):
        one = client(broker.port, client_id=name, clean=False, expiry=FOR_EVER, **LOGIN)
        one.subscribe(SHARED)
        return one
    everybody = [join("one"), join("other"), join("third")]
    publisher = client(broker.port, **LOGIN)
    sent = made(0, 2000)
    publisher.publish_all(sent)
    broker.stop() if way == "stop" else broker.kill()
    for each in everybody:
        each.cut()
    broker.start()
    everybody.append(join("other"))
    everybody.append(join("one"))
    publisher = client(broker.port, **LOGIN)
    sent += made(2000, 100)
    publisher.publish_all(made(2000, 100))
    wait_all(sent, *everybody)


def test_qos_2_in_flight_stays_with_its_session_over_a_restart(broker, client, hand):
    publisher = client(broker.port, **LOGIN)
    one = hand("one")
    one.subscribe(SHARED, qos=2)
    publisher.publish_all(made(0, 3), qos=2)
    got = one.take(3)
    other = hand("other")
    other.subscribe(SHARED, qos=2)
    broker.stop()
    broker.start()
    other = hand("other")
    publisher = client(broker.port, **LOGIN)
    publisher.publish_all(made(3, 1), qos=2)
    assert other.take_one().payload == b"3"
    again = hand("one")
    assert again.take(3) == [d._replace(dup=True) for d in got]


# --- what is refused ------------------------------------------------------------------


def test_connack_does_not_say_that_there_are_none(hand):
    assert b"\x2a\x00" not in hand("one").connack


@pytest.mark.parametrize("filter_, code", [
    ("$share/crew/elsewhere/#", 0x87),
    ("$share/crew/sandbox/#", 1),
    ("$share/crew/$replay/1h/sandbox/#", 0x9E),
], ids=["not readable", "granted", "replay"])
def test_rights_are_those_on_the_filter(filter_, code, hand):
    assert hand("one").subscribe(filter_, qos=1) == [code]


@pytest.mark.parametrize("filter_", ["$share//sandbox/a", "$share/crew", "$share/crew/",
                                     "$share/c+/sandbox/a", "$share/c#/sandbox/a"])
def test_a_malformed_share_is_refused(filter_, broker, keeper):
    old = Wire(broker.port)
    keeper.keep(old.end)
    old.login(4, user=b"owner", password=b"owner")
    old.send(wire.subscribe([filter_, SHARED], 4, qos=1))
    # 3.1.1 knows no $share: what is wrong by its own rules closes, the rest is refused
    is_wrong = "+" in filter_ or "#" in filter_
    wanted = None if is_wrong else (SUBACK, b"\0\1\x80\1")
    assert old.read() == wanted
    new = Hand(broker.port, "new")
    keeper.keep(new.end)
    new.send(wire.subscribe([filter_]))
    first, body = new.read()
    assert (first, body[0]) == (0xE0, 0x8F)


def test_no_local_on_a_shared_subscription_is_a_protocol_error(hand):
    one = hand("one")
    one.send(wire.subscribe([SHARED], qos=1 | 4))
    first, body = one.read()
    assert (first, body[0]) == (0xE0, 0x82)
