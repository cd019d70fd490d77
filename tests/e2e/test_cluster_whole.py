"""A cluster is one Global Broker from wherever one looks: figures, orders, on a real Redis Cluster."""
import pytest

from harness import notifications as wnm
from harness.cluster import Nodes
from harness.process import wait_until
from harness.redis import RedisCluster

CENTRE = "de-dwd"
READER = {"user": "everyone", "password": "everyone", "read": ["#"], "session_expiry": "1h"}
RECEIVED = "wmo_wis2_gb_messages_received_total"
PUBLISHED = "wmo_wis2_gb_messages_published_total"
INVALID = "wmo_wis2_gb_messages_invalid_format_total"
CONNECTED = "wmo_wis2_gb_connected_flag"
DUPLICATES = "isobar_duplicates_total"


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    cluster = RedisCluster(tmp_path_factory.mktemp("redis"))
    try:
        yield cluster.start()
    finally:
        cluster.end()


@pytest.fixture
def empty(redis):
    redis.wait_whole()
    for node in redis.masters():
        node.cli("flushall")
    return redis


@pytest.fixture
def nodes(empty, tmp_path, keeper):
    def make(n, **settings):
        made = Nodes(tmp_path, empty, n, accounts=[READER], **settings)
        keeper.keep(made.end)
        return made.start()
    return make


def states(broker, centre):
    return [s["state"] for s in broker.get_json("/api/v1/sources")["sources"] if s["centre_id"] == centre]


def holders(running, centre=CENTRE):
    return [n for n in running if "connected" in states(n, centre)]


def voices(running, centre=CENTRE):
    return [n for n in running for s in n.get_json("/api/v1/sources")["sources"]
            if s["centre_id"] == centre and s["voice"]]


def wait_holders(running, n=2, centre=CENTRE):
    """Until n hold the source and one of these counts for it; that one, and the others."""
    def is_so():
        found, voice = holders(running, centre), voices(running, centre)
        return voice + [h for h in found if h not in voice] if (len(found), len(voice)) == (n, 1) else None
    return wait_until(is_so, 20, lambda: f"states: {[states(r, centre) for r in running]}")


def shown(broker, centre=CENTRE):
    return {name: broker.metric(name, centre_id=centre)
            for name in (RECEIVED, PUBLISHED, INVALID, CONNECTED, DUPLICATES)}


def wait_shown(running, centre=CENTRE, limit=25, **wanted):
    """Until each of them shows these figures."""
    names = {"received": RECEIVED, "published": PUBLISHED, "invalid": INVALID,
             "connected": CONNECTED, "duplicates": DUPLICATES}
    wanted = {names[k]: v for k, v in wanted.items()}

    def is_so():
        return all({k: shown(n, centre)[k] for k in wanted} == wanted for n in running)
    wait_until(is_so, limit, lambda: f"wanted {wanted}, shown {[shown(n, centre) for n in running]}",
               pause=0.1)


def test_every_node_shows_the_figures_of_all_and_they_outlive_who_counted(nodes, node, client):
    peer = node(CENTRE)
    three = nodes(3, sources={CENTRE: {"centre_id": CENTRE, "kind": "node", "url": peer.url}})
    voice, _ = wait_holders(three)
    feed = client(peer.port, client_id="feed")

    def send(n, at):
        messages = [wnm.valid(CENTRE, number=at + i) for i in range(n)]
        feed.publish_all(messages)
        return messages
    sent = send(60, 0)
    wait_shown(three, received=60, published=60, invalid=0, connected=1, duplicates=0)
    feed.publish_all(sent[:20])         # published before
    feed.publish(wnm.Message(wnm.topic_of(CENTRE), b"{}"))
    wait_shown(three, received=81, published=60, invalid=1, connected=1, duplicates=20)
    standby = [n.metric("isobar_standby_received_total", centre_id=CENTRE) for n in three]
    assert sorted(standby) == [0, 0, 81], standby
    assert voice.metric("isobar_standby_received_total", centre_id=CENTRE) == 0

    voice.kill()                        # what it counted stays counted
    others = [n for n in three if n is not voice]
    wait_shown(others, received=81, published=60, invalid=1, connected=1, duplicates=20)
    wait_holders(others)
    sent += send(40, 60)
    wait_shown(others, received=121, published=100, invalid=1, connected=1, duplicates=20)
    voice.start()                       # and is not counted again
    wait_shown(three, received=121, published=100, invalid=1, connected=1, duplicates=20)
    wait_holders(three)
    send(10, 100)
    wait_shown(three, received=131, published=110, duplicates=20)
    for one in three:                   # a whole restart of everything
        one.stop()
    for one in three:
        one.start()
    wait_shown(three, received=131, published=110, invalid=1, connected=1, duplicates=20)


def test_the_last_sums_stay_while_redis_is_out_of_reach(nodes, node, client, empty):
    import signal
    peer = node(CENTRE)
    two = nodes(2, sources={CENTRE: {"centre_id": CENTRE, "kind": "node", "url": peer.url}})
    wait_holders(two)
    client(peer.port, client_id="feed").publish_all([wnm.valid(CENTRE, number=i) for i in range(30)])
    wait_shown(two, received=30, published=30, connected=1)
    for instance in empty.nodes:
        instance.process.signal(signal.SIGSTOP)
    try:
        for broker in two:
            broker.wait_degraded("Redis")
        wait_shown(two, received=30, published=30, connected=1)
    finally:
        for instance in empty.nodes:
            instance.process.signal(signal.SIGCONT)
    for broker in two:
        broker.wait_degraded("")
    wait_shown(two, received=30, published=30, connected=1)
