"""Machines for the playbooks of deploy/ansible: containers that boot, on a network of their own, without Internet.

The operator's example inventory is taken as it stands; only addresses, a key for SSH and the names of files are put
in. The test's own machine is the management host where Ansible runs, so packages are carried over from it by the role
`offline` in every test. What the playbooks print stands in build/containers/ansible-LAYOUT.log.
"""
import contextlib
import functools
import glob
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import time

import yaml
from containers import BUILD, ROOT, Container, Network, mosquitto, run

from harness.clients import Client
from harness.process import binary, wait_until

PLAYBOOKS = os.path.join(ROOT, "deploy", "ansible")
# What systemd needs of a container, nftables and keepalived theirs.
BOOT = ["--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_NICE", "--cgroupns", "private",
        "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--tmpfs", "/run",
        "--tmpfs", "/run/lock", "--tmpfs", "/tmp", "--sysctl", "net.ipv4.ip_nonlocal_bind=1"]
# What Docker in a container needs: all of a machine's rights but one that the tests' own machine may lack, its control
# groups, and a file system on which overlays can be laid.
BOOT_DOCKER = [*BOOT, "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--volume", "/var/lib/docker"]
OPEN_CGROUPS = r"""awk '$2 ~ "^/sys/fs/cgroup" {print $2}' /proc/mounts | while read -r at; do
    mount -o remount,bind,rw "$at"; done"""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKy0T6mXz5hM0t2l0r3m5bqDkYH5p1wzUuN1yXQ0bV3x ansadm"


@functools.lru_cache(None)
def package(suffix=""):
    """The Debian package of the program under test, made once; with a suffix, one of a later version."""
    with open(os.path.join(ROOT, "VERSION"), encoding="ascii") as f:
        version = f.read().strip() + suffix
    folder = os.path.join(BUILD, "deb" + suffix)
    run(os.path.join(ROOT, "tools", "deb.sh"), binary(), version, folder)
    return glob.glob(os.path.join(folder, f"isobar_{version}_*.deb"))[0]


class Played:
    """What a playbook has done."""

    def __init__(self, text, status):
        self.text = text
        self.status = status
        self.recap = {m.group(1): {key: int(n) for key, n in re.findall(r"(\w+)=(\d+)", m.group(2))}
                      for m in re.finditer(r"^(\S+)\s+: (ok=.*)$", text, re.M)}

    def count(self, what):
        return sum(row[what] for row in self.recap.values())

    def changes(self):
        """The tasks that changed something."""
        found, task = [], None
        for line in self.text.split("\n"):
            if line.startswith(("TASK [", "RUNNING HANDLER [")):
                task = line.split("[", 1)[1].split("]", 1)[0]
            if line.startswith("changed: ["):
                found.append(task)
        return found


class Lab:
    """name -> machine, as the inventory names them. has_docker: machines on which containers can run.
    settings: further variables of all machines."""

    def __init__(self, images, layout, folder, has_docker=False, **settings):
        self.images = images
        self.layout = layout
        self.folder = str(folder)
        self.inventory = os.path.join(self.folder, "inventory.yml")
        with open(os.path.join(PLAYBOOKS, "inventories", layout + ".yml"), encoding="utf-8") as f:
            self.rows = yaml.safe_load(f)
        os.makedirs(BUILD, exist_ok=True)
        open(os.path.join(BUILD, f"ansible-{layout}.log"), "w", encoding="utf-8").close()
        names = list(dict.fromkeys(n for group in self.rows.values() for n in group.get("hosts", {})))
        self.subnet = f"10.98.{random.randrange(256)}"
        self.addresses = {name: f"{self.subnet}.{11 + i}" for i, name in enumerate(names)}
        self.shared = f"{self.subnet}.100"
        self.key = os.path.join(self.folder, "key")
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        self.sockets = tempfile.mkdtemp(prefix="isobar-ssh-")
        self.machines = {}
        self.nodes = {}
        self.clients = []
        self.network = Network(f"{self.subnet}.0/24")
        self.has_docker = has_docker
        self.settings = settings

    # --- machines

    def start(self):
        for name in self.addresses:
            self.boot(name)
        for name in self.addresses:
            self.wait_booted(name)
        self.write_inventory()
        return self

    def boot(self, name):
        self.machines[name] = Container(
            self.images.get("machine"), network=self.network, alias=name,
            options=[*(BOOT_DOCKER if self.has_docker else BOOT), "--ip", self.addresses[name]])

    def wait_booted(self, name):
        self.machines[name].sh("for _ in $(seq 600); do systemctl is-system-running | grep -q running && exit 0; "
                               "sleep 0.1; done; systemctl --failed >&2; exit 1")
        with open(self.key + ".pub", encoding="ascii") as key:
            self.machines[name].sh("mkdir -p -m 700 /root/.ssh; cat > /root/.ssh/authorized_keys", text=key.read())
        if self.has_docker:
            self.machines[name].sh(OPEN_CGROUPS)

    def sh(self, name, script, **options):
        return self.machines[name].sh(script, **options)

    def kill(self, name):
        """As a power cut would; what it had is gone."""
        run("docker", "kill", self.machines[name].name)
        self.machines[name].end()
        with contextlib.suppress(FileNotFoundError):    # of the connection that Ansible kept
            os.remove(os.path.join(self.sockets, self.addresses[name]))

    def stranger(self):
        """A machine on the same network that is none of ours."""
        made = Container(self.images.get("parts"), "sleep", "infinity", network=self.network)
        self.clients.append(made)
        return made

    def node(self, name):
        """A WIS2 Node of that name: a mosquitto."""
        self.nodes[name] = mosquitto(self.images.get("parts"), self.network, alias=name)
        return self.nodes[name]

    def end(self):
        for thing in [*self.clients, *self.nodes.values(), *self.machines.values(), self.network]:
            thing.end()
        shutil.rmtree(self.sockets)

    def tell(self):
        """After a failure: what the machines say."""
        for name, machine in self.machines.items():
            print(f"--- {name}\n" + machine.sh("systemctl --failed --no-pager; journalctl -u isobar -u haproxy "
                                               "-u keepalived --no-pager | tail -n 30", check=False).stdout)

    # --- the inventory

    def write_inventory(self):
        """Puts the containers in the place of the example's machines."""
        rows = {group: dict(row, hosts=dict.fromkeys(row.get("hosts", {}))) for group, row in self.rows.items()}
        variables = dict(self.rows["all"]["vars"])
        if "layout_shared_address" in variables:
            variables["layout_shared_address"] = self.shared
        variables.update({
            "ansible_user": "root",
            "ansible_become": False,            # one is root there already
            "ansible_ssh_private_key_file": self.key,
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "
                                       "-o ServerAliveInterval=10",
            "ansible_control_path": os.path.join(self.sockets, "%%h"),
            "isobar_deb": package(),
            "isobar_service_name": self.door,
            "certificates_from": "self_signed",
            "certificates_names": [self.door, *self.addresses.values()],
            "layout_offline": True,
            "offline_store": os.path.join(BUILD, "offline"),      # the same for all
            "offline_more_packages": ["prometheus"],
            "users_admin_keys": [KEY],
            "users_people": [{"name": "meteo", "keys": [KEY]}],
            "firewall_admin_from": [f"{self.subnet}.1"],
            "haproxy_connections": 4000,        # a container may open 20 000 files
            "isobar_settings": {"journal": {"size": "256MiB"}, "workers": 1},
        })
        variables.update(self.settings)
        rows["all"] = {"vars": variables, "hosts": {
            name: {"ansible_host": address} for name, address in self.addresses.items()}}
        with open(self.inventory, "w", encoding="utf-8") as f:
            yaml.safe_dump(rows, f)

    @property
    def door(self):
        """Where subscribers come."""
        return self.shared if "balancer" in self.rows else next(iter(self.addresses.values()))

    @property
    def isobars(self):
        return list(dict.fromkeys([*self.rows["broker"]["hosts"], *self.rows["antiloop"]["hosts"]]))

    # --- playbooks

    def play(self, book, *arguments, check=True):
        """Runs a playbook to its end, and prints how long it took; `check` asks for success."""
        began = time.monotonic()
        done = subprocess.run(
            ["ansible-playbook", "-i", self.inventory, os.path.join(PLAYBOOKS, book), *arguments],
            cwd=PLAYBOOKS, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"})
        played = Played(done.stdout, done.returncode)
        with open(os.path.join(BUILD, f"ansible-{self.layout}.log"), "a", encoding="utf-8") as log:
            log.write(done.stdout)
        print(f"{self.layout}: {book} {' '.join(arguments)}: {time.monotonic() - began:.0f} s, "
              f"{len(played.changes())} changes")
        if check and (done.returncode != 0 or played.count("ignored")):
            raise AssertionError(f"{book} {' '.join(arguments)}: status {done.returncode}\n" + done.stdout[-6000:])
        return played

    # --- Redis and Isobar on the machines

    def redis(self, name, command):
        """What the machine's first instance answers to an administrator."""
        password = self.settings.get("vault_redis_password")
        login = f"REDISCLI_AUTH='{password}'" if password else ""
        user = "--user admin" if self.settings.get("redis_cluster_acl") else ""
        tls = "--tls --cacert /etc/redis/tls/ca.pem" if self.settings.get("layout_redis_tls") else ""
        return self.sh(name, f"{login} redis-cli -h {self.addresses[name]} {user} {tls} {command}")

    def get(self, name, path, port=8080):
        """From the machine itself: the firewall lets nobody else."""
        return self.sh(name, f"curl -gsSf -m 10 'http://{self.addresses[name]}:{port}{path}'")

    def json(self, name, path):
        return json.loads(self.get(name, path))

    def sources(self, name):
        return {row["name"] for row in self.json(name, "/api/v1/sources")["sources"]}

    def wait_connected(self, count):
        """Until so many connections to sources are there, over all machines."""
        def connected():
            return sum(self.json(name, "/readyz")["sources"]["connected"] for name in self.rows["antiloop"]["hosts"])
        wait_until(lambda: connected() >= count, 60, f"{count} connections to sources", pause=0.2)

    def subscriber(self, *filters, kind=Client, host=None, **options):
        """Over TLS, through the door or one of several."""
        made = kind(8883, host=host or self.door, tls=os.path.join(self.folder, "certificates", "fullchain.pem"),
                    **options)
        self.clients.append(made)
        if filters:
            made.subscribe(*filters)
        return made

    def publisher(self, node):
        made = Client(self.nodes[node].port(1883), user=None)
        self.clients.append(made)
        return made

    def is_open(self, stranger, name, port):
        """Whether a TCP port of a machine takes a stranger's connection."""
        return stranger.exec("timeout", "2", "bash", "-c", f"exec 3<> /dev/tcp/{self.addresses[name]}/{port}",
                             check=False).returncode == 0
