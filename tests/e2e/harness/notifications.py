"""Notifications as WIS2 Nodes publish them, good ones and ones that break one rule each.

The rule named is the lowest-numbered one broken (wnm.md section 5, topics.md section 2).
"""
import copy
import hashlib
import json
import uuid
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

SYNOP = "data/core/weather/surface-based-observations/synop"
TAILS = (
    SYNOP,
    "data/core/weather/surface-based-observations/temp",
    "data/core/weather/aviation/taf",
    "data/core/ocean/surface-based-observations/wave-buoys",
    "data/recommended/weather/aviation/qvaci",
    "data/core/weather/advisories-warnings",
    "data/core/weather/space-based-observations/aqua",       # not a leaf: valid (WTH-15)
    "data/core/hydrology/experimental/Some_thing/else".lower(),
)


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    id: str = ""


def topic_of(centre, tail=SYNOP, channel="origin"):
    return f"{channel}/a/wis2/{centre}/{tail}"


def document(centre, tail=SYNOP, number=0, identity=None):
    """A notification as a dict, about 1.2 KB of JSON."""
    now = datetime.now(timezone.utc)
    content = hashlib.sha512(f"{centre} {number}".encode()).digest()
    name = f"WIGOS_0-20000-0-{10000 + number % 90000}_{now:%Y%m%dT%H%M%S}_{number}"
    inline = b64encode(content * 4).decode()
    return {
        "id": str(identity or uuid.uuid4()),
        "conformsTo": ["http://wis.wmo.int/spec/wnm/1/conf/core"],
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [round(-179 + number % 358, 3), 47.85, 512.0]},
        "properties": {
            "pubtime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "datetime": (now - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "data_id": f"wis2/{centre}/{tail}/{name}",
            "metadata_id": f"urn:wmo:md:{centre}:surface-based-observations-synop",
            "producer": "Zürich – 気象",
            "integrity": {"method": "sha512", "value": b64encode(content).decode()},
            "content": {"encoding": "base64", "value": inline, "size": len(content) * 4},
            "wigos_station_identifier": f"0-20000-0-{10000 + number % 90000}",
        },
        "links": [{
            "rel": "canonical",
            "type": "application/bufr",
            "href": f"https://data.example.org/{centre}/{now:%Y-%m-%d}/{name}.bufr4",
            "length": 250 + number % 100,
        }],
    }


def encode(doc):
    return json.dumps(doc, ensure_ascii=False).encode("utf-8")


def valid(centre, number=0, tail=None, channel="origin"):
    tail = tail or TAILS[number % len(TAILS)]
    doc = document(centre, tail, number)
    return Message(topic_of(centre, tail, channel), encode(doc), doc["id"])


def valid_many(centre, count, **options):
    return [valid(centre, number, **options) for number in range(count)]


# --- broken ones ------------------------------------------------------------

DROP = object()


def _at(doc, path):
    for key in path[:-1]:
        doc = doc[key]
    return doc, path[-1]


def _change(*path_and_value):
    *path, value = path_and_value

    def change(doc):
        doc = copy.deepcopy(doc)
        holder, key = _at(doc, path)
        if value is DROP:
            del holder[key]
        else:
            holder[key] = value
        return encode(doc)
    return change


def _text(old, new):
    """Changes the encoded text, for what json.dumps would not write."""
    def change(doc):
        text = encode(doc)
        assert old in text
        return text.replace(old, new, 1)
    return change


def _pad(size):
    def change(doc):
        text = encode(doc)
        return text + b" " * (size - len(text))
    return change


def _nested(depth):
    return lambda doc: encode(doc)[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"


_SQUARE = [[0, 0], [1, 0], [1, 1], [0, 0]]
_P = "properties"
BROKEN_PAYLOADS = (
    ("8193 bytes", "WNM-01", _pad(8193)),
    ("200 kB", "WNM-01", _pad(200_000)),
    ("empty", "WNM-01", lambda doc: b""),
    ("overlong UTF-8", "WNM-02", _text("Zürich".encode(), b"Z\xc1\xbcrich")),
    ("UTF-8 surrogate", "WNM-02", _text("Zürich".encode(), b"Z\xed\xa0\x80rich")),
    ("byte-order mark", "WNM-02", lambda doc: b"\xef\xbb\xbf" + encode(doc)),
    ("UTF-16", "WNM-02", lambda doc: encode(doc).decode().encode("utf-16")),
    ("trailing comma", "WNM-03", lambda doc: encode(doc)[:-1] + b",}"),
    ("NaN", "WNM-03", _text(b"47.85", b"NaN")),
    ("leading zero", "WNM-03", _text(b"47.85", b"047.85")),
    ("NUL behind", "WNM-03", lambda doc: encode(doc) + b"\0"),
    ("cut off", "WNM-03", lambda doc: encode(doc)[:-20]),
    ("raw control character", "WNM-03", _text("Zürich".encode(), b"Z\x01rich")),
    ("not JSON", "WNM-03", lambda doc: b"<xml/>"),
    ("array", "WNM-04", lambda doc: b"[" + encode(doc) + b"]"),
    ("a name twice", "WNM-05", lambda doc: encode(doc)[:-1] + b',"type":"Feature"}'),
    ("too deep", "WNM-06", _nested(64)),
    ("very deep", "WNM-06", _nested(3000)),
    ("lone surrogate", "WNM-07", _text("Zürich".encode(), rb"Z\ud800rich")),
    ("type", "WNM-10", _change("type", "feature")),
    ("no id", "WNM-11", _change("id", DROP)),
    ("id is a number", "WNM-11", _change("id", 7)),
    ("id in braces", "WNM-12", lambda doc: _change("id", "{" + doc["id"] + "}")(doc)),
    ("id then NUL", "WNM-12", lambda doc: _text(doc["id"].encode(),
                                                doc["id"].encode() + rb"\u0000")(doc)),
    ("no conformsTo", "WNM-13", _change("conformsTo", DROP)),
    ("conformsTo another", "WNM-14",
     _change("conformsTo", ["http://wis.wmo.int/spec/wnm/2/conf/core"])),
    ("geometry LineString", "WNM-16", _change("geometry", "type", "LineString")),
    ("no geometry", "WNM-16", _change("geometry", DROP)),
    ("one coordinate", "WNM-17", _change("geometry", "coordinates", [1])),
    ("ring of three", "WNM-18",
     _change("geometry", {"type": "Polygon", "coordinates": [_SQUARE[:3]]})),
    ("open ring", "WNM-19",
     _change("geometry", {"type": "Polygon", "coordinates": [_SQUARE[:3] + [[0, 1]]]})),
    ("latitude 91", "WNM-20", _change("geometry", "coordinates", [0, 91])),
    ("no properties", "WNM-22", _change(_P, DROP)),
    ("no pubtime", "WNM-30", _change(_P, "pubtime", DROP)),
    ("pubtime with a space", "WNM-31", _change(_P, "pubtime", "2026-01-01 00:00:00Z")),
    ("30 February", "WNM-31", _change(_P, "pubtime", "2026-02-30T00:00:00Z")),
    ("pubtime not UTC", "WNM-32", _change(_P, "pubtime", "2026-01-01T00:00:00+02:00")),
    ("no data_id", "WNM-33", _change(_P, "data_id", DROP)),
    ("empty data_id", "WNM-34", _change(_P, "data_id", "")),
    ("no datetime", "WNM-35", _change(_P, "datetime", DROP)),
    ("datetime false", "WNM-37", _change(_P, "datetime", False)),
    ("start_datetime null", "WNM-38", _change(_P, "start_datetime", None)),
    ("datetime not UTC", "WNM-39", _change(_P, "datetime", "2026-01-01T00:00:00-01:00")),
    ("metadata_id null", "WNM-42", _change(_P, "metadata_id", None)),
    ("producer a number", "WNM-45", _change(_P, "producer", 1)),
    ("global-cache a list", "WNM-46", _change(_P, "global-cache", [])),
    ("cache 0", "WNM-48", _change(_P, "cache", 0)),
    ("integrity without value", "WNM-49", _change(_P, "integrity", {"method": "sha512"})),
    ("integrity md5", "WNM-50", _change(_P, "integrity", "method", "md5")),
    ("content without size", "WNM-53", _change(_P, "content", "size", DROP)),
    ("content encoding", "WNM-54", _change(_P, "content", "encoding", "UTF-8")),
    ("content too long", "WNM-56", _change(_P, "content", "value", "x" * 4097)),
    ("size 5000", "WNM-57", _change(_P, "content", "size", 5000)),
    ("size negative", "WNM-58", _change(_P, "content", "size", -1)),
    ("no links", "WNM-60", _change("links", [])),
    ("link without rel", "WNM-61", _change("links", 0, "rel", DROP)),
    ("href a number", "WNM-63", _change("links", 0, "href", 5)),
    ("href without scheme", "WNM-64", _change("links", 0, "href", "data.example.org/x")),
    ("no primary link", "WNM-65", _change("links", 0, "rel", "alternate")),
    ("length a string", "WNM-67", _change("links", 0, "length", "5")),
    ("length negative", "WNM-68", _change("links", 0, "length", -5)),
)

# What stands behind the centre-id, and the rule it breaks.
BROKEN_TAILS = (
    ("data/core/weather//synop", "WTH-02"),
    (SYNOP + "/", "WTH-02"),
    ("data/core/weather/Surface-based-observations/synop", "WTH-03"),
    ("data/core/weather/experimental/a.b", "WTH-03"),
    ("data/core/weather/experimental/Zürich".replace("Z", "z"), "WTH-03"),
    ("date/core/weather/surface-based-observations/synop", "WTH-08"),
    ("metadata/core", "WTH-09"),
    ("data/open/weather/surface-based-observations/synop", "WTH-10"),
    ("data/core/meteorology/surface-based-observations/synop", "WTH-11"),
    ("data/core/weather", "WTH-12"),
    ("data/core/weather/surface-based-observation/synop", "WTH-13"),
    ("data/core/weather/surface-based-observations/experimental/x", "WTH-14"),
    (SYNOP + "/more", "WTH-16"),
)


def broken_payload(centre, row, number=0):
    """A message on a good topic with the payload of a row of BROKEN_PAYLOADS."""
    doc = document(centre, SYNOP, number)
    return Message(topic_of(centre), row[2](doc), doc["id"])


def broken_topic(centre, tail, number=0):
    """A good notification on a bad topic."""
    doc = document(centre, SYNOP, number)
    return Message(topic_of(centre, tail), encode(doc), doc["id"])
