"""Commit through a real Redis Cluster of six: claimed once, acknowledged when replicas have it."""
import pytest

from harness import notifications as wnm
from harness import wire
from harness.cluster import Nodes, stream
from harness.redis import RedisCluster

DWD = "de-dwd"
WRITER = {"user": "writer", "password": "writer", "read": ["#"],
          "write": ["origin/a/wis2/#", "free/#"]}
ACCOUNTS = [WRITER]


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
    """nodes(n, **settings): so many running nodes on an empty Redis Cluster."""
    def make(n, start=True, **settings):
        made = Nodes(tmp_path, empty, n, accounts=ACCOUNTS, **settings)
        keeper.keep(made.end)
        return made.start() if start else made
    return make


@pytest.fixture
def writer(keeper):
    def make(broker, **settings):
        made = wire.Wire(broker.port)
        keeper.keep(made.end)
        return made.login(user=b"writer", password=b"writer", **settings)
    return make


def publish(connection, message, packet_id):
    """Gives the PUBACK's packet identifier."""
    connection.send(wire.publish(message.topic, message.payload, 5, 1, packet_id))
    first, body = connection.read()
    assert first == 0x40, (first, body)
    return int.from_bytes(body[:2], "big")


def test_a_message_is_claimed_once_over_two_nodes(nodes, writer):
    both = nodes(2)
    connections = [writer(node) for node in both]
    messages = [wnm.valid(DWD, number=i) for i in range(20)]
    for i, message in enumerate(messages):
        assert publish(connections[0], message, i + 1) == i + 1
    for i, message in enumerate(messages):
        assert publish(connections[1], message, i + 1) == i + 1
    records = stream(both.redis)
    assert sorted(r.id for r in records) == sorted(m.id for m in messages)
    assert {r.publisher for r in records} == {"writer"}
    assert both[1].metric("isobar_repeats_total") == 20
