"""The manifests of deploy/kubernetes: by the schemas, against each other, and run as a kubelet would.

The schemas are those of Kubernetes' own API description, as types: each manifest becomes a value of
its type, and a compiler judges it, unknown and missing keys included. No cluster is there to apply
them to; the pod is run by Docker with what its manifest says, mounts, user, probes and end.
"""
import glob
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request

import pytest
import yaml
from containers import BUILD, HERE, ROOT, Container, Volume, inspect, run, version

from harness.certificates import Authority
from harness.process import wait_until

FOLDER = os.path.join(ROOT, "deploy/kubernetes")
TYPES = {"monitoring.coreos.com": "@kubernetes-models/prometheus-operator"}
NODE = os.path.join(BUILD, "kubernetes")


def load(*paths):
    docs = []
    for path in paths:
        with open(path, encoding="utf-8") as f:
            docs += [doc for doc in yaml.safe_load_all(f) if doc]
    return docs


def manifests():
    """Every resource that a kustomization names, as (file, document)."""
    for kustomization in sorted(glob.glob(f"{FOLDER}/*/kustomization.yaml")):
        folder = os.path.dirname(kustomization)
        for name in load(kustomization)[0]["resources"]:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                yield from ((path, doc) for doc in load(path))


def of_kind(kind, name=None):
    found = [doc for _, doc in manifests()
             if doc["kind"] == kind and name in (None, doc["metadata"]["name"])]
    assert found, (kind, name)
    return found[0] if name else found


# --- schemas


@pytest.fixture(scope="session")
def judge():
    """judge({name: document}): the faults found, as text."""
    os.makedirs(NODE, exist_ok=True)
    lock = "package-lock.json"
    for name in ("package.json", lock):
        shutil.copy(os.path.join(HERE, "kubernetes", name), NODE)
    run("npm", "ci", "--prefix", NODE, "--ignore-scripts", "--prefer-offline", "--no-audit",
        "--no-fund")

    def find(documents):
        with tempfile.TemporaryDirectory(dir=NODE) as folder:
            for name, doc in documents.items():
                group = doc["apiVersion"].split("/")[0]
                package = TYPES.get(group, "kubernetes-models")
                where = f"{package}/{doc['apiVersion']}/{doc['kind']}"
                text = json.dumps(doc, indent=1)
                with open(f"{folder}/{name}.ts", "w", encoding="utf-8") as f:
                    f.write(f'import {{ I{doc["kind"]} }} from "{where}";\n'
                            f'export const manifest: I{doc["kind"]} = {text};\n')
            done = subprocess.run(
                [f"{NODE}/node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck",
                 "--module", "nodenext", "--moduleResolution", "nodenext",
                 *glob.glob(f"{folder}/*.ts")], capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == (done.stdout == ""), done.stdout + done.stderr
        return done.stdout
    return find


def test_every_manifest_is_of_its_schema(judge):
    documents = {f"{os.path.basename(path)}-{doc['kind']}-{number}".replace(".", "-"): doc
                 for number, (path, doc) in enumerate(manifests())}
    assert len(documents) >= 7
    assert judge(documents) == ""


def change(doc, path, value):
    """A copy with another value there; None: without it."""
    changed = json.loads(json.dumps(doc))
    at = changed
    for step in path[:-1]:
        at = at[step]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return changed


def test_what_is_not_of_the_schema_is_found(judge):
    pod = ["spec", "template", "spec"]
    container = pod + ["containers", 0]
    faults = {
        "unknown-key": change(of_kind("StatefulSet", "isobar"), pod + ["securityContexts"], {}),
        "wrong-type": change(of_kind("StatefulSet", "isobar"), ["spec", "replicas"], "three"),
        "missing-key": change(of_kind("StatefulSet", "isobar"), ["spec", "selector"], None),
        "unknown-deep": change(of_kind("StatefulSet", "isobar"),
                               container + ["readinessProbe", "httpGet", "pfad"], "/"),
        "wrong-choice": change(of_kind("PodDisruptionBudget", "isobar"), ["apiVersion"], "v1"),
        "service-port": change(of_kind("Service", "isobar"), ["spec", "ports", 0, "port"], None),
        "monitor": change(of_kind("ServiceMonitor", "isobar"), ["spec", "endpoints", 0, "ports"], 1),
    }
    found = judge(faults)
    for name in faults:
        assert f"{name}.ts(" in found, (name, found)


def test_kustomize_builds_what_is_named(tmp_path, judge):
    """By kubectl where there is one; the lists of files hold without."""
    for path in glob.glob(f"{FOLDER}/*/*.yaml"):
        name, text = os.path.basename(path), open(
            os.path.join(os.path.dirname(path), "kustomization.yaml"), encoding="utf-8").read()
        assert name == "kustomization.yaml" or name in text, path
    if shutil.which("kubectl") is None:
        print("\nno kubectl here: kustomizations are checked by their lists only")
        return
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [kubernetes/cluster]\ncomponents: [kubernetes/monitoring]\n", encoding="ascii")
    built = {doc["kind"] + "-" + doc["metadata"]["name"]: doc
             for doc in yaml.safe_load_all(run("kubectl", "kustomize", tmp_path))}
    assert judge(built) == ""
    assert built["StatefulSet-isobar"]["spec"]["replicas"] == 3
    assert all(doc["metadata"]["namespace"] == "isobar" for doc in built.values())
    config = built["StatefulSet-isobar"]["spec"]["template"]["spec"]["volumes"]
    name = next(v for v in config if v["name"] == "etc")["projected"]["sources"][0]["configMap"]["name"]
    assert "ConfigMap-" + name in built
    assert {"port": 6379} in built["NetworkPolicy-isobar"]["spec"]["egress"][-1]["ports"]


# --- against each other


def test_the_image_is_of_this_version():
    image = load(f"{FOLDER}/base/kustomization.yaml")[0]["images"][0]
    assert image["name"] == pod_spec()["containers"][0]["image"]
    assert image["newTag"] == version()


def pod_spec():
    return of_kind("StatefulSet", "isobar")["spec"]["template"]["spec"]


def pod_labels():
    return of_kind("StatefulSet", "isobar")["spec"]["template"]["metadata"]["labels"]


def is_in(selector, labels):
    return selector.items() <= labels.items()


def test_selectors_select_and_ports_are_there():
    stateful = of_kind("StatefulSet", "isobar")["spec"]
    labels = pod_labels()
    ports = {port["name"] for port in pod_spec()["containers"][0]["ports"]}
    assert is_in(stateful["selector"]["matchLabels"], labels)
    assert of_kind("Service", stateful["serviceName"])["spec"]["clusterIP"] == "None"
    for service in of_kind("Service"):
        assert is_in(service["spec"]["selector"], labels)
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for budget in of_kind("PodDisruptionBudget"):
        assert is_in(budget["spec"]["selector"]["matchLabels"], labels)
    for policy in of_kind("NetworkPolicy"):
        assert is_in(policy["spec"]["podSelector"]["matchLabels"], labels)
        assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} <= ports
    for spread in pod_spec()["topologySpreadConstraints"]:
        assert is_in(spread["labelSelector"]["matchLabels"], labels)
    monitor = of_kind("ServiceMonitor", "isobar")["spec"]
    nodes = of_kind("Service", "isobar-nodes")
    assert is_in(monitor["selector"]["matchLabels"], nodes["metadata"]["labels"])
    assert not is_in(monitor["selector"]["matchLabels"],        # each node is scraped once
                     of_kind("Service", "isobar")["metadata"]["labels"])
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in nodes["spec"]["ports"]}
    assert nodes["metadata"]["labels"][monitor["jobLabel"]] == "isobar"


def test_the_pod_is_restricted_as_pod_security_says():
    """The profile `restricted` of the Pod Security Standards."""
    pod = pod_spec()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    for volume in pod["volumes"]:
        assert volume.keys() & {"secret", "projected", "configMap", "emptyDir"}, volume
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert "privileged" not in context
        assert not any("hostPort" in port for port in container["ports"])


# --- run


class Pod:
    """What a kubelet makes of the manifest, with Docker."""

    def __init__(self, image, keep, folder, settings):
        spec = pod_spec()
        container = spec["containers"][0]
        context = {**spec["securityContext"], **container["securityContext"]}
        self.grace = spec["terminationGracePeriodSeconds"]
        self.container_spec = container
        options = ["--user", f"{context['runAsUser']}:{context['runAsGroup']}", "--hostname",
                   "isobar-0", "--memory", "4g", "--ulimit", "nofile=20000", "--no-healthcheck"]
        options += ["--read-only"] * context["readOnlyRootFilesystem"]
        options += ["--security-opt", "no-new-privileges"] * (not context["allowPrivilegeEscalation"])
        for capability in context["capabilities"]["drop"]:
            options += ["--cap-drop", capability]
        for port in container["ports"]:
            options += ["-p", f"127.0.0.1::{port['containerPort']}"]
        sources = {volume["name"]: volume for volume in spec["volumes"]}
        for mount in container["volumeMounts"]:
            source = sources.get(mount["name"])
            if source is None:              # of a volumeClaimTemplate
                what = keep(Volume()).name
            else:
                what = f"{folder}/{mount['name']}"
                self._fill(what, source, settings)
            options += ["-v", f"{what}:{mount['mountPath']}" + ":ro" * mount.get("readOnly", False)]
        self.container = keep(Container(image, *container.get("args", []), options=options))
        self.ports = {port["name"]: self.container.port(port["containerPort"])
                      for port in container["ports"]}

    @staticmethod
    def _fill(folder, volume, settings):
        """Files of its secrets and maps, of root and the pod's group, as fsGroup has it."""
        mode = (volume.get("secret") or volume.get("projected"))["defaultMode"]
        os.makedirs(folder, mode=0o750)
        parts = volume.get("projected", {}).get("sources") or [volume]
        for part in parts:
            name = part.get("configMap", part.get("secret", {}))
            for key, text in settings.get(name.get("name") or name.get("secretName"), {}).items():
                path = os.path.join(folder, key)
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
                os.chmod(path, mode)
                os.chown(path, 0, 10001)
        os.chown(folder, 0, 10001)

    def probe(self, kind):
        """The status that a kubelet sees."""
        get = self.container_spec[kind]["httpGet"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[get['port']]}{get['path']}",
                                        timeout=self.container_spec[kind]["timeoutSeconds"]) as answer:
                return answer.status
        except OSError as refusal:
            return getattr(refusal, "code", 0)


def test_the_pod_starts_is_probed_and_ends_as_its_manifest_says(images, keep, tmp_path):
    if os.geteuid() != 0:
        pytest.fail("files of another user's are to be made: run this as root")
    certificate = Authority(tmp_path).issue("isobar")
    with open(f"{FOLDER}/base/isobar.yaml", encoding="ascii") as f:
        config = f.read()
    pod = Pod(images.get("isobar"), keep, tmp_path, {
        "isobar-config": {"isobar.yaml": config},
        "isobar-tls": {"tls.crt": open(certificate.certificate, encoding="ascii").read(),
                       "tls.key": open(certificate.key, encoding="ascii").read()},
        "isobar-sources": {"dwd.yaml": "centre_id: de-dwd\nurl: mqtt://192.0.2.1:1883\n"},
    })
    for kind in "startupProbe", "livenessProbe", "readinessProbe":
        wait_until(lambda: pod.probe(kind) == 200, 30, lambda: kind + pod.container.log())
    assert "sources: 1 (1 enabled)" in pod.container.exec("isobar", "check")
    assert set(re.findall(r"^listener: (\w+)", pod.container.exec("isobar", "check"), re.M)) == set(
        pod.ports)
    began = time.monotonic()
    pod.container.exec(*pod.container_spec["lifecycle"]["preStop"]["exec"]["command"])
    assert pod.probe("readinessProbe") == 200       # it serves until the signal
    assert pod.container.stop(pod.grace) == 0
    assert time.monotonic() - began < pod.grace / 2
    assert inspect("container", pod.container.name)["State"]["OOMKilled"] is False


def test_a_node_of_the_cluster_differs_by_its_redis_only():
    base, cluster = (read_config(name) for name in ("base", "cluster"))
    assert cluster.pop("cluster") == {"redis": ["/run/secrets/redis/url"]}
    assert cluster == base
    mounted = load(f"{FOLDER}/cluster/redis.yaml")[0]["spec"]["template"]["spec"]
    assert mounted["containers"][0]["volumeMounts"][0]["mountPath"] == "/run/secrets/redis"


def read_config(name):
    class Loader(yaml.SafeLoader):
        """With Isobar's own tag."""
    Loader.add_constructor("!file", lambda loader, node: loader.construct_scalar(node))
    with open(f"{FOLDER}/{name}/isobar.yaml", encoding="ascii") as f:
        return yaml.load(f, Loader)
