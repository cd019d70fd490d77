"""client_id_scope: address over all nodes of a cluster."""
import struct

import pytest

from harness.cluster import Nodes
from harness.process import wait_until
from harness.wire import DISCONNECT, Wire, connect

BAD_ID = 0x85
HERE, THERE = "127.0.0.1", "127.0.0.2"
SCOPED = {"user": "everyone", "password": "everyone", "read": ["#"], "client_id_scope": "address"}
LASTING = b"\x11" + struct.pack(">I", 600)     # session expiry interval


@pytest.fixture
def come(keeper):
    """come(broker, name, source, ...): the reason code of CONNACK, whether a session was there, the Wire."""
    def make(broker, name, source=HERE, lasts=False):
        made = Wire(broker.port, source=source)
        keeper.keep(made.end)
        made.send(connect(client_id=name, flags=0xC0 if lasts else 0xC2,
                          **({"properties": LASTING} if lasts else {})))
        first, body = made.read()
        assert first == 0x20
        return body[1], body[0] == 1, made
    return make


def test_a_session_is_its_addresss_on_every_node(empty, tmp_path, keeper, come):
    made = Nodes(tmp_path, empty, 2, accounts=[SCOPED])
    keeper.keep(made.end)
    one, two = made.start()
    code, there, kept = come(one, "kept", lasts=True)
    assert (code, there) == (0, False)
    kept.send(DISCONNECT)
    kept.read_all()
    assert come(one, "live")[0] == 0
    for broker in (two, one):           # also where it is
        for name in ("kept", "live"):
            assert come(broker, name, THERE)[0] == BAD_ID
    assert come(two, "other", THERE)[0] == 0
    code, there, again = come(two, "kept", lasts=True)      # who was refused has changed nothing
    assert (code, there) == (0, True)
    again.send(DISCONNECT)
    again.read_all()
    assert come(one, "kept", THERE)[0] == BAD_ID
    one.kill()
    # Nothing is left of one that was to end with its connection; what lasts is still its address's.
    wait_until(lambda: come(two, "live", THERE)[0] == 0, 20)
    assert come(two, "kept", THERE)[0] == BAD_ID
