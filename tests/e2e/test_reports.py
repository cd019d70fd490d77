"""What is told of messages that break a rule, and of the broker itself: events on monitor/, the list
of rejects, the counters and `isobar verify` all say the same."""
import json

import pytest

from harness import notifications as wnm
from harness.isobar import CENTRE_ID, isobar
from harness.notifications import Message, topic_of
from harness.process import wait_equal, wait_until

DWD, GC = "de-dwd", "de-dwd-global-cache"
WNM_REPORT = "Global Broker WNM report"


def told(listener, title):
    """[(subject, data)] of the events with this title."""
    found = []
    for message in list(listener.events):
        event = json.loads(message.payload)
        assert message.topic == "monitor/a/wis2/" + event["subject"]
        assert len(message.payload) <= 8192 and event["source"] == CENTRE_ID
        if event["data"]["content"]["title"] == title:
            found.append((event["subject"], event["data"]))
    return found


def wait_told(listener, title, count=1):
    listener.wait(lambda: len(told(listener, title)) >= count, what=f"{count} x {title!r}")
    return told(listener, title)


def rejects(gb, query=""):
    status, _, body = gb.get("/api/v1/rejects" + query)
    assert status == 200, body
    return json.loads(body)["rejects"]


@pytest.fixture
def world(node, gb, client, subscriber):
    """(the node's mosquitto, Isobar, a publisher there, a subscriber of monitor/)."""
    made = node(DWD)
    broker = gb({"dwd": {"centre_id": DWD, "url": made.url, "topics": ["origin/#", "monitor/#"]}})
    listener = subscriber(broker.port, "monitor/a/wis2/#")
    broker.wait_connected(DWD)
    return made, broker, client(made.port), listener


def broken(change):
    document = wnm.document(DWD)
    change(document)
    return json.dumps(document, indent=1).encode()


ROWS = [
    # name, topic, payload, rule, code
    ("no time", topic_of(DWD), broken(lambda d: d["properties"].pop("datetime")), "WNM-35",
     "invalid-schema"),
    ("not JSON", topic_of(DWD), b'{\n "a": tru}', "WNM-03", "invalid-schema"),
    ("unknown name", topic_of(DWD, "data/core/wether"), json.dumps(wnm.document(DWD)).encode(),
     None, "invalid-topic"),
    ("another centre", topic_of("fr-meteofrance"), json.dumps(wnm.document(DWD)).encode(),
     "WTH-22", "invalid-topic"),
]


@pytest.mark.parametrize("name,topic,payload,rule,code", ROWS, ids=[r[0] for r in ROWS])
def test_event_reject_counter_and_verify_agree(world, tmp_path, name, topic, payload, rule, code):
    _, broker, publisher, listener = world
    publisher.publish_all([Message(topic, payload)])
    (subject, data), = wait_told(listener, WNM_REPORT)
    one, = rejects(broker)
    rule = rule or one["rule"]
    assert (subject, one["centre_id"], one["rule"], one["code"]) == (DWD, DWD, rule, code)
    content = data["content"]
    assert content["exception"]["code"] == code and content["rules"] == {rule: 1}
    assert content["exception"]["errors"][0]["rule"] == rule
    assert content["exception"]["errors"][0].get("nearest") == one.get("nearest")
    assert content["channel"] == topic and data["severity"] == "ERROR"
    assert broker.metrics().value("isobar_rejected_total", 0, centre_id=DWD, rule=rule) == 1
    assert one["topic"] == topic and one["payload"].encode() == payload
    status, _, raw = broker.get(f"/api/v1/rejects/{one['number']}")
    assert status == 200 and raw == payload
    if rule == "WTH-22":
        return      # that the source may not say this is nothing a message shows
    (tmp_path / "saved.json").write_bytes(raw)
    verdict = isobar("verify", "--json", "-t", topic, tmp_path / "saved.json")
    first = json.loads(verdict.stdout.splitlines()[0])["broken"][0]
    assert verdict.returncode == 1 and first["rule"] == rule
    if "path" in one["place"] and code == "invalid-schema":
        assert (first["line"], first["column"], first["path"]) == (
            one["place"]["line"], one["place"]["column"], one["place"]["path"])


def test_a_flood_of_broken_messages_makes_one_event_at_once(world):
    _, broker, publisher, listener = world
    bad = [Message(topic_of(DWD), broken(lambda d: d["properties"].pop("datetime")))
           for _ in range(300)]
    publisher.publish_all(bad[:1])
    wait_told(listener, WNM_REPORT)
    publisher.publish_all(bad[1:])
    broker.wait_metric("isobar_rejected_total", 300, centre_id=DWD, rule="WNM-35")
    publisher.publish_all([Message(topic_of(DWD, "data/nonsense"), b"{}")])
    reports = wait_told(listener, WNM_REPORT, 2)     # the second has another code
    assert [d["content"]["exception"]["code"] for _, d in reports] == [
        "invalid-schema", "invalid-topic"]
    assert reports[0][1]["content"]["count"] == 1
    assert len(rejects(broker, "?limit=1000")) == 301


def test_a_bad_event_is_kept_and_counted_but_answered_by_none(world):
    _, broker, publisher, listener = world
    publisher.publish_all([Message(f"monitor/a/wis2/{DWD}", b'{"specversion": "1.0"}'),
                           Message(topic_of(DWD, "data/nonsense"), b"{}")])
    (_, data), = wait_told(listener, WNM_REPORT)
    assert data["content"]["exception"]["code"] == "invalid-topic"
    assert [r["topic"] for r in rejects(broker)][1] == f"monitor/a/wis2/{DWD}"


def test_rejects_are_asked_by_centre_rule_number_and_limit(world):
    _, broker, publisher, _ = world
    publisher.publish_all([Message(topic_of(DWD), b"{}"), Message(topic_of(DWD), b"["),
                           Message(topic_of(DWD, "data/x"), b"{}")])
    wait_until(lambda: len(rejects(broker)) == 3)
    numbers = [r["number"] for r in rejects(broker)]
    assert numbers == [3, 2, 1]
    assert [r["number"] for r in rejects(broker, "?limit=2")] == [3, 2]
    assert [r["number"] for r in rejects(broker, "?before=3")] == [2, 1]
    assert [r["number"] for r in rejects(broker, "?rule=WNM-03")] == [2]
    assert len(rejects(broker, f"?centre_id={DWD}")) == 3
    assert rejects(broker, "?centre_id=fr-meteofrance") == []
    for query in ("?rule=WNM-999", "?limit=0", "?limit=x", "?before=-1"):
        status, _, body = broker.get("/api/v1/rejects" + query)
        assert status == 400 and json.loads(body)["error"], query
    assert broker.get("/api/v1/rejects/99")[0] == 404


def test_what_is_let_through_is_reported_and_published(node, gb, client, subscriber):
    made = node(DWD)
    broker = gb({"dwd": {"centre_id": DWD, "url": made.url, "checks": {"message": "verify"}}})
    listener = subscriber(broker.port, "origin/a/wis2/#", "monitor/a/wis2/#")
    broker.wait_connected(DWD)
    payload = broken(lambda d: d["properties"].pop("datetime"))
    client(made.port).publish_all([Message(topic_of(DWD), payload)])
    assert [m.payload for m in listener.wait_count(1)] == [payload]
    (_, data), = wait_told(listener, WNM_REPORT)
    assert "republished all the same" in data["content"]["description"]
    assert rejects(broker)[0]["let_through"] is True


def test_an_event_about_a_relayed_message_names_its_centre(node, gb, client, subscriber):
    made = node(GC)
    broker = gb({"gc": {"centre_id": GC, "kind": "cache", "url": made.url}})
    listener = subscriber(broker.port, "monitor/a/wis2/#")
    broker.wait_connected(GC)
    client(made.port).publish_all([Message(topic_of(DWD, channel="cache"), b"{}")])
    assert wait_told(listener, WNM_REPORT)[0][0] == DWD
    assert [r["centre_id"] for r in rejects(broker, f"?centre_id={DWD}")] == [GC]
    assert len(rejects(broker, f"?centre_id={GC}")) == 1


def test_connecting_stopping_and_starting_are_told(node, gb, client):
    made = node(DWD)
    broker = gb({"dwd": {"centre_id": DWD, "url": made.url}})
    kept = {"client_id": "listener", "clean": False, "expiry": 300}
    listener = client(broker.port, **kept)
    listener.subscribe("monitor/a/wis2/#")
    broker.wait_connected(DWD)
    assert wait_told(listener, "Connected to WIS2 Node")[0][0] == DWD
    broker.stop()
    listener.end()
    broker.start()
    again = client(broker.port, **kept)
    assert wait_told(again, "Global Broker started")[0][0] == CENTRE_ID
    every = told(listener, "Global Broker stops") + told(again, "Global Broker stops")
    assert {subject for subject, _ in every} == {CENTRE_ID}


def test_a_shadow_tells_nothing_and_keeps_rejects(node, gb, client):
    made = node(DWD)
    broker = gb({"dwd": {"centre_id": DWD, "url": made.url}}, config={"shadow": True})
    broker.wait_connected(DWD)
    client(made.port).publish_all([Message(topic_of(DWD), b"{}")])
    wait_until(lambda: len(rejects(broker)) == 1)
    assert broker.metrics().value("isobar_events_total") == 0


def test_who_brings_a_centres_messages_first_is_counted_by_source(node, gb, client):
    """A node and a cache's broker bring the same centre's messages; the cache those of another too."""
    nodes = {name: node(name) for name in (DWD, "fr-meteofrance-global-broker")}
    peer = nodes["fr-meteofrance-global-broker"]
    broker = gb({"dwd": {"centre_id": DWD, "url": nodes[DWD].url},
                 "peer": {"centre_id": "fr-meteofrance-global-broker", "kind": "broker",
                          "url": peer.url}})
    broker.wait_connected(DWD, "fr-meteofrance-global-broker")
    mine, others = wnm.valid_many(DWD, 5), wnm.valid_many("ca-eccc-msc", 3)
    client(nodes[DWD].port).publish_all(mine)
    broker.wait_metric("wmo_wis2_gb_messages_published_total", 5, centre_id=DWD)
    client(peer.port).publish_all(mine + wnm.valid_many(DWD, 2) + others)
    broker.wait_metric("wmo_wis2_gb_messages_received_total", 10,
                       centre_id="fr-meteofrance-global-broker")
    wait_until(lambda: broker.metrics().value("isobar_committed_total")
               - broker.metrics().value("isobar_events_total") == 10)
    wait_equal(lambda: {(labels["centre_id"], labels["source"]): value
                        for labels, value in broker.metrics().series("isobar_first_total")},
               {(DWD, "dwd"): 5, (DWD, "peer"): 2, ("ca-eccc-msc", "peer"): 3})
