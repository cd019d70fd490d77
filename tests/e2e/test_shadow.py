"""A broker in shadow: takes in, judges and counts, serves and publishes nothing; and `isobar compare`, which says
what it would have published beside what another broker did."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from harness import notifications as wnm
from harness.clients import V4, V5
from harness.isobar import isobar
from harness.process import binary, patience

DWD, MSC = "de-dwd", "ca-eccc-msc"
ALL = "origin/a/wis2/#"
ADMIN = [{"user": "everyone", "password": "everyone", "read": ["#"], "write": ["sandbox/#"], "replay": "24h"},
         {"user": "ops", "password": "ops", "admin": True}]


@pytest.fixture
def shadow(gb, node):
    """In shadow, with a mosquitto WIS2 Node for each of two centres, and a broker to feed."""
    nodes = {centre: node(centre) for centre in (DWD, MSC)}
    fed = node("fed")
    broker = gb({centre: {"centre_id": centre, "url": made.url, "checks": {"metadata": "off"}}
                 for centre, made in nodes.items()},
                config={"shadow": "yes", "publish": [fed.url]}, accounts=ADMIN)
    broker.nodes = nodes
    broker.fed = fed
    broker.wait_connected(DWD, MSC)
    return broker


# --- what shadow means ---------------------------------------------------------


def test_it_takes_in_judges_and_counts(shadow, client):
    to = client(shadow.nodes[DWD].port)
    good, bad = wnm.valid_many(DWD, 5), wnm.Message(wnm.topic_of(DWD), b"{}")
    to.publish_all(good + good[:2] + [bad])
    wnm_counters = {"received": 8, "published": 5, "invalid_format": 1}
    shadow.wait_received(8, DWD)
    for name, wanted in wnm_counters.items():
        assert shadow.metric(f"wmo_wis2_gb_messages_{name}_total", centre_id=DWD) == wanted, name
    assert shadow.metric("isobar_duplicates_total", centre_id=DWD) == 2
    assert shadow.get("/readyz")[0] == 200
    rejects = json.loads(shadow.get("/api/v1/rejects", {"Authorization": "Basic b3BzOm9wcw=="})[2])
    assert rejects["rejects"][0]["centre_id"] == DWD
    # The nodes have no message more for it: each was acknowledged.
    shadow.stop()


def test_it_serves_nobody_and_publishes_nothing(shadow, client, node):
    to = client(shadow.nodes[DWD].port)
    listens = client(shadow.nodes[DWD].port)
    fed = client(shadow.fed.port)
    for one in (listens, fed):
        one.subscribe("#")
    to.publish_all([wnm.valid(DWD), wnm.Message(wnm.topic_of(DWD), b"{}")])
    shadow.wait_metric("wmo_wis2_gb_messages_received_total", 2, centre_id=DWD)
    for version in (V4, V5):
        for user in ("everyone", "ops"):
            one = client(shadow.port, version=version, user=user, password=user, connect=False)
            assert one.refused() != 0, (version, user)
    status, _, body = shadow.get(f"/api/v1/messages?topic={ALL.replace('#', '%23')}&since=1h",
                                 {"Authorization": "Basic b3BzOm9wcw=="})
    assert status == 503 and b"shadow" in body
    done = isobar("notice", "-c", shadow.path, "maintenance")
    assert done.returncode == 1 and "shadow" in done.stderr
    assert shadow.metric("isobar_delivered_total") == 0
    fed.publish_all([wnm.Message("last", b"")])
    fed.wait_count(1)
    assert [m.topic for m in fed.messages] == ["last"]
    listens.wait_count(2)
    assert len(listens.messages) == 2       # nothing of it comes back to where it listens
    shadow.stop()
    # No monitoring event either, not even of its start: what is in the journal is the one message.
    told = isobar("export", "-c", shadow.path, os.path.join(shadow.folder, "x.tar")).stderr
    assert "messages 0 to 1," in told, told


@pytest.mark.parametrize("config, told", [
    ({"antiloop": {"compatible": "wis2gb"}}, "claims of a broker in shadow would hold messages back"),
    ({"cluster": {"redis": ["redis://127.0.0.1:1"]}}, "has a log that other nodes deliver from"),
], ids=["filter", "log"])
def test_what_is_shared_with_others_and_shadow_exclude_each_other(gb, config, told):
    broker = gb(start=False, config={"shadow": "yes", **config})
    done = isobar("check", "-c", broker.path)
    assert done.returncode == 2 and told in done.stdout, done.stdout
    broker.config["shadow"] = "no"
    broker.write_config()
    assert told not in isobar("check", "-c", broker.path).stdout


# --- comparing -----------------------------------------------------------------


class Comparison:
    """`isobar compare` under way."""

    def __init__(self, keeper, within, *options):
        self.process = subprocess.Popen(
            [binary(), "compare", "--for", "1h", "--within", f"{within}s", *map(str, options)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        keeper.keep(lambda: self.process.poll() is None and self.process.kill())
        first = self.process.stderr.readline()
        assert "are heard" in first, first

    def text(self):
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=10 * patience())
        assert self.process.returncode in (0, 1), (out, err)
        return out


def compared(keeper, publish, *options, before=lambda compare: None):
    """(what is told of what publish() publishes, exit status). Anew with more time where the machine stood
    still: what came too near to the beginning or to the end is not told, and by `within` both have it or
    not."""
    for within in (2, 6, 18):
        compare = Comparison(keeper, within, *options)
        before(compare)
        time.sleep(within + 0.3)    # what is heard of earlier is not told: time itself is waited for here
        begun = time.monotonic()
        publish()
        took = time.monotonic() - begun
        time.sleep(within + 0.3)
        text = compare.text()
        if took < within and not re.search(r'not told|"untold_(begin|end)":[1-9]', text):
            break
    return text, compare.process.returncode


def reported(text):
    """Of --json: the lines of the centres by name, and the total."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[-1]["total"]
    return {line["centre_id"]: line for line in lines[:-1]}, lines[-1]


def told(line):
    return line["both"], line["only_ours"], line["only_theirs"]


def test_what_it_would_have_published_beside_what_another_did(shadow, client, node, keeper):
    """theirs: a mosquitto in the place of the running Global Broker."""
    theirs = node("theirs")
    to = {centre: client(made.port) for centre, made in shadow.nodes.items()}
    at_theirs = client(theirs.port)
    long_ago = wnm.valid(MSC, 9000)
    to[MSC].publish_all([long_ago])
    shadow.wait_metric("wmo_wis2_gb_messages_published_total", 1, centre_id=MSC)

    def publish():
        nonlocal ours, refused, away
        same, ours, refused = (wnm.valid_many(DWD, 20), [wnm.valid(DWD, 500)],
                               broken(wnm.valid(DWD, 600)))
        away = wnm.valid(MSC, 700)
        to[DWD].publish_all(same + ours + [refused])
        at_theirs.publish_all(same + [refused, away, long_ago])
    ours = refused = away = None
    text, status = compared(keeper, publish, "--json", "--theirs", theirs.url, "-c", shadow.path)
    assert status == 1, text
    by_centre, total = reported(text)
    assert told(by_centre[DWD]) == (20, 1, 1)
    assert by_centre[DWD]["only_ours_examples"] == [ours[0].id]
    (reason,) = by_centre[DWD]["only_theirs_by_rule"]
    assert reason["rule"].startswith("WNM-") and reason["examples"] == [refused.id]
    assert by_centre[DWD]["ours_first"] + by_centre[DWD]["theirs_first"] + \
        by_centre[DWD]["together"] == 20
    assert sum(by_centre[DWD]["ours_earlier_ms"].values()) == by_centre[DWD]["ours_first"] > 0
    assert told(by_centre[MSC]) == (0, 0, 2)
    assert [(r["rule"], r["reason"], r["examples"]) for r in by_centre[MSC]["only_theirs_by_rule"]] == [
        (None, "it did not reach us", [away.id]), (None, "we published it before", [long_ago.id])]
    assert total["both"] == 20
    shadow.stop()


def test_two_brokers_that_publish_the_same(node, client, keeper):
    one, two = node("one"), node("two")

    def publish():
        messages = wnm.valid_many(DWD, 10)
        client(one.port).publish_all(messages)
        client(two.port).publish_all(messages + messages)
    text, status = compared(keeper, publish, "--json", "--ours", one.url, "--theirs", two.url, ALL,
                            "cache/a/wis2/#")
    assert status == 0, text
    by_centre, total = reported(text)
    assert told(by_centre[DWD]) == (10, 0, 0) and told(total) == (10, 0, 0)


def test_a_broker_that_goes_away_and_comes_back(node, client, keeper):
    one, two = node("one"), node("two")

    def goes_and_comes(compare):
        two.stop()
        assert "trying again" in compare.process.stderr.readline()
        two.start()
        two.process.wait_log(r"Sending SUBACK to")

    def publish():
        messages = wnm.valid_many(DWD, 5)
        for broker in (one, two):
            client(broker.port).publish_all(messages)
    text, status = compared(keeper, publish, "--json", "--ours", one.url, "--theirs", two.url,
                            before=goes_and_comes)
    assert status == 0, text
    by_centre, total = reported(text)
    assert told(by_centre[DWD]) == (5, 0, 0) and total["gaps"] == 1


def test_a_report_for_people(node, client, keeper):
    one, two = node("one"), node("two")
    bad = None

    def publish():
        nonlocal bad
        bad = broken(wnm.valid(DWD))
        client(two.port).publish_all([bad])
    text, status = compared(keeper, publish, "--ours", one.url, "--theirs", two.url)
    assert status == 1, text
    assert f"{DWD}: both 0, only ours 0, only theirs 1\n" in text
    assert f"      {bad.id}\n" in text and "only theirs: 1 WNM-" in text
    assert f"ours: {one.url}\ntheirs: {two.url}\nall: both 0, only ours 0, only theirs 1\n" in text


def test_wrong_usage(gb, tmp_path):
    broker = gb(start=False)
    assert isobar("compare").returncode == 2
    assert isobar("compare", "--theirs", "mqtt://127.0.0.1:1", "a/#/b").returncode == 2
    done = isobar("compare", "--theirs", "mqtt://127.0.0.1:1", "-c", broker.path)
    assert done.returncode == 3, done.stderr


def broken(message):
    """Valid but for a rule that is checked by default; the id stays."""
    doc = json.loads(message.payload)
    del doc["properties"]["data_id"]
    return wnm.Message(message.topic, wnm.encode(doc), message.id)
