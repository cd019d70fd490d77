"""A Redis that cannot be what Isobar needs: nothing is lost, and somebody is told what is wrong with it."""
import re
from pathlib import Path

import pytest

from harness import notifications as wnm
from harness.cluster import ClusterNode, address, stream
from harness.redis import RedisCluster

DWD = "de-dwd"
ALL = {"user": "everyone", "password": "everyone", "read": ["#"], "write": ["#"], "session_expiry": "1h"}
NODES = {"accounts": [ALL]}
MANUAL = Path(__file__).parents[2] / "docs" / "operating.md"


@pytest.mark.parametrize("options, password, wanted", [
    (["--cluster-enabled", "no"], "", "it is no Redis Cluster"),
    ([], "", "it has no slots"),
    (["--requirepass", "right"], "", "it asks for a password"),
    (["--requirepass", "right"], ":wrong@", "user or password is wrong"),
    (["--user", "gb", "on", ">x", "~*", "+@read", "+@write"], "gb:x@", "its user may not do what Isobar needs"),
])
def test_what_is_wrong_with_redis_is_said(options, password, wanted, tmp_path, keeper):
    redis = RedisCluster(tmp_path, masters=1, replicas=0, options=options)
    keeper.keep(redis.end)
    redis.nodes[0].start()
    node = ClusterNode(tmp_path, redis, "node-1",
                       cluster={"redis": [f"redis://{password}{redis.nodes[0].name}"]})
    keeper.keep(lambda: node.process and node.end())
    node.start().wait_degraded(wanted)
    assert node.process.find_log(r"cluster redis_(refused|unreachable) node=\S+ .*why=")
    assert node.get_json("/api/v1/status")["cluster"]["redis_fault"].startswith(wanted)


def test_a_redis_that_is_full_holds_and_loses_nothing(nodes, empty, client, subscriber, keeper):
    one = nodes(1)
    reader = subscriber(one[0].port, "origin/a/wis2/#")
    masters = empty.masters()
    keeper.keep(lambda: [m.cli("config", "set", "maxmemory", 0) for m in masters])
    for master in masters:
        master.cli("config", "set", "maxmemory", "1mb")
    messages = wnm.valid_many(DWD, 30)
    writer = client(one[0].port)
    for message in messages:
        writer.paho.publish(message.topic, message.payload, 1)
    one[0].wait_degraded("sources are held. Redis: it is out of memory")
    assert not writer.acknowledged and not reader.messages
    for master in masters:
        master.cli("config", "set", "maxmemory", 0)
    one[0].wait_degraded("")
    reader.wait_count(30)
    assert sorted(r.id for r in stream(empty)) == sorted(m.id for m in messages)


def test_a_redis_that_drops_claims_is_warned_of_until_it_is_put_right(nodes, empty, keeper):
    masters = empty.masters()

    def put_right():
        for m in masters:
            m.cli("config", "set", "maxmemory", 0, "maxmemory-policy", "noeviction")
    keeper.keep(put_right)
    for master in masters:
        master.cli("config", "set", "maxmemory", "1gb", "maxmemory-policy", "volatile-lru")
    one = nodes(1, settled=False)
    one[0].wait_degraded("maxmemory-policy is not noeviction")
    assert one[0].metric("isobar_redis_evicting_shards") == 16
    assert one[0].process.find_log(r"cluster redis_evicts shards=")
    put_right()
    one[0].wait_degraded("")
    assert one[0].metric("isobar_redis_evicting_shards") == 0


def test_keys_that_something_else_uses_are_named(nodes, empty):
    empty.master_of("{isobar}:nodes").cli("set", "{isobar}:nodes", "mine")
    one = nodes(1, settled=False)
    one[0].wait_degraded("something else uses Isobar's keys")
    one[0].process.wait_log(r"cluster redis_refused .*WRONGTYPE")


def test_a_user_with_the_rights_that_the_manual_names_is_enough(nodes, empty, client, subscriber, keeper):
    rule = re.search(r"^    ACL SETUSER (isobar) (.*)$", MANUAL.read_text(encoding="utf-8"), re.M)
    keeper.keep(lambda: [n.cli("acl", "deluser", rule[1]) for n in empty.nodes])
    for n in empty.nodes:
        n.cli("acl", "setuser", rule[1], *rule[2].split())
        n.cli("acl", "log", "reset")
    urls = [url.replace("redis://", f"redis://{rule[1]}:SECRET@") for url in address(empty)]
    two = nodes(2, cluster={"redis": urls}, config={"antiloop": {"compatible": "wis2gb"}})
    reader = subscriber(two[1].port, "#")
    session = client(two[0].port, client_id="moves", clean=False, expiry=60)
    session.subscribe("$share/group/#")
    client(two[0].port).publish(wnm.valid(DWD))
    reader.wait_count(1)
    moved = client(two[1].port, client_id="moves", clean=False, expiry=60)
    assert moved.connects == [(0, True)]
    two[0].stop()
    two[1].process.wait_log(r"cluster nodes alive=1 ")
    two[1].stop()
    for n in empty.nodes:
        assert n.cli("acl", "log") == ""
