#!/usr/bin/python3
"""Do the tests named for a statement of MQTT fail when the C statement that obeys it is gone?

    make conformance-mutants [SEED=n] [COUNT=50] [JOBS=2] [ONLY="MQTT-3.1.2-24 ..."]

Picks statements at random among those that are cited in the code and named by a test (ONLY: these, at all
their citations; ONLY=all: all). For each, in a copy
of this folder: the C statement at a citation is deleted (a condition is made false, a returned value 0,
the initial value of a variable 0, the body of a function empty), the program is built, and the tests named
for that statement run, no others. They must fail. What does not compile is replaced by another.

Prints the survivors with their place and, last, "N passed, N failed, N skipped": mutants found out,
survivors, mutants that did not compile.
"""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import conformance as page  # noqa: E402

PYTHON = "/usr/bin/python3"
TEST_SECONDS = 300      # of all tests named for one statement; a mutant may hang
ELSEWHERE = ("tests/e2e/test_real_clients.py",)     # wants other makers' clients built
OPENING, CLOSING = "([{", ")]}"


# --- the statement at a citation -----------------------------------------------------


def balanced_end(masked, begin):
    """Behind the bracket that closes the one at begin."""
    depth = 0
    for i in range(begin, len(masked)):
        depth += (masked[i] in OPENING) - (masked[i] in CLOSING)
        if depth == 0:
            return i + 1
    raise ValueError("unbalanced")


def enclosing(masked, at):
    """The nearest bracket open at this place, -1: none."""
    depth = 0
    for i in range(at - 1, -1, -1):
        if masked[i] in CLOSING:
            depth += 1
        elif masked[i] in OPENING:
            if depth == 0:
                return i
            depth -= 1
    return -1


def in_initializer(masked, at):
    """Is the place directly inside the braces of an initial value?"""
    opening = enclosing(masked, at)
    if opening < 0 or masked[opening] != "{":
        return False
    before = masked[:opening].rstrip()
    return before.endswith(("=", ",", "{")) or (before.endswith(")") and masked[opening - 1] == ")")


def out_of_brackets(masked, at):
    """Moves out of parentheses and initial values, to the level of statements."""
    while True:
        opening = enclosing(masked, at)
        if opening < 0:
            return at
        if masked[opening] == "{" and not in_initializer(masked, opening + 1):
            return at
        at = opening


def statement_begin(masked, at):
    """Where the statement begins that the character at `at` belongs to."""
    at = out_of_brackets(masked, at)
    depth = 0
    for i in range(at - 1, -1, -1):
        if masked[i] in CLOSING and not (masked[i] == "}" and depth == 0
                                         and not masked[i + 1:].lstrip(" \t").startswith((";", ",", ")"))):
            depth += 1
        elif masked[i] in OPENING and depth:
            depth -= 1
        elif depth == 0 and masked[i] in ";{}":
            begin = i + 1
            break
    else:
        begin = 0
    return begin + len(masked[begin:]) - len(masked[begin:].lstrip())


CONTROL = re.compile(r"(?:else\s+)?(if|while|for)\s*(?=\()")
LABEL = re.compile(r"(?:case\s+[^:?]+|default)\s*:\s*")


def inner(masked, begin, last):
    """Past labels and the heads of control statements that end before `last`."""
    while True:
        head = CONTROL.match(masked, begin)
        label = LABEL.match(masked, begin)
        if label and label.end() <= last:
            begin = label.end()
        elif head and balanced_end(masked, head.end()) <= last:
            begin = balanced_end(masked, head.end())
        elif re.match(r"else\b", masked[begin:]) and not head:
            begin += 4
        else:
            return begin
        begin += len(masked[begin:]) - len(masked[begin:].lstrip())


def find(masked, place):
    """Where the cited statement begins: at the end of whose line, or above which, the citation is."""
    line = masked.rfind("\n", 0, place.begin) + 1
    before = masked[line:place.begin].rstrip()
    if not before.strip():
        at = place.end + len(masked[place.end:]) - len(masked[place.end:].lstrip())
        return inner(masked, at, at) if LABEL.match(masked, at) is None else \
            inner(masked, at, LABEL.match(masked, at).end())
    last = line + len(before) - 1
    if masked[last] == "," and in_initializer(masked, last):
        return row_begin(masked, last)
    begin = statement_begin(masked, last)
    return inner(masked, begin, last) if masked[last] in ";}" else inner(masked, begin, begin)


def row_begin(masked, comma):
    """Of the element of an initial value that this comma ends."""
    depth = 0
    for i in range(comma - 1, -1, -1):
        if masked[i] in CLOSING:
            depth += 1
        elif masked[i] in OPENING and depth:
            depth -= 1
        elif depth == 0 and masked[i] in ",{":
            return i + 1
    return 0


# --- the mutation --------------------------------------------------------------------------

DECLARATION = re.compile(r"(?:static\s+|const\s+)*(?:struct\s+\w+|enum\s+\w+|unsigned|bool|int|char|float|"
                         r"size_t|ssize_t|\w+_t)\b[\s*]*\w+\s*=(?!=)")


def statement_end(masked, begin):
    depth = 0
    for i in range(begin, len(masked)):
        depth += (masked[i] in OPENING) - (masked[i] in CLOSING)
        if depth == 0 and masked[i] == ";":
            return i + 1
    raise ValueError("no end")


def blank(text):
    """Keeps the lines, so that compilers' and readers' numbers stay."""
    return "\n" * text.count("\n")


def mutate(text, place):
    """(mutated text, number of the line); None where nothing can be taken away."""
    masked, _ = page.mask(text)
    piece = page.piece_at(page.pieces(masked), masked, place.begin, place.end)
    if piece is None or piece.kind == "macro":
        return None
    if place.begin < piece.begin:                       # above a function
        if piece.kind != "function":
            return None
        begin, end = piece.body, piece.end
        head = masked[piece.begin:piece.body]
        is_void = re.match(r"(?:static |inline )*void (?!\*)", head)
        new = "{" + blank(text[begin:end]) + (" }" if is_void else " return 0; }")
    else:
        begin = find(masked, place)
        head = CONTROL.match(masked, begin)
        if head:
            opening = masked.index("(", begin)
            end = balanced_end(masked, opening)
            begin, inside = opening, text[opening + 1:end - 1]
            if head[1] == "for":
                first, rest = inside.split(";", 1)
                second, third = rest.rsplit(";", 1)
                new = f"({first}; 0 && ({second or 1});{third})"
            else:
                new = f"(0 && ({inside}))"
        elif in_initializer(masked, begin):
            end, new = next_comma(masked, begin), None
        else:
            end, new = statement_end(masked, begin), None
        new = new if new is not None else without(masked[begin:end], text[begin:end])
    line = text.count("\n", 0, begin + len(text[begin:]) - len(text[begin:].lstrip())) + 1
    return text[:begin] + new + text[end:], line


def next_comma(masked, begin):
    depth = 0
    for i in range(begin, len(masked)):
        depth += (masked[i] in OPENING) - (masked[i] in CLOSING)
        if depth < 0:
            return i
        if depth == 0 and masked[i] == ",":
            return i + 1
    raise ValueError("no end")


def without(masked, text):
    """The statement taken away."""
    if re.match(r"return\b", masked):
        value = masked[6:-1].strip()
        other = "1" if value in ("0", "false", "NULL") else "0"
        return f"return {other};" + blank(text) if value else ";" + blank(text)
    declared = DECLARATION.match(masked)
    if declared:
        return text[:declared.end()] + " {0};" + blank(text[declared.end():])
    return (";" if masked.endswith(";") else "") + blank(text)


# --- building and testing --------------------------------------------------------------------


def command(argv, cwd, limit, env=None):
    """(status, output); a group of its own, so that nothing stays behind."""
    process = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                               errors="replace")
    try:
        out = process.communicate(timeout=limit)[0]
        return process.returncode, out
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


class Copy:
    """A copy of the folder that is built and tested by itself."""

    def __init__(self, folder, nodes):
        self.folder, self.nodes = folder, nodes
        shutil.copytree(page.ROOT, folder, symlinks=True,
                        ignore=shutil.ignore_patterns(".git", "build", "__pycache__"))

    def build(self, tests):
        cc = "ccache gcc" if shutil.which("ccache") else "gcc"
        targets = ["build/isobar"] + [f"build/tests/{t.path[4:-2]}" for t in tests if t.path.endswith(".c")]
        status, out = command(["make", "-s", "-j2", f"CC={cc}", "WARN=-w", "OPT=-O1 -g0", *sorted(set(targets))],
                              self.folder, 600)
        return status == 0, out

    def fails(self, name, tests):
        """What of the tests named for this statement fails; None: nothing."""
        for path in sorted({t.path for t in tests if t.path.endswith(".c")}):
            status, out = command([f"build/tests/{path[4:-2]}"], self.folder, TEST_SECONDS)
            for test in [t for t in tests if t.path == path]:
                if not re.search(rf"\[       OK \] {test.name}$", out, re.M):
                    return test.text()
        nodes = [n for t in tests for n in self.nodes_of(name, t)]
        if not nodes:
            return None
        status, out = self.pytest(nodes)
        failed = re.search(r"^(?:FAILED|ERROR) tests/e2e/(\S+)", out, re.M)
        return None if status == 0 else failed[1] if failed else "no end"

    def failing(self, chosen):
        """What of all tests of these fails as it is."""
        everything = {(s.id, t) for s, _ in chosen for t in s.tests}
        for name, test in sorted(((n, t) for n, t in everything if t.path.endswith(".c")), key=str):
            found = self.fails(name, [test])
            if found:
                return found
        nodes = sorted({n for name, t in everything for n in self.nodes_of(name, t)})
        status, out = self.pytest(nodes) if nodes else (0, "")
        return out[-2000:] if status else None

    def pytest(self, nodes):
        env = {**os.environ, "ISOBAR": os.path.join(self.folder, "build/isobar"),
               "ISOBAR_PATIENCE": "1"}
        return command([PYTHON, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                        *dict.fromkeys(nodes)], self.folder, TEST_SECONDS, env)

    def nodes_of(self, name, test):
        if test.path.endswith(".c"):
            return []
        begin = f"{test.path}::{test.name}"
        return [n for n in self.nodes if n == begin or (n.startswith(begin + "[")
                                                        and (not test.row or f"[{name}]" in n))]


class Run:
    def __init__(self, chosen, count, copies):
        self.waiting, self.count, self.copies = chosen, count, copies
        self.lock = threading.Lock()
        self.killed, self.survivors, self.broken = [], [], []

    def next(self):
        with self.lock:
            under_way = self.count - len(self.killed) - len(self.survivors)
            if under_way <= self.busy or not self.waiting:
                return None
            self.busy += 1
            return self.waiting.pop(0)

    def say(self, text):
        with self.lock:
            print(text, flush=True)

    def work(self, copy):
        while (item := self.next()) is not None:
            try:
                self.one(copy, *item)
            finally:
                with self.lock:
                    self.busy -= 1

    def one(self, copy, statement, place):
        begun = time.monotonic()
        path = os.path.join(copy.folder, place.path)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        made = mutate(text, place)
        where = f"{statement.id} {place.path}"
        if made is None:
            return
        new, line = made
        where += f":{line}"
        try:
            with open(path, "w", encoding="utf-8") as f:
                f.write(new)
            is_built, _ = copy.build(statement.tests)
            if not is_built:
                self.broken.append(where)
                return
            found = copy.fails(statement.id, statement.tests)
        finally:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        seconds = time.monotonic() - begun
        if found:
            self.killed.append(where)
            self.say(f"found out  {where} by {found} ({seconds:.0f} s)")
        else:
            self.survivors.append(where)
            self.say(f"SURVIVED   {where}: {text.splitlines()[line - 1].strip()} ({seconds:.0f} s)")

    def all(self):
        self.busy = 0
        threads = [threading.Thread(target=self.work, args=(c,)) for c in self.copies]
        for t in threads:
            t.start()
        for t in threads:
            t.join()


def candidates(seed, only):
    """[(statement, place)] in the order of this seed: each statement once, at one of its citations."""
    tables, faults = page.load()
    if faults:
        sys.exit("\n".join(faults))
    dice, found = random.Random(seed), []
    for s in (s for table in tables.values() for s in table.values()):
        places = [p for p in s.code if not p.path.startswith(page.CLIENT_ROOMS)]
        s.tests = [t for t in s.tests if t.path not in ELSEWHERE]
        if s.tests and places and (not only or s.id in only or only == ["all"]):
            found += [(s, p) for p in places] if only else [(s, dice.choice(places))]
    dice.shuffle(found)
    return found


def main():
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 31))
    count = int(os.environ.get("COUNT") or 50)
    only = (os.environ.get("ONLY") or "").split()
    chosen = candidates(seed, only)
    count = len(chosen) if only else min(count, len(chosen))
    print(f"SEED={seed}: {count} of {len(chosen)} statements cited and tested", flush=True)
    files = sorted({t.path for s, _ in chosen for t in s.tests if t.path.endswith(".py")})
    _, listed = command([PYTHON, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *files],
                        page.ROOT, 120)
    nodes = [line for line in listed.splitlines() if "::" in line]
    with tempfile.TemporaryDirectory(prefix="isobar-mutants-") as folder:
        copies = [Copy(os.path.join(folder, str(i)), nodes)
                  for i in range(int(os.environ.get("JOBS") or 2))]
        needed = [t for s, _ in chosen[:count] for t in s.tests]
        for copy in copies:
            is_built, out = copy.build(needed)
            if not is_built:
                sys.exit("it does not build as it is:\n" + out[-3000:])
        failing = copies[0].failing(chosen[:count])
        if failing:
            sys.exit(f"without any mutation: {failing} fails")
        run = Run(chosen, count, copies)
        run.all()
    for where in run.broken:
        print(f"not compiled {where}")
    for where in run.survivors:
        print(f"survivor {where}")
    print(f"{len(run.killed)} passed, {len(run.survivors)} failed, {len(run.broken)} skipped")
    return 1 if run.survivors or not run.killed else 0


if __name__ == "__main__":
    sys.exit(main())
