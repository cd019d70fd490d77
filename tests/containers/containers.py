"""Docker as the tests use it: the daemon, images, containers, networks; all gone when the tests end.

Nothing is pulled. Images grow on a Debian that debootstrap makes, with the apt settings of this
machine in it (a proxy, a mirror), so that `apt-get` works in builds and containers as it does here:

    base ──── systemd       boots an init: a machine to install the package on
     │       └── machine  a machine that Ansible comes to
     ├─────── parts         mosquitto, Redis, HAProxy, Prometheus of Debian, for images of the same
     └─────── isobar        by the Dockerfile

A daemon that answers is used as it is; where none does, one is started for the run.
ISOBAR_TEST_IMAGES=keep leaves the images for the next run.
"""
import json
import os
import shutil
import subprocess
import sys
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", ".."))
BUILD = os.path.join(ROOT, "build", "containers")
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

from harness.process import Process, wait_until  # noqa: E402

SUITE = os.environ.get("SUITE", "bookworm")
KEEP = os.environ.get("ISOBAR_TEST_IMAGES") == "keep"


def version():
    with open(os.path.join(ROOT, "VERSION"), encoding="ascii") as f:
        return f.read().strip()


def run(*argv, check=True, limit=600, text=None, env=None, cwd=None):
    """Runs a program to its end; its output, without the last line end."""
    done = subprocess.run([str(a) for a in argv], input=text, capture_output=True, text=True,
                          timeout=limit, check=False, cwd=cwd, env=env and {**os.environ, **env})
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}: status {done.returncode}\n"
                             + (done.stdout + done.stderr)[-4000:])
    return done.stdout.rstrip("\n") if check else done


def docker(*argv, **options):
    return run("docker", *argv, **options)


def inspect(kind, name):
    return json.loads(docker(kind, "inspect", name))[0]


class Daemon:
    """The one that answers, or one of our own below build/."""

    def __init__(self):
        self.process = None
        if docker("info", check=False).returncode == 0:
            return
        self.home = home = os.path.join(BUILD, "daemon")
        os.makedirs(home, exist_ok=True)
        socket = f"unix://{home}/docker.sock"
        # A container gets at most what this machine may give: the default is a million files.
        self.process = Process(["dockerd", "--default-ulimit", "nofile=20000:20000",
                                "--data-root", f"{home}/data", "--exec-root", f"{home}/run",
                                "--pidfile", f"{home}/pid", "--host", socket], "dockerd")
        os.environ["DOCKER_HOST"] = socket
        self.process.wait_log("API listen on", limit=60)

    def end(self):
        if self.process:
            self.process.end(30)
            shutil.rmtree(self.home, ignore_errors=True)


class Images:
    """Made when first asked for, each once a run."""

    def __init__(self):
        self.made = {}
        self.prefix = "isobar-test-kept" if KEEP else f"isobar-test-{uuid.uuid4().hex[:8]}"

    def name(self, what):
        return f"{self.prefix}/{what}"

    def get(self, what):
        if what not in self.made:
            name = self.name(what)
            is_there = KEEP and what not in ("stage", "isobar") and docker("image", "inspect", name,
                                                            check=False).returncode == 0
            if not is_there:
                getattr(self, "_make_" + what)(name)
            self.made[what] = name
        return self.made[what]

    def _make_base(self, name):
        archive = os.path.join(BUILD, f"{SUITE}.tar")
        if not os.path.exists(archive):
            _debootstrap(archive)
        docker("import", "-c", 'CMD ["bash"]', archive, name)

    def build(self, name, folder, *options, **arguments):
        for key, value in arguments.items():
            options += ("--build-arg", f"{key}={value}")
        # Without BuildKit, whose front end a machine with Debian's Docker does not have.
        docker("build", "--force-rm", "-t", name, *options, folder,
               env={"DOCKER_BUILDKIT": "0"}, limit=1800)

    def _make_systemd(self, name):
        self.build(name, os.path.join(HERE, "systemd"), BASE=self.get("base"))

    def _make_machine(self, name):
        self.build(name, os.path.join(HERE, "machine"), BASE=self.get("systemd"))

    def _make_part(self, name):
        self.build(name, os.path.join(HERE, "parts"), "--target", os.path.basename(name),
                   BASE=self.get("base"))

    _make_parts = _make_prometheus = _make_redis = _make_haproxy = _make_part

    def _make_stage(self, name):
        """The Dockerfile's first stage: with a name of its own it can be removed."""
        self.build(name, ROOT, "--target", "build", BASE=self.get("base"))

    def _make_isobar(self, name):
        self.get("stage")
        self.build(name, ROOT, BASE=self.get("base"))

    def end(self):
        for name in [] if KEEP else reversed(self.made.values()):
            docker("image", "rm", "--force", name)


def _debootstrap(archive):
    """A Debian without what an image has no use for, as debian:bookworm-slim is."""
    folder = os.path.join(BUILD, SUITE)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(BUILD, exist_ok=True)
    mirror = os.environ.get("MIRROR", "http://deb.debian.org/debian")
    run("debootstrap", "--variant=minbase", SUITE, folder, mirror)
    settings = [line for line in run("apt-config", "dump").split("\n")
                if line.startswith(("Acquire::http", "Acquire::Check"))]
    with open(f"{folder}/etc/apt/apt.conf.d/50machine", "w", encoding="ascii") as f:
        f.writelines(line + "\n" for line in settings)
    with open(f"{folder}/usr/sbin/policy-rc.d", "w", encoding="ascii") as f:
        f.write("#!/bin/sh\nexit 101\n")
    os.chmod(f"{folder}/usr/sbin/policy-rc.d", 0o755)
    run("sh", "-c", 'cd "$1" && rm -rf var/cache/apt/*.bin var/cache/apt/archives/*.deb '
        'var/lib/apt/lists/* usr/share/man/* usr/share/locale/* && '
        'find usr/share/doc -type f ! -name copyright -delete && '
        'tar --numeric-owner --exclude=./dev --exclude=./proc --exclude=./sys -cf "$2.part" . && '
        'mv "$2.part" "$2"', "sh", folder, archive)
    shutil.rmtree(folder)


class Network:
    def __init__(self, subnet=None):
        self.name = f"isobar-test-{uuid.uuid4().hex[:8]}"
        docker("network", "create", *(["--subnet", subnet] if subnet else []), self.name)

    def end(self):
        docker("network", "rm", self.name)


class Volume:
    def __init__(self):
        self.name = f"isobar-test-{uuid.uuid4().hex[:8]}"
        docker("volume", "create", self.name)

    def end(self):
        docker("volume", "rm", "--force", self.name)


class Container:
    """A running container. options: of `docker run`; alias: its name on the network."""

    def __init__(self, image, *command, network=None, alias=None, options=()):
        self.name = f"isobar-test-{uuid.uuid4().hex[:8]}"
        options = list(options)
        if network:
            options += ["--network", network.name]
        if alias:
            options += ["--network-alias", alias, "--hostname", alias]
        docker("run", "--detach", "--name", self.name, *options, image, *command)

    @property
    def state(self):
        return inspect("container", self.name)["State"]

    def exec(self, *command, user=None, check=True, text=None, limit=120):
        """The output of a command inside."""
        how = (["--user", user] if user else []) + (["-i"] if text is not None else [])
        return docker("exec", *how, self.name, *command, check=check, text=text, limit=limit)

    def sh(self, script, **options):
        return self.exec("sh", "-ec", script, **options)

    def port(self, inside):
        """Where 127.0.0.1 has the port published with `-p 127.0.0.1::PORT`."""
        return int(docker("port", self.name, f"{inside}/tcp").split("\n")[0].rsplit(":", 1)[1])

    @property
    def address(self):
        networks = inspect("container", self.name)["NetworkSettings"]["Networks"]
        return next(iter(networks.values()))["IPAddress"]

    def log(self):
        done = docker("logs", self.name, check=False)
        return done.stdout + done.stderr

    def wait(self, condition, what, limit=60):
        wait_until(condition, limit, lambda: f"{what}; the log of {self.name}:\n{self.log()[-3000:]}",
                   pause=0.2)

    def wait_log(self, text, limit=60):
        self.wait(lambda: text in self.log(), repr(text), limit)

    def stop(self, limit=30):
        """As `docker stop` does: the stop signal, SIGKILL after the limit. The exit status."""
        docker("stop", "-t", limit, self.name)
        return self.state["ExitCode"]

    def end(self):
        docker("rm", "--force", "--volumes", self.name)


def mosquitto(image, network, alias="node"):
    """A WIS2 Node: persistent, open to everybody, published on 127.0.0.1."""
    config = ("listener 1883 0.0.0.0\\nallow_anonymous true\\nlog_type all\\n"
              "max_queued_messages 0\\nuser root\\n")
    node = Container(image, "sh", "-c", f"printf '{config}' > /tmp/c && exec mosquitto -c /tmp/c",
                     network=network, alias=alias, options=["-p", "127.0.0.1::1883"])
    node.wait_log("running")
    return node
