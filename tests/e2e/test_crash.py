"""kill -9, damaged files, and the order of disk and acknowledgement."""
import glob
import os
import random
import re
import threading
from collections import Counter

import pytest

from harness import notifications as wnm
from harness import trace
from harness.clients import assert_same
from harness.process import wait_until

DWD, MSC = "de-dwd", "ca-eccc-msc"
REPLAY = "$replay/1h/origin/a/wis2/#"
PARTNER = {"user": "partner", "password": "partner", "read": ["origin/a/wis2/#"],
           "write": ["origin/a/wis2/#"], "replay": "24h"}
EVERYONE = {"user": "everyone", "password": "everyone", "read": ["origin/a/wis2/#"],
            "replay": "24h"}


def replayed(broker, subscriber, publisher, limit=20.0):
    """Everything in the journal, told apart from what follows by one more message."""
    last = wnm.valid(DWD, 99)
    listener = subscriber(broker.port, REPLAY)
    publisher.publish_all([last])
    listener.wait(lambda: any(m.payload == last.payload for m in listener.messages), limit,
                  "the message that closes the replay")
    return [m for m in listener.messages if m.payload != last.payload]


class Load:
    """Publishes at a node in a thread, a few hundred a second, until told to end."""

    def __init__(self, client, centre, port):
        self.client = client(port)
        self.centre = centre
        self.sent = []
        self.mids = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        number = 0
        while not self.stop.wait(0.01):
            for _ in range(5):
                message = wnm.valid(self.centre, number)
                number += 1
                self.sent.append(message)
                self.mids.append(self.client.publish(message))

    def end(self):
        self.stop.set()
        self.thread.join()
        self.client.flush(self.mids)


def test_killed_again_and_again_under_load_it_loses_nothing_and_repeats_nothing(
        node, gb, client, subscriber, keeper):
    """Five kills while two nodes go on sending: the journal has each id exactly once."""
    nodes = {centre: node(centre) for centre in (DWD, MSC)}
    broker = gb({centre: {"centre_id": centre, "url": made.url} for centre, made in nodes.items()})
    broker.wait_connected(*nodes)
    loads = [Load(client, centre, made.port) for centre, made in nodes.items()]
    for load in loads:
        keeper.keep(load.stop.set)
    dice = random.Random(4)
    heard = []
    for _ in range(5):
        listener = subscriber(broker.port, "origin/a/wis2/#")
        heard.append(listener)
        listener.wait_count(100 + dice.randrange(200), limit=20)
        broker.kill()
        listener.cut()
        broker.start()
        broker.wait_connected(*nodes)
    for load in loads:
        load.end()
    sent = [m for load in loads for m in load.sent]
    published = "wmo_wis2_gb_messages_published_total"
    listener = subscriber(broker.port, REPLAY)
    wait_until(lambda: len(listener.messages) >= len(sent), 30,
               lambda: f"{len(sent)} messages, {len(listener.messages)} replayed, "
               f"{broker.metric(published)} published since the last start")
    journal = replayed(broker, subscriber, loads[0].client)
    assert_same(journal, sent)
    known = {m.payload for m in sent}
    for listener in heard:
        assert {m.payload for m in listener.messages} <= known


def test_what_was_acknowledged_to_a_publisher_survives_a_kill(gb, client, subscriber):
    broker = gb(accounts=[EVERYONE, PARTNER])
    acknowledged = []
    for round_number in range(4):
        publisher = client(broker.port, user="partner", password="partner")
        messages = {}
        for number in range(2000):
            message = wnm.valid(DWD, round_number * 10000 + number)
            messages[publisher.publish(message)] = message
        wanted = 200 + 300 * round_number
        publisher.wait(lambda: len(publisher.acknowledged) >= wanted, what=f"{wanted} PUBACKs")
        broker.kill()
        publisher.cut()
        acknowledged += [messages[mid] for mid in publisher.acknowledged]
        broker.start()
    journal = replayed(broker, subscriber, client(broker.port, user="partner", password="partner"))
    payloads = Counter(m.payload for m in journal)
    missing = [m for m in acknowledged if m.payload not in payloads]
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged are gone"
    assert max(payloads.values()) == 1


def test_what_was_seen_stays_seen_after_a_kill(gb, client, subscriber):
    broker = gb(accounts=[EVERYONE, PARTNER])
    messages = wnm.valid_many(DWD, 100)
    client(broker.port, user="partner", password="partner").publish_all(messages)
    broker.kill()
    broker.start()
    again = client(broker.port, user="partner", password="partner")
    again.publish_all(messages)
    assert_same(replayed(broker, subscriber, again), messages)


# --- damage -------------------------------------------------------------------


def flip_bits(path, size, dice):
    with open(path, "r+b") as f:
        for _ in range(8):
            at = dice.randrange(size)
            f.seek(at)
            byte = f.read(1)
            f.seek(at)
            f.write(bytes([byte[0] ^ 1 << dice.randrange(8)]))


def truncate(path, size, dice):
    os.truncate(path, dice.randrange(size))


def zero_tail(path, size, dice):
    at = dice.randrange(size)
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(b"\0" * (size - at))


def rubbish_tail(path, size, dice):
    at = dice.randrange(size)
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(dice.randbytes(size - at))


def used_bytes(path):
    """Up to the last byte that is not zero: files are preallocated."""
    with open(path, "rb") as f:
        return len(f.read().rstrip(b"\0"))


@pytest.mark.parametrize("suffix", ["packets", "index"])
@pytest.mark.parametrize("damage", [flip_bits, truncate, zero_tail, rubbish_tail])
def test_a_damaged_last_segment_never_yields_a_bad_record(
        suffix, damage, gb, client, subscriber):
    """After a kill (nothing is sealed) and damage, it starts, serves only what was published, and
    takes new messages."""
    broker = gb(accounts=[EVERYONE, PARTNER])
    messages = wnm.valid_many(DWD, 400)
    client(broker.port, user="partner", password="partner").publish_all(messages)
    broker.kill()
    files = sorted(glob.glob(os.path.join(broker.data, "journal", "*." + suffix)),
                   key=lambda path: used_bytes(path) > 4096 and os.path.getmtime(path))
    damage(files[-1], used_bytes(files[-1]), random.Random(f"{suffix} {damage.__name__}"))
    broker.start()
    publisher = client(broker.port, user="partner", password="partner")
    served = replayed(broker, subscriber, publisher)
    known = {(m.topic, m.payload) for m in messages}
    assert all((m.topic, m.payload) in known for m in served)
    assert max(Counter(m.payload for m in served).values(), default=0) <= 1
    assert len(served) < len(messages), "the damage hit nothing: the test is no test"
    # What is left is a beginning of what was published: cut at the first bad record.
    assert [m.payload for m in served] == [m.payload for m in messages[:len(served)]]
    fresh = wnm.valid_many(MSC, 50)
    publisher.publish_all(fresh)
    broker.kill()
    broker.start()
    again = replayed(broker, subscriber, client(broker.port, user="partner", password="partner"))
    assert [m.payload for m in again if m.topic.startswith("origin/a/wis2/" + MSC)] == \
        [m.payload for m in fresh]


def test_a_journal_of_the_old_process_is_refused_while_it_runs(gb, tmp_path):
    """One process at a time has a data folder: status 3, and the first goes on."""
    from harness.isobar import isobar
    broker = gb()
    second = isobar("run", "-c", broker.path)
    assert second.returncode == 3, second.stderr
    assert broker.data in second.stderr
    assert broker.get("/readyz")[0] == 200


# --- sync: always -------------------------------------------------------------


def puback_ids(data):
    """Packet ids of the PUBACKs in what was written to a publisher or source."""
    found, at = [], 0
    while at + 2 <= len(data):
        kind, length, shift = data[at] >> 4, 0, 0
        while True:
            at += 1
            length |= (data[at] & 0x7F) << shift
            shift += 7
            if data[at] < 0x80:
                break
        if kind == 4:
            found.append(int.from_bytes(data[at + 1:at + 3], "big"))
        at += 1 + length
    return found


def records_of(call):
    """Ids of notifications in a write to a packets file."""
    return [m.decode() for m in
            re.findall(rb'"id": "([0-9a-f-]{36})"', call.data())]


@pytest.mark.parametrize("way", ["publisher", "source"])
def test_sync_always_syncs_before_every_batch_of_pubacks(way, tmp_path, gb, node, client):
    """Of every PUBACK written to a socket: the record it stands for was written, and then an
    fdatasync of that file ended, before the write of the PUBACK began."""
    output = str(tmp_path / "trace")
    a_node = node("dwd")
    broker = gb(
        {"dwd": {"centre_id": DWD, "url": a_node.url}} if way == "source" else {},
        accounts=[EVERYONE, PARTNER], config={"journal": {"size": "1GiB", "sync": "always"}},
        wrapper=["strace", "-f", "-yy", "-xx", "-s", "2000000", "-o", output, "-e",
                 "trace=pwrite64,pwritev,pwritev2,write,writev,send,sendto,sendmsg,sendmmsg,"
                 "fdatasync,fsync,sync_file_range"])
    messages = wnm.valid_many(DWD, 300)
    if way == "source":
        broker.wait_connected(DWD)
        client(a_node.port).publish_all(messages)
        broker.wait_metric("wmo_wis2_gb_messages_published_total", 300, centre_id=DWD)
        wait_until(lambda: len(a_node.process.find_log("Received PUBACK")) >= 300, 20, "PUBACKs")
        peer = f":{a_node.port}"
    else:
        publisher = client(broker.port, user="partner", password="partner")
        publisher.publish_all(messages, limit=60)
        peer = f":{broker.port}->"
    broker.end()
    check_trace(trace.read(output), peer, [m.id for m in messages])


def check_trace(calls, peer, ids):
    written = {}                   # id -> (file, when the write ended)
    for call in calls:
        if call.name.startswith("pwrite") and ".packets" in call.target:
            for identity in records_of(call):
                written.setdefault(identity, (call.target, call.ended))
    assert set(ids) <= written.keys(), f"{len(set(ids) - written.keys())} not seen written"
    syncs = [c for c in calls if c.name in ("fdatasync", "fsync") and c.result == 0]
    indexes = [c for c in calls if c.name.startswith("pwrite") and ".index" in c.target]
    assert syncs and indexes
    sends = [c for c in calls if peer in c.target and c.name in
             ("write", "writev", "send", "sendto", "sendmsg", "sendmmsg")]
    acknowledged = 0
    for send in sends:
        for _ in puback_ids(send.data()):
            # PUBACKs come in the order of PUBLISH: the n-th stands for the n-th message.
            file, when = written[ids[acknowledged]]
            acknowledged += 1
            for suffix in (file, file.replace(".packets", ".index")):
                assert any(s.target == suffix and s.begun > when and s.ended < send.begun
                           for s in syncs), f"PUBACK {acknowledged}: {suffix} not synced before"
    assert acknowledged == len(ids)
