#!/usr/bin/env python3
"""Commit through a real Redis Cluster beside redis-benchmark with the bare script, and added latency.

    bench/cluster.py build/isobar [MESSAGES]

A Redis Cluster of six (three masters, a replica each, append-only files synced every second) and one
Isobar node without subscribers, all on 127.0.0.1. Both sides claim and append messages of 1.2 KB, in
turn, ROUNDS times; the best of each counts. Isobar's messages come from `isobar bench` over MQTT at QoS
1, and each counts when a replica has it (acknowledge: 1); redis-benchmark waits for no replica.
"""
import json
import os
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

ROUNDS = 3
WRITER = {"user": "writer", "password": "writer", "read": ["#"], "write": ["origin/a/wis2/#"]}
SETTINGS = {"limits": {"receive_maximum": 4000}, "workers": 1, "checks": {"metadata": "off"}}
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def load(program, node, **options):
    words = [program, "bench", "-b", f"mqtt://writer:writer@127.0.0.1:{node.port}", "--publish-qos", "1"]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stdout.strip(), done.stderr
    return json.loads(done.stdout.strip().split("\n")[-1])


def by_isobar(program, redis, node, messages):
    before, own = cpu_seconds(redis), cpu_of(node.program_pid())
    told = load(program, node, subscribers=0, publishers=4, messages=messages, window=2000)
    own = cpu_of(node.program_pid()) - own
    return {"per_second": messages / told["seconds"], "cpu": own,
            "redis_cpu": cpu_seconds(redis) - before}


def latency(program, node):
    return load(program, node, subscribers=1, publishers=1, qos=1, messages=5000, rate=1000)


def main():
    program, messages = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100000
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisCluster(folder, node_timeout_ms=5000)
        node = ClusterNode(folder, redis, "node-1", accounts=[WRITER], config=dict(SETTINGS))
        single = Isobar(os.path.join(folder, "single"), accounts=[WRITER], config=dict(SETTINGS))
        try:
            redis.start()
            node.start().wait_degraded("")
            best = {}
            for _ in range(ROUNDS):
                for name, run in (
                        ("bare script, 1 a call", lambda: by_benchmark(redis, messages, 1)),
                        ("bare script, 16 a call", lambda: by_benchmark(redis, messages, 16)),
                        ("Isobar, WAIT 1", lambda: by_isobar(program, redis, node, messages))):
                    got = run()
                    if got["per_second"] > best.get(name, {"per_second": 0})["per_second"]:
                        best[name] = got
                    empty(redis)
            for name, got in best.items():
                share = f", CPU {got['cpu'] / got['redis_cpu']:.2f} of Redis'" if "cpu" in got else ""
                print(f"{name:24} {got['per_second']:9.0f} messages/s{share}", flush=True)
            single.start()
            for name, broker in (("one machine", single), ("cluster", node)) * ROUNDS:
                told = latency(program, broker)
                print(f"{name:12} at 1000/s: {json.dumps(told)}", flush=True)
        finally:
            for broker in (single, node):
                if broker.process:
                    broker.end()
            redis.end()


if __name__ == "__main__":
    main()
