"""Commands as people and scripts use them: output, exit statuses, faults with their places."""
import json
import os
import re
import signal
import subprocess

import pytest

from harness import notifications as wnm
from harness.isobar import Isobar, isobar
from harness.ports import free_port
from harness.process import Process, binary, patience

DWD = "de-dwd"
DONE, NO, USAGE, ENVIRONMENT = 0, 1, 2, 3
COMMANDS = ("run", "check", "verify", "topic", "sub", "pub", "simulate", "bench", "version", "source",
            "top", "export", "import", "compare", "account", "client", "notice", "health")
TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools")


# --- help and statuses --------------------------------------------------------


def test_help_lists_every_command():
    for arguments in (["help"], ["--help"]):
        result = isobar(*arguments)
        assert result.returncode == DONE
        for command in COMMANDS:
            assert re.search(rf"^\s*{command}\b", result.stdout, re.M), command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    by_option, by_command = isobar(command, "--help"), isobar("help", command)
    assert by_option.returncode == DONE and by_command.returncode == DONE
    assert f"isobar {command}" in by_option.stdout
    assert by_option.stdout == by_command.stdout
    assert by_option.stderr == ""


def test_the_shell_completes_every_option_of_every_command(tmp_path):
    subprocess.run([os.path.join(TOOLS, "man.sh"), binary(), "1", tmp_path], check=True)
    lines = (tmp_path / "isobar.bash").read_text(encoding="utf-8").splitlines()
    for command in COMMANDS:
        offered = next(line for line in lines if line.startswith(f"\t{command}) "))
        rows = re.findall(r"^  (?:-.,|   ) (--[a-z0-9-]+)", isobar("help", command).stdout, re.M)
        assert set(rows) == set(re.findall(r"--[a-z0-9-]+", offered)), command
    script = f". {tmp_path}/isobar.bash; COMP_WORDS=(isobar help conf); COMP_CWORD=2; _isobar; echo ${{COMPREPLY[@]}}"
    asked = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert asked.stdout == "configuration\n"


@pytest.mark.parametrize("arguments", [
    [], ["nonsense"], ["--nonsense"], ["run", "--nonsense"], ["run", "surplus"],
    ["verify"], ["topic"], ["topic", "--leaf=maybe", "x"], ["verify", "--mode", "wild", "x"],
    ["sub"], ["sub", "--cou", "1", "x"], ["sub", "-n", "many", "x"], ["sub", "-b", "gopher://x", "y"],
    ["pub"], ["pub", "-t", "x"],
    ["check", "-c"], ["help", "nonsense"], ["simulate", "--rate", "fast"],
])
def test_wrong_usage_ends_with_2_and_says_so_on_stderr(arguments):
    result = isobar(*arguments)
    assert result.returncode == USAGE, (result.stdout, result.stderr)
    assert result.stderr.strip() and "isobar" in result.stderr


def test_the_environments_faults_end_with_3(tmp_path, node):
    nobody = f"mqtt://127.0.0.1:{free_port()}"
    path = tmp_path / "m.json"
    path.write_bytes(wnm.valid(DWD).payload)
    assert isobar("sub", "-b", nobody, "-n", 1, "origin/#").returncode == ENVIRONMENT
    assert isobar("pub", "-b", nobody, "-t", wnm.topic_of(DWD), path).returncode == ENVIRONMENT
    taken = node("taken")
    broker = Isobar(tmp_path, config={"listeners": [taken.url]})
    result = isobar("run", "-c", broker.path)
    assert result.returncode == ENVIRONMENT
    assert str(taken.port) in result.stderr
    broker = Isobar(tmp_path, config={"data_dir": str(path / "below-a-file")})
    result = isobar("run", "-c", broker.path)
    assert result.returncode == ENVIRONMENT
    assert "below-a-file" in result.stderr


def test_version_names_program_formats_hierarchy_and_libraries():
    result = isobar("version")
    assert result.returncode == DONE
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "..", "..", "VERSION"), encoding="ascii") as f:
        assert f.read().strip() in result.stdout.split("\n")[0]
    for word in ("1.3.0", "OpenSSL", "libfyaml", "jansson", "xxh"):
        assert word.lower() in result.stdout.lower(), word


# --- check --------------------------------------------------------------------


FAULTS = [  # (file, text, line, column, words of the complaint)
    ("isobar.yaml", "centre_idd: x\n", 1, 1, "centre_id"),
    ("isobar.yaml", "data_dir: d\nworkers: many\n", 2, 10, "workers"),
    ("isobar.yaml", "limits:\n  packet_size: 256 lightyears\n", 2, 16, "packet_size"),
    ("isobar.yaml", "limits:\n  packet_sice: 1\n", 2, 3, "packet_size"),
    ("isobar.yaml", "listeners:\n  - mqtt://127.0.0.1:0\n  - gopher://127.0.0.1:7\n", 3, 5, "mqtt"),
    ("isobar.yaml", "listeners: [mqtt://127.0.0.1:99999]\n", 1, 13, "port|listener"),
    ("isobar.yaml", "checks:\n  topic: ignore\n", 2, 10, "discard"),
    ("isobar.yaml", "checks:\n  rules: {WNM-99: off}\n", 2, 11, "WNM-99"),
    ("isobar.yaml", "checks:\n  message_mode: lax\n", 2, 17, "lenient"),
    ("isobar.yaml", "log: {level: loud}\n", 1, 14, "debug|info"),
    ("isobar.yaml", "journal: {sync: sometimes}\n", 1, 17, "always"),
    ("isobar.yaml", "shadow: maybe\n", 1, 9, "yes|no"),
    ("isobar.yaml", "centre_id: Upper_Case\n", 1, 12, "centre"),
    ("isobar.yaml", "centre_id: a\ncentre_id: b\n", 2, 1, "twice|again|already|dup"),
    ("isobar.yaml", "listeners: [unclosed\n", None, None, ""),
    ("isobar.yaml", "- a list\n", 1, 1, "mapping"),
    ("isobar.yaml", "data_dir: ${ISOBAR_NO_SUCH_NAME}\n", 1, 11, "ISOBAR_NO_SUCH_NAME"),
    ("sources.d/dwd.yaml", "centre_id: de-dwd\n", None, None, "url"),
    ("sources.d/dwd.yaml", "url: mqtt://h\n", None, None, "centre_id"),
    ("sources.d/dwd.yaml", "centre_id: de-dwd\nurl: mqtt://h\nkind: knot\n", 3, 7, "node"),
    ("sources.d/dwd.yaml", "centre_id: de-dwd\nurl: http://h\n", 2, 6, "mqtt"),
    ("sources.d/dwd.yaml", "centre_id: de-dwd\nurl: mqtt://h\nusername: [a]\n", 3, 11, "username"),
    ("sources.d/dwd.yaml", "centre_id: de-dwd\nurl: mqtt://h\ntopics: ['a/#/b']\n", 3, 10, "filter"),
    ("sources.d/dwd.yaml", "centre_id: de-dwd\nurl: mqtt://h\nqos: 3\n", 3, 6, "qos"),
    ("sources.d/dwd.yaml", "centre_id: de-dwd\nurl: mqtt://h\nprotocol: 4.2\n", 3, 11, "3.1.1"),
    ("sources.d/dwd.yaml", "centre_id: de-dwd\nurl: mqtt://h\nuntil: tomorrow\n", 3, 8, "date"),
    ("accounts.yaml", "- user: a\n  password: b\n  raed: [x]\n", 3, 3, "read"),
    ("accounts.yaml", "- user: a\n  password: b\n  read: ['#/x']\n", 3, 10, "read|filter"),
    ("accounts.yaml", "- user: a\n  password: b\n- user: a\n  password: c\n", 3, None, "a"),
    ("accounts.yaml", "- user: a\n  password_hash: plain\n", 2, 18, "crypt|hash"),
]


def write_configuration(folder, file="", text=""):
    """A good configuration with one file replaced; the path of isobar.yaml."""
    os.makedirs(os.path.join(folder, "sources.d"), exist_ok=True)
    accounts = os.path.join(folder, "accounts.yaml")
    files = {
        "isobar.yaml": f"data_dir: {folder}/data\naccounts_file: {accounts}\n",
        "accounts.yaml": "- user: everyone\n  password: everyone\n  read: ['origin/a/wis2/#']\n",
        "sources.d/dwd.yaml": "centre_id: de-dwd\nurl: mqtt://127.0.0.1:1\n",
    }
    if file:
        files[file] = text
    for name, content in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(content)
    return os.path.join(folder, "isobar.yaml")


def test_check_passes_a_good_configuration(tmp_path):
    result = isobar("check", "-c", write_configuration(str(tmp_path)))
    assert result.returncode == DONE, result.stdout + result.stderr


@pytest.mark.parametrize("file, text, line, column, words", FAULTS,
                         ids=[f"{row[0]}-{n}" for n, row in enumerate(FAULTS)])
def test_check_says_file_line_and_column_of_a_fault(file, text, line, column, words, tmp_path):
    result = isobar("check", "-c", write_configuration(str(tmp_path), file, text))
    assert result.returncode == USAGE
    said = result.stdout + result.stderr
    place = rf"{re.escape(os.path.basename(file))}:{line or r'[0-9]+'}:{column or r'[0-9]+'}: "
    found = [row for row in said.split("\n") if re.search(place, row)]
    assert found, said
    assert re.search(f"(?i){words}", found[0]), found[0]


def test_check_collects_the_faults_of_all_files(tmp_path):
    path = write_configuration(str(tmp_path), "isobar.yaml",
                               "workers: x\nshadow: y\nlog: {level: z}\n")
    write_source = os.path.join(str(tmp_path), "sources.d", "dwd.yaml")
    with open(write_source, "w", encoding="utf-8") as f:
        f.write("centre_id: de-dwd\nurl: mqtt://h\nqos: 9\nkind: x\n")
    result = isobar("check", "-c", path)
    said = result.stdout + result.stderr
    assert result.returncode == USAGE
    for place in ("isobar.yaml:1:", "isobar.yaml:2:", "isobar.yaml:3:", "dwd.yaml:3:",
                  "dwd.yaml:4:"):
        assert place in said, (place, said)


def test_run_refuses_what_check_refuses(tmp_path):
    path = write_configuration(str(tmp_path), *FAULTS[1][:2])
    result = isobar("run", "-c", path)
    assert result.returncode == USAGE
    assert "isobar.yaml:2:10: " in result.stderr
    assert isobar("run", "-c", tmp_path / "absent.yaml").returncode == USAGE


def test_secrets_in_a_faulty_file_are_not_shown(tmp_path):
    path = write_configuration(str(tmp_path), "sources.d/dwd.yaml",
                               "centre_id: de-dwd\nurl: gopher://user:hush-hush@h\n"
                               "password: [hush-hush]\n")
    result = isobar("check", "-c", path)
    assert result.returncode == USAGE
    assert "hush-hush" not in result.stdout + result.stderr


# --- verify and topic ---------------------------------------------------------


def row_of(rule):
    return next(row for row in wnm.BROKEN_PAYLOADS if row[1] == rule)


def test_verify_judges_files_one_by_one(tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(wnm.valid(DWD).payload)
    bad.write_bytes(wnm.broken_payload(DWD, row_of("WNM-65")).payload)
    result = isobar("verify", good)
    assert (result.returncode, result.stdout) == (DONE, f"{good}: valid\n")
    result = isobar("verify", bad, good)
    lines = result.stdout.strip().split("\n")
    assert result.returncode == NO
    assert re.match(rf"{re.escape(str(bad))}: invalid WNM-65: \S", lines[0]), lines
    assert lines[-1] == f"{good}: valid"
    assert isobar("verify", tmp_path / "absent").returncode in (NO, ENVIRONMENT)


def test_verify_lists_every_rule_broken_in_json(tmp_path):
    doc = wnm.document(DWD)
    doc["type"] = "feature"
    doc["links"] = []
    doc["properties"].pop("data_id")
    path = tmp_path / "m.json"
    path.write_text(json.dumps(doc, indent=1), encoding="utf-8")
    result = isobar("verify", "--json", path)
    assert result.returncode == NO
    said = json.loads(result.stdout)
    assert said["source"] == str(path) and said["valid"] is False and said["id"] == doc["id"]
    assert [b["rule"] for b in said["broken"]] == ["WNM-10", "WNM-33", "WNM-60"]
    for broken in said["broken"]:
        assert set(broken) == {"rule", "path", "line", "column", "reason"}, broken
    lines = path.read_text(encoding="utf-8").split("\n")
    at = {b["rule"]: b for b in said["broken"]}
    assert '"type"' in lines[at["WNM-10"]["line"] - 1]
    assert at["WNM-33"]["path"] == "/properties" and at["WNM-60"]["path"] == "/links"


def test_verify_reads_one_message_a_line_from_stdin():
    messages = [wnm.valid(DWD).payload, wnm.broken_payload(DWD, row_of("WNM-12")).payload]
    result = isobar("verify", "--json", "-", text=b"\n".join(messages).decode() + "\n")
    said = [json.loads(line) for line in result.stdout.strip().split("\n")]
    assert [row["valid"] for row in said] == [True, False]
    assert [str(row["source"]) for row in said] == ["1", "2"]
    assert result.returncode == NO


@pytest.mark.parametrize("mode, rule, status", [
    ("lenient", "WNM-65", DONE), ("standard", "WNM-65", NO), ("lenient", "WNM-10", NO)])
def test_verify_takes_a_mode(mode, rule, status, tmp_path):
    path = tmp_path / "m.json"
    path.write_bytes(wnm.broken_payload(DWD, row_of(rule)).payload)
    assert isobar("verify", "--mode", mode, path).returncode == status


def test_verify_judges_the_topic_too(tmp_path):
    path = tmp_path / "m.json"
    path.write_bytes(wnm.valid(DWD).payload)
    assert isobar("verify", "-t", wnm.topic_of(DWD), path).returncode == DONE
    result = isobar("verify", "-t", wnm.topic_of(DWD, "data/core/weather"), path)
    assert result.returncode == NO and "WTH-12" in result.stdout


def test_topic_says_where_it_breaks_and_what_is_near():
    good = wnm.topic_of(DWD)
    result = isobar("topic", good)
    assert result.returncode == DONE and "valid" in result.stdout
    bad = good.replace("surface-based-observations", "surface-based-observation")
    result = isobar("topic", "--json", good, bad)
    said = [json.loads(line) for line in result.stdout.strip().split("\n")]
    assert result.returncode == NO
    assert said[0] == {"topic": good, "valid": True, "broken": []}
    assert said[1]["topic"] == bad and said[1]["valid"] is False
    broken = said[1]["broken"][0]
    assert (broken["rule"], broken["level"]) == ("WTH-13", 8)
    assert broken["nearest"] == "surface-based-observations" and broken["reason"]
    human = isobar("topic", bad)
    assert human.returncode == NO
    assert "WTH-13" in human.stdout and "surface-based-observations" in human.stdout


def test_topic_judges_every_broken_tail_by_its_rule():
    topics = [(wnm.topic_of(DWD, tail), rule) for tail, rule in wnm.BROKEN_TAILS]
    text = "".join(t.encode().decode("ascii", "backslashreplace") + "\n" if t.isascii() else
                   "".join(c if c.isascii() else "".join(f"\\x{b:02x}" for b in c.encode())
                           for c in t) + "\n" for t, _ in topics)
    result = isobar("topic", "--json", "-", text=text)
    said = [json.loads(line) for line in result.stdout.strip().split("\n")]
    assert [row["broken"][0]["rule"] for row in said] == [rule for _, rule in topics]


def test_topic_takes_the_settings_of_the_configuration():
    branch = wnm.topic_of(DWD, "data/core/weather/prediction")
    assert isobar("topic", branch).returncode == DONE
    for option in (["--leaf"], ["--leaf", "only"], ["--leaf=only"]):
        result = isobar("topic", *option, branch)
        assert result.returncode == NO and "WTH-15" in result.stdout
    deep = wnm.topic_of(DWD, "metadata/core/weather/surface-based-observations/synop")
    assert isobar("topic", deep).returncode == NO
    for option in (["--metadata-subtopics"], ["--metadata-subtopics", "yes"]):
        assert isobar("topic", *option, deep).returncode == DONE
    test = wnm.topic_of("io-wis2dev-11-test")
    assert isobar("topic", test).returncode == DONE
    result = isobar("topic", "--test-centres", "no", test)
    assert result.returncode == NO and "WTH-07" in result.stdout


# --- sub, pub, simulate, bench ------------------------------------------------


def end_process(process):
    if process.poll() is None:
        process.kill()
    process.wait()


def test_what_pub_sends_sub_prints(tmp_path, node, gb, keeper):
    a_node = node("dwd")
    broker = gb({"dwd": {"centre_id": DWD, "url": a_node.url}})
    broker.wait_connected(DWD)
    message = wnm.valid(DWD, 1, tail=wnm.SYNOP)
    path = tmp_path / "m.json"
    path.write_bytes(message.payload)
    ours = f"mqtt://everyone:everyone@127.0.0.1:{broker.port}"
    outputs = []
    for options in ([], ["--json"]):
        sub = subprocess.Popen([binary(), "sub", "-b", ours, "-n", "1", *options,
                                "origin/a/wis2/#"], stdout=subprocess.PIPE, text=True)
        keeper.keep(lambda sub=sub: end_process(sub))
        outputs.append(sub)
    broker.wait_metric("isobar_connections", 2)
    assert_subscribed(broker, 2)
    result = isobar("pub", "-b", a_node.url, "-t", message.topic, path)
    assert result.returncode == DONE, result.stdout + result.stderr
    readable, raw = (p.communicate(timeout=10 * patience())[0] for p in outputs)
    assert [p.returncode for p in outputs] == [DONE, DONE]
    assert message.topic in readable and "https://data.example.org/" in readable
    said = json.loads(raw)
    assert said["topic"] == message.topic
    assert said["payload"].encode("utf-8") == message.payload
    late = isobar("sub", "-b", ours, "-s", "1h", "-n", "1", "--json", "origin/a/wis2/#")
    assert late.returncode == DONE and json.loads(late.stdout)["payload"] == said["payload"]


def assert_subscribed(broker, count):
    """The status or a metric tells how many subscriptions there are."""
    broker.wait_metric("isobar_subscriptions", count)


def test_pub_is_told_that_it_may_not(tmp_path, gb):
    broker = gb()
    path = tmp_path / "m.json"
    path.write_bytes(wnm.valid(DWD).payload)
    result = isobar("pub", "-b", f"mqtt://everyone:everyone@127.0.0.1:{broker.port}", "-t",
                    wnm.topic_of(DWD), path)
    assert result.returncode == NO, result.stdout + result.stderr
    assert re.search("(?i)not authori[sz]ed", result.stdout + result.stderr)


def test_sub_is_told_that_it_may_not(gb):
    broker = gb()
    url = f"mqtt://everyone:everyone@127.0.0.1:{broker.port}"
    result = isobar("sub", "-b", url, "-n", 1, "sandbox/#")
    assert result.returncode == NO
    assert re.search("(?i)not authori[sz]ed", result.stderr)
    wrong = isobar("sub", "-b", url.replace(":everyone@", ":wrong@"), "-n", 1, "origin/a/wis2/#")
    assert wrong.returncode in (NO, ENVIRONMENT)
    assert re.search("(?i)password", wrong.stderr)


def test_simulate_as_a_source_agrees_with_the_metrics(gb, subscriber, keeper):
    """The closing JSON of simulate and the counters of Isobar tell the same story."""
    port = free_port()
    simulate = Process(
        [binary(), "simulate", "--listen", f"mqtt://127.0.0.1:{port}", "--nodes", "5", "--rate",
         "400", "--duplicates", "20%", "--invalid", "5%", "--no-foreign", "--wait", "2",
         "--count", "1000"],
        "simulate", out=subprocess.PIPE)
    keeper.keep(simulate.end)
    broker = gb({"sim": {"centre_id": "fr-meteofrance-global-broker", "kind": "broker",
                         "url": f"mqtt://127.0.0.1:{port}"}})
    listener = subscriber(broker.port, "$replay/1h/origin/a/wis2/#")
    broker.wait_metric("wmo_wis2_gb_messages_received_total", lambda v: v >= 1000, limit=30)
    simulate.signal(signal.SIGTERM) if simulate.is_running() else None
    said = json.loads(simulate.popen.stdout.read().decode().strip().split("\n")[-1])
    simulate.wait()
    broker.wait_received(said["sent"], "fr-meteofrance-global-broker")
    m = broker.metrics()
    assert m.value("wmo_wis2_gb_messages_received_total") == said["sent"]
    assert m.value("wmo_wis2_gb_messages_published_total") == said["valid"]
    assert m.value("isobar_duplicates_total") == said["duplicates"]
    assert m.value("isobar_rejected_total") == said["invalid"]
    listener.wait_count(said["valid"])
    assert len({m.payload for m in listener.messages}) == len(listener.messages) == said["valid"]


def test_bench_counts_what_it_delivers(gb):
    """Five subscribers and a publisher: one JSON line, nothing lost, nothing twice."""
    broker = gb(accounts=[{"user": "bench", "password": "bench", "read": ["#"],
                           "write": ["origin/a/wis2/#"]}])
    url = f"mqtt://bench:bench@127.0.0.1:{broker.port}"
    result = isobar("bench", "-b", url, "--subscribers", 5, "--qos", 1, "--messages", 2000,
                    limit=60)
    assert result.returncode == DONE, result.stdout + result.stderr
    said = json.loads(result.stdout.strip().split("\n")[-1])
    assert said["lost"] == 0 and said["repeated"] == 0, said
    broker.wait_metric("isobar_delivered_total", 10000)
