"""The playbooks on three machines and on the seven of the deployment guide: one Global Broker on Redis Cluster, behind
load balancers; upgraded under load, and with a machine lost and put back. Redis of the three has TLS, a password and
users; that of the seven has none of these.

Each set of machines has one life: the tests go on where the one before ended.
"""
import threading
import time

import pytest
from lab import Lab, package

from harness import notifications as wnm
from harness.clients import Client
from harness.process import wait_until

RATE = 20       # messages a second, while machines come and go
VICTIMS = {"three": "gb01", "seven": "waloop01"}     # does everything; takes in
SETTINGS = {
    "three": {"layout_redis_tls": True, "redis_cluster_acl": True, "vault_redis_password": "s3cret/of+Redis"},
    "seven": {},
}


@pytest.fixture(scope="module", params=["three", "seven"])
def lab(request, images, tmp_path_factory):
    made = Lab(images, request.param, tmp_path_factory.mktemp(request.param), **SETTINGS[request.param])
    try:
        yield made.start()
        if request.session.testsfailed:
            made.tell()
    finally:
        made.end()


class Reader(Client):
    """As the documentation tells subscribers to be: a session that lasts; who finds none replays."""

    def _on_connect(self, client, userdata, flags, reason, props=None):
        super()._on_connect(client, userdata, flags, reason, props)
        if not flags["session present"]:
            client.subscribe("$replay/10m/origin/a/wis2/#", qos=1)

    def ids(self):
        return {m.payload for m in self.messages}


class Load:
    """A WIS2 Node that does not pause."""

    def __init__(self, client, centre):
        self.client = client
        self.centre = centre
        self.sent = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.over.wait(1 / RATE):
            message = wnm.valid(self.centre, len(self.sent))
            self.client.publish(message)
            self.sent.append(message)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *failure):
        self.over.set()
        self.thread.join()


def redis_nodes(lab, name):
    """(address, port, is_master) of the living, as one machine sees them."""
    found = []
    for line in lab.redis(name, "cluster nodes").split("\n"):
        word = line.split()
        if "fail" not in word[2].split(","):
            found.append((*word[1].split("@")[0].split(":"), "master" in word[2], word[0], word[3]))
    return found


def assert_redis_is_whole(lab, name):
    nodes = redis_nodes(lab, name)
    where = {row[3]: row[0] for row in nodes}
    masters = [row for row in nodes if row[2]]
    replicas = [row for row in nodes if not row[2]]
    assert len(masters) == 3 and len(replicas) == 3, nodes
    assert len({row[0] for row in masters}) == 3                        # one machine is one vote
    assert {row[4] for row in replicas} == {row[3] for row in masters}  # each has one
    assert all(where[row[4]] != row[0] for row in replicas)             # on another machine
    assert "cluster_slots_ok:16384" in lab.redis(name, "cluster info")


def assert_well(lab):
    for name in lab.isobars:
        wait_until(lambda: (lambda r: r["ready"] and not r["degraded"])(lab.json(name, "/readyz")), 60,
                   lambda: f"{name}: {lab.json(name, '/readyz')}", pause=0.5)


def test_empty_machines_become_one_global_broker(lab):
    began = time.monotonic()
    lab.play("site.yml")
    print(f"from empty machines to a Global Broker: {time.monotonic() - began:.0f} s")
    assert_redis_is_whole(lab, lab.isobars[0])
    assert_well(lab)


def test_a_second_run_changes_nothing(lab):
    assert lab.play("site.yml").changes() == []


def test_a_stranger_reaches_subscribers_ports_of_the_load_balancers_only(lab):
    stranger = lab.stranger()
    for name in lab.machines:
        door = name in lab.rows["balancer"]["hosts"]
        found = {port: lab.is_open(stranger, name, port) for port in (443, 8883, 22, 6379, 16379, 8080, 18883)}
        assert found == {443: door, 8883: door, 22: False, 6379: False, 16379: False, 8080: False, 18883: False}


def test_what_a_node_publishes_arrives_through_every_load_balancer(lab):
    lab.node("de-dwd")
    lab.play("add-source.yml", "-e", "source=de-dwd", "-e", "url=mqtt://de-dwd:1883")
    lab.wait_connected(1)
    readers = [lab.subscriber("origin/a/wis2/#", host=lab.addresses[name]) for name in lab.rows["balancer"]["hosts"]]
    readers.append(lab.subscriber("origin/a/wis2/#"))
    sent = wnm.valid_many("de-dwd", 20)
    lab.publisher("de-dwd").publish_all(sent)
    for reader in readers:
        reader.wait_count(20, limit=60)
        assert sorted(m.payload for m in reader.messages) == sorted(m.payload for m in sent)    # each once


def in_force_at(lab, name):
    """When the machine last took its files in, by the one clock that all containers have."""
    log = lab.sh(name, "journalctl -u isobar -o short-unix --no-pager | grep 'cli reloaded' | tail -n 1")
    return float(log.split()[0])


def test_an_added_source_is_in_force_on_every_machine_at_once(lab):
    lab.node("fr-meteofrance")
    reader = lab.subscriber("origin/a/wis2/fr-meteofrance/#")
    lab.play("add-source.yml", "-e", "source=fr-meteofrance", "-e", "url=mqtt://fr-meteofrance:1883")
    told = [float(lab.sh(name, "journalctl -u isobar -o short-unix --no-pager | grep Reloading | tail -n 1").split()[0])
            for name in lab.isobars]
    assert all("fr-meteofrance" in lab.sources(name) for name in lab.isobars)
    last = max(in_force_at(lab, name) for name in lab.isobars)
    print(f"{lab.layout}: from the first machine told by add-source.yml to the last that has it: {last - min(told):.2f} s")
    lab.wait_connected(3)       # two nodes hold the first one
    sent = wnm.valid_many("fr-meteofrance", 5)
    lab.publisher("fr-meteofrance").publish_all(sent)
    reader.wait_count(5, limit=60)


def test_one_command_on_one_machine_adds_a_source_to_all_and_the_playbook_removes_it(lab):
    began = time.time()
    lab.sh(lab.isobars[-1], "isobar source add br-inmet --url mqtt://br-inmet:1883 --username u")
    wait_until(lambda: all("br-inmet" in lab.sources(name) for name in lab.isobars), 10, "it on all", pause=0.1)
    last = max(in_force_at(lab, name) for name in lab.isobars)
    print(f"{lab.layout}: from `isobar source add` on one machine to the last that has it: {last - began:.2f} s")
    lab.play("remove-source.yml", "-e", "source=br-inmet")
    wait_until(lambda: not any("br-inmet" in lab.sources(name) for name in lab.isobars), 10, "it on none", pause=0.1)
    assert lab.play("remove-source.yml", "-e", "source=br-inmet").count("changed") == 0


def test_a_rolling_upgrade_under_load_loses_nothing(lab):
    reader = lab.subscriber(kind=Reader, client_id="archive", clean=False, expiry=3600)
    with Load(lab.publisher("de-dwd"), "de-dwd") as load:
        played = lab.play("upgrade.yml", "-e", f"isobar_deb={package('+next')}")
    assert played.changes().count("isobar : Install the package") == len(lab.isobars)
    for name in lab.isobars:
        assert lab.sh(name, "dpkg-query -W -f '${Version}' isobar").endswith("+next")
    sent = {m.payload for m in load.sent}
    reader.wait(lambda: sent <= reader.ids(), 120, f"{len(sent)} messages")
    print(f"{len(sent)} messages during the upgrade, {len(reader.connects) - 1} reconnections, all arrived")


def test_a_killed_machine_loses_nothing_and_is_put_back_by_the_same_playbook(lab):
    victim = VICTIMS[lab.layout]
    reader = lab.subscriber(kind=Reader, client_id="archive2", clean=False, expiry=3600)
    lab.play("backup.yml")
    with Load(lab.publisher("de-dwd"), "de-dwd") as load:
        lab.kill(victim)
        killed = time.monotonic()
        mark = len(load.sent)
        wait_until(lambda: len(load.sent) > mark + RATE and load.sent[mark + RATE].payload in reader.ids(), 120,
                   "what was published after that to arrive", pause=0.2)
        print(f"{lab.layout}: {victim} killed; what came after arrived after {time.monotonic() - killed:.0f} s")
    sent = {m.payload for m in load.sent}
    reader.wait(lambda: sent <= reader.ids(), 120, "every message")
    lab.boot(victim)
    lab.wait_booted(victim)
    lab.write_inventory()
    # Its own work only on seven; everything, and its journal, on three.
    lab.play("site.yml", "-e", f"isobar_deb={package('+next')}",
             *(["--limit", victim] if lab.layout == "seven" else ["-e", "isobar_restore=new"]))
    assert_redis_is_whole(lab, victim)
    assert_well(lab)
    assert lab.sources(victim) == {"de-dwd", "fr-meteofrance"}      # not what was removed
    if lab.layout == "three":
        assert lab.play("site.yml", "--check", "-e", f"isobar_deb={package('+next')}").changes() == []
    more = wnm.valid_many("de-dwd", 20)
    lab.publisher("de-dwd").publish_all(more)
    reader.wait(lambda: {m.payload for m in more} <= reader.ids(), 120, "what is published now")
