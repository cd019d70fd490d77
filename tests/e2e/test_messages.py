"""Replay over HTTP: pages of what has been published, by the rights of the account."""
import base64
import json
import threading
import time
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

import pytest

from harness import notifications as wnm
from harness.clients import V5, properties
from harness.isobar import isobar
from harness.process import patience, wait_equal
from test_access import basic, hashed

PATH = "/api/v1/messages"
EVERYONE = basic("everyone", "everyone")
WRITER = {"user": "writer", "password": "writer", "read": ["#"], "write": ["#"], "admin": True}
PUBLIC = {"user": "everyone", "password": "everyone",
          "read": ["origin/a/wis2/#", "cache/a/wis2/#", "monitor/a/wis2/#"], "max_qos": 1}
OPEN = {"checks": {"topic": "off", "centre": "off", "message": "off", "metadata": "off"}}


def path(**parameters):
    return PATH + "?" + "&".join(f"{name}={quote(str(value), safe='')}"
                                 for name, value in parameters.items())


def ask(broker, address, account=EVERYONE):
    """The collection; None of its parts may lie about the others."""
    status, headers, body = broker.get(address, account)
    assert status == 200, (address, status, body)
    assert headers["Content-Type"] == "application/geo+json"
    page = json.loads(body)
    assert page["type"] == "FeatureCollection"
    assert page["numberReturned"] == len(page["features"]) == len(page["records"])
    datetime.strptime(page["timeStamp"], "%Y-%m-%dT%H:%M:%S.%fZ")
    links = [link["href"] for link in page["links"] if link["rel"] == "next"]
    assert ("Link" in headers) == bool(links)
    assert not links or headers["Link"] == f'<{links[0]}>; rel="next"'
    page["next"] = links[0] if links else None
    page["after"] = headers["Isobar-After"]
    page["bytes"] = body
    return page


def pages(broker, address, account=EVERYONE):
    while address:
        page = ask(broker, address, account)
        yield page
        address = page["next"]


def lines(broker, address, account=EVERYONE):
    """[(topic, time, payload)], and the address of what follows."""
    status, headers, body = broker.get(address, account)
    assert status == 200 and headers["Content-Type"] == "application/x-ndjson", (status, body)
    rows = []
    for line in body.decode("utf-8").splitlines():
        row = json.loads(line)
        payload = (row["payload"].encode("utf-8") if "payload" in row
                   else base64.b64decode(row["payload_base64"], validate=True))
        rows.append((row["topic"], row["time"], payload))
    link = headers.get("Link")
    return rows, link[1:link.index(">")] if link else None


@pytest.fixture
def writer(gb, client):
    """(broker, publish(messages)): messages are in the journal when publish() returns."""
    def make(count_workers=2, accounts=(), **config):
        broker = gb(accounts=[WRITER, PUBLIC, *accounts],
                    config={"workers": count_workers, **OPEN, **config})

        def publish(messages):
            one = client(broker.port, user="writer", password="writer", version=V5)
            one.publish_all(messages)
            one.end()
        return broker, publish
    return make


def test_pages_hold_every_message_once_in_order_byte_for_byte(writer):
    broker, publish = writer()
    sent = wnm.valid_many("de-dwd", 2500)
    publish(sent)
    got, topics, sizes = [], [], []
    for page in pages(broker, path(topic="origin/a/wis2/#", limit=1000)):
        sizes.append(page["numberReturned"])
        got += [feature["id"] for feature in page["features"]]
        topics += [record["topic"] for record in page["records"]]
    assert sizes == [1000, 1000, 500]
    assert got == [m.id for m in sent]
    assert topics == [m.topic for m in sent]
    first = ask(broker, path(topic="origin/a/wis2/#"))
    assert first["numberReturned"] == 100, "the default"
    at = 0
    for message in sent[:100]:
        at = first["bytes"].index(message.payload, at) + len(message.payload)
    wait_equal(lambda: broker.metric("isobar_http_messages_total"), 2600)


def test_one_topic_among_many_and_wildcards(writer):
    broker, publish = writer()
    sent = wnm.valid_many("de-dwd", 40) + wnm.valid_many("jp-jma", 40, channel="cache")
    publish(sent)
    for topic in (sent[3].topic, "origin/a/wis2/+/data/core/weather/aviation/#", "cache/a/wis2/#",
                  "+/a/wis2/jp-jma/#"):
        wanted = [m.id for m in sent if matches(topic, m.topic)]
        page = ask(broker, path(topic=topic, limit=500), basic("writer", "writer"))
        assert [f["id"] for f in page["features"]] == wanted and wanted
        assert page["next"] is None
    # a plus need not be encoded
    assert ask(broker, PATH + "?topic=origin/a/wis2/+/data/%23")["numberReturned"] == 40
    # without a topic: everything the account may read
    assert ask(broker, path(limit=1000))["numberReturned"] == 80


def matches(topic_filter, topic):
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        levels = levels[:len(wanted) - 1]
        wanted = wanted[:-1]
    return len(wanted) == len(levels) and all(w in ("+", l) for w, l in zip(wanted, levels))


def test_rights_and_denials_are_those_of_the_account(writer):
    broker, publish = writer(accounts=[
        {"user": "partner", "password_hash": hashed("secret"), "read": ["cache/#", "own/%u/#"],
         "deny": ["cache/a/wis2/jp-jma/#"]},
        {"user": "forgetful", "password": "forgetful", "read": ["#"], "replay": 0}])
    sent = (wnm.valid_many("de-dwd", 5, channel="cache") + wnm.valid_many("jp-jma", 5, channel="cache")
            + wnm.valid_many("fr-meteofrance", 5) + [wnm.Message("own/partner/a", b"1"),
                                                     wnm.Message("own/writer/a", b"2")])
    publish(sent)
    partner = basic("partner", "secret")
    assert [f["id"] for f in ask(broker, path(topic="cache/#"), partner)["features"]] \
        == [m.id for m in sent[:5]]
    rows, _ = lines(broker, path(form="lines"), partner)
    assert [row[0] for row in rows] == [m.topic for m in sent[:5]] + ["own/partner/a"]
    for topic in ("#", "origin/a/wis2/#", "+/a/wis2/#", "own/writer/#", "cache/a/wis2/jp-jma/data/#"):
        status, headers, body = broker.get(path(topic=topic), partner)
        assert status == 403 and "topic" in json.loads(body)["error"], (topic, status)
        assert headers["Content-Type"] == "application/json"
    assert broker.get(path(topic="cache/#"))[0] == 401
    assert broker.get(path(topic="cache/#"), basic("partner", "wrong"))[0] == 401
    status, _, body = broker.get(path(), basic("forgetful", "forgetful"))
    assert status == 403 and "replay" in json.loads(body)["error"]


def test_a_public_page_shows_what_anybody_may_read(writer):
    broker, publish = writer(http_public=["metrics", "messages"])
    publish(wnm.valid_many("de-dwd", 3) + [wnm.Message("sandbox/a", b"{}")])
    assert ask(broker, path(), None)["numberReturned"] == 3
    assert broker.get(path(topic="sandbox/#"))[0] == 403
    assert broker.get(path(topic="#"), basic("writer", "writer"))[0] == 200
    assert broker.get(path(), basic("writer", "wrong"))[0] == 401


def test_since_and_until_cut_at_the_time_of_receipt(writer):
    broker, publish = writer()
    early, late = wnm.valid_many("de-dwd", 3), wnm.valid_many("jp-jma", 4)
    publish(early)
    time.sleep(0.02)
    last = ask(broker, path())["records"][-1]["time"]
    cut = (datetime.strptime(last, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
           + timedelta(milliseconds=1)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    publish(late)
    count = lambda **given: ask(broker, path(**given))["numberReturned"]
    assert count(since=cut) == 4 and count(until=cut) == 3
    assert count(since="1h") == 7 and count(until="1h") == 0 and count(since="0s") == 0
    assert count(since="1h", until="0s") == 7
    got = [page["numberReturned"] for page in pages(broker, path(until=cut, limit=2))]
    assert got == [2, 1], "until holds on further pages"
    got = [page["numberReturned"] for page in pages(broker, path(since=cut, limit=3))]
    assert got == [3, 1]


@pytest.mark.parametrize("query, names", [
    ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=ten", "limit"), ("limit=", "limit"),
    ("topic=", "topic"), ("topic=a/%23/b", "topic"), ("topic=%FF", "topic"), ("topic=%00", "encoded"),
    ("topic=%2", "encoded"), ("topic=origin/a/wis2/", "%23"), ("topic=$share/g/a", "topic"),
    ("topic=$replay/1h/a", "topic"), ("since=yesterday", "since"), ("until=1", "until"),
    ("since=1h&until=2h", "until"), ("after=xyz", "after"), ("after=", "after"), ("form=xml", "form"),
    ("limit=5&limit=6", "twice"), ("from=1h", "parameters are"), ("after=fffffffffffff", "after"),
    ("limit=%31%30%30%31", "limit")])
def test_parameters_that_mean_nothing_are_refused_by_name(query, names, hall):
    status, headers, body = hall.get(f"{PATH}?{query}", basic("owner", "owner"))
    assert status == 400 and names in json.loads(body)["error"], (status, body)
    assert headers["Content-Type"] == "application/json"


def test_a_filter_as_long_as_a_request_may_be(hall):
    assert hall.get(path(topic="t/" + "a" * 12000), basic("owner", "owner"))[0] == 200


def test_other_payloads_come_as_lines_and_are_counted_as_omitted(writer):
    broker, publish = writer()
    feature = wnm.Message("box/feature", wnm.valid("de-dwd").payload)
    odd = [wnm.Message("box/event", b'{"specversion":"1.0","type":"a"}'), wnm.Message("box/text", b"hello\n\"\\"),
           wnm.Message("box/bytes", bytes(range(256))), wnm.Message("box/nul", b"a\0b"),
           wnm.Message("box/indented", json.dumps(json.loads(feature.payload), indent=2).encode())]
    publish([feature, *odd])
    admin = basic("writer", "writer")
    page = ask(broker, path(topic="box/#"), admin)
    assert [r["topic"] for r in page["records"]] == [feature.topic, "box/indented"]
    assert page["numberOmitted"] == 4
    rows, following = lines(broker, path(topic="box/#", form="lines", limit=4), admin)
    assert following and "form=lines" in following
    rest, end = lines(broker, following, admin)
    assert [(t, p) for t, _, p in rows + rest] == [(m.topic, m.payload) for m in [feature, *odd]]
    assert end is None


def test_pages_go_on_over_a_restart(writer):
    broker, publish = writer()
    sent = wnm.valid_many("de-dwd", 300)
    publish(sent)
    first = ask(broker, path(limit=120))
    broker.stop()
    broker.start()
    got = [f["id"] for page in [first, *pages(broker, first["next"])] for f in page["features"]]
    assert got == [m.id for m in sent]


def test_cold_segments_are_read(writer):
    """Small segments, all but the newest sealed; the page cache's copy is given back."""
    import os
    broker, publish = writer(journal={"size": "512MiB"})
    payload = lambda n: json.dumps({"type": "Feature", "geometry": None, "properties": {
        "n": n, "fill": "x" * 7000}}).encode()
    publish([wnm.Message(f"box/{n % 3}", payload(n)) for n in range(2600)])
    broker.stop()
    for name in os.listdir(os.path.join(broker.data, "journal")):
        fd = os.open(os.path.join(broker.data, "journal", name), os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    broker.start()
    got, sizes = [], []
    for page in pages(broker, path(topic="box/#", limit=1000), basic("writer", "writer")):
        got += [f["properties"]["n"] for f in page["features"]]
        sizes.append(len(page["bytes"]))
    assert got == list(range(2600))
    assert max(sizes) < 4.1 * 2**20 and len(sizes) > 4, "bytes of an answer are bounded"


def test_readers_follow_a_live_stream_and_lose_nothing(writer):
    broker, publish = writer()
    sent = wnm.valid_many("de-dwd", 4000)
    failures = []

    def follow():
        try:
            got, address = [], path(limit=300)
            while len(got) < len(sent):
                page = ask(broker, address)
                got += [f["id"] for f in page["features"]]
                address = page["next"] or path(limit=300, after=page["after"])
            assert got == [m.id for m in sent]
        except Exception as failure:
            failures.append(failure)
    readers = [threading.Thread(target=follow) for _ in range(4)]
    for reader in readers:
        reader.start()
    publish(sent)
    for reader in readers:
        reader.join(10 * patience())
    assert not failures and not any(reader.is_alive() for reader in readers), failures


def test_head_has_the_length_and_no_body(writer):
    broker, publish = writer()
    publish(wnm.valid_many("de-dwd", 3))
    status, headers, body = broker.get(path(), EVERYONE, method="HEAD")
    assert status == 200 and body == b""
    assert int(headers["Content-Length"]) == len(ask(broker, path())["bytes"])
    assert broker.get(path(), EVERYONE, method="POST")[0] == 405


def test_expired_messages_are_left_out(writer, client):
    broker, _ = writer()
    one = client(broker.port, user="writer", password="writer", version=V5)
    for payload, expiry in ((b"1", 1), (b"2", 1000), (b"3", None)):
        given = properties("PUBLISH", MessageExpiryInterval=expiry) if expiry else None
        one.flush([one.paho.publish("box/a", payload, 1, properties=given).mid])
    time.sleep(1.1)
    rows, _ = lines(broker, path(topic="box/#", form="lines"), basic("writer", "writer"))
    assert [row[2] for row in rows] == [b"2", b"3"]


def test_an_accounts_rates_count(writer):
    broker, publish = writer(accounts=[{"user": "slow", "password": "slow", "read": ["#"],
                                        "limits": {"messages_per_second": 1}}])
    publish(wnm.valid_many("de-dwd", 50))
    slow = basic("slow", "slow")
    assert ask(broker, path(), slow)["numberReturned"] == 50
    status, headers, body = broker.get(path(), slow)
    assert status == 429 and headers["Retry-After"] == "1", body
    assert ask(broker, path())["numberReturned"] == 50, "others are not concerned"


def test_a_banned_address_gets_nothing(writer):
    broker, _ = writer()
    order = ["-c", broker.path, "127.0.0.1"]
    assert broker.get(path(), EVERYONE)[0] == 200
    done = isobar("client", "ban", *order)
    assert done.returncode == 0, done.stderr
    status, _, body = broker.get(path(), EVERYONE)
    assert status == 403 and "banned" in json.loads(body)["error"]
    assert isobar("client", "unban", *order).returncode == 0
    assert broker.get(path(), EVERYONE)[0] == 200


def test_in_shadow_nothing_is_served(gb):
    broker = gb(accounts=[PUBLIC], config={"shadow": True})
    status, _, body = broker.get(path(), EVERYONE)
    assert status == 503 and "shadow" in json.loads(body)["error"]


def test_requests_held_while_it_stops_disturb_nothing(writer):
    import socket
    broker, publish = writer()
    publish(wnm.valid_many("de-dwd", 1000))
    text = f"GET {path(limit=1000)} HTTP/1.1\r\nHost: a\r\nAuthorization: {EVERYONE['Authorization']}\r\n\r\n"
    held = [socket.create_connection(("127.0.0.1", broker.http_port)) for _ in range(30)]
    for one in held:
        one.sendall(text.encode())
    for one in held[::2]:
        one.close()                     # some have gone before their answer
    broker.stop()
    for one in held:
        one.close()
