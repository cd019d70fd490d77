"""Medians of the runs of bench/run.sh as a table, and everything as JSON.

usage: summary.py LINES RESULT; fails when the brokers did not deliver the same counts.
"""
import json
import statistics
import sys

GOAL_RATIO = 8          # deliveries per CPU-second, Isobar to mosquitto
GOAL_LATENCY_US = 1000  # median at 1000 messages a second
GOAL_INTAKE = 200_000   # notifications per CPU-second
GOAL_IDLE_KIB = 32 * 1024
GOAL_STOPPED = 1.2       # p99 beside stopped readers to that without
GOAL_RESUME_US = 50_000  # p99 of live subscribers while sessions come back


def row(name, mosquitto, isobar, verdict=""):
    print(f"{name:<44} {mosquitto:>12} {isobar:>12}   {verdict}")


def met(good, goal):
    return f"{goal}: {'met' if good else 'MISSED'}"


def results(runs, what):
    """Results of one measurement by broker."""
    found = {}
    for run in runs:
        if run["what"] == what:
            found.setdefault(run["broker"], []).append(run["result"])
    if not found:
        raise KeyError("no run")
    return found


def fan_out(runs, qos):
    """Deliveries per CPU-second of both, pair by pair."""
    found = results(runs, f"fan-out QoS {qos}")
    counts = {(r["expected"], r["delivered"]) for rs in found.values() for r in rs}
    if len(counts) != 1 or len(found) != 2:
        raise ValueError(f"the brokers did not deliver the same: {sorted(counts)}")
    rates = {b: [r["broker"]["per_cpu_second"] for r in rs] for b, rs in found.items()}
    ratios = [i / m for i, m in zip(rates["isobar"], rates["mosquitto"]) if m]
    mosquitto, isobar = (statistics.median(rates[b]) for b in ("mosquitto", "isobar"))
    ratio = statistics.median(ratios) if ratios else 0
    row(f"fan-out QoS {qos}, deliveries per CPU-second", f"{mosquitto:,.0f}", f"{isobar:,.0f}",
        f"{ratio:.1f} times; " + met(ratio >= GOAL_RATIO, f"goal {GOAL_RATIO}"))
    return {"mosquitto": mosquitto, "isobar": isobar, "ratio": ratio, "ratios": ratios,
            "delivered_each": counts.pop()[1]}


def latency(runs):
    found = {b: rs[0]["latency_us"] for b, rs in results(runs, "latency").items()}
    for name, goal in (("p50", GOAL_LATENCY_US), ("p99", None)):
        m, i = found["mosquitto"][name], found["isobar"][name]
        row(f"latency at 1000 a second, {name}, us", f"{m:,.0f}", f"{i:,.0f}",
            met(i < goal, f"goal below {goal}") if goal else "")
    return found


def intake(runs):
    found = results(runs, "intake")["isobar"][0]
    row("intake, notifications per CPU-second", "", f"{found['per_cpu_second']:,}",
        met(found["per_cpu_second"] >= GOAL_INTAKE, f"goal {GOAL_INTAKE:,}"))
    return found


def idle(runs):
    found = results(runs, "idle")["isobar"][0]
    row("idle, anonymous memory, KiB", "", f"{found['anon_kib']:,}",
        met(found["anon_kib"] < GOAL_IDLE_KIB, f"goal below {GOAL_IDLE_KIB:,}"))
    return found


def stopped(runs):
    """The others' p99 beside stopped readers, over that without, pair by pair."""
    found = {n: results(runs, f"stopped {n}")["isobar"] for n in (0, 1, 20)}
    counts = {(r["expected"], r["delivered"]) for rs in found.values() for r in rs}
    if len(counts) != 1:
        raise ValueError(f"not the same was delivered: {sorted(counts)}")
    p99 = {n: [r["latency_us"]["p99"] for r in rs] for n, rs in found.items()}
    summary = {"p99_us": p99, "delivered_each": counts.pop()[1]}
    for n in (1, 20):
        ratios = [a / b for a, b in zip(p99[n], p99[0])]
        ratio = statistics.median(ratios)
        row(f"p99 of 100 readers beside {n} stopped, us", "", f"{statistics.median(p99[n]):,.0f}",
            f"{ratio:.2f} times that without; " + met(ratio <= GOAL_STOPPED, f"goal {GOAL_STOPPED}"))
        anon = max(r["broker"]["anon_kib"] for r in found[n])
        bound = 64 * 1024 + 16 * n
        row(f"anonymous memory then, KiB", "", f"{anon:,}", met(anon <= bound, f"bound {bound:,}"))
        summary[str(n)] = {"ratio": ratio, "ratios": ratios, "anon_kib": anon}
    return summary


def resume(runs):
    crowd = results(runs, "resume")["isobar"]
    beside = results(runs, "live beside resume")["isobar"]
    alone = results(runs, "live alone")["isobar"]
    p99 = statistics.median(r["latency_us"]["p99"] for r in beside)
    row("live p99 while sessions come back, us", "", f"{p99:,.0f}",
        met(p99 < GOAL_RESUME_US, f"goal below {GOAL_RESUME_US:,}"))
    row("live p99 right after, us", "",
        f"{statistics.median(r['latency_us']['p99'] for r in alone):,.0f}")
    row("messages a second to those who come back", "",
        f"{statistics.median(r['deliveries_per_second'] for r in crowd):,.0f}")
    return {"beside": [r["latency_us"] for r in beside], "alone": [r["latency_us"] for r in alone],
            "seconds": [r["seconds"] for r in crowd], "delivered": [r["delivered"] for r in crowd]}


def main():
    try:
        with open(sys.argv[1], encoding="utf-8") as lines:
            runs = [json.loads(line) for line in lines]
    except FileNotFoundError:
        runs = []
    parts = {"fan_out_qos0": lambda r: fan_out(r, 0), "fan_out_qos1": lambda r: fan_out(r, 1),
             "latency_us": latency, "intake": intake, "idle": idle,
             "stopped": stopped, "resume": resume}
    summary, failed = {}, False
    print()
    row("", "mosquitto", "isobar")
    for name, part in parts.items():
        try:
            summary[name] = part(runs)
        except (ValueError, KeyError, IndexError) as fault:
            failed = True
            row(name, "", "", f"NOT MEASURED ({fault})")
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        json.dump(summary | {"runs": runs}, out, indent=1)
    print(f"\nall figures: {sys.argv[2]}")
    sys.exit(failed)


main()
