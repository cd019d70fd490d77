"""Thousands of random stories of MQTT clients, each held delivery by delivery against a reference
server of the test's own (tests/e2e/model), and as many random faults, none of which may crash the
broker, stall another client, or end otherwise than prescribed.

ISOBAR_SEED=N repeats a run, ISOBAR_STORIES=N makes it longer.
"""
import os
import random
import socket
import traceback

import pytest

from harness.process import patience
from model import faults, packets as mqtt
from model.client import Client
from model.server import Message, Server, Subscription
from model.story import ACCOUNT, Story

STORIES = int(os.environ.get("ISOBAR_STORIES", "1500"))
SEED = int(os.environ.get("ISOBAR_SEED", random.SystemRandom().randrange(1 << 32)))
ACCOUNTS = [{"user": ACCOUNT[0], "password": ACCOUNT[1], "read": ["#"], "write": ["#"]}]


def tell(port, number):
    story = Story(random.Random(f"{SEED}/{number}"), port, number, 10 * patience())
    try:
        story.tell(story.random.randint(5, 60))
    except AssertionError:
        pytest.fail(f"ISOBAR_SEED={SEED}, story {number}:\n  " + "\n  ".join(story.steps)
                    + "\n" + traceback.format_exc(limit=-4), pytrace=False)
    finally:
        story.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_every_delivery_of_random_stories_is_the_reference_servers(gb, workers):
    broker = gb(accounts=ACCOUNTS, config={"workers": workers})
    print(f"ISOBAR_SEED={SEED}")
    for number in range(STORIES):
        tell(broker.port, number)


class Bystander:
    """A well-behaved client: what it publishes comes back to it, whatever others do."""

    def __init__(self, port):
        self.count = 0
        self.client = Client(Server(), port, "bystander", ACCOUNT, 10 * patience())
        self.client.connect((5, True, 0, 65535, 0, None, False))
        self.client.subscribe([Subscription("bystander", 2, 0)], 0)

    def is_served(self):
        self.count += 1
        self.client.publish(Message("bystander", b"%d" % self.count, 1, False, (), "bystander"))
        self.client.settle()


class Offender:
    """A connection that misbehaves; `end` is DISCONNECT's reason, None without one."""

    def __init__(self, port, version, greeting=None):
        self.version = version if greeting else None    # damage may have made it another
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10 * patience())
        self.data = b""
        if greeting:
            self.socket.sendall(greeting)

    def offend(self, data):
        """Sends and says no more; gives the packets that came, as far as their version is known."""
        try:
            self.socket.sendall(data)
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass    # it has been thrown out already
        try:
            while True:
                more = self.socket.recv(65536)
                if not more:
                    break
                self.data += more
        except ConnectionResetError:
            pass
        self.socket.close()
        return list(self.packets()) if self.version else []

    def packets(self):
        data = self.data
        while len(data) > 1:
            length, shift, at = 0, 0, 1
            while True:
                byte = data[at]
                length, shift, at = length | (byte & 127) << shift, shift + 7, at + 1
                if byte < 128:
                    break
            yield mqtt.decode(data[0], data[at:at + length], self.version)
            data = data[at + length:]


@pytest.mark.parametrize("version", [4, 5])
def test_every_fault_ends_as_prescribed_and_nobody_else_notices(gb, version):
    broker = gb(accounts=ACCOUNTS)
    bystander = Bystander(broker.port)
    for name, (make, versions, reasons) in faults.NAMED.items():
        if version not in versions:
            continue
        offender = Offender(broker.port, version, faults.connect(version))
        came = offender.offend(make(version) + mqtt.packet(0xC0))
        assert came and came[0].kind == mqtt.CONNACK and came[0].reasons == [0], name
        said = [p.reasons[0] for p in came[1:] if p.kind == mqtt.DISCONNECT]
        assert mqtt.PINGRESP not in [p.kind for p in came], f"{name}: it goes on"
        assert len(came) == 1 + len(said), f"{name}: {came}"
        assert (not said) if version == 4 else (len(said) == 1 and said[0] in reasons), \
            f"{name}: {said} instead of {reasons}"
    bystander.is_served()


def check_end(came, version, sent):
    """Whatever it was: what came is well-formed, and the last word is DISCONNECT with an error, or
    none is due."""
    last = [p for p in came if p.kind == mqtt.DISCONNECT]
    assert not last or (version == 5 and came[-1] is last[0] and last[0].reasons[0] >= 0x80), \
        (came, sent.hex())


@pytest.mark.parametrize("version", [4, 5])
def test_random_damage_crashes_nothing_and_stalls_nobody(gb, version):
    broker = gb(accounts=ACCOUNTS)
    bystander = Bystander(broker.port)
    print(f"ISOBAR_SEED={SEED}")
    chance = random.Random(f"{SEED}/{version}")
    for number in range(STORIES):
        data = faults.broken(chance, version)
        is_greeted = chance.random() < 0.9
        offender = Offender(broker.port, version, faults.connect(version) if is_greeted else None)
        came = offender.offend(data)
        if is_greeted:
            assert came and came[0].kind == mqtt.CONNACK, data.hex()
        check_end(came, version, data)
        if number % 20 == 0:
            bystander.is_served()
    bystander.is_served()
    assert broker.process.is_running()
