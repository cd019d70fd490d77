"""Reads `strace -f -yy -xx` output: which system calls ended in which order, on which files."""
import re
from dataclasses import dataclass


@dataclass
class Call:
    thread: int
    name: str
    target: str      # what -yy says about the first argument's descriptor
    arguments: str
    result: int
    begun: int       # line numbers: order of the trace
    ended: int

    def data(self):
        """All bytes named in the arguments (needs -xx)."""
        return b"".join(bytes.fromhex(text.replace("\\x", ""))
                        for text in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', self.arguments))


_LINE = re.compile(r"^(\d+) +(?:<\.\.\. (\w+) resumed>)?(.*)$")
_HEAD = re.compile(r"^(\w+)\((.*)$")
_RESULT = re.compile(r"^(.*)\) += (-?\d+)")


def _unescape(text):
    """-xx writes the names of files in hexadecimal too."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), text)


def read(path):
    """Finished calls in order of their end."""
    calls, open_calls = [], {}
    with open(path, encoding="ascii", errors="replace") as f:
        for number, line in enumerate(f):
            found = _LINE.match(line.rstrip("\n"))
            if not found:
                continue
            thread, resumed, rest = int(found[1]), found[2], found[3]
            if resumed:
                begun, name, head = open_calls.pop(thread, (number, resumed, ""))
                rest = head + rest
            else:
                head = _HEAD.match(rest)
                if not head:
                    continue
                begun, name, rest = number, head[1], head[2]
            if rest.endswith("<unfinished ...>"):
                open_calls[thread] = (begun, name, rest[:-len("<unfinished ...>")])
                continue
            done = _RESULT.match(rest)
            if done:
                target = re.match(r"\d+<((?:->|[^<>])*)>", done[1])
                calls.append(Call(thread, name, _unescape(target[1]) if target else "", done[1],
                                  int(done[2]), begun, number))
    return calls
