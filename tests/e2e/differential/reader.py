"""The rules WNM-01 to WNM-70, written from the standard and not from Isobar's code.

Slow and plain on purpose. Nodes are (kind, value): objects keep all members in order, numbers their
text, strings what they stand for (an unpaired surrogate stays one).
"""
import base64
import datetime
import gzip
import re
import zlib
from fractions import Fraction

CORE = "http://wis.wmo.int/spec/wnm/1/conf/core"
LENIENT, STANDARD, STRICT = "lenient", "standard", "strict"
MILDEST = {**{n: STANDARD for n in (5, 19, 20, 32, 34, 39, 44, 58, 64, 65, 68)},
           **{n: STRICT for n in (21, 40, 41, 43, 47, 52, 59, 66, 70)}}
RANK = {LENIENT: 0, STANDARD: 1, STRICT: 2}


class NotJson(Exception):
    pass


# --- text to nodes ------------------------------------------------------------

SPACE = re.compile(r"[ \t\r\n]*")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
WORDS = {"null": ("null", None), "true": ("true", True), "false": ("false", False)}


class Parser:
    def __init__(self, text):
        self.text, self.at = text, 0
        self.deepest, self.lone, self.repeated = 0, False, False

    def space(self):
        self.at = SPACE.match(self.text, self.at).end()

    def next(self):
        return self.text[self.at:self.at + 1]

    def expect(self, c):
        if self.next() != c:
            raise NotJson(self.at)
        self.at += 1

    def unit(self):
        digits = self.text[self.at:self.at + 4]
        if not re.fullmatch(r"[0-9a-fA-F]{4}", digits):
            raise NotJson(self.at)
        self.at += 4
        return int(digits, 16)

    def escape(self):
        self.at += 1
        c = self.next()
        self.at += 1
        if c in SHORT:
            return SHORT[c]
        if c != "u":
            raise NotJson(self.at)
        high = self.unit()
        if 0xD800 <= high < 0xDC00 and self.text[self.at:self.at + 2] == "\\u":
            before = self.at
            self.at += 2
            low = self.unit()
            if 0xDC00 <= low < 0xE000:
                return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)
            self.at = before
        if 0xD800 <= high < 0xE000:
            self.lone = True
        return chr(high)

    def string(self):
        self.expect('"')
        out = []
        while True:
            m = PLAIN.match(self.text, self.at)
            out.append(m.group())
            self.at = m.end()
            if self.next() == '"':
                self.at += 1
                return "".join(out)
            if self.next() != "\\":
                raise NotJson(self.at)
            out.append(self.escape())

    def container(self, close, one, depth):
        self.deepest = max(self.deepest, depth)
        self.at += 1
        out = []
        self.space()
        if self.next() == close:
            self.at += 1
            return out
        while True:
            out.append(one(depth))
            self.space()
            if self.next() == close:
                self.at += 1
                return out
            self.expect(",")

    def member(self, depth):
        self.space()
        name = self.string()
        self.space()
        self.expect(":")
        return name, self.value(depth + 1)

    def value(self, depth=1):
        self.space()
        c = self.next()
        if c == "{":
            members = self.container("}", self.member, depth)
            self.repeated |= len({n for n, _ in members}) < len(members)
            return "object", members
        if c == "[":
            return "array", self.container("]", lambda d: self.value(d + 1), depth)
        if c == '"':
            return "string", self.string()
        for word, node in WORDS.items():
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return node
        m = NUMBER.match(self.text, self.at)
        if not m:
            raise NotJson(self.at)
        self.at = m.end()
        return "number", m.group()

    def whole(self):
        node = self.value()
        self.space()
        if self.at < len(self.text):
            raise NotJson(self.at)
        return node


def parse(payload):
    """(node, parser); NotJson or UnicodeDecodeError."""
    parser = Parser(payload.decode("utf-8"))
    return parser.whole(), parser


# --- formats ------------------------------------------------------------------

UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})([Tt])([0-9]{2}):([0-9]{2}):([0-9]{2})"
                  r"(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})")
BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
DIGESTS = {"sha256": 32, "sha384": 48, "sha512": 64,
           "sha3-256": 32, "sha3-384": 48, "sha3-512": 64}


def ordinal(year, month, day):
    if year == 0:  # before the first year datetime has, and like 400 in all else
        return datetime.date(400, month, day).toordinal() - 146097
    return datetime.date(year, month, day).toordinal()


def read_time(text):
    """(instant, is in UTC, is written with T and Z), or None."""
    m = TIME.fullmatch(text)
    if not m:
        return None
    year, month, day, hour, minute, second = (int(m.group(i)) for i in (1, 2, 3, 5, 6, 7))
    zone, offset = m.group(9), 0
    if zone not in "Zz":
        h, mm = int(zone[1:3]), int(zone[4:6])
        if h > 23 or mm > 59:
            return None
        offset = (h * 60 + mm) * (-1 if zone[0] == "-" else 1)
    try:
        days = ordinal(year, month, day)
    except ValueError:
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    minutes = days * 1440 + hour * 60 + minute - offset
    if second == 60 and minutes % 1440 != 1439:
        return None
    return (minutes * 60 + second + Fraction("0" + (m.group(8) or ".0")), offset == 0,
            m.group(4) == "T" and zone == "Z")


def integer(text):
    """The value, or None when it has a fraction or is no number a double can hold."""
    value = float(text)
    if value in (float("inf"), float("-inf")) and not re.fullmatch(r"-?[0-9]+", text):
        return None
    exact = Fraction(text) if abs(value) < 1e18 else Fraction(10) ** 18 * (1 if value > 0 else -1)
    return exact if exact.denominator == 1 else None


def unbase64(text):
    return base64.b64decode(text) if BASE64.fullmatch(text) else None


def octets(text):
    return text.encode("utf-8", "surrogatepass")


# --- the rules ----------------------------------------------------------------

class Judge:
    def __init__(self, mode, metadata_topic, cache_topic):
        self.mode, self.metadata_topic, self.cache_topic = mode, metadata_topic, cache_topic
        self.broken = set()

    def fail(self, number, unless=True):
        if unless and RANK[MILDEST.get(number, LENIENT)] <= RANK[self.mode]:
            self.broken.add(number)

    @staticmethod
    def members(node):
        return dict(node[1])  # of several with one name the last

    def kinds(self, members, name, kinds, absent, other):
        """The node when it is there and of one of the kinds."""
        node = members.get(name)
        if node is None:
            if absent:
                self.fail(absent)
            return None
        if node[0] not in kinds:
            self.fail(other)
            return None
        return node

    def text(self, members, name, absent, other):
        node = self.kinds(members, name, ("string",), absent, other)
        return node[1] if node else None

    def time(self, text, form, utc):
        if text is None:
            return None
        t = read_time(text)
        if t is None:
            self.fail(form)
            return None
        self.fail(utc, not t[1] or (self.mode == STRICT and not t[2]))
        return t[0]

    def top(self, node):
        if node[0] != "object":
            self.fail(4)
            return
        m = self.members(node)
        kind = self.text(m, "type", 10, 10)
        self.fail(10, kind not in (None, "Feature"))
        self.identity(self.text(m, "id", 11, 11))
        self.version(m)
        geometry = self.kinds(m, "geometry", ("null", "object"), 16, 16)
        if geometry and geometry[0] == "object":
            self.geometry(self.members(geometry))
        self.links(self.kinds(m, "links", ("array",), 60, 60))
        properties = self.kinds(m, "properties", ("object",), 22, 22)
        if properties:
            self.properties(self.members(properties))

    def identity(self, text):
        if text is not None:
            self.fail(12, not UUID.fullmatch(text) or
                      (self.mode == STRICT and not text.strip("0-")))

    def version(self, m):
        self.fail(15, m.get("version", ("string", "v04")) != ("string", "v04"))
        names_core = False
        if "conformsTo" in m:
            kind, value = m["conformsTo"]
            names_core = kind == "array" and ("string", CORE) in value
            self.fail(14, not names_core)
        self.fail(13, "version" in m and names_core)
        self.fail(13, "version" not in m and "conformsTo" not in m)

    # geometry

    def geometry(self, m):
        kind = self.text(m, "type", 16, 16)
        if kind is None:
            return
        if kind not in ("Point", "Polygon"):
            self.fail(16)
            return
        form = 17 if kind == "Point" else 18
        node = m.get("coordinates")
        if node is None:
            self.fail(form)
        elif kind == "Point":
            self.position(node, form)
        elif node[0] != "array":
            self.fail(form)
        else:
            self.fail(21, not node[1])
            for ring in node[1]:
                self.ring(ring)

    def position(self, node, form):
        """The numbers, or None."""
        if node[0] != "array" or any(k != "number" for k, _ in node[1]):
            self.fail(form)
            return None
        numbers = [float(text) for _, text in node[1]]
        self.fail(form, len(numbers) < 2)
        self.fail(21, len(numbers) > 3)
        for i, value in enumerate(numbers):
            limit = {0: 180, 1: 90}.get(i, 1.7976931348623157e308)
            self.fail(20, abs(value) > limit)
        return numbers if len(numbers) >= 2 else None

    def ring(self, node):
        if node[0] != "array":
            self.fail(18)
            return
        positions = [self.position(p, 18) for p in node[1]]
        if len(positions) < 4:
            self.fail(18)
        elif None not in positions:
            self.fail(19, positions[0] != positions[-1])

    # properties

    def properties(self, m):
        self.time(self.text(m, "pubtime", 30, 30), 31, 32)
        self.times(m)
        data_id = self.text(m, "data_id", 33, 33)
        self.fail(34, data_id == "")
        metadata_id = self.text(m, "metadata_id", None, 42)
        if metadata_id is not None:
            self.fail(43, not re.fullmatch(r"urn:wmo:md:[a-z0-9-]+:[!-:<-~]+", metadata_id))
        self.fail(44, self.metadata_topic and self.deletes and
                  ("metadata_id" not in m or metadata_id == ""))
        self.text(m, "producer", None, 45)
        self.text(m, "global-cache", None, 46)
        self.fail(47, self.cache_topic and "global-cache" not in m)
        self.kinds(m, "cache", ("true", "false"), None, 48)
        integrity = self.kinds(m, "integrity", ("object",), None, 49)
        if integrity:
            self.integrity(self.members(integrity))
        content = self.kinds(m, "content", ("object",), None, 53)
        if content:
            self.content(self.members(content))

    def times(self, m):
        at, start, end = (n in m for n in ("datetime", "start_datetime", "end_datetime"))
        self.fail(35, not at and not (start and end))
        self.fail(36, at and start and end)
        self.fail(40, at and start != end)
        node = self.kinds(m, "datetime", ("string", "null"), None, 37)
        self.time(node[1] if node and node[0] == "string" else None, 37, 39)
        begin = self.time(self.text(m, "start_datetime", None, 38), 38, 39)
        finish = self.time(self.text(m, "end_datetime", None, 38), 38, 39)
        self.fail(41, begin is not None and finish is not None and begin > finish)

    def integrity(self, m):
        method = self.text(m, "method", 49, 50)
        value = self.text(m, "value", 49, 51)
        self.fail(50, method is not None and method not in DIGESTS)
        if method in DIGESTS and value is not None:
            data = unbase64(value)
            self.fail(52, data is None or len(data) != DIGESTS[method])

    def content(self, m):
        encoding = self.text(m, "encoding", 53, 54)
        value = self.text(m, "value", 53, 55)
        number = self.kinds(m, "size", ("number",), 53, 57)
        known = encoding in ("utf-8", "base64", "gzip")
        self.fail(54, encoding is not None and not known)
        if value is not None:
            self.fail(56, (len(value) if self.mode == LENIENT else len(octets(value))) > 4096)
        size = integer(number[1]) if number else None
        self.fail(57, number is not None and (size is None or size > 4096))
        self.fail(58, size is not None and size < 0)
        if known and value is not None and size is not None:
            self.fail(59, self.decoded(encoding, value) != size)

    @staticmethod
    def decoded(encoding, value):
        if encoding == "utf-8":
            return len(octets(value))
        data = unbase64(value)
        if data is None or encoding == "base64":
            return None if data is None else len(data)
        try:
            length = len(gzip.decompress(data)) if data else None
        except (OSError, EOFError, zlib.error):
            return None
        return length if length is None or length <= 4096 else None

    # links

    def links(self, node):
        self.deletes = False
        if node is None:
            return
        self.fail(60, not node[1])
        primary = 0
        for kind, link in node[1]:
            if kind != "object":
                self.fail(61)
                continue
            rel = self.link(dict(link))
            self.deletes |= rel == "deletion"
            primary += rel in ("canonical", "update", "deletion")
        self.fail(65, node[1] and primary == 0)
        self.fail(66, primary > 1)

    def link(self, m):
        href = self.text(m, "href", 61, 63)
        rel = self.text(m, "rel", 61, 62)
        for name in ("type", "hreflang", "title"):
            self.text(m, name, None, 67)
        if href is not None:
            self.fail(64, not re.match(r"(?i:https?|s?ftp)://[^/?#]", href, re.S))
            self.fail(70, not re.fullmatch(r"[!-~]*", href) or re.search(r'[<>"{}|\\^`]', href))
        number = self.kinds(m, "length", ("number",), None, 67)
        length = integer(number[1]) if number else None
        self.fail(67, number is not None and length is None)
        self.fail(68, length is not None and length < 0)
        security = self.kinds(m, "security", ("object",), None, 69)
        for name, scheme in self.members(security).items() if security else ():
            if re.fullmatch(r"[a-zA-Z0-9.\-_]+", name):
                self.fail(69, scheme[0] != "object" or not self.is_scheme(dict(scheme[1])))
        return rel

    @staticmethod
    def is_scheme(m):
        kinds = {name: node[0] for name, node in m.items() if not name.startswith("x-")}
        if kinds.get("$ref") == "string":
            return True
        kind = m.get("type", (None, None))[1]
        needed, may = {"apiKey": ({"name", "in"}, set()), "http": ({"scheme"}, {"bearerFormat"}),
                       "oauth2": ({"flows"}, set()),
                       "openIdConnect": ({"openIdConnectUrl"}, set())}.get(
                           kind if isinstance(kind, str) else None, (None, None))
        if needed is None:
            return False
        own = set(kinds) - {"type", "description"}
        if not needed <= own or own - needed - may:
            return False
        if any(k != ("object" if n == "flows" else "string") for n, k in kinds.items()):
            return False
        if kind == "apiKey" and m["in"][1] not in ("header", "query", "cookie"):
            return False
        return "bearerFormat" not in own or m["scheme"][1] == "bearer"


def is_wide(payload):
    return [b == 0 for b in payload[:4]] in ([False, True, False, True], [True, False, True, False],
                                             [True, True, True, False], [False, True, True, True])


def judge(payload, mode, metadata_topic=False, cache_topic=False):
    """Numbers of all rules broken, ascending."""
    if not 1 <= len(payload) <= 8192:
        return [1]
    try:
        node, parser = parse(payload)
    except UnicodeDecodeError:
        return [2]
    except NotJson:
        return [2 if payload.startswith(b"\xef\xbb\xbf") or is_wide(payload) else 3]
    j = Judge(mode, metadata_topic, cache_topic)
    j.fail(5, parser.repeated)
    j.fail(6, parser.deepest > 64)
    j.fail(7, parser.lone)
    j.top(node)
    return sorted(j.broken)
