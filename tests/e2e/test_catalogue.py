"""The discovery-metadata check against real HTTPS servers (MD-01 to MD-05)."""
import io
import json
import os
import re
import threading
import zipfile

import pytest

from harness import notifications as wnm
from harness.catalogue import ITEMS, Answer, Catalogue, page, record
from harness.process import wait_until

DWD, MSC = "de-dwd", "ca-eccc-msc"
ALL = "origin/a/wis2/#"
NO_METADATA = "wmo_wis2_gb_messages_no_metadata_total"
PUBLISHED = "wmo_wis2_gb_messages_published_total"
SYNOP = "data/core/weather/surface-based-observations/synop"
TEMP = "data/core/weather/surface-based-observations/temp"


@pytest.fixture
def catalogue(authority, keeper, monkeypatch):
    """catalogue(): a running one; Isobar trusts its authority."""
    monkeypatch.setenv("SSL_CERT_FILE", authority.certificate)

    def make(**settings):
        made = Catalogue(authority, **settings)
        keeper.keep(made.end)
        return made
    return make


@pytest.fixture
def stall(keeper):
    """An event on which a server's answer waits; set at the end."""
    event = threading.Event()
    keeper.keep(event.set)
    return event


def settings(*urls, **more):
    return {"metadata": {"catalogues": list(urls), **more}}


def status(broker):
    return broker.get_json("/api/v1/status")["metadata"]


def wait_state(broker, wanted, limit=20.0):
    wait_until(lambda: status(broker)["state"] == wanted, limit,
               lambda: f"state {wanted}: {status(broker)}")
    return status(broker)


def wait_failure(broker, words, limit=30.0):
    """A log line, and the same words in the status."""
    broker.process.wait_log(rf"catalogue fetch-failed .*(?:{words})", limit=limit)
    wait_until(lambda: re.search(words, status(broker)["catalogues"][0]["last_error"]), 10,
               lambda: str(status(broker)))


def judged(broker, client, message):
    """Publishes at the node behind `client`; True: it was published, False: no metadata."""
    before = [broker.metric(name, centre_id=DWD) for name in (PUBLISHED, NO_METADATA)]
    client.publish_all([message])
    seen = []

    def is_counted():
        seen[:] = [broker.metric(name, centre_id=DWD) for name in (PUBLISHED, NO_METADATA)]
        return sum(seen) == sum(before) + 1
    wait_until(is_counted, 10, lambda: f"{before} {seen}\n{broker.process.log()}")
    return seen[0] > before[0]


def on(tail, metadata_id=None):
    doc = wnm.document(DWD, tail)
    del doc["properties"]["metadata_id"]
    if metadata_id:
        doc["properties"]["metadata_id"] = metadata_id
    return wnm.Message(wnm.topic_of(DWD, tail), wnm.encode(doc), doc["id"])


def test_messages_pass_by_their_records_and_everything_agrees(
        node, gb, client, subscriber, catalogue):
    a_node, lists = node("dwd"), catalogue()
    lists.serve([record(DWD, "synop", SYNOP), record(DWD, "buoys", "data/core/ocean/+/#"),
                 record(MSC, "temp", TEMP)])
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}}, config=settings(lists.url()))
    wait_state(broker, "current")
    broker.wait_connected(DWD)
    listener = subscriber(broker.port, ALL)
    sender = client(a_node.port)
    passing = [on(SYNOP), on(SYNOP, metadata_id=f"urn:wmo:md:{DWD}:synop"),
               on(SYNOP, metadata_id=f"urn:wmo:md:{DWD}:renamed")]
    refused = [on(TEMP), on(SYNOP, metadata_id=f"urn:wmo:md:{MSC}:temp")]
    assert [judged(broker, sender, m) for m in passing] == [True] * 3
    assert [judged(broker, sender, m) for m in refused] == [False] * 2
    listener.wait_count(3)
    assert [m.payload for m in listener.messages] == [m.payload for m in passing]
    assert broker.metric("isobar_rejected_total", centre_id=DWD, rule="MD-01") == 2
    assert broker.metric("isobar_metadata_by_centre_total", centre_id=DWD) == 1
    assert broker.metric("isobar_catalogue_records", catalogue=lists.url()) == 3
    assert broker.metric("isobar_catalogue_in_force") == 1
    assert broker.metric("isobar_catalogue_age_seconds") < 60
    assert "metadata_id belongs to another centre" in broker.process.log() \
        or "no discovery metadata record" in broker.process.log()
    assert any("f=json" in path for path, _ in lists.requests)


def test_without_a_list_everything_passes_and_says_so(node, gb, client, catalogue):
    a_node, lists = node("dwd"), catalogue()
    lists.answers[ITEMS] = Answer(b"<!DOCTYPE html><html><body>Sorry</body></html>",
                                  headers={"Content-Type": "text/html"})
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}}, config=settings(lists.url()))
    wait_failure(broker, "a web page, not a list of records")
    broker.wait_connected(DWD)
    assert judged(broker, client(a_node.port), on(TEMP))
    assert status(broker)["state"] == "none" and not status(broker)["in_force"]
    assert broker.metric("isobar_catalogue_in_force") == 0
    assert broker.metric("isobar_catalogue_fetch_failures_total", catalogue=lists.url()) == 1
    broker.process.wait_log("catalogue state .*passes everything")
    broker.wait_metric("isobar_events_total", 3)   # started, connected, degraded


def test_pages_are_followed_through_redirects(gb, catalogue):
    lists = catalogue()
    lists.answers[ITEMS] = Answer(status=302, headers={"Location": "/moved/items?f=json"})
    lists.answers["/moved/items"] = Answer(
        page([record(DWD, "a", SYNOP)], lists.base + "/moved/second?offset=1"))
    lists.answers["/moved/second"] = Answer(page([record(DWD, "b", TEMP)], "third"))
    lists.answers["/moved/third"] = Answer(page([record(MSC, "c", TEMP)]))
    broker = gb(config=settings(lists.url()))
    got = wait_state(broker, "current")
    assert got["catalogues"][0]["records"] == 3 and got["pairs"] == 3
    assert len(lists.requests) == 4


def test_archive_and_channel_list_are_read_and_merged(gb, catalogue):
    one, other = catalogue(), catalogue(name="other")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for centre, local, tail in ((DWD, "a", SYNOP), (MSC, "b", TEMP)):
            archive.writestr(f"gdc/urn:wmo:md:{centre}:{local}.json",
                             json.dumps(record(centre, local, tail)))
    one.answers["/archive.zip"] = Answer(packed.getvalue())
    other.answers["/channels.txt"] = Answer(
        f"urn:wmo:md:{DWD}:a,{SYNOP}\nurn:wmo:md:{DWD}:c,{TEMP}\n".encode())
    broker = gb(config=settings(one.url("/archive.zip"), other.url("/channels.txt")))
    got = wait_state(broker, "current")
    assert [c["records"] for c in got["catalogues"]] == [2, 2]
    assert got["pairs"] == 3


def loop_of_redirects(lists):
    lists.answers[ITEMS] = Answer(status=302, headers={"Location": ITEMS})


def redirect_to_http(lists):
    lists.answers[ITEMS] = Answer(status=302, headers={"Location": "http://127.0.0.1:1/"})


def page_at_another_place(lists):
    lists.answers[ITEMS] = Answer(
        page([record(MSC, "x", TEMP)], "https://127.0.0.1:1/items"))


def page_over_http(lists):
    lists.answers[ITEMS] = Answer(
        page([record(MSC, "x", TEMP)], lists.url("/second").replace("https", "http")))


def cut_off(lists):
    whole = page([record(MSC, "x", TEMP)])
    lists.answers[ITEMS] = Answer(whole[:-20], headers={"Content-Length": str(len(whole))})


def cut_off_unseen(lists):
    lists.answers[ITEMS] = Answer(page([record(MSC, "x", TEMP)])[:-20])


def garbage(lists):
    lists.answers[ITEMS] = Answer(os.urandom(100000).replace(b"\n", b"").replace(b"P", b""))


def server_error(lists):
    lists.answers[ITEMS] = Answer(b"oops", status=503)


def empty(lists):
    lists.answers[ITEMS] = Answer(page([]))


def zip_bomb(lists):
    """Six files of 50 MB of blanks each, in 1.3 MB."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        blanks = b" " * 50_000_000
        for i in range(6):
            archive.writestr(f"{i}.json", blanks, compresslevel=1)
    lists.answers[ITEMS] = Answer(packed.getvalue())


def endless_record(lists):
    def pieces():
        yield b'{"features":[{"id":"'
        for _ in range(64):
            yield b"x" * (1 << 20)
        yield b'","links":[]}]}'
    lists.answers[ITEMS] = lambda request: Answer(pieces=pieces())


@pytest.mark.parametrize("spoil, words", [
    (loop_of_redirects, "redirects"), (redirect_to_http, "[Pp]rotocol"),
    (page_at_another_place, "another place"), (page_over_http, "another place"),
    (cut_off, "transfer closed|partial"), (cut_off_unseen, "ends in the middle"),
    (garbage, "more than 2048 bytes|neither records|nested|web page|bracket"),
    (server_error, "503"),
    (empty, "no record in it names a topic"), (zip_bomb, "would unpack to 256 MiB"),
    (endless_record, "no record that can be read"),
], ids=lambda x: getattr(x, "__name__", ""))
def test_a_bad_catalogue_leaves_the_old_list_in_force(
        node, gb, client, catalogue, spoil, words):
    a_node, lists = node("dwd"), catalogue()
    lists.serve([record(DWD, "synop", SYNOP)])
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}}, config=settings(lists.url()))
    wait_state(broker, "current")
    broker.stop()
    spoil(lists)
    broker.start()
    before = broker.metric("isobar_anonymous_memory_bytes")
    wait_failure(broker, words)
    broker.wait_connected(DWD)
    sender = client(a_node.port)
    assert judged(broker, sender, on(SYNOP))
    assert not judged(broker, sender, on(TEMP))
    assert status(broker)["state"] == "old" and status(broker)["in_force"]
    assert broker.metric("isobar_anonymous_memory_bytes") < before + 100e6


def test_a_catalogue_that_stalls_holds_nothing_up(node, gb, client, catalogue, stall):
    a_node, lists = node("dwd"), catalogue()
    lists.serve([record(DWD, "synop", SYNOP)])
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}}, config=settings(lists.url()))
    wait_state(broker, "current")
    broker.stop()
    lists.answers[ITEMS] = Answer(b'{"features":[', headers={"Content-Length": "1000"},
                                  stall=stall)
    broker.start()
    lists.wait_requests(2)
    broker.wait_connected(DWD)
    sender = client(a_node.port)
    assert judged(broker, sender, on(SYNOP)) and not judged(broker, sender, on(TEMP))
    broker.write_config()
    broker.reload()
    broker.process.wait_log("reloaded")
    broker.stop(limit=5)


def test_100000_records_take_bounded_memory(gb, catalogue):
    lists = catalogue()
    filler = "x" * 500

    def pieces():
        yield b'{"type":"FeatureCollection","features":['
        for i in range(100000):
            one = record(DWD, f"dataset-{i}", f"data/core/weather/experimental/dataset-{i}")
            one["properties"]["description"] = filler
            yield (b"," if i else b"") + json.dumps(one).encode()
        yield b'],"links":[]}'
    lists.answers[ITEMS] = lambda request: Answer(pieces=pieces())
    broker = gb(config=settings(lists.url()))
    before = broker.metric("isobar_anonymous_memory_bytes")
    got = wait_state(broker, "current", 60)
    assert got["pairs"] == 100000 and got["catalogues"][0]["records"] == 100000
    assert broker.metric("isobar_anonymous_memory_bytes") < before + 150e6
    assert broker.metric("isobar_catalogue_bytes") < 60e6


def test_an_unchanged_list_is_not_sent_again(gb, catalogue):
    lists = catalogue()

    def answer(request):
        if request.headers.get("If-None-Match") == '"v1"':
            return Answer(status=304)
        return Answer(page([record(DWD, "a", SYNOP)]), headers={
            "ETag": '"v1"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"})
    lists.answers[ITEMS] = answer
    broker = gb(config=settings(lists.url()))
    wait_state(broker, "current")
    broker.stop()
    broker.start()
    broker.process.wait_log("catalogue unchanged")
    got = wait_state(broker, "current")
    assert got["pairs"] == 1
    assert lists.requests[1][1]["If-Modified-Since"] == "Thu, 01 Jan 2026 00:00:00 GMT"


def test_a_metadata_notification_brings_the_next_fetch_near(node, gb, client, catalogue):
    """Two minutes after the last fetch, not later and not sooner."""
    a_node, lists = node("dwd"), catalogue()
    lists.serve([record(DWD, "synop", SYNOP)])
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}}, config=settings(lists.url()))
    assert wait_state(broker, "current")["next_seconds"] > 700
    broker.wait_connected(DWD)
    client(a_node.port).publish_all([on("metadata")])
    wait_until(lambda: status(broker)["next_seconds"] <= 120, 10, lambda: str(status(broker)))
    assert status(broker)["next_seconds"] > 30
    assert len(lists.requests) == 1
    broker.process.wait_log("catalogue called in_seconds=")


def test_catalogues_change_with_a_reload(node, gb, client, catalogue):
    a_node, one, other = node("dwd"), catalogue(), catalogue(name="other")
    one.serve([record(DWD, "synop", SYNOP)])
    other.serve([record(DWD, "temp", TEMP)])
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}})
    broker.wait_connected(DWD)
    sender = client(a_node.port)
    assert status(broker)["state"] == "off"
    assert judged(broker, sender, on(TEMP))
    broker.config.update(settings(one.url()))
    broker.write_config()
    broker.reload()
    wait_state(broker, "current")
    assert not judged(broker, sender, on(TEMP))
    broker.config.update(settings(other.url(), grace="0s"))
    broker.write_config()
    broker.reload()
    other.wait_requests(1)
    wait_until(lambda: judged(broker, sender, on(TEMP)), 10, "the other catalogue")
    assert not judged(broker, sender, on(SYNOP))


def test_credentials_of_an_address_are_sent_and_never_shown(gb, catalogue):
    lists = catalogue()
    lists.serve([record(DWD, "synop", SYNOP)])
    broker = gb(config=settings(lists.url().replace("https://", "https://user:secret-word@")))
    wait_state(broker, "current")
    assert lists.requests[0][1]["Authorization"].startswith("Basic ")
    assert b"secret-word" not in broker.get("/metrics")[2] + broker.get("/api/v1/status")[2]
    assert "secret-word" not in broker.process.log()
    with open(os.path.join(broker.data, "catalogue", "records"), encoding="utf-8") as f:
        assert "secret-word" not in f.read()


def test_a_certificate_nobody_vouches_for_is_refused(gb, authority, keeper):
    lists = Catalogue(authority)
    keeper.keep(lists.end)
    lists.serve([record(DWD, "synop", SYNOP)])
    broker = gb(config=settings(lists.url()))
    wait_failure(broker, "certificate")
    assert not lists.requests
