"""The topic hierarchy from files, and `isobar verify` and `isobar topic` beyond files and lines."""
import json
import os
import zipfile

import pytest

from harness import notifications as wnm
from harness.isobar import isobar
from harness.ports import free_port

DWD = "de-dwd"
HEAD = "Name,Description,Source,Status\n"
TABLES = {
    "channel.csv": HEAD + "origin,x,,\ncache,x,,\n",
    "version.csv": HEAD + "a,x,,\n",
    "system.csv": HEAD + "wis2,x,,\n",
    "notification-type.csv": HEAD + "data,x,,\nmetadata,x,,\n",
    "data-policy.csv": HEAD + "core,x,,\nrecommended,x,,\n",
    "centre-id.csv": HEAD + "de-dwd,x,,\nxx-newland,x,,\n",
    "earth-system-discipline/index.csv": HEAD + "weather,x,,\n",
    "earth-system-discipline/weather/index.csv": HEAD + "space-weathering,\"a, b\",,\nflat,x,,\n",
    "earth-system-discipline/weather/flat/index-flat.csv":
        "satellite,instrument,satellite-description\naqua,modis,x\n",
}
OLD = "data/core/weather/aviation/taf"
NEW = "data/core/weather/space-weathering"


def write_folder(folder, tables):
    for path, text in tables.items():
        file = os.path.join(folder, path)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "w", encoding="utf-8") as f:
            f.write(text)
    return str(folder)


def write_zip(path, tables, prefix=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, text in tables.items():
            z.writestr(prefix + name, text)
    return str(path)


# --- tables from files ----------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "repository", "zip", "release"])
def test_tables_are_read_from_a_folder_or_zip_wherever_they_stand_in_it(kind, tmp_path):
    path = {
        "folder": lambda: write_folder(tmp_path / "tables", TABLES),
        "repository": lambda: os.path.dirname(write_folder(tmp_path / "wth" / "topic-hierarchy", TABLES)),
        "zip": lambda: write_zip(tmp_path / "wth-1.4.0.zip", TABLES),
        "release": lambda: write_zip(tmp_path / "x.zip", TABLES, "wis2-2.5.1/topic-hierarchy/"),
    }[kind]()
    for topic, status in ((NEW, 0), (OLD, 1), ("data/core/weather/flat/aqua/modis", 0)):
        topic = wnm.topic_of("xx-newland", topic)
        assert isobar("topic", "--hierarchy", path, topic).returncode == status, topic
    config = tmp_path / "isobar.yaml"
    config.write_text(json.dumps({"topic_hierarchy": path}))
    version = isobar("version", "-c", config).stdout
    assert {"zip": "hierarchy 1.4.0", "release": "hierarchy 2.5.1"}.get(kind, "hierarchy tables-") in version
    assert path in version


def bomb(folder):
    return write_zip(folder / "bomb.zip", {**TABLES, "centre-id.csv": "Name\n" + "a,b\n" * 50_000_000})


@pytest.mark.parametrize("make,reason", [
    (lambda folder: write_folder(folder / "t", {**TABLES, "channel.csv": "<html>"}), "channel.csv"),
    (lambda folder: write_folder(folder / "t", {"centre-id.csv": TABLES["centre-id.csv"]}), "is missing"),
    (lambda folder: write_folder(folder / "t", {"x.csv": ""}), "no centre-id.csv"),
    (lambda folder: str(folder / "nowhere"), "No such file"),
    (lambda folder: __file__, "zip"),
    (bomb, "centre-id.csv: too large"),
])
def test_tables_of_no_use_are_refused_with_the_reason(make, reason, tmp_path):
    path = make(tmp_path)
    result = isobar("topic", "--hierarchy", path, wnm.topic_of(DWD))
    assert result.returncode == 2 and reason in result.stderr, result.stderr
    config = tmp_path / "isobar.yaml"
    config.write_text("log: {level: info}\n\ntopic_hierarchy: " + json.dumps(path) + "\n")
    result = isobar("check", "-c", config)
    assert result.returncode == 2, result.stderr
    assert f"{config}:3:18" in result.stdout + result.stderr and reason in result.stdout + result.stderr


def test_a_reload_takes_newer_tables_and_refuses_bad_ones(node, gb, client, subscriber, tmp_path):
    dwd = node("dwd")
    path = write_zip(tmp_path / "wth-9.0.0.zip", TABLES)
    broker = gb({"dwd": {"centre_id": DWD, "url": dwd.url}})
    broker.wait_connected(DWD)
    listener = subscriber(broker.port, "origin/a/wis2/#")
    publisher = client(dwd.port)

    def version():
        return [labels["version"] for labels, _ in broker.metrics().series("isobar_topic_hierarchy_info")]

    assert version() == ["1.3.0"]
    publisher.publish_all([wnm.valid(DWD, 1, tail=OLD), wnm.valid(DWD, 2, tail=NEW)])
    broker.wait_metric("isobar_rejected_total", 1, centre_id=DWD, rule="WTH-13")
    broker.config["topic_hierarchy"] = path
    broker.write_config()
    broker.process.wait_log("reloaded", since=broker.reload())
    assert version() == ["9.0.0"]
    publisher.publish_all([wnm.valid(DWD, 3, tail=OLD), wnm.valid(DWD, 4, tail=NEW)])
    broker.wait_metric("isobar_rejected_total", 2, centre_id=DWD, rule="WTH-13")
    write_zip(path, {**TABLES, "version.csv": HEAD + "b,x,,\n"})
    broker.process.wait_log("configuration_refused", since=broker.reload())
    broker.process.wait_log("version.csv: a name this version does not know: b")
    assert version() == ["9.0.0"]
    publisher.publish_all([wnm.valid(DWD, 5, tail=NEW)])
    listener.wait_count(3)
    assert [m.topic for m in listener.messages] == [
        wnm.topic_of(DWD, OLD), wnm.topic_of(DWD, NEW), wnm.topic_of(DWD, NEW)]


# --- verify ---------------------------------------------------------------------


def test_further_centres_count_as_known(tmp_path):
    path = tmp_path / "m.json"
    path.write_bytes(wnm.valid("xx-testland").payload)
    topic = wnm.topic_of("xx-testland")
    assert isobar("verify", "-t", topic, path).returncode == 1
    assert isobar("verify", "-t", topic, "--centre", "yy-lab,xx-testland", path).returncode == 0
    assert isobar("topic", "--centre", "xx-testland", topic).returncode == 0


EVENT = {
    "specversion": "1.0", "type": "int.wmo.wis.wme.event", "id": "5f1a3c1e-2b7d-4c7a-9a53-6a1f2f0f9c11",
    "source": "yy-lab-global-broker", "subject": DWD, "time": "2026-05-04T10:11:12.250Z",
    "datacontenttype": "application/json",
    "dataschema": "https://schemas.wmo.int/wme/1.0.0/schemas/wis2-event-message-bundled.json",
    "data": {"conformsTo": ["http://wis.wmo.int/spec/wme/1/conf/monitoring-event-message-core"],
             "severity": "INFO", "content": {"title": "T"}},
}


def test_on_a_monitor_topic_events_are_judged(tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(EVENT))
    assert isobar("verify", "-t", f"monitor/a/wis2/{DWD}", path).returncode == 0
    result = isobar("verify", "--json", "-t", "monitor/a/wis2/fr-meteofrance", path)
    assert [b["rule"] for b in json.loads(result.stdout)["broken"]] == ["MON-20"]
    assert isobar("verify", path).returncode == 1


def test_live_traffic_is_reported_by_centre_and_rule(node, client):
    dwd = node("dwd")
    row = next(r for r in wnm.BROKEN_PAYLOADS if r[1] == "WNM-35")
    broken = wnm.broken_payload(DWD, row)
    broken = wnm.Message(wnm.topic_of(DWD, OLD), broken.payload, broken.id)
    foreign = wnm.valid("xx-nowhere")
    publisher = client(dwd.port)
    publisher.flush([publisher.publish(m, retain=True) for m in (wnm.valid(DWD), broken, foreign)])
    arguments = ("--from", dwd.url, "--for", "60s", "-n", 3, "origin/#")
    result = isobar("verify", "--json", *arguments)
    rows = {r["centre_id"]: r for r in map(json.loads, result.stdout.splitlines())}
    assert result.returncode == 1, result.stderr
    assert (rows[DWD]["received"], rows[DWD]["invalid"]) == (2, 1)
    found = rows[DWD]["broken"][0]
    assert (found["rule"], found["count"], found["topic"], found["id"]) == (
        "WNM-35", 1, broken.topic, broken.id)
    assert rows["xx-nowhere"]["broken"][0]["rule"] == "WTH-07"
    result = isobar("verify", *arguments)
    assert f"{DWD}: 2 messages, 1 invalid\n  1 WNM-35: " in result.stdout
    assert result.stdout.endswith("3 messages of 2 centres, 2 invalid\n")
    assert isobar("verify", "--from", dwd.url, "-n", 1, wnm.topic_of(DWD)).returncode == 0


def test_live_traffic_from_nowhere_is_a_fault_of_the_environment():
    url = f"mqtt://127.0.0.1:{free_port()}"
    assert isobar("verify", "--from", url, "origin/#").returncode == 3
    assert isobar("verify", "--from", url).returncode == 2


# --- centres --------------------------------------------------------------------


def test_each_kind_of_source_speaks_for_those_its_kind_may(node, gb, client, subscriber):
    """WTH-22, WTH-23: what is foreign is received, logged with the nearest centre, in no error counter."""
    cache = "jp-jma-global-cache"
    nodes = {name: node(name) for name in ("dwd", "gts", "cache")}
    broker = gb({
        "dwd": {"centre_id": DWD, "url": nodes["dwd"].url, "centres": ["at-acg"],
                "topics": ["origin/a/wis2/#", "cache/a/wis2/#", f"monitor/a/wis2/{DWD}"]},
        "gts": {"centre_id": "de-dwd-gts-to-wis2", "kind": "gateway", "url": nodes["gts"].url,
                "topics": ["origin/a/wis2/#"]},
        "cache": {"centre_id": cache, "kind": "cache", "url": nodes["cache"].url,
                  "topics": ["cache/a/wis2/#", "origin/a/wis2/#"]},
    })
    broker.wait_connected(DWD, "de-dwd-gts-to-wis2", cache)
    listener = subscriber(broker.port, "origin/a/wis2/#", "cache/a/wis2/#", "monitor/a/wis2/#")
    event = wnm.Message(f"monitor/a/wis2/{DWD}", json.dumps(EVENT).encode(), EVENT["id"])

    def metadata(centre):
        m = wnm.valid(centre)
        return wnm.Message(f"origin/a/wis2/{centre}/metadata", m.payload, m.id)

    good = {
        "dwd": [wnm.valid(DWD), wnm.valid("at-acg"), event],
        "gts": [wnm.valid("de-dwd-gts-to-wis2")],
        "cache": [wnm.valid("fr-meteofrance", channel="cache"), metadata(cache)],
    }
    foreign = {
        "dwd": [wnm.valid("fr-meteofranc"), wnm.valid(DWD, channel="cache")],
        "gts": [wnm.valid(DWD)],
        "cache": [metadata(DWD), wnm.valid(cache)],
    }
    for name, broken in foreign.items():
        client(nodes[name].port).publish_all(broken + good[name])
    wanted = {m.id for messages in good.values() for m in messages}
    listener.wait_count(len(wanted))
    for name, centre in (("dwd", DWD), ("gts", "de-dwd-gts-to-wis2"), ("cache", cache)):
        broker.wait_received(len(foreign[name] + good[name]), centre)
    assert {json.loads(m.payload)["id"] for m in listener.messages} == wanted
    rejected = {(s["centre_id"], s["rule"]): v
                for s, v in broker.metrics().series("isobar_rejected_total")}
    assert rejected == {(DWD, "WTH-22"): 1, (DWD, "WTH-23"): 1, ("de-dwd-gts-to-wis2", "WTH-22"): 1,
                        (cache, "WTH-23"): 2}
    for kind in ("topic", "format"):
        assert not broker.metric(f"wmo_wis2_gb_messages_invalid_{kind}_total", centre_id=DWD)
    broker.process.wait_log("rule=WTH-22 .*nearest=fr-meteofrance")


def test_isobars_own_events_keep_the_rules_for_events(node, gb, client, subscriber):
    dwd = node("dwd")
    broker = gb({"dwd": {"centre_id": DWD, "url": dwd.url}})
    listener = subscriber(broker.port, "monitor/a/wis2/#")
    broker.wait_connected(DWD)
    client(dwd.port).publish_all([wnm.broken_payload(DWD, row) for row in wnm.BROKEN_PAYLOADS])
    listener.wait(lambda: listener.events, what="an event")
    for event in listener.events:
        result = isobar("verify", "--json", "-t", event.topic, "--centre", broker.config["centre_id"], "-",
                        text=event.payload.decode().replace("\n", " ") + "\n")
        assert result.returncode == 0, result.stdout
