"""Sessions that outlive the program: what was acknowledged, in flight and waiting, over a clean
stop and over kill -9, counted by (subscriber, id)."""
import json
import re
import signal
import socket
import subprocess
import time
from collections import Counter

import pytest

from harness import notifications as wnm
from harness.clients import V4, V5
from harness.isobar import isobar
from harness.process import binary, patience, wait_until, within

DWD = "de-dwd"
ALL = "origin/a/wis2/#"
FOR_EVER = 0xFFFFFFFF
PARTNER = {"user": "partner", "password": "partner", "read": ["origin/a/wis2/#"],
           "write": ["origin/a/wis2/#"], "replay": "24h"}
EVERYONE = {"user": "everyone", "password": "everyone", "read": ["origin/a/wis2/#"],
            "replay": "24h"}
VERSIONS = pytest.mark.parametrize("version", [V4, V5], ids=["3.1.1", "5"])
WAYS = pytest.mark.parametrize("way", ["stop", "kill"])


def key(message):
    return json.loads(message.payload)["id"]


def keys(messages):
    return Counter(key(m) for m in messages)


def restart(broker, way):
    broker.stop() if way == "stop" else broker.kill()
    broker.start()


class Session:
    """One subscriber's session over several connections; `seen` are all deliveries."""

    def __init__(self, make, version, name, **options):
        self.make, self.version, self.name = make, version, name
        self.options = {"clean": False, **options}
        if version == V5:
            self.options.setdefault("expiry", FOR_EVER)
        self.client = None
        self.seen = []

    def connect(self, port, present):
        self.client = self.make(port, version=self.version, client_id=self.name, connect=False,
                                **self.options)
        self.client.messages = self.seen
        self.client.connect()
        assert self.client.connects[-1] == (0, present), self.client.connects
        return self.client

    def wait_all(self, messages, limit=20.0):
        wanted = {key(m) for m in messages}
        wait_until(lambda: wanted <= keys(self.seen).keys(), limit,
                   lambda: f"{self.name}: {len(wanted - keys(self.seen).keys())} of {len(wanted)} "
                   "missing")

    def assert_each_once(self, messages):
        wanted = keys(messages)
        got = keys(self.seen)
        assert got == wanted, (self.name, f"{len(wanted - got)} missing, "
                               f"{len(got - wanted)} too many")


@pytest.fixture
def publish(client):
    def publish(broker, first, count):
        """count messages from number `first` on, acknowledged."""
        messages = [wnm.valid(DWD, first + i) for i in range(count)]
        publisher = client(broker.port, user="partner", password="partner")
        publisher.publish_all(messages)
        publisher.disconnect()
        return messages
    return publish


@pytest.fixture
def broker(gb):
    return gb(accounts=[EVERYONE, PARTNER])


# --- what waits ---------------------------------------------------------------


@VERSIONS
@WAYS
def test_what_waits_for_an_offline_session_waits_over_a_restart(
        version, way, broker, client, publish):
    session = Session(client, version, "offline")
    session.connect(broker.port, False).subscribe(ALL)
    before = publish(broker, 0, 50)
    session.wait_all(before)
    broker.wait_metric("isobar_acknowledged_total", 50)
    session.client.disconnect()
    broker.wait_metric("isobar_sessions_offline", 1)
    waiting = publish(broker, 50, 300)
    restart(broker, way)
    waiting += publish(broker, 350, 100)
    session.connect(broker.port, True)
    session.wait_all(before + waiting)
    live = publish(broker, 450, 20)
    session.wait_all(live)
    session.assert_each_once(before + waiting + live)


@VERSIONS
def test_a_clean_stop_repeats_nothing_that_was_acknowledged(version, broker, client, publish):
    """Connected and busy at the stop; every delivery is acknowledged by paho as it comes."""
    session = Session(client, version, "busy")
    session.connect(broker.port, False).subscribe(ALL)
    sent = []
    for round_number in range(3):
        sent += publish(broker, 1000 * round_number, 200)
        session.wait_all(sent)
        broker.wait_metric("isobar_acknowledged_total", 200)
        session.client.cut()
        restart(broker, "stop")
        session.connect(broker.port, True)
    sent += publish(broker, 5000, 20)
    session.wait_all(sent)
    session.assert_each_once(sent)


@VERSIONS
def test_a_kill_loses_nothing_and_repeats_at_most_the_last_second(
        version, broker, client, publish):
    session = Session(client, version, "killed")
    session.connect(broker.port, False).subscribe(ALL)
    old = publish(broker, 0, 200)
    session.wait_all(old)
    broker.wait_metric("isobar_acknowledged_total", 200)
    broker.wait_checkpoint(session.client.ping)
    late = publish(broker, 200, 100)
    session.wait_all(late)
    broker.kill()
    session.client.cut()
    broker.start()
    session.connect(broker.port, True)
    fresh = publish(broker, 300, 50)
    session.wait_all(old + late + fresh)
    got = keys(session.seen)
    assert all(got[key(m)] == 1 for m in old), "older than a second, and repeated"
    assert all(got[key(m)] <= 2 for m in late)
    assert all(got[key(m)] == 1 for m in fresh)
    assert set(got) == {key(m) for m in old + late + fresh}


def test_killed_again_and_again_under_load_every_session_gets_everything(
        broker, client, publish):
    sessions = [Session(client, V4 if i % 2 else V5, f"load-{i}") for i in range(6)]
    for session in sessions:
        session.connect(broker.port, False).subscribe(ALL)
    sent = []
    for round_number in range(5):
        sent += publish(broker, 1000 * round_number, 150)
        broker.kill()
        for session in sessions:
            session.client.cut()
        broker.start()
        if round_number % 2:
            sent += publish(broker, 1000 * round_number + 500, 50)
        for session in sessions:
            session.connect(broker.port, True)
    sent += publish(broker, 9000, 10)
    for session in sessions:
        session.wait_all(sent)


# --- in flight, byte by byte --------------------------------------------------


class Wire:
    """MQTT 3.1.1 by hand, so that PUBACKs can be withheld."""

    def __init__(self, port, name, user="everyone"):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.settimeout(10 * patience())
        body = b"\x00\x04MQTT\x04\xc0\x00\x3c"
        for text in (name, user, user):
            body += len(text).to_bytes(2, "big") + text.encode()
        self.sock.sendall(bytes([0x10, len(body)]) + body)
        first, body = self.read()
        assert first == 0x20 and body[1] == 0, (first, body)
        self.present = bool(body[0])

    def exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            assert more, "closed"
            data += more
        return data

    def read(self):
        first, length, shift = self.exactly(1)[0], 0, 0
        while True:
            byte = self.exactly(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first, self.exactly(length)

    def subscribe(self, text):
        body = b"\x00\x01" + len(text).to_bytes(2, "big") + text.encode() + b"\x01"
        self.sock.sendall(bytes([0x82, len(body)]) + body)
        assert self.read()[0] == 0x90

    def publish_2(self, packet_id, topic, payload, dup=False):
        """Up to PUBREC."""
        body = len(topic).to_bytes(2, "big") + topic.encode()
        body += packet_id.to_bytes(2, "big") + payload
        n = len(body)
        length = bytes([n] if n < 128 else [n % 128 | 128, n // 128])
        self.sock.sendall(bytes([0x3C if dup else 0x34]) + length + body)
        assert self.read() == (0x50, packet_id.to_bytes(2, "big"))

    def message(self, qos=1):
        """(packet id, id of the notification, DUP)."""
        first, body = self.read()
        assert first & 0xF6 == 0x30 | qos << 1, hex(first)
        topic = int.from_bytes(body[:2], "big")
        packet_id = int.from_bytes(body[2 + topic:4 + topic], "big")
        return packet_id, json.loads(body[4 + topic:])["id"], bool(first & 8)

    def ping(self):
        self.sock.sendall(b"\xc0\x00")
        assert self.read() == (0xD0, b"")

    def acknowledge(self, *packet_ids):
        self.sock.sendall(b"".join(b"\x40\x02" + i.to_bytes(2, "big") for i in packet_ids))

    def close(self):
        self.sock.close()


@WAYS
def test_in_flight_is_sent_again_with_dup_and_its_packet_ids(way, broker, publish):
    wire = Wire(broker.port, "in-flight")
    wire.subscribe(ALL)
    messages = publish(broker, 0, 10)
    first = [wire.message() for _ in messages]
    wire.acknowledge(*(packet_id for packet_id, _, _ in first[:4]), first[6][0])
    broker.wait_checkpoint(wire.ping)           # what is known after a kill
    restart(broker, way)
    wire.close()
    wire = Wire(broker.port, "in-flight")
    assert wire.present
    wanted = [(i, name, True) for i, name, _ in first[4:6] + first[7:]]
    assert [wire.message() for _ in wanted] == wanted
    more = publish(broker, 10, 5)
    wire.acknowledge(*(packet_id for packet_id, _, _ in wanted))
    fresh = [wire.message() for _ in more]
    assert [name for _, name, _ in fresh] == [key(m) for m in more]
    assert not any(dup for _, _, dup in fresh)
    if way == "stop":
        assert [i for i, _, _ in fresh] == [11, 12, 13, 14, 15]
    else:                                       # no id of the old run may be met again
        assert min(i for i, _, _ in fresh) > 20000
    wire.close()


@WAYS
def test_qos_2_goes_on_where_it_was(way, broker, publish):
    """After PUBREC only PUBREL comes again, with its id; what waits for PUBREC comes with DUP."""
    wire = Wire(broker.port, "twice")
    wire.sock.sendall(b"\x82" + bytes([5 + len(ALL)]) + b"\x00\x01\x00" + bytes([len(ALL)])
                      + ALL.encode() + b"\x02")
    assert wire.read() == (0x90, b"\x00\x01\x02")
    publisher = Wire(broker.port, "publisher", user="partner")
    names = []
    for i in range(3):
        message = wnm.valid(DWD, i)
        names.append(key(message))
        publisher.publish_2(i + 1, message.topic, message.payload)
    got = [wire.message(qos=2) for _ in names]
    assert [name for _, name, _ in got] == names
    first, second, third = [packet_id.to_bytes(2, "big") for packet_id, _, _ in got]
    wire.sock.sendall(b"\x50\x02" + first)
    assert wire.read() == (0x62, first)
    broker.wait_checkpoint(wire.ping)
    restart(broker, way)
    wire.close()
    wire = Wire(broker.port, "twice")
    assert wire.present
    assert wire.read() == (0x62, first)
    again = [wire.message(qos=2) for _ in range(2)]
    assert again == [(i, name, True) for i, name, _ in got[1:]]
    wire.sock.sendall(b"\x70\x02" + first + b"\x50\x02" + second + b"\x50\x02" + third)
    assert [wire.read() for _ in range(2)] == [(0x62, second), (0x62, third)]
    wire.close()
    publisher.close()


def test_a_qos_2_message_that_was_not_released_is_not_taken_twice_after_a_stop(gb, subscriber):
    partner = dict(PARTNER, write=["test/#"], read=["test/#"])
    broker = gb(accounts=[partner])
    publisher = Wire(broker.port, "publisher", user="partner")
    publisher.publish_2(7, "test/a", b"once")
    restart(broker, "stop")
    publisher.close()
    listener = subscriber(broker.port, "$replay/1h/test/#", user="partner", password="partner")
    publisher = Wire(broker.port, "publisher", user="partner")
    assert publisher.present
    publisher.publish_2(7, "test/a", b"once", dup=True)
    publisher.publish_2(8, "test/a", b"other")
    listener.wait(lambda: any(m.payload == b"other" for m in listener.messages), what="the last")
    assert [m.payload for m in listener.messages] == [b"once", b"other"]
    publisher.close()


def test_in_flight_at_the_kill_comes_again_even_if_never_stored(broker, publish):
    wire = Wire(broker.port, "fresh-flight")
    wire.subscribe(ALL)
    messages = publish(broker, 0, 20)
    for _ in messages:
        wire.message()
    broker.kill()
    broker.start()
    again = Wire(broker.port, "fresh-flight")
    assert again.present
    assert [again.message()[1] for _ in messages] == [key(m) for m in messages]
    again.close()
    wire.close()


# --- subscriptions, life ------------------------------------------------------


@VERSIONS
def test_a_change_of_subscriptions_just_before_a_kill_holds(version, broker, client, publish):
    """It is safe from a kill before SUBACK and UNSUBACK leave."""
    session = Session(client, version, "changes")
    other = "origin/a/wis2/ca-eccc-msc/#"
    session.connect(broker.port, False).subscribe(ALL, other)
    session.client.unsubscribe(ALL)
    broker.kill()
    session.client.cut()
    broker.start()
    session.connect(broker.port, True)
    publish(broker, 0, 20)
    publisher = client(broker.port, user="partner", password="partner")
    wanted = [wnm.valid("ca-eccc-msc", i) for i in range(10)]
    publisher.publish_all(wanted)
    session.wait_all(wanted)
    session.assert_each_once(wanted)


@WAYS
def test_expiry_goes_on_while_it_is_down(way, broker, client, publish):
    def leave(name, expiry, offline):
        session = Session(client, V5, name, expiry=expiry)
        session.connect(broker.port, False).subscribe(ALL)
        session.client.disconnect()
        broker.wait_metric("isobar_sessions_offline", offline)
        return session

    def goes_down(seconds):
        if not broker.process.is_running():
            broker.start()
        short = leave(f"short-{seconds}", seconds, 2)
        broker.stop() if way == "stop" else broker.kill()
        return short, seconds
    long = leave("long", 600, 1)
    short, seconds = within(2, goes_down)
    time.sleep(seconds + 1)
    broker.start()
    broker.process.wait_log(r"\bsessions\b.* loaded=1 expired=1")
    short.connect(broker.port, False)
    long.connect(broker.port, True)


def test_expiry_goes_on_after_the_start(broker, client):
    def comes_back(seconds):
        broker.wait_metric("isobar_sessions", 0)
        session = Session(client, V5, "soon", expiry=seconds)
        session.connect(broker.port, False).subscribe(ALL)
        session.client.disconnect()
        restart(broker, "stop")
        assert broker.metric("isobar_sessions") == 1
        return session
    session = within(3, comes_back)
    broker.wait_metric("isobar_sessions", 0)
    session.connect(broker.port, False)


@WAYS
def test_sessions_that_are_not_to_last_do_not(way, broker, client):
    clean = client(broker.port, version=V4, client_id="clean", clean=True)
    clean.subscribe(ALL)
    ended = Session(client, V5, "ended")
    ended.connect(broker.port, False).subscribe(ALL)
    ended.client.disconnect()
    again = Session(client, V5, "ended", clean=True, expiry=0)
    again.connect(broker.port, False)
    again.client.disconnect()
    broker.wait_metric("isobar_sessions", 1)
    restart(broker, way)
    assert broker.metric("isobar_sessions") == 0


@WAYS
def test_a_session_taken_over_is_one_session(way, broker, client, publish):
    first = Session(client, V5, "taken")
    first.connect(broker.port, False).subscribe(ALL)
    second = Session(client, V5, "taken")
    second.connect(broker.port, True)
    first.client.wait(lambda: first.client.disconnects, what="the end of the first connection")
    first.client.end()
    got = publish(broker, 0, 30)
    second.wait_all(got)
    broker.wait_metric("isobar_acknowledged_total", 30)
    second.client.cut()
    restart(broker, way)
    assert broker.metric("isobar_sessions") == 1
    waiting = publish(broker, 30, 30)
    second.connect(broker.port, True)
    second.wait_all(got + waiting)
    if way == "stop":
        second.assert_each_once(got + waiting)


def test_a_replay_under_way_goes_on_after_a_kill(broker, publish):
    messages = publish(broker, 0, 50)
    wire = Wire(broker.port, "replayed")
    wire.subscribe("$replay/1h/" + ALL)
    wire.message()
    broker.kill()
    broker.start()
    again = Wire(broker.port, "replayed")
    assert again.present
    got = {again.message()[1] for _ in messages}
    assert got == {key(m) for m in messages}
    again.close()
    wire.close()


# --- many, limits, damage -----------------------------------------------------


@WAYS
def test_a_thousand_sessions_come_back(way, broker, publish):
    """Each was offline with messages waiting: all of them come, in order."""
    count = 1000
    for at in range(0, count, 100):
        wires = [Wire(broker.port, f"many-{at + i}") for i in range(100)]
        for wire in wires:
            wire.subscribe(ALL)
            wire.close()
    messages = publish(broker, 0, 5)
    broker.wait_metric("isobar_sessions_offline", lambda n: n >= count)
    restart(broker, way)
    broker.wait_metric("isobar_sessions_offline", lambda n: n >= count)
    wanted = [key(m) for m in messages]
    for at in range(0, count, 100):
        wires = [Wire(broker.port, f"many-{at + i}") for i in range(100)]
        for wire in wires:
            assert wire.present
            got = [wire.message() for _ in messages]
            assert [name for _, name, _ in got] == wanted
            wire.acknowledge(*(i for i, _, _ in got))
        for wire in wires:
            wire.close()


@pytest.mark.parametrize("window", [[], ["--receive-maximum", 7]], ids=["any", "seven open"])
@WAYS
def test_a_backlog_of_many_pieces_comes_back_whole_and_in_order(way, window, gb, tmp_path):
    """More than a segment of it, for sessions that want all, little and nothing, beside live traffic:
    counted by the load generator, per session."""
    broker = gb(accounts=[EVERYONE, PARTNER],
                config={"journal": {"size": "256MiB"}, "limits": {"sessions_per_address": 0}})
    password = tmp_path / "password"
    password.write_text("partner")
    rare = "origin/a/wis2/io-wis2dev-12-test/data/core/weather/aviation/taf"
    back = ["--name", "back", "--run", 7, "--session-expiry", "1h", "-m", 6000, "--size", 2000,
            "--topics", 80, "-q", 1, "-f", ALL, "-f", rare, "-f", "origin/a/wis2/no-centre/#"]

    def to():  # it has another port after a restart
        return ["bench", "-b", f"mqtt://127.0.0.1:{broker.port}", "-u", "partner", "-P", password,
                "--timeout", f"{int(60 * patience())}s"]

    def run(*options):
        done = isobar(*to(), *back, *options, limit=90 * patience())
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)
    run("-s", 30, "-p", 0)
    run("-s", 0)
    restart(broker, way)
    command = [binary(), *to(), "-s", 2, "-q", 1, "-r", 200, "-m", 1000000]
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE) as live:
        broker.wait_metric("isobar_client_publishes_total", lambda n: n > 0)
        told = run("-s", 30, "--resume", *window)
        live.send_signal(signal.SIGINT)
        beside = json.loads(live.communicate(timeout=60 * patience())[0])
        assert live.returncode == 0, beside
    assert told["delivered"] == told["expected"] == 10 * (6000 + 6000 // 80)
    assert beside["delivered"] == beside["expected"] == 2 * beside["sent"] > 0


def test_the_limit_on_sessions_holds_at_the_start(gb, client):
    broker = gb(accounts=[EVERYONE, PARTNER])
    for i in range(5):
        session = Session(client, V4, f"limit-{i}")
        session.connect(broker.port, False)
        session.client.disconnect()
    broker.stop()
    broker.config["limits"] = {"sessions": 3}
    broker.write_config()
    broker.start()
    assert broker.metric("isobar_sessions") == 3
    broker.process.wait_log(r"sessions-dropped over_limit=2")


@pytest.mark.parametrize("damage", ["empty", "rubbish", "cut", "zeros"])
def test_a_damaged_store_is_set_aside_and_said(damage, broker, client, publish):
    """However the file is damaged, at the third start it serves; rows that are whole stay."""
    for i in range(100):
        session = Session(client, V4, f"damage-{i}")
        session.connect(broker.port, False).subscribe(ALL)
        session.client.disconnect()
    broker.stop()
    path = broker.data + "/sessions/data.mdb"
    with open(path, "r+b") as f:
        size = f.seek(0, 2)
        if damage == "rubbish":
            f.seek(0)
            f.write(b"rubbish " * (size // 8))
        elif damage == "zeros":
            f.seek(8192)
            f.write(bytes(size - 8192))
        else:
            f.truncate(0 if damage == "empty" else size // 3)
    for attempt in range(3):
        try:
            broker.start()
            break
        except AssertionError:
            assert attempt < 2
    if damage != "empty":
        broker.process.wait_log(r"broker store-(rows-)?damaged")
    fresh = Session(client, V4, "fresh")
    fresh.connect(broker.port, False).subscribe(ALL)
    fresh.client.disconnect()
    restart(broker, "stop")
    fresh.connect(broker.port, True)


def test_a_journal_begun_anew_does_not_confuse_sessions(broker, client, publish):
    import os
    import shutil
    session = Session(client, V4, "anew")
    session.connect(broker.port, False).subscribe(ALL)
    old = publish(broker, 0, 100)
    session.wait_all(old)
    session.client.disconnect()
    broker.stop()
    shutil.rmtree(os.path.join(broker.data, "journal"))
    broker.start()
    session.connect(broker.port, True)
    fresh = publish(broker, 1000, 20)
    session.wait_all(fresh)


def test_what_was_removed_before_a_session_came_back_is_counted_and_told_once(
        gb, client, publish, tmp_path):
    """The smallest journal, filled over; one session wanted all, another one of two topics."""
    broker = gb(accounts=[EVERYONE, PARTNER], config={"journal": {"size": "16MiB"}})
    publish(broker, 0, 1)
    sessions = {"all": ALL, "one": None}
    listener = client(broker.port)
    listener.subscribe(ALL)
    password = tmp_path / "password"
    password.write_text("partner")
    flood = ["bench", "-b", f"mqtt://127.0.0.1:{broker.port}", "-u", "partner", "-P", password,
             "-s", 1, "-q", 1, "--size", 2000]
    assert isobar(*flood, "--topics", 1, "-m", 1).returncode == 0
    listener.wait_count(1)
    sessions["one"] = listener.messages[0].topic
    listener.disconnect()
    for name, wanted in sessions.items():
        session = Session(client, V5, name)
        session.connect(broker.port, False).subscribe(wanted)
        session.client.disconnect()
    count = 20000
    done = isobar(*flood, "--topics", 2, "-m", count, limit=60)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = {"all": count, "one": count // 2}
    restart(broker, "stop")
    back = {name: Session(client, V5, name) for name in sessions}

    def lost(name):  # in two lines when the journal lets go of a segment right then
        lines = broker.process.find_log(f'session-lost-records client_id="{name}"')
        return sum(int(re.search(r" wanted=(\d+) ", line)[1]) for line in lines)
    for name, session in back.items():
        session.connect(broker.port, True)
        wait_until(lambda: lost(name) + len(session.seen) >= wanted[name], 30, "all, or told")
    wait_until(lambda: broker.metric("isobar_dropped_total", reason="removed") == sum(map(lost, back)),
               what="as many counted as told")
    last = publish(broker, count, 1)        # behind all that came too often
    back["all"].wait_all(last)
    for name, session in back.items():
        # The records before the position stood in the first segment too: three at most.
        assert 0 <= len(session.seen) - (name == "all") + lost(name) - wanted[name] <= 3
        assert lost(name) > 0
