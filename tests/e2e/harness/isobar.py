"""`isobar run` with a configuration of the test's own, on ephemeral ports."""
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import time

from . import metrics
from .process import Process, binary, patience, wait_until

CENTRE_ID = "io-wis2dev-global-broker"
RECEIVED = "wmo_wis2_gb_messages_received_total"


def isobar(*arguments, text=None, limit=30.0, cwd=None, env=None):
    """Runs a command to its end; gives the subprocess.CompletedProcess, output as text."""
    return subprocess.run([binary(), *map(str, arguments)], input=text, cwd=cwd, env=env,
                          capture_output=True, text=True, timeout=limit * patience(), check=False)


def _write(path, content):
    """JSON is YAML."""
    with open(path, "w", encoding="utf-8") as f:
        f.write(content if isinstance(content, str) else json.dumps(content, indent=2) + "\n")


class Isobar:
    """sources: {name: settings of sources.d/NAME.yaml}; config: keys over the defaults below;
    accounts: rows of accounts.yaml or None. Restarting keeps the folder, not the ports."""

    def __init__(self, folder, sources=None, config=None, accounts=None, wrapper=()):
        self.folder = os.path.join(str(folder), "isobar")
        self.data = os.path.join(self.folder, "data")
        self.sources_folder = os.path.join(self.folder, "sources.d")
        os.makedirs(self.sources_folder, exist_ok=True)
        self.path = os.path.join(self.folder, "isobar.yaml")
        self.wrapper = list(wrapper)
        self.process = None
        self.ports = {}
        self.config = {
            "centre_id": CENTRE_ID,
            "data_dir": self.data,
            "workers": 2,
            "listeners": ["mqtt://127.0.0.1:0", "http://127.0.0.1:0"],
            "journal": {"size": "1GiB"},
        }
        self.config.update(config or {})
        if accounts is not None:
            self.config["accounts_file"] = os.path.join(self.folder, "accounts.yaml")
            _write(self.config["accounts_file"], accounts)
        self.write_config()
        for name, settings in (sources or {}).items():
            self.write_source(name, settings)

    # --- files

    def write_config(self, text=None):
        _write(self.path, self.config if text is None else text)

    def source_path(self, name):
        return os.path.join(self.sources_folder, name + ".yaml")

    def write_source(self, name, settings):
        _write(self.source_path(name), settings)

    def remove_source(self, name):
        os.remove(self.source_path(name))

    def forget(self):
        """Throws journal and sessions away; it must be stopped."""
        shutil.rmtree(self.data, ignore_errors=True)

    # --- life

    def start(self, ready=True, limit=15.0):
        self.process = Process([*self.wrapper, binary(), "run", "-c", self.path], "isobar")
        self.ports = {}
        wanted = len(self.config["listeners"])
        wait_until(lambda: self._read_ports() >= wanted or not self.process.is_running(), limit,
                   lambda: "listeners:\n" + self.process.log())
        if self._read_ports() < wanted:
            raise AssertionError("isobar run ended:\n" + self.process.log())
        if ready:
            wait_until(self._is_ready, limit, lambda: "/readyz:\n" + self.process.log())
        return self

    def _is_ready(self):
        assert self.process.is_running(), "isobar run ended:\n" + self.process.log()
        return self.get("/readyz")[0] == 200

    def _read_ports(self):
        """From the lines `listener url=mqtt://127.0.0.1:1234`, in the order of the listeners."""
        seen = []
        for line in self.process.find_log(r"\blistener url="):
            scheme, port = re.search(r'\blistener url="?(\w+)://\S*?:(\d+)"?(?:\s|$)', line).groups()
            seen.append((scheme, int(port)))
        for scheme, port in reversed(seen):
            self.ports[scheme] = port
        return len(seen)

    def stop(self, limit=15.0):
        """Cleanly, by SIGTERM; must end with status 0."""
        self.process.signal(signal.SIGTERM)
        status = self.process.wait(limit)
        assert status == 0, f"status {status}:\n" + self.process.log()

    def end(self):
        """For the end of a test: the exit status."""
        pid = self.program_pid()
        if self.wrapper and pid:
            os.kill(pid, signal.SIGTERM)    # strace keeps signals to itself
            self.process.wait()
        return self.process.end()

    def kill(self):
        self.process.kill()

    def program_pid(self):
        """Of isobar itself, which a wrapper such as strace has as its child; None: gone."""
        if not self.wrapper:
            return self.process.pid
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children",
                      encoding="ascii") as f:
                return int(f.read().split()[0])
        except (OSError, IndexError):
            return None

    def wait_checkpoint(self, ping):
        """Until a kill would find what sessions have acknowledged by now. ping: there and back to the worker
        that has them. It makes a checkpoint every 0.4 s, and what the last two have left to write is on the
        disk when an export has copied it."""
        for _ in range(3):
            time.sleep(0.5)
            ping()      # the checkpoint is made at the end of this turn at the latest
            ping()      # which is over
        archive = os.path.join(self.folder, "checkpoint.tar")
        done = isobar("export", "-c", self.path, archive)
        assert done.returncode == 0, done.stderr
        os.remove(archive)

    def reload(self):
        """SIGHUP; gives the mark in the log where its consequences begin."""
        mark = self.process.mark()
        self.process.signal(signal.SIGHUP)
        return mark

    @property
    def port(self):
        return self.ports["mqtt"]

    @property
    def http_port(self):
        return self.ports["http"]

    # --- HTTP

    def get(self, path, headers=None, method="GET"):
        """(status, headers, body); (0, None, b"") when nobody answers."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.http_port,
                                                    timeout=10 * patience())
            try:
                connection.request(method, path, headers=headers or {})
                answer = connection.getresponse()
                return answer.status, answer.headers, answer.read()
            finally:
                connection.close()
        except (ConnectionError, http.client.HTTPException, TimeoutError):
            return 0, None, b""

    def get_json(self, path):
        status, headers, body = self.get(path)
        assert status == 200, (path, status, body)
        assert headers["Content-Type"].split(";")[0] == "application/json", headers["Content-Type"]
        return json.loads(body)

    def metrics(self):
        status, headers, body = self.get("/metrics")
        assert status == 200, (status, body)
        return metrics.parse(body.decode("utf-8"), headers["Content-Type"])

    def metric(self, name, **labels):
        """One series; 0 when there is none."""
        return self.metrics().value(name, 0, **labels)

    def wait_metric(self, name, wanted, limit=10.0, **labels):
        """Until the series is exactly (or, given a function, acceptably) this."""
        accept = wanted if callable(wanted) else lambda value: value == wanted
        seen = []

        def is_there():
            seen[:] = [self.metric(name, **labels)]
            return accept(seen[0])
        wait_until(is_there, limit, lambda: f"{name}{labels}, wanted {wanted}, is {seen}:\n"
                   + "\n".join(self.process.lines[-25:]), pause=0.05)

    def wait_received(self, count, centre_id, limit=10.0):
        """Until so many messages of this centre's sources have come, and all of them are counted by what became
        of them: published, found to be repeats, or refused. Of those at QoS 0 only their coming is awaited."""
        self.wait_metric(RECEIVED, count, limit, centre_id=centre_id)
        self.wait_metric("isobar_source_unacknowledged", 0, limit, centre_id=centre_id)

    def wait_connected(self, *centres, limit=15.0):
        for centre in centres:
            self.wait_metric("wmo_wis2_gb_connected_flag", 1, limit, centre_id=centre)
