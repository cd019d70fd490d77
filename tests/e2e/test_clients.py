"""What clients may do, what they may not, and that one cannot disturb another."""
import os
import random
import resource
import socket
import struct
import threading
import time

import pytest

from harness import notifications as wnm
from harness import wire
from harness.clients import V4, V5, assert_same
from harness.kept import kept
from harness.process import patience, wait_until
from harness.wire import Wire

DWD = "de-dwd"
ALL = "origin/a/wis2/#"
EVERYONE = {"user": "everyone", "password": "everyone",
            "read": ["origin/a/wis2/#", "cache/a/wis2/#", "monitor/a/wis2/#"]}
PARTNER = {"user": "partner", "password": "partner", "read": ["origin/a/wis2/#"],
           "write": ["origin/a/wis2/#"]}
BOTH = [EVERYONE, PARTNER]


raw = kept(Wire)


class Steady:
    """A subscriber and a publisher whose traffic nobody may disturb: check() at any time."""

    def __init__(self, broker, client, subscriber):
        self.listener = subscriber(broker.port, ALL)
        self.publisher = client(broker.port, user="partner", password="partner")
        self.sent = []

    def check(self):
        more = wnm.valid_many(DWD, 5)
        self.sent += more
        self.publisher.publish_all(more)
        self.listener.wait_count(len(self.sent))
        assert_same(self.listener.messages, self.sent)
        assert not self.listener.disconnects and not self.publisher.disconnects
        assert len(self.listener.connects) == 1 and len(self.publisher.connects) == 1


@pytest.fixture
def steady(client, subscriber):
    return lambda broker: Steady(broker, client, subscriber)


# --- rights of everyone -------------------------------------------------------


@pytest.mark.parametrize("version, refused", [(V5, 0x87), (V4, 0x80)])
def test_other_trees_are_refused_one_by_one_and_the_rest_is_granted(
        version, refused, gb, client, steady):
    """GB-26, GB-29: a SUBACK code, not a dropped connection."""
    broker = gb(accounts=BOTH)
    everyone = client(broker.port, version=version)
    rows = [("#", False), ("origin/a/wis2/#", True), ("$SYS/#", False), ("+/#", False),
            ("cache/a/wis2/+/data/#", True), ("sandbox/x", False), ("origin/#", False),
            ("origin/a/wis2/+/metadata", True), ("monitor/a/wis2/+", True), ("+/a/wis2/#", False),
            ("origin/a/wis2", True), ("origin/+/wis2/#", False)]
    codes = everyone.subscribe(*(f for f, _ in rows), qos=1)
    assert codes == [1 if good else refused for _, good in rows]
    quiet = steady(broker)
    quiet.check()
    everyone.wait_count(5)
    assert_same(everyone.messages, quiet.sent)
    assert not everyone.disconnects


def test_qos_2_is_granted_as_1(gb, client):
    """GB-30."""
    broker = gb()
    for version in (V4, V5):
        assert client(broker.port, version=version).subscribe(ALL, qos=2) == [1]


def test_an_invalid_filter_is_answered_as_each_version_says(gb, raw, steady):
    """MQTT 5: 0x8F in the SUBACK or a DISCONNECT for the malformed; 3.1.1: failure or close."""
    broker = gb(accounts=BOTH)
    quiet = steady(broker)
    for version in (4, 5):
        for bad in ("origin/#/x", "origin/a+", "a/b#", ""):
            connection = raw(broker.port).login(version)
            connection.send(wire.subscribe([bad, ALL], version))
            answer = connection.read()
            if answer is not None and answer[0] == 0x90:
                assert answer[1][-2:] == (b"\x8f\x00" if version == 5 else b"\x80\x00"), answer
            elif version == 5:
                assert answer[0] == 0xE0 and answer[1][0] in (0x81, 0x82, 0x8F), answer
            else:
                assert answer is None
    quiet.check()


def test_publishing_without_the_right_is_refused_in_mqtt_5_by_a_reason_code(
        gb, client, subscriber, raw, steady):
    """GB-27: PUBACK 0x87 at QoS 1, nothing at QoS 0; nobody hears it, the connection stays."""
    broker = gb(accounts=BOTH)
    quiet = steady(broker)
    listener = subscriber(broker.port, *EVERYONE["read"])
    sender = raw(broker.port).login(5)
    message = wnm.valid(DWD)
    sender.send(wire.publish(message.topic, message.payload, qos=1, packet_id=7))
    first, body = sender.read()
    assert first == 0x40 and body[:3] == b"\x00\x07\x87", body
    sender.send(wire.publish(message.topic, message.payload, qos=0))
    for topic in ("cache/a/wis2/de-dwd/metadata", "sandbox/x", "monitor/a/wis2/de-dwd"):
        sender.send(wire.publish(topic, b"x", qos=1, packet_id=8))
        first, body = sender.read()
        assert first == 0x40 and body[:3] == b"\x00\x08\x87", (topic, body)
    sender.send(wire.PINGREQ)
    while True:
        answer = sender.read()
        assert answer is not None, "the connection was closed"
        if answer[0] == 0xD0:
            break
    quiet.check()
    listener.wait_count(len(quiet.sent))
    assert_same(listener.messages, quiet.sent)


@pytest.mark.parametrize("qos", [0, 1])
def test_publishing_without_the_right_closes_a_connection_of_311(
        qos, gb, subscriber, raw, steady):
    """[MQTT3-3.3.5-2]: a 3.1.1 server has no code; ours closes."""
    broker = gb(accounts=BOTH)
    quiet = steady(broker)
    listener = subscriber(broker.port, ALL)
    sender = raw(broker.port).login(4)
    message = wnm.valid(DWD)
    sender.send(wire.publish(message.topic, message.payload, version=4, qos=qos))
    assert sender.read() is None
    quiet.check()
    listener.wait_count(len(quiet.sent))
    assert_same(listener.messages, quiet.sent)


def test_a_writer_is_judged_by_the_same_gate(gb, client, subscriber):
    """What an account publishes passes topics and message rules; a refusal is told in MQTT 5."""
    broker = gb(accounts=BOTH)
    listener = subscriber(broker.port, ALL)
    publisher = client(broker.port, user="partner", password="partner")
    good = wnm.valid(DWD)
    publisher.publish_all([wnm.broken_payload(DWD, row) for row in wnm.BROKEN_PAYLOADS]
                          + [wnm.broken_topic(DWD, tail) for tail, _ in wnm.BROKEN_TAILS]
                          + [good, good])
    last = wnm.valid(DWD)
    publisher.publish_all([last])
    listener.wait_count(2)
    assert_same(listener.messages, [good, last])
    assert not publisher.disconnects


@pytest.mark.parametrize("version, code", [(5, 0x86), (4, 4)])
def test_a_wrong_password_gets_the_code_of_its_version(version, code, gb, raw, steady):
    """MQTT 5: 0x86; 3.1.1: 4, or 5 for the unknown."""
    broker = gb(accounts=BOTH)
    quiet = steady(broker)
    for user, password in ((b"everyone", b"wrong"), (b"nobody", b"x"), (None, None),
                           (b"everyone", None), (b"everyone\xc3\xa9", b"everyone")):
        connection = raw(broker.port).send(wire.connect(version, user=user, password=password))
        answer = connection.read()
        assert answer[0] == 0x20, answer
        if version == 5:
            assert answer[1][1] in (0x86, 0x87), (user, answer)
        else:
            assert answer[1] in (b"\x00\x04", b"\x00\x05"), (user, answer)
        assert connection.read() is None, "it must be closed"
        if user == b"everyone" and password:
            assert answer[1][1] in (code, code + 1), answer
    quiet.check()


def test_other_protocol_versions_are_refused_by_code(gb, raw):
    broker = gb()
    answer = raw(broker.port).send(wire.connect(version=6)).read()
    assert answer is None or (answer[0] == 0x20 and answer[1][1] in (0x84, 1)), answer
    answer = raw(broker.port).send(wire.connect(version=3, name="MQIsdp")).read()
    assert answer is None or answer[1][1] in (0x84, 1), answer


# --- sessions -----------------------------------------------------------------


def test_keep_alive_passed_by_half_closes_the_connection(gb, raw, steady):
    """[MQTT-3.1.2-22]: 1.5 times the keep alive; MQTT 5 is told 0x8D."""
    broker = gb(accounts=BOTH)
    quiet = steady(broker)
    for version in (4, 5):
        begun = time.monotonic()
        connection = raw(broker.port).login(version, keep_alive=1)
        packets = connection.read_all()
        assert time.monotonic() - begun >= 1.0
        told = [(first, body[:1]) for first, body in packets]
        assert told == ([(0xE0, b"\x8d")] if version == 5 else []), packets
    quiet.check()


def test_a_second_connection_takes_the_session_over(gb, raw, client, steady):
    """[MQTT-3.1.4-3]: the older one is closed, told 0x8E in MQTT 5; the session goes on."""
    broker = gb(accounts=BOTH)
    quiet = steady(broker)
    expiry = b"\x11" + struct.pack(">I", 300)
    first = raw(broker.port).login(5, client_id="twin", properties=expiry)
    first.send(wire.subscribe([ALL], qos=1))
    assert first.read()[0] == 0x90
    second = raw(broker.port).send(
        wire.connect(5, client_id="twin", flags=0xC0, properties=expiry))
    answer = second.read()
    assert answer[0] == 0x20 and answer[1][:2] == b"\x01\x00", answer
    packets = first.read_all()
    assert packets and packets[-1][0] == 0xE0 and packets[-1][1][0] == 0x8E, packets
    quiet.check()
    heard = [second.read() for _ in range(5)]
    assert all(first_byte >> 4 == 3 for first_byte, _ in heard)


def test_the_same_client_id_of_another_account_is_another_session(gb, client):
    """architecture.md: a session's key is (account, client id); GB-32."""
    broker = gb(accounts=BOTH)
    first = client(broker.port, client_id="same")
    second = client(broker.port, client_id="same", user="partner", password="partner")
    assert second.subscribe(ALL) == [1] and first.subscribe(ALL) == [1]
    assert not first.disconnects and not second.disconnects


@pytest.mark.parametrize("version", [V4, V5])
def test_an_offline_session_gets_what_it_missed(version, gb, client, steady):
    broker = gb(accounts=[{**EVERYONE, "session_expiry": "1h"}, PARTNER])
    quiet = steady(broker)
    options = {"version": version, "client_id": "away", "clean": False, "expiry": 300}
    listener = client(broker.port, **options)
    assert listener.subscribe(ALL) == [1]
    listener.disconnect()
    quiet.check()
    again = client(broker.port, **options)
    assert again.connects == [(0, True)]
    again.wait_count(5)
    quiet.check()
    again.wait_count(10)
    assert_same(again.messages, quiet.sent)


# --- bad input ----------------------------------------------------------------


def bad_streams():
    """(name, bytes after CONNECT, or instead of it when the name begins with "!", version,
    acceptable reason codes in MQTT 5)"""
    topic = "origin/a/wis2/de-dwd/metadata"
    cases = [
        ("!not MQTT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 4, ()),
        ("!TLS hello", bytes.fromhex("16030100c8010000c40303") + b"\0" * 200, 4, ()),
        ("!first packet is PINGREQ", wire.PINGREQ, 4, ()),
        ("!first packet is PUBLISH", wire.publish(topic, b"x", 4), 4, ()),
        ("!wrong protocol name", wire.connect(name="MQTX"), 5, (0x81, 0x82, 0x84)),
        ("!reserved flag in CONNECT", wire.connect(flags=0xC3), 5, (0x81, 0x82)),
        ("!will QoS 3", wire.connect(flags=0xC0 | 0x1C), 5, (0x81, 0x82)),
        ("!client id not UTF-8", wire.connect(client_id=b"\xff\xfe"), 5, (0x81, 0x85)),
        ("!property twice", wire.connect(properties=b"\x11\0\0\0\1\x11\0\0\0\1"), 5, (0x81, 0x82)),
        ("!receive maximum 0", wire.connect(properties=b"\x21\0\0"), 5, (0x81, 0x82)),
        ("!unknown property", wire.connect(properties=b"\x7f\0"), 5, (0x81, 0x82)),
        ("!remaining length of five bytes", b"\x10\xff\xff\xff\xff\x01", 5, (0x81,)),
        ("!client id longer than its packet", wire.connect()[:-20], 5, None),
        ("second CONNECT", wire.connect(), 5, (0x82,)),
        ("packet type 0", b"\x00\x00", 5, (0x81, 0x82)),
        ("CONNACK from a client", b"\x20\x03\0\0\0", 5, (0x81, 0x82)),
        ("SUBSCRIBE flags", b"\x80" + wire.subscribe([ALL])[1:], 5, (0x81,)),
        ("SUBSCRIBE packet id 0", wire.subscribe([ALL], packet_id=0), 5, (0x81, 0x82)),
        ("SUBSCRIBE of nothing", wire.subscribe([]), 5, (0x81, 0x82)),
        ("SUBSCRIBE QoS 3", wire.subscribe([ALL], qos=3), 5, (0x81, 0x82)),
        ("filter not UTF-8", wire.subscribe([b"origin/\xc3\x28"]), 5, (0x81, 0x8F)),
        ("filter with NUL", wire.subscribe([b"origin/\0"]), 5, (0x81, 0x8F)),
        ("PUBLISH QoS 3", wire.publish(topic, b"x", flags=6), 5, (0x81, 0x82)),
        ("PUBLISH topic with #", wire.publish("origin/#", b"x"), 5, (0x81, 0x82, 0x90)),
        ("PUBLISH topic with +", wire.publish("origin/+/x", b"x"), 5, (0x81, 0x82, 0x90)),
        ("PUBLISH topic not UTF-8", wire.publish(b"a\xed\xa0\x80", b"x"), 5, (0x81, 0x90)),
        ("PUBLISH topic with NUL", wire.publish(b"a\0b", b"x"), 5, (0x81, 0x90)),
        ("PUBLISH empty topic", wire.publish("", b"x"), 5, (0x82, 0x90, 0x81)),
        ("PUBLISH alias 0", wire.publish(topic, b"x", properties=b"\x23\0\0"), 5, (0x94, 0x82)),
        ("PUBLISH alias beyond the maximum",
         wire.publish(topic, b"x", properties=b"\x23\xff\xff"), 5, (0x94, 0x82)),
        ("PUBLISH with a subscription id",
         wire.publish(topic, b"x", properties=b"\x0b\x01"), 5, (0x81, 0x82)),
        ("packet of 257 KiB", wire.publish(topic, b"x" * 263_000), 5, (0x95,)),
        ("announced 256 MiB", b"\x30\xff\xff\xff\x7f" + b"x" * 100, 5, (0x95,)),
        ("topic longer than its packet", b"\x30\x04\xff\xffab", 5, (0x81,)),
        ("UNSUBSCRIBE of nothing", b"\xa2\x03\0\1\0", 5, (0x81, 0x82)),
        ("DISCONNECT flags", b"\xe1\x00", 5, (0x81,)),
        ("AUTH out of nowhere", b"\xf0\x00", 5, (0x82,)),
        ("type 15 in 3.1.1", b"\xf0\x00", 4, ()),
        ("bad UTF-8 in 3.1.1", wire.publish(b"a\xff", b"x", 4), 4, ()),
    ]
    return cases


def test_malformed_packets_end_in_the_right_reason_code_and_disturb_nobody(gb, raw, steady):
    broker = gb(accounts=BOTH)
    quiet = steady(broker)
    wrong = []
    for name, data, version, codes in bad_streams():
        connection = raw(broker.port)
        if not name.startswith("!"):
            connection.login(version)
        connection.send(data)
        if codes is None:           # half a packet: nothing to answer yet
            connection.socket.shutdown(socket.SHUT_WR)
        try:
            packets = connection.read_all()
        except socket.timeout:
            wrong.append((name, "neither answered nor closed"))
            continue
        told = [body[1] if first == 0x20 else (body or b"\0")[0]
                for first, body in packets if first in (0x20, 0xE0)]
        may_be_silent = name.startswith("!")    # [MQTT-3.1.4-1]: MAY send a CONNACK
        if codes and not (told or may_be_silent) or codes and told and told[-1] not in codes:
            wrong.append((name, [hex(c) for c in told], [hex(c) for c in codes]))
        if not codes and told and version == 4 and not name.startswith("!"):
            wrong.append((name, "3.1.1 has no DISCONNECT from the server", told))
        connection.end()
        quiet.check()
    assert not wrong, "\n".join(map(str, wrong))


def test_random_bytes_and_broken_off_packets_disturb_nobody(gb, raw, steady):
    broker = gb(accounts=BOTH)
    quiet = steady(broker)
    dice = random.Random(20261122)
    whole = wire.connect() + wire.subscribe([ALL], qos=1) + wire.publish("a/b", b"x" * 50, qos=1)
    for round_number in range(150):
        connection = raw(broker.port)
        how = round_number % 4
        if how == 0:
            connection.send(dice.randbytes(dice.randrange(1, 2000)))
        elif how == 1:
            connection.send(whole[:dice.randrange(len(whole))])
        elif how == 2:
            spoilt = bytearray(whole)
            for _ in range(3):
                spoilt[dice.randrange(len(spoilt))] = dice.randrange(256)
            connection.send(bytes(spoilt))
        else:
            connection.login().send(dice.randbytes(dice.randrange(1, 300)))
        connection.end()
        if round_number % 30 == 0:
            quiet.check()
    quiet.check()
    wait_until(lambda: broker.metric("isobar_connections") == 2, what="all the others gone")


def test_bytes_may_come_one_at_a_time(gb, raw):
    broker = gb()
    connection = raw(broker.port)
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in wire.connect() + wire.subscribe([ALL]) + wire.PINGREQ:
        connection.send(bytes([byte]))
    assert [connection.read()[0] for _ in range(3)] == [0x20, 0x90, 0xD0]


def test_a_client_that_never_says_connect_is_closed(gb, raw, steady):
    broker = gb(accounts=BOTH)
    quiet = steady(broker)
    silent = raw(broker.port)
    half = raw(broker.port).send(wire.connect()[:10])
    for connection in (silent, half):
        connection.wait_closed(30)
    quiet.check()


# --- slow readers -------------------------------------------------------------


def test_a_slow_reader_gets_everything_and_delays_nobody(gb, raw, steady):
    broker = gb(accounts=BOTH, config={"limits": {"send_buffer": "64KiB"}})
    slow = raw(broker.port, receive_buffer=4096).login(4)
    slow.send(wire.subscribe([ALL], version=4, qos=0))
    assert slow.read()[0] == 0x90
    quiet = steady(broker)
    for _ in range(10):
        many = wnm.valid_many(DWD, 500)
        quiet.sent += many
        quiet.publisher.publish_all(many)
    quiet.check()
    bodies = []
    while len(bodies) < len(quiet.sent):
        first, body = slow.read()
        assert first == 0x30
        size = int.from_bytes(body[:2], "big")
        bodies.append((body[2:2 + size].decode(), body[2 + size:]))
    assert bodies == [(m.topic, m.payload) for m in quiet.sent]


def socket_bytes(port):
    """What waits in the kernel in connections of this port, on both sides of them."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return sum(int(queue, 16) for row in rows if f":{port:04X}" in (row[1][-5:], row[2][-5:])
               for queue in row[4].split(":"))


FULL = os.environ.get("ISOBAR_FULL") == "1"


def test_stopped_readers_cost_a_bounded_amount_and_nobody_else_notices(
        gb, raw, client, subscriber):
    """200 readers that stop, 300 MB published (ISOBAR_FULL=1: 1 000 and 2 GB). Bound: 64 MiB of
    anonymous memory and 16 KiB a stopped reader; in the kernel three times the send buffer a stopped
    reader (Linux doubles it for its own books), and 64 MiB for who publishes and who listens."""
    readers, megabytes = (1000, 2000) if FULL else (200, 300)
    broker = gb(accounts=BOTH, config={
        "limits": {"send_buffer": "64KiB"},
        "journal": {"size": "4GiB" if FULL else "1GiB"},
        # content is cheap to make: the gate is not what this is about
        "checks": {"message": "off"}})
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    for number in range(readers):
        version = 5 if number % 2 else 4
        stopped = raw(broker.port, receive_buffer=4096).login(version, keep_alive=600)
        stopped.send(wire.subscribe([ALL], version, qos=number // 2 % 2))
        assert stopped.read()[0] == 0x90
    listener = raw(broker.port).login(4, keep_alive=600)
    listener.send(wire.subscribe([ALL], version=4, qos=0))
    assert listener.read()[0] == 0x90
    publisher = raw(broker.port).login(5, user=b"partner", password=b"partner")
    size, window = 50_000, 50
    count = megabytes * 1_000_000 // size
    topic = wnm.topic_of(DWD)
    heard = []

    def listen():
        while len(heard) < count:
            found = listener.read()
            if not found:
                return
            heard.append(found[1][2 + len(topic):][:8])
    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    most = most_sockets = 0
    for number in range(count):
        payload = struct.pack(">Q", number) + b"x" * (size - 8)
        publisher.send(wire.publish(topic, payload, qos=1, packet_id=number % window + 1))
        if number >= window - 1:
            assert publisher.read()[0] == 0x40
        if number % 500 == 0:
            most = max(most, broker.process.rss_anon())
            most_sockets = max(most_sockets, socket_bytes(broker.port))
    reader.join(30 * patience())
    most = max(most, broker.process.rss_anon())
    assert heard == [struct.pack(">Q", number) for number in range(count)]
    bound = 64 * 2**20 + readers * 16 * 1024
    assert most < bound, f"{most / 2**20:.1f} MiB of {bound / 2**20:.1f} allowed"
    bound = 64 * 2**20 + readers * 3 * 64 * 1024
    assert 0 < most_sockets < bound, \
        f"sockets: {most_sockets / 2**20:.1f} MiB of {bound / 2**20:.1f} allowed"
    assert broker.metric("isobar_connections") == readers + 2, "nobody was thrown out"
