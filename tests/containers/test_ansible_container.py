"""The playbooks on one machine without Internet that runs Isobar in a container, and Grafana and Portainer beside it:
Docker in a container that boots. All images are carried over; those of Grafana and Portainer are stand-ins of the same
name that sleep, as the real ones need a registry: what counts is that they are run, and can read what they are to read.

One machine and one life: the tests go on where the one before ended.
"""
import json
import os
import uuid

import pytest
from containers import BUILD, docker
from lab import Lab

from harness import notifications as wnm
from harness.process import wait_until

HOST = "gb01"
STANDINS = {"grafana/grafana:12.2.0": "USER 472", "portainer/portainer-ce:lts": "USER 0"}


class Carried:
    """An image of Isobar under a name that stays the same, in an archive."""

    def __init__(self, images, folder):
        self.images = images
        self.name = f"isobar-test-{uuid.uuid4().hex[:8]}/isobar:latest"
        self.archive = os.path.join(str(folder), "isobar.tar")
        self.make("of today")

    def make(self, version):
        docker("build", "-t", self.name, "-", text=f"FROM {self.images.get('isobar')}\nLABEL version='{version}'\n",
               env={"DOCKER_BUILDKIT": "0"})
        docker("save", "-o", self.archive, self.name)

    def end(self):
        docker("image", "rm", "--force", self.name)


def make_standins(images, folder):
    os.makedirs(folder, exist_ok=True)
    for i, (name, user) in enumerate(STANDINS.items()):
        docker("build", "-t", name, "-", text=f"FROM {images.get('base')}\n{user}\nENTRYPOINT [\"sleep\", \"inf\"]\n",
               env={"DOCKER_BUILDKIT": "0"})
        docker("save", "-o", os.path.join(folder, f"{i}.tar"), name)
        docker("image", "rm", name)


@pytest.fixture(scope="module")
def carried(images, tmp_path_factory):
    made = Carried(images, tmp_path_factory.mktemp("image"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def lab(request, images, carried, tmp_path_factory):
    store = os.path.join(BUILD, "offline-docker")
    make_standins(images, os.path.join(store, "images"))
    made = Lab(images, "one", tmp_path_factory.mktemp("container"), has_docker=True, isobar_install="container",
               isobar_image=carried.name, isobar_image_archive=carried.archive, offline_store=store,
               grafana_enabled=True, portainer_enabled=True, vault_grafana_password="s3cret of Grafana")
    try:
        yield made.start()
        if request.session.testsfailed:
            made.tell()
    finally:
        made.end()


def inside(lab, container):
    return json.loads(lab.sh(HOST, f"docker inspect {container}"))[0]


def test_check_mode_on_an_empty_machine_changes_nothing(lab):
    played = lab.play("site.yml", "--check", check=False)
    assert played.status == 0, played.text[-4000:]
    assert lab.sh(HOST, "command -v docker || true") == ""


def test_an_empty_machine_becomes_a_global_broker_in_a_container(lab):
    lab.play("site.yml")
    assert lab.json(HOST, "/readyz")["ready"]
    it = inside(lab, "isobar")
    assert it["Config"]["User"].split(":")[0] == lab.sh(HOST, "id -u isobar") != "0"
    assert it["HostConfig"]["ReadonlyRootfs"] and it["HostConfig"]["CapDrop"] == ["ALL"]


def test_a_second_run_changes_nothing(lab):
    assert lab.play("site.yml").changes() == []
    assert lab.play("site.yml", "--check").changes() == []


@pytest.mark.parametrize("folder", ["/", "/root", "/etc/isobar", "/etc/isobar/sources.d", "/var/lib/isobar", "/usr/bin"])
def test_the_command_isobar_works_wherever_one_is(lab, folder):
    assert "ready" in lab.sh(HOST, f"cd {folder} && isobar health")
    lab.sh(HOST, f"cd {folder} && isobar check")


def test_the_command_writes_where_one_is(lab):
    lab.sh(HOST, "cd /root && isobar export here.tar && tar -tf here.tar > /dev/null && rm here.tar")
    lab.sh(HOST, "cd /etc/isobar/sources.d && isobar source add br-inmet --url mqtt://br-inmet:1883 && "
                 "isobar source remove br-inmet")
    assert lab.sources(HOST) == set()


def test_grafana_and_portainer_run_and_can_read_what_is_theirs(lab):
    for name in ("grafana", "portainer"):
        assert lab.sh(HOST, f"systemctl is-active {name}") == "active"
        assert inside(lab, name)["State"]["Running"]
    environment = dict(row.split("=", 1) for row in inside(lab, "grafana")["Config"]["Env"])
    password = environment["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert lab.sh(HOST, f"docker exec grafana cat {password}") == "s3cret of Grafana"
    assert lab.sh(HOST, "su isobar -s /bin/sh -c 'cat /etc/grafana/password' 2> /dev/null || echo refused") == "refused"
    assert "overview.json" in lab.sh(HOST, "docker exec grafana ls /etc/grafana/dashboards")
    lab.sh(HOST, "docker exec grafana find /etc/grafana/provisioning -name '*.yml' -exec cat {} + > /dev/null")
    assert "success" in lab.sh(HOST, f"curl -sS '{environment['PROMETHEUS_URL']}/api/v1/query?query=up'")


def test_a_source_is_added_and_what_it_sends_arrives(lab):
    lab.node("de-dwd")
    lab.play("add-source.yml", "-e", "source=de-dwd", "-e", "url=mqtt://de-dwd:1883")
    lab.wait_connected(1)
    reader = lab.subscriber("origin/a/wis2/#")
    sent = wnm.valid_many("de-dwd", 20)
    lab.publisher("de-dwd").publish_all(sent)
    reader.wait_count(20, limit=60)
    assert [m.payload for m in reader.messages] == [m.payload for m in sent]


def test_an_upgrade_to_another_image_of_the_same_name_restarts_it_with_its_sessions(lab, carried):
    reader = lab.subscriber("origin/a/wis2/#", client_id="reader", clean=False, expiry=3600)
    assert "isobar : Restart" not in lab.play("upgrade.yml").changes()
    carried.make("of tomorrow")
    assert "isobar : Restart" in lab.play("upgrade.yml").changes()
    assert inside(lab, "isobar")["Config"]["Labels"]["version"] == "of tomorrow"
    reader.wait(lambda: len(reader.connects) == 2, 60, "a second CONNACK")
    assert reader.connects[-1] == (0, True)
    assert lab.play("upgrade.yml").count("changed") == 0


def test_a_machine_goes_back_to_its_newest_backup(lab):
    lab.play("backup.yml")
    later = lab.subscriber("origin/a/wis2/#", client_id="later", clean=False, expiry=3600)
    later.disconnect()
    lab.play("restore.yml")
    later.connect()
    assert later.connects[-1] == (0, False)     # it came after the backup
    assert lab.sources(HOST) == {"de-dwd"}
    assert lab.play("site.yml", "--tags", "isobar,certificates").changes() == []


def test_it_is_back_by_itself_after_its_end(lab):
    lab.sh(HOST, "docker kill isobar > /dev/null")
    wait_until(lambda: lab.sh(HOST, "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/readyz || true") == "200",
               60, "it ready again", pause=0.2)
