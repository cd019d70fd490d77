"""Who is alive, and who holds which source: nodes that come, die and leave, on a real Redis Cluster."""
import signal
import threading
import time

import pytest

from harness import notifications as wnm
from harness import wire
from harness.clients import assert_same
from harness.cluster import ClusterNode
from harness.ports import free_port
from harness.process import wait_until

CENTRES = ["de-dwd", "ca-eccc-msc", "fr-meteofrance", "jp-jma", "br-inmet", "us-noaa-nws"]
READER = {"user": "everyone", "password": "everyone", "read": ["#"], "session_expiry": "1h"}
NODES = {"accounts": [READER]}


@pytest.fixture
def peers(node):
    """A WIS2 Node of each centre, and the sources that take them."""
    made = {centre: node(centre) for centre in CENTRES}
    return made, {centre: {"centre_id": centre, "kind": "node", "url": peer.url}
                  for centre, peer in made.items()}


@pytest.fixture
def nodes(nodes, peers):
    return lambda n: nodes(n, sources=peers[1])


def held(broker):
    """The centres whose sources this node is connected to."""
    return {s["centre_id"] for s in broker.get_json("/api/v1/sources")["sources"]
            if s["state"] == "connected"}


def holders(running):
    found = {centre: [] for centre in CENTRES}
    for broker in running:
        for centre in held(broker):
            found[centre].append(broker.name)
    return found


def wait_held(running, each=2, limit=20.0):
    """Until every source has `each` holders among these, and nothing has moved for as long as it takes
    a node to see that others came or went; who they are."""
    last = {"holders": None, "since": 0}

    def is_so():
        now = holders(running)
        if now != last["holders"]:
            last.update(holders=now, since=time.monotonic())
        is_quiet = time.monotonic() - last["since"] > 4
        return now if is_quiet and all(len(v) == each for v in now.values()) else None
    return wait_until(is_so, limit, lambda: f"holders: {holders(running)}")


class Feed:
    """Publishes at every WIS2 Node until it is ended."""

    def __init__(self, peers, client):
        self.sent = []
        self.to = {c: client(p.port, client_id=f"feed-{c}") for c, p in peers.items()}
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        number = 0
        while not self.stop.wait(0.005):
            centre = CENTRES[number % len(CENTRES)]
            message = wnm.valid(centre, number=number)
            self.to[centre].publish(message)
            self.sent.append(message)
            number += 1

    def end(self):
        self.stop.set()
        self.thread.join()
        return self.sent


def test_each_source_is_held_by_two_and_a_death_moves_only_what_the_dead_had(
        nodes, peers, client, subscriber):
    three = nodes(3)
    before = wait_held(three)
    on_first = subscriber(three[0].port, "#")
    feed = Feed(peers[0], client)
    wait_until(lambda: len(on_first.messages) > 50)
    three[2].kill()
    died = time.monotonic()
    wait_until(lambda: all(len(v) == 2 for v in holders([three[0], three[1]]).values()))
    print(f"moved after {time.monotonic() - died:.1f} s")
    after = wait_held([three[0], three[1]])
    for centre in CENTRES:      # who held a source and lives goes on with it
        assert set(before[centre]) - {"node-3"} <= set(after[centre]), (before, after)
    sent = feed.end()
    on_first.wait_count(len(sent))
    assert_same(on_first.messages, sent)
    three[2].start()
    wait_until(lambda: holders(three) == before, limit=20,     # it gets back what it had
               what=lambda: f"{before}, now {holders(three)}")


def leave(broker, keeper):
    """The body of the DISCONNECT that a client gets when this node is stopped."""
    told = wire.Wire(broker.port)
    keeper.keep(told.end)
    told.login(5)
    broker.stop()
    first, body = told.read()
    assert first == 0xE0, (first, body)
    return body


def test_a_node_that_leaves_hands_over_first_and_tells_its_clients_where_to_go(
        nodes, peers, client, subscriber, keeper):
    three = nodes(3)
    advertised = [f"mqtt://127.0.0.1:{free_port()}" for _ in three]
    for broker, url in zip(three, advertised):
        broker.config["cluster"]["advertise"] = url
        broker.config["listeners"] = [url, "http://127.0.0.1:0"]
        broker.stop()
        broker.write_config()
        broker.start()
    wait_held(three)
    on_first = subscriber(three[0].port, "#")
    feed = Feed(peers[0], client)
    wait_until(lambda: len(on_first.messages) > 50)
    mark = three[0].process.mark()
    body = leave(three[2], keeper)
    assert body[0] == 0x9C, body
    assert any(url.encode() in body for url in advertised[:2]), body
    three[0].process.wait_log(r"cluster nodes alive=2", since=mark)
    wait_held([three[0], three[1]])
    sent = feed.end()
    on_first.wait_count(len(sent))
    assert_same(on_first.messages, sent)


def test_clients_are_sent_elsewhere_while_another_node_lives_though_none_advertises(nodes, keeper):
    two = nodes(2)
    two[1].process.wait_log(r"cluster nodes alive=2")
    body = leave(two[1], keeper)
    assert body[0] == 0x9C and b"://" not in body, body
    two[0].process.wait_log(r"cluster nodes alive=1 ")
    assert leave(two[0], keeper)[0] == 0x8B


def test_the_last_node_leaves_at_once(nodes):
    one = nodes(1)
    wait_held(one, each=1)
    begun = time.monotonic()
    one[0].stop()
    assert one[0].process.find_log(r"cluster leaving")
    assert time.monotonic() - begun < 60


def test_a_second_node_of_the_same_name_holds_nothing_and_says_so(nodes, peers, empty, tmp_path,
                                                                  keeper):
    one = nodes(1)
    wait_held(one, each=1)
    twin = ClusterNode(tmp_path / "twin", empty, "node-1", peers[1], accounts=[READER])
    keeper.keep(lambda: twin.process and twin.end())
    twin.start()
    twin.process.wait_log(r"cluster name_taken node=node-1")
    assert not held(twin)
    assert len(held(one[0])) == len(CENTRES)
    one[0].kill()
    wait_held([twin], each=1)


def test_only_nodes_with_the_role_hold_sources(nodes, peers, empty, tmp_path, keeper):
    for name, roles in (("broker", ["subscribers"]), ("antiloop", ["sources"])):
        made = ClusterNode(tmp_path, empty, name, peers[1], accounts=[READER],
                           cluster={"roles": roles})
        keeper.keep(lambda made=made: made.process and made.end())
        made.start()
        if name == "broker":
            broker = made
    wait_held([made], each=1)
    assert not held(broker)


def test_sources_stay_while_redis_is_out_of_reach(nodes, empty):
    two = nodes(2)
    before = wait_held(two)
    for instance in empty.nodes:
        instance.process.signal(signal.SIGSTOP)
    try:
        for broker in two:
            broker.wait_degraded("Redis")
        assert holders(two) == before
    finally:
        for instance in empty.nodes:
            instance.process.signal(signal.SIGCONT)
    for broker in two:
        broker.wait_degraded("")
    assert wait_held(two) == before


def test_a_source_added_by_a_reload_is_held_and_one_taken_out_is_released(nodes, node, empty):
    two = nodes(2)
    wait_held(two)
    peer = node("kma")
    for broker in two:
        broker.write_source("kr-kma", {"centre_id": "kr-kma", "kind": "node", "url": peer.url})
        broker.reload()
    wait_until(lambda: all("kr-kma" in held(b) for b in two))
    for broker in two:
        broker.remove_source("kr-kma")
        broker.reload()

    def leases():
        return [f for f in empty.master_of("{isobar}:leases").command("hkeys", "{isobar}:leases")
                if f.startswith(b"kr-kma/")]
    wait_until(lambda: not leases(), what=lambda: f"leases {leases()}")
