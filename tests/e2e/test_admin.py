"""What an operator sees over HTTP."""
import json
import re
import socket

import pytest

from harness import metrics
from harness import notifications as wnm
from harness.clients import V4
from harness.ports import free_port
from harness.process import patience, wait_until

DWD = "de-dwd"
REPORT_BY = "xx-testland-global-broker"
WIS2 = {
    "wmo_wis2_gb_messages_received_total": ("counter", "Number of messages received by broker"),
    "wmo_wis2_gb_messages_published_total": ("counter", "Number of messages published by broker"),
    "wmo_wis2_gb_messages_invalid_topic_total":
        ("counter", "Number of messages received on an invalid topic from centre"),
    "wmo_wis2_gb_messages_invalid_format_total":
        ("counter", "Number of invalid messages from centre"),
    "wmo_wis2_gb_messages_no_metadata_total":
        ("counter", "Number of messages received without corresponding metadata from centre"),
    "wmo_wis2_gb_connected_flag": ("gauge", "Connection status from broker to centre"),
    "wmo_wis2_gb_last_message_timestamp_seconds":
        ("gauge", "Timestamp of last message received from centre"),
}
OURS = {
    "isobar_delivered_total": "counter",
    "isobar_duplicates_total": "counter",
    "isobar_conflicts_total": "counter",
    "isobar_rejected_total": "counter",
    "isobar_connections": "gauge",
    "isobar_sessions": "gauge",
    "isobar_lag_messages": "histogram",
    "isobar_lag_seconds": "histogram",
    "isobar_delivery_seconds": "histogram",
    "isobar_publication_delay_seconds": "histogram",
    "isobar_hold_seconds": None,
    "isobar_journal_bytes": "gauge",
    "isobar_journal_oldest_seconds": "gauge",
    "isobar_sync_seconds": None,
    "isobar_dropped_total": "counter",
}


@pytest.fixture
def busy(node, gb, client, subscriber):
    """A broker with a source that has sent, one that cannot be reached, and a subscriber."""
    a_node = node("dwd")
    broker = gb({
        "dwd": {"centre_id": DWD, "url": a_node.url},
        "away": {"centre_id": "jp-jma", "url": f"mqtt://127.0.0.1:{free_port()}"},
    }, config={"centre_id": REPORT_BY})
    broker.wait_connected(DWD)
    listener = subscriber(broker.port, "origin/a/wis2/#")
    messages = wnm.valid_many(DWD, 20)
    row = next(r for r in wnm.BROKEN_PAYLOADS if r[1] == "WNM-65")
    client(a_node.port).publish_all(
        messages + messages[:4] + [wnm.broken_payload(DWD, row),
                                   wnm.broken_topic(DWD, "data/core/weather")])
    listener.wait_count(20)
    broker.wait_received(26, DWD)
    broker.wait_metric("isobar_delivered_total", 20)
    wait_until(lambda: "refused" in json.dumps(source_of(broker, "away")), what="the attempt that fails")
    return broker


def source_of(broker, name):
    return next(row for row in broker.get_json("/api/v1/sources")["sources"] if row["name"] == name)


@pytest.mark.parametrize("accept, content_type", [
    (None, metrics.PROMETHEUS),
    ("*/*", metrics.PROMETHEUS),
    ("text/plain", metrics.PROMETHEUS),
    ("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics.OPENMETRICS),
    ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
     "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", metrics.OPENMETRICS),   # a scraper's
])
def test_metrics_come_in_the_format_asked_for_and_hold_to_it(accept, content_type, busy):
    status, headers, body = busy.get("/metrics", {"Accept": accept} if accept else {})
    assert status == 200
    got = headers["Content-Type"]
    assert got == content_type or content_type == metrics.PROMETHEUS and got in (
        metrics.PROMETHEUS, metrics.PROMETHEUS + "; charset=utf-8"), got
    parsed = metrics.parse(body.decode("utf-8"), got)
    is_open = content_type == metrics.OPENMETRICS
    for name, (kind, text) in WIS2.items():
        family = name[:-len("_total")] if is_open and kind == "counter" else name
        assert parsed.types[family] == kind
        assert parsed.helps[family] == text
    for name, kind in OURS.items():
        families = {name, name[:-len("_total")] if name.endswith("_total") else name + "_total"}
        found = [parsed.types[f] for f in families if f in parsed.types]
        kinds = {kind} | ({"gaugehistogram"} if is_open and kind == "histogram" else set())
        assert found and (kind is None or set(found) <= kinds), (name, found)


def test_the_seven_wis2_metrics_say_what_was_sent(busy):
    """MON-01 to MON-04: names, labels, values; sources never reached are there at 0."""
    m = busy.metrics()
    wanted = {
        "wmo_wis2_gb_messages_received_total": 26,
        "wmo_wis2_gb_messages_published_total": 20,
        "wmo_wis2_gb_messages_invalid_topic_total": 1,
        "wmo_wis2_gb_messages_invalid_format_total": 1,
        "wmo_wis2_gb_messages_no_metadata_total": 0,
        "wmo_wis2_gb_connected_flag": 1,
    }
    for name, value in wanted.items():
        assert m.value(name, 0, centre_id=DWD, report_by=REPORT_BY) == value, name
    assert m.value("wmo_wis2_gb_connected_flag", centre_id="jp-jma", report_by=REPORT_BY) == 0
    for name in WIS2:
        for labels, _ in m.series(name):
            assert set(labels) == {"centre_id", "report_by"} and labels["report_by"] == REPORT_BY
    assert not [n for n in m.types if n.startswith("wmo_wis2_") and n not in WIS2], "MON-08"
    assert m.value("isobar_duplicates_total", centre_id=DWD) == 4
    assert m.value("isobar_rejected_total", centre_id=DWD, rule="WNM-65") == 1
    assert m.value("isobar_rejected_total", centre_id=DWD, rule="WTH-12") == 1
    assert m.value("isobar_delivered_total") == 20
    assert m.value("isobar_connections") == 1
    assert m.value("isobar_publication_delay_seconds_count", centre_id=DWD) >= 20


def test_two_sources_of_one_centre_make_one_series(node, gb, client):
    """MON-02: the label is the centre, so that a series never comes twice."""
    one, two = node("one"), node("two")
    broker = gb({"one": {"centre_id": DWD, "url": one.url},
                 "two": {"centre_id": DWD, "url": two.url}})
    for source in ("one", "two"):
        broker.wait_metric("isobar_source_connected", 1, source=source)
    client(one.port).publish_all(wnm.valid_many(DWD, 3))
    client(two.port).publish_all(wnm.valid_many(DWD, 4))
    broker.wait_received(7, DWD)
    assert len(broker.metrics().series("wmo_wis2_gb_messages_received_total")) == 1
    assert broker.metrics().series("wmo_wis2_gb_connected_flag")[0][1] == 1


def test_healthz_and_readyz_answer_json(busy):
    for path in ("/healthz", "/readyz"):
        assert isinstance(busy.get_json(path), dict)


def test_readyz_is_200_only_while_it_serves(gb):
    """gb() has waited for 200; after a stop nothing answers any more."""
    broker = gb()
    assert broker.get("/readyz")[0] == 200
    broker.stop()
    assert broker.get("/readyz")[0] == 0


def test_status_and_sources_are_json_that_agree_with_the_metrics(busy):
    status = busy.get_json("/api/v1/status")
    assert status["centre_id"] == REPORT_BY
    assert "version" in status
    sources = busy.get_json("/api/v1/sources")
    rows = sources["sources"] if isinstance(sources, dict) else sources
    by_centre = {row["centre_id"]: row for row in rows}
    assert set(by_centre) == {DWD, "jp-jma"}
    assert by_centre[DWD]["received"] == 26
    assert by_centre[DWD]["published"] == 20
    assert by_centre[DWD]["connected"] in (True, 1)
    assert by_centre["jp-jma"]["connected"] in (False, 0)
    text = json.dumps(by_centre["jp-jma"])
    assert re.search("refused", text), "the last error is shown: " + text
    one = busy.get_json("/api/v1/sources/" + DWD)
    assert DWD in json.dumps(one)
    assert busy.get("/api/v1/sources/xx-nobody")[0] == 404


def test_credentials_are_shown_nowhere(gb):
    port = free_port()
    broker = gb({"dwd": {"centre_id": DWD, "url": f"mqtt://user:hush-hush@127.0.0.1:{port}"},
                 "two": {"centre_id": "jp-jma", "url": f"mqtt://127.0.0.1:{port}",
                         "username": "u", "password": "hush-hush"}})
    broker.process.wait_log("refused")
    for path in ("/", "/metrics", "/api/v1/sources", "/api/v1/status", "/readyz"):
        assert b"hush-hush" not in broker.get(path)[2], path
    assert "hush-hush" not in broker.process.log()


def test_the_page_at_the_root_shows_the_state_and_needs_nothing_from_elsewhere(busy):
    status, headers, body = busy.get("/")
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    text = body.decode("utf-8")
    assert "<html" in text.lower() and "</html>" in text.lower()
    assert DWD in text or "/api/v1/sources" in text
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text), "fetched from elsewhere"


def test_unknown_paths_and_methods(gb):
    broker = gb()
    assert broker.get("/nothing")[0] == 404
    assert broker.get("/../etc/passwd")[0] in (400, 404)
    assert broker.get("/metrics", method="POST")[0] == 405
    assert broker.get("/metrics", method="DELETE")[0] == 405


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/api/v1/status"])
def test_head_answers_as_get_without_the_body(path, gb):
    broker = gb()
    status, headers, body = broker.get(path, method="HEAD")
    assert status == 200 and body == b""
    assert headers["Content-Type"] == broker.get(path)[1]["Content-Type"]


def exchange(port, data, limit=10):
    """Everything answered to these bytes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), limit * patience()) as s:
        answer = b""
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass                        # it has answered and closed before the end
        try:
            while True:
                more = s.recv(65536)
                if not more:
                    return answer
                answer += more
        except ConnectionResetError:
            return answer


def test_malformed_requests_are_refused_and_disturb_nobody(gb, subscriber):
    broker = gb()
    listener = subscriber(broker.port, "origin/a/wis2/#", version=V4)
    bad = [
        b"NONSENSE\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n\r\n",                       # no Host
        b"GET /metrics HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /me trics HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
        b"0\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x10\x0c\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00",
        b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + b"\0" * 200,
    ]
    for request in bad:
        answer = exchange(broker.http_port, request)
        assert answer == b"" or re.match(rb"HTTP/1\.[01] (4\d\d|5\d\d) ", answer), (
            request[:60], answer[:60])
        assert broker.get("/healthz")[0] == 200
    assert exchange(broker.http_port, b"GET /healthz HTT") == b""
    assert not listener.disconnects


def test_requests_may_follow_each_other_on_one_connection(gb):
    broker = gb()
    one = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = exchange(broker.http_port, one + one + last)
    assert answer.count(b"HTTP/1.1 200 ") == 3
    old = exchange(broker.http_port, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert old.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 "))


def test_an_idle_broker_takes_less_than_32_mib(gb):
    broker = gb()
    broker.get("/metrics")
    assert broker.process.rss_anon() < 32 * 2**20


def test_the_seven_are_there_for_every_source_before_it_was_ever_heard(busy):
    m = busy.metrics()
    assert {name: m.value(name, None, centre_id="jp-jma", report_by=REPORT_BY)
            for name in WIS2} == {name: 0 for name in WIS2}
