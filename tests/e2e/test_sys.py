"""$SYS: what the broker tells about itself, and to whom."""
import json
import struct

import pytest

from harness import wire
from harness.clients import V4, V5
from harness.process import wait_until
from harness.wire import Wire

ACCOUNTS = [
    {"user": "ops", "password": "ops", "admin": True, "session_expiry": "1h"},
    {"user": "named", "password": "named", "read": ["$SYS/broker/uptime", "$SYS/broker/clients/#"]},
    {"user": "all", "password": "all", "read": ["#"], "write": ["#", "$SYS/#"]},
]


@pytest.fixture
def broker(gb):
    return gb(accounts=ACCOUNTS)


def login(broker, user, version=5):
    name = user.encode()
    return Wire(broker.port).login(version=version, user=name, password=name)


def codes(connection, *filters):
    connection.send(wire.subscribe(filters, qos=1))
    first, body = connection.read()
    assert first == 0x90
    return list(body[3:])


RIGHTS = [
    ("ops", "$SYS/#", 1), ("ops", "$SYS/broker/uptime", 1),
    ("named", "$SYS/broker/uptime", 1), ("named", "$SYS/broker/clients/total", 1),
    ("named", "$SYS/#", 0x87), ("all", "$SYS/#", 0x87), ("all", "$SYS/broker/uptime", 0x87),
    ("all", "#", 1),
]


def test_only_who_is_named_or_an_administrator_may_read_it(broker):
    for user, asked, wanted in RIGHTS:
        connection = login(broker, user)
        assert codes(connection, asked) == [wanted], (user, asked)
        connection.end()


@pytest.mark.parametrize("version", [V4, V5], ids=["3.1.1", "5"])
def test_a_subscriber_gets_the_figures_at_once_and_when_they_change(version, broker, subscriber):
    one = subscriber(broker.port, "$SYS/#", user="ops", password="ops", version=version)
    one.wait(lambda: {"$SYS/broker/version", "$SYS/broker/uptime", "$SYS/broker/isobar/lost/total"}
             <= {m.topic for m in one.messages})
    got = {}
    for m in one.messages:
        got.setdefault(m.topic.removeprefix("$SYS/broker/"), m.payload.decode())
    assert all(m.retain for m in one.messages)
    assert got["version"].startswith("isobar ") and got["uptime"].endswith(" seconds")
    assert (got["clients/connected"], got["clients/total"], got["clients/disconnected"]) == (
        "1", "1", "0")
    assert got["retained messages/count"] == "0" and got["subscriptions/count"] == "0"
    assert int(got["messages/received"]) >= 1 and "load/publish/sent/1min" in got
    one.messages.clear()
    one.wait(lambda: any(m.topic == "$SYS/broker/subscriptions/count" and m.payload == b"1"
                         and not m.retain for m in one.messages), 25)
    assert "$SYS/broker/version" not in {m.topic for m in one.messages}


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("flags", [0, 1])
def test_nobody_may_publish_there(flags, version, broker):
    connection = login(broker, "all", version)
    connection.send(wire.publish("$SYS/broker/uptime", b"x", version, qos=1, flags=flags))
    answer = connection.read()
    assert answer is None if version == 4 else answer == (0x40, struct.pack(">H", 1) + b"\x87")
    connection.end()


def test_a_wildcard_subscriber_hears_nothing_of_it(broker, subscriber):
    """[MQTT-4.7.2-1]."""
    wide = subscriber(broker.port, "#", "+/#", user="all", password="all")
    ops = subscriber(broker.port, "$SYS/#", user="ops", password="ops")
    ops.wait_count(10)
    wide.flush([wide.paho.publish("sandbox/x", b"fence", 1).mid])
    assert [m.topic for m in wide.wait_count(1)] == ["sandbox/x"]


def test_figures_are_not_stored(broker, subscriber):
    subscriber(broker.port, "$SYS/#", user="ops", password="ops").wait_count(10)
    assert broker.metric("isobar_retained_messages") == 0
    broker.kill()
    broker.start()
    assert broker.metric("isobar_retained_messages") == 0


def test_what_a_session_lost_is_told(gb, client, subscriber):
    broker = gb(accounts=ACCOUNTS, config={"journal": {"size": "64MiB"}})
    away = client(broker.port, user="all", password="all", client_id="late \"one\"", clean=False,
                  expiry=600)
    away.subscribe("sandbox/#")
    away.disconnect()
    sender = login(broker, "all")
    payload = b"p" * 200000
    for n in range(400):
        sender.send(wire.publish("sandbox/x", payload, qos=1, packet_id=n % 100 + 1))
        assert sender.read()[0] == 0x40
    broker.wait_metric("isobar_journal_bytes", lambda size: size < 72 << 20)
    ops = subscriber(broker.port, "$SYS/broker/isobar/lost", user="ops", password="ops")
    back = client(broker.port, user="all", password="all", client_id="late \"one\"", clean=False,
                  expiry=600)
    told = json.loads(ops.wait_count(1)[0].payload)
    assert told["client_id"] == "late \"one\"" and 0 < told["wanted"] <= told["records"] < 400
    wait_until(lambda: len(back.messages) + sum(json.loads(m.payload)["wanted"]
                                                for m in ops.messages) == 400)
