"""The Debian package on a Debian that has booted systemd: installed, watched, confined, upgraded, removed.

One machine and one life: the tests go on where the one before ended.
"""
import os
import re
import subprocess

import pytest
from containers import BUILD, ROOT, Container, Network, mosquitto, run, version

from harness import notifications as wnm
from harness.clients import assert_same
from harness.process import binary

CENTRE = "de-dwd"
# What systemd needs of a container, and no more: a machine that may not give CAP_SYS_RESOURCE has no
# --privileged.
BOOT = ["--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_NICE", "--cgroupns",
        "private", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
        "--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"]
WATCHDOG_S = 5
EXPOSED_AT_MOST = 2.0       # of 10, as systemd-analyze counts
# What root may on that machine, and the service may not, but for what stands below.
PROBE = r"""
try() { name=$1; shift; if "$@" > /dev/null 2>&1; then echo "$name yes"; else echo "$name no"; fi; }
try write-etc touch /etc/isobar/x
try write-usr touch /usr/x
try write-var touch /var/tmp-x
try read-home ls /home
try new-namespace unshare --user true
try mount mount -t tmpfs tmpfs /tmp
try see-init test -e /proc/1/status
try setuid-bit sh -c 'cp /bin/true /var/lib/isobar/t && chmod u+s /var/lib/isobar/t'
try become-root setpriv --reuid 0 true
try packet-socket python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'
try raw-socket python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'
try write-and-execute python3 -c 'import mmap; mmap.mmap(-1, 4096, prot=7)'
try write-data touch /var/lib/isobar/x
try write-sources touch /etc/isobar/sources.d/x
try low-port python3 -c 'import socket; socket.socket().bind(("", 443))'
try connect python3 -c 'import socket; socket.socket(socket.AF_INET6); socket.socket(socket.AF_UNIX)'
rm -f /var/lib/isobar/t /var/lib/isobar/x /etc/isobar/sources.d/x
"""
MAY = {"write-data", "write-sources", "low-port", "connect"}


class Machine:
    def __init__(self, images, keep):
        self.network = keep(Network())
        self.node = keep(mosquitto(images.get("parts"), self.network))
        self.container = keep(Container(
            images.get("systemd"), network=self.network, alias="machine",
            options=[*BOOT, "-p", "127.0.0.1::1883", "-p", "127.0.0.1::8080"]))
        self.sh("for _ in $(seq 300); do systemctl is-system-running | grep -q running && exit 0; "
                "sleep 0.1; done; systemctl --failed >&2; exit 1")

    def sh(self, script, **options):
        return self.container.sh(script, **options)

    def show(self, *names):
        """Properties of the unit, by name."""
        text = self.sh("systemctl show isobar " + " ".join("-p " + name for name in names))
        return dict(line.split("=", 1) for line in text.split("\n"))

    def wait(self, condition, what, limit=60):
        self.container.wait(condition, f"{what}:\n" + self.sh("journalctl -u isobar | tail -n 30"),
                            limit)

    def put(self, path):
        run("docker", "cp", path, f"{self.container.name}:/root/")


@pytest.fixture(scope="module")
def packages():
    """(this version, the next one)"""
    made = []
    for mark in "", "+next":
        out = f"{BUILD}/package{mark}"
        run(f"{ROOT}/tools/deb.sh", binary(), version() + mark, out)
        made += [f"{out}/{name}" for name in os.listdir(out)
                 if name.startswith(f"isobar_{version()}{mark}_")]
    return made


@pytest.fixture(scope="module")
def machine(images, packages):
    things = []

    def keep(thing):
        things.append(thing)
        return thing
    try:
        made = Machine(images, keep)
        for path in packages:
            made.put(path)
        yield made
    finally:
        for thing in reversed(things):
            thing.end()


def name_of(path):
    return os.path.basename(path)


def test_lintian_has_nothing_to_say(packages):
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", packages[0]],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "", done.stdout + done.stderr


def test_it_installs_and_is_ready_when_that_ends(machine, packages):
    machine.sh("apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get install -qy "
               f"--no-install-recommends /root/{name_of(packages[0])}", limit=300)
    machine.sh("isobar health")
    state = machine.show("Type", "ActiveState", "UnitFileState", "User", "WatchdogUSec", "NRestarts")
    assert state == {"Type": "notify", "ActiveState": "active", "UnitFileState": "enabled",
                     "User": "isobar", "WatchdogUSec": "30s", "NRestarts": "0"}
    assert "Active: active (running)" in machine.sh("systemctl status isobar")
    assert machine.sh("stat -c '%U:%G %a' /etc/isobar/isobar.yaml /var/lib/isobar").split("\n") == [
        "root:isobar 640", "isobar:isobar 750"]
    assert machine.sh("rmdir /etc/isobar/sources.d && systemd-tmpfiles --create isobar.conf && "
                      "stat -c '%U:%G %a' /etc/isobar/sources.d") == "root:isobar 770"
    # Without sudo: nobody is told of built-in defaults, or of another broker.
    for command in "check", "health", "source list", "account list", "version":
        said = machine.sh(f"setpriv --reuid=65534 --regid=65534 --clear-groups isobar {command} 2>&1; echo $?")
        assert "/etc/isobar/isobar.yaml" in said and "Permission denied" in said and said.endswith("2"), said
    machine.sh("isobar check; systemd-analyze --man=no verify isobar.service")
    machine.sh("gzip -t /usr/share/man/man1/isobar.1.gz /usr/share/man/man5/isobar.yaml.5.gz; "
               "bash -n /usr/share/bash-completion/completions/isobar")


def test_start_ends_when_it_is_ready_and_not_before(machine):
    for _ in range(3):
        machine.sh("systemctl restart isobar && isobar health")


def test_an_account_and_a_source_are_told_it_while_it_runs(machine):
    machine.sh("echo secret | isobar account add ops --admin")
    assert machine.sh("stat -c '%U:%G %a' /etc/isobar/accounts.yaml") == "root:isobar 640"
    machine.sh(f"isobar source add {CENTRE} --url mqtt://node:1883")
    machine.wait(lambda: "source connected" in machine.sh("journalctl -u isobar"), "connected")
    assert machine.show("NRestarts") == {"NRestarts": "0"}


def test_what_hangs_is_started_again_by_the_watchdog(machine):
    machine.sh("mkdir -p /etc/systemd/system/isobar.service.d && printf "
               f"'[Service]\\nWatchdogSec={WATCHDOG_S}s\\nRestartSec=0\\n' "
               "> /etc/systemd/system/isobar.service.d/short.conf && "
               "systemctl daemon-reload && systemctl restart isobar")
    before = machine.show("MainPID")
    machine.sh(f"sleep {WATCHDOG_S + 2}")                       # it tells in time
    assert machine.show("MainPID", "NRestarts") == {**before, "NRestarts": "0"}
    machine.sh(f"kill -STOP {before['MainPID']}")
    machine.wait(lambda: machine.show("NRestarts", "ActiveState") == {
        "NRestarts": "1", "ActiveState": "active"}, "a restart", WATCHDOG_S + 60)
    assert "Watchdog timeout" in machine.sh("journalctl -u isobar")
    machine.sh("isobar health; rm -r /etc/systemd/system/isobar.service.d; "
               "systemctl daemon-reload; systemctl restart isobar; systemctl reset-failed")


def answers_in(text):
    """What could be done."""
    return set(re.findall(r"^([a-z-]+) yes$", text, re.M))


def test_it_runs_confined(machine):
    pid = machine.show("MainPID")["MainPID"]
    status = dict(re.findall(r"^(\w+):\s+(\S+)", machine.sh(f"cat /proc/{pid}/status"), re.M))
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    low_ports = 1 << 10
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {low_ports}
    assert status["Uid"] == machine.sh("id -u isobar") != "0"


def test_what_it_may_not_is_denied(machine):
    """By the unit itself with another program in it."""
    machine.container.exec("tee", "/usr/local/bin/probe", text="#!/bin/sh\n" + PROBE)
    tried = set(re.findall(r"^try (\S+)", PROBE, re.M))
    assert answers_in(machine.sh("chmod 755 /usr/local/bin/probe; probe; "
                                 "umount /tmp; rm /etc/isobar/x /usr/x /var/tmp-x")) == tried
    machine.sh("sed -e 's,^ExecStart=.*,ExecStart=/usr/local/bin/probe,' "
               "-e 's,^Type=.*,Type=oneshot,' -e '/^Restart=/d;/^Watchdog/d' "
               "/lib/systemd/system/isobar.service > /run/systemd/system/probe.service; "
               "systemctl daemon-reload; systemctl start probe")
    text = machine.sh("journalctl -u probe -o cat")
    assert len(re.findall(r" (?:yes|no)$", text, re.M)) == len(tried)
    assert answers_in(text) == MAY, text


def test_the_unit_is_little_exposed(machine):
    text = machine.sh("systemd-analyze security --no-pager isobar.service")
    level = float(re.search(r"exposure level for isobar.service: ([0-9.]+)", text).group(1))
    print(f"\nsystemd-analyze security: {level}")
    assert level <= EXPOSED_AT_MOST, text


def test_an_upgrade_loses_nothing_of_a_session(machine, packages, client, subscriber):
    machine.sh("sed -i 's/127.0.0.1/0.0.0.0/' /etc/isobar/isobar.yaml; systemctl restart isobar; "
               "echo '# of the operator' >> /etc/isobar/isobar.yaml")
    machine.wait(lambda: "source connected" in machine.sh(
        "journalctl -u isobar --since -5s"), "connected")
    port = machine.container.port(1883)
    options = {"client_id": "lasting", "clean": False, "expiry": 600}
    reader = subscriber(port, "origin/a/wis2/#", **options)
    publisher = client(machine.node.port(1883))
    messages = wnm.valid_many(CENTRE, 300)
    publisher.publish_all(messages[:100])
    reader.wait_count(100)
    upgrade = subprocess.Popen(["docker", "exec", machine.container.name, "dpkg", "-i",
                                f"/root/{name_of(packages[1])}"], stdout=subprocess.DEVNULL)
    for message in messages[100:200]:
        publisher.publish_all([message])
    assert upgrade.wait(120) == 0
    publisher.publish_all(messages[200:])
    assert "+next" in machine.sh("dpkg-query -W -f '${Version}' isobar")
    assert machine.sh("isobar health; grep -c '# of the operator' /etc/isobar/isobar.yaml")[-1] == "1"
    reader.wait(lambda: len(reader.connects) > 1, 30, "to be connected again")   # paho does it by itself
    assert reader.connects[-1] == (0, True), reader.connects
    assert_same({m.payload: m for m in reader.wait_count(300, 30)}.values(), messages)


def test_it_goes_and_leaves_what_is_the_operators(machine):
    machine.sh("dpkg -r isobar")
    assert machine.sh("systemctl is-active isobar || true") == "inactive"
    machine.sh("test ! -e /usr/bin/isobar && test -e /var/lib/isobar/journal && "
               "test -e /etc/isobar/isobar.yaml && test -e /etc/isobar/accounts.yaml")
    machine.sh("dpkg -P isobar")
    machine.sh("test ! -e /var/lib/isobar && test ! -e /etc/isobar/isobar.yaml && "
               f"test -e /etc/isobar/accounts.yaml && test -e /etc/isobar/sources.d/{CENTRE}.yaml")
    assert machine.sh("systemctl list-unit-files isobar.service --no-legend || true") == ""
