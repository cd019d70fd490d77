"""What clients with write rights are told of what they publish: every rule, every right."""
import pytest

from harness import notifications as wnm
from harness import wire

DWD = "de-dwd"
WRITER = {"user": "writer", "password": "writer", "read": ["#"],
          "write": ["origin/a/wis2/#", "free/#", "own/%u/#"], "deny": ["free/closed/#"]}
TOPIC_INVALID, PAYLOAD_INVALID, DENIED = 0x90, 0x99, 0x87


@pytest.fixture
def writer(keeper):
    def make(broker, **settings):
        made = wire.Wire(broker.port)
        keeper.keep(made.end)
        return made.login(user=b"writer", password=b"writer", **settings)
    return make


def told(connection, topic, payload, qos):
    """Reason code and reason string of PUBACK or PUBREC."""
    connection.send(wire.publish(topic, payload, 5, qos, 9))
    first, body = connection.read()
    assert first == (0x40 if qos == 1 else 0x50) and body[:2] == b"\0\x09", (first, body)
    if len(body) == 2:
        return 0, ""
    assert body[3:4] == b"" or body[4:5] == b"\x1f", body
    return body[2], body[7:].decode("utf-8")


@pytest.mark.parametrize("qos", [1, 2])
def test_every_broken_rule_is_named_with_its_reason_code(qos, gb, writer, subscriber):
    broker = gb(accounts=[WRITER])
    listener = subscriber(broker.port, "origin/a/wis2/#", user="writer", password="writer")
    connection = writer(broker)
    wrong = []
    for row in wnm.BROKEN_PAYLOADS:
        message = wnm.broken_payload(DWD, row)
        code, text = told(connection, message.topic, message.payload, qos)
        if code != PAYLOAD_INVALID or not text.startswith(row[1] + ": "):
            wrong.append((row[0], row[1], hex(code), text))
    for tail, rule in wnm.BROKEN_TAILS:
        message = wnm.broken_topic(DWD, tail)
        code, text = told(connection, message.topic, message.payload, qos)
        if code != TOPIC_INVALID or not text.startswith(rule + ": "):
            wrong.append((tail, rule, hex(code), text))
    assert not wrong, wrong
    refused = len(wnm.BROKEN_PAYLOADS) + len(wnm.BROKEN_TAILS)
    broker.wait_metric("isobar_client_publishes_refused_total", refused)
    good = wnm.valid(DWD)
    assert told(connection, good.topic, good.payload, qos)[0] == 0
    assert [m.payload for m in listener.wait_count(1)] == [good.payload], "and nothing else"


@pytest.mark.parametrize("qos", [1, 2])
def test_rights_to_write_are_held_topic_by_topic(qos, gb, writer, client):
    broker = gb(accounts=[WRITER])
    connection = writer(broker, client_id="")
    for topic, code in (("free/a", 0), ("free", 0), ("free/closed/a", DENIED),
                        ("own/writer/a", 0), ("own/other/a", DENIED), ("else/a", DENIED),
                        ("cache/a/wis2/de-dwd/metadata", DENIED), ("$SYS/a", DENIED)):
        assert told(connection, topic, b"x", qos)[0] == code, topic
        if code == 0 and qos == 2:
            connection.send(wire.packet(0x62, b"\0\x09"))
            assert connection.read()[0] == 0x70
    broker.wait_metric("isobar_client_publishes_refused_total", 5)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("what, stays", [("topic", True), ("payload", True), ("right", False)])
def test_of_a_publisher_of_311_a_bad_message_is_acknowledged_and_counted_but_not_published(
        what, stays, qos, gb, writer, subscriber):
    """It has no words for why, and would send it again for ever; who may not publish is closed."""
    broker = gb(accounts=[WRITER])
    listener = subscriber(broker.port, "origin/#", user="writer", password="writer")
    good = wnm.valid(DWD)
    bad = {"topic": wnm.broken_topic(DWD, wnm.BROKEN_TAILS[0][0]),
           "payload": wnm.broken_payload(DWD, wnm.BROKEN_PAYLOADS[0]),
           "right": wnm.valid(DWD, 1, channel="cache")}[what]
    connection = writer(broker, version=4)
    connection.send(wire.publish(good.topic, good.payload, 4, qos, 8)
                    + wire.publish(bad.topic, bad.payload, 4, qos, 9) + wire.PINGREQ)
    first = {1: 0x40, 2: 0x50}.get(qos)
    if stays:
        answers = [connection.read() for _ in range(3 if qos else 1)]
        acks = [(first, b"\0\x08"), (first, b"\0\x09")] if qos else []
        assert sorted(answers) == sorted(acks + [(0xD0, b"")])
    else:
        assert connection.read_all() in ([], [(first, b"\0\x08")])
    listener.wait_count(1)
    broker.wait_metric("isobar_client_publishes_refused_total", 1)
    assert [m.payload for m in listener.messages] == [good.payload]


def test_at_qos_0_a_refused_message_is_counted_and_the_connection_stays(gb, writer):
    broker = gb(accounts=[WRITER])
    connection = writer(broker)
    connection.send(wire.publish("else/a", b"x", 5) + wire.PINGREQ)
    assert connection.read()[0] == 0xD0
    broker.wait_metric("isobar_client_publishes_refused_total", 1)
