"""Child processes whose log lines can be waited for, and waiting in general.

Everything waits for an event and gives up after a limit. Limits are written for a release build on
a quiet machine and multiplied by FACTOR, because sanitizers and busy machines are slow.
"""
import fcntl
import functools
import os
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time


@functools.lru_cache(None)
def binary():
    """The program under test: $ISOBAR, or the default build of this checkout."""
    here = os.path.dirname(os.path.abspath(__file__))
    return os.environ.get("ISOBAR") or os.path.normpath(
        os.path.join(here, "..", "..", "..", "build", "isobar"))


@functools.lru_cache(None)
def is_sanitized():
    try:
        with open(binary(), "rb") as f:
            text = f.read()
    except OSError:
        return False
    return b"__tsan_init" in text or b"__asan_init" in text


@functools.lru_cache(None)
def factor():
    """$ISOBAR_TIME_FACTOR, else 1 for a plain build and 8 for one with sanitizers."""
    return float(os.environ.get("ISOBAR_TIME_FACTOR") or (8 if is_sanitized() else 1))


def patience():
    """How often its usual limit an event is waited for before the test fails: long enough for a disk
    that stands still for half a minute. $ISOBAR_PATIENCE changes it. `factor` is for what has to be
    quick."""
    return float(os.environ.get("ISOBAR_PATIENCE") or 6) * factor()


def wait_until(condition, limit=10.0, what="condition", pause=0.01):
    """Asks until the answer is true, and gives that answer."""
    end = time.monotonic() + limit * patience()
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            text = what() if callable(what) else what
            raise AssertionError(f"waited {limit * patience():.0f} s for {text}")
        time.sleep(pause)


def wait_equal(ask, wanted, limit=10.0):
    """Asks until the answer is this one; the last other one is told. Not for what may still change."""
    seen = []

    def is_so():
        seen[:] = [ask()]
        return seen[0] == wanted
    wait_until(is_so, limit, lambda: f"{wanted}, is {seen[0]}", pause=0.05)


def within(seconds, step):
    """Runs step(seconds), which has to be over before a time limit of so many seconds, one of the program's,
    is. Where it was not, the machine stood still and nothing is shown: the step is made again with a limit
    twice as long. What fails in time fails. Gives what the step gives."""
    for _ in range(6):
        begun = time.monotonic()
        try:
            given, failure = step(seconds), None
        except (AssertionError, OSError) as wrong:
            failure = wrong
        if time.monotonic() - begun < seconds:
            break
        seconds *= 2
    else:
        raise AssertionError(f"not done within {seconds / 2} s, nor within less") from failure
    if failure:
        raise failure
    return given


def wait_quick(step, seconds, tries=10):
    """That a step can be made in less than so many seconds. A machine may stand still now and then, but
    not each time: one quick run of so many tries shows it. Gives what the step gave."""
    took = []
    for _ in range(tries):
        begun = time.monotonic()
        given = step()
        took.append(time.monotonic() - begun)
        if took[-1] < seconds:
            return given
    raise AssertionError(f"never within {seconds} s, but {took}")


class Process:
    """A child that writes lines; they are kept, and can be waited for. Who asks for them finds all that the
    child has written by then."""

    def __init__(self, argv, name, out=subprocess.DEVNULL, env=None, cwd=None):
        self.name = name
        self.lines = []
        self.bytes_read = 0
        self.changed = threading.Condition()
        self.ended = False
        self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out,
                                      stderr=subprocess.PIPE, env=env, cwd=cwd)
        self.reader = threading.Thread(target=self._read, args=(self.popen.stderr.fileno(),), daemon=True)
        self.reader.start()

    def _read(self, pipe):
        """What is out of the pipe is in `lines` when the lock is free."""
        rest = b""
        while not self.ended:
            select.select([pipe], [], [])
            with self.changed:
                more = os.read(pipe, 65536)
                *whole, rest = (rest + more).split(b"\n")
                self.ended = not more
                if self.ended and rest:
                    whole.append(rest)
                self.lines += [raw.decode("utf-8", "replace") for raw in whole]
                self.bytes_read += len(more)
                self.changed.notify_all()

    def _catch_up(self):
        """With the lock: until what is in the pipe now has been read."""
        waiting = struct.unpack("i", fcntl.ioctl(self.popen.stderr, termios.FIONREAD, bytes(4)))[0]
        wanted = self.bytes_read + waiting
        self.changed.wait_for(lambda: self.ended or self.bytes_read >= wanted, 10 * patience())

    @property
    def pid(self):
        return self.popen.pid

    def log(self, since=0):
        with self.changed:
            self._catch_up()
            return "\n".join(self.lines[since:])

    def mark(self):
        """A place in the log: pass it as `since` to look at later lines only."""
        with self.changed:
            self._catch_up()
            return len(self.lines)

    def find_log(self, pattern, since=0):
        with self.changed:
            self._catch_up()
            return [line for line in self.lines[since:] if re.search(pattern, line)]

    def wait_log(self, pattern, since=0, limit=10.0):
        """The match in the first line from `since` on that fits; fails when the process ends."""
        end = time.monotonic() + limit * patience()
        with self.changed:
            at = since
            while True:
                while at < len(self.lines):
                    found = re.search(pattern, self.lines[at])
                    if found:
                        return found
                    at += 1
                left = end - time.monotonic()
                if left <= 0 or self.ended:
                    why = "it ended" if self.ended else f"{limit * patience():.0f} s passed"
                    raise AssertionError(f"{self.name}: no log line /{pattern}/ ({why}):\n"
                                         + "\n".join(self.lines[since:][-40:]))
                self.changed.wait(left)

    def is_running(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, limit=10.0):
        """The exit status."""
        try:
            status = self.popen.wait(limit * patience())
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} (pid {self.pid}) does not end:\n"
                                 + "\n".join(self.lines[-40:])) from None
        self.reader.join(5 * patience())
        return status

    def kill(self):
        """As a crash would: no chance to say good-bye."""
        if self.is_running():
            self.popen.kill()
        self.popen.wait()
        self.reader.join(5 * patience())

    def end(self, limit=10.0):
        """For the end of a test: ask, then insist. Gives the exit status."""
        if self.is_running():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(limit * patience())
            except subprocess.TimeoutExpired:
                self.popen.kill()
        self.popen.wait()
        self.reader.join(5 * patience())
        return self.popen.returncode

    def rss_anon(self):
        """Bytes of anonymous memory in use (mapped files are not counted)."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            return int(re.search(r"^RssAnon:\s+(\d+) kB$", f.read(), re.M)[1]) * 1024
