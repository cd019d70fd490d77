"""mosquitto_pub and mosquitto_sub, as operators type them, over TCP and TLS in both versions."""
import subprocess

import pytest

from harness.clients import MosquittoSub
from harness.process import patience, wait_until

ACCOUNTS = [{"user": "everyone", "password": "everyone", "read": ["sandbox/#"],
             "write": ["sandbox/#"], "deny": ["sandbox/closed/#"]}]
CASES = [(scheme, version) for scheme in ("mqtt", "mqtts") for version in ("mqttv311", "mqttv5")]


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def at(request, gb, authority):
    """Of a broker: port, options that every command takes, version."""
    scheme, version = request.param
    leaf = authority.issue("localhost")
    broker = gb(accounts=ACCOUNTS, config={
        "listeners": ["mqtt://127.0.0.1:0", "mqtts://127.0.0.1:0", "http://127.0.0.1:0"],
        "tls": {"certificate": leaf.certificate, "key": leaf.key}})
    broker.options = ["--cafile", authority.certificate] if scheme == "mqtts" else []
    broker.version, broker.client_port = version, broker.ports[scheme]
    return broker


@pytest.fixture
def sub(keeper):
    def make(at, *filters, qos=1, options=()):
        made = MosquittoSub(at.client_port, *filters, version=at.version, qos=qos,
                            options=[*at.options, *options])
        keeper.keep(made.end)
        return made
    return make


def pub(at, *options, password="everyone", data=None):
    return subprocess.run(
        ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(at.client_port), "-u", "everyone", "-P",
         password, "-V", at.version, *at.options, *options], input=data, capture_output=True,
        timeout=20 * patience(), check=False)


def test_every_qos_large_payloads_lines_and_unsubscribing(at, sub, tmp_path):
    listener = sub(at, "sandbox/#", qos=2, options=["-U", "sandbox/unheard"])
    for qos in (0, 1, 2):
        assert pub(at, "-t", f"sandbox/{qos}", "-m", f"q{qos}", "-q", str(qos)).returncode == 0
    large = bytes(range(256)) * 800
    path = tmp_path / "large"
    path.write_bytes(large)
    assert pub(at, "-t", "sandbox/large", "-f", str(path), "-q", "1").returncode == 0
    lines = [f"line {n}".encode() for n in range(50)]
    assert pub(at, "-t", "sandbox/l", "-l", "-q", "1", data=b"\n".join(lines)).returncode == 0
    got = [(m.topic, m.qos, m.payload) for m in listener.wait_count(54)]
    assert sorted(got) == sorted([(f"sandbox/{q}", q, f"q{q}".encode()) for q in (0, 1, 2)]
                                 + [("sandbox/large", 1, large)]
                                 + [("sandbox/l", 1, line) for line in lines])


def test_a_session_waits_and_a_will_is_heard(at, sub):
    lasting = ["-i", "lasting", "-c"] + (["-x", "300"] if at.version == "mqttv5" else [])
    watcher = sub(at, "sandbox/will", options=["-i", "watcher"])
    first = sub(at, "sandbox/t", options=[*lasting, "--will-topic", "sandbox/will",
                                          "--will-payload", "gone", "--will-qos", "1"])
    first.popen.kill()
    first.popen.wait()
    assert [m.payload for m in watcher.wait_count(1)] == [b"gone"]
    for n in range(20):
        assert pub(at, "-t", "sandbox/t", "-m", str(n), "-q", "1").returncode == 0
    again = sub(at, "sandbox/t", options=lasting)
    assert [m.payload for m in again.wait_count(20)] == [str(n).encode() for n in range(20)]


def test_refusals_reach_the_exit_status_or_the_log(at, sub):
    assert pub(at, "-t", "sandbox/t", "-m", "x", password="wrong").returncode != 0
    listener = sub(at, "sandbox/t", "sandbox/closed/t")
    wait_until(lambda: any(line.startswith("Subscribed") for line in listener.lines),
               what="SUBACK")
    refused = 135 if at.version == "mqttv5" else 128
    assert any(line.endswith(f"1, {refused}") for line in listener.lines), listener.lines
    assert pub(at, "-t", "sandbox/t", "-m", "x", "-q", "1").returncode == 0
    assert [m.payload for m in listener.wait_count(1)] == [b"x"]
    if at.version == "mqttv5":
        said = pub(at, "-t", "sandbox/closed/t", "-m", "x", "-q", "1")
        assert b"ot authorized" in said.stderr, said


def test_properties_of_mqtt_5_are_printed_at_the_other_end(at, sub):
    listener = sub(at, "sandbox/p", options=["-F", "MESSAGE %q %C|%R|%D|%P %x"]
                   if at.version == "mqttv5" else [])
    extra = ["-D", "publish", "content-type", "text/plain", "-D", "publish", "response-topic",
             "sandbox/r", "-D", "publish", "correlation-data", "c1", "-D", "publish",
             "user-property", "a", "b"] if at.version == "mqttv5" else []
    assert pub(at, "-t", "sandbox/p", "-m", "x", "-q", "1", *extra).returncode == 0
    message = listener.wait_count(1)[0]
    assert message.payload == b"x"
    if at.version == "mqttv5":
        assert message.topic == "text/plain|sandbox/r|c1|a:b"
