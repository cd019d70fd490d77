"""An account's limits on what is sent to it: how far a session may lag, how fast it is served."""
import time

import pytest

from harness.clients import V4, V5
from harness.kept import kept
from harness.process import wait_until
from harness.wire import DISCONNECT, Wire, publish, subscribe

WRITER = {"user": "writer", "password": "writer", "read": ["#"], "write": ["t/#"]}
SLOW = {"user": "slow", "password": "slow", "read": ["t/#"]}


wire = kept(Wire)


@pytest.fixture
def send(wire):
    """send(broker, topic, first, count): numbered messages, taken by the broker on return."""
    def make(broker, topic, first, count, size=0):
        writer = wire(broker.port).login(user=b"writer", password=b"writer")
        writer.send(b"".join(publish(topic, b"%d." % i + b"x" * size)
                             for i in range(first, first + count)))
        writer.send(publish(topic + "/end", qos=1, packet_id=7))
        assert writer.read()[0] == 0x40
        writer.send(DISCONNECT)
    return make


def numbers(messages):
    return [int(m.payload.split(b".")[0]) for m in messages]


def slow(client, broker, version=V5, **settings):
    return client(broker.port, version, user="slow", password="slow", client_id="slow",
                  clean=False, **({"expiry": 600} if version == V5 else {}), **settings)


@pytest.mark.parametrize("version", [V4, V5])
def test_who_was_away_gets_the_newest_of_its_backlog_and_the_rest_is_counted(
        version, gb, client, send):
    broker = gb(accounts=[WRITER, dict(SLOW, backlog=100)])
    session = slow(client, broker, version)
    session.subscribe("t/a", qos=1)
    session.disconnect()
    for first in range(0, 12000, 3000):     # other topics are nothing it waits for
        send(broker, "t/other", first, 3000)
        send(broker, "t/a", first // 3000 * 100, 100)
    session.connect()
    session.wait_count(100)
    assert numbers(session.messages) == list(range(300, 400))
    assert broker.metric("isobar_dropped_total", reason="backlog") == 300
    broker.process.wait_log(r"session-over-backlog client_id=.?slow.? dropped=300 backlog=100")
    send(broker, "t/a", 400, 5)     # and it goes on live
    session.wait_count(105)
    assert numbers(session.messages) == list(range(300, 405))
    assert broker.metric("isobar_dropped_total", reason="backlog") == 300


def test_who_has_no_more_waiting_than_its_backlog_loses_nothing(gb, client, send):
    broker = gb(accounts=[WRITER, dict(SLOW, backlog=100)])
    session = slow(client, broker)
    session.subscribe("t/a", qos=1)
    session.disconnect()
    send(broker, "t/other", 0, 20000)
    send(broker, "t/a", 0, 100)
    session.connect()
    session.wait_count(100)
    assert numbers(session.messages) == list(range(100))
    assert broker.metric("isobar_dropped_total", reason="backlog") == 0


def test_a_backlog_set_on_reload_holds_for_sessions_there_are(gb, client, send):
    broker = gb(accounts=[WRITER, SLOW])
    session = slow(client, broker)
    session.subscribe("t/a", qos=1)
    session.disconnect()
    send(broker, "t/a", 0, 50)
    import json
    with open(broker.config["accounts_file"], "w", encoding="utf-8") as f:
        json.dump([WRITER, dict(SLOW, backlog=20)], f)
    broker.process.wait_log("cli reloaded", since=broker.reload())
    session.connect()
    session.wait_count(20)
    assert numbers(session.messages) == list(range(30, 50))


def test_a_reader_that_stands_still_loses_its_oldest_and_nobody_elses(gb, wire, send, subscriber):
    broker = gb(accounts=[WRITER, dict(SLOW, backlog=50)],
                config={"limits": {"send_buffer": "4KiB"}})
    other = subscriber(broker.port, "t/a", user="writer", password="writer", qos=0)
    made = wire(broker.port, receive_buffer=4096)
    made.login(user=b"slow", password=b"slow")
    made.send(subscribe(["t/a"]))
    assert made.read()[0] == 0x90
    send(broker, "t/a", 0, 3000, 1000)
    other.wait_count(3000, 30)
    got = []
    while not got or got[-1] != 2999:
        first, body = made.read()
        got.append(int(body[6:].split(b".")[0]))
    lost = broker.metric("isobar_dropped_total", reason="backlog")
    assert got == sorted(set(got)) and got[-50:] == list(range(2950, 3000))
    assert len(got) + lost == 3000 and lost > 0


@pytest.mark.parametrize("limits, bytes_each", [
    ({"messages_per_second": 40}, 10), ({"bytes_per_second": "40KiB"}, 1000)])
def test_an_account_over_its_rate_falls_behind_and_loses_nothing(
        limits, bytes_each, gb, client, send, subscriber):
    broker = gb(accounts=[WRITER, dict(SLOW, limits=limits)])
    other = subscriber(broker.port, "t/a", user="writer", password="writer")
    slow_ones = [client(broker.port, user="slow", password="slow") for _ in range(2)]
    for one in slow_ones:
        one.subscribe("t/a", qos=1)
    most = []
    for last in range(60, 361, 60):     # again where the machine stood still
        begun = time.monotonic()
        send(broker, "t/a", last - 60, 60, bytes_each)
        other.wait_count(last)
        held = time.monotonic() - begun
        for one in slow_ones:
            one.wait_count(last)
            assert numbers(one.messages) == list(range(last))
        # 120 in all, of which a second's worth (40) at once
        assert time.monotonic() - begun > 1.8
        most.append(max(held, abs(slow_ones[0].messages[-1].at - slow_ones[1].messages[-1].at)))
        if most[-1] < 1.5:
            break
    assert min(most) < 1.5, f"others are held, or one of two starves: {most}"
    assert broker.metric("isobar_dropped_total", reason="backlog") == 0


def test_a_rate_taken_back_on_reload_lets_those_who_wait_go(gb, client, send):
    import json
    broker = gb(accounts=[WRITER, dict(SLOW, limits={"messages_per_second": 1})])
    session = client(broker.port, user="slow", password="slow")
    session.subscribe("t/a", qos=1)
    send(broker, "t/a", 0, 500)
    session.wait_count(1)
    wait_until(lambda: broker.metric("isobar_sessions_behind") == 1)
    with open(broker.config["accounts_file"], "w", encoding="utf-8") as f:
        json.dump([WRITER, SLOW], f)
    broker.process.wait_log("cli reloaded", since=broker.reload())
    session.wait_count(500)
    assert numbers(session.messages) == list(range(500))
    broker.wait_metric("isobar_sessions_behind", 0)
