"""deploy/prometheus and deploy/grafana with a real Prometheus, which scrapes a running Isobar."""
import base64
import copy
import glob
import json
import os
import re
import subprocess

import pytest
import yaml

from harness import metrics
from harness import notifications as wnm
from harness.catalogue import Catalogue, record
from harness.cluster import Nodes
from harness.ports import free_port
from harness.process import wait_until
from harness.prometheus import DEPLOY, ROOT, Prometheus, promtool
from harness.redis import RedisCluster

DWD = "de-dwd"
REPORT_BY = "io-wis2dev-global-broker"
DASHBOARDS = os.path.join(ROOT, "deploy", "grafana", "dashboards")


def load(*path):
    with open(os.path.join(DEPLOY, *path), encoding="utf-8") as f:
        return yaml.safe_load(f)


def impatient_rules(folder):
    """The rules as they are shipped, but that nothing has to last before it counts."""
    paths = []
    for path in glob.glob(os.path.join(DEPLOY, "rules", "*.yml")):
        rules = load("rules", os.path.basename(path))
        for group in rules["groups"]:
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = "1s"
        paths.append(os.path.join(str(folder), os.path.basename(path)))
        with open(paths[-1], "w", encoding="utf-8") as f:
            json.dump(rules, f)
    return paths


@pytest.fixture
def prometheus(tmp_path, keeper, authority):
    """prometheus(brokers, password): scrapes them every half second by the shipped configuration of a
    cluster, as the account `prometheus`: over HTTPS where they have it. Targets, authority and password
    are the test's."""
    def make(brokers, password):
        config = copy.deepcopy(load("prometheus-cluster.yml"))
        config["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms",
                            "evaluation_interval": "500ms"}
        config["rule_files"] = impatient_rules(tmp_path)
        job = next(j for j in config["scrape_configs"] if j["job_name"] == "isobar")
        del job["file_sd_configs"], job["basic_auth"]["password_file"]
        job["scheme"] = "https" if "https" in brokers[0].ports else "http"
        job["tls_config"] = {"ca_file": authority.certificate}
        job["basic_auth"]["password"] = password
        job["static_configs"] = [{"targets": [f"127.0.0.1:{b.ports[job['scheme']]}" for b in brokers]}]
        config["scrape_configs"] = [job]
        made = Prometheus(tmp_path, config)
        keeper.keep(lambda: made.process and made.process.end())
        return made.start()
    return make


def accounts(password):
    """As `isobar account add prometheus --page metrics` would write it, besides a public reader."""
    made = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, text=True,
                          capture_output=True, check=True).stdout.strip()
    return [{"user": "everyone", "password": "everyone", "read": ["#"], "write": ["sandbox/#"]},
            {"user": "prometheus", "password_hash": made, "pages": ["metrics"]}]


def with_tls(authority, scheme):
    """Configuration of a broker that listens with TLS too."""
    made = authority.issue("server")
    return {"listeners": ["mqtt://127.0.0.1:0", "http://127.0.0.1:0", f"{scheme}://127.0.0.1:0"],
            "tls": {"certificate": made.certificate, "key": made.key}}


# --- files


def test_the_shipped_configurations_are_valid(tmp_path):
    """With a password where they look for it."""
    for name in ("prometheus.yml", "prometheus-cluster.yml"):
        checked = promtool("check", "config", "--syntax-only", name)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    rules = promtool("check", "rules", "--lint=all", "--lint-fatal",
                     *sorted(glob.glob(os.path.join(DEPLOY, "rules", "*.yml"))))
    assert rules.returncode == 0, rules.stdout + rules.stderr
    for name in ("isobar", "node", "haproxy", "redis"):
        targets = promtool("check", "service-discovery", "--timeout=1s", "prometheus-cluster.yml", name)
        assert ":" in targets.stdout and "error" not in targets.stderr, targets.stdout + targets.stderr


@pytest.mark.parametrize("name", sorted(os.path.basename(p) for p in glob.glob(
    os.path.join(DEPLOY, "tests", "*_test.yml"))))
def test_alerts_fire_when_they_should_and_only_then(name):
    done = promtool("test", "rules", name, cwd=os.path.join(DEPLOY, "tests"))
    assert done.returncode == 0, done.stdout + done.stderr


# --- one running


def test_what_isobar_shows_is_the_format_promtool_knows(gb):
    """Both content types; promtool's parser knows the older one, so what is new in the other goes."""
    broker = gb()
    plain = broker.get("/metrics")[2].decode()
    opened = broker.get("/metrics", {"Accept": metrics.OPENMETRICS})[2].decode()
    assert opened.endswith("# EOF\n") and "# TYPE isobar_build info" in opened
    checked = promtool("check", "metrics", text=plain)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for pattern, older in ((r"# TYPE (\S+) counter", r"# TYPE \1_total counter"),
                           (r"# TYPE (\S+) info", r"# TYPE \1_info gauge"),
                           (r"# HELP (\S+) (.*\n# TYPE )(\S+)", r"# HELP \3 \2\3"),
                           (" gaugehistogram\n", " histogram\n"), ("_g(sum|count) ", r"_\1 ")):
        opened = re.sub(pattern, older, opened)
    checked = promtool("check", "metrics", text=opened)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_monitor_with_an_account_of_its_own_sees_a_lost_node_as_an_alert(
        gb, node, client, prometheus, authority):
    """MON-06 and the Global Monitor's alert (monitoring.md, section 2): the node is really stopped."""
    a_node = node("dwd")
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}}, accounts=accounts("scrape-me"),
                config={"http_public": [], **with_tls(authority, "https")})
    broker_metrics = {"Authorization": "Basic " + base64.b64encode(b"prometheus:scrape-me").decode()}
    assert broker.get("/metrics")[0] == 401
    assert broker.get("/metrics", broker_metrics)[0] == 200
    monitor = prometheus([broker], "scrape-me")
    monitor.wait_query('up{job="isobar"} == 1')
    monitor.wait_query(f'wmo_wis2_gb_connected_flag{{centre_id="{DWD}"}} == 1')
    client(a_node.port).publish_all(wnm.valid_many(DWD, 5))
    monitor.wait_query(f'wmo_wis2_gb_messages_published_total{{centre_id="{DWD}"}} == 5')
    monitor.wait_query(f'globalmonitor:wmo_wis2_gm_gb_connectivity:total{{centre_id="{DWD}"}} == 1')
    monitor.wait_none("disconnectedwis2nodeonegb", "IsobarDown")
    a_node.stop()
    alert = monitor.wait_firing("disconnectedwis2nodeonegb", centre_id=DWD)
    assert alert["labels"]["report_by"] == REPORT_BY and alert["labels"]["severity"] == "warning"
    assert alert["annotations"]["description"] == f"{REPORT_BY} has no connection to any source of {DWD}."
    broker.stop()
    monitor.wait_firing("IsobarDown")


def test_a_wrong_password_is_seen_as_isobar_being_down(gb, prometheus):
    broker = gb(accounts=accounts("right"), config={"http_public": []})
    monitor = prometheus([broker], "wrong")
    monitor.wait_firing("IsobarDown")
    wait_until(lambda: "401" in monitor.ask("targets")["activeTargets"][0]["lastError"], what="401 as the reason")


# --- dashboards


def panels(name):
    with open(os.path.join(DASHBOARDS, name), encoding="utf-8") as f:
        made = json.load(f)
    return made, [p for p in made["panels"] if p["type"] != "row"]


def queries(names):
    """{expression: (dashboard, panel)} of every query of every panel of these dashboards."""
    return {concrete(target["expr"]): (name, panel["title"])
            for name in names for panel in panels(name)[1] for target in panel["targets"]}


def concrete(expression):
    """With the variables a person would have chosen: everything, and one centre."""
    for name, value in (("$__rate_interval", "10s"), ("$instance", ".*"), ("$centre_id", DWD)):
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def wait_data(monitor, names):
    """Until every query of these dashboards gives something; so must their variables then."""
    todo = queries(names)
    assert todo

    def are_found():
        for expression in [e for e in todo if monitor.query(e)]:
            del todo[expression]
        return not todo
    wait_until(are_found, 20, lambda: "data for " + "\n".join(f"{w}: {e}" for e, w in todo.items()), 0.3)
    for name in names:
        for variable in panels(name)[0]["templating"]["list"]:
            if variable["type"] == "query":
                series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"]).groups()
                assert monitor.ask(f"label/{label}/values", **{"match[]": series}), variable["name"]


@pytest.fixture
def everything(gb, node, client, subscriber, authority, keeper, monkeypatch):
    """A broker of which every metric has a series: sources that send, that are away and that break
    rules, TLS, a catalogue, a broker that is fed, clients."""
    lists = Catalogue(authority)
    keeper.keep(lists.end)
    lists.serve([record(DWD, "synop", wnm.SYNOP)])
    monkeypatch.setenv("SSL_CERT_FILE", authority.certificate)
    a_node = node("dwd")
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url},
                 "away": {"centre_id": "jp-jma", "url": f"mqtt://127.0.0.1:{free_port()}"}},
                accounts=accounts("scrape-me"),
                config={"http_public": [], "checks": {"metadata": "verify"},
                        "metadata": {"catalogues": [lists.url()]},
                        "publish": [node("fed").url],
                        **with_tls(authority, "mqtts")})
    listener = subscriber(broker.port, "origin/a/wis2/#")
    publisher = client(a_node.port)
    broken = wnm.broken_payload(DWD, wnm.BROKEN_PAYLOADS[0])
    return broker, lambda: publisher.publish_all(wnm.valid_many(DWD, 3) + [broken]), listener


def test_every_query_of_every_dashboard_finds_data(everything, prometheus):
    broker, send, listener = everything
    monitor = prometheus([broker], "scrape-me")
    monitor.wait_query('wmo_wis2_gb_connected_flag == 1')
    monitor.wait_query("isobar_catalogue_in_force == 1")
    send()
    listener.wait_count(3)
    monitor.wait_query("isobar_rejected_total > 0")
    monitor.wait_firing("disconnectedwis2nodeonegb")
    send()
    wait_data(monitor, [os.path.basename(p) for p in glob.glob(os.path.join(DASHBOARDS, "*.json"))
                        if not p.endswith("/cluster.json")])


def test_every_query_of_the_dashboard_of_a_cluster_finds_data(tmp_path, keeper, prometheus):
    """Two nodes on a real Redis Cluster; then Redis goes, and the alert comes."""
    redis = RedisCluster(tmp_path / "redis")
    keeper.keep(redis.end)
    nodes = Nodes(tmp_path, redis.start(), 2, accounts=accounts("scrape-me"))
    keeper.keep(nodes.end)
    monitor = prometheus(nodes.start(), "scrape-me")
    wait_data(monitor, ["cluster.json"])
    monitor.wait_query('count(isobar_cluster_state{state="open"} == 1) == 2')
    monitor.wait_none("IsobarRedisAway")
    for one in redis.nodes:
        one.kill()
    monitor.wait_firing("IsobarRedisAway", state="holding")


def test_dashboards_are_of_the_form_that_grafana_takes():
    """The classic model, schema version 42, its last; what is checked against the published schema of
    grafana-foundation-sdk by hand is held here: places, ids, kinds of panels, units, data source."""
    uids = set()
    for path in glob.glob(os.path.join(DASHBOARDS, "*.json")):
        made, shown = panels(os.path.basename(path))
        uids.add(made["uid"])
        assert made["schemaVersion"] == 42 and 8 <= len(made["uid"]) <= 40 and "id" not in made
        numbers = [p["id"] for p in made["panels"]]
        assert len(set(numbers)) == len(numbers)
        taken = set()
        for panel in made["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                     for y in range(at["y"], at["y"] + at["h"])}
            assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
            taken |= cells
        for panel in shown:
            assert panel["type"] in ("stat", "timeseries", "table", "state-timeline")
            assert "libraryPanel" not in panel and panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert len({t["refId"] for t in panel["targets"]}) == len(panel["targets"])
        names = {v["name"] for v in made["templating"]["list"]}
        asked = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps([p["targets"] for p in shown])))
        assert asked == names, "a variable that nobody asks for, or the reverse"
    assert len(uids) == len(glob.glob(os.path.join(DASHBOARDS, "*.json")))
    provider = load("..", "grafana", "provisioning", "dashboards", "isobar.yml")["providers"][0]
    assert provider["type"] == "file" and provider["options"]["path"] == "/etc/grafana/dashboards"
    assert load("..", "grafana", "provisioning", "datasources", "prometheus.yml")["datasources"][0]["uid"]
