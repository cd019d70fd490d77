#!/usr/bin/python3
"""Holds together what an operator sees: metrics, alerts, runbook, dashboards.

- Every metric of src/admin/metric.def stands in docs/operating.md, by the name of its samples.
- Every alert has a section in the runbook there, of the same severity, which its runbook_url names; a test
  in deploy/prometheus/tests; and every section has an alert.
- Rules and dashboards ask for metrics that exist.

Prints what does not hold; exit status 1 then.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
SUFFIXES = {"COUNTER": ["_total"], "GAUGE": [""], "INFO": ["_info"], "SUMMARY": ["_sum", "_count"],
            "HISTOGRAM": ["_bucket", "_sum", "_count"], "GAUGE_HISTOGRAM": ["_bucket", "_sum", "_count"]}
RUNBOOKS = "{{ $externalLabels.runbooks }}"     # where docs/ can be read: prometheus.yml
# Not a name with a colon in it: that is what a rule records.
EXPORTED = re.compile(r"(?<![\w:])(?:isobar|wmo_wis2|process)_\w+(?![\w:]*:)")


def read(*path):
    return ROOT.joinpath(*path).read_text(encoding="utf-8")


def metrics():
    """{family: kind}"""
    rows = re.findall(r'^X\(\w+, "(\w+)", (\w+),', read("src", "admin", "metric.def"), re.M)
    return dict(rows)


def undocumented(families):
    words = set(re.findall(r"`(\w+)(?:\{[^`]*\})?`", read("docs", "operating.md")))
    for family, kind in families.items():
        shown = family + (SUFFIXES[kind][0] if kind in ("COUNTER", "INFO") else "")
        if shown not in words:
            yield f"docs/operating.md: {shown} of metric.def is not explained"


def alerts():
    """{name: text of the rule}"""
    found = {}
    for path in sorted((DEPLOY / "prometheus/rules").glob("*.yml")):
        for text in path.read_text(encoding="utf-8").split("- alert: ")[1:]:
            found[text.split("\n", 1)[0]] = text
    return found


def runbook():
    """{name of the section: its severity}"""
    text = re.search(r"^## Runbook\n(.*?)^## ", read("docs", "operating.md"), re.M | re.S)[1]
    return dict(re.findall(r"^### (\w+)\n\n\*(\w+)\.\*", text, re.M)) | {
        name: "" for name in re.findall(r"^### (\w+)\n\n(?!\*\w+\.\*)", text, re.M)}


def alert_faults():
    tests = "".join(p.read_text(encoding="utf-8")
                    for p in sorted((DEPLOY / "prometheus/tests").glob("*_test.yml")))
    sections, rules = runbook(), alerts()
    for name in sorted(sections.keys() - rules.keys()):
        yield f"docs/operating.md: runbook section {name} has no alert"
    for name, text in rules.items():
        severity = re.search(r"severity: (\w+)", text)
        if name not in sections:
            yield f"docs/operating.md: the runbook has no section for {name}"
        elif severity is None or sections[name] != severity[1]:
            yield f"docs/operating.md: section {name} does not begin with the alert's severity"
        if f"runbook_url: '{RUNBOOKS}docs/operating.md#{name.lower()}'\n" not in text:
            yield f"{name}: runbook_url is not '{RUNBOOKS}docs/operating.md#{name.lower()}'"
        for key in ("summary: ", "description: "):
            if key not in text:
                yield f"{name}: has no {key.strip(': ')}"
        if not re.search(rf'alertname=~?"[^"]*{name}"|alertname: {name}\n', tests):
            yield f"deploy/prometheus/tests: nothing tests {name}"


def unknown(families):
    """Series that rules or dashboards name and Isobar does not show."""
    shown = {family + suffix for family, kind in families.items() for suffix in SUFFIXES[kind]}
    files = sorted((DEPLOY / "prometheus").glob("*/*.yml")) + sorted((DEPLOY / "grafana").glob("*/*.json"))
    for path in files:
        text = re.sub(r"#.*|\bname: .*|\bgroup_eval_order: .*", "", path.read_text(encoding="utf-8"))
        for name in sorted(set(EXPORTED.findall(text)) - shown):
            yield f"{path.relative_to(ROOT)}: {name} is no metric of metric.def"


def main():
    families = metrics()
    faults = [*undocumented(families), *alert_faults(), *unknown(families)]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
