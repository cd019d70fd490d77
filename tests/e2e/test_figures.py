"""What /metrics says beyond the WIS2 metrics, where a figure would mislead if it were wrong."""
import os
import time

from harness import notifications as wnm
from harness.ports import free_port
from harness.process import wait_until
from harness.wire import Wire, publish, subscribe

DWD = "de-dwd"


def series(broker, name):
    """{source: value}"""
    return {labels["source"]: value for labels, value in broker.metrics().series(name)}


def test_a_source_that_is_down_is_seen_beside_another_of_the_same_centre(node, gb, client):
    up, down = node("up"), f"mqtt://127.0.0.1:{free_port()}"
    broker = gb({"up": {"centre_id": DWD, "url": up.url},
                 "down": {"centre_id": DWD, "url": down},
                 "off": {"centre_id": DWD, "url": down, "enabled": False}})
    broker.wait_connected(DWD)
    assert series(broker, "isobar_source_connected") == {"up": 1, "down": 0}, "off is not meant to run"
    (labels, _), = [row for row in broker.metrics().series("isobar_source_connected") if row[1]]
    assert labels == {"centre_id": DWD, "source": "up", "kind": "node"}
    before = time.time()
    client(up.port).publish_all(wnm.valid_many(DWD, 3))
    broker.wait_received(3, DWD)
    last = series(broker, "isobar_source_last_message_timestamp_seconds")
    assert before - 1 < last["up"] < time.time() + 1 and last["down"] == 0


def test_a_source_over_its_rate_is_paused_until_it_may_send_again(node, gb, client):
    a_node = node("dwd")
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url, "rate": 1}})
    broker.wait_connected(DWD)
    publisher, sent = client(a_node.port), 0

    def is_seen():
        """Four more where the pause for the last four was over before anybody looked."""
        nonlocal sent
        m = broker.metrics()
        if m.value("wmo_wis2_gb_messages_received_total", centre_id=DWD) == sent:
            publisher.publish_all(wnm.valid_many(DWD, 4))
            sent += 4
        return m.value("isobar_source_paused", source="dwd") == 1
    wait_until(is_seen)
    broker.wait_received(sent, DWD)
    broker.wait_metric("isobar_source_paused", 0, source="dwd")


def test_connections_refused_are_counted_by_reason(gb, client):
    broker = gb(config={"limits": {"connections_per_address": 2}})
    first, _ = client(broker.port), client(broker.port)
    assert client(broker.port, connect=False).refused() == 0x97
    broker.wait_metric("isobar_connects_refused_total", 1, reason="limit")
    first.disconnect()
    wait_until(lambda: client(broker.port, password="wrong", connect=False).refused() == 0x86)
    assert broker.metric("isobar_connects_refused_total", reason="credentials") == 1
    found = {labels["reason"] for labels, _ in broker.metrics().series("isobar_connects_refused_total")}
    assert found == {"credentials", "anonymous", "limit", "rate", "not-taken", "banned", "client-id",
                     "shadow", "other"}


def test_bounds_are_told_beside_what_they_bound_and_follow_a_reload(gb):
    broker = gb(config={"journal": {"size": "1GiB", "keep": "3h"},
                        "antiloop": {"window": "2h", "ids": 5000},
                        "limits": {"connections": 77, "sessions": 88}})
    m = broker.metrics()
    assert {name: m.value(name) for name in (
        "isobar_journal_keep_seconds", "isobar_journal_limit_bytes", "isobar_antiloop_window_seconds",
        "isobar_antiloop_ids_limit", "isobar_connections_limit", "isobar_sessions_limit")} == {
            "isobar_journal_keep_seconds": 10800, "isobar_journal_limit_bytes": 2**30,
            "isobar_antiloop_window_seconds": 7200, "isobar_antiloop_ids_limit": 5000,
            "isobar_connections_limit": 77, "isobar_sessions_limit": 88}
    broker.config["limits"]["connections"] = 99
    broker.write_config()
    broker.reload()
    broker.wait_metric("isobar_connections_limit", 99)


def test_a_refused_reload_shows_until_one_is_taken(gb):
    broker = gb()
    assert broker.metric("isobar_reload_successful") == 1
    errors = broker.metric("isobar_log_lines_total", level="error")
    begun = broker.metric("isobar_reload_timestamp_seconds")
    broker.write_config("no_such_key: 1\n")
    broker.reload()
    broker.wait_metric("isobar_reload_successful", 0)
    assert broker.metric("isobar_log_lines_total", level="error") == errors + 2
    assert broker.metric("isobar_reload_timestamp_seconds") == begun
    broker.write_config()
    broker.reload()
    broker.wait_metric("isobar_reload_successful", 1)
    assert broker.metric("isobar_reload_timestamp_seconds") > begun


def test_readiness_disk_and_clock_are_what_the_machine_has(gb):
    broker = gb()
    m = broker.metrics()
    disk = os.statvfs(broker.data)
    assert m.value("isobar_ready") == 1 and m.value("isobar_degraded") == 0
    assert m.value("isobar_journal_failed") == 0
    assert m.value("isobar_disk_bytes") == disk.f_blocks * disk.f_frsize
    assert 0 < m.value("isobar_disk_free_bytes") < m.value("isobar_disk_bytes")
    assert abs(m.value("isobar_clock_seconds") - time.time()) < 60


def test_the_session_furthest_behind_tells_how_far(gb, keeper):
    """With a window of one and no acknowledgement it stays at the second message."""
    broker = gb(accounts=[{"user": "everyone", "password": "everyone", "read": ["#"], "write": ["#"],
                           "limits": {"in_flight": 1}}])
    assert broker.metric("isobar_lag_most_seconds") == 0
    slow = Wire(broker.port)
    keeper.keep(slow.end)
    slow.login()
    slow.send(subscribe(["sandbox/#"], qos=1))
    slow.read()
    for number in (1, 2):
        slow.send(publish("sandbox/a", b"x", qos=1, packet_id=number))
    broker.wait_metric("isobar_lag_most_seconds", lambda s: s > 1, limit=20)
