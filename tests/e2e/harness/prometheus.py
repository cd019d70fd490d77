"""A real Prometheus, with a configuration of the test's own, and promtool."""
import json
import os
import subprocess
import urllib.parse
import urllib.request

from .ports import free_port
from .process import Process, patience, wait_until

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
DEPLOY = os.path.join(ROOT, "deploy", "prometheus")


def promtool(*arguments, cwd=DEPLOY, text=None):
    """Runs it to its end; gives the subprocess.CompletedProcess, output as text."""
    return subprocess.run(["promtool", *map(str, arguments)], cwd=cwd, input=text, text=True,
                          capture_output=True, timeout=40 * patience(), check=False)


class Prometheus:
    """config: the file's content as Python values (JSON is YAML)."""

    def __init__(self, folder, config):
        self.folder = os.path.join(str(folder), "prometheus")
        os.makedirs(self.folder, exist_ok=True)
        self.path = os.path.join(self.folder, "prometheus.yml")
        with open(self.path, "w", encoding="utf-8") as f:
            json.dump(config, f)
        self.port = free_port()
        self.process = None

    def start(self):
        self.process = Process(
            ["prometheus", f"--config.file={self.path}", f"--web.listen-address=127.0.0.1:{self.port}",
             f"--storage.tsdb.path={self.folder}/data", "--log.level=warn"], "prometheus")
        wait_until(self._is_ready, 20, lambda: "prometheus:\n" + self.process.log())
        return self

    def _is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready") as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, path, **parameters):
        """The data of an answer of its API."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        query = urllib.parse.urlencode(parameters, doseq=True)
        with urllib.request.urlopen(f"{url}?{query}" if query else url) as answer:
            body = json.load(answer)
        assert body["status"] == "success", body
        return body["data"]

    def query(self, expression):
        """[(labels, value)] of an expression, now. A fault in it is an AssertionError that names it."""
        try:
            found = self.ask("query", query=expression)
        except urllib.error.HTTPError as e:
            raise AssertionError(f"{expression}: {e.read().decode()}") from None
        assert found["resultType"] == "vector", (expression, found)
        return [(row["metric"], float(row["value"][1])) for row in found["result"]]

    def wait_query(self, expression, limit=20.0):
        """Until it gives something."""
        return wait_until(lambda: self.query(expression), limit,
                          lambda: f"{expression}\n" + self.process.log(), pause=0.2)

    def alerts(self, name):
        """[{labels, annotations, state}] of those that fire or are about to."""
        return [a for a in self.ask("alerts")["alerts"] if a["labels"]["alertname"] == name]

    def wait_none(self, *names, limit=30.0):
        """Until none of these fires or is about to: what was wrong while all began is over."""
        wait_until(lambda: not any(self.alerts(name) for name in names), limit,
                   lambda: f"none of {names}: {[self.alerts(name) for name in names]}", pause=0.2)

    def wait_firing(self, name, limit=30.0, **labels):
        def found():
            return next((a for a in self.alerts(name) if a["state"] == "firing"
                         and set(labels.items()) <= set(a["labels"].items())), None)
        return wait_until(found, limit, lambda: f"{name} to fire: {self.alerts(name)}", pause=0.2)
