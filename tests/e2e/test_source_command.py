"""`isobar source`: files of the sources folder, of a broker that runs or does not."""
import json
import os

import pytest

from harness import notifications as wnm
from harness.isobar import Isobar, isobar

DWD, MSC = "de-dwd", "ca-eccc-msc"


def source(broker, *arguments):
    return isobar("source", *arguments, "-c", broker.path)


def is_without_content(got, sent):
    """One piece is cut out, all other bytes are as they were, and what is gone is properties.content."""
    document = json.loads(sent)
    del document["properties"]["content"]
    before = len(os.path.commonprefix([got, sent]))
    behind = len(os.path.commonprefix([got[::-1], sent[::-1]]))
    return json.loads(got) == document and before + behind >= len(got)


def test_a_stopped_brokers_sources_are_managed(tmp_path):
    broker = Isobar(tmp_path)
    assert source(broker, "list").stdout == ""
    result = source(broker, "add", "dwd", "--centre", DWD, "--url", "mqtts://u:secret@a.example.org:8883",
                    "--url", "mqtt://b.example.org", "--topic", f"origin/a/wis2/{DWD}/data/#")
    assert result.returncode == 0, result.stderr
    line = source(broker, "list").stdout
    assert all(word in line for word in ("dwd", DWD, "node", "enabled", "mqtts://a.example.org:8883"))
    shown = source(broker, "show", "dwd").stdout
    assert "mqtt://b.example.org:1883" in shown and "secret" not in shown + line
    bare = source(broker, "add", "msc", "--centre", MSC)
    assert bare.returncode == 2 and "--url" in bare.stderr and "msc.yaml" not in bare.stderr
    assert source(broker, "add", "msc", "--centre", MSC, "--url", "mqtt://c.example.org").returncode == 0
    shown = source(broker, "show", "msc").stdout        # with what the file leaves out
    for text in (f"topics: [origin/a/wis2/{MSC}/#]", "tls: {verify: yes, ca: system, max: 1.3, legacy: no}",
                 "protocol: 5", "qos: 1", "receive_maximum: 100", "until: none"):
        assert text + "\n" in shown, (text, shown)
    assert source(broker, "remove", "msc").returncode == 0
    assert source(broker, "add", "dwd", "--url", "mqtt://x").returncode == 1
    assert source(broker, "add", "other", "--centre", "De Dwd", "--url", "mqtt://x").returncode == 2
    assert source(broker, "add", "../x", "--url", "mqtt://x").returncode == 2
    assert os.listdir(broker.sources_folder) == ["dwd.yaml"]
    assert source(broker, "disable", "dwd").returncode == 0
    assert "disabled" in source(broker, "list").stdout
    assert source(broker, "enable", "dwd").returncode == 0
    assert "enabled: true" in source(broker, "show", "dwd").stdout
    assert source(broker, "remove", "nobody").returncode == 1
    assert source(broker, "remove", "dwd").returncode == 0
    assert os.listdir(broker.sources_folder) == []
    assert isobar("check", "-c", broker.path).returncode == 0


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["show"], ["add", "a", "b"], ["list", "x"]])
def test_wrong_usage_is_told(arguments, tmp_path):
    result = source(Isobar(tmp_path), *arguments)
    assert result.returncode == 2 and "isobar source" in result.stderr


def test_without_a_configuration_nothing_is_written(tmp_path):
    result = isobar("source", "add", "x", "--url", "mqtt://x", "-c", tmp_path / "none.yaml", cwd=tmp_path)
    assert result.returncode == 2 and os.listdir(tmp_path) == []


def test_a_running_broker_reads_what_changed(node, gb, client, subscriber):
    dwd = node("dwd")
    broker = gb({})
    result = source(broker, "add", "dwd", "--centre", DWD, "--url", dwd.url)
    assert "the running broker reads it" in result.stdout, result.stderr
    broker.wait_connected(DWD)
    listener = subscriber(broker.port, "origin/a/wis2/#")
    client(dwd.port).publish_all([wnm.valid(DWD)])
    listener.wait_count(1)
    source(broker, "disable", "dwd")
    dwd.process.wait_log("disconnected|closed its connection")
    source(broker, "enable", "dwd")
    broker.wait_connected(DWD)
    mark = broker.process.mark()
    source(broker, "remove", "dwd")
    broker.process.wait_log("reloaded.* sources=0", since=mark)
    broker.stop()
    assert "running" not in source(broker, "add", "dwd", "--centre", DWD, "--url", dwd.url).stdout


def test_env_files_of_existing_antiloops_become_sources(node, gb, client, subscriber, tmp_path):
    a_node = node("msc")
    broker = gb({})
    env = tmp_path / f"{MSC}.env"
    env.write_text(f"""# made by an antiloop
CENTRE_ID={MSC}
MQTT_SUB_BROKER="{a_node.url}"   # the node
MQTT_SUB_USERNAME=everyone
MQTT_SUB_PASSWORD=everyone
MQTT_SUB_TOPIC=origin/a/wis2/{MSC}/#,monitor/a/wis2/{MSC}/#
MQTT_SUB_BROKERVERSION=4
MQTT_SUB_VERIFYCERT=false
MSG_CHECK_OPTION=verify
TOPIC_CHECK_OPTION=discard
METADATA_CHECK_OPTION=no
DELETE_CONTENT_OPTION=discard
REDIS_URL=[]
""")
    (tmp_path / "common.env").write_text("GB_ID=x\n")
    result = source(broker, "import", env)
    assert result.returncode == 0, result.stderr
    assert "REDIS_URL: ignored: the antiloop is built in" in result.stdout
    broker.wait_connected(MSC)
    listener = subscriber(broker.port, "origin/a/wis2/#")
    broken = wnm.broken_payload(MSC, next(r for r in wnm.BROKEN_PAYLOADS if r[1] == "WNM-65"))
    good = wnm.valid(MSC)
    client(a_node.port).publish_all([broken, good])
    listener.wait_count(2)
    for got, sent in zip(listener.messages, (broken, good)):
        assert is_without_content(got.payload, sent.payload)
    broker.wait_metric("isobar_rejected_total", 1, centre_id=MSC, rule="WNM-65")
    result = source(broker, "import", tmp_path / "common.env")
    assert result.returncode == 2 and "not of a source" in result.stderr
    assert source(broker, "import", env).returncode == 1
    assert source(broker, "import", "--force", env).returncode == 0


# --- what operators of today's software use -------------------------------------


def test_over_its_rate_a_source_waits_and_loses_nothing(node, gb, client, subscriber):
    """40 at once with 20 a second: all arrive, in order, and no faster than that allows."""
    dwd = node("dwd")
    broker = gb({"dwd": {"centre_id": DWD, "url": dwd.url, "rate": 20}})
    broker.wait_connected(DWD)
    listener = subscriber(broker.port, "origin/a/wis2/#")
    sent = wnm.valid_many(DWD, 40)
    client(dwd.port).publish_all(sent)
    listener.wait_count(40)
    assert [m.payload for m in listener.messages] == [m.payload for m in sent]
    # A bucket holds a second's worth; the rest comes at the rate.
    assert listener.messages[-1].at - listener.messages[0].at >= 0.9
    broker.wait_metric("wmo_wis2_gb_messages_published_total", 40, centre_id=DWD)


def test_the_second_address_serves_while_the_first_is_away(node, gb, client, subscriber):
    first, second = node("first"), node("second")
    broker = gb({"dwd": {"centre_id": DWD, "urls": [first.url, second.url]}})
    broker.wait_connected(DWD)
    listener = subscriber(broker.port, "origin/a/wis2/#")
    client(first.port).publish_all(wnm.valid_many(DWD, 3))
    listener.wait_count(3)
    first.stop()
    second.process.wait_log(r"origin/a/wis2/de-dwd/# \(QoS 1\)", limit=20)
    broker.wait_connected(DWD)
    client(second.port).publish_all(wnm.valid_many(DWD, 3))
    listener.wait_count(6)


# What each file of antiloop_env/ becomes, and what is said of it: centre-ids and addresses of all kinds.
ANTILOOPS = {
    "br-inmet-metbr": ("node", ["topic: discard", "message: verify", "metadata: verify"], "MQTT_SUB_KEEPALIVE"),
    "cn-cma": ("node", ["verify: no", "qos: 1", "- mqtts://wis2node.example.cn:8883",
                        "monitor/a/wis2/cn-cma/#"], None),
    "fr-meteofrance": ("node", ["- mqtts://node-2.example.fr:8883   # tls: {verify: yes, ", "strip_content: yes",
                                "username: gb"], "MQTT_CLIENTID_BACKUP"),
    "de-dwd-gts-to-wis2": ("gateway", ["topic: off", "metadata: off"], "MQTT_SUB_VERIFYCERT: not given"),
    "jp-jma-global-cache": ("cache", ["cache/a/wis2/#"], "MQTT_SUB_VERIFYCERT: not given"),
    "us-noaa-nws": ("node", ["- wss://node.example.gov:443/mqtt", "verify: yes"], "PIPELINE_WORKERS"),
    "cn-cma-global-broker": ("broker", ["topics: [origin/a/wis2/#, cache/a/wis2/#]"], None),
    "ca-eccc-msc-global-discovery-catalogue": ("catalogue", [], "MQTT_SUB_VERIFYCERT: not given"),
    "ma-marocmeteo-global-monitor": ("monitor", [], "MQTT_SUB_VERIFYCERT: not given"),
    "io-wis2dev-11-test": ("node", ["- ws://127.0.0.1:8083/mqtt", "message: off"],
                           "MSG_CHECK_OPTION: neither discard nor verify"),
    "zm-zmd": ("node", ["- mqtts://wis2box.example.zm:8883", "centre: off", "message: discard"],
               "VERIFY_DATA"),
}


def test_a_whole_set_of_env_files_of_existing_antiloops(gb):
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "antiloop_env")
    files = sorted(os.listdir(folder))
    assert len(files) == 12
    broker = gb(start=False)
    result = source(broker, "import", *(os.path.join(folder, name) for name in files))
    assert result.returncode == 2 and "globalbroker.env: neither MQTT_SUB_BROKER" in result.stderr
    said = {}                   # per file: the lines below its own
    for line in result.stdout.splitlines():
        if not line.startswith("  "):
            name = os.path.basename(line.split(":")[0])
        said.setdefault(name, []).append(line)
    for name, (kind, wanted, note) in ANTILOOPS.items():
        shown = source(broker, "show", name).stdout
        assert f"centre_id: {name}\nkind: {kind}\n" in shown, shown
        for text in wanted:
            assert text in shown, (name, text, shown)
        assert note is None or note in "\n".join(said[name + ".env"]), (name, said)
    done = isobar("check", "-c", broker.path)
    assert done.returncode == 0 and "sources: 11 (11 enabled)" in done.stdout, done.stdout
    with open(broker.source_path("fr-meteofrance"), encoding="utf-8") as f:
        assert 'password: "s3cr#t $x"\n' in f.read()      # nothing is a comment or a variable in it
