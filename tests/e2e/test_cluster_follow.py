"""Every node follows the shared log of a real Redis Cluster of six into its own journal."""
import pytest

from harness import notifications as wnm
from harness.clients import assert_same
from harness.cluster import Nodes
from harness.redis import RedisCluster

DWD = "de-dwd"
ACCOUNTS = [{"user": "writer", "password": "writer", "read": ["#"],
             "write": ["origin/a/wis2/#", "free/#"]},
            {"user": "everyone", "password": "everyone", "read": ["#"]}]


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


def writer(client, node):
    return client(node.port, user="writer", password="writer")


def test_every_node_delivers_every_message_once(nodes, client, subscriber):
    three = nodes(3)
    readers = [subscriber(node.port, "origin/#") for node in three]
    writers = [writer(client, node) for node in three]
    messages = wnm.valid_many(DWD, 300)
    for i, w in enumerate(writers):
        w.publish_all(messages[i * 60:i * 60 + 180])
    for reader in readers:
        reader.wait_count(300)
        assert_same(reader.messages, messages)
