"""Reads Prometheus text 0.0.4 and OpenMetrics text 1.0.0 strictly: what a scraper might forgive,
this does not. Sources: Prometheus exposition formats; OpenMetrics 1.0.0; MON-06, MON-07."""
import re

PROMETHEUS = "text/plain; version=0.0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(rf"^({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)?\}})? (\S+)$")
_SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "summary": ("", "_sum", "_count"),
    "info": ("_info",),
    "unknown": ("",),
}


class Metrics:
    def __init__(self):
        self.types = {}      # family -> type
        self.helps = {}      # family -> text
        self.samples = {}    # (name, frozenset of labels) -> value
        self.order = []

    def value(self, name, default=None, **labels):
        """The one series of this name whose labels include these; their sum when several do."""
        found = [v for (n, have), v in self.samples.items()
                 if n == name and set(labels.items()) <= set(have)]
        return sum(found) if found else default

    def series(self, name):
        """[(labels, value)] of a name."""
        return [(dict(have), v) for (n, have), v in self.samples.items() if n == name]


def _labels(text):
    pairs = re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"', text or "")
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names), f"label twice: {text}"
    unescape = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
    return frozenset((name, re.sub(r'\\["\\n]', lambda m: unescape[m[0]], value))
                     for name, value in pairs)


def _number(text):
    assert re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]Inf|NaN", text), text
    return float(text)


def _check_histogram(name, metrics, count="_count", total="_sum"):
    """Buckets grow, the last is +Inf and equals the count."""
    groups = {}
    for labels, value in metrics.series(name + "_bucket"):
        key = frozenset((k, v) for k, v in labels.items() if k != "le")
        groups.setdefault(key, []).append((float(labels["le"].replace("+Inf", "inf")), value))
    for key, buckets in groups.items():
        buckets.sort()
        assert buckets[-1][0] == float("inf"), f"{name}: no +Inf bucket"
        values = [value for _, value in buckets]
        assert values == sorted(values), f"{name}: buckets shrink: {buckets}"
        assert metrics.samples[(name + count, key)] == values[-1], f"{name}: count"
        assert (name + total, key) in metrics.samples, f"{name}: no sum"


def parse(text, content_type=PROMETHEUS):
    """Metrics; any slip is an AssertionError that quotes the line."""
    is_open = content_type == OPENMETRICS
    assert is_open or content_type.startswith(PROMETHEUS), content_type
    assert text.endswith("\n"), "no newline at the end"
    lines = text[:-1].split("\n")
    if is_open:
        assert lines[-1] == "# EOF", "the last line is not # EOF"
        lines.pop()
    metrics = Metrics()
    family = None
    for line in lines:
        if line.startswith("# "):
            family = _read_comment(line, metrics, family)
            continue
        assert line, "empty line"
        found = _SAMPLE.match(line)
        assert found, f"not a sample: {line!r}"
        name, labels, value = found[1], _labels(found[2]), _number(found[3])
        assert family is not None and family in metrics.types, f"no # TYPE before {line!r}"
        _check_name(name, family, metrics.types[family], is_open)
        assert not name.endswith("_created"), line
        assert (name, labels) not in metrics.samples, f"twice: {line!r}"
        metrics.samples[(name, labels)] = value
        metrics.order.append(name)
        if metrics.types[family] == "counter":
            assert value >= 0, line
    for name, kind in metrics.types.items():
        if kind == "histogram":
            _check_histogram(name, metrics)
        elif kind == "gaugehistogram":
            assert is_open, f"{name}: 0.0.4 has no such type"
            _check_histogram(name, metrics, "_gcount", "_gsum")
    return metrics


def _read_comment(line, metrics, family):
    found = re.match(rf"^# (HELP|TYPE|UNIT) ({_NAME}) (.*)$", line)
    assert found, f"not a comment of the format: {line!r}"
    what, name, rest = found.groups()
    if what == "TYPE":
        assert name not in metrics.types, f"family twice: {name}"
        assert rest in _SUFFIXES or rest == "untyped", line
        metrics.types[name] = rest
    elif what == "HELP":
        assert name not in metrics.helps, f"HELP twice: {name}"
        assert "\n" not in rest
        metrics.helps[name] = rest
    assert name == family or name not in metrics.order, f"family {name} is not in one piece"
    return name


def _check_name(name, family, kind, is_open):
    if kind == "counter" and not is_open:
        allowed = [family]                      # 0.0.4: the full name in # TYPE (MON-06)
    else:
        allowed = [family + suffix for suffix in _SUFFIXES.get(kind, ("",))]
    assert name in allowed, f"sample {name} in family {family} ({kind})"
