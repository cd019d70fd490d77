#!/usr/bin/python3
"""Makes Redis instances one Redis Cluster, and keeps it in the shape that was meant.

    all empty        the first ones become masters with equal shares of the slots, the others their replicas,
                     each on another machine than its master
    some empty       a machine was replaced: they join as replicas of the masters that lack one, and the
                     dead nodes whose places they took are forgotten
    badly shared     a master without a replica gets one of a master that has two
    two masters on   after failovers: a replica on a machine that has none takes over, as the loss of one
    one machine      machine must never take the majority of the masters

and in any case: every slot is served, every master has its replicas, none of them on its own machine.
"""
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: redis_cluster
short_description: Create, mend and judge a Redis Cluster
options:
  instances: {description: each with host, address and port, type: list, elements: dict, required: true}
  replicas: {description: of each master, type: int, default: 1}
  user: {description: to log in with, type: str}
  password: {description: to log in with, type: str}
  ca: {description: PEM file; TLS is used where it is given, type: str}
  patience: {description: seconds to wait for the cluster to agree, type: int, default: 180}
"""

SLOTS = 16384


class Cluster:
    def __init__(self, module):
        self.module = module
        self.instances = module.params["instances"]
        self.replicas = module.params["replicas"]
        self.changes = []
        self.by_address = {(i["address"], int(i["port"])): i for i in self.instances}

    def cli(self, instance, *words):
        """One command to one instance."""
        p = self.module.params
        command = ["redis-cli", "-h", instance["address"], "-p", str(instance["port"])]
        if p["ca"]:
            command += ["--tls", "--cacert", p["ca"]]
        if p["user"]:
            command += ["--user", p["user"]]
        environment = {"REDISCLI_AUTH": p["password"]} if p["password"] else {}
        status, out, err = self.module.run_command(
            command + [str(w) for w in words], environ_update=environment)
        out = out.strip()
        if status or out.startswith(("ERR", "NOAUTH", "WRONGPASS", "NOPERM", "(error)")):
            self.fail("%s at %s:%s: %s" % (" ".join(map(str, words)), instance["address"],
                                           instance["port"], out or err.strip()))
        return out

    def fail(self, why):
        self.module.fail_json(msg=why, changes=self.changes, changed=bool(self.changes))

    def info(self, instance, section="cluster info"):
        lines = self.cli(instance, *section.split()).splitlines()
        return dict(line.strip().split(":", 1) for line in lines if ":" in line)

    def nodes(self, instance):
        """CLUSTER NODES as this instance sees it, each node with our name for its machine."""
        seen = []
        for line in self.cli(instance, "cluster", "nodes").splitlines():
            word = line.split()
            address, _, port = word[1].split("@")[0].split(",")[0].rpartition(":")
            known = self.by_address.get((address, int(port or 0)), {})
            seen.append({"id": word[0], "flags": word[2].split(","), "master": word[3],
                         "slots": [w for w in word[8:] if not w.startswith("[")],
                         "host": known.get("host", address), "instance": known})
        return seen

    def id(self, instance):
        return self.cli(instance, "cluster", "myid")

    def empty(self, instance):
        info = self.info(instance)
        return (info["cluster_known_nodes"] == "1" and info["cluster_slots_assigned"] == "0"
                and self.cli(instance, "dbsize") == "0")

    def wait(self, what, holds):
        deadline = time.monotonic() + self.module.params["patience"]
        while not holds():
            if time.monotonic() > deadline:
                self.fail("waited %d s in vain: %s" % (self.module.params["patience"], what))
            time.sleep(0.2)

    def change(self, what):
        """Notes a change; in check mode it is the last thing that happens."""
        self.changes.append(what)
        if self.module.check_mode:
            self.module.exit_json(changed=True, changes=self.changes)

    def meet(self, through, others):
        for other in others:
            self.cli(through, "cluster", "meet", other["address"], other["port"])

        def known(instance):
            return {(n["instance"].get("address"), n["instance"].get("port"))
                    for n in self.nodes(instance) if not {"handshake", "fail", "noaddr"} & set(n["flags"])}
        everybody = {(i["address"], i["port"]) for i in self.instances}
        self.wait("the instances do not all know each other", lambda: all(
            known(i) >= everybody for i in self.instances))

    def create(self):
        count = len(self.instances) // (1 + self.replicas)
        masters, others = self.instances[:count], self.instances[count:]
        self.change("created of %d masters and %d replicas" % (count, len(others)))
        bounds = [SLOTS * k // count for k in range(count + 1)]
        for k, master in enumerate(masters):
            self.cli(master, "cluster", "addslotsrange", bounds[k], bounds[k + 1] - 1)
        for epoch, instance in enumerate(self.instances, 1):
            self.cli(instance, "cluster", "set-config-epoch", epoch)
        self.meet(self.instances[0], self.instances[1:])
        for instance in others:
            self.replicate(instance)

    def replicate(self, instance):
        """Makes it a replica of the master on another machine that has the fewest."""
        self.wait("not every instance knows of every slot", lambda: all(
            self.info(i)["cluster_slots_assigned"] == str(SLOTS) for i in self.instances))
        nodes = self.nodes(instance)
        alive = [n for n in nodes if "fail" not in n["flags"] and "noaddr" not in n["flags"]]
        masters = [n for n in alive if n["slots"] and n["host"] != instance["host"]]
        if not masters:
            self.fail("no master on another machine than %s" % instance["host"])
        mine = self.id(instance)
        has = {m["id"]: sum(n["master"] == m["id"] for n in alive if n["id"] != mine)
               for m in masters}
        # Round the circle: the machine after the master's, so that each machine backs another one.
        order = [i["host"] for i in self.instances]
        distance = {m["id"]: (order.index(instance["host"]) - order.index(m["host"])) % len(order)
                    for m in masters}
        master = min(masters, key=lambda m: (has[m["id"]], distance[m["id"]]))
        self.cli(instance, "cluster", "replicate", master["id"])
        self.wait("the new replica is not known everywhere", lambda: all(
            n["master"] == master["id"] for i in self.instances for n in self.nodes(i) if n["id"] == mine))

    def join(self, empty):
        members = [i for i in self.instances if i not in empty]
        self.change("joined: " + ", ".join("%s:%s" % (i["address"], i["port"]) for i in empty))
        self.take_over(members)
        self.wait("the members do not serve every slot without the machine that was lost", lambda: all(
            self.info(i)["cluster_state"] == "ok" for i in members))
        self.meet(members[0], empty)
        for instance in empty:
            self.replicate(instance)
        lost = {n["id"] for n in self.nodes(members[0])
                if {"fail", "noaddr"} & set(n["flags"]) and not n["slots"]}
        for instance in self.instances:
            for node in lost & {n["id"] for n in self.nodes(instance)}:
                self.cli(instance, "cluster", "forget", node)

    def take_over(self, members):
        """A master that is back empty before its time was out counts as failed for nobody, as its address
        answers: its replica has to be told to take over."""
        nodes = self.nodes(members[0])
        for master in nodes:
            if not master["slots"] or "noaddr" not in master["flags"] or "fail" in master["flags"]:
                continue
            heir = next((n for n in nodes if n["master"] == master["id"] and n["instance"] in members), None)
            if not heir:
                self.fail("the slots %s have neither master nor replica any more" % " ".join(master["slots"]))
            self.cli(heir["instance"], "cluster", "failover", "takeover")
            self.wait("the replica does not take over", lambda heir=heir: any(
                n["slots"] for n in self.nodes(members[0]) if n["id"] == heir["id"]))

    def share(self):
        """Gives a master that has no replica one of those that have too many."""
        for _ in self.instances:
            nodes = [n for n in self.nodes(self.instances[0])
                     if n["instance"] and "fail" not in n["flags"]]
            has = {n["id"]: sum(m["master"] == n["id"] for m in nodes) for n in nodes if n["slots"]}
            lacks = [n for n in nodes if n["slots"] and has[n["id"]] < self.replicas]
            spare = [n for n in nodes if has.get(n["master"], 0) > self.replicas
                     and any(n["host"] != m["host"] for m in lacks)]
            if not spare:
                return
            self.change("%s:%s changes its master" % (spare[0]["host"], spare[0]["instance"]["port"]))
            self.replicate(spare[0]["instance"])

    def spread(self):
        """Moves masters until no machine has two while another has none."""
        for _ in self.instances:
            nodes = [n for n in self.nodes(self.instances[0]) if n["instance"]]
            holds = {i["host"]: 0 for i in self.instances}
            for node in nodes:
                holds[node["host"]] += bool(node["slots"])
            crowded = {n["id"] for n in nodes if n["slots"] and holds[n["host"]] > 1}
            heir = next((n for n in nodes if n["master"] in crowded and holds[n["host"]] == 0), None)
            if not heir:
                return
            self.change("%s:%s takes over as master" % (heir["host"], heir["instance"]["port"]))
            self.cli(heir["instance"], "cluster", "failover")
            # Everybody has to know it, and that the former master is its replica now.
            self.wait("the replica does not take over", lambda heir=heir: all(
                any(n["slots"] for n in nodes if n["id"] == heir["id"])
                and any(n["master"] == heir["id"] for n in nodes) for nodes in map(self.nodes, self.instances)))

    def settle(self):
        self.wait("cluster_state is not ok everywhere", lambda: all(
            self.info(i)["cluster_state"] == "ok" for i in self.instances))

        def fed():
            states = [self.info(i, "info replication") for i in self.instances]
            return all(s["role"] == "master" or s.get("master_link_status") == "up" for s in states)
        self.wait("a replica has no link to its master", fed)

    def judge(self):
        nodes = self.nodes(self.instances[0])
        for master in (n for n in nodes if n["slots"]):
            behind = [n for n in nodes if n["master"] == master["id"] and "fail" not in n["flags"]]
            if len(behind) < self.replicas:
                self.fail("the master on %s has %d replicas, not %d"
                          % (master["host"], len(behind), self.replicas))
            if all(n["host"] == master["host"] for n in behind):
                self.fail("the master on %s has its replica on the same machine" % master["host"])
        return nodes


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "instances": {"type": "list", "elements": "dict", "required": True},
        "replicas": {"type": "int", "default": 1},
        "user": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "ca": {"type": "str"},
        "patience": {"type": "int", "default": 180},
    })
    if module.check_mode and not module.get_bin_path("redis-cli"):
        module.exit_json(changed=True, changes=["created, once Redis is installed"])
    cluster = Cluster(module)
    empty = [i for i in cluster.instances if cluster.empty(i)]
    if len(empty) == len(cluster.instances):
        cluster.create()
    elif empty:
        cluster.join(empty)
    cluster.settle()
    cluster.share()
    cluster.spread()
    cluster.settle()
    nodes = cluster.judge()
    module.exit_json(changed=bool(cluster.changes), changes=cluster.changes,
                     masters=sorted(n["host"] for n in nodes if n["slots"]))


if __name__ == "__main__":
    main()
