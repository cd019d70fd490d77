#!/usr/bin/python3
"""Makes the tables of docs/conformance.md from the statements of both versions of MQTT
(tests/conformance/*.tsv), the citations in src/ and the tests that name them.

    tools/conformance.py            writes the page (what stands above its mark is kept)
    tools/conformance.py --check    writes nothing, fails if it differs or an id does not exist

A citation is [MQTT-3.1.2-24] for a statement of MQTT 5.0, [MQTT3-3.1.2-24] for one of 3.1.1, in a
comment of a .c file, at the end of the statement that obeys or directly above it. A row of the 3.1.1
table may name statements of 5.0 that say the same: what is cited for those counts for it. A test
names what it proves in its docstring, in a comment directly above or inside it, or in the rows of the
table it goes through; for 3.1.1 it says so itself.
"""
import ast
import glob
import os
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = "docs/conformance.md"
MARK = "<!-- Below this line: made by tools/conformance.py. -->\n"
VERSIONS = {"5.0": "MQTT 5.0", "3.1.1": "MQTT 3.1.1"}
CLIENT_ROOMS = ("src/uplink/", "src/source/", "src/publish/", "src/cli/")      # where Isobar is a client of others
ID = r"MQTT3?-\d+\.\d+\.\d+-\d+"
RANGE = re.compile(rf"\[({ID})\](?:\s*(?:\*\s*)?to\s*(?:\*\s*)?\[({ID})\])?")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def files(pattern):
    return sorted(glob.glob(pattern, root_dir=ROOT))


# --- statements -------------------------------------------------------------------


@dataclass
class Statement:
    id: str
    binds: str
    same: list
    what: str
    note: str
    code: list = field(default_factory=list)    # places, see Place
    tests: list = field(default_factory=list)   # see Test

    @property
    def binds_server(self):
        return self.binds != "client"


def statements(version):
    rows = {}
    for line in read(f"tests/conformance/statements-{version}.tsv").splitlines()[1:]:
        name, binds, same, what, note = line.split("\t")
        rows[name] = Statement(name, binds, same.split(), what, note)
    return rows


def ids_in(text):
    """The ids cited in a text; «A to B» stands for all between."""
    found = []
    for first, last in RANGE.findall(text):
        section, begin = first.rsplit("-", 1)
        end = last.rsplit("-", 1)[1] if last.startswith(section + "-") else begin
        found += [f"{section}-{n}" for n in range(int(begin), int(end) + 1)]
    return list(dict.fromkeys(found))


# --- C ----------------------------------------------------------------------------


def mask(text):
    """The text with comments, strings and characters as blanks of the same length, and the
    comments as (begin, end)."""
    out, comments = list(text), []
    for m in re.finditer(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])+'", text, re.S):
        if m[0].startswith("/"):
            comments.append(m.span())
        for i in range(*m.span()):
            if out[i] != "\n":
                out[i] = " "
    return "".join(out), comments


@dataclass
class Piece:
    """A function, table or macro at the outermost level: text[begin:end], its body from `body`."""
    name: str
    kind: str
    begin: int
    body: int
    end: int


def pieces(masked):
    """In order. A function's braces and a table's last line stand in the first column."""
    found = []
    for m in re.finditer(r"^(?!\s|[#}{])[^;{}]*?\b(\w+)\([^;{}]*?\)\s*?\n\{.*?^\}", masked, re.M | re.S):
        found.append(Piece(m[1], "function", m.start(), masked.index("\n{", m.start()) + 1, m.end()))
    for m in re.finditer(r"^(?!\s|[#}{])[^;{}()]*?\b(\w+)(?:\[\w*\])*(?:\([^;{}]*\))? = \{.*?^\};",
                         masked, re.M | re.S):
        found.append(Piece(m[1], "table", m.start(), masked.index("{", m.start()), m.end()))
    for m in re.finditer(r"^#define (\w+)(?:[^\n]*\\\n)*[^\n]*", masked, re.M):
        found.append(Piece(m[1], "macro", m.start(), m.start(), m.end()))
    return sorted(found, key=lambda p: p.begin)


def piece_at(all_pieces, masked, begin, end):
    """The piece around a comment, or the one that it stands directly above."""
    for p in all_pieces:
        if p.begin <= begin < p.end or (end <= p.begin and not masked[end:p.begin].strip()):
            return p
    return None


@dataclass(frozen=True)
class Place:
    """A citation: the comment at text[begin:end] of the file."""
    path: str
    where: str
    begin: int
    end: int

    def text(self):
        return f"{self.path.removeprefix('src/')}:{self.where}"


def code_citations():
    """[(id, Place)], of what is compiled into the program."""
    for path in files("src/*/*.c"):
        if path.endswith("_test.c"):
            continue
        text = read(path)
        if "[MQTT" not in text:
            continue
        masked, comments = mask(text)
        outer = pieces(masked)
        for begin, end in comments:
            for name in ids_in(text[begin:end]):
                piece = piece_at(outer, masked, begin, end)
                yield name, Place(path, piece.name if piece else "(top)", begin, end)


# --- tests ------------------------------------------------------------------------


@dataclass(frozen=True)
class Test:
    path: str
    name: str
    row: bool = False       # one row of the table named by the id, not the whole function

    def text(self):
        return f"{self.path.removeprefix('tests/e2e/').removeprefix('src/')}:{self.name}"


def c_tests():
    """[(id, Test)]: of a table's rows, the first test that goes through the table."""
    for path in files("src/*/*_test.c"):
        text = read(path)
        if "[MQTT" not in text:
            continue
        masked, _ = mask(text)
        outer = [p for p in pieces(masked) if p.kind != "macro"]
        users = {p.name: [f.name for f in outer if f.kind == "function"
                          and re.search(rf"\b{p.name}\b", masked[f.body:f.end])] for p in outer}
        tests = set(re.findall(r"cmocka_unit_test(?:_\w+)?\((\w+)", masked))

        def owners(name, seen=()):
            if name in tests:
                return [name]
            return [o for u in users.get(name, []) if u not in seen + (name,)
                    for o in owners(u, seen + (name,))]
        for m in RANGE.finditer(text):
            piece = piece_at(outer, masked, *m.span()) or next(
                (p for p in outer if p.begin > m.end() and not re.sub(
                    r"[\w\[\]., *]", "", masked[m.end():p.begin]).strip()), None)
            for owner in owners(piece.name)[:1] if piece else []:
                for name in ids_in(m[0]):
                    yield name, Test(path, owner)


def _names(node):
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def python_tests():
    """[(id, Test)]: from docstring, comments and decorators, and the tables these name."""
    for path in files("tests/e2e/test_*.py"):
        text = read(path)
        if "[MQTT" not in text:
            continue
        tree, lines = ast.parse(text), text.splitlines()
        tables = {}
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                tables[node.targets[0].id] = "\n".join(lines[node.lineno - 1:node.end_lineno])
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            first = min([node.lineno] + [d.lineno for d in node.decorator_list])
            above = first - 1
            while above and lines[above - 1].startswith("#"):
                above -= 1
            for name in ids_in("\n".join(lines[above:first - 1] + lines[node.lineno - 1:node.end_lineno])):
                yield name, Test(path, node.name)
            for decorator in node.decorator_list:
                rows = "\n".join(lines[decorator.lineno - 1:decorator.end_lineno])
                rows += "\n".join(tables[n] for n in sorted(_names(decorator)) if n in tables)
                for name in ids_in(rows):
                    yield name, Test(path, node.name, row=True)


# --- the page ---------------------------------------------------------------------


def load():
    """({version: {id: Statement}}, faults)"""
    tables = {version: statements(version) for version in VERSIONS}
    every = {name: s for table in tables.values() for name, s in table.items()}
    code, tests, faults = defaultdict(list), defaultdict(list), []
    for found, kind in ((code_citations(), code), ([*c_tests(), *python_tests()], tests)):
        for name, place in found:
            if name not in every:
                faults.append(f"{place.path}: [{name}] is no statement of MQTT")
            elif place not in kind[name]:
                kind[name].append(place)
    for s in every.values():
        for name in [s.id, *s.same]:
            s.code += [p for p in code[name] if p not in s.code
                       and (not s.binds_server or not p.path.startswith(CLIENT_ROOMS))]
        s.note = s.note or next((every[n].note for n in s.same if every[n].note), "")
        s.tests = tests[s.id]
    return tables, faults


def cell(texts, otherwise):
    unique = list(dict.fromkeys(texts))
    return ", ".join(f"`{t}`" for t in unique) if unique else otherwise


def row(s):
    code = cell((p.text() for p in s.code), "not cited" if s.binds_server else "")
    tests = cell((t.text() for t in s.tests), "no test" if s.binds_server else "")
    if s.note:
        code = s.note if not s.code else f"{code}; {s.note}"
        tests = "" if not s.tests and not s.code else tests
    same = f" (as {', '.join(n.removeprefix('MQTT-') for n in s.same)} of 5.0)" if s.same else ""
    return f"| {s.id} | {s.binds} | {s.what}{same} | {code} | {tests} |"


def sums(tables):
    yield "| | statements | bind a server | cited in the code | only a reason given | with a test | no test |"
    yield "|---|---|---|---|---|---|---|"
    for version, title in VERSIONS.items():
        ours = [s for s in tables[version].values() if s.binds_server]
        reason = [s for s in ours if not s.code and s.note]
        figures = [len(tables[version]), len(ours), sum(bool(s.code) for s in ours), len(reason),
                   sum(bool(s.tests) for s in ours),
                   sum(not s.tests and not (s.note and not s.code) for s in ours)]
        yield f"| {title} | " + " | ".join(map(str, figures)) + " |"


def page(tables):
    out = [MARK, "## Sums", "", *sums(tables)]
    for version, title in VERSIONS.items():
        out += ["", f"## {title}", "", "| id | binds | what | code | tests |", "|---|---|---|---|---|"]
        out += [row(s) for s in tables[version].values()]
    return "\n".join(out) + "\n"


def main():
    tables, faults = load()
    for fault in faults:
        print(fault, file=sys.stderr)
    old = read(PAGE)
    fresh = old.split(MARK)[0] + page(tables)
    if sys.argv[1:] == ["--check"]:
        if fresh != old:
            faults.append("differs")
            print(f"{PAGE}: differs from what is cited; run tools/conformance.py", file=sys.stderr)
    else:
        with open(os.path.join(ROOT, PAGE), "w", encoding="utf-8") as f:
            f.write(fresh)
        print("\n".join(sums(tables)))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
