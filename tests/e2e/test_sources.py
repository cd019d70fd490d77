"""Connections to WIS2 Nodes: breaks, wrong passwords, bad certificates, changed configurations."""
import re
import socket
import threading

import pytest

from harness import notifications as wnm
from harness.clients import assert_same
from harness.process import wait_until

DWD, MSC = "de-dwd", "ca-eccc-msc"
ALL = "origin/a/wis2/#"
FLAG = "wmo_wis2_gb_connected_flag"
RECEIVED = "wmo_wis2_gb_messages_received_total"


def flag_series(broker):
    """{centre_id: connected_flag} of every source there is."""
    return {labels["centre_id"]: value for labels, value in broker.metrics().series(FLAG)}


def wait_complaint(broker, name, words, since=0):
    """A log line that names the source and says what is wrong in words of the operator's."""
    broker.process.wait_log(rf"(?i)(?=.*\bsource\b)(?=.*{re.escape(name)})(?=.*(?:{words}))", since)


def assert_flows(broker, node, client, listener, centre):
    """What is published at the node now arrives."""
    broker.wait_connected(centre)
    message = wnm.valid(centre)
    client(node.port).publish_all([message])
    before = len(listener.messages)
    listener.wait(lambda: any(m.payload == message.payload for m in listener.messages),
                  what=f"a message of {centre}, {before} before")


def test_what_a_source_queued_while_isobar_was_away_arrives_once(node, gb, client, subscriber):
    """The session is persistent: the node keeps the messages (GB-44)."""
    a_node = node("dwd")
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}})
    broker.wait_connected(DWD)
    publisher = client(a_node.port)
    before, while_away, after = (wnm.valid_many(DWD, n) for n in (50, 300, 50))
    publisher.publish_all(before)
    broker.wait_metric(RECEIVED, 50, centre_id=DWD)
    broker.stop()
    publisher.publish_all(while_away)
    broker.start()
    listener = subscriber(broker.port, "$replay/1h/" + ALL)
    publisher.publish_all(after)
    listener.wait_count(400)
    broker.wait_metric(RECEIVED, 350, centre_id=DWD)
    assert_same(listener.messages, before + while_away + after)


def test_a_node_that_restarts_is_reconnected_and_nothing_comes_twice(
        node, gb, client, subscriber):
    a_node = node("dwd")
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}})
    broker.wait_connected(DWD)
    listener = subscriber(broker.port, ALL)
    first, second = wnm.valid_many(DWD, 50), wnm.valid_many(DWD, 50)
    client(a_node.port).publish_all(first)
    listener.wait_count(50)
    for again in (first, second):
        mark = broker.process.mark()
        a_node.stop()
        broker.wait_metric(FLAG, 0, centre_id=DWD)
        a_node.start()
        broker.wait_connected(DWD)
        client(a_node.port).publish_all(again)
        assert broker.process.log(mark), "a lost source is worth a log line"
    listener.wait_count(100)
    assert_same(listener.messages, first + second)


def test_a_wrong_password_is_told_and_mended_without_a_restart(node, gb, client, subscriber):
    a_node = node("dwd", users={"everyone": "everyone", "partner": "other"})
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url, "username": "partner",
                         "password": "secret-word"}})
    wait_complaint(broker, "dwd", "bad user|password|not authori[sz]ed|0x86|credentials")
    assert flag_series(broker) == {DWD: 0}
    a_node.set_users({"everyone": "everyone", "partner": "secret-word"})
    a_node.reload()
    listener = subscriber(broker.port, ALL)
    assert_flows(broker, a_node, client, listener, DWD)
    assert "secret-word" not in broker.process.log()
    assert b"secret-word" not in broker.get("/api/v1/sources")[2]


def test_a_wrong_password_in_our_file_is_mended_by_a_reload(node, gb, client, subscriber):
    a_node = node("dwd", users={"everyone": "everyone"})
    settings = {"centre_id": DWD, "url": a_node.url, "password": "wrong"}
    broker = gb({"dwd": settings})
    wait_complaint(broker, "dwd", "bad user|password|not authori[sz]ed|0x86|credentials")
    broker.write_source("dwd", {**settings, "password": "everyone"})
    broker.reload()
    listener = subscriber(broker.port, ALL)
    assert_flows(broker, a_node, client, listener, DWD)


def test_a_port_nobody_listens_on_is_told_and_tried_again(node, gb, client, subscriber):
    a_node = node("dwd")
    a_node.stop()
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}})
    wait_complaint(broker, "dwd", "refused")
    assert flag_series(broker) == {DWD: 0}
    assert broker.get("/readyz")[0] == 200
    a_node.start()
    listener = subscriber(broker.port, ALL)
    assert_flows(broker, a_node, client, listener, DWD)


def test_an_unknown_host_is_told_and_the_next_address_is_used(node, gb, client, subscriber):
    a_node = node("dwd")
    nowhere = "mqtt://no-such-host.invalid:1883"
    broker = gb({
        "lost": {"centre_id": MSC, "url": nowhere},
        "dwd": {"centre_id": DWD, "urls": [nowhere, a_node.url]},
    })
    wait_complaint(broker, "lost", "no-such-host|look-?up|resolve|not known")
    listener = subscriber(broker.port, ALL)
    assert_flows(broker, a_node, client, listener, DWD)
    assert flag_series(broker) == {DWD: 1, MSC: 0}


def test_a_peer_that_accepts_and_says_nothing_is_given_up(gb, keeper):
    """Neither TCP alone nor rubbish for a CONNACK is a connection."""
    server = socket.create_server(("127.0.0.1", 0))
    keeper.keep(server.close)
    accepted = []

    def serve():
        try:
            while True:
                connection, _ = server.accept()
                accepted.append(connection)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        except OSError:
            pass
    threading.Thread(target=serve, daemon=True).start()
    broker = gb({"dwd": {"centre_id": DWD, "url": f"mqtt://127.0.0.1:{server.getsockname()[1]}"}})
    wait_complaint(broker, "dwd", "why=\\S")
    wait_until(lambda: len(accepted) >= 2, 20, "a second attempt")
    assert flag_series(broker) == {DWD: 0}


def tls_source(node_, authority, **tls):
    return {"centre_id": DWD, "url": node_.url, "tls": {"ca": authority.certificate, **tls}}


def test_mqtts_is_verified_with_the_ca_given(node, gb, client, subscriber, authority):
    a_node = node("dwd", tls=authority.issue("good"))
    broker = gb({"dwd": tls_source(a_node, authority)})
    broker.wait_connected(DWD)
    listener = subscriber(broker.port, ALL)
    messages = wnm.valid_many(DWD, 30)
    client(a_node.port, tls=authority.certificate).publish_all(messages)
    listener.wait_count(30)
    assert_same(listener.messages, messages)


@pytest.mark.parametrize("fault", ["expired", "another name", "unknown authority"])
def test_a_bad_certificate_is_refused_by_name_of_the_fault_until_mended(
        fault, node, gb, subscriber, client, authority):
    bad, words = {
        "expired": (lambda: authority.issue("bad", end="20210101000000Z"), "expired"),
        "another name": (lambda: authority.issue("bad", names="DNS:other.example.org"),
                         "mismatch|name"),
        "unknown authority": (lambda: authority.issue("bad"), "issuer|authority|self.signed"),
    }[fault]
    a_node = node("dwd", tls=bad())
    settings = tls_source(a_node, authority)
    if fault == "unknown authority":
        del settings["tls"]
    broker = gb({"dwd": settings})
    wait_complaint(broker, "dwd", words)
    assert flag_series(broker) == {DWD: 0}
    assert not a_node.process.find_log("New client connected")
    if fault == "unknown authority":
        broker.write_source("dwd", tls_source(a_node, authority))
        broker.reload()
    else:
        a_node.stop()
        a_node.tls = authority.issue("mended")
        a_node.start()
    broker.wait_connected(DWD)


def test_verification_can_be_switched_off_for_one_source(node, gb, authority):
    a_node = node("dwd", tls=authority.issue("old", end="20210101000000Z"))
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url, "tls": {"verify": False}}})
    broker.wait_connected(DWD)


def test_each_address_may_have_its_own_way_with_certificates(node, gb, authority):
    """The first is verified as the source says, and refused; the second is not verified."""
    first, second = (node(name, tls=authority.issue(name, end="20210101000000Z")) for name in ("first", "second"))
    settings = {"centre_id": DWD, "tls": {"ca": authority.certificate},
                "urls": [first.url, {"url": second.url, "tls": {"verify": False}}]}
    broker = gb({"dwd": settings})
    broker.wait_connected(DWD)
    broker.process.wait_log(r"source failed name=dwd .*expired")
    broker.process.wait_log(rf"source connected name=dwd .*url=\S*:{second.port}\b")

    settings["urls"] = [{"url": first.url, "tls": {"verify": False}}, second.url]
    broker.write_source("dwd", settings)
    mark = broker.reload()
    broker.process.wait_log(rf"source connected name=dwd .*url=\S*:{first.port}\b", mark)


def test_protocol_311_is_spoken_where_it_is_asked_for(node, gb, client, subscriber):
    a_node = node("dwd")
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url, "protocol": "3.1.1"}})
    broker.wait_connected(DWD)
    # mosquitto logs "New client connected from 127.0.0.1:1 as ID (p2, c0, k60)": p2 is 3.1.1
    connected = a_node.process.wait_log(r"New client connected from .* as (\S+) \(p(\d), c(\d)")
    assert connected[2] == "2" and connected[3] == "0", connected[0]
    listener = subscriber(broker.port, ALL)
    assert_flows(broker, a_node, client, listener, DWD)


def test_the_session_at_the_node_is_persistent_and_qos_1(node, gb):
    a_node = node("dwd")
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}})
    broker.wait_connected(DWD)
    connected = a_node.process.wait_log(r"New client connected from .* as (\S+) \(p(\d), c(\d)")
    assert connected[2] == "5", connected[0]
    # centre-id, source and holder slot are in the client id (architecture.md, "Sources")
    assert "io-wis2dev-global-broker" in connected[1] and "dwd" in connected[1]
    a_node.process.wait_log(r"\borigin/a/wis2/de-dwd/# \(QoS 1\)")
    broker.stop()
    broker.start()
    broker.wait_connected(DWD)
    ids = {re.search(r" as (\S+) ", line)[1]
           for line in a_node.process.find_log("New client connected")}
    assert len(ids) == 1, ids


@pytest.mark.parametrize("kind, centre, filters", [
    ("node", DWD, ["origin/a/wis2/de-dwd/#"]),
    ("gateway", "de-dwd-gts-to-wis2", ["origin/a/wis2/de-dwd-gts-to-wis2/#"]),
    ("cache", "jp-jma-global-cache", ["cache/a/wis2/#"]),
    ("broker", "fr-meteofrance-global-broker", ["origin/a/wis2/#", "cache/a/wis2/#"]),
    ("catalogue", "ca-eccc-msc-global-discovery-catalogue",
     ["origin/a/wis2/ca-eccc-msc-global-discovery-catalogue/metadata"]),
    ("monitor", "ma-marocmeteo-global-monitor", ["monitor/a/wis2/+"]),
])
def test_topics_follow_from_the_kind_of_source(kind, centre, filters, node, gb):
    a_node = node(kind)
    broker = gb({"it": {"centre_id": centre, "kind": kind, "url": a_node.url}})
    broker.wait_connected(centre)
    subscribed = [re.search(r"\t(\S+) \(QoS", line)[1]
                  for line in a_node.process.find_log(r"\t\S+ \(QoS \d\)")]
    assert sorted(subscribed) == sorted(filters)


# --- reload -----------------------------------------------------------------


def test_sighup_adds_removes_and_changes_sources_and_leaves_the_others_alone(
        node, gb, client, subscriber):
    kept, gone, changed, new = (node(name) for name in ("kept", "gone", "changed", "new"))
    broker = gb({
        "kept": {"centre_id": DWD, "url": kept.url},
        "gone": {"centre_id": MSC, "url": gone.url},
        "changed": {"centre_id": "jp-jma", "url": changed.url},
    })
    broker.wait_connected(DWD, MSC, "jp-jma")
    listener = subscriber(broker.port, ALL)
    client(kept.port).publish_all(wnm.valid_many(DWD, 5))
    client(gone.port).publish_all(wnm.valid_many(MSC, 5))
    listener.wait_count(10)
    kept_connects = kept.process.find_log("New client connected")

    broker.remove_source("gone")
    broker.write_source("new", {"centre_id": "int-ecmwf", "url": new.url})
    broker.write_source("changed", {"centre_id": "jp-jma", "url": changed.url,
                                    "topics": ["origin/a/wis2/jp-jma/data/#"]})
    broker.reload()
    changed.process.wait_log(r"origin/a/wis2/jp-jma/data/# \(QoS 1\)")
    wait_until(lambda: flag_series(broker) == {DWD: 1, "int-ecmwf": 1, "jp-jma": 1},
               what=lambda: f"flags, are {flag_series(broker)}")
    assert not [labels for (_, labels) in broker.metrics().samples
                if ("centre_id", MSC) in labels], "series of a removed source are left"
    gone.process.wait_log("disconnected|closed its connection")
    assert kept.process.find_log("New client connected") == kept_connects
    broker.wait_metric(RECEIVED, 5, centre_id=DWD)      # counters keep over a reload
    messages = {c: wnm.valid_many(c, 5) for c in (DWD, "int-ecmwf")}
    client(kept.port).publish_all(messages[DWD])
    client(new.port).publish_all(messages["int-ecmwf"])
    listener.wait_count(20)
    assert not listener.disconnects, "a reload drops no client"


def test_enabled_false_stops_a_source(node, gb):
    a_node = node("dwd")
    settings = {"centre_id": DWD, "url": a_node.url}
    broker = gb({"dwd": settings})
    broker.wait_connected(DWD)
    broker.write_source("dwd", {**settings, "enabled": False})
    broker.reload()
    a_node.process.wait_log("disconnected|closed its connection")
    wait_until(lambda: flag_series(broker).get(DWD, 0) == 0, what="flag 0 or none")
    broker.write_source("dwd", settings)
    broker.reload()
    broker.wait_connected(DWD)


@pytest.mark.parametrize("fault", ["unknown key in a source", "no YAML", "bad value"])
def test_a_faulty_configuration_changes_nothing_and_is_logged(
        fault, node, gb, client, subscriber):
    a_node = node("dwd")
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}})
    broker.wait_connected(DWD)
    listener = subscriber(broker.port, ALL)
    connects = a_node.process.find_log("New client connected")
    # a good change in the same reload must not be taken either
    broker.write_source("new", {"centre_id": MSC, "url": a_node.url})
    if fault == "unknown key in a source":
        broker.write_source("dwd", f"centre_id: {DWD}\nurl: {a_node.url}\npasswort: x\n")
        place = r"dwd\.yaml:3:"
    elif fault == "no YAML":
        broker.write_source("other", "centre_id: [unclosed\n")
        place = r"other\.yaml:\d+:"
    else:
        broker.write_config("listeners: [mqtt://127.0.0.1:0]\nworkers: many\n")
        place = r"isobar\.yaml:2:"
    mark = broker.reload()
    broker.process.wait_log(place, mark)
    assert broker.process.is_running()
    assert flag_series(broker) == {DWD: 1}
    assert a_node.process.find_log("New client connected") == connects
    assert_flows(broker, a_node, client, listener, DWD)
    assert not listener.disconnects


# --- bad input from a source --------------------------------------------------


def test_an_oversized_message_is_read_past_and_holds_nothing_up(node, gb, client, subscriber):
    """1 MB where 256 KiB is the limit: counted as received, acknowledged, the next one comes."""
    a_node = node("dwd")
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}})
    broker.wait_connected(DWD)
    listener = subscriber(broker.port, ALL)
    good = wnm.valid_many(DWD, 4)
    huge = wnm.Message(good[0].topic, b"x" * 1_000_000)
    client(a_node.port).publish_all([good[0], huge, good[1], huge, good[2]])
    listener.wait_count(3)
    wait_until(lambda: len(a_node.process.find_log("Received PUBACK from io-wis2dev")) >= 5,
               what="the PUBACK of each of the five")
    broker.stop()
    broker.start()
    broker.wait_connected(DWD)
    again = subscriber(broker.port, "$replay/1h/" + ALL)
    client(a_node.port).publish_all(good[3:])
    again.wait_count(4)
    assert_same(again.messages, good)
    broker.wait_metric(RECEIVED, 1, centre_id=DWD)      # the huge ones were acknowledged


def test_checks_can_be_eased_for_one_source(node, gb, client, subscriber):
    """verify counts and lets through (MON-03); off does not even count."""
    a_node, b_node = node("dwd"), node("msc")
    broker = gb({
        "dwd": {"centre_id": DWD, "url": a_node.url, "checks": {"message": "verify"}},
        "msc": {"centre_id": MSC, "url": b_node.url, "checks": {"topic": "off"}},
    })
    broker.wait_connected(DWD, MSC)
    listener = subscriber(broker.port, ALL)
    row = next(r for r in wnm.BROKEN_PAYLOADS if r[1] == "WNM-65")
    lenient = wnm.broken_payload(DWD, row)
    free = wnm.broken_topic(MSC, "data/core/weather/gts/SMDL01")
    client(a_node.port).publish_all([lenient])
    client(b_node.port).publish_all([free])
    listener.wait_count(2)
    assert_same(listener.messages, [lenient, free])
    for centre in (DWD, MSC):
        broker.wait_received(1, centre)
    m = broker.metrics()
    assert m.value("wmo_wis2_gb_messages_invalid_format_total", centre_id=DWD) == 1
    assert m.value("wmo_wis2_gb_messages_published_total", centre_id=DWD) == 1
    assert m.value("isobar_rejected_total", centre_id=DWD, rule="WNM-65") == 1
    assert not m.value("wmo_wis2_gb_messages_invalid_topic_total", 0, centre_id=MSC)
    assert m.value("wmo_wis2_gb_messages_published_total", centre_id=MSC) == 1
