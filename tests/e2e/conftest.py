"""Fixtures: each makes things that are gone when the test ends, whatever happened in it."""
import os
import re
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness.certificates import Authority  # noqa: E402
from harness.clients import Client, MosquittoSub, Subscriber  # noqa: E402
from harness.cluster import Nodes  # noqa: E402
from harness.isobar import Isobar  # noqa: E402
from harness.kept import kept  # noqa: E402
from harness.mosquitto import Mosquitto  # noqa: E402
from harness.peer import Peer  # noqa: E402
from harness.redis import RedisCluster  # noqa: E402


class _Keeper:
    """Ends what was made, newest first."""

    def __init__(self):
        self.made = []

    def keep(self, thing):
        self.made.append(thing)
        return thing

    def end(self):
        failures = []
        for thing in reversed(self.made):
            try:
                thing()
            except Exception as failure:  # all must be tried
                failures.append(failure)
        assert not failures, failures


@pytest.fixture
def keeper():
    made = _Keeper()
    yield made
    made.end()


@pytest.fixture
def node(tmp_path, keeper):
    """node(name, **settings): a running mosquitto."""
    def make(name="node", **settings):
        broker = Mosquitto(tmp_path, name, **settings)
        keeper.keep(lambda: broker.process and broker.process.end())
        return broker.start()
    return make


@pytest.fixture
def gb(tmp_path, keeper):
    """gb(sources, **settings): a running Isobar; start=False: not yet."""
    def make(sources=None, start=True, **settings):
        broker = Isobar(tmp_path, sources, **settings)

        def end():
            if not broker.process:
                return
            was_running = broker.process.is_running()
            status = broker.end()
            log = broker.process.log()
            print("--- last lines of isobar's log\n" + "\n".join(log.split("\n")[-60:]))
            assert not re.search("ERROR: (Address|Leak)Sanitizer|runtime error:|"
                                 "WARNING: ThreadSanitizer", log), log
            assert status == 0 or not was_running, f"it ended with status {status}:\n{log}"
        keeper.keep(end)
        return broker.start() if start else broker
    return make


client = kept(Client)
subscriber = kept(Subscriber)
mosquitto_sub = kept(MosquittoSub)


CONFORMANCE = {
    "config": {"workers": 1, "limits": {"in_flight": 1000}},
    "accounts": [{"user": "owner", "password": "owner", "max_qos": 2, "read": ["#", "$odd/#"],
                  "write": ["t/#", "$odd/#", "#"]},
                 {"user": "reader", "password": "reader", "read": ["t/#"], "write": []},
                 {"user": "narrow", "password": "narrow", "read": ["t/#"], "limits": {"in_flight": 1}}],
}


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    """One broker for all tests of a module, with one worker, so that all is in one order."""
    broker = Isobar(tmp_path_factory.mktemp("hall"), **CONFORMANCE).start()
    yield broker
    was_running = broker.process.is_running()
    assert broker.end() == 0 and was_running, broker.process.log()


@pytest.fixture
def peer(hall, keeper):
    """peer(version, client_id, **settings): connected to the module's broker; connect=False: not."""
    def make(version=5, *arguments, connect=True, **settings):
        made = Peer(hall.port, version)
        keeper.keep(made.end)
        return made.connect(*arguments, **settings) if connect else made
    return make


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    """A Redis Cluster of six, for all tests of a run (with -n: of one of its processes)."""
    cluster = RedisCluster(tmp_path_factory.mktemp("redis"))
    try:
        yield cluster.start()
    finally:
        cluster.end()


@pytest.fixture
def empty(redis):
    """The six, whole, without a key and with their usual time limit."""
    redis.mend()
    redis.set_node_timeout(redis.node_timeout_ms)
    for node in redis.masters():
        node.cli("flushall")
    return redis


@pytest.fixture
def nodes(empty, tmp_path, keeper, request):
    """nodes(n, **settings): so many nodes of a Global Broker on an empty Redis Cluster, running unless
    start=False; settings are those of ClusterNode beside the module's NODES."""
    def make(n, start=True, settled=True, **settings):
        made = Nodes(tmp_path, empty, n, **{**getattr(request.module, "NODES", {}), **settings})
        keeper.keep(made.end)
        return made.start(settled) if start else made
    return make
