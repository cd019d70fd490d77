"""Sessions follow their clients from node to node, on a real Redis Cluster."""
import json
import signal
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from harness import notifications as wnm
from harness import wire
from harness.clients import V4, V5
from harness.process import wait_until

DWD = "de-dwd"
ALL = "origin/a/wis2/#"
PARTNER = {"user": "partner", "password": "partner", "read": ["#"], "max_qos": 2,
           "write": ["origin/a/wis2/#", "free/#"], "session_expiry": "1h"}
NODES = {"accounts": [PARTNER]}
VERSIONS = pytest.mark.parametrize("version", [V4, V5], ids=["3.1.1", "5"])
LASTING = b"\x11" + struct.pack(">I", 3600)     # session expiry interval
QOS = pytest.mark.parametrize("qos", [1, 2])


@pytest.fixture
def session(client):
    """session(broker, present, **options): connected as the client "roamer", for ever."""
    def make(broker, present, version=V5, name="roamer", clean=False, **options):
        if version == V5:
            options.setdefault("expiry", 3600)
        made = client(broker.port, user="partner", password="partner", version=version,
                      client_id=name, clean=clean, **options)
        assert made.connects[-1] == (0, present), made.connects
        return made
    return make


@pytest.fixture
def publish(client):
    def publish(broker, first, count):
        messages = [wnm.valid(DWD, first + i) for i in range(count)]
        publisher = client(broker.port, user="partner", password="partner")
        publisher.publish_all(messages)
        publisher.disconnect()
        return messages
    return publish


def ids(messages):
    return Counter(json.loads(m.payload)["id"] for m in messages)


def wait_all(clients, messages):
    """Until the clients together have all; how often each came."""
    wanted = ids(messages).keys()

    def got():
        return ids([m for c in clients for m in c.messages])
    wait_until(lambda: wanted <= got().keys(), 20,
               lambda: f"{len(wanted - got().keys())} of {len(wanted)} missing")
    assert got().keys() == wanted
    return got()


@VERSIONS
@QOS
def test_what_waited_on_one_node_is_delivered_by_another(version, qos, nodes, session, publish):
    one, two = nodes(2)
    first = session(one, False, version)
    assert first.subscribe(ALL, qos=qos) in ([qos], [min(qos, 2)])
    sent = publish(one, 0, 50)
    wait_all([first], sent)
    first.disconnect()
    sent += publish(two, 50, 100)
    second = session(two, True, version)
    sent += publish(one, 150, 20)
    assert set(wait_all([first, second], sent).values()) == {1}
    second.disconnect()
    sent += publish(two, 170, 30)
    third = session(one, True, version)
    assert set(wait_all([first, second, third], sent).values()) == {1}


def test_who_connects_elsewhere_takes_over(nodes, session, publish):
    one, two = nodes(2)
    first = session(one, False)
    first.subscribe(ALL)
    sent = publish(one, 0, 50)
    wait_all([first], sent)
    one.wait_metric("isobar_acknowledged_total", 50)
    second = session(two, True)
    assert first.wait_disconnected() == 0x8E
    first.paho.loop_stop()
    sent += publish(one, 50, 50)
    assert set(wait_all([first, second], sent).values()) == {1}
    wait_until(lambda: one.metric("isobar_sessions") == 0, what="the session's end on node 1")


def test_a_session_that_does_not_last_is_taken_over_as_well(nodes, session):
    one, two = nodes(2)
    first = session(one, False, expiry=0)
    second = session(two, False, expiry=0)
    assert first.wait_disconnected() == 0x8E
    first.paho.loop_stop()
    third = session(one, False, expiry=0)
    assert second.wait_disconnected() == 0x8E
    second.paho.loop_stop()
    third.disconnect()


def test_a_clean_start_elsewhere_forgets(nodes, session, publish):
    one, two = nodes(2)
    first = session(one, False)
    first.subscribe(ALL)
    first.disconnect()
    publish(one, 0, 10)
    second = session(two, False, clean=True)
    second.subscribe("free/#")
    second.disconnect()
    third = session(one, True)
    sent = publish(one, 10, 5)
    witness = session(two, False, name="witness")
    witness.subscribe(ALL)
    sent = publish(one, 15, 5)
    wait_all([witness], sent)
    assert not third.messages


@VERSIONS
def test_nothing_is_lost_when_the_node_of_a_client_is_killed(version, nodes, session, client):
    one, two = nodes(2)
    first = session(one, False, version)
    first.subscribe(ALL)
    publisher = client(two.port, user="partner", password="partner")
    sent, stop = [], threading.Event()

    def feed():
        while not stop.wait(0.002):
            message = wnm.valid(DWD, len(sent))
            sent.append((message, publisher.publish(message)))
    feeding = threading.Thread(target=feed, daemon=True)
    feeding.start()
    wait_until(lambda: len(first.messages) > 800)
    one.kill()
    first.paho.loop_stop()
    had = len(first.messages)
    second = session(two, True, version)
    wait_until(lambda: len(second.messages) > 300)
    stop.set()
    feeding.join()
    publisher.flush([mid for _, mid in sent])
    counts = wait_all([first, second], [m for m, _ in sent])
    repeats = sum(counts.values()) - len(counts)
    print(f"{had} before the kill, {repeats} repeats")
    assert repeats <= 1500, "at most some seconds of repeats"


WEEK_MS = 7 * 86400000
SESSION = b"isobar:session:partner\0roamer"


def row_in(redis):
    """Of the client "roamer"; its first byte says of what kind (src/broker/passport.h)."""
    return redis.ask(SESSION, "hget", SESSION, "row") or b""


def test_who_was_away_while_his_client_was_elsewhere_does_not_go_on_from_his_own_rows(
        nodes, session, publish, redis):
    one, two = nodes(2)
    first = session(one, False)
    first.subscribe(ALL)
    sent = publish(one, 0, 30)
    wait_all([first], sent)
    first.disconnect()
    wait_until(lambda: row_in(redis)[:1] == b"E", what="the row of a client that has gone")
    one.kill()
    second = session(two, True)
    sent += publish(two, 30, 30)
    wait_all([first, second], sent)
    second.disconnect()
    one.start()
    one.wait_degraded("")
    sent += publish(two, 60, 10)
    third = session(one, True)
    assert set(wait_all([first, second, third], sent).values()) == {1}


@contextmanager
def out_of_reach(redis, *nodes):
    for instance in redis.nodes:
        instance.process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for instance in redis.nodes:
            instance.process.signal(signal.SIGCONT)
    for node in nodes:
        node.wait_degraded("")


def test_a_subscription_that_was_answered_is_found_elsewhere(nodes, session, redis):
    one, two = nodes(2)
    for number in range(5):
        name = f"roamer-{number}"
        first = session(one, False, name=name)
        first.subscribe(ALL)
        key = b"isobar:session:partner\0" + name.encode()
        assert b"origin/a/wis2/#" in redis.master_of(key).command("hget", key, "row")


def test_a_session_made_without_redis_is_found_elsewhere_when_redis_is_back(
        nodes, session, redis, publish):
    one, two = nodes(2)
    with out_of_reach(redis, one, two):
        first = session(one, False, clean=True)
        first.subscribe(ALL)
    wait_until(lambda: row_in(redis), what="the session's row")
    one.kill()
    first.paho.loop_stop()
    sent = publish(two, 0, 10)
    second = session(two, True)
    wait_all([second], sent)


def test_of_two_sessions_made_without_redis_the_later_counts(nodes, session, redis, publish):
    one, two = nodes(2)
    with out_of_reach(redis, one, two):
        first = session(one, False, clean=True)
        first.subscribe("free/#")
        time.sleep(0.2)
        second = session(two, False, clean=True)
        second.subscribe(ALL)
    assert first.wait_disconnected() == 0x8E
    first.paho.loop_stop()
    wait_until(lambda: b"origin/a/wis2/#" in row_in(redis), what="the row of the later one")
    wait_until(lambda: one.metric("isobar_sessions") == 0, what="the end of the earlier one")
    sent = publish(one, 0, 10)
    wait_all([second], sent)


def test_what_a_client_that_does_not_last_leaves_behind_goes(nodes, session, redis):
    [one] = nodes(1)
    first = session(one, False, expiry=0)
    assert 0 < int(redis.master_of(SESSION).command("pttl", SESSION)) <= 86400000
    one.kill()
    first.paho.loop_stop()
    one.start()
    one.wait_degraded("")
    session(one, False).subscribe(ALL)
    assert int(redis.master_of(SESSION).command("pttl", SESSION)) > WEEK_MS


def test_a_session_whose_node_never_returns_is_forgotten_a_week_after_its_expiry(nodes, session, redis):
    """Redis is told how long when its client connects, and again and again while he is; the clock is
    set forward by hand."""
    one, two = nodes(2)
    session(one, False, expiry=3600).subscribe(ALL)
    ttl = int(redis.master_of(SESSION).command("pttl", SESSION))
    assert WEEK_MS < ttl <= WEEK_MS + 3600000
    one.kill()
    redis.master_of(SESSION).command("pexpire", SESSION, 1)
    wait_until(lambda: int(redis.master_of(SESSION).command("exists", SESSION)) == 0, what="it to be gone")
    anew = session(two, False, expiry=3600)     # not what was there
    anew.subscribe(ALL)
    assert b"origin/a/wis2/#" in row_in(redis)


def test_clients_are_served_while_redis_is_out_of_reach(nodes, session, client, redis, publish):
    one, two = nodes(2)
    first = session(one, False)
    first.subscribe(ALL)
    sent = publish(one, 0, 10)
    wait_all([first], sent)
    first.disconnect()
    for instance in redis.nodes:
        instance.process.signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        again = session(one, True)
        print(f"connected after {time.monotonic() - begun:.1f} s")
        again.disconnect()
        session(one, False, name="passer-by", clean=True, expiry=0).disconnect()
        # A new session here would lose what the client has left elsewhere.
        other = client(two.port, user="partner", password="partner", client_id="roamer",
                       clean=False, expiry=3600, connect=False)
        assert other.refused() == 0x89
    finally:
        for instance in redis.nodes:
            instance.process.signal(signal.SIGCONT)
    one.wait_degraded("")
    two.wait_degraded("")
    sent += publish(one, 10, 10)
    last = session(one, True)
    wait_all([first, again, last], sent)


def test_a_node_ends_cleanly_whatever_its_clients_still_wait_for(nodes, session, redis, keeper):
    [one] = nodes(1)
    session(one, False, name="there", expiry=3600).disconnect()
    over = threading.Event()

    def come(number):
        """CONNECT after CONNECT, and SUBSCRIBE, none of which Redis answers."""
        while not over.is_set():
            made = None
            try:
                made = wire.Wire(one.port)
                made.send(wire.connect(client_id=f"{number}", user=b"partner", password=b"partner",
                                       properties=LASTING))
                if made.read():
                    made.send(wire.subscribe([ALL]))
                    made.socket.settimeout(0.2)
                    made.read_all()
            except OSError:
                time.sleep(0.02)
            if made:
                made.end()
    with out_of_reach(redis):
        crowd = [threading.Thread(target=come, args=(i,)) for i in range(8)]
        for thread in crowd:
            thread.start()
        try:
            one.process.wait_log("cluster degraded")
            one.stop()
        finally:
            over.set()
            for thread in crowd:
                thread.join()
