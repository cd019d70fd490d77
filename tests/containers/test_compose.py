"""The compose files, run by `docker-compose` or `docker compose`, whichever is there.

Grafana's image cannot be had without a registry: its service is checked as far as the file goes, and
left out of what runs. Prometheus, Redis and HAProxy are Debian's, in images that behave as theirs.
"""
import glob
import json
import os
import random
import re
import shutil
import ssl
import subprocess
import urllib.request
import uuid
from collections import Counter
from types import SimpleNamespace

import pytest
import yaml
from containers import ROOT, docker, inspect, mosquitto, run

from harness import notifications as wnm
from harness.clients import assert_same
from harness.ports import free_port
from harness.process import wait_until

CENTRE = "de-dwd"
ONE = "compose.yaml"
CLUSTER = "deploy/compose/cluster/compose.yaml"
NOT_RUN = {"grafana"}


def composers():
    """Each way this machine has of running compose."""
    found = []
    if docker("compose", "version", check=False).returncode == 0:
        found.append(["docker", "compose"])
    if shutil.which("docker-compose"):
        found.append(["docker-compose"])
    assert found, "neither docker compose nor docker-compose"
    return found


class Project:
    """A compose file in a copy of the tree, as it makes secrets beside itself."""

    def __init__(self, file, folder, environment):
        self.folder = os.path.join(folder, "tree")
        for part in ("compose.yaml", "deploy"):
            source = os.path.join(ROOT, part)
            copy = shutil.copytree if os.path.isdir(source) else shutil.copy
            os.makedirs(self.folder, exist_ok=True)
            copy(source, os.path.join(self.folder, part),
                 **({"ignore": shutil.ignore_patterns("secrets")} if copy is shutil.copytree else {}))
        self.file = os.path.join(self.folder, file)
        self.name = f"isobar-test-{uuid.uuid4().hex[:8]}"
        self.environment = environment
        self.ports = {}

    def compose(self, *words, how=None, **options):
        return run(*(how or composers()[0]), "-p", self.name, "-f", self.file, *words,
                   env=self.environment, cwd=self.folder, **options)

    def config(self, how=None):
        return yaml.safe_load(self.compose("config", how=how))

    def up(self, *services):
        self.compose("up", "-d", "--no-build", *services, limit=300)

    def container(self, service):
        return self.compose("ps", "-q", service)

    def network(self, service):
        """What the service is on, for containers that do not come from the file."""
        settings = inspect("container", self.container(service))["NetworkSettings"]
        return SimpleNamespace(name=next(iter(settings["Networks"])))

    def state(self, service):
        return inspect("container", self.container(service))["State"]

    def wait_healthy(self, *services, limit=90):
        for service in services:
            wait_until(lambda: self.state(service).get("Health", {}).get("Status") == "healthy",
                       limit, lambda: f"{service}: {self.state(service)}\n"
                       + self.compose("logs", "--tail", "30", service), pause=0.3)

    def exec(self, service, *words, text=None):
        how = [] if text is None else ["-i"]
        return docker("exec", *how, self.container(service), *words, text=text)

    def port(self, service, inside):
        return int(self.compose("port", service, str(inside)).rsplit(":", 1)[1])

    def end(self):
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "20", limit=300)


def get(url, context=None):
    with urllib.request.urlopen(url, context=context, timeout=20) as answer:
        return answer.read().decode()


def get_json(url):
    return json.loads(get(url))


PORTS = ("ISOBAR_MQTTS", "ISOBAR_HTTPS", "ISOBAR_MQTT", "ISOBAR_HTTP", "HAPROXY_PORT",
         "PROMETHEUS_PORT", "GRAFANA_PORT")
NODES = ["isobar1", "isobar2", "isobar3"]
REDIS = [f"redis{number}" for number in range(1, 7)]


def environment(images):
    made = {name: f"127.0.0.1:{free_port()}" for name in PORTS}
    made.update({"ISOBAR_NOFILE": "20000", "ISOBAR_HOST": "localhost"})
    for part in "isobar", "prometheus", "redis", "haproxy":
        made[f"{part.upper()}_IMAGE"] = images.get(part)
    return made


@pytest.mark.parametrize("file", [ONE, CLUSTER])
def test_each_compose_reads_it_the_same(file, tmp_path):
    """What is not run is checked here, too: ports, mounts and secrets are there, or are made."""
    project = Project(file, tmp_path, {})
    for how in composers():
        services = project.config(how)["services"]
        assert services.keys() > NOT_RUN
        for name, service in services.items():
            assert service.get("cap_drop") == ["ALL"], name
            assert service.get("read_only") is True, name
            assert service.get("security_opt") == ["no-new-privileges:true"], name
            assert service["image"] != "isobar" or service["build"]["args"]["BASE"], name
            for mount in service.get("volumes", []):
                check_mount(name, mount)
        print(f"\n{file}: {' '.join(how)} config; not run for want of its image: "
              + ", ".join(sorted(NOT_RUN)))


def test_emqx_is_read_and_its_nodes_look_for_each_other(tmp_path):
    """EMQX' image cannot be had: the file is read, and fits the other files beside it."""
    project = Project("deploy/emqx/compose.yaml", tmp_path, {})
    folder = os.path.dirname(project.file)
    run(os.path.join(folder, "secrets.sh"))
    with open(os.path.join(folder, "emqx.conf"), encoding="ascii") as f:
        conf = f.read()
    seeds = re.findall(r'"(emqx@[^"]+)"', conf)
    for how in composers():
        services = project.config(how)["services"]
        assert [s["environment"]["EMQX_NODE_NAME"] for s in services.values()] == seeds
        for name, service in services.items():
            assert service["environment"]["EMQX_NODE_NAME"] == "emqx@" + service["hostname"]
            assert len(service["environment"]["EMQX_NODE__COOKIE"]) == 48
            mounts = json.dumps(service["volumes"])
            for path in re.findall(r'"(/opt/emqx/etc/isobar/[^"/]+)', conf):
                assert path in mounts, (name, path)
            for mount in service["volumes"]:
                check_mount(name, mount)


def test_grafana_is_given_what_its_files_ask_for(tmp_path):
    for file in ONE, CLUSTER:
        service = Project(file, tmp_path / os.path.dirname(file).replace("/", "-"), {}).config(
            )["services"]["grafana"]
        folder = os.path.join(ROOT, "deploy/grafana/provisioning")
        asked, paths = set(), set()
        for path in glob.glob(folder + "/*/*.yml"):
            with open(path, encoding="utf-8") as f:
                text = f.read()
            asked |= set(re.findall(r"\$\{(\w+)\}", text))
            paths |= set(re.findall(r"^ *path: (\S+)", text, re.M))
        assert asked == {"PROMETHEUS_URL"} and asked <= service["environment"].keys()
        assert paths == {"/etc/grafana/dashboards"}
        assert service["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"


def check_mount(service, mount):
    """Of the long or the short form: what it names in the tree exists, but for the secrets."""
    source = mount["source"] if isinstance(mount, dict) else mount.split(":")[0]
    if source.startswith("/") and "/secrets" not in source.removesuffix("/secrets.sh"):
        assert os.path.exists(source), (service, source)


@pytest.fixture(scope="module")
def one(images, tmp_path_factory):
    project = Project(ONE, tmp_path_factory.mktemp("one"), environment(images))
    try:
        project.up("isobar", "prometheus")
        project.wait_healthy("isobar", "prometheus")
        yield project
    finally:
        project.end()


def test_one_machine_serves_and_is_watched(one, images, keep, client, subscriber):
    node = keep(mosquitto(images.get("parts"), one.network("isobar")))
    one.exec("isobar", "isobar", "source", "add", CENTRE, "--url", "mqtt://node:1883")
    http = f"http://127.0.0.1:{one.port('isobar', 8080)}"
    wait_until(lambda: get_json(f"{http}/readyz")["sources"]["connected"] == 1, 30, "connected")

    certificate = os.path.join(one.folder, "deploy/compose/secrets/isobar/fullchain.pem")
    by_tls = subscriber(one.port("isobar", 8883), "origin/a/wis2/#", tls=certificate)
    plain = subscriber(one.port("isobar", 1883), "origin/a/wis2/#")
    messages = wnm.valid_many(CENTRE, 20)
    client(node.port(1883)).publish_all(messages)
    assert_same(by_tls.wait_count(20), messages)
    assert_same(plain.wait_count(20), messages)

    trusted = ssl.create_default_context(cafile=certificate)
    assert "<html" in get(f"https://localhost:{one.port('isobar', 8443)}/", trusted)
    prometheus = f"http://127.0.0.1:{one.port('prometheus', 9090)}/api/v1"

    def scraped():
        found = get_json(f"{prometheus}/query?query=wmo_wis2_gb_messages_published_total")
        return [r for r in found["data"]["result"] if r["value"][1] == "20"]
    wait_until(scraped, 45, "a scrape with 20 messages", pause=1)
    rules = get_json(f"{prometheus}/rules")["data"]["groups"]
    assert all(rule["health"] in ("ok", "unknown") for group in rules for rule in group["rules"])


def test_what_is_there_is_not_made_again(one):
    """Secrets of the operator's stay; a new set of containers goes on with the same data."""
    folder = os.path.join(one.folder, "deploy/compose/secrets")
    assert os.stat(folder).st_mode & 0o077 == 0
    before = {name: open(os.path.join(folder, name), encoding="ascii").read()
              for name in ("grafana/admin_password", "isobar/privkey.pem")}
    one.compose("down", "--timeout", "20")
    one.up("isobar")
    one.wait_healthy("isobar")
    for name, text in before.items():
        with open(os.path.join(folder, name), encoding="ascii") as f:
            assert f.read() == text != ""


@pytest.fixture(scope="module")
def cluster(images, tmp_path_factory):
    """Of a subnet that no other network here has."""
    subnet = f"10.{random.randint(64, 127)}.{random.randint(0, 255)}"
    project = Project(CLUSTER, tmp_path_factory.mktemp("cluster"),
                      {**environment(images), "SUBNET": subnet})
    try:
        project.up(*NODES, "haproxy", "prometheus")
        project.wait_healthy(*REDIS, *NODES, "prometheus")
        yield project
    finally:
        project.end()


def ask_redis(cluster, node, *words):
    """As the first of the secrets' users would."""
    return cluster.exec(node, "sh", "-c", 'REDISCLI_AUTH=$(cat /run/secrets/password) redis-cli "$@"',
                        "sh", *words)


def test_six_redis_nodes_become_one_cluster_with_a_password(cluster):
    refused = cluster.exec("redis1", "redis-cli", "get", "x")
    assert "NOAUTH" in refused
    nodes = ask_redis(cluster, "redis1", "cluster", "nodes")
    assert nodes.count(" connected") == 6
    assert nodes.count("master") == nodes.count("slave") == 3
    assert "cluster_state:ok" in ask_redis(cluster, "redis6", "cluster", "info")
    assert "6 nodes, 16384 slots" in cluster.compose("logs", "redis-create")


def wait_behind_haproxy(cluster, nodes):
    """Until exactly so many nodes are served in each of HAProxy's backends."""
    def are_up():
        lines = get(f"http://127.0.0.1:{cluster.port('haproxy', 8404)}/metrics").split("\n")
        up = [line for line in lines if line.startswith("haproxy_server_status{")
              and 'state="UP"' in line and line.endswith(" 1")]
        return len(up) == 2 * nodes
    wait_until(are_up, 40, f"{nodes} nodes behind HAProxy", pause=0.3)


def test_clients_reach_a_node_by_haproxy_which_tells_whose_they_are(cluster, subscriber):
    wait_behind_haproxy(cluster, 3)
    certificate = os.path.join(cluster.folder, "deploy/compose/secrets/isobar/fullchain.pem")
    subscriber(cluster.port("haproxy", 8883), "origin/a/wis2/#", tls=certificate, client_id="known")
    rows = "\n".join(cluster.exec(node, "isobar", "client", "list", "--json") for node in NODES)
    addresses = {json.loads(row)["address"] for row in rows.split("\n") if '"known"' in row}
    gateway = cluster.environment["SUBNET"] + ".1"
    assert {address.rsplit(":", 1)[0] for address in addresses} == {gateway}
    trusted = ssl.create_default_context(cafile=certificate)
    assert "<html" in get(f"https://localhost:{cluster.port('haproxy', 8443)}/", trusted)


def test_what_one_node_takes_every_node_delivers_once(cluster, client, subscriber):
    certificate = os.path.join(cluster.folder, "deploy/compose/secrets/isobar/fullchain.pem")
    cluster.exec("isobar1", "isobar", "account", "add", "partner", "--write", "cache/a/wis2/#",
                 text="secret\n")
    for node in NODES[1:]:
        wait_until(lambda: "order=file what=\"accounts\"" in cluster.compose("logs", node), 30, f"the account on {node}")
    wait_behind_haproxy(cluster, 3)
    port = cluster.port("haproxy", 8883)
    reader = subscriber(port, "cache/a/wis2/#", tls=certificate, client_id="reader")
    writer = client(port, user="partner", password="secret", tls=certificate, client_id="writer")
    messages = wnm.valid_many(CENTRE, 30, channel="cache")
    writer.publish_all(messages + messages[:10])
    assert_same(reader.wait_count(30, 30), messages)
    assert_delivered(cluster, NODES, "cache", messages)


def assert_delivered(cluster, nodes, channel, messages):
    """Each of these nodes has these messages and no others, each once."""
    wanted = Counter((m.topic, m.payload.decode()) for m in messages)
    for node in nodes:
        text = cluster.exec(node, "isobar", "sub", "-b", "ws://everyone:everyone@127.0.0.1:8080/mqtt",
                            "--since", "1h", "--count", str(len(messages)), "--json",
                            f"{channel}/a/wis2/{CENTRE}/#")
        rows = [json.loads(line) for line in text.split("\n")]
        assert Counter((row["topic"], row["payload"]) for row in rows) == wanted, node


def holders(cluster, nodes):
    """How many of these nodes are connected to the one source."""
    return sum(json.loads(cluster.exec(node, "isobar", "health"))["sources"]["connected"]
               for node in nodes)


def test_a_node_that_goes_takes_no_message_with_it_and_comes_back(cluster, images, keep, client):
    node = keep(mosquitto(images.get("parts"), cluster.network("isobar1")))
    cluster.exec("isobar1", "isobar", "source", "add", CENTRE, "--url", "mqtt://node:1883")
    wait_until(lambda: holders(cluster, NODES) == 2, 60, "two holders")
    publisher = client(node.port(1883))
    messages = wnm.valid_many(CENTRE, 60)
    publisher.publish_all(messages[:20])
    stop = subprocess.Popen(["docker", "stop", "-t", "20", cluster.container("isobar2")],
                            stdout=subprocess.DEVNULL)
    for message in messages[20:40]:
        publisher.publish_all([message])
    assert stop.wait(60) == 0
    assert cluster.state("isobar2")["ExitCode"] == 0
    wait_behind_haproxy(cluster, 2)
    left = ["isobar1", "isobar3"]
    wait_until(lambda: holders(cluster, left) == 2, 60, "two holders among those left")
    publisher.publish_all(messages[40:])
    assert_delivered(cluster, left, "origin", messages)
    cluster.compose("start", "isobar2")
    wait_behind_haproxy(cluster, 3)
    assert_delivered(cluster, NODES, "origin", messages)


def test_all_nodes_are_scraped(cluster):
    url = f"http://127.0.0.1:{cluster.port('prometheus', 9090)}/api/v1/query?query="

    def up():
        found = get_json(url + "up==1")["data"]["result"]
        return sorted(row["metric"]["instance"] for row in found) == sorted(
            ["127.0.0.1:9090", "haproxy:8404"] + [f"{node}:8080" for node in NODES])
    wait_until(up, 45, "all targets up", pause=1)


def test_redis_is_one_cluster_again_after_all_of_it_was_stopped(cluster):
    """And is not made again."""
    before = ask_redis(cluster, "redis1", "cluster", "myid")
    cluster.compose("stop", "--timeout", "20", *NODES, *REDIS)
    cluster.up(*NODES)
    cluster.wait_healthy(*REDIS, *NODES)
    assert ask_redis(cluster, "redis1", "cluster", "myid") == before
    assert "cluster_state:ok" in ask_redis(cluster, "redis3", "cluster", "info")
