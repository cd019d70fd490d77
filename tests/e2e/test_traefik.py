"""deploy/traefik cannot be run here: the files are held against a schema of the part of Traefik 3's configuration that
they use (nothing else may stand in them), and every name and port in them has its other end."""
import copy
import glob
import os
import re

import jsonschema
import pytest
import yaml

from harness.haproxy import DEPLOY
from harness.isobar import isobar

HERE = os.path.join(DEPLOY, "traefik")
DYNAMIC = sorted(glob.glob(os.path.join(HERE, "dynamic", "*.yaml")))
BY_ADDRESS = os.path.join(HERE, "wss-by-address.yaml")


def load(path):
    with open(os.path.join(HERE, path), encoding="utf-8") as f:
        return yaml.safe_load(f)


# --- the schema: facts of doc.traefik.io, as far as they are needed ----------------


def table(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required),
            "additionalProperties": False}


def named(schema):
    """{name: ...} of the operator's choice."""
    return {"type": "object", "minProperties": 1, "additionalProperties": schema,
            "propertyNames": {"pattern": "^[a-z][a-z0-9-]*$"}}


def listed(schema):
    return {"type": "array", "items": schema, "minItems": 1}


TEXT = {"type": "string", "minLength": 1}
FLAG = {"type": "boolean"}
NUMBER = {"type": "integer", "minimum": 0}
DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}
ADDRESS = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+){3})?:[0-9]+$"}
URL = {"type": "string", "pattern": r"^http://[0-9]+(\.[0-9]+){3}:[0-9]+$"}
HTTP_RULE = {"type": "string", "pattern": r"^!?(Host|Path|PathPrefix)\(`[^`]+`\)"
                                          r"( && !?(Host|Path|PathPrefix)\(`[^`]+`\))*$"}
TCP_RULE = {"type": "string", "pattern": r"^HostSNI\(`(\*|[a-z0-9.-]+)`\)$"}

ACME = {"email": TEXT, "storage": {"type": "string", "pattern": r"^/.*\.json$"}}
STATIC = table(
    ["entryPoints", "providers", "certificatesResolvers"],
    entryPoints=named(table(["address"], address=ADDRESS, http=table(redirections=table(
        entryPoint=table(["to"], to=TEXT, scheme={"enum": ["https"]}))))),
    providers=table(file=table(["directory"], directory=TEXT, watch=FLAG)),
    certificatesResolvers=named(table(["acme"], acme={"oneOf": [
        table(["email", "storage", "httpChallenge"], **ACME, httpChallenge=table(["entryPoint"], entryPoint=TEXT)),
        table(["email", "storage", "dnsChallenge"], **ACME, dnsChallenge=table(["provider"], provider=TEXT))]})),
    metrics=table(prometheus=table(entryPoint=TEXT, addEntryPointsLabels=FLAG, addRoutersLabels=FLAG,
                                   addServicesLabels=FLAG)),
    ping=table(entryPoint=TEXT),
    log=table(level={"enum": ["DEBUG", "INFO", "WARN", "ERROR"]}),
    accessLog=table())

ROUTER_TLS = table(["certResolver"], certResolver=TEXT, options=TEXT,
                   domains=listed(table(["main"], main=TEXT, sans=listed(TEXT))))
ROUTER = {"entryPoints": listed(TEXT), "service": TEXT, "middlewares": listed(TEXT), "priority": NUMBER,
          "tls": ROUTER_TLS}
HEALTH = {"interval": DURATION, "timeout": DURATION}
DYNAMIC_SCHEMA = table(
    http=table(
        ["routers", "services"],
        routers=named(table(["entryPoints", "rule", "service"], rule=HTTP_RULE, **ROUTER)),
        middlewares=named({"oneOf": [
            table(["inFlightReq"], inFlightReq=table(["amount"], amount=NUMBER, sourceCriterion=table(
                ipStrategy=table(depth=NUMBER)))),
            table(["ipAllowList"], ipAllowList=table(["sourceRange"], sourceRange=listed(TEXT))),
            table(["replacePath"], replacePath=table(["path"], path=TEXT))]}),
        services=named(table(["loadBalancer"], loadBalancer=table(
            ["servers"], servers=listed(table(["url"], url=URL)),
            healthCheck=table(["path"], path=TEXT, **HEALTH))))),
    tcp=table(
        ["routers", "services"],
        routers=named(table(["entryPoints", "rule", "service"], rule=TCP_RULE, **ROUTER)),
        middlewares=named(table(["inFlightConn"], inFlightConn=table(["amount"], amount=NUMBER))),
        services=named(table(["loadBalancer"], loadBalancer=table(
            ["servers"], servers=listed(table(["address"], address=ADDRESS)), healthCheck=table(**HEALTH),
            proxyProtocol=table(["version"], version={"enum": [1, 2]}))))),
    tls=table(options=named(table(minVersion={"enum": ["VersionTLS12", "VersionTLS13"]},
                                  alpnProtocols=listed(TEXT)))))


def faults(schema, document):
    return [f"{list(e.absolute_path)}: {e.message}"
            for e in jsonschema.Draft7Validator(schema).iter_errors(document)]


def test_the_static_file_fits_the_schema():
    assert faults(STATIC, load("traefik.yaml")) == []


@pytest.mark.parametrize("path", [*DYNAMIC, BY_ADDRESS], ids=os.path.basename)
def test_each_dynamic_file_fits_the_schema(path):
    assert faults(DYNAMIC_SCHEMA, load(path)) == []


def test_the_schema_finds_slips():
    for path, change in [("dynamic/mqtts.yaml", lambda d: d["tcp"]["services"]["mqtts"]["loadBalancer"].update(
                              proxyprotocol={"version": 2})),
                         ("dynamic/mqtts.yaml", lambda d: d["tcp"]["routers"]["mqtts"].update(rule="HostSNI(*)")),
                         ("dynamic/wss.yaml", lambda d: d["http"]["routers"]["wss"].pop("service")),
                         ("dynamic/metrics.yaml", lambda d: d.update(udp={}))]:
        document = copy.deepcopy(load(path))
        change(document)
        assert faults(DYNAMIC_SCHEMA, document), path


# --- names and ports --------------------------------------------------------------


@pytest.mark.parametrize("paths", [DYNAMIC, [*[p for p in DYNAMIC if not p.endswith("/wss.yaml")], BY_ADDRESS]],
                         ids=["as it is", "by address"])
def test_every_name_has_its_other_end(paths):
    static = load("traefik.yaml")
    entry_points, resolvers = static["entryPoints"], static["certificatesResolvers"]
    documents = [load(path) for path in paths]
    options = {name for d in documents for name in d.get("tls", {}).get("options", {})}
    used = set()
    for kind in ("http", "tcp"):
        parts = [d[kind] for d in documents if kind in d]
        services = {name for p in parts for name in p["services"]}
        middlewares = [name for p in parts for name in p.get("middlewares", {})]
        routers = [(name, router) for p in parts for name, router in p["routers"].items()]
        assert len(set(middlewares)) == len(middlewares)
        assert len({name for name, _ in routers}) == len(routers)
        assert {router["service"] for _, router in routers} == services
        assert {m for _, router in routers for m in router.get("middlewares", [])} == set(middlewares)
        for _, router in routers:
            assert set(router["entryPoints"]) <= set(entry_points)
            used |= set(router["entryPoints"])
            if "tls" in router:
                assert router["tls"]["certResolver"] in resolvers
                assert router["tls"].get("options", next(iter(options))) in options
            if router["rule"] == "HostSNI(`*`)":        # ACME cannot tell a name from it
                assert router["tls"]["domains"]
    assert used == set(entry_points) - {"web"}
    assert entry_points["web"]["http"]["redirections"]["entryPoint"]["to"] == "websecure"
    challenges = {next(k for k in r["acme"] if k.endswith("Challenge")) for r in resolvers.values()}
    assert challenges == {"httpChallenge", "dnsChallenge"}
    assert load("dynamic/wss.yaml")["http"]["routers"]["wss"]["rule"].endswith("Path(`/mqtt`)")


def test_every_server_is_a_listener_of_the_right_kind():
    marked = {}
    for row in load("isobar.yaml")["listeners"]:
        url, networks = (row, None) if isinstance(row, str) else (row["url"], row["proxy_protocol_from"])
        scheme, port = re.fullmatch(r"(\w+)://10\.0\.0\.21:(\d+)", url).groups()
        marked[port] = (scheme, networks is not None)
    seen = set()
    for path in [*DYNAMIC, BY_ADDRESS]:
        document = load(path)
        for kind in ("http", "tcp"):
            for name, service in document.get(kind, {}).get("services", {}).items():
                balancer = service["loadBalancer"]
                for server in balancer["servers"]:
                    port = server.get("address", server.get("url")).rsplit(":", 1)[1]
                    scheme, proxied = marked[port]
                    assert proxied == ("proxyProtocol" in balancer), (path, name)
                    assert scheme == ("mqtt" if name == "mqtts" else "http"), (path, name)
                    seen.add(port)
    assert seen == set(marked)


def test_isobar_takes_its_part(tmp_path):
    path = os.path.join(tmp_path, "isobar.yaml")
    with open(path, "w", encoding="utf-8") as f:
        yaml.safe_dump({**load("isobar.yaml"), "data_dir": str(tmp_path)}, f)
    checked = isobar("check", "-c", path)
    assert checked.returncode == 0, checked.stdout
