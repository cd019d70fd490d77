"""A real mosquitto that bridges origin/# from Isobar with a persistent session, as centres do that
keep a broker of their own: over restarts of either side nothing is lost, and what comes twice is
what QoS 1 allows."""
from collections import Counter

import pytest

from harness import notifications as wnm
from harness.clients import Client
from harness.isobar import Isobar
from harness.mosquitto import Mosquitto
from harness.ports import free_port

DWD = "de-dwd"
ACCOUNTS = [{"user": "partner", "password": "partner", "read": ["origin/#"]},
            {"user": "writer", "password": "writer", "read": ["origin/#"],
             "write": ["origin/a/wis2/#"]}]


def bridge(scheme, port, ca):
    """Lines of mosquitto.conf. The protocol is its default, 3.1.1: as a bridge over MQTT 5 it asks for
    no session expiry, so that its session ends with the connection."""
    yield "connection isobar"
    yield f"address 127.0.0.1:{port}"
    yield "topic origin/# in 1"
    yield "cleansession false"
    yield "remote_clientid bridge"
    yield "remote_username partner"
    yield "remote_password partner"
    yield "bridge_protocol_version mqttv311"
    yield "notifications false"
    yield "try_private false"
    yield "restart_timeout 1"
    if scheme == "mqtts":
        yield f"bridge_cafile {ca}"


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
def test_a_bridge_loses_nothing_over_restarts_of_either_side(scheme, tmp_path, keeper,
                                                             authority):
    leaf = authority.issue("localhost")
    port = free_port()
    isobar = Isobar(tmp_path, accounts=ACCOUNTS, config={
        "listeners": ["mqtt://127.0.0.1:0", "http://127.0.0.1:0"] + (
            [f"mqtts://127.0.0.1:{port}"] if scheme == "mqtts" else [f"mqtt://127.0.0.1:{port}"]),
        "tls": {"certificate": leaf.certificate, "key": leaf.key}}).start()
    keeper.keep(isobar.end)
    partner = Mosquitto(tmp_path, "partner",
                        options=bridge(scheme, port, authority.certificate))
    keeper.keep(lambda: partner.process.end())
    partner.start()
    isobar.wait_metric("isobar_subscriptions", 1)

    def listen():
        """A subscriber of the partner's, whose session lasts too."""
        made = Client(partner.port, user=None, client_id="reader", clean=False, expiry=3600)
        keeper.keep(made.end)
        return made
    reader = listen()
    assert reader.subscribe("origin/#") == [1]
    sent, got = [], []

    def send(count=40):
        writer = Client(isobar.port, user="writer", password="writer")
        messages = wnm.valid_many(DWD, count)
        writer.publish_all(messages)
        writer.end()
        sent.extend(messages)

    def all_came():
        got_now = got + reader.messages
        return {m.payload for m in got_now} >= {m.payload for m in sent}

    send()
    reader.wait(all_came, 20, "what was sent before any restart")
    assert Counter(m.payload for m in reader.messages) == Counter(m.payload for m in sent)

    # The partner goes while messages flow, and more come while it is away.
    send()
    partner.stop()
    reader.end()
    got += reader.messages
    send()
    partner.start()
    reader = listen()
    send()
    reader.wait(all_came, 30, "what was sent around the partner's restart")

    # Isobar goes cleanly with all acknowledged, then as in a crash.
    for stop in (isobar.stop, isobar.kill):
        send()
        stop()
        isobar.start()
        send()
        reader.wait(all_came, 30, "what was sent around a restart of Isobar")

    counts = Counter(m.payload for m in got + reader.messages)
    assert counts.keys() == {m.payload for m in sent}
    # Each of the three breaks may repeat what was in flight, at most a window (100) of it.
    repeated = sum(counts.values()) - len(sent)
    assert repeated <= 3 * 100 and max(counts.values()) <= 4, (repeated, max(counts.values()))
