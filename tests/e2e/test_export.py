"""`isobar export` and `isobar import`: a new machine takes an old one's place, counted by (subscriber, id)."""
import json
import os
import re
import shutil
import stat
import subprocess
import tarfile
from collections import Counter

import pytest

from harness import notifications as wnm
from harness.clients import V4, V5
from harness.isobar import Isobar, isobar
from harness.peer import V4 as PEER_V4, Peer, ack
from harness.process import binary, wait_until
from model.packets import PUBLISH, PUBREL

DWD = "de-dwd"
ALL = "origin/a/wis2/#"
FOR_EVER = 0xFFFFFFFF
ACCOUNTS = [{"user": "everyone", "password": "everyone", "read": [ALL, "sandbox/#"], "replay": "24h"},
            {"user": "writer", "password": "!SECRET", "read": ["#"], "write": ["sandbox/#"]}]
WAYS = pytest.mark.parametrize("way", ["stopped", "killed", "running"])


def key(message):
    return json.loads(message.payload)["id"]


def keys(messages):
    return Counter(key(m) for m in messages)


class Machines:
    """An old broker with a mosquitto WIS2 Node as its source, and a folder for the new one. All paths of the
    configuration are relative to its own folder, as on two machines."""

    def __init__(self, gb, node, tmp_path):
        self.node = node()
        self.old = gb(start=False, config={"data_dir": "data", "accounts_file": "accounts.yaml"},
                      sources={DWD: {"centre_id": DWD, "url": self.node.url,
                                     "checks": {"metadata": "off"}}})
        accounts = json.dumps(ACCOUNTS).replace('"!SECRET"', "!file secret.txt")
        with open(os.path.join(self.old.folder, "accounts.yaml"), "w", encoding="utf-8") as f:
            f.write(accounts)
        with open(os.path.join(self.old.folder, "secret.txt"), "w", encoding="utf-8") as f:
            f.write("very secret\n")
        self.archive = str(tmp_path / "broker.tar")
        self.new = Isobar(tmp_path / "new")
        shutil.rmtree(self.new.folder)
        self.new.data = os.path.join(self.new.folder, "data")

    def export(self, *options):
        done = isobar("export", "-c", self.old.path, *options, self.archive)
        assert done.returncode == 0, done.stderr
        return done

    def take_over(self, *options):
        done = isobar("import", "-c", self.new.path, *options, self.archive)
        assert done.returncode == 0, done.stderr
        return done

    def refuse(self, status, *options, archive=None):
        """stderr of an import that changes nothing."""
        before = tree(self.new.folder)
        done = isobar("import", "-c", self.new.path, *options, archive or self.archive)
        assert done.returncode == status, done.stderr
        assert tree(self.new.folder) == before
        return done.stderr

    def names(self):
        with tarfile.open(self.archive) as tar:
            return [m.name.removeprefix("isobar-export/") for m in tar]


def tree(folder):
    """Every file with its content."""
    found = {}
    for path, _, files in os.walk(folder):
        for name in files:
            with open(os.path.join(path, name), "rb") as f:
                found[os.path.join(path, name)] = f.read()
    return found


@pytest.fixture
def machines(gb, node, tmp_path, keeper):
    made = Machines(gb, node, tmp_path)
    keeper.keep(lambda: made.new.process and made.new.end())
    made.old.start()
    made.old.wait_connected(DWD)
    return made


def session(client, port, name, version):
    """A persistent subscriber, connected; what it was sent is in .messages."""
    return client(port, version=version, client_id=name, clean=False,
                  **({"expiry": FOR_EVER} if version == V5 else {}))


# --- taking over ---------------------------------------------------------------


@WAYS
def test_a_new_machine_goes_on_where_the_old_one_stopped(machines, client, subscriber, way):
    old, new = machines.old, machines.new
    at_node = client(machines.node.port)
    live = session(client, old.port, "live", V5)
    away = session(client, old.port, "away", V4)
    for one in (live, away):
        assert one.subscribe(ALL) == [1]
    away.disconnect()
    first = wnm.valid_many(DWD, 60)
    at_node.publish_all(first)
    live.wait_count(60)
    writer = client(old.port, user="writer", password="very secret")
    writer.flush([writer.publish(wnm.Message("sandbox/kept", b"kept"), retain=True)])
    assert isobar("client", "ban", "-c", old.path, "-i", "bad").returncode == 0

    if way == "running":
        told = machines.export().stderr
        assert "of a broker that runs" in told, told
    elif way == "stopped":
        old.wait_metric("isobar_acknowledged_total", 60)
        live.disconnect()
    old.kill() if way == "killed" else old.stop()
    if way != "running":
        machines.export()
    second = [wnm.valid(DWD, 100 + i) for i in range(30)]
    at_node.publish_all(second)             # the node keeps them for the client id
    told = machines.take_over().stdout
    assert "4 files of the configuration, 2 sessions" in told, told
    new.start()
    new.wait_connected(DWD)
    at_node.publish_all(first)              # once more: the antiloop knows them
    new.wait_received(90, DWD)
    assert new.metric("wmo_wis2_gb_messages_published_total", centre_id=DWD) == 30

    again = session(client, new.port, "live", V5)
    back = session(client, new.port, "away", V4)
    assert again.connects == [(0, True)] and back.connects == [(0, True)]
    wait_until(lambda: keys(second).keys() <= keys(again.messages).keys())
    wait_until(lambda: keys(first + second).keys() <= keys(back.messages).keys())
    repeats = keys(live.messages) + keys(again.messages) - keys(first + second)
    assert keys(back.messages) == keys(first + second), "away: each once"
    assert not repeats or way != "stopped"      # the others: what the last checkpoints cover
    late = subscriber(new.port, "sandbox/#")
    late.wait(lambda: late.messages, what="the retained message")
    assert (late.messages[0].payload, late.messages[0].retain) == (b"kept", True)
    assert client(new.port, client_id="bad", connect=False).refused() != 0
    new.stop()


def test_what_was_in_flight_is_sent_again_under_its_packet_id(machines, client):
    account = {"user": b"writer", "password": b"very secret", "clean": False}
    holds = Peer(machines.old.port, PEER_V4).connect("holds", **account)
    assert holds.subscribe("sandbox/#", qos=2) == [2]
    writer = client(machines.old.port, user="writer", password="very secret")
    writer.flush([writer.publish(wnm.Message("sandbox/a", b"one"), qos=1)])
    one = holds.message()                   # not acknowledged
    writer.flush([writer.publish(wnm.Message("sandbox/a", b"two"), qos=2)])
    two = holds.message()
    holds.send(ack(0x50, two.packet_id))    # received, not yet complete
    holds.expect(PUBREL)
    holds.end()
    machines.old.stop()
    machines.export()
    machines.take_over()
    machines.new.start()
    again = Peer(machines.new.port, PEER_V4).connect("holds", **account)
    assert again.connack.session_present
    found = {p.packet_id: p for p in (again.next(), again.next())}
    assert (found[one.packet_id].kind, found[one.packet_id].dup) == (PUBLISH, True)
    assert found[one.packet_id].payload == b"one"
    assert found[two.packet_id].kind == PUBREL
    again.end()


def test_messages_and_identities_go_their_own_ways(machines, client, subscriber):
    at_node = client(machines.node.port)
    messages = wnm.valid_many(DWD, 20)
    at_node.publish_all(messages)
    machines.old.wait_metric("wmo_wis2_gb_messages_published_total", 20, centre_id=DWD)
    machines.old.stop()
    machines.export("--without", "messages")
    assert not [n for n in machines.names() if n.endswith(".packets")]
    machines.take_over()
    machines.new.start()
    machines.new.wait_connected(DWD)
    at_node.publish_all(messages)
    machines.new.wait_metric("isobar_duplicates_total", 20, centre_id=DWD)
    assert machines.new.metric("wmo_wis2_gb_messages_published_total", centre_id=DWD) == 0
    machines.new.stop()
    machines.new.forget()
    shutil.rmtree(machines.new.folder)
    machines.export("--since", "6h")        # the old one again, with its messages
    machines.take_over()
    machines.new.start()
    replayed = subscriber(machines.new.port, "$replay/1h/" + ALL)
    replayed.wait_count(20)
    assert keys(replayed.messages) == keys(messages)


def test_an_old_machine_that_goes_on_is_not_disturbed(machines, client, subscriber):
    """Exports one after the other under load: every archive is sound, and nothing is lost meanwhile."""
    at_node = client(machines.node.port)
    live = subscriber(machines.old.port, ALL)
    sent = []
    for round_ in range(3):
        batch = [wnm.valid(DWD, 1000 * round_ + i) for i in range(200)]
        sent += batch
        mids = [at_node.publish(m) for m in batch]
        machines.export()
        at_node.flush(mids)
        shutil.rmtree(machines.new.folder, ignore_errors=True)
        machines.take_over()
    live.wait_count(len(sent))
    assert keys(live.messages) == keys(sent)
    assert not os.path.exists(os.path.join(machines.old.data, "snapshot", "sessions", "data.mdb"))


# --- the archive ---------------------------------------------------------------


def test_other_tools_read_the_archive(machines, tmp_path):
    machines.old.stop()
    told = machines.export().stderr
    assert "passwords and keys" in told
    assert stat.S_IMODE(os.stat(machines.archive).st_mode) == 0o600
    names = machines.names()
    assert names[0] == "manifest.yaml" and names[-1] == "SHA256SUMS"
    assert {"configuration/isobar.yaml", "configuration/secret.txt", "sources/de-dwd.yaml",
            "accounts/accounts.yaml", "data/sessions/data.mdb"} <= set(names)
    assert len([n for n in names if n.endswith("accounts.yaml")]) == 1
    assert not [n for n in names if "control" in n or "lock" in n]
    subprocess.run(["tar", "xf", machines.archive, "-C", tmp_path], check=True)
    subprocess.run(["sha256sum", "-c", "--quiet", "--strict", "isobar-export/SHA256SUMS"], check=True,
                   cwd=tmp_path)
    manifest = (tmp_path / "isobar-export" / "manifest.yaml").read_text()
    assert "\nformat: 1\n" in manifest and "\nstate: stopped\n" in manifest, manifest


def test_an_archive_goes_through_a_pipe(machines):
    machines.old.stop()
    os.makedirs(machines.new.folder)
    writer = subprocess.Popen([binary(), "export", "-c", machines.old.path, "-"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    reader = subprocess.run([binary(), "import", "-c", machines.new.path, "-"], stdin=writer.stdout,
                            capture_output=True, text=True, check=False)
    assert writer.wait() == 0 and reader.returncode == 0, reader.stderr
    machines.new.start()
    machines.new.stop()


def test_a_journal_within_goes_behind_its_position(machines):
    """As a spool has one: what the position says was read must be in the copy."""
    machines.old.stop()
    spool = os.path.join(machines.old.data, "cluster", "spool")
    shutil.copytree(os.path.join(machines.old.data, "journal"), spool)
    with open(os.path.join(machines.old.data, "cluster", "spool.position"), "w", encoding="ascii") as f:
        f.write("0\n")
    machines.export()
    names = [n for n in machines.names() if n.startswith("data/cluster/")]
    assert names[0] == "data/cluster/spool.position"
    assert [n for n in names if n.endswith(".packets")]
    assert not [n for n in names if n.endswith("lock")]


def test_what_lies_outside_is_named_and_left_out(machines, tmp_path):
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_text("s\n")
    accounts = os.path.join(machines.old.folder, "accounts.yaml")
    with open(accounts, "a", encoding="utf-8") as f:
        f.write("\n")
    machines.old.write_source("other", '{"centre_id": "ca-eccc-msc", "url": "mqtt://127.0.0.1:1", '
                                       f'"password": !file {elsewhere}}}')
    told = machines.export("--without", "accounts").stderr
    assert f"left out: {elsewhere}\n" in told, told
    assert "accounts" not in "".join(machines.names())
    assert "sources/other.yaml" in machines.names()
    done = isobar("export", "-c", machines.old.path, "--without", "nonsense", machines.archive)
    assert done.returncode == 2 and "configuration, sources, accounts" in done.stderr


# --- refusals ------------------------------------------------------------------


def test_an_import_that_is_not_right_changes_nothing(machines):
    machines.old.stop()
    machines.export()
    size = os.path.getsize(machines.archive)
    with open(machines.archive, "rb") as f:
        whole = f.read()
    place = whole.index(b"very secret")

    def variant(content):
        path = machines.archive + ".bad"
        with open(path, "wb") as f:
            f.write(content)
        return path

    assert "not complete" in machines.refuse(1, archive=variant(whole[:size // 2]))
    flipped = whole[:place] + b"Very" + whole[place + 4:]
    assert "configuration/secret.txt is damaged" in machines.refuse(1, archive=variant(flipped))
    assert "no archive" in machines.refuse(1, archive=machines.old.path)
    newer = whole.replace(b"\nformat: 1\n", b"\nformat: 2\n")
    assert "newer version" in machines.refuse(1, archive=variant(newer))
    assert not os.path.exists(machines.new.data)
    assert "No such file" in machines.refuse(3, archive="/nonexistent")
    assert "one file" in machines.refuse(2, machines.archive)


def test_what_is_there_is_put_aside_only_when_told(machines):
    machines.old.stop()
    machines.export()
    os.makedirs(os.path.join(machines.new.data, "import.new", "journal"))     # of an import that was killed
    machines.take_over()
    assert not os.path.exists(os.path.join(machines.new.data, "import.new"))
    told = machines.refuse(1)
    assert "is not empty; --replace" in told, told
    told = machines.take_over("--replace").stdout
    aside = re.search(r"is now in (\S*replaced-\S+)", told).group(1)
    assert os.path.exists(os.path.join(aside, "sessions", "data.mdb"))
    assert [n for n in os.listdir(machines.new.folder) if n.startswith("isobar.yaml.replaced-")]
    machines.new.start()
    done = isobar("import", "-c", machines.new.path, "--replace", machines.archive)
    assert done.returncode == 1 and "a broker runs on it" in done.stderr
    machines.new.stop()


def test_parts_are_left_as_they_are(machines):
    machines.old.stop()
    machines.export()
    # Where to, nobody has said: not to the built-in defaults' places.
    assert "No such file" in machines.refuse(2, "--without", "configuration")
    os.makedirs(machines.new.folder)
    machines.new.config["data_dir"] = machines.new.data
    machines.new.write_config()
    told = machines.refuse(1)
    assert "isobar.yaml: is there; --replace" in told, told
    machines.take_over("--without", "configuration", "--without", "sources", "--without", "accounts")
    assert not os.path.exists(machines.new.sources_folder)
    machines.new.start()
    machines.new.stop()


def test_a_broker_that_is_neither_here_nor_there(machines, tmp_path):
    done = isobar("export", "-c", tmp_path / "none.yaml", tmp_path / "x")
    assert done.returncode == 2, done.stderr
    machines.old.stop()
    machines.old.forget()
    done = isobar("export", "-c", machines.old.path, tmp_path / "x")
    assert done.returncode == 3 and not os.path.exists(tmp_path / "x"), done.stderr


def test_an_archive_within_data_dir_is_not_part_of_itself(machines):
    machines.archive = os.path.join(machines.old.data, "backup.tar")
    machines.export()
    first = machines.names()
    machines.export()
    assert machines.names() == first and not [n for n in first if "backup" in n]


def test_certificates_go_along_as_what_links_lead_to(gb, authority, tmp_path):
    """As certbot keeps them: links in the configuration's folder, files elsewhere."""
    issued = authority.issue("elsewhere")
    old = gb(start=False, config={"data_dir": "data", "listeners": ["mqtts://127.0.0.1:0", "http://127.0.0.1:0"],
                                  "tls": {"certificate": "tls/fullchain.pem", "key": "tls/privkey.pem"}})
    os.makedirs(os.path.join(old.folder, "tls"))
    os.symlink(issued.certificate, os.path.join(old.folder, "tls", "fullchain.pem"))
    os.symlink(issued.key, os.path.join(old.folder, "tls", "privkey.pem"))
    old.start()
    old.stop()
    archive = str(tmp_path / "a.tar")
    assert isobar("export", "-c", old.path, archive).returncode == 0
    path = str(tmp_path / "new" / "isobar.yaml")
    done = isobar("import", "-c", path, archive)
    assert done.returncode == 0 and "mend" not in done.stderr, done.stderr
    key = tmp_path / "new" / "tls" / "privkey.pem"
    assert not key.is_symlink() and key.read_bytes() == open(issued.key, "rb").read()
    assert stat.S_IMODE(key.stat().st_mode) == stat.S_IMODE(os.stat(issued.key).st_mode)
