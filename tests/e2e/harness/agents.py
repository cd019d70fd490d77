"""Client libraries of other makers, each behind the same orders (tests/clients/agent.h).

    agents = Agents(folder, isobar, authority, certificate)
    one = agents.make("libmosquitto")
    one.connect("mqtts", version=5, id="a")         {"n": 1, "code": 0, "present": False}
    one.subscribe("a/#", 1)                         1
    one.publish("a/b", b"x", 1)                     0
    one.messages                                    [Message(...)]
    one.cut()                                       the process dies, as in a power failure

What a library does not tell, such as the reason code in a PUBACK, is in KINDS.
"""
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from .chromium import Chromium
from .process import patience

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
BUILT = os.path.join(ROOT, "build", "clients")          # by `make clients`
JS = os.path.join(BUILT, "js")
PAHO_PYTHON = os.path.join(ROOT, "tests", "clients", "paho_python.py")


@dataclass(frozen=True)
class Kind:
    """A client library: how its agent is started, and what it can do."""
    name: str
    argv: tuple
    schemes: tuple = ("mqtt", "mqtts", "ws", "wss")
    tells_puback: bool = True       # the reason code of a PUBACK reaches its caller
    tells_present: bool = True      # so does session present in MQTT 5
    alias: str = ""                 # sends topic aliases: "by hand", or "auto"
    takes_aliases: bool = False     # from the server


KINDS = {kind.name: kind for kind in (
    Kind("libmosquitto", (os.path.join(BUILT, "libmosquitto"),), ("mqtt", "mqtts")),
    Kind("paho-async", (os.path.join(BUILT, "paho_async"),), alias="by hand"),
    Kind("paho-sync", (os.path.join(BUILT, "paho_sync"),), alias="by hand", tells_present=False),
    Kind("paho-python", (sys.executable, PAHO_PYTHON), tells_puback=False, alias="by hand"),
    Kind("mqttjs-node", ("node", os.path.join(JS, "node.mjs")), alias="auto", takes_aliases=True),
    Kind("mqttjs-chromium", (), ("ws", "wss"), alias="auto", takes_aliases=True),
)}


@dataclass
class Message:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: dict = field(default_factory=dict)


class Agent:
    """One client. A process, or a page; what it says is kept and can be waited for."""

    def __init__(self, kind, world):
        self.kind = kind
        self.world = world
        self.numbers = itertools.count(1)
        self.answers = {}
        self.unanswered = 0
        self.connecting = None
        self.messages = []
        self.lost = []          # reason codes of connections that ended; 0: without one
        self.changed = threading.Condition()
        self.is_gone = False
        self.is_connected = False

    # --- what the agent says

    def take(self, text):
        said = json.loads(text)
        with self.changed:
            if "n" in said:
                self.answers[said["n"]] = said
                self.unanswered -= 1
                if said["n"] == self.connecting:
                    self.lost = []      # of the connection before
            elif said["event"] == "lost":
                self.lost.append(said["code"])
            else:
                self.messages.append(Message(said["topic"], bytes.fromhex(said["payload"]),
                                             said["qos"], said["retain"],
                                             said.get("properties") or {}))
            self.changed.notify_all()

    def wait(self, condition, what, limit=15.0):
        end = time.monotonic() + limit * patience()
        with self.changed:
            while not condition():
                left = end - time.monotonic()
                assert left > 0, (f"{self.kind.name}: waited {limit * patience():.0f} s for {what}; "
                                  f"{len(self.messages)} messages, lost {self.lost}")
                self.changed.wait(left)

    def wait_count(self, count):
        self.wait(lambda: len(self.messages) >= count, f"{count} messages")
        return self.messages

    def wait_lost(self):
        """The reason code in the server's DISCONNECT; 0 without one."""
        self.wait(lambda: self.lost, "the end of the connection")
        self.is_connected = False
        return self.lost[-1]

    # --- orders

    def send(self, do, n=None, **fields):
        """The order's number, for answer()."""
        n = n or next(self.numbers)
        with self.changed:
            self.unanswered += 1
        self.write(json.dumps({"n": n, "do": do, **fields}))
        return n

    def answer(self, n):
        self.wait(lambda: n in self.answers, f"the answer to order {n}")
        return self.answers.pop(n)

    def send_connect(self, scheme="mqtt", version=5, id="", user="writer", password="writer",
                     clean=True, keep_alive=60, will=None, properties=None, **more):
        self.messages = []
        if will:
            will = {"qos": 1, "retain": False, "properties": {}, **will}
            will["payload"] = will["payload"].hex()
        self.connecting = next(self.numbers)
        return self.send(
            "connect", self.connecting, scheme=scheme, port=self.world.isobar.ports[scheme], version=version, id=id,
            user=user, password=password, clean=clean, keep_alive=keep_alive,
            ca=self.world.ca if scheme in ("mqtts", "wss") else "", properties=properties or {},
            **({"will": will} if will else {}), **more)

    def connected(self, n):
        """The answer to send_connect(): code, and present (session)."""
        answer = self.answer(n)
        self.is_connected = answer["code"] == 0
        return answer

    def connect(self, *arguments, **options):
        return self.connected(self.send_connect(*arguments, **options))

    def subscribe(self, filter, qos=1):
        return self.answer(self.send("subscribe", filter=filter, qos=qos))["code"]

    def unsubscribe(self, filter):
        return self.answer(self.send("unsubscribe", filter=filter))["code"]

    def send_publish(self, topic, payload=b"", qos=1, retain=False, properties=None):
        return self.send("publish", topic=topic, payload=payload.hex(), qos=qos, retain=retain,
                         properties=properties or {})

    def publish(self, *arguments, **options):
        return self.answer(self.send_publish(*arguments, **options))["code"]

    def publish_all(self, topic, payloads, qos=1, window=50):
        """So many on their way at once (not every library minds the broker's receive maximum of
        100 by itself); every one is accepted."""
        sent = []
        for number, payload in enumerate(payloads):
            sent.append(self.send_publish(topic, payload, qos))
            if number >= window:
                assert self.answer(sent[number - window])["code"] == 0
        assert [self.answer(n)["code"] for n in sent[-window:]] == [0] * len(sent[-window:])

    def disconnect(self):
        code = self.answer(self.send("disconnect"))["code"]
        self.is_connected = False
        return code


class ProcessAgent(Agent):
    def __init__(self, kind, world):
        super().__init__(kind, world)
        self.popen = subprocess.Popen(kind.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.popen.stdout:
            self.take(line)

    def write(self, text):
        self.popen.stdin.write(text.encode() + b"\n")
        self.popen.stdin.flush()

    def cut(self):
        """Without a good-bye."""
        self.popen.kill()
        self.popen.wait()
        self.reader.join(5)
        self.popen.stdin.close()
        self.popen.stdout.close()
        self.is_gone = True


class PageAgent(Agent):
    def __init__(self, kind, world):
        super().__init__(kind, world)
        self.page = world.browser().open(world.page_url())
        self.page.bind("emit", self.take)
        with open(os.path.join(JS, "page.js"), encoding="utf-8") as f:
            self.page.evaluate(f.read() + ";0")

    def write(self, text):
        self.page.evaluate(f"window.take({text}); 0")

    def cut(self):
        self.page.close()
        self.is_gone = True


class Agents:
    """Where agents are lent from; those that come back are lent again. Any thread."""

    def __init__(self, folder, isobar, ca, certificate):
        self.folder, self.isobar, self.ca, self.certificate = folder, isobar, ca, certificate
        self.resting = {name: [] for name in KINDS}
        self.made = []
        self.lock = threading.Lock()
        self._browser = None

    def browser(self):
        with self.lock:
            if not self._browser:
                self._browser = Chromium(self.folder, trust=self.certificate)
            return self._browser

    def page_url(self):
        return f"http://127.0.0.1:{self.isobar.http_port}/healthz"

    def lend(self, name):
        with self.lock:
            if self.resting[name]:
                return self.resting[name].pop()
        kind = KINDS[name]
        agent = (ProcessAgent if kind.argv else PageAgent)(kind, self)
        with self.lock:
            self.made.append(agent)
        return agent

    def take_back(self, agents):
        """Those still connected say good-bye; those that hang go."""
        leaving = []
        for agent in agents:
            if agent.unanswered and not agent.lost and not agent.is_gone:
                agent.cut()
            if agent.is_connected and not agent.lost and not agent.is_gone:
                leaving.append((agent, agent.send("disconnect")))
        for agent, n in leaving:
            agent.answer(n)
            agent.is_connected = False
        with self.lock:
            for agent in agents:
                if not agent.is_gone:
                    self.resting[agent.kind.name].append(agent)

    def end(self):
        for agent in self.made:
            if not agent.is_gone:
                agent.cut()
        if self._browser:
            self._browser.end()
