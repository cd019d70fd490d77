"""What every node shows of all: nodes, their figures, who holds which source, sums that count each once."""
import base64
import time

import pytest

from harness import notifications as wnm
from harness.chromium import Chromium
from harness.isobar import isobar
from harness.process import factor, patience, wait_until

CENTRE = "de-dwd"
READER = {"user": "everyone", "password": "everyone", "read": ["#"], "session_expiry": "1h"}
OPS = {"user": "ops", "password": "ops", "admin": True}
MONITOR = {"user": "gm", "password": "gm", "pages": ["metrics"]}
VIEWER = {"user": "viewer", "password": "viewer", "pages": ["status"]}
NODES = {"accounts": [READER, OPS, MONITOR, VIEWER]}
EVERY = ["sources", "subscribers"]


@pytest.fixture
def nodes(nodes):
    def make(n, advertise=False, **settings):
        made = nodes(n, start=False, **settings)
        for one in made:
            if advertise:
                one.config["cluster"]["advertise"] = f"mqtt://{one.name}.example.org:1883"
                one.write_config()
        return made.start()
    return make


def rows(broker):
    return {n["name"]: n for n in broker.get_json("/api/v1/nodes")["nodes"]}


def total(broker):
    return broker.get_json("/api/v1/nodes")["total"]


def wait_so(what, running, is_so, limit=15):
    """Until each of them shows it."""
    for broker in running:
        wait_until(lambda broker=broker: is_so(broker), limit,
                   lambda broker=broker: f"{what}: {broker.get_json('/api/v1/nodes')}", pause=0.05)


def wait_states(running, limit=15, **states):
    names = {name.replace("_", "-"): state for name, state in states.items()}
    wait_so(names, running, lambda b: {n: r["state"] for n, r in rows(b).items()} == names, limit)


def basic(user):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{user}".encode()).decode()}


def test_each_node_shows_all_and_a_sum_that_counts_each_once(nodes, subscriber, client):
    two = nodes(2, advertise=True)
    wait_states(two, node_1="alive", node_2="alive")
    for broker in two:
        subscriber(broker.port, "#")
    subscriber(two[0].port, "#", version=4)
    away = client(two[1].port, client_id="away", clean=False, expiry=600)
    away.subscribe("origin/#")
    away.disconnect()
    # "clients" alone is the same before the one who is away came as after it went
    figures = ("clients", "sessions", "sessions_offline")
    wait_so(figures, two, lambda b: [[rows(b)[n][k] for k in figures] for n in ("node-1", "node-2")]
            == [[2, 2, 0], [1, 2, 1]])
    state = {"mode": "ok", "redis": "whole", "alive": True, "draining": False}
    wait_so(state, two, lambda b: state.items() <= rows(b)["node-2"].items())
    sums = {"clients": 3, "sessions": 4, "sessions_offline": 1,
            "nodes": {"alive": 2, "draining": 0, "left": 0, "dead": 0}}
    wait_so(sums, two, lambda b: sums.items() <= total(b).items())
    for broker in two:
        got = broker.get_json("/api/v1/nodes")
        assert got["node"] == broker.name and 0 <= got["age_seconds"] < 10 * patience()
        one = rows(broker)["node-2"]
        assert one["version"] == broker.get_json("/api/v1/status")["version"]
        assert (one["roles"], one["advertise"]) == (EVERY, "mqtt://node-2.example.org:1883")
        assert one["uptime_seconds"] < 600 and one["shards_behind"] >= 0 and one["lag_seconds"] >= 0
        status = broker.get_json("/api/v1/status")["cluster"]
        assert [n["name"] for n in status["nodes"]] == ["node-1", "node-2"]
        assert status["total"]["clients"] == 3 and status["state"] == "open"


def test_who_died_is_shown_dead_within_five_seconds_and_who_left_as_left(nodes, node, subscriber):
    peer = node(CENTRE)     # which who leaves can hand over to nobody: the last one holds it already
    three = nodes(3, sources={CENTRE: {"centre_id": CENTRE, "kind": "node", "url": peer.url}})
    wait_states(three, node_1="alive", node_2="alive", node_3="alive")
    subscriber(three[0].port, "#")
    wait_so("client", three, lambda b: total(b).get("clients") == 1)
    for _ in range(5):          # a busy machine may need longer once, and not each time
        three[0].kill()
        died = time.monotonic()
        wait_states(three[1:], node_1="dead", node_2="alive", node_3="alive")
        took = time.monotonic() - died
        if took < 5 * factor():
            break
        three[0].start()
        wait_states(three, node_1="alive", node_2="alive", node_3="alive")
        subscriber(three[0].port, "#")
        wait_so("client", three, lambda b: total(b).get("clients") == 1)
    assert took < 5 * factor()
    for broker in three[1:]:
        assert total(broker)["clients"] == 0, "what the dead had is in no sum"
        one = rows(broker)["node-1"]
        assert one["silent_seconds"] >= 3 and one["clients"] == 1 and not one["alive"]
    wait_so("both hold it", three[1:], lambda b: rows(b)["node-2"]["sources_held"] == 1
            and rows(b)["node-3"]["sources_held"] == 1)
    three[1].stop()
    wait_states(three[2:], node_1="dead", node_2="left", node_3="alive")
    assert total(three[2])["nodes"] == {"alive": 1, "draining": 0, "left": 1, "dead": 1}
    three[2].wait_metric("isobar_cluster_nodes", 1, state="left")
    three[2].wait_metric("isobar_cluster_nodes", 1, state="dead")
    three[1].start()
    three[0].start()
    wait_states(three, node_1="alive", node_2="alive", node_3="alive")


def test_rates_of_all_nodes_are_each_message_once(nodes, node, client, subscriber):
    peer = node(CENTRE)
    two = nodes(2, sources={CENTRE: {"centre_id": CENTRE, "kind": "node", "url": peer.url}})
    wait_so("held", two, lambda b: total(b).get("sources_connected") == 1)
    wait_until(lambda: all(b.get_json("/api/v1/status")["sources"]["connected"] for b in two))
    readers = [subscriber(b.port, "#") for b in two]
    feed = client(peer.port, client_id="feed")
    begun = time.monotonic()
    sent, shown = [], {}

    def is_in_proportion(broker):
        """Each is published once; two holders receive it, two subscribers get it."""
        sums = total(broker)
        published, received, delivered = rates = [
            sums.get(f"{word}_per_second") or 0 for word in ("published", "received", "delivered")]
        mean = len(sent) / (time.monotonic() - begun)
        shown[broker.name] = (mean, rates)
        return 0.4 * mean < published < 1.5 * mean \
            and 1.2 * published < min(received, delivered) and max(received, delivered) < 3 * published

    def are_in_proportion():
        """While a steady load goes on; a rate is one of the last five seconds."""
        more = [wnm.valid(CENTRE, number=len(sent) + i) for i in range(10)]
        feed.publish_all(more)
        sent.extend(more)
        return time.monotonic() - begun > 6 and all([is_in_proportion(b) for b in two])
    wait_until(are_in_proportion, 20, lambda: f"mean and rates: {shown}", pause=0.05)
    for reader in readers:
        reader.wait_count(len(sent))


def test_each_node_names_the_holders_of_each_source(nodes, node):
    peer = node(CENTRE)
    three = nodes(3, sources={CENTRE: {"centre_id": CENTRE, "kind": "node", "url": peer.url}})

    def holders(broker):
        return broker.get_json("/api/v1/sources/" + CENTRE)["sources"][0]["holders"]

    def both(broker):
        got = holders(broker)
        return [(h["slot"], h["connected"]) for h in got] == [(0, True), (1, True)] \
            and [h["voice"] for h in got] == [True, False]
    wait_so("two holders", three, both)
    assert holders(three[0]) == holders(three[1]) == holders(three[2])
    held = {h["node"]: h["slot"] for h in holders(three[0])}
    for broker in three:
        source = broker.get_json("/api/v1/sources")["sources"][0]
        assert source["slot"] == held.get(broker.name)
    peer.process.end()
    wait_so("not connected", three, lambda b: [h["connected"] for h in holders(b)] == [False, False])
    wait_so("sum", three, lambda b: (total(b)["sources_held"], total(b)["sources_connected"]) == (1, 0))
    dead = next(b for b in three if b.name in held)
    dead.kill()
    others = [b for b in three if b is not dead]
    wait_so("others hold it", others, lambda b: sorted(h["node"] for h in holders(b)) ==
            sorted(o.name for o in others))


SYS = "$SYS/cluster/"
NODE_TOLD = 3 + 16      # topics of a node that lives: who it is, and its figures
ALL_TOLD = 4 + 13       # of all: nodes by state, and what can be summed


def told(subscribed):
    """The last text of each topic that has one."""
    last = {}
    for m in list(subscribed.messages):
        last[m.topic.removeprefix(SYS)] = m.payload.decode()
    return {topic: text for topic, text in last.items() if text}


def test_sys_tells_of_all_nodes_and_clears_what_is_no_more(nodes, subscriber):
    two = nodes(2, advertise=True)
    subscriber(two[1].port, "#")
    wait_so("client", two, lambda b: total(b).get("clients") == 1)
    ops = subscriber(two[0].port, SYS + "#", user="ops", password="ops")
    want = {"nodes/alive": "2", "nodes/dead": "0", "nodes/left": "0", "sources/held": "0",
            "clients/total": "2", "nodes/node-2/clients/connected": "1", "nodes/node-2/state": "alive",
            "nodes/node-2/mode": "ok", "nodes/node-2/redis": "whole",
            "nodes/node-2/advertise": "mqtt://node-2.example.org:1883"}
    ops.wait(lambda: len(told(ops)) == ALL_TOLD + 2 * NODE_TOLD and want.items() <= told(ops).items(), 30)
    got = told(ops)
    anew = subscriber(two[0].port, SYS + "#", user="ops", password="ops")
    anew.wait(lambda: len(told(anew)) == ALL_TOLD + 2 * NODE_TOLD)
    firsts = {m.topic: m for m in reversed(anew.messages)}
    assert all(m.retain for m in firsts.values())
    assert got["nodes/node-2/uptime"].endswith(" seconds")
    assert float(got["rate/received"]) >= 0
    version = two[0].get_json("/api/v1/status")["version"]
    assert got["nodes/node-1/version"] == got["nodes/node-2/version"] == version
    two[1].kill()
    ops.wait(lambda: told(ops).get("nodes/node-2/state") == "dead", 30)
    ops.wait(lambda: not any(t.startswith("nodes/node-2/clients/") for t in told(ops)))
    ops.wait(lambda: told(ops)["nodes/alive"] == "1" and told(ops)["clients/connected"] == "2", 30)
    late = subscriber(two[0].port, SYS + "nodes/#", user="ops", password="ops")
    late.wait(lambda: len(told(late)) == 4 + NODE_TOLD + 3, 30)
    assert {t for t in told(late) if t.startswith("nodes/node-2/")} == {
        f"nodes/node-2/{word}" for word in ("state", "version", "advertise")}


BOXES = """Object.fromEntries([...document.querySelectorAll("#total div")].map(box =>
    [box.lastChild.textContent, box.firstChild.textContent]))"""
TABLE = """[...document.querySelectorAll("#nodes tr")].map(row =>
    [...row.cells].map(cell => cell.textContent))"""
SEEN = "document.body.innerText"


def test_the_page_shows_nodes_and_sums_apart_from_the_node_that_shows_it(nodes, node, subscriber,
                                                                         tmp_path, keeper):
    peer = node(CENTRE)
    two = nodes(2, sources={CENTRE: {"centre_id": CENTRE, "kind": "node", "url": peer.url}})
    subscriber(two[0].port, "#")
    subscriber(two[1].port, "#")
    subscriber(two[1].port, "origin/#")
    browser = Chromium(tmp_path)
    keeper.keep(browser.end)
    page = browser.open(f"http://127.0.0.1:{two[0].http_port}/")

    def wait_page(is_so, what):
        wait_until(lambda: is_so(page), 15, lambda: f"{what}: {page.evaluate(SEEN)}", pause=0.1)
    sums = {"clients of all nodes": "3", "nodes alive": "2 / 2"}
    wait_page(lambda p: sums.items() <= p.evaluate(BOXES).items(), "sums")
    own = """[...document.querySelectorAll("#figures div")].find(b => b.lastChild.textContent === "clients")
        .firstChild.textContent"""
    wait_page(lambda p: p.evaluate(own) == "1", "this node's own")
    assert "This node: node-1" in page.evaluate(SEEN)
    wait_page(lambda p: [r[:3] + [r[6], r[11]] for r in p.evaluate(TABLE)] == [
        ["node-1 (this one)", "alive", "ok", "1", "1 / 1"],
        ["node-2", "alive", "ok", "2", "1 / 1"]], "rows")
    holders = "document.querySelector('#sources tr').cells[3].textContent"
    wait_page(lambda p: sorted(p.evaluate(holders).replace(" (voice)", "").split(", ")) in (
        ["node-1 0", "node-2 1"], ["node-1 1", "node-2 0"]), "holders")
    two[1].kill()
    wait_page(lambda p: p.evaluate(BOXES)["nodes dead"] == "1"
              and p.evaluate(BOXES)["clients of all nodes"] == "1", "dead")
    wait_page(lambda p: p.evaluate(TABLE)[1][1].startswith("dead for ")
              and p.evaluate(TABLE)[1][6] == "–", "the row of the dead")
    assert not page.errors, page.errors


def test_top_shows_the_nodes_those_not_well_first(nodes, subscriber):
    three = nodes(3)
    subscriber(three[0].port, "#")
    subscriber(three[1].port, "#")
    three[2].kill()
    wait_states(three[:2], node_1="alive", node_2="alive", node_3="dead")
    wait_so("clients", three[:1], lambda b: total(b)["clients"] == 2)
    shown = isobar("top", "--once", "--every", "500ms", "-b", f"http://127.0.0.1:{three[0].http_port}")
    assert shown.returncode == 0, shown
    lines = shown.stdout.split("\n")
    assert lines[4].startswith("whole cluster: nodes alive 2 of 3  subscribers 2  "), lines
    assert [line.split()[:2] for line in lines[5:9]] == [
        ["NODE", "STATE"], ["node-3", "dead"], ["node-1", "alive"], ["node-2", "alive"]], lines
    assert lines[9].startswith("SOURCE ")


def test_the_nodes_are_for_who_may_see_the_status(nodes):
    one = nodes(1, config={"http_public": ["ui"]})[0]
    assert one.get("/api/v1/nodes")[0] == 401
    assert one.get("/api/v1/nodes", basic("gm"))[0] == 403
    assert one.get("/api/v1/nodes", basic("everyone"))[0] == 403
    assert one.get("/api/v1/nodes", basic("viewer"))[0] == 200
    assert one.get("/api/v1/nodes", basic("ops"))[0] == 200


def test_one_machine_shows_no_nodes(gb, node, subscriber, tmp_path, keeper):
    peer = node(CENTRE)
    alone = gb({CENTRE: {"centre_id": CENTRE, "kind": "node", "url": peer.url}}, accounts=[READER, OPS])
    status, _, body = alone.get("/api/v1/nodes")
    assert status == 404 and b"one machine" in body
    assert alone.get_json("/api/v1/status")["cluster"] is None
    assert alone.get_json("/api/v1/sources")["sources"][0]["holders"] is None
    ops = subscriber(alone.port, "$SYS/#", user="ops", password="ops")
    ops.wait_count(10)
    assert not [m.topic for m in ops.messages if m.topic.startswith(SYS)]
    browser = Chromium(tmp_path)
    keeper.keep(browser.end)
    page = browser.open(f"http://127.0.0.1:{alone.http_port}/")
    wait_until(lambda: page.evaluate("document.querySelectorAll('#sources tr').length") == 1)
    seen = page.evaluate(SEEN).lower()
    assert "cluster" not in seen and "held by" not in seen and "node:" not in seen, seen
    assert len(page.evaluate("[...document.querySelector('#sources tr').cells].map(c => c.textContent)")) == 9
    assert not page.errors, page.errors
