"""`publish`: brokers that are fed from the journal, real ones: mosquitto, and RabbitMQ, which speaks
3.1.1 only and closes the connection on what it does not let us publish.

What is counted is what a subscriber of the fed broker gets."""
import os
import re
from collections import Counter

import pytest

from harness import notifications as wnm
from harness.clients import V4, Client, Subscriber, assert_same
from harness.isobar import isobar
from harness.mosquitto import Mosquitto
from harness.process import wait_until
from harness.rabbitmq import RabbitMQ

DWD, MSC = "de-dwd", "ca-eccc-msc"
WIS2 = "origin/a/wis2/#"
WRITER = [{"user": "writer", "password": "writer", "read": ["#"], "write": ["#"]}]
CONFIG = {"workers": 2, "checks": {"metadata": "off"}}


def config(*targets, **more):
    """Targets that are only a URL get origin/a/wis2/#, and so no events of Isobar's own."""
    rows = [t if isinstance(t, dict) else {"url": t, "topics": [WIS2]} for t in targets]
    return {**CONFIG, "publish": rows, **more}


@pytest.fixture
def writer(client):
    """writer(broker): a client that may publish everything."""
    return lambda broker, **more: client(broker.port, user="writer", password="writer", **more)


@pytest.fixture
def fed(tmp_path, keeper):
    """fed(name, **settings): a mosquitto to be fed; start=False: not yet."""
    def make(name="fed", start=True, **settings):
        broker = Mosquitto(tmp_path, name, **settings)
        keeper.keep(lambda: broker.process and broker.process.end())
        return broker.start() if start else broker
    return make


def listen(keeper, broker, *filters, **options):
    made = Subscriber(broker.port, *(filters or ["#"]), user=options.pop("user", None), **options)
    keeper.keep(made.end)
    return made


def connected(broker, target, value=1):
    broker.wait_metric("isobar_publish_connected", value, 20, target=target.url)


def figure(broker, name, target, **labels):
    return broker.metric("isobar_publish_" + name, target=target.url, **labels)


def acknowledged(broker, target, wanted):
    broker.wait_metric("isobar_publish_acknowledged_total", wanted, 30, target=target.url)


def in_order(messages, wanted):
    """The first time of each, in the order they were published on each topic."""
    for topic in {m.topic for m in wanted}:
        firsts = list(dict.fromkeys(bytes(m.payload) for m in messages if m.topic == topic))
        assert firsts == [m.payload for m in wanted if m.topic == topic], topic


# --- what goes there -------------------------------------------------------------


def test_a_broker_gets_what_is_published_in_order_and_once(gb, fed, writer, node, client, keeper):
    source, target, all_of_it = node(), fed(), fed("all")
    broker = gb({"dwd": {"centre_id": DWD, "url": source.url}}, accounts=WRITER,
                config=config({"url": target.url}, {"url": all_of_it.url, "topics": ["#"]}))
    broker.wait_connected(DWD)
    connected(broker, target)
    connected(broker, all_of_it)
    seen, everything = listen(keeper, target), listen(keeper, all_of_it)
    messages = wnm.valid_many(DWD, 300)
    client(source.port, user=None).publish_all(messages + messages[:50])
    own = [wnm.Message("sandbox/a", b"not for WIS2"), wnm.valid(MSC, 1, channel="cache")]
    writer(broker).publish_all(own)
    seen.wait_count(301)
    everything.wait_count(302)
    assert_same(seen.messages, messages + own[1:])
    assert_same(everything.messages, messages + own)
    in_order(seen.messages, messages)
    assert {m.qos for m in seen.messages} == {1}
    # Isobar's own events are under monitor/a/wis2/.
    wait_until(lambda: figure(broker, "acknowledged_total", target)
               == 301 + broker.metric("isobar_events_total"), 30, "all to be acknowledged")
    wait_until(lambda: figure(broker, "lag_messages", target) == 0)
    shown = {t["target"]: t for t in broker.get_json("/api/v1/status")["publish"]}[target.url]
    assert shown["connected"] and shown["protocol"] == "5"
    assert shown["lost"] == {"removed": 0, "oversize": 0, "closed": 0}
    assert "target=" + target.url in broker.process.log()


def test_properties_and_retained_messages_are_passed_on(gb, fed, peer_of, keeper):
    target = fed()
    broker = gb(accounts=WRITER, config=config({"url": target.url, "topics": ["t/#"]}))
    connected(broker, target)
    seen = listen(keeper, target)
    peer = peer_of(broker)
    # expiry 1000 s, content type, user property; published with the retain flag
    assert peer.publish("t/a", b"x", 1, properties=[(2, 1000), (3, "text/plain"),
                                                    (38, ("k", "v"))], retain=True) == 0
    found = seen.wait_count(1)[0]
    assert 990 <= found.properties.MessageExpiryInterval <= 1000
    assert found.properties.ContentType == "text/plain"
    assert found.properties.UserProperty == [("k", "v")]
    late = listen(keeper, target, "t/#")
    assert late.wait_count(1)[0].retain


@pytest.fixture
def peer_of(keeper):
    def make(broker):
        from harness.peer import Peer
        made = Peer(broker.port)
        keeper.keep(made.end)
        return made.connect("by-hand", user=b"writer", password=b"writer")
    return make


def test_shadow_feeds_nobody(gb, fed, writer, keeper):
    target = fed()
    broker = gb(accounts=WRITER, config=config(target.url, shadow=True))
    assert broker.get_json("/api/v1/status")["publish"] == []
    broker.process.wait_log("shadow .*publish names 1 brokers")
    assert not target.process.find_log("New connection")


# --- being away --------------------------------------------------------------------


def test_a_broker_that_was_away_gets_everything_in_order(gb, fed, writer, keeper):
    target, other = fed(start=False), fed("other")
    broker = gb(accounts=WRITER, config=config(target.url, other.url))
    connected(broker, other)
    sent = wnm.valid_many(DWD, 400)
    publisher = writer(broker)
    publisher.publish_all(sent[:200])
    acknowledged(broker, other, 200)            # the other is not kept waiting
    broker.wait_metric("isobar_publish_lag_messages", lambda n: n >= 200, target=target.url)
    target.start()
    connected(broker, target)
    seen = listen(keeper, target, client_id="reader", clean=False, expiry=3600)
    publisher.publish_all(sent[200:])
    acknowledged(broker, target, 400)
    broker.wait_metric("isobar_publish_lag_seconds", 0, target=target.url)
    seen.wait_count(200)                        # what came before it listened is not its
    assert_same([m for m in seen.messages if m.payload in {s.payload for s in sent[200:]}],
                sent[200:])
    assert figure(broker, "connects_total", target) == 1
    assert figure(broker, "resent_total", target) == 0


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_broker_that_goes_in_the_middle_loses_nothing(how, gb, fed, writer, keeper):
    target = fed()
    broker = gb(accounts=WRITER, config=config(target.url))
    connected(broker, target)
    # QoS 0, so that nothing of this client is unread when the broker is killed.
    first = listen(keeper, target, qos=0)
    sent = wnm.valid_many(DWD, 1500)
    publisher = writer(broker)
    mids = [publisher.publish(m) for m in sent[:1000]]
    first.wait_count(300)
    if how == "stopped":
        target.stop()
    else:
        target.process.kill()
    publisher.flush(mids)
    publisher.publish_all(sent[1000:])
    connected(broker, target, 0)
    second = Client(target.port, user=None, connect=False)
    keeper.keep(second.end)
    target.start()
    second.connect()
    second.subscribe("#", qos=0)
    acknowledged(broker, target, lambda n: figure(broker, "lag_messages", target) == 0)
    # Between the restart and the second subscription some may have passed unseen: they are
    # acknowledged, and only the target's own journal of them would tell.
    wait_until(lambda: figure(broker, "lag_messages", target) == 0, 30)
    assert figure(broker, "lost_total", target) == 0
    assert figure(broker, "refused_total", target) == 0
    repeats = figure(broker, "resent_total", target)
    acknowledged(broker, target, len(sent))
    assert repeats <= 1024                      # the window
    in_order(first.messages, sent[:len(first.messages)])
    seen = Counter(bytes(m.payload) for m in first.messages)
    assert max(seen.values()) == 1


def test_a_killed_isobar_feeds_on_where_it_was(gb, fed, writer, keeper):
    target = fed()
    broker = gb(accounts=WRITER, config=config(target.url))
    connected(broker, target)
    seen = listen(keeper, target)
    sent = wnm.valid_many(DWD, 1200)
    publisher = writer(broker)
    mids = [publisher.publish(m) for m in sent[:800]]
    seen.wait_count(400)
    publisher.flush(mids)
    broker.kill()
    broker.start()
    writer(broker).publish_all(sent[800:])
    wait_until(lambda: {bytes(m.payload) for m in seen.messages} >= {m.payload for m in sent}, 30)
    in_order(seen.messages, sent)
    # Then cleanly: nothing comes again of what was acknowledged.
    wait_until(lambda: figure(broker, "lag_messages", target) == 0)
    before = len(seen.messages)
    broker.stop()
    broker.start()
    connected(broker, target)
    last = wnm.valid(MSC, 1)
    writer(broker).publish_all([last])
    seen.wait_count(before + 1)
    assert seen.messages[before:][0].payload == last.payload and len(seen.messages) == before + 1


def test_what_the_journal_had_to_remove_is_counted_and_told(gb, fed, writer, keeper):
    target = fed()
    broker = gb(accounts=WRITER, config=config(
        {"url": target.url, "topics": ["keep/#"]}, journal={"size": "16MiB", "sync": "never"}))
    publisher = writer(broker)
    kept = [wnm.Message("keep/a", b"%d " % n + b"x" * 60_000) for n in range(900)]
    connected(broker, target)
    publisher.publish_all(kept[:20])            # so that it leaves inside a segment
    acknowledged(broker, target, 20)
    target.stop()
    connected(broker, target, 0)
    publisher.publish_all(kept[20:], limit=60)
    publisher.publish_all([wnm.Message("other/a", b"o" * 60_000) for _ in range(100)], limit=60)
    wait_until(lambda: broker.metric("isobar_journal_segments") < 5, 20)
    target.start()
    seen = listen(keeper, target)
    kept.append(wnm.Message("keep/a", b"what is certainly seen"))
    publisher.publish_all(kept[-1:])
    connected(broker, target)
    wait_until(lambda: figure(broker, "lag_messages", target) == 0, 30)
    lost = figure(broker, "lost_total", target, reason="removed")
    assert lost > 0

    def told():
        """More may be removed while it is already fed: a line each time."""
        lines = broker.process.find_log("messages-removed ")
        return [re.search(r"wanted=(\d+) exact=1", line)[1] for line in lines]
    wait_until(lambda: sum(map(int, told())) == lost, what=lambda: f"{lost} to be told: {told()}")
    acknowledged(broker, target, len(kept) - lost)
    payloads = [m.payload for m in kept]
    seen.wait(lambda: seen.messages and seen.messages[-1].payload == payloads[-1], what="the last one")
    got = [bytes(m.payload) for m in seen.messages]
    assert got == payloads[len(payloads) - len(got):]


# --- refusals ------------------------------------------------------------------------


def test_topics_a_broker_refuses_are_counted_and_not_sent_again(gb, fed, writer, keeper, tmp_path):
    rights = tmp_path / "acl"
    rights.write_text("user gb\ntopic write origin/a/wis2/de-dwd/#\n"
                      "user reader\ntopic read #\n")
    rights.chmod(0o600)
    target = fed(users={"gb": "secret", "reader": "reader"}, options=[f"acl_file {rights}"])
    broker = gb(accounts=WRITER,
                config=config({"url": target.url, "username": "gb", "password": "secret",
                               "topics": [WIS2]}))
    connected(broker, target)
    seen = listen(keeper, target, user="reader", password="reader")
    good, bad = wnm.valid_many(DWD, 60), wnm.valid_many(MSC, 10)
    mixed = [m for pair in zip(good, bad) for m in pair] + good[10:]
    writer(broker).publish_all(mixed)
    acknowledged(broker, target, 60)
    broker.wait_metric("isobar_publish_refused_total", 10, target=target.url)
    # mosquitto 2.0.11 refuses and closes: an answer that is lost by it makes a repeat.
    wait_until(lambda: {bytes(m.payload) for m in seen.messages} == {m.payload for m in good}, 20)
    in_order(seen.messages, good)
    broker.process.wait_log(r"message-refused .*reason=0x87")
    assert figure(broker, "lost_total", target) == 0


def test_tls_passwords_and_faults_in_words(gb, fed, authority, writer, keeper):
    target = fed(tls=authority.issue("localhost"), users={"gb": "secret", "reader": "reader"})
    good = {"url": target.url, "username": "gb", "password": "secret",
            "tls": {"ca": authority.certificate}}
    broker = gb(accounts=WRITER, config=config({**good, "password": "wrong"}))
    broker.process.wait_log(r"publish failed .*(bad user name|not authorized|Not authorized)")
    broker.write_config()
    broker.config["publish"] = [{**good, "tls": {}}]
    broker.write_config()
    mark = broker.reload()
    broker.process.wait_log(r"publish failed .*certificate", since=mark)
    broker.config["publish"] = [good]
    broker.write_config()
    broker.reload()
    connected(broker, target)
    seen = listen(keeper, target, user="reader", password="reader", tls=authority.certificate)
    message = wnm.valid(DWD)
    writer(broker).publish_all([message])
    assert_same(seen.wait_count(1), [message])
    assert "secret" not in broker.process.log()
    assert "secret" not in str(broker.get_json("/api/v1/status"))


# --- reload ---------------------------------------------------------------------------


def test_a_reload_adds_changes_and_removes(gb, fed, writer, keeper):
    first, second = fed("first"), fed("second")
    broker = gb(accounts=WRITER, config=config(first.url))
    connected(broker, first)
    one, two = listen(keeper, first), listen(keeper, second)
    publisher = writer(broker)
    sent = wnm.valid_many(DWD, 30)
    publisher.publish_all(sent[:10])
    one.wait_count(10)

    def apply(*targets):
        broker.config = {**broker.config, **config(*targets)}
        broker.write_config()
        broker.process.wait_log("reloaded", since=broker.reload())
    apply(first.url, second.url)
    connected(broker, second)
    publisher.publish_all(sent[10:20])
    acknowledged(broker, second, 10)
    assert_same(one.wait_count(20), sent[:20])
    assert_same(two.wait_count(10), sent[10:20])
    assert figure(broker, "connects_total", first) == 1     # the other one's coming did not matter
    apply({"url": second.url, "topics": ["cache/#"]})
    broker.wait_metric("isobar_publish_connects_total", 2, target=second.url)
    publisher.publish_all(sent[20:] + [wnm.valid(MSC, 1, channel="cache")])
    assert two.wait_count(11)[-1].topic.startswith("cache/")
    assert len(one.messages) == 20
    assert {t["target"] for t in broker.get_json("/api/v1/status")["publish"]} == {second.url}
    apply()
    publisher.publish_all([wnm.valid(MSC, 2, channel="cache")])
    apply({"url": second.url, "topics": ["cache/#"]})       # forgotten: from now on
    connected(broker, second)
    last = wnm.valid(MSC, 3, channel="cache")
    publisher.publish_all([last])
    assert two.wait_count(12)[-1].payload == last.payload


def test_check_names_the_faults(tmp_path):
    path = tmp_path / "isobar.yaml"
    path.write_text("publish:\n  - mqtts://emqx.example.org:8883\n"
                    "  - {url: \"mqtts://gb:x@emqx.example.org\", topics: [a]}\n"
                    "  - {topics: [a], retry: yes}\n")
    done = isobar("check", "-c", path)
    assert done.returncode == 2
    assert f"{path}:3:5: publish: mqtts://emqx.example.org:8883 again" in done.stderr + done.stdout
    assert f"{path}:4:19: publish.retry: unknown key" in done.stderr + done.stdout


# --- deploy/emqx -------------------------------------------------------------------------


DEPLOYED = os.path.join(os.path.dirname(__file__), "..", "..", "deploy", "emqx")


def rules():
    """Of acl.conf, in order: (allow or deny, user, action, filters)."""
    with open(os.path.join(DEPLOYED, "acl.conf"), encoding="ascii") as f:
        text = re.sub(r"%.*", "", f.read())
    terms = [term.strip() for term in re.split(r"\.\s*(?:\n|$)", text) if term.strip()]
    assert terms.pop() == "{deny, all}"
    found = []
    for term in terms:
        form = re.fullmatch(r'\{(\w+), \{username, "(\w+)"\}, (\w+), \[(.*)\]\}', term)
        assert form, term
        found.append((*form.groups()[:3], re.findall(r'"([^"]+)"', form[4])))
    return found


def test_the_rules_for_emqx_are_isobars_own_defaults(gb, client):
    by = {(user, action): filters for allow, user, action, filters in rules() if allow == "allow"}
    everyone = client(gb().port, client_id="asks")
    assert set(everyone.subscribe(*by["everyone", "subscribe"])) == {1}
    assert ("everyone", "publish") not in by
    # Whatever else it asks for is refused by both.
    assert everyone.subscribe("#", "origin/#", "sandbox/#", "$SYS/#")[:3] == [0x87] * 3
    assert by["gb", "publish"] == by["everyone", "subscribe"]


def test_the_lines_for_isobar_are_good_configuration(tmp_path):
    password = tmp_path / "password"
    password.write_text("secret\n")
    with open(os.path.join(DEPLOYED, "isobar.yaml"), encoding="ascii") as f:
        text = f.read().replace("/etc/isobar/emqx.password", str(password))
    path = tmp_path / "isobar.yaml"
    path.write_text(text)
    done = isobar("check", "-c", path)
    assert done.returncode == 0, done.stdout + done.stderr


# --- RabbitMQ: MQTT 3.1.1 only ------------------------------------------------------------


def test_rabbitmq_is_fed_and_what_it_closes_on_is_skipped(gb, writer, keeper, tmp_path):
    rabbit = RabbitMQ(tmp_path, {"gb": ("secret", r"^(origin|cache|monitor)\.a\.wis2\.[^x].*"),
                                 "reader": ("reader", ".*")})
    keeper.keep(rabbit.end)
    rabbit.start()
    broker = gb(accounts=WRITER, config=config(
        {"url": rabbit.url, "username": "gb", "password": "secret",
         "topics": ["origin/a/wis2/#", "bad/#"]}))
    publisher = writer(broker)
    sent = wnm.valid_many(DWD, 300)
    connected(broker, rabbit)
    seen = listen(keeper, rabbit, user="reader", password="reader", version=V4)
    publisher.publish_all(sent[:100])
    acknowledged(broker, rabbit, 100)
    publisher.publish_all(sent[100:200] + [wnm.Message("bad/a", b"closes")] + sent[200:])
    acknowledged(broker, rabbit, 300)
    assert figure(broker, "lost_total", rabbit, reason="closed") == 1
    assert figure(broker, "lost_total", rabbit) == 1
    broker.process.wait_log(r'message-lost .*topic="bad/a"')
    wait_until(lambda: {bytes(m.payload) for m in seen.messages} == {m.payload for m in sent}, 20)
    in_order(seen.messages, sent)
    shown = broker.get_json("/api/v1/status")["publish"][0]
    assert shown["protocol"] == "3.1.1" and shown["acknowledged"] == 300
    wait_until(lambda: figure(broker, "lag_messages", rabbit) == 0)
