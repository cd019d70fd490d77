"""The image as an operator runs it: unprivileged, on a read-only root, with its data in a volume."""
import json
import re
import time

import pytest
from containers import Container, Network, Volume, docker, inspect, mosquitto, version

from harness import notifications as wnm
from harness.clients import assert_same

CENTRE = "de-dwd"
MIB = 1 << 20
STOP_LIMIT_S = 20
HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
CONFIG = """\
data_dir: /var/lib/isobar
listeners: [mqtt://0.0.0.0:1883, http://0.0.0.0:8080]
journal: {size: 256MiB}
"""
SOURCE = f"""\
centre_id: {CENTRE}
url: mqtt://node:1883
password: !file /run/secrets/node
"""


@pytest.fixture
def world(images, keep, tmp_path):
    return World(images, keep, tmp_path)


class World:
    """A node, a volume, and Isobar with both."""

    def __init__(self, images, keep, folder):
        self.image = images.get("isobar")
        self.keep = keep
        self.network = keep(Network())
        self.volume = keep(Volume())
        self.node = keep(mosquitto(images.get("parts"), self.network))
        self.files = {"/etc/isobar/isobar.yaml": CONFIG, "/etc/isobar/sources.d/dwd.yaml": SOURCE,
                      "/run/secrets/node": "secret\n"}
        self.mounts = []
        for number, (inside, text) in enumerate(self.files.items()):
            path = folder / str(number)
            path.write_text(text, encoding="ascii")
            path.chmod(0o444)
            self.mounts += ["-v", f"{path}:{inside}:ro"]

    def isobar(self, *options, health="1s"):
        return self.keep(Container(
            self.image, network=self.network, options=[
                *HARDENED, *self.mounts, "-v", f"{self.volume.name}:/var/lib/isobar",
                "-p", "127.0.0.1::1883", "-p", "127.0.0.1::8080", "--health-interval", health,
                *options]))


def is_healthy(container):
    return container.state["Health"]["Status"] == "healthy"


def start(world):
    container = world.isobar()
    container.wait(lambda: is_healthy(container), "healthy")
    container.wait_log("source connected")
    return container


def test_a_notification_passes_and_a_new_container_goes_on(world, client, subscriber):
    first = start(world)
    publisher = client(world.node.port(1883))
    reader = subscriber(first.port(1883), "origin/a/wis2/#", client_id="lasting", clean=False,
                        expiry=600)
    before = wnm.valid_many(CENTRE, 20)
    publisher.publish_all(before)
    assert_same(reader.wait_count(20), before)
    reader.disconnect()

    began = time.monotonic()
    assert first.stop(STOP_LIMIT_S) == 0, first.log()       # SIGKILL would be 137
    assert time.monotonic() - began < STOP_LIMIT_S
    assert "cli stopped" in first.log()
    first.end()

    missed = wnm.valid_many(CENTRE, 20)                     # they wait at the node
    publisher.publish_all(missed)
    second = start(world)
    again = subscriber(second.port(1883), "origin/a/wis2/#", client_id="lasting", clean=False,
                       expiry=600)
    assert again.connects == [(0, True)]                    # the session is there
    assert_same(again.wait_count(20), missed)
    publisher.publish_all(before)                           # and so is the antiloop's memory
    publisher.publish_all(last := wnm.valid_many(CENTRE, 1))
    assert_same(again.wait_count(21), missed + last)


def test_it_is_nobody_and_can_write_nothing_but_its_data(world):
    isobar = start(world)
    assert isobar.sh("id -u; id -g") == "10001\n10001"
    status = dict(re.findall(r"^(\w+):\s+(\S+)", isobar.sh("cat /proc/1/status"), re.M))
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    for path in "/", "/etc/isobar", "/etc/isobar/sources.d", "/usr/bin", "/tmp", "/run":
        assert isobar.exec("touch", f"{path}/x", check=False).returncode != 0, path
    isobar.sh("touch /var/lib/isobar/x && rm /var/lib/isobar/x")
    assert isobar.exec("isobar", "check").startswith("ok:")


def test_health_says_what_readiness_says(world):
    world.mounts += ["--health-start-period", "0s", "--health-retries", "1"]
    isobar = world.isobar()
    isobar.wait(lambda: is_healthy(isobar), "healthy")
    asked = isobar.state["Health"]["Log"][-1]
    assert asked["ExitCode"] == 0 and json.loads(asked["Output"])["ready"] is True
    docker("kill", "--signal", "STOP", isobar.name)         # it hangs
    isobar.wait(lambda: isobar.state["Health"]["Status"] == "unhealthy", "unhealthy")
    docker("kill", "--signal", "CONT", isobar.name)
    isobar.wait(lambda: is_healthy(isobar), "healthy again")


def test_commands_work_in_the_running_container(images, keep):
    """With /etc/isobar in a volume, which begins as the image's."""
    etc, data = keep(Volume()), keep(Volume())
    isobar = keep(Container(images.get("isobar"), options=[
        *HARDENED, "-v", f"{etc.name}:/etc/isobar", "-v", f"{data.name}:/var/lib/isobar",
        "--tmpfs", "/tmp", "--health-interval", "1s"]))
    isobar.wait(lambda: is_healthy(isobar), "healthy with the image's own configuration")
    isobar.exec("isobar", "account", "add", "ops", "--admin", text="secret\n")
    isobar.exec("isobar", "source", "add", CENTRE, "--url", "mqtt://192.0.2.1:1883")
    assert CENTRE in isobar.exec("isobar", "source", "list")
    isobar.wait_log("source failed name=" + CENTRE)         # the running one has taken it


def test_the_image_says_what_it_is(images):
    config = inspect("image", images.get("isobar"))["Config"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == version()      # by default
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["User"] == "10001:10001" and config["StopSignal"] == "SIGTERM"
    assert list(config["Volumes"]) == ["/var/lib/isobar"]
    assert sorted(config["ExposedPorts"]) == ["1883/tcp", "8080/tcp", "8443/tcp", "8883/tcp"]
    assert config["Healthcheck"]["Test"] == ["CMD", "isobar", "health"]


def test_the_image_adds_less_than_40_mb_to_its_base(images, record_property):
    added = [inspect("image", images.get(what))["Size"] for what in ("isobar", "base")]
    grown = (added[0] - added[1]) / MIB
    print(f"\nthe image adds {grown:.1f} MiB to its base of {added[1] / MIB:.1f} MiB")
    record_property("added_mib", round(grown, 1))
    assert grown < 40
