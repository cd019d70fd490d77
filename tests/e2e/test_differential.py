"""Isobar's verdicts against three other readers, on mutants of every valid message.

10 000 of them by a seed that stands still; DIFFERENTIAL=all (make differential) takes all. Where the
readers may differ is told in docs/rules.md, "Where other readers differ".
"""
import functools
import json
import os
import random
import subprocess

import pytest

from differential import jansson, mutants, reader, schema
from harness.process import binary

SEED, SAMPLE, BATCH = 20260101, 10_000, 20_000
TOPICS = {
    "data": [],
    "metadata": ["-t", "origin/a/wis2/de-dwd/metadata"],
    "cache": ["-t", "cache/a/wis2/de-dwd/data/core/weather/surface-based-observations/synop"],
}


@functools.lru_cache(maxsize=1)
def chosen():
    everything = mutants.all_mutants()
    if os.environ.get("DIFFERENTIAL") == "all":
        return everything
    return random.Random(SEED).sample(everything, SAMPLE)


def batches():
    makers = chosen()
    for i in range(0, len(makers), BATCH):
        payloads = [make() for make in makers[i:i + BATCH]]
        assert not any(b"\n" in p for p in payloads)
        yield payloads


def verdicts(payloads, mode, *arguments):
    """Numbers of the rules Isobar names, for each payload; one process for all."""
    result = subprocess.run([binary(), "verify", "--json", "--mode", mode, *arguments, "-"],
                            input=b"".join(p + b"\n" for p in payloads), capture_output=True,
                            check=False)
    lines = result.stdout.split(b"\n")[:-1]
    assert len(lines) == len(payloads), result.stderr
    return [[int(b["rule"][4:]) for b in json.loads(line)["broken"]] for line in lines]


def without_unasked(rules):
    """Of coordinates that are none (17, 18), readers may say more or less about the numbers."""
    return [r for r in rules if r not in (19, 20, 21)] if {17, 18} & set(rules) else rules


def disagreements(payloads, got, want):
    return [f"{g} but {w}: {p.decode('utf-8', 'backslashreplace')}"
            for p, g, w in zip(payloads, got, want) if g != w]


@pytest.mark.parametrize("mode", [reader.LENIENT, reader.STANDARD, reader.STRICT])
def test_every_rule_named_is_the_one_a_plain_reader_finds(mode):
    topic = {reader.LENIENT: "data", reader.STANDARD: "metadata", reader.STRICT: "cache"}[mode]
    wrong = []
    for payloads in batches():
        got = [without_unasked(v) for v in verdicts(payloads, mode, *TOPICS[topic])]
        want = [without_unasked(reader.judge(p, mode, topic == "metadata", topic == "cache"))
                for p in payloads]
        wrong += disagreements(payloads, got, want)
    assert not wrong, "\n".join([f"{len(wrong)} disagreements", *wrong[:20]])


def test_well_formed_is_what_jansson_says():
    wrong = []
    for payloads in batches():
        for payload, rules in zip(payloads, verdicts(payloads, reader.STANDARD)):
            if 1 in rules:
                continue
            for flags, refusing in ((0, {2, 3, 7}), (jansson.REJECT_DUPLICATES, {2, 3, 5, 7})):
                why = jansson.why_not(payload, flags)
                if why and why.startswith(jansson.LIMITS):
                    continue
                if (why is not None) != bool(refusing & set(rules)):
                    wrong.append(f"{rules} but {why}: {payload!r}")
    assert not wrong, "\n".join([f"{len(wrong)} disagreements", *wrong[:20]])


def test_lenient_mode_is_what_the_schema_says():
    wrong = []
    for payloads in batches():
        for payload, rules in zip(payloads, verdicts(payloads, reader.LENIENT)):
            if set(rules) & {1, 2, 3, 6, 7}:
                continue  # a schema never sees bytes
            if schema.is_valid(json.loads(payload)) != (not rules):
                wrong.append(f"{rules} but {not not rules}: {payload!r}")
    assert not wrong, "\n".join([f"{len(wrong)} disagreements", *wrong[:20]])
