"""Every valid message of tests/data/wnm.tsv with one thing changed, one line each.

Members and elements at any depth: dropped, renamed, doubled, given another value; single bytes:
cut, put in, replaced. A mutant is named before it is made, so that a sample costs no more than itself.
"""
import json
import os
import re

from . import reader

CASES = os.path.join(os.path.dirname(__file__), "..", "..", "data", "wnm.tsv")

VALUES = [b"null", b"true", b"false", b"0", b"-1", b"-0.0", b"1.5", b"3.0", b"1e3", b"4096", b"4097",
          b"1e400", b"-1e400", b"123456789012345678901234567890", b"01", b"+1", b".5", b"NaN", b'""',
          b'"x"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\\ud83d\\ude00"', b'"\xff"',
          b'"\\x"', b"'x'", b"[]", b"{}", b"[null]", b'{"a":1,"a":2}', b"[1,2]", b"[1,]",
          b"[" * 70 + b"]" * 70]
TEXTS = ["v04", "Feature", "canonical", "update", "deletion", "item", "Point", "Polygon", "utf-8",
         "gzip", "sha256", "http", "bearer", "https://", "https://x y/", "mqtt://x", "urn:wmo:md:x:y",
         "8893163b-1bef-4e36-a874-0e01cbd2bd7a", "00000000-0000-0000-0000-000000000000",
         "{8893163b-1bef-4e36-a874-0e01cbd2bd7a}", "8893163b1bef4e36a8740e01cbd2bd7a",
         "2024-02-29T23:59:60Z", "2023-02-29T00:00:00Z", "2024-07-20t19:12:29z",
         "2024-07-20T19:12:29+00:00", "2024-07-20T19:12:29.5-01:00", "2024-07-20 19:12:29Z",
         "2024-07-20T24:00:00Z", "2024-07-20", "é" * 2049, "x" * 4096, "x" * 4097]
BYTES = [b"\x00", b"\x1f", b" ", b'"', b"\\", b"\\u", b"{", b"}", b"[", b"]", b",", b":", b"\xc3",
         b"\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xef\xbb\xbf", b"0", b"-", b"e",
         b"\t", b"\r", b"/**/", b"\x7f"]
NAMES = ["", "x", "id", "type", "conformsTo", "version", "datetime", "start_datetime", "end_datetime",
         "$ref", "x-y", "bearerFormat", "geometry", "length", "rel"]
STEPS = 97  # bytes between two places where single bytes are changed


def unescape(text):
    simple = {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\"}
    return re.sub(rb"\\(x[0-9a-f]{2}|[nrt\\])", lambda m: simple.get(
        m.group(1).decode()) or bytes([int(m.group(1)[1:], 16)]), text)


def valid_messages():
    with open(CASES, "rb") as f:
        rows = [line.rstrip(b"\n").split(b"\t") for line in f if not line.startswith(b"#")]
    return [(r[0].decode(), unescape(r[7])) for r in rows if r[2] == b"valid"]


def written(node, path, change, at=()):
    """The node as one line of JSON; `change` makes the text of what stands at `path`."""
    kind, value = node
    if kind == "object":
        parts = []
        for i, (name, inner) in enumerate(value):
            quoted = json.dumps(name, ensure_ascii=False).encode()
            text = written(inner, path, change, (*at, i))
            parts += change(quoted + b":", text) if (*at, i) == path else [quoted + b":" + text]
        return b"{" + b",".join(parts) + b"}"
    if kind == "array":
        parts = []
        for i, inner in enumerate(value):
            text = written(inner, path, change, (*at, i))
            parts += change(b"", text) if (*at, i) == path else [text]
        return b"[" + b",".join(parts) + b"]"
    if kind == "string":
        return json.dumps(value, ensure_ascii=False).encode()
    return value.encode() if kind == "number" else kind.encode()


def places(node, at=()):
    """(path, name or None) of every member and element."""
    kind, value = node
    if kind not in ("object", "array"):
        return
    for i, item in enumerate(value):
        name, inner = item if kind == "object" else (None, item)
        yield (*at, i), name
        yield from places(inner, (*at, i))


def value_changes():
    for text in VALUES + [json.dumps(t, ensure_ascii=False).encode() for t in TEXTS]:
        yield lambda name, _, text=text: [name + text]
        yield lambda name, old, text=text: [name + text, name + old]
        yield lambda name, old, text=text: [name + old, name + text]


def name_changes(name):
    first = b'"\\u%04x' % ord(name[0]) if name else b'"'
    for new in [n.encode() for n in NAMES if n != name] + [name.swapcase().encode(), name.encode() + b" "]:
        yield lambda _, old, new=new: [b'"' + new + b'":' + old]
    yield lambda _, old: [first + name[1:].encode() + b'":' + old]
    yield lambda n, old: [n + old, first + name[1:].encode() + b'":' + old]
    yield lambda _, old: [b'"\\ud800":' + old]


def member_mutants(node):
    for path, name in places(node):
        changes = [lambda _, __: [], lambda n, old: [n + old, n + old], lambda n, old: [n + old, b""],
                   lambda n, old: [b" \t" + n + b"\r" + old + b" "]]
        changes += value_changes()
        if name is not None:
            changes += name_changes(name)
        for change in changes:
            yield lambda path=path, change=change: written(node, path, change)


def byte_mutants(text):
    for at in range(0, len(text) + 1, STEPS):
        yield lambda at=at: text[:at]
        yield lambda at=at: text[:at] + text[at + 1:]
        for b in BYTES:
            yield lambda at=at, b=b: text[:at] + b + text[at:]
            yield lambda at=at, b=b: text[:at] + b + text[at + 1:]


def all_mutants():
    """Functions that each make one payload, in an order that never changes."""
    out = []
    for _, payload in valid_messages():
        node, _ = reader.parse(payload)
        text = written(node, None, None)
        out.append(lambda text=text: text)
        out += member_mutants(node)
        out += byte_mutants(text)
    return out
