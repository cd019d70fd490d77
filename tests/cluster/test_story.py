"""`make test-cluster`: the whole cluster under a steady load, and what may befall it (harness.story).

    STORY="kill-node kills"     these faults, in this order, instead of every test here
    SEED=7                      of what is random; the one of a run is printed
    RATE=200                    messages a second at the WIS2 Nodes, and as many repeats; 1 000 if not given
    QUEUE=1000 MODE=spool       with STORY: what WIS2 Nodes keep for a client, on_store_failure

Needs root, for a node that is cut off by rules of nftables.
"""
import os
import random

import pytest

from harness.story import World

SEED = int(os.environ.get("SEED") or random.randrange(1 << 16))
RATE = int(os.environ.get("RATE") or 1000)


@pytest.fixture
def world(tmp_path):
    """world(**settings): a running one."""
    made = []

    def make(**settings):
        print(f"\nseed {SEED}, {RATE} messages a second and as many repeats")
        made.append(World(tmp_path, RATE, seed=SEED, cut=True, **settings))
        return made[-1].start()
    yield make
    for it in made:
        it.end()


def environment():
    return {"queue": int(os.environ.get("QUEUE") or 0), "on_failure": os.environ.get("MODE") or "hold"}


if os.environ.get("STORY"):
    def test_the_story_that_was_asked_for(world):
        world(**environment()).play(os.environ["STORY"].split())
else:
    def test_single_faults(world):
        world().play(["kill-node", "stop-node", "kill-master", "partition", "outage", "rolling"])

    def test_twenty_kills(world):
        world().play(["kills"])

    def test_clocks_that_are_ten_seconds_apart(world):
        world(clocks=(0, 10, -10)).play(["kill-node", "kill-master", "short-outage"])

    def test_under_spool_nothing_is_lost_though_wis2_nodes_keep_only_1000(world):
        world(on_failure="spool", queue=1000).play(["outage"])

    def test_under_hold_what_wis2_nodes_drop_is_lost_and_nothing_else(world):
        world(queue=1000, holders=1).play(["outage-held"])
