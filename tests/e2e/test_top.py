"""`isobar top` of a running broker: one frame as text, and on a terminal (a pty)."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from harness import notifications as wnm
from harness.isobar import isobar
from harness.process import binary, patience

DWD, MSC = "de-dwd", "ca-eccc-msc"
ALL = "origin/a/wis2/#"
ACCOUNTS = [{"user": "everyone", "password": "everyone", "read": [ALL]},
            {"user": "ops", "password": "ops", "admin": True}]


@pytest.fixture
def broker(gb, node):
    made = node()
    broker = gb({DWD: {"centre_id": DWD, "url": made.url, "checks": {"metadata": "off"}},
                 MSC: {"centre_id": MSC, "url": made.url, "enabled": False}}, accounts=ACCOUNTS)
    broker.wait_connected(DWD)
    broker.node = made
    broker.url = f"http://127.0.0.1:{broker.http_port}"
    return broker


class Terminal:
    """A program on a pty; `screen()` is what its last whole frame shows."""

    def __init__(self, argv, columns=80, lines=24):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execv(argv[0], argv)
        self.out = b""
        self.resize(columns, lines)

    def resize(self, columns, lines):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys):
        os.write(self.fd, keys)

    def read(self, wait=0.05):
        while select.select([self.fd], [], [], wait)[0]:
            try:
                piece = os.read(self.fd, 65536)
            except OSError:     # it has ended
                return False
            if not piece:
                return False
            self.out += piece
        return True

    def screen(self):
        """The lines of the last frame that is whole."""
        frames = [f for f in self.out.split(b"\x1b[H") if f.endswith(b"\x1b[J") or b"\x1b[J" in f]
        if not frames:
            return []
        text = frames[-1].split(b"\x1b[J")[0].decode("ascii")
        return [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in text.split("\r\n")]

    def wait(self, condition, what, limit=10.0):
        end = time.monotonic() + limit * patience()
        while not condition(self.screen()):
            assert time.monotonic() < end, (what, self.screen(), self.out[-500:])
            self.read()
        return self.screen()

    def wait_end(self):
        while self.read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def end(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.fd)


def test_one_frame_for_scripts(broker, client, subscriber):
    subscriber(broker.port, ALL)
    watch = subprocess.Popen([binary(), "top", "--once", "--every", "2s", "-b", broker.url],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    to = client(broker.node.port)
    number = 0
    while watch.poll() is None:     # at every moment of its two seconds
        to.publish_all([wnm.valid(DWD, number)])
        number += 1
    out, err = watch.communicate()
    assert watch.returncode == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("io-wis2dev-global-broker ") and " serving  up 0d00h" in lines[0]
    assert re.match(r"sources 1 of \d  in [1-9]\S*/s  published [1-9]", lines[1]), lines[1]
    assert re.match(r"subscribers 1  offline 0  behind \d+  out [1-9]", lines[2]), lines[2]
    assert lines[3].startswith("journal ") and lines[4].startswith("SOURCE ")
    (dwd,) = [line for line in lines if line.startswith(DWD + " ")]
    assert re.match(rf"{DWD} +connected +[1-9]\d*\.\d +[1-9]\d*\.\d +0\.0 +0\.0 +\S+s +\S+s$", dwd), dwd
    (msc,) = [line for line in lines if line.startswith(MSC + " ")]
    assert " disabled " in msc
    assert max(map(len, lines)) <= 80 and "\x1b" not in out


def test_on_a_terminal(broker, keeper):
    terminal = Terminal([binary(), "top", "-b", broker.url])
    keeper.keep(terminal.end)
    lines = terminal.wait(lambda s: len(s) > 6 and s[5].startswith(MSC), "the first frame")
    assert lines[6].startswith(DWD) and lines[-1].startswith("by name; sort: ")
    assert max(map(len, lines)) <= 80 and len(lines) <= 24
    terminal.type(b"l")
    terminal.wait(lambda s: s[-1].startswith("by last"), "the order asked for")
    terminal.type(b"s")
    terminal.wait(lambda s: s[-1].startswith("by state") and s[5].startswith(DWD), "connected first")
    terminal.resize(50, 7)
    lines = terminal.wait(lambda s: len(s) == 7, "a frame of the new size")
    assert max(map(len, lines)) <= 50
    terminal.type(b"\x1b[B")
    terminal.wait(lambda s: s[5].startswith(MSC[:10]), "one line further down")
    terminal.type(b"\x1b[A")
    terminal.wait(lambda s: s[5].startswith(DWD), "and up again")
    terminal.type(b"q")
    assert terminal.wait_end() == 0
    assert terminal.out.endswith(b"\x1b[?25h\x1b[?1049l")


@pytest.mark.parametrize("way", ["ctrl-c", "SIGTERM"])
def test_the_terminal_is_given_back(broker, keeper, way):
    terminal = Terminal([binary(), "top", "-b", broker.url])
    keeper.keep(terminal.end)
    terminal.wait(lambda s: len(s) > 6, "the first frame")
    before = termios.tcgetattr(terminal.fd)
    assert not before[3] & termios.ICANON
    terminal.type(b"\x03") if way == "ctrl-c" else os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.wait_end() == 0
    assert terminal.out.endswith(b"\x1b[?25h\x1b[?1049l")


def test_a_broker_that_goes_away_is_told_on_the_screen(broker, keeper):
    terminal = Terminal([binary(), "top", "--every", "500ms", "-b", broker.url], columns=120)
    keeper.keep(terminal.end)
    terminal.wait(lambda s: len(s) > 6, "the first frame")
    broker.stop()
    terminal.wait(lambda s: "/api/v1/status: " in s[0], "what is wrong")
    assert any(line.startswith(DWD) for line in terminal.screen())


def test_accounts_and_faults(gb, tmp_path):
    broker = gb(accounts=ACCOUNTS, config={"http_public": []})
    url = f"http://127.0.0.1:{broker.http_port}"
    password = tmp_path / "password"
    password.write_text("ops\n")
    done = isobar("top", "--once", "-b", url)
    assert done.returncode == 3 and "asks for an account: give -u and -P" in done.stderr
    done = isobar("top", "--once", "--every", "500ms", "-b", url, "-u", "ops", "-P", password)
    assert done.returncode == 0, done.stderr
    for arguments, status in (([], 2), (["--sort", "x", "--once"], 2), (["--every", "1ms", "--once"], 2),
                              (["x"], 2), (["--once", "-b", "mqtt://x"], 2),
                              (["--once", "-b", "http://127.0.0.1:1"], 3)):
        options = arguments if "-b" in arguments else [*arguments, "-b", url, "-u", "ops", "-P", password]
        assert isobar("top", *options).returncode == status, arguments
