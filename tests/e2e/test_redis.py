"""The Redis client against a real cluster of six, with everything that goes wrong there.

tests/cluster/load.c drives it: every message is claimed and appended once, in its order, whatever
happens to the cluster meanwhile; each test counts what is in the streams afterwards.
"""
import json
import os
import re
import signal

import pytest

from harness.process import Process, binary, wait_until
from harness.redis import RedisCluster

LOAD = os.path.join(os.path.dirname(binary()), "tests", "cluster", "load")
SHARDS = 16
ENDLESS = 10 ** 9


class Load:
    """A run of load.c; its progress can be waited for."""

    def __init__(self, cluster, *words, env=None):
        seeds = ",".join(node.name for node in cluster.running())
        self.process = Process(["/bin/sh", "-c", 'exec "$@" >&2', "sh", LOAD, words[0], seeds,
                                *map(str, words[1:])], "load", env=env)

    def progress(self):
        lines = self.process.find_log(r"^progress \d+ refused \d+")
        return tuple(map(int, lines[-1].split()[1::2])) if lines else (0, 0)

    def wait_progress(self, least):
        wait_until(lambda: self.progress()[0] >= least, 60, f"progress {least}")

    def wait_refused(self):
        wait_until(lambda: self.progress()[1] > 0, 60, "a call to be refused")

    def finish(self):
        """It makes no more messages."""
        self.process.signal(signal.SIGTERM)

    def end(self, limit=90):
        status = self.process.wait(limit)
        log = self.process.log()
        found = re.search(r"^\{.*\}$", log, re.M)
        assert found, log
        return status, json.loads(found.group(0))


@pytest.fixture
def load(keeper):
    def make(cluster, *words, env=None):
        run = Load(cluster, *words, env=env)
        keeper.keep(run.process.end)
        return run
    return make


def check_streams(redis, load, count):
    """Every message stands once in its shard's stream, in the order of its claim."""
    assert sum(int(node.cli("xlen", f"{{{k}}}:log")) for k in range(SHARDS)
               for node in [redis.master_of(f"{{{k}}}:log")]) == count
    status, read = load(redis, "read", count).end()
    assert status == 0 and read == {"read": count, "wrong": 0, "failed": 0}, read


def check_claims(status, told, count):
    assert status == 0, told
    assert told["done"] == told["first"] == count and told["wrong"] == 0, told
    assert told["submitted"] == told["answered"] + told["failed"], told


def test_every_id_is_first_once_and_every_repeat_is_told_so(empty, load):
    status, told = load(empty, "claim", 20000, 10, 50, 1, 4).end()
    check_claims(status, told, 20000)
    assert told["repeats"] > 1000 and told["repeats"] % 10 == 0
    check_streams(empty, load, 20000)


def test_a_killed_master_loses_and_doubles_nothing(empty, load):
    run = load(empty, "claim", 60000, 4, 500, 1)
    run.wait_progress(6000)
    victim = empty.master_of("{3}:log")
    victim.kill()
    empty.wait_promoted(victim)
    victim.start()
    status, told = run.end()
    check_claims(status, told, 60000)
    assert told["lost"] >= 1 and told["repeated"] > 0, told
    empty.wait_whole()
    check_streams(empty, load, 60000)


def test_a_stopped_master_is_left_for_its_successor(empty, load):
    """Its connections stay open and say nothing; it comes back as a replica and answers late."""
    run = load(empty, "claim", ENDLESS, 4, 500, 1)
    run.wait_progress(6000)
    victim = empty.master_of("{3}:log")
    victim.pause()
    empty.wait_promoted(victim)
    # Every shard has many messages by then, those of the stopped master's as well.
    run.wait_progress(run.progress()[0] + 2 * 500 * 4 * SHARDS)
    victim.resume()
    empty.wait_whole()
    run.finish()
    status, told = run.end()
    check_claims(status, told, told["done"])
    assert told["lost"] >= 1 and told["repeated"] > 0, told
    check_streams(empty, load, told["done"])


def test_a_slot_moves_under_load(empty, load):
    """Its calls are refused until it has moved, and go on at its new master."""
    run = load(empty, "claim", ENDLESS, 4, 500, 1)
    run.wait_progress(6000)
    source = empty.master_of("{5}:log")
    target = next(node for node in empty.masters() if node is not source)
    slot = int(source.cli("cluster", "keyslot", "{5}:log"))
    empty.move_slot(slot, source, target, run.wait_refused)
    # Shards take turns with 500 calls: without those of this one all of them soon wait for it.
    run.wait_progress(run.progress()[0] + 2 * 500 * 4 * SHARDS)
    run.finish()
    status, told = run.end()
    check_claims(status, told, told["done"])
    assert told["refused"] > 0, told
    empty.wait_whole()
    assert empty.master_of("{5}:log") is target
    check_streams(empty, load, told["done"])


def test_the_whole_cluster_restarts_and_has_forgotten_its_scripts(empty, load):
    run = load(empty, "claim", 40000, 4, 200, 1)
    run.wait_progress(4000)
    for node in empty.masters():
        node.cli("script", "flush")
    run.wait_progress(8000)
    empty.restart()
    status, told = run.end()
    check_claims(status, told, 40000)
    # The last masters may have been killed before they were asked for the script.
    assert told["reloaded"] >= 1, told
    empty.wait_whole()
    check_streams(empty, load, 40000)


def claim_by_hand(node, sha, keep_ms, most_bytes, records, start):
    ids = [b"{3}:" + b"%016d" % (start + i) for i in range(len(records))]
    pairs = [word for i, r in enumerate(records) for word in (start + i, r)]
    return node.command("evalsha", sha, 1 + len(ids), "{3}:log", *ids, 60000, keep_ms, most_bytes,
                        *pairs)


def test_the_script_answers_token_and_time_and_trims_by_size_and_age(empty):
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "..", "..", "src", "cluster", "claim.lua"), "rb") as f:
        node = empty.master_of("{3}:log")
        sha = node.command("script", "load", f.read())
    first, second, again = (claim_by_hand(node, sha, 0, 0, [b"r"], n)[0] for n in (1, 2, 1))
    assert first[:1] == b"+" and again == b"-" + first[1:] and second[:1] == b"+"
    place = node.command("xrange", "{3}:log", "-", "+")[0][0].split(b"-")
    assert int(first[1:]) == (int(place[0]) - 1_600_000_000_000) * 2 ** 23 + 1
    assert node.command("object", "encoding", b"{3}:%016d" % 1) == b"int"
    ttl = int(node.command("pttl", b"{3}:%016d" % 1))
    assert 50000 < ttl <= 60000

    for start in range(100, 20100, 100):
        claim_by_hand(node, sha, 0, 0, [b"x" * 1000] * 100, start)
    assert int(node.command("xlen", "{3}:log")) == 20002
    for _ in range(20):
        assert claim_by_hand(node, sha, 0, 2_000_000, [], 0) == []
    assert 1_000_000 < int(node.command("memory", "usage", "{3}:log")) < 2_200_000
    claim_by_hand(node, sha, 3_600_000, 0, [], 0)
    assert int(node.command("xlen", "{3}:log")) > 1000
    for _ in range(20):
        claim_by_hand(node, sha, 1, 0, [], 0)
    assert int(node.command("xlen", "{3}:log")) < 100  # what shares a block with the newest stays
    assert claim_by_hand(node, sha, 0, 0, [b"r"], 100)[0][:1] == b"-"  # an id outlives its entry


def test_tls_and_password_all_the_way(tmp_path, keeper, load, authority):
    certificate = authority.issue("redis", "IP:127.0.0.1,DNS:localhost")
    certificate.ca = authority.certificate
    cluster = RedisCluster(tmp_path, replicas=1, tls=certificate, password="s3cret pass")
    keeper.keep(cluster.end)
    cluster.start()
    env = dict(os.environ, REDIS_CA=authority.certificate, REDIS_PASSWORD="s3cret pass")
    status, told = load(cluster, "claim", 5000, 10, 50, 1, env=env).end()
    check_claims(status, told, 5000)
    status, read = load(cluster, "read", 5000, env=env).end()
    assert status == 0 and read["wrong"] == 0, read
    env["REDIS_PASSWORD"] = "another"
    run = load(cluster, "claim", 10, 1, 1, 0, env=env)
    why = run.process.wait_log(r"redis_unreachable .*WRONGPASS", limit=10)
    assert "another" not in why.string
    run.process.kill()          # which would go on to try
