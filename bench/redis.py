#!/usr/bin/env python3
"""Claims a second through the Redis client beside redis-benchmark with the bare script, and memory.

    [ISOBAR_REDIS=/opt/valkey/bin/valkey] bench/redis.py build/tests/cluster/load [MESSAGES]

A cluster of six (three masters, a replica each, append-only files synced every second) on 127.0.0.1.
Both sides claim and append messages of 1.2 KB, alternately, ROUNDS times; the best of each counts.
"""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "e2e"))
from harness.redis import RedisCluster, program  # noqa: E402

ROUNDS = 3
RECORD = "x" * 1240
with open(os.path.join(HERE, "..", "src", "cluster", "claim.lua"), encoding="ascii") as f:
    SCRIPT = f.read()


def empty(cluster):
    for node in cluster.masters():
        node.cli("flushall")
    cluster.wait_whole()


def cpu_seconds(cluster):
    ticks = 0
    for node in cluster.nodes:
        with open(f"/proc/{node.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def by_client(load, cluster, messages, batch, acknowledge):
    before = cpu_seconds(cluster)
    out = subprocess.run([load, "claim", ",".join(cluster.names()), str(messages), str(batch),
                          str(max(16, 2048 // batch)), str(acknowledge)], check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    told = json.loads(out.strip().split("\n")[-1])
    return {"per_second": messages / told["seconds"], "cpu": told["cpu"],
            "redis_cpu": cpu_seconds(cluster) - before}


def by_benchmark(cluster, messages, batch):
    """One redis-benchmark a master, each with a shard that lies there."""
    runs = []
    # Shards that no node follows: what is written there is no record.
    shards = {cluster.master_of(f"{{{k}}}:log"): k for k in range(16, 32)}
    for node, k in shards.items():
        sha = node.command("script", "load", SCRIPT).decode()
        keys = [f"{{{k}}}:log"] + [f"{{{k}}}:seen__rand_int__"] * batch
        words = ["evalsha", sha, str(len(keys)), *keys, "3600000", "0", "0"]
        words += ["4242", RECORD] * batch
        calls = messages // batch // len(shards)
        runs.append((calls * batch, subprocess.Popen(
            [program("benchmark"), "-p", str(node.port), "-n", str(calls), "-c", "8", "-P",
             str(max(1, 64 // batch)), "-r", "1000000000", "--csv", *words],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)))
    total = 0.0
    for _, run in runs:
        line = run.communicate()[0].strip().split("\n")[-1]
        total += batch * float(line.rsplit('",', 1)[1].split(",")[0].strip('"')
                               if not line.endswith('"') else line.split('","')[1])
    return {"per_second": total}


def used(cluster):
    return sum(int(line.split(":")[1]) for node in cluster.masters()
               for line in node.cli("info", "memory").split("\n")
               if line.startswith("used_memory:"))


def memory(load, cluster, messages):
    empty(cluster)
    before = used(cluster)
    by_client(load, cluster, messages, 16, 0)
    whole = used(cluster) - before
    for k in range(16):
        cluster.master_of(f"{{{k}}}:log").cli("del", f"{{{k}}}:log")
    return whole / messages, (used(cluster) - before) / messages


def main():
    load, messages = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200000
    with tempfile.TemporaryDirectory() as folder:
        cluster = RedisCluster(folder, node_timeout_ms=5000, appendfsync="everysec")
        try:
            cluster.start()
            for batch in (1, 16):
                best = {}
                for _ in range(ROUNDS):
                    for name, run in (
                            ("bare script", lambda: by_benchmark(cluster, messages, batch)),
                            ("client", lambda: by_client(load, cluster, messages, batch, 0)),
                            ("client+WAIT", lambda: by_client(load, cluster, messages, batch, 1))):
                        got = run()
                        empty(cluster)
                        if got["per_second"] > best.get(name, got)["per_second"] or name not in best:
                            best[name] = got
                for name, got in best.items():
                    share = (f", CPU {got['cpu'] / got['redis_cpu']:.2f} of Redis'"
                             if "cpu" in got else "")
                    print(f"{batch:3} a call  {name:12} {got['per_second']:9.0f} messages/s{share}",
                          flush=True)
            with_stream, id_only = memory(load, cluster, messages)
            print(f"memory a message: {with_stream:.0f} bytes, without its stream {id_only:.0f}")
        finally:
            cluster.end()


if __name__ == "__main__":
    main()
