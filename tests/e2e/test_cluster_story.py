"""A short version of `make test-cluster` (tests/cluster/test_story.py): the whole cluster, four faults."""
from harness.story import World


def test_a_cluster_loses_and_repeats_nothing_when_its_parts_fail(tmp_path, keeper):
    world = World(tmp_path, rate=100)
    keeper.keep(world.end)
    world.start().play(["kill-node", "kill-master", "stop-node", "short-outage"])
