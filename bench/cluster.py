#!/usr/bin/env python3
"""Commit through a real Redis Cluster beside the bare script: messages a second, and added latency.

    bench/cluster.py build/isobar [MESSAGES]          needs build/tests/cluster/load

A Redis Cluster of six (three masters, a replica each, append-only files synced every second) and one
Isobar node, all on 127.0.0.1; messages of 1.2 KB.

As fast as it goes, in turn, ROUNDS times, the best of each counts: `isobar bench` publishes at QoS 1 and
each message counts when a replica has it (acknowledge: 1); redis-benchmark waits for no replica.

At 1 000 messages a second, in turn, ROUNDS times, medians: from handing a message to the publisher's
socket until a subscriber has it, on one machine and in the cluster; and how long the bare script takes, one
message a call, until a replica has it.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "e2e"))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
from harness.cluster import ClusterNode  # noqa: E402
from harness.isobar import Isobar  # noqa: E402
from harness.redis import RedisCluster  # noqa: E402
from redis import by_benchmark, cpu_seconds, empty  # noqa: E402

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
RATE = 1000
PACED = 5000
GOAL_SHARE = 0.6        # of the bare script's messages a second
GOAL_CPU = 1 / 3        # of Redis'
GOAL_ADDED_US = 1000    # at the median
GOAL_P99 = 3            # times the bare script's
WRITER = {"user": "writer", "password": "writer", "read": ["#"], "write": ["origin/a/wis2/#"]}
SETTINGS = {"limits": {"receive_maximum": 4000}, "workers": 1, "checks": {"metadata": "off"}}
TICKS = os.sysconf("SC_CLK_TCK")


def met(value, goal, text, at_least=False):
    good = value >= goal if at_least else value <= goal
    return f"{text}: {'met' if good else 'MISSED'}"


def last_line(words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stdout.strip(), done.stderr
    return json.loads(done.stdout.strip().split("\n")[-1])


def load(program, node, **options):
    words = [program, "bench", "-b", f"mqtt://writer:writer@127.0.0.1:{node.port}", "--publish-qos", "1"]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return last_line(words)


# --- as fast as it goes --------------------------------------------------------


def cpu_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def by_isobar(program, redis, node, messages):
    before, own = cpu_seconds(redis), cpu_of(node.program_pid())
    told = load(program, node, subscribers=0, publishers=4, messages=messages, window=2000)
    own = cpu_of(node.program_pid()) - own
    return {"per_second": messages / told["seconds"], "cpu": own,
            "redis_cpu": cpu_seconds(redis) - before}


def throughput(program, redis, node, messages):
    runs = (("bare script, 1 a call", lambda: by_benchmark(redis, messages, 1)),
            ("bare script, 16 a call", lambda: by_benchmark(redis, messages, 16)),
            ("Isobar, WAIT 1", lambda: by_isobar(program, redis, node, messages)))
    best = {}
    for _ in range(ROUNDS):
        for name, run in runs:
            got = run()
            if got["per_second"] > best.get(name, {"per_second": 0})["per_second"]:
                best[name] = got
            empty(redis)
    print("| as fast as it goes | messages/s | goal |\n|---|---|---|")
    for name, got in best.items():
        goal = ""
        if "cpu" in got:
            share = got["per_second"] / best["bare script, 16 a call"]["per_second"]
            cpu = got["cpu"] / got["redis_cpu"]
            goal = (met(share, GOAL_SHARE, f"{share:.0%} of the bare script, at least 60 %", True)
                    + "; " + met(cpu, GOAL_CPU, f"CPU {cpu:.2f} of Redis', at most 0.33"))
        print(f"| {name} | {got['per_second']:.0f} | {goal} |", flush=True)


# --- latency ---------------------------------------------------------------------


def by_broker(program, node):
    return load(program, node, subscribers=1, publishers=1, qos=1, messages=PACED, rate=RATE)["latency_us"]


def by_script(program, redis):
    pace = os.path.join(os.path.dirname(program), "tests", "cluster", "load")
    return last_line([pace, "pace", ",".join(redis.names()), str(PACED), str(RATE), "1"])


def latency(program, redis, node, single):
    runs = (("one machine", lambda: by_broker(program, single)),
            ("bare script, WAIT 1", lambda: by_script(program, redis)),
            ("cluster, acknowledge 1", lambda: by_broker(program, node)))
    told = {name: [] for name, _ in runs}
    for _ in range(ROUNDS):
        for name, run in runs:
            told[name].append(run())
    p50, p99 = ({name: statistics.median(row[at] for row in rows) for name, rows in told.items()}
                for at in ("p50", "p99"))
    added = p50["cluster, acknowledge 1"] - p50["one machine"]
    times = p99["cluster, acknowledge 1"] / p99["bare script, WAIT 1"]
    print(f"\n| {RATE} messages/s, microseconds | p50 | p99 | p99 of each round | goal |\n|---|---|---|---|---|")
    for name, rows in told.items():
        goal = ""
        if name.startswith("cluster"):
            goal = (met(added, GOAL_ADDED_US, f"median {added:+.0f}, at most +{GOAL_ADDED_US}") + "; "
                    + met(times, GOAL_P99, f"p99 {times:.1f} times the bare script's, at most {GOAL_P99}"))
        print(f"| {name} | {p50[name]:.0f} | {p99[name]:.0f} | "
              f"{' '.join(format(row['p99'], '.0f') for row in rows)} | {goal} |", flush=True)


def main():
    program, messages = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100000
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisCluster(folder, node_timeout_ms=5000, appendfsync="everysec")
        node = ClusterNode(folder, redis, "node-1", accounts=[WRITER], config=dict(SETTINGS))
        single = Isobar(os.path.join(folder, "single"), accounts=[WRITER], config=dict(SETTINGS))
        try:
            redis.start()
            node.start().wait_degraded("")
            if messages:
                throughput(program, redis, node, messages)
            single.start()
            latency(program, redis, node, single)
        finally:
            for broker in (single, node):
                if broker.process:
                    broker.end()
            redis.end()


if __name__ == "__main__":
    main()
