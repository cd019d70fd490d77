"""Limits on connections, sessions and logins, and what a client over one of them is told."""
import struct
import subprocess
import time

import pytest

from harness.kept import kept
from harness.process import wait_quick, wait_until
from harness.wire import DISCONNECT, Wire, connect, packet, publish, subscribe

QUOTA, TOO_FAST, BAD_LOGIN, BAD_ID = 0x97, 0x9F, 0x86, 0x85
HERE, THERE = "127.0.0.1", "127.0.0.2"
EVERYONE = {"user": "everyone", "password": "everyone", "read": ["#"]}


def hashed(password):
    return subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password,
                          capture_output=True, text=True, check=True).stdout.strip()


wire = kept(Wire)


@pytest.fixture
def answer(wire):
    """answer(port, ...): the reason code of CONNACK, None: closed without one; and the Wire."""
    def make(port, source=HERE, host=HERE, **settings):
        made = wire(port, source=source, host=host)
        made.send(connect(**settings))
        got = made.read()
        assert got is None or got[0] == 0x20, got
        return (got[1][1] if got else None), made
    return make


def expiring(seconds):
    return b"\x11" + struct.pack(">I", seconds)


def reloaded(broker, **limits):
    """SIGHUP with other limits, and until they hold."""
    broker.config["limits"] = limits
    broker.write_config()
    mark = broker.reload()
    broker.process.wait_log(r"cli reloaded", since=mark)


# --- connections --------------------------------------------------------------

def test_connections_of_an_address_over_the_limit_are_told_so_and_others_are_not_touched(
        gb, answer):
    broker = gb(config={"limits": {"connections_per_address": 2}})
    first = answer(broker.port)
    assert first[0] == 0 and answer(broker.port)[0] == 0
    assert answer(broker.port)[0] == QUOTA
    assert answer(broker.port, version=4)[0] == 3
    assert answer(broker.port, source=THERE)[0] == 0
    first[1].end()
    broker.wait_metric("isobar_connections", 2)
    assert answer(broker.port)[0] == 0
    # more than the limit: who is there stays, and is counted
    reloaded(broker, connections_per_address=1)
    assert answer(broker.port)[0] == QUOTA
    broker.wait_metric("isobar_connections", 3)
    reloaded(broker)
    assert answer(broker.port)[0] == 0


def test_those_far_over_the_limit_of_an_address_are_closed_without_a_word(gb, answer, wire):
    broker = gb(config={"limits": {"connections_per_address": 1}})
    assert answer(broker.port)[0] == 0
    silent = wire(broker.port)      # is to be told, but does not say CONNECT
    broker.wait_metric("isobar_connections", 2)
    assert answer(broker.port)[0] is None
    silent.end()
    broker.wait_metric("isobar_connections", 1)
    assert answer(broker.port)[0] == QUOTA


def test_connecting_too_fast_is_refused_as_such(gb, answer):
    broker = gb(config={"limits": {"connect_rate_per_address": 2}})
    codes = []

    def is_refused():
        codes.append(answer(broker.port)[0])
        return codes[-1] == TOO_FAST
    wait_until(is_refused, pause=0)
    assert codes[:2] == [0, 0] and set(codes) == {TOO_FAST, 0}
    assert answer(broker.port, source=THERE)[0] == 0
    wait_until(lambda: answer(broker.port)[0] == 0, what=lambda: "a second later")


def test_connections_in_all_are_limited(gb, answer):
    broker = gb(config={"limits": {"connections": 2}})
    assert [answer(broker.port)[0] for _ in range(3)] == [0, 0, QUOTA]
    assert answer(broker.port, version=4)[0] == 3


# --- sessions -----------------------------------------------------------------

def test_sessions_that_last_are_limited_by_account_and_others_are_not(gb, answer):
    broker = gb(accounts=[EVERYONE, dict(EVERYONE, user="other")],
                config={"limits": {"sessions_per_account": 2}})

    def keep(name, user=b"everyone", seconds=60):
        return answer(broker.port, client_id=name, user=user, properties=expiring(seconds))[0]
    assert [keep("a"), keep("b"), keep("c")] == [0, 0, QUOTA]
    assert keep("c", seconds=0) == 0
    assert answer(broker.port, version=4, client_id="d", flags=0xC0)[0] == 3
    assert answer(broker.port, version=4, client_id="d")[0] == 0    # clean session
    assert keep("c2", user=b"other") == 0
    assert keep("a") == 0, "a session that is there may be taken up"
    assert keep("a", seconds=0) == 0 and broker.metric("isobar_sessions") >= 4
    reloaded(broker, sessions_per_account=3)
    assert keep("e") == 0


def test_sessions_that_last_are_limited_in_all(gb, answer):
    broker = gb(accounts=[EVERYONE, dict(EVERYONE, user="other")],
                config={"limits": {"sessions": 2}})
    for user, code in ((b"everyone", 0), (b"other", 0), (b"other", QUOTA)):
        name = f"x{code}{user!r}"
        got = answer(broker.port, client_id=name, user=user, properties=expiring(60))
        assert got[0] == code
    # the place of one that ends is free again; an end needs the session to be taken up
    answer(broker.port, client_id="x0b'other'", user=b"other", properties=expiring(0))[1].end()
    broker.wait_metric("isobar_sessions", 1)
    assert answer(broker.port, client_id="new", properties=expiring(60))[0] == 0


def leave(answer, broker, name, source=HERE):
    code, made = answer(broker.port, source=source, client_id=name, properties=expiring(600))
    assert code == 0
    made.send(DISCONNECT)
    made.read_all()


def test_an_address_leaves_so_many_sessions_behind_then_the_oldest_ends(gb, wire, answer):
    broker = gb(config={"limits": {"sessions_per_address": 2}})

    def is_there(name):
        made = wire(broker.port)
        made.send(connect(client_id=name, flags=0xC0, properties=expiring(600)))
        got = made.read()
        assert got[1][1] == 0
        return got[1][0] == 1
    for count, name in enumerate(("a", "b", "c"), 1):
        leave(answer, broker, name)
        broker.wait_metric("isobar_sessions_offline", min(count, 2))
    leave(answer, broker, "elsewhere", THERE)
    broker.wait_metric("isobar_sessions_offline", 3)
    broker.process.wait_log("session-ended client_id=.?a.? why=.limits.sessions_per_address")
    broker.stop()
    broker.start()
    assert broker.metric("isobar_sessions_offline") == 3
    leave(answer, broker, "d")      # the address is known over a restart
    broker.wait_metric("isobar_sessions_offline", 3)
    assert is_there("d") and not is_there("a")


def test_a_client_identifier_is_its_addresss_when_the_account_says_so(gb, answer, wire):
    scoped = dict(EVERYONE, client_id_scope="address")
    broker = gb(accounts=[scoped, dict(EVERYONE, user="open")])
    leave(answer, broker, "kept")
    code, live = answer(broker.port, client_id="live")
    assert code == 0
    for name in ("kept", "live"):
        assert answer(broker.port, source=THERE, client_id=name)[0] == BAD_ID
        assert answer(broker.port, source=THERE, client_id=name, version=4)[0] == 2
    broker.stop()
    broker.start()
    for _ in range(4):      # whichever worker owns it
        assert answer(broker.port, source=THERE, client_id="kept")[0] == BAD_ID
    assert answer(broker.port, client_id="kept", properties=expiring(600))[0] == 0
    assert answer(broker.port, client_id="live", user=b"open")[0] == 0
    assert answer(broker.port, source=THERE, client_id="live", user=b"open")[0] == 0


# --- logins -------------------------------------------------------------------

def test_failed_logins_are_answered_ever_later_but_what_is_public_is_not(gb, answer):
    broker = gb(accounts=[EVERYONE, {"user": "secret", "password_hash": hashed("right")}])

    def login(password, user=b"secret", source=HERE):
        begun = time.monotonic()
        code = answer(broker.port, user=user, password=password, source=source)[0]
        return code, time.monotonic() - begun
    assert login(b"right") [0] == 0
    took = []
    for user in (b"secret", b"nobody", b"everyone", b"secret", b"secret"):
        code, seconds = login(b"wrong", user)
        assert code == BAD_LOGIN
        took.append(seconds)
    assert took[0] >= 0.1 and took[2] >= 0.2 and took[4] >= 0.8, took
    code, seconds = login(b"right")
    assert code == 0 and seconds >= 1.6, "a right guess is not told sooner"
    assert wait_quick(lambda: login(b"right", source=THERE), 1.6)[0] == 0
    assert wait_quick(lambda: login(b"everyone", b"everyone"), 1.6)[0] == 0
    assert login(b"right\0", source=THERE)[0] == BAD_LOGIN


def test_an_account_gets_a_lower_qos_and_expiry_than_asked_and_is_told(gb, wire):
    broker = gb(accounts=[dict(EVERYONE, max_qos=1, session_expiry="1h")])
    made = wire(broker.port)
    made.send(connect(client_id="a", properties=expiring(86400)))
    first, body = made.read()
    assert first == 0x20 and body[1] == 0
    assert b"\x11" + struct.pack(">I", 3600) in body
    assert b"\x24\x01" not in body[2:], "it may publish at QoS 2, so no maximum is named"
    made.send(subscribe(["a/b"], qos=2))
    assert made.read() == (0x90, b"\0\1\0\1")


def test_what_connack_named_holds_over_a_reload_for_who_was_told(gb, wire):
    broker = gb(accounts=[dict(EVERYONE, write=["t/#"])])

    def login():
        made = wire(broker.port)
        made.send(connect())
        body = made.read()[1]
        assert body[1] == 0
        return made, body[2:]
    made, named = login()
    assert b"\x21\x00\x64" in named and b"\x27" + struct.pack(">I", 256 << 10) in named
    reloaded(broker, receive_maximum=1, packet_size="1KiB")
    for i in range(1, 6):       # five are open towards the broker
        made.send(publish("t/a", b"x" * 5000, qos=2, packet_id=i))
        assert made.read() == (0x50, struct.pack(">H", i)), "no DISCONNECT"
    other, named = login()
    assert b"\x21\x00\x01" in named and b"\x27" + struct.pack(">I", 1024) in named
    other.send(publish("t/a", b"x", qos=2, packet_id=1))
    assert other.read()[0] == 0x50
    other.send(publish("t/a", b"x", qos=2, packet_id=2))
    first, body = other.read()
    assert first == 0xE0 and body[0] == 0x93
    made.send(packet(0x62, b"\0\1"))
    assert made.read()[0] == 0x70
