"""Wills: published on every end of a connection but DISCONNECT 0x00, after their delay, with their
properties, and only as far as the account may publish."""
import struct
import time

import pytest

from harness import wire
from harness.clients import V4, V5, properties
from harness.wire import Wire

OWNER = {"user": "owner", "password": "owner", "read": ["sandbox/#", "origin/a/wis2/#"],
         "write": ["sandbox/#", "origin/a/wis2/#"]}
READER = {"user": "everyone", "password": "everyone", "read": ["sandbox/#"]}
ACCOUNTS = [OWNER, READER]
TOPIC = "sandbox/will"


def long(value):
    return struct.pack(">I", value)


def kept(seconds):
    return b"\x11" + long(seconds)


def delayed(seconds):
    return b"\x18" + long(seconds)


def connect(version=5, client_id="dying", user=b"owner", payload=b"gone", topic=TOPIC, qos=0,
            retain=False, clean=True, keep_alive=60, session=b"", will=b""):
    """A CONNECT with a will; `session`, `will`: their MQTT 5 properties."""
    flags = 0xC4 | (2 if clean else 0) | qos << 3 | (0x20 if retain else 0)
    body = wire.text("MQTT") + bytes([version, flags]) + struct.pack(">H", keep_alive)
    body += wire.variable(len(session)) + session if version == 5 else b""
    body += wire.text(client_id)
    body += wire.variable(len(will)) + will if version == 5 else b""
    body += wire.text(topic) + wire.text(payload) + wire.text(user) + wire.text(user)
    return wire.packet(0x10, body)


@pytest.fixture
def dying(keeper):
    """dying(broker, ...): a connection with a will."""
    def make(broker, **settings):
        connection = Wire(broker.port)
        keeper.keep(connection.end)
        answer = connection.send(connect(**settings)).read()
        assert answer and answer[0] == 0x20 and answer[1][1] == 0, answer
        connection.present = answer[1][0] == 1
        return connection
    return make


@pytest.fixture
def world(gb, subscriber, client):
    class World:
        broker = gb(accounts=ACCOUNTS)
        listener = subscriber(broker.port, "sandbox/#", user="owner", password="owner")
        sender = client(broker.port, user="owner", password="owner")
        fences = 0

        def heard(self, *payloads):
            """The listener has these, in this order."""
            self.listener.wait_count(len(payloads))
            assert [m.payload for m in self.listener.messages] == list(payloads)
            return self.listener.messages[-1] if payloads else None

        def heard_only(self, *payloads):
            """And nothing more: a fence published now comes behind."""
            self.fences += 1
            fence = b"fence %d" % self.fences
            self.sender.flush([self.sender.paho.publish("sandbox/fence", fence, 1).mid])
            self.heard(*payloads, fence)
            self.listener.messages.pop()
    return World()


def wait_gone(world):
    """The broker has seen the end of the connection with the will: the test's own two are left."""
    world.broker.wait_metric("isobar_connections", 2)


# --- every kind of end ----------------------------------------------------------


def drop(connection, version):
    connection.end()


def break_protocol(connection, version):
    connection.send(connect(version))           # a second CONNECT [MQTT-3.1.0-2]


def malform(connection, version):
    connection.send(b"\x00\x00")


ENDS = [drop, break_protocol, malform]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("version", [4, 5])
def test_a_connection_that_ends_without_disconnect_leaves_its_will(version, end, world, dying):
    """[MQTT-3.1.2-8]."""
    end(dying(world.broker, version=version), version)
    world.heard(b"gone")
    world.heard_only(b"gone")


@pytest.mark.parametrize("version", [4, 5])
def test_disconnect_takes_the_will_away(version, world, dying):
    """[MQTT-3.1.2-10], [MQTT-3.14.4-3]."""
    connection = dying(world.broker, version=version)
    connection.send(wire.DISCONNECT)
    connection.wait_closed(5)
    world.heard_only()


@pytest.mark.parametrize("reason, left", [(0x00, ()), (0x04, (b"gone",)), (0x80, (b"gone",))])
def test_disconnect_with_a_reason_says_what_becomes_of_the_will(reason, left, world, dying):
    connection = dying(world.broker)
    connection.send(wire.packet(0xE0, bytes([reason])))
    connection.wait_closed(5)
    world.heard(*left)
    world.heard_only(*left)


def test_a_client_that_falls_silent_leaves_its_will(world, dying):
    begun = time.monotonic()
    dying(world.broker, keep_alive=1).wait_closed(6)
    assert time.monotonic() - begun > 1
    world.heard(b"gone")


@pytest.mark.parametrize("version", [4, 5])
def test_a_take_over_publishes_the_will_of_the_connection_before(version, world, dying):
    dying(world.broker, version=version, payload=b"first")
    dying(world.broker, version=version, payload=b"second").send(wire.DISCONNECT).wait_closed(5)
    world.heard_only(b"first")


def test_a_stop_of_the_broker_publishes_wills_for_those_who_come_back(world, dying, subscriber):
    kept_listener = subscriber(world.broker.port, "sandbox/#", user="owner", password="owner",
                               client_id="kept", clean=False, expiry=300)
    kept_listener.disconnect()
    wait_gone(world)
    dying(world.broker, client_id="a")
    dying(world.broker, client_id="b", payload=b"later", session=kept(300), will=delayed(1))
    world.broker.end()
    world.broker.start()
    again = subscriber(world.broker.port, "sandbox/#", user="owner", password="owner",
                       client_id="kept", clean=False, expiry=300)
    again.wait_count(2)
    assert [m.payload for m in again.messages] == [b"gone", b"later"]


@pytest.mark.parametrize("version", [4, 5])
def test_a_crash_of_the_broker_leaves_the_will_of_a_session_that_lasts(version, world, dying,
                                                                      subscriber):
    listener = subscriber(world.broker.port, "sandbox/#", user="owner", password="owner",
                          client_id="kept", clean=False, expiry=300)
    dying(world.broker, version=version, clean=False, session=kept(300))
    world.broker.process.kill()
    listener.end()
    world.broker.start()
    again = subscriber(world.broker.port, "sandbox/#", user="owner", password="owner",
                       client_id="kept", clean=False, expiry=300)
    again.wait_count(1)
    world.broker.end()      # what was published once is not again
    again.end()
    world.broker.start()
    back = subscriber(world.broker.port, "sandbox/#", user="owner", password="owner",
                      client_id="kept", clean=False, expiry=300)
    dying(world.broker, client_id="other", payload=b"other").end()
    back.wait_count(1)
    assert [m.payload for m in again.messages + back.messages] == [b"gone", b"other"]


# --- delay ------------------------------------------------------------------------


def test_a_will_waits_its_delay(world, dying):
    connection = dying(world.broker, session=kept(300), will=delayed(2))
    begun = time.monotonic()
    connection.end()
    world.heard(b"gone")
    assert time.monotonic() - begun >= 1.99      # its clock counts milliseconds


def test_a_client_back_before_the_delay_has_its_will_forgotten(world, dying):
    """[MQTT-3.1.3-9]."""
    dying(world.broker, session=kept(300), will=delayed(5)).end()   # not so soon on a busy machine either
    wait_gone(world)
    back = dying(world.broker, clean=False, session=kept(300), will=delayed(300), payload=b"new")
    assert back.present
    time.sleep(5.5)
    world.heard_only()
    back.send(wire.DISCONNECT)
    back.wait_closed(5)
    world.heard_only()


def test_a_take_over_within_the_delay_forgets_the_will(world, dying):
    dying(world.broker, session=kept(300), will=delayed(1), payload=b"first")
    second = dying(world.broker, clean=False, session=kept(300), will=delayed(1), payload=b"second")
    assert second.present
    time.sleep(1.5)
    world.heard_only()


def test_a_clean_start_ends_the_session_and_publishes_what_waits(world, dying):
    dying(world.broker, session=kept(300), will=delayed(300), payload=b"first").end()
    wait_gone(world)
    dying(world.broker, clean=True, session=kept(300), will=delayed(300), payload=b"second")
    world.heard(b"first")
    world.heard_only(b"first")


@pytest.mark.parametrize("expiry", [0, 1])
def test_the_end_of_the_session_publishes_before_the_delay(expiry, world, dying):
    connection = dying(world.broker, session=kept(expiry) if expiry else b"", will=delayed(300))
    begun = time.monotonic()
    connection.end()
    world.heard(b"gone")
    assert time.monotonic() - begun >= expiry


def test_the_delay_goes_on_over_a_restart(world, dying, subscriber):
    kept_listener = {"user": "owner", "password": "owner", "client_id": "kept", "clean": False, "expiry": 300}
    subscriber(world.broker.port, "sandbox/#", **kept_listener).disconnect()
    wait_gone(world)
    dying(world.broker, session=kept(300), will=delayed(300), client_id="long").end()
    dying(world.broker, session=kept(300), will=delayed(3), client_id="short",
          payload=b"short").end()
    wait_gone(world)
    world.broker.end()
    world.broker.start()
    listener = subscriber(world.broker.port, "sandbox/#", **kept_listener)
    listener.wait_count(1)
    back = dying(world.broker, client_id="long", clean=True, payload=b"not yet")
    listener.wait_count(2)
    assert [m.payload for m in listener.messages] == [b"short", b"gone"]
    back.send(wire.DISCONNECT)


# --- the message -------------------------------------------------------------------


def test_a_will_has_its_qos_and_its_properties(world, client, subscriber):
    """[MQTT-3.1.3-10]; the delay is not passed on, the expiry counts down."""
    listener = subscriber(world.broker.port, TOPIC, user="owner", password="owner", qos=2)
    sender = client(world.broker.port, V5, user="owner", password="owner", connect=False)
    sender.paho.will_set(TOPIC, b"\x00\xff", 2, False, properties(
        "WILLMESSAGE", ContentType="text/x", ResponseTopic="sandbox/answer", CorrelationData=b"\1",
        UserProperty=[("b", "2"), ("a", "1"), ("b", "2")], MessageExpiryInterval=1000))
    sender.connect()
    sender.paho._sock.shutdown(2)
    listener.wait_count(1)
    got = listener.messages[0]
    sender.end()
    assert (got.topic, got.payload, got.qos, got.retain) == (TOPIC, b"\x00\xff", 2, False)
    assert got.properties.ContentType == "text/x"
    assert got.properties.ResponseTopic == "sandbox/answer"
    assert got.properties.CorrelationData == b"\1"
    assert got.properties.UserProperty == [("b", "2"), ("a", "1"), ("b", "2")]
    assert 900 <= got.properties.MessageExpiryInterval <= 1000


def test_a_will_may_be_empty_and_large(world, dying):
    dying(world.broker, payload=b"").end()
    world.heard(b"")
    dying(world.broker, payload=b"x" * 60000).end()
    world.heard(b"", b"x" * 60000)


def test_a_paho_client_of_3_1_1_leaves_its_will(world, client):
    sender = client(world.broker.port, V4, user="owner", password="owner", connect=False)
    sender.paho.will_set(TOPIC, b"v4", 1)
    sender.connect()
    sender.paho._sock.shutdown(2)
    assert world.heard(b"v4").topic == TOPIC


# --- what is not published --------------------------------------------------------


@pytest.mark.parametrize("settings", [
    {"user": b"everyone"},
    {"topic": "elsewhere/will"},
    {"topic": "origin/a/wis2/de-dwd/data/core/weather"},    # the gate: it is no notification
])
def test_a_will_that_may_not_be_published_is_refused_and_counted(settings, world, dying):
    dying(world.broker, **settings).end()
    world.broker.wait_metric("isobar_client_publishes_refused_total", 1)
    world.broker.process.wait_log("will-refused client_id=.*dying")
    world.heard_only()


def test_a_refused_connect_leaves_no_will(world):
    connection = Wire(world.broker.port)
    connection.send(connect(version=4, client_id="", clean=False))
    connection.wait_closed(5)
    world.heard_only()
