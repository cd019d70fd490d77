"""Each rule broken once by each kind of source: what arrives, the counters, the events on monitor/ and
the list of rejects all agree."""
import json
import os
import re
import uuid
from collections import Counter
from dataclasses import dataclass

import pytest

from harness import notifications as wnm
from harness.notifications import Message

DWD = "de-dwd"
EVERYTHING = ["origin/#", "cache/#", "monitor/#"]
NODE, GATEWAY, CACHE, BROKER, CATALOGUE, MONITOR = (
    DWD, "de-dwd-gts-to-wis2", "de-dwd-global-cache", "fr-meteofrance-global-broker",
    "ca-eccc-msc-global-discovery-catalogue", "ma-marocmeteo-global-monitor")
KINDS = {"node": NODE, "gateway": GATEWAY, "cache": CACHE, "broker": BROKER,
         "catalogue": CATALOGUE, "monitor": MONITOR}


@dataclass
class Broken:
    rule: str
    message: Message


def number(rule):
    return int(rule.split("-")[1])


def cases():
    """(name, rule, channel, kind, payload) of every notification that tests/data/wnm.tsv refuses."""
    escapes = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\"}
    path = os.path.join(os.path.dirname(__file__), "..", "data", "wnm.tsv")
    with open(path, "rb") as f:
        for line in f:
            if line.startswith(b"#"):
                continue
            name, _, standard, _, rule, channel, kind, text = line.rstrip(b"\n").split(b"\t")
            if name == b"duplicate-escaped-name":   # the file names what mode lenient finds
                rule = b"WNM-05"
            if standard == b"invalid":
                yield (name.decode(), rule.decode(), channel.decode(), kind.decode(), re.sub(
                    rb"\\(x(..)|.)", lambda m: bytes.fromhex(m[2].decode()) if m[2]
                    else escapes[m[1]], text, flags=re.DOTALL))


def written(about, channel, tail):
    """Those of the case file that come on this channel."""
    kind = "metadata" if tail == "metadata" else "data"
    for name, rule, on_channel, of_kind, payload in cases():
        if (on_channel, of_kind) == (channel, kind):
            yield Broken(rule, Message(wnm.topic_of(about, tail, channel), payload, name))


def payloads(about, channel, tail):
    """Of a metadata notification nobody asks the times of data (WNM-35 to WNM-39, WNM-42)."""
    is_metadata = tail == "metadata"
    for name, rule, change in wnm.BROKEN_PAYLOADS:
        if is_metadata and 35 <= number(rule) <= 42:
            continue
        doc = wnm.document(about, tail)
        yield Broken(rule, Message(wnm.topic_of(about, tail, channel), change(doc), name))


def topics(about, channel):
    for tail, rule in wnm.BROKEN_TAILS:
        message = wnm.broken_topic(about, tail)
        yield Broken(rule, Message(wnm.topic_of(about, tail, channel), message.payload, tail))


def on(topic):
    return Message(topic, wnm.encode(wnm.document(DWD)), "foreign")


def foreign(centre, *channels):
    """Speaking for another centre where the kind may not, and on a channel that it may not use
    (monitor/ is anybody's whose `topics` ask for it)."""
    if centre not in (CACHE, BROKER, MONITOR):
        yield Broken("WTH-22", on(wnm.topic_of("fr-meteofrance", channel=channels[0])))
    about = DWD if centre in (CACHE, BROKER) else centre
    for channel in ("origin", "cache"):
        if channel not in channels:
            yield Broken("WTH-23", on(wnm.topic_of(about, channel=channel)))


def event(**change):
    made = {
        "specversion": "1.0", "type": "int.wmo.wis.wme.event", "id": str(uuid.uuid4()),
        "source": MONITOR, "subject": DWD, "time": "2026-05-04T10:11:12.250Z",
        "datacontenttype": "application/json",
        "dataschema": "https://schemas.wmo.int/wme/1.0.0/schemas/"
                      "wis2-event-message-bundled.json",
        "data": {"conformsTo":
                 ["http://wis.wmo.int/spec/wme/1/conf/monitoring-event-message-core"],
                 "severity": "ERROR", "content": {"title": "A title"}}}
    data = change.pop("data", {})
    made.update(change)
    if isinstance(made["data"], dict):
        made["data"].update(data)
    return {k: v for k, v in made.items() if v is not None}


EVENTS = [
    ("MON-20", event(subject="fr-meteofrance")),
    ("MON-22", event(id="7")), ("MON-22", event(type="int.wmo.wis.wme.event.v1")),
    ("MON-22", event(source=None)), ("MON-22", event(time="2026-05-04T10:11:12+02:00")),
    ("MON-23", {**event(), "data": "{}"}),
    ("MON-24", event(data={"conformsTo": []})),
    ("MON-25", event(data={"severity": "LOUD"})),
    ("MON-26", event(data={"content": {}})),
    ("MON-27", event(data={"ref": "7"})),
]


def events():
    for rule, made in EVENTS:
        yield Broken(rule, Message(f"monitor/a/wis2/{DWD}", json.dumps(made).encode(), rule))
    yield Broken("MON-21", Message(f"monitor/a/wis2/{DWD}",
                                   json.dumps(event(x="x" * 8192)).encode(), "long"))
    yield Broken("WTH-20", Message(f"monitor/a/wis2/{DWD}/more",
                                   json.dumps(event()).encode(), "levels"))


def broken_by(kind):
    centre = KINDS[kind]
    if kind in ("node", "gateway"):
        return [*payloads(centre, "origin", wnm.SYNOP), *written(centre, "origin", wnm.SYNOP),
                *topics(centre, "origin"),
                *foreign(centre, "origin")]
    if kind == "cache":
        return [*payloads(DWD, "cache", wnm.SYNOP), *written(DWD, "cache", wnm.SYNOP),
                *topics(DWD, "cache"),
                *foreign(centre, "cache")]
    if kind == "broker":
        return [*payloads(DWD, "origin", wnm.SYNOP), *payloads(DWD, "cache", wnm.SYNOP),
                *topics(DWD, "origin"), *topics(DWD, "cache"), *foreign(centre, "origin", "cache")]
    if kind == "catalogue":
        return [*payloads(centre, "origin", "metadata"), *written(centre, "origin", "metadata"),
                *foreign(centre, "origin"),
                Broken("WTH-23", on(wnm.topic_of(centre)))]
    return [*events(), *foreign(centre, "monitor")]


def good_of(kind):
    centre = KINDS[kind]
    if kind == "monitor":
        return Message(f"monitor/a/wis2/{DWD}", json.dumps(event()).encode(), "good")
    about = DWD if kind in ("cache", "broker") else centre
    return wnm.valid(about, tail="metadata" if kind == "catalogue" else wnm.SYNOP,
                     channel="cache" if kind == "cache" else "origin")


CODES = {"WTH": "invalid-topic", "WNM": "invalid-schema"}


def codes(listener, subjects):
    """[(subject, code)] of the reports about these centres."""
    found = []
    for message in list(listener.events):
        told = json.loads(message.payload)
        if told["data"].get("subtype") == "wnm-report" and told["subject"] in subjects:
            found.append((told["subject"], told["data"]["content"]["exception"]["code"]))
    return found


def totals(broken):
    """The WIS2 counters that these move: a foreign channel or centre moves none (MON-03)."""
    rules = Counter(b.rule for b in broken)
    topic = sum(n for r, n in rules.items()
                if r.startswith("WTH") and r not in ("WTH-22", "WTH-23"))
    form = sum(n for r, n in rules.items() if not r.startswith("WTH"))
    return rules, topic, form


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_broken_once_is_told_the_same_everywhere(node, gb, client, subscriber, kind):
    centre = KINDS[kind]
    made = node(centre)
    broker = gb({"it": {"centre_id": centre, "kind": kind, "url": made.url,
                        "topics": EVERYTHING}})
    listener = subscriber(broker.port, "origin/a/wis2/#", "cache/a/wis2/#", "monitor/a/wis2/#")
    broker.wait_connected(centre)
    broken, good = broken_by(kind), good_of(kind)
    publisher = client(made.port)
    publisher.publish_all([b.message for b in broken], limit=40.0)
    publisher.publish_all([good])
    broker.wait_received(len(broken) + 1, centre)

    assert [m.payload for m in listener.wait_count(1)] == [good.payload]
    rules, topic, form = totals(broken)
    m = broker.metrics()
    counted = {labels["rule"]: value for labels, value in m.series("isobar_rejected_total")}
    assert counted == dict(rules)
    assert m.value("wmo_wis2_gb_messages_invalid_topic_total", centre_id=centre) == topic
    assert m.value("wmo_wis2_gb_messages_invalid_format_total", centre_id=centre) == form
    assert m.value("wmo_wis2_gb_messages_published_total", centre_id=centre) == 1

    kept = json.loads(broker.get(f"/api/v1/rejects?centre_id={centre}&limit=1000")[2])["rejects"]
    kept.reverse()
    assert [(r["rule"], r["topic"]) for r in kept] == [(b.rule, b.message.topic) for b in broken]
    assert all(r["payload_bytes"] == len(b.message.payload) for r, b in zip(kept, broken))

    # One report for the first of each code, at once; what is wrong on monitor/ is answered by none.
    told = [b for b in broken if not b.message.topic.startswith("monitor/")]
    wanted = list(dict.fromkeys(CODES[b.rule[:3]] for b in told))
    subjects = {centre, DWD, "fr-meteofrance"}
    listener.wait(lambda: len(codes(listener, subjects)) >= len(wanted), what="reports")
    assert [code for _, code in codes(listener, subjects)] == wanted
