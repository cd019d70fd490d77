"""The Ansible module that makes Redis instances one cluster, with real instances: three machines are three addresses
of the loopback network. No container is needed.
"""
import json
import os
import shutil
import subprocess

import pytest
from lab import PLAYBOOKS

from harness.ports import free_port
from harness.process import Process, wait_until

LIBRARY = os.path.join(PLAYBOOKS, "roles", "redis_cluster", "library")
HOSTS = {"a": "127.0.1.1", "b": "127.0.1.2", "c": "127.0.1.3"}


class Instance:
    def __init__(self, folder, host, port):
        self.host, self.address, self.port = host, HOSTS[host], port
        self.folder = os.path.join(str(folder), f"{host}-{port}")
        self.process = None

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        self.process = Process(
            ["redis-server", "--bind", self.address, "--port", str(self.port), "--dir", self.folder,
             "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-announce-ip", self.address,
             "--cluster-allow-replica-migration", "no", "--appendonly", "yes", "--save", "", "--protected-mode", "no"],
            f"redis {self.host}:{self.port}", out=subprocess.PIPE)
        wait_until(lambda: self.cli("ping") == "PONG", what="PONG", pause=0.1)

    def cli(self, *words):
        done = subprocess.run(["redis-cli", "-h", self.address, "-p", str(self.port), *words], text=True,
                              capture_output=True, check=False)
        return done.stdout.strip()

    def kill(self):
        self.process.popen.kill()
        self.process.popen.wait()
        self.process = None

    def wipe(self):
        shutil.rmtree(self.folder)


class Six:
    """Two instances on each of three machines, as the role would make them."""

    def __init__(self, folder):
        ports = (free_port(), free_port())
        self.instances = [Instance(folder, host, port) for port in ports for host in HOSTS]

    def of(self, host):
        return [i for i in self.instances if i.host == host]

    def run(self, *options, instances=None):
        """What the module returns, with `failed`."""
        arguments = {"instances": [{"host": i.host, "address": i.address, "port": i.port}
                                   for i in instances or self.instances], "patience": 60}
        done = subprocess.run(
            ["ansible", "localhost", "-c", "local", "-M", LIBRARY, "-m", "redis_cluster", "-a", json.dumps(arguments),
             "-e", "ansible_python_interpreter=/usr/bin/python3", *options],
            text=True, capture_output=True, check=False, env={**os.environ, "ANSIBLE_NOCOLOR": "1"})
        head, text = done.stdout.split("=>", 1)
        return {**json.loads(text), "failed": "FAILED" in head}

    def rows(self, instance=None):
        return [line.split() for line in (instance or self.instances[-1]).cli("cluster", "nodes").split("\n")]

    def assert_whole(self):
        rows = self.rows()
        assert len(rows) == 6 and all("fail" not in row[2] for row in rows), rows
        where = {row[0]: row[1].split(":")[0] for row in rows}
        masters = [row for row in rows if "master" in row[2]]
        replicas = [row for row in rows if "slave" in row[2]]
        assert len({where[row[0]] for row in masters}) == 3
        assert {row[3] for row in replicas} == {row[0] for row in masters}
        assert all(where[row[3]] != where[row[0]] for row in replicas)
        assert "cluster_slots_ok:16384" in self.instances[0].cli("cluster", "info")


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    made = Six(tmp_path_factory.mktemp("redis"))
    try:
        for instance in made.instances:
            instance.start()
        yield made
    finally:
        for instance in made.instances:
            if instance.process:
                instance.kill()


def test_check_mode_says_that_a_cluster_would_be_made_and_makes_none(six):
    assert six.run("--check")["changed"] is True
    assert len(six.rows()) == 1


def test_empty_instances_become_a_cluster_with_each_replica_on_another_machine(six):
    assert six.run()["changed"] is True
    six.assert_whole()


def test_a_cluster_as_it_should_be_is_left_alone(six):
    done = six.run()
    assert done["changed"] is False and done["masters"] == ["a", "b", "c"]


def test_an_instance_out_of_reach_is_named(six):
    lost = six.of("c")[1]
    done = six.run(instances=[i for i in six.instances if i is not lost] +
                   [Instance("/nonexistent", "c", free_port())])
    assert done["failed"] and "Could not connect" in done["msg"] and "127.0.1.3" in done["msg"]


def test_a_replica_on_the_machine_of_its_master_is_found(six):
    first = six.instances[0]
    pair = next(i for i in six.of(first.host) if i is not first)
    former = next(row[3] for row in six.rows(pair) if "myself" in row[2])
    first_id = next(row[0] for row in six.rows(first) if "myself" in row[2])
    spare = next(i for i in six.instances for row in six.rows(i) if "myself" in row[2] and row[3] == first_id)
    assert pair.cli("cluster", "replicate", first_id) == "OK"
    assert spare.cli("cluster", "replicate", former) == "OK"
    wait_until(lambda: sum(row[3] == first_id for row in six.rows()) == 1, what="the change to be known")
    done = six.run()
    assert done["failed"] and "same machine" in done["msg"]
    assert pair.cli("cluster", "replicate", former) == "OK"
    assert spare.cli("cluster", "replicate", first_id) == "OK"
    wait_until(lambda: six.run()["changed"] is False, 60, "the former shape")


def replace(six, host, wait):
    """Both instances of a machine come back empty; `wait`: after their replicas have taken over."""
    for instance in six.of(host):
        instance.kill()
        instance.wipe()
    if wait:
        wait_until(lambda: sum(bool(row[8:]) and "fail" not in row[2] for row in six.rows()) == 3
                   and any("fail" in row[2].split(",") for row in six.rows()), 60, "a replica to take over", pause=0.2)
    for instance in six.of(host):
        instance.start()


@pytest.mark.parametrize("host, wait", [("a", True), ("b", False)])
def test_a_machine_replaced_by_an_empty_one_joins_and_masters_are_spread_again(six, host, wait):
    replace(six, host, wait)
    done = six.run()
    assert not done["failed"], done
    assert any(change.startswith("joined") for change in done["changes"])
    assert any("takes over" in change for change in done["changes"])
    wait_until(lambda: all(len(six.rows(i)) == 6 for i in six.instances), what="the dead to be forgotten", pause=0.2)
    six.assert_whole()
    assert six.run()["changed"] is False
