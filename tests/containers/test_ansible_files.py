"""What the roles of deploy/ansible write, for inventories that no set of machines here has: TLS that ends at the load
balancer, Traefik, a load balancer of one's own, IPv6. The files are written into a folder; the program each is for
judges it, and for Traefik, which cannot be had, the schema of tests/e2e/test_traefik.py. No container is needed.
"""
import getpass
import glob
import json
import os
import re
import subprocess

import pytest
import yaml
from lab import PLAYBOOKS

from harness.certificates import Authority
from harness.haproxy import DEPLOY
from harness.isobar import isobar
from test_traefik import DYNAMIC_SCHEMA, STATIC, faults

ROLES = os.path.join(PLAYBOOKS, "roles")
# Of which roles, and what; a role's variables are seen without its tasks being run.
FILES = {"isobar.yaml": "isobar/templates/isobar.yaml.j2", "nftables.conf": "firewall/templates/nftables.conf.j2",
         "prometheus.yml": "prometheus/templates/prometheus.yml.j2"}
OF_BALANCER = {"haproxy.cfg": "haproxy/templates/haproxy.cfg.j2", "keepalived.conf": "keepalived/templates/keepalived.conf.j2"}
OF_TRAEFIK = ["traefik.yaml", "dynamic/mqtts.yaml", "wss-by-address.yaml"]
SIX = {"gb01": "2001:db8::1", "gb02": "2001:db8::2", "gb03": "2001:db8::3"}
ENDS_THERE = {"layout_tls_ends_at_balancer": True, "certificates_email": "operator@example.org"}
WRITTEN_FOR = "gb01,wbroker01,waloop01"     # one machine of each kind
# layout, variables, whether the group balancer is left out
CASES = {
    "one": ("one", {}, False),
    "passed through": ("three", {"layout_shared_address6": "2001:db8::10", "firewall_admin_from": ["192.0.2.0/24"]}, False),
    "TLS ends at HAProxy": ("three", ENDS_THERE, False),
    "TLS ends at Traefik": ("three", {**ENDS_THERE, "layout_balancer": "traefik", "traefik_resolver": "dns01"}, False),
    "a balancer of one's own": ("seven", {"layout_outer_balancers": ["192.168.0.20", "192.168.0.21"],
                                          "firewall_outgoing": True}, True),
    "addresses of IPv6": ("three", {"layout_shared_address": "", "layout_redis_tls": True, "redis_cluster_acl": True,
                                    "vault_redis_password": "s3cret/of+Redis"}, False),
}


def template(source, name, **variables):
    return {"name": name, "ansible.builtin.template": {
        "src": os.path.join(ROLES, source), "dest": "{{ out }}/{{ inventory_hostname }}/" + name}, "vars": variables}


def playbook():
    """Not a role is run but `layout`."""
    roles = ["certificates", "redis_cluster", "firewall", "prometheus", "haproxy", "keepalived", "traefik", "isobar"]
    tasks = [{"name": "layout", "ansible.builtin.import_role": {"name": "layout"}}]
    tasks += [{"name": role, "ansible.builtin.import_role": {"name": role}, "tags": ["never"]} for role in roles]
    tasks += [{"name": "folder", "ansible.builtin.file": {"path": "{{ out }}/{{ inventory_hostname }}", "state": "directory"}}]
    tasks += [template(source, name) for name, source in FILES.items()]
    for name, source in OF_BALANCER.items():
        tasks.append({**template(source, name), "when": "inventory_hostname in layout_balancers"})
    for file in OF_TRAEFIK:
        tasks.append({**template("traefik/templates/traefik.j2", "traefik-" + os.path.basename(file), traefik_file=file),
                      "when": "layout_balancer == 'traefik'"})
    return [{"hosts": "all", "connection": "local", "gather_facts": False, "tasks": tasks}]


class Written:
    """The files of one case: {machine: {file: text}}."""

    def __init__(self, case, folder):
        layout, variables, alone = CASES[case]
        with open(os.path.join(PLAYBOOKS, "inventories", layout + ".yml"), encoding="utf-8") as f:
            rows = yaml.safe_load(f)
        if alone:
            del rows["balancer"]
        self.addresses = {}
        for name, row in [*rows["all"].get("hosts", {}).items(), *((n, r) for g in rows.values()
                                                                   for n, r in g.get("hosts", {}).items() if r)]:
            if case == "addresses of IPv6":
                row["ansible_host"] = SIX[name]
            self.addresses[name] = row.get("isobar_address", row.get("ansible_host"))
        rows["all"]["vars"].update(variables)
        self.folder = os.path.join(str(folder), "out")
        inventory, book = os.path.join(str(folder), "inventory.yml"), os.path.join(str(folder), "book.yml")
        with open(inventory, "w", encoding="utf-8") as f:
            yaml.safe_dump(rows, f)
        with open(book, "w", encoding="utf-8") as f:
            yaml.safe_dump(playbook(), f, sort_keys=False)
        done = subprocess.run(
            ["ansible-playbook", "-i", inventory, book, "--limit", WRITTEN_FOR, "-e", json.dumps({
                "out": self.folder, "ansible_become": False, "keepalived_file": f"{DEPLOY}/keepalived/keepalived.conf",
                **{f"{name}_files": f"{DEPLOY}/{name}" for name in ("haproxy", "prometheus", "traefik")}})],
            text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_ROLES_PATH": ROLES})
        assert done.returncode == 0, done.stdout[-4000:]
        self.files = {}
        for path in glob.glob(os.path.join(self.folder, "*", "*")):
            with open(path, encoding="utf-8") as f:
                self.files.setdefault(os.path.basename(os.path.dirname(path)), {})[os.path.basename(path)] = f.read()

    def each(self, name):
        found = {machine: files[name] for machine, files in self.files.items() if name in files}
        assert found, name
        return found


@pytest.fixture(scope="module", params=CASES)
def written(request, tmp_path_factory):
    made = Written(request.param, tmp_path_factory.mktemp("case"))
    made.case = request.param
    return made


@pytest.fixture(scope="module")
def leaf(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority")).issue("gb.example.org", names="DNS:gb.example.org")


def save(folder, name, text):
    path = os.path.join(str(folder), name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def judge(*argv):
    done = subprocess.run(argv, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


def test_isobar_takes_its_configuration(written, leaf, tmp_path):
    sources = tmp_path / "sources.d"
    sources.mkdir()
    for machine, text in written.each("isobar.yaml").items():
        made = yaml.safe_load(text)
        assert ("cluster" in made) == (written.case != "one")
        made.update({"data_dir": str(tmp_path), "sources": str(sources)})
        if "tls" in made:
            made["tls"] = {"certificate": leaf.certificate, "key": leaf.key}
        if "cluster" in made and made["cluster"]["tls"]["ca"] != "system":
            made["cluster"]["tls"]["ca"] = leaf.certificate
        checked = isobar("check", "-c", save(tmp_path, machine + ".yaml", yaml.safe_dump(made)))
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_nftables_takes_the_rules(written):
    for machine in written.each("nftables.conf"):
        judge("unshare", "-n", "nft", "-c", "-f", os.path.join(written.folder, machine, "nftables.conf"))


def test_prometheus_takes_its_configuration(written):
    for machine in written.each("prometheus.yml"):
        judge("promtool", "check", "config", "--syntax-only", os.path.join(written.folder, machine, "prometheus.yml"))


def test_haproxy_takes_its_configuration_and_knows_every_broker(written, leaf, tmp_path):
    if written.case in ("one", "a balancer of one's own"):
        assert not any("haproxy.cfg" in files for files in written.files.values())
        return
    with open(leaf.certificate, encoding="ascii") as c, open(leaf.key, encoding="ascii") as k:
        pem = save(tmp_path, "leaf.pem", c.read() + k.read())
    for machine, text in written.each("haproxy.cfg").items():
        text = text.replace(" crt /etc/haproxy/certs ", f" crt {pem} ").replace(
            "    chroot /var/lib/haproxy\n", "").replace("    user haproxy\n    group haproxy\n", "")
        judge("haproxy", "-c", "-f", save(tmp_path, machine + ".cfg", text), "-L", machine)
        ports = {port for name, address, port in re.findall(r"^    server (\S+) (\S+):(\d+)$", text, re.M)}
        assert ports == ({"1884", "8081"} if "ends at" in written.case else {"18883", "18443"})
        for name, address in written.addresses.items():
            shown = f"[{address}]" if ":" in address else address
            assert len(re.findall(rf"^    server {name} {re.escape(shown)}:", text, re.M)) == 2


def test_keepalived_takes_its_configuration(written, tmp_path):
    for machine, files in written.files.items():
        if "keepalived.conf" not in files or written.case == "addresses of IPv6":   # which has no shared address
            continue
        text = files["keepalived.conf"]
        assert ("2001:db8::10/128" in text) == (written.case == "passed through")
        assert ("/ping" in text) == (written.case == "TLS ends at Traefik")
        judge("keepalived", f"--config-test={save(tmp_path, 'log', '')}", "-f", save(tmp_path, machine, text.replace(
            "script_user nobody nogroup", f"script_user {getpass.getuser()}")))


def test_traefik_takes_its_configuration_as_far_as_the_schema_tells(written):
    if written.case != "TLS ends at Traefik":
        assert not any(name.startswith("traefik-") for files in written.files.values() for name in files)
        return
    for machine, text in written.each("traefik-traefik.yaml").items():
        static = yaml.safe_load(text)
        assert faults(STATIC, static) == []
        assert static["entryPoints"]["metrics"]["address"] == f"{written.addresses[machine]}:8404"
        assert {r["acme"]["email"] for r in static["certificatesResolvers"].values()} == {"operator@example.org"}
        for name, port in (("mqtts", 1884), ("wss-by-address", 8081)):
            dynamic = yaml.safe_load(written.files[machine][f"traefik-{name}.yaml"])
            assert faults(DYNAMIC_SCHEMA, dynamic) == []
            service = next(iter(dynamic["tcp"]["services"].values()))["loadBalancer"]
            assert [s["address"] for s in service["servers"]] == [f"{a}:{port}" for a in written.addresses.values()]
            tls = next(iter(dynamic["tcp"]["routers"].values()))["tls"]
            assert tls["certResolver"] == "dns01" and "gb.example.org" not in text
