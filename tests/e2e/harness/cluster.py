"""Several Isobar nodes on one Redis Cluster: one Global Broker."""
import os

from .isobar import Isobar

SHARDS = 16


def address(redis):
    """The configuration's addresses of a harness.redis.RedisCluster."""
    scheme = "rediss" if redis.tls else "redis"
    who = f":{redis.password}@" if redis.password else ""
    return [f"{scheme}://{who}{node.name}" for node in redis.nodes]


class ClusterNode(Isobar):
    """One node, as harness.isobar.Isobar; cluster: keys of `cluster:` over the defaults."""

    def __init__(self, folder, redis, name, sources=None, cluster=None, config=None, **settings):
        self.name = name
        wanted = {"redis": address(redis), "node": name, **(cluster or {})}
        if redis.tls:
            wanted.setdefault("tls", {"ca": redis.tls.ca})
        super().__init__(os.path.join(str(folder), name), sources,
                         config={**(config or {}), "cluster": wanted}, **settings)

    def degraded(self):
        """Why it is, or ""."""
        return self.get_json("/readyz")["degraded_reason"]

    def wait_degraded(self, text, limit=15.0):
        """Until the reason holds this text; "": until it is not degraded."""
        from .process import wait_until

        def is_so():
            why = self.degraded()
            return text in why if text else why == ""
        wait_until(is_so, limit, lambda: f"degraded: {text!r}, is {self.degraded()!r}:\n"
                   + "\n".join(self.process.lines[-25:]), pause=0.05)


class Nodes:
    """n nodes of one Global Broker, named node-1 ...; settings as of ClusterNode."""

    def __init__(self, folder, redis, n, **settings):
        self.redis = redis
        self.nodes = [ClusterNode(folder, redis, f"node-{i + 1}", **settings) for i in range(n)]

    def __getitem__(self, i):
        return self.nodes[i]

    def __iter__(self):
        return iter(self.nodes)

    def start(self, settled=True):
        """settled: until each has reached Redis and is not degraded."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            if settled:
                node.wait_degraded("")
        return self

    def end(self):
        for node in self.nodes:
            if node.process:
                node.end()


def stream_length(redis):
    """Messages in the streams of all shards."""
    return sum(int(redis.master_of(f"{{{k}}}:log").command("xlen", f"{{{k}}}:log"))
               for k in range(SHARDS))
