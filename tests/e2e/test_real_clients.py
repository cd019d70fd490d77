"""Client libraries of other makers against the broker: every library over every transport it has,
in both versions of MQTT, through the same scenarios. Counts are exact.

A scenario that waits for "nothing more" waits for a marker sent behind it instead.
"""
import itertools
import os
import threading
import traceback

import pytest

from harness import notifications as wnm
from harness import wire
from harness.agents import KINDS, Agents
from harness.certificates import Authority
from harness.isobar import Isobar
from harness.wire import Wire

ACCOUNTS = [
    {"user": "everyone", "password": "everyone", "read": ["origin/a/wis2/#"], "max_qos": 1},
    {"user": "writer", "password": "writer", "read": ["#"],
     "write": ["sandbox/#", "origin/a/wis2/#"], "deny": ["sandbox/closed/#"]},
]
CASES = [(kind, scheme, version) for kind in KINDS.values() for scheme in kind.schemes
         for version in (4, 5)]
# scenarios of one library run at the same time: each hears of a centre of its own
CENTRES = dict(zip(itertools.product(("mqtt", "mqtts", "ws", "wss"), (4, 5)), (
    "de-dwd", "fr-meteofrance", "jp-jma", "br-inmet", "ca-eccc-msc", "cn-cma", "us-noaa-nws",
    "uk-metoffice")))
KEEP_ALIVE = 8      # seconds: longer than an agent of many on a busy machine waits for its turn
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """One broker with a listener of each kind for all of these tests, and the agents."""
    folder = tmp_path_factory.mktemp("clients")
    authority = Authority(folder)
    leaf = authority.issue("localhost")
    isobar = Isobar(folder, accounts=ACCOUNTS, config={
        "listeners": ["mqtt://127.0.0.1:0", "mqtts://127.0.0.1:0", "ws://127.0.0.1:0",
                      "wss://127.0.0.1:0", "http://127.0.0.1:0"],
        "tls": {"certificate": leaf.certificate, "key": leaf.key}})
    agents = Agents(folder, isobar.start(), authority.certificate, leaf.certificate)
    yield agents
    agents.end()
    status = isobar.end()
    log = isobar.process.log()
    assert status == 0, log
    assert "Sanitizer" not in log and "runtime error:" not in log, log


class Setting:
    """A library, a transport, a version; and topics, a centre and agents of the scenario's own."""

    def __init__(self, world, kind, scheme, version):
        self.world, self.kind, self.scheme, self.version = world, kind, scheme, version
        self.is_v5 = version == 5
        self.tells_present = kind.tells_present or not self.is_v5
        self.root = f"sandbox/{kind.name}/{scheme}/{version}/{next(_numbers)}"
        self.id = self.root.replace("/", "-")
        self.centre = CENTRES[scheme, version]
        self.agents = []

    def topic(self, tail):
        return f"{self.root}/{tail}"

    def agent(self):
        self.agents.append(self.world.lend(self.kind.name))
        return self.agents[-1]

    def connect(self, agent=None, **options):
        """A connected agent of this library."""
        return self.connect_all([agent or self.agent()], **options)[0]

    def connect_all(self, agents, **options):
        """At the same time."""
        sent = [agent.send_connect(self.scheme, self.version, **options) for agent in agents]
        for agent, n in zip(agents, sent):
            answer = agent.connected(n)
            assert answer["code"] == 0, answer
            agent.present = answer["present"] if self.tells_present else None
        return agents

    def pair(self, filter=None, qos=1, **options):
        """A reader, with this subscription, and a writer."""
        reader, writer = self.connect_all([self.agent(), self.agent()], **options)
        if filter:
            assert reader.subscribe(filter, qos) == qos
        return reader, writer

    def lasting(self, agent=None, **options):
        """With a session that outlives the connection."""
        return self.connect(agent, id=f"{self.id}-lasting", properties={"session_expiry": 300},
                            **{"clean": False, **options})


def _run(scenario, world, case, failures):
    s = Setting(world, *case)
    try:
        scenario(s)
    except Exception:  # told below, with its setting
        failures[f"{s.scheme}, MQTT {s.version}"] = traceback.format_exc()
    finally:
        world.take_back(s.agents)


def scenario(*conditions):
    """A test for each library, of all its transports and versions for which the conditions hold,
    in a thread each: the libraries wait much more than they work."""
    rows = {kind.name: [case for case in CASES if case[0] is kind and all(
        condition(*case) for condition in conditions)] for kind in KINDS.values()}

    def wrap(function):
        @pytest.mark.parametrize("kind", [name for name in rows if rows[name]])
        def test(kind, world):
            failures = {}
            threads = [threading.Thread(target=_run, args=(function, world, case, failures))
                       for case in rows[kind]]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not failures, "\n".join(f"{where}:\n{why}" for where, why in failures.items())
        test.__doc__ = function.__doc__
        return test
    return wrap


def is_v5(kind, scheme, version):
    return version == 5


def texts(*values):
    return [str(value).encode() for value in values]


# --- delivery -----------------------------------------------------------------


@scenario()
def test_messages_of_every_qos_arrive_at_every_qos(s):
    """[MQTT-3.8.4-8]: at the lower of the two."""
    reader, writer = s.pair()
    for granted in range(3):
        assert reader.subscribe(s.topic(f"{granted}/#"), granted) == granted
    wanted = []
    for granted, sent in itertools.product(range(3), range(3)):
        topic = s.topic(f"{granted}/{sent}")
        writer.publish_all(topic, texts(*range(5)), sent)
        wanted += [(topic, text, min(granted, sent)) for text in texts(*range(5))]
    reader.wait_count(len(wanted))
    # QoS 2 arrives when its handshake ends: order is kept within a QoS
    order = lambda rows: sorted(rows, key=lambda row: row[2])  # noqa: E731
    assert order((m.topic, m.payload, m.qos) for m in reader.messages) == order(wanted)
    assert not any(m.retain for m in reader.messages)


@scenario()
def test_a_burst_arrives_whole_and_in_order(s):
    reader, writer = s.pair(s.topic("#"))
    payloads = texts(*range(120))
    writer.publish_all(s.topic("burst"), payloads)
    assert [m.payload for m in reader.wait_count(120)] == payloads


@scenario()
def test_a_large_payload_arrives_byte_for_byte(s):
    reader, writer = s.pair(s.topic("#"), 2)
    payloads = [os.urandom(200 * 1024) for _ in range(3)]
    for qos, payload in enumerate(payloads):
        assert writer.publish(s.topic("large"), payload, qos) == 0
    got = reader.wait_count(3)
    assert sorted((m.qos, m.payload) for m in got) == list(enumerate(payloads))


@scenario()
def test_the_gate_judges_notifications(s):
    """What a writer sends on WIS2 topics passes the same rules; MQTT 5 is told which broke."""
    reader, writer = s.pair(f"origin/a/wis2/{s.centre}/#")
    good = wnm.valid_many(s.centre, 3)
    bad_payload = wnm.broken_payload(s.centre, wnm.BROKEN_PAYLOADS[0])
    bad_topic = wnm.broken_topic(s.centre, wnm.BROKEN_TAILS[0][0])
    is_told = s.is_v5 and s.kind.tells_puback
    for message, qos, code in [(good[0], 1, 0), (bad_payload, 1, 0x99), (good[1], 2, 0),
                               (bad_payload, 2, 0x99), (bad_topic, 1, 0x90), (good[0], 1, 0),
                               (bad_topic, 2, 0x90), (good[2], 1, 0)]:
        got = writer.publish(message.topic, message.payload, qos)
        assert got == (code if is_told else 0), (message.topic, qos, got)
    assert not writer.lost
    assert [(m.topic, m.payload) for m in reader.wait_count(3)] == \
        [(m.topic, m.payload) for m in good]


@scenario()
def test_unsubscribing_ends_delivery(s):
    reader, writer = s.pair(s.topic("a"))
    assert reader.subscribe(s.topic("z")) == 1
    assert writer.publish(s.topic("a"), b"1") == 0
    reader.wait_count(1)
    assert reader.unsubscribe(s.topic("a")) == 0
    writer.publish_all(s.topic("a"), texts(2, 3))
    assert writer.publish(s.topic("z"), b"4") == 0
    assert [m.payload for m in reader.wait_count(2)] == texts(1, 4)


# --- MQTT 5 -------------------------------------------------------------------


@scenario(is_v5)
def test_properties_make_the_round_trip(s):
    """GB-67: unchanged, [MQTT-3.3.2-17] and the user properties in order [MQTT-3.3.2-18]; the
    expiry is what is left of it [MQTT-3.3.2-6]."""
    reader, writer = s.pair(s.topic("#"))
    sent = {"payload_format": 1, "expiry": 3600, "content_type": "text/plain; charset=utf-8",
            "response_topic": "sandbox/answers/Zürich", "correlation": bytes(range(256)).hex(),
            "user": [["a", "1"], ["a", "2"], ["Größe", "気象"], ["", ""]]}
    if s.kind.name.startswith("mqttjs"):
        sent["user"] = [["a", "1"], ["a", "2"], ["Größe", "気象"]]     # its user properties are a map
    assert writer.publish(s.topic("p"), "Grüße".encode(), properties=sent) == 0
    assert writer.publish(s.topic("q"), b"bare") == 0
    full, bare = reader.wait_count(2)
    assert 3590 <= full.properties.pop("expiry") <= 3600
    full.properties.pop("alias", None), bare.properties.pop("alias", None)
    del sent["expiry"]
    assert full.payload == "Grüße".encode() and full.properties == sent
    assert bare.properties in ({}, {"user": []})


@scenario(is_v5, lambda kind, *_: kind.alias)
def test_topic_aliases_of_a_client_stand_for_their_topics(s):
    """[MQTT-3.3.2-7]: each connection's own; and it may give an alias another topic."""
    reader, writer = s.pair(s.topic("#"), auto_alias=s.kind.alias == "auto")
    rows = [(s.topic("one"), 1), ("", 1), (s.topic("two"), 2), ("", 1), ("", 2),
            (s.topic("three"), 1), ("", 1)]
    wanted = ["one", "one", "two", "one", "two", "three", "three"]
    for number, ((topic, alias), name) in enumerate(zip(rows, wanted)):
        if s.kind.alias == "auto":
            code = writer.publish(s.topic(name), texts(number)[0])
        else:
            code = writer.publish(topic, texts(number)[0], properties={"alias": alias})
        assert code == 0
    got = reader.wait_count(len(wanted))
    assert [(m.topic, m.payload) for m in got] == \
        [(s.topic(name), texts(number)[0]) for number, name in enumerate(wanted)]


@scenario(is_v5, lambda kind, *_: kind.takes_aliases)
def test_a_client_that_takes_aliases_knows_every_topic(s):
    reader, writer = s.pair(s.topic("#"), properties={"alias_maximum": 3})
    wanted = [s.topic(f"{number % 5}/a-rather-long-topic-so-that-an-alias-pays")
              for number in range(30)]
    for topic in wanted:
        writer.send_publish(topic, b"x")
    assert sorted(m.topic for m in reader.wait_count(30)) == sorted(wanted)


# --- wills --------------------------------------------------------------------


@scenario()
def test_a_will_is_published_when_the_line_breaks_and_only_then(s):
    """[MQTT-3.1.2-8], [MQTT-3.1.2-10]."""
    watcher = s.connect()
    assert watcher.subscribe(s.topic("#"), 2) == 2
    properties = {"content_type": "text/plain", "user": [["who", "me"]]}
    for number, name in enumerate(("broken", "polite")):
        mortal = s.connect(id=f"{s.id}-{name}", will={
            "topic": s.topic(name), "payload": b"gone", "qos": number + 1,
            "properties": properties})
        assert mortal.publish(s.topic("alive"), b"") == 0
        if name == "broken":
            mortal.cut()
            watcher.wait_count(2)
        else:
            mortal.disconnect()
    assert watcher.publish(s.topic("end"), b"") == 0
    got = watcher.wait_count(4)
    assert [m.topic for m in got] == [s.topic(t) for t in ("alive", "broken", "alive", "end")]
    assert (got[1].payload, got[1].qos) == (b"gone", 1)
    if s.is_v5:
        assert got[1].properties == properties


# --- sessions -----------------------------------------------------------------


def come_back(s, leave):
    reader, writer = s.lasting(), s.connect()
    assert not reader.present
    assert reader.subscribe(s.topic("#"), 2) == 2
    assert writer.publish(s.topic("t"), b"here", 0) == 0
    reader.wait_count(1)
    leave(reader)
    for qos in (1, 2):
        writer.publish_all(s.topic(f"{qos}"), texts(*range(15)), qos)
    again = s.lasting(None if reader.is_gone else reader)
    assert again.present in (True, None)
    assert writer.publish(s.topic("t"), b"back", 2) == 0
    got = again.wait_count(31)
    for qos in (1, 2):
        assert [m.payload for m in got if m.topic == s.topic(f"{qos}")] == texts(*range(15))
    assert [m.payload for m in got if m.topic == s.topic("t")] == [b"back"]


@scenario()
def test_a_session_comes_back_with_what_it_missed(s):
    come_back(s, lambda reader: reader.disconnect())


@scenario()
def test_a_session_comes_back_after_a_broken_line(s):
    come_back(s, lambda reader: reader.cut())


@scenario()
def test_a_clean_start_forgets(s):
    """[MQTT-3.1.2-4]; and a session without an expiry ends with its connection."""
    reader = s.lasting()
    assert reader.subscribe(s.topic("#")) == 1
    reader.disconnect()
    s.lasting(reader, clean=True)
    assert not reader.present
    assert reader.subscribe(s.topic("end")) == 1
    assert reader.publish(s.topic("t"), b"x") == 0
    assert reader.publish(s.topic("end"), b"y") == 0
    assert [m.payload for m in reader.wait_count(1)] == [b"y"]
    reader.disconnect()
    s.connect(reader, id=f"{s.id}-lasting", clean=True)
    assert reader.subscribe(s.topic("#")) == 1
    reader.disconnect()
    s.lasting(reader)
    assert not reader.present


@scenario()
def test_a_second_connection_takes_the_session_over(s):
    """[MQTT-3.1.4-3]; MQTT 5 is told why."""
    first, second, writer = s.lasting(), s.agent(), s.connect()
    assert first.subscribe(s.topic("#")) == 1
    s.lasting(second)
    assert second.present in (True, None)
    assert first.wait_lost() == (0x8E if s.is_v5 else 0)
    assert writer.publish(s.topic("t"), b"x") == 0
    second.wait_count(1)
    assert not first.messages


# --- rights -------------------------------------------------------------------


@scenario()
def test_a_wrong_password_is_refused(s):
    agent = s.agent()
    answer = agent.connect(s.scheme, s.version, password="wrong")
    assert answer["code"] in ((0x86, 0x87) if s.is_v5 else (4, 5)), answer
    s.connect(agent)
    assert agent.publish(s.topic("t"), b"x") == 0


@scenario()
def test_a_denied_subscription_leaves_the_others_alone(s):
    reader, writer = s.pair()
    assert reader.subscribe(s.topic("#")) == 1
    assert reader.subscribe("sandbox/closed/a") == (0x87 if s.is_v5 else 0x80)
    assert writer.publish(s.topic("t"), b"x") == 0
    reader.wait_count(1)
    assert not reader.lost


@scenario()
def test_a_denied_publish_is_told_in_5_and_closes_in_311(s):
    """[MQTT3-3.3.5-2]."""
    reader, writer = s.pair(s.topic("#"))
    if s.is_v5:
        got = writer.publish("elsewhere/t", b"x")
        assert got == (0x87 if s.kind.tells_puback else 0)
        assert writer.publish(s.topic("t"), b"y") == 0
    else:
        writer.send_publish("elsewhere/t", b"x")
        writer.wait_lost()
        assert reader.publish(s.topic("t"), b"y") == 0
    assert [m.payload for m in reader.wait_count(1)] == [b"y"]


# --- all at once --------------------------------------------------------------


def everyone_at_once(world):
    """An agent of every kind over every transport in both versions, connected."""
    agents = [world.lend(kind.name) for kind, _, _ in CASES]
    sent = [agent.send_connect(scheme, version, keep_alive=KEEP_ALIVE)
            for agent, (_, scheme, version) in zip(agents, CASES)]
    assert [agent.connected(n)["code"] for agent, n in zip(agents, sent)] == [0] * len(CASES)
    return agents


def test_pings_keep_idle_connections_open_and_a_disconnect_ends_them(world):
    """One that never pings is the clock: when the broker has closed it, whoever still is there has
    pinged."""
    world.isobar.wait_metric("isobar_connections", 0)
    idle = everyone_at_once(world)
    for agent in idle:
        assert agent.subscribe("sandbox/bell") == 1
    clock = Wire(world.isobar.port).login(4, user=b"writer", password=b"writer", keep_alive=KEEP_ALIVE)
    assert clock.read_all() == []
    clock.end()
    world.isobar.wait_metric("isobar_connections", len(idle))
    ringer = Wire(world.isobar.port).login(5, user=b"writer", password=b"writer")
    ringer.send(wire.publish("sandbox/bell", b"x", qos=1))
    for agent in idle:
        assert len(agent.wait_count(1)) == 1
    ringer.end()
    world.take_back(idle)
    world.isobar.wait_metric("isobar_connections", 0)
    assert not any(agent.lost for agent in idle)
