"""Statements of both versions of MQTT on CONNECT, CONNACK and the session, each test named by those it
proves (docs/conformance.md). Raw packets, both versions, one broker."""
import time

import pytest

from conftest import CONFORMANCE
from harness.peer import V4, V5, VERSIONS, Peer, Will, binary, connect, number, publish, subscribe
from model import packets as mqtt

BOTH = pytest.mark.parametrize("version", VERSIONS)
EXPIRY, KEEP_ALIVE, ASSIGNED, REASON_STRING, LARGEST, PROBLEM_INFO = 17, 19, 18, 31, 39, 23
WILL_DELAY, AUTH_METHOD, RESPONSE_INFO_ASKED, RESPONSE_INFO = 24, 21, 25, 26
KEPT = ((EXPIRY, 60),)


def answer(peer):
    """What a connection that was not accepted was told: the code of CONNACK, None without one."""
    packets = peer.closed()
    assert all(p.kind == mqtt.CONNACK and not p.session_present for p in packets), packets
    assert len(packets) <= 1, packets
    return packets[0].reasons[0] if packets else None


# --- a CONNECT that is not as it has to be -------------------------------------------

# flags: 02 clean, 04 will, 18 will QoS, 20 will retain, 40 password, 80 user name
BAD = b"\xc3\x28"
OWNER = "owner"


def body(version, flags, *fields, level=None, name=b"MQTT"):
    """A CONNECT of these flags with exactly these fields."""
    tail = b"".join(f if isinstance(f, bytes) else binary(f) for f in fields)
    block = b"\0" if version == V5 else b""
    return mqtt.packet(0x10, binary(name) + bytes([level or version, flags]) + number(60) + block + tail)


def will_block(version):
    return b"\0" if version == V5 else b""


REFUSED = [
    # name with what it proves, packet(version), code to MQTT 5, code to MQTT 3.1.1
    ("[MQTT-3.1.2-1] [MQTT3-3.1.2-1] name", lambda v: body(v, 2, "x", name=b"MQTX"), None, None),
    ("[MQTT-3.1.2-2] [MQTT3-3.1.2-2] level", lambda v: body(v, 2, "x", level=6 if v == V5 else 3), 0x84, 0x01),
    ("[MQTT-3.1.2-3] [MQTT3-3.1.2-3] reserved flag", lambda v: body(v, 3, "x"), 0x81, None),
    ("[MQTT-3.1.2-11] [MQTT3-3.1.2-13] [MQTT3-3.1.2-11] will QoS, no will",
     lambda v: body(v, 0xCA, "x", OWNER, OWNER), 0x82, None),
    ("[MQTT-3.1.2-12] [MQTT3-3.1.2-14] will QoS 3",
     lambda v: body(v, 0xDE, "x", will_block(v), "t/w", "gone", OWNER, OWNER), 0x81, None),
    ("[MQTT-3.1.2-13] [MQTT3-3.1.2-15] [MQTT3-3.1.2-11] will retain, no will",
     lambda v: body(v, 0xE2, "x", OWNER, OWNER), 0x82, None),
    ("[MQTT-3.1.2-9] [MQTT3-3.1.2-9] will flag, no will", lambda v: body(v, 0xC6, "x"), 0x81, None),
    ("[MQTT3-3.1.2-11] will, no will flag",
     lambda v: body(v, 0xC2, "x", will_block(v), "t/w", "gone", OWNER, OWNER), 0x81, None),
    ("[MQTT-3.1.2-16] [MQTT3-3.1.2-18] user name, no flag", lambda v: body(v, 0x02, "x", OWNER),
     0x81, None),
    ("[MQTT-3.1.2-17] [MQTT3-3.1.2-19] flag, no user name", lambda v: body(v, 0x82, "x"), 0x81, None),
    ("[MQTT-3.1.2-18] [MQTT3-3.1.2-20] password, no flag", lambda v: body(v, 0x82, "x", OWNER, OWNER),
     0x81, None),
    ("[MQTT-3.1.2-19] [MQTT3-3.1.2-21] flag, no password", lambda v: body(v, 0xC2, "x", OWNER), 0x81,
     None),
    ("[MQTT-3.1.3-1] [MQTT3-3.1.3-1] order", lambda v: body(v, 0xC2, OWNER, OWNER, "x"), 0x86, 0x04),
    ("[MQTT-3.1.3-3] [MQTT3-3.1.3-3] no client id", lambda v: body(v, 0x02), 0x81, None),
    ("[MQTT-3.1.3-4] [MQTT3-3.1.3-4] client id not UTF-8", lambda v: body(v, 0xC2, binary(BAD), OWNER, OWNER),
     0x81, None),
    ("[MQTT-3.1.3-11] [MQTT3-3.1.3-10] will topic not UTF-8",
     lambda v: body(v, 0xC6, "x", will_block(v), binary(BAD), "gone", OWNER, OWNER), 0x81, None),
    ("[MQTT-4.7.0-1] [MQTT3-4.7.1-1] # in a will topic", lambda v: connect(v, "x", will=Will("t/#")),
     0x90, None),
    ("[MQTT-4.7.3-1] [MQTT3-4.7.3-1] no will topic", lambda v: connect(v, "x", will=Will("")), 0x90,
     None),
    ("[MQTT-3.1.3-12] [MQTT3-3.1.3-11] user name not UTF-8",
     lambda v: body(v, 0xC2, "x", binary(BAD), OWNER), 0x81, None),
    ("[MQTT-3.1.4-1] [MQTT3-3.1.4-1] [MQTT3-3.2.2-6] bytes behind it",
     lambda v: connect(v, "x", tail=b"\0"), 0x81, None),
    ("[MQTT-3.1.3-8] [MQTT3-3.1.3-9] client id too long", lambda v: connect(v, "x" * 2000), 0x85, 0x02),
    ("[MQTT-3.1.4-2] password", lambda v: connect(v, "x", password=b"wrong"), 0x86, 0x04),
    ("[MQTT-3.1.4-2] no user name", lambda v: connect(v, "x", user=None, password=None), 0x87, 0x05),
    ("[MQTT-3.1.4-2] user name", lambda v: connect(v, "x", user=b"nobody"), 0x86, 0x04),
]


@BOTH
@pytest.mark.parametrize("packet, code_5, code_4", [row[1:] for row in REFUSED],
                         ids=[row[0] for row in REFUSED])
def test_a_connect_that_is_wrong_ends_the_connection(packet, code_5, code_4, version, peer):
    """Of the codes: [MQTT-3.2.2-6], [MQTT-3.2.2-7], [MQTT-3.2.2-8], [MQTT3-3.2.2-4], [MQTT3-3.2.2-5]."""
    wrong = peer(version, connect=False)
    wrong.send(packet(version))
    assert answer(wrong) == (code_5 if version == V5 else code_4)


def test_what_a_3_1_1_client_may_not_leave_out_is_missed(peer):
    """[MQTT3-3.1.3-7], [MQTT3-3.1.3-8]: an empty identifier needs a clean session; [MQTT3-3.1.2-22]: a
    password needs a user name. MQTT 5 allows both."""
    def told(packet):
        made = peer(V4, connect=False)
        made.send(packet)
        return answer(made)
    assert told(connect(V4, "", clean=False)) == 0x02
    assert told(body(V4, 0x42, "x", OWNER)) is None
    assert peer(V5, "", clean=False).connack.reasons == [0]


@BOTH
def test_the_first_packet_is_connect_and_the_only_one(version, peer):
    """[MQTT-3.1.0-1], [MQTT3-3.1.0-1], [MQTT-3.1.0-2], [MQTT3-3.1.0-2], [MQTT-3.2.0-2]."""
    early = peer(version, connect=False)
    early.send(b"\xc0\x00")
    assert early.closed() == []
    twice = peer(version, "twice")
    twice.send(connect(version, "twice"))
    twice.refused(0x82)


@BOTH
def test_nothing_behind_a_refused_connect_is_processed(version, peer):
    """[MQTT-3.1.4-6], [MQTT3-3.1.4-5], [MQTT-3.2.2-7]."""
    hearer = peer(version)
    hearer.subscribe("t/after")
    refused = peer(version, connect=False)
    refused.send(connect(version, "x", password=b"wrong") + publish("t/after", b"unheard", version))
    assert answer(refused) == (0x86 if version == V5 else 0x04)
    hearer.publish("t/after", b"fence")
    assert hearer.take().payload == b"fence"


@BOTH
def test_connack_comes_first_whatever_is_sent_behind_connect(version, peer):
    """[MQTT-3.2.0-1], [MQTT3-3.2.0-1], [MQTT-3.1.4-5], [MQTT3-3.1.4-4]."""
    eager = peer(version, connect=False)
    eager.send(connect(version, "eager") + b"\xc0\x00" + subscribe(["t/eager"], version))
    assert [eager.next().kind for _ in range(3)] == [mqtt.CONNACK, mqtt.PINGRESP, mqtt.SUBACK]


@BOTH
def test_connack_is_of_its_form(version, peer):
    """[MQTT-3.2.2-1], [MQTT-2.2.2-1]: reserved flags are 0; the properties have a length."""
    made = peer(version, connect=False)
    made.send(connect(version, "form", clean=True))
    first, content = made.read()
    assert first == 0x20 and content[:2] == b"\0\0"
    assert len(content) == 2 if version == V4 else content[2] == len(content) - 3


def test_a_fault_before_connack_is_not_told_by_disconnect(peer):
    """[MQTT-3.14.0-1]; the same fault behind it is."""
    early = peer(V5, connect=False)
    early.send(b"\x40\x02\x00\x01")
    assert early.closed() == []
    late = peer(V5)
    late.send(b"\x40\x02\x00\x00")
    late.refused(0x82)


def test_an_authentication_method_is_refused(peer):
    """[MQTT-4.12.0-1]."""
    asked = peer(V5, connect=False)
    asked.send(connect(V5, "x", properties=[(AUTH_METHOD, "SCRAM-SHA-1")]))
    assert answer(asked) == 0x8C


def test_auth_without_a_method_ends_the_connection(peer):
    """[MQTT-4.12.1-2], [MQTT-4.12.0-6]: there is no method in CONNACK either."""
    made = peer(V5)
    assert made.connack.property(AUTH_METHOD) is None
    made.send(b"\xf0\x05\x19\x03\x15\x00\x00")
    made.refused(0x82)


# --- CONNACK says what holds ----------------------------------------------------------


@BOTH
@pytest.mark.parametrize("client_id", ["a", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ",
                                       "KLMNOPQRSTUVWXYZ"])
def test_identifiers_of_letters_and_digits_are_taken(client_id, version, peer):
    """[MQTT-3.1.3-5], [MQTT3-3.1.3-5]; the string, and user name and password behind it, are read as they
    are: [MQTT-3.1.3-1], [MQTT-3.1.3-3], [MQTT-3.1.3-4], [MQTT-3.1.3-12], [MQTT-3.1.2-17],
    [MQTT-3.1.2-19], [MQTT3-3.1.3-1], [MQTT3-3.1.3-3], [MQTT3-3.1.3-4], [MQTT3-3.1.3-11],
    [MQTT3-3.1.2-19], [MQTT3-3.1.2-21]."""
    assert peer(version, client_id).connack.reasons == [0]


def test_an_empty_identifier_gets_one_of_its_own(peer):
    """[MQTT-3.1.3-6], [MQTT-3.1.3-7], [MQTT-3.2.2-16]."""
    first, second = peer(V5, properties=KEPT), peer(V5)
    names = [p.connack.property(ASSIGNED) for p in (first, second)]
    assert all(names) and names[0] != names[1]
    first.subscribe("t/assigned")
    first.end()
    assert peer(V5, names[0], clean=False).connack.session_present
    assert peer(V5, "named").connack.property(ASSIGNED) is None


def test_empty_identifiers_of_3_1_1_do_not_meet(peer):
    """[MQTT3-3.1.3-6]."""
    first, second = peer(V4), peer(V4)
    first.quiet()
    second.quiet()


def test_what_does_not_fit_the_client_is_not_sent(peer):
    """[MQTT-3.2.2-19]: the reason string of CONNACK is left out; [MQTT-3.14.2-3]: that of DISCONNECT;
    [MQTT-3.1.2-24]: an answer that does not fit at all is not sent."""
    for largest, has_string in ((20, False), (200, True)):
        refused = peer(V5, connect=False)
        refused.send(connect(V5, "x" * 2000, properties=[(LARGEST, largest)]))
        (packet,) = refused.closed()
        assert packet.reasons == [0x85] and (packet.property(REASON_STRING) is not None) == has_string
    for largest, has_string in ((30, False), (200, True)):
        made = peer(V5, "small", properties=[(LARGEST, largest)])
        made.send(connect(V5, "small"))
        first, content = made.read()
        assert first == 0xE0 and content[0] == 0x82 and (len(content) > 2) == has_string
        assert len(content) + 2 <= largest
    tiny = peer(V5, connect=False)
    tiny.send(connect(V5, "tiny", properties=[(LARGEST, 8)]))
    assert tiny.closed() == []


def test_reasons_are_told_to_whom_they_interest(peer):
    """[MQTT-3.1.2-29]."""
    for properties, has_string in (((), True), (((PROBLEM_INFO, 0),), False)):
        made = peer(V5, "told", properties=properties)
        assert made.publish("origin/a/none", b"", 1) >= 0x80
        made.send(publish("origin/a/none", b"", V5, 1, 2))
        first, content = made.read()
        assert first == 0x40 and content[2] >= 0x80 and (len(content) > 4) == has_string, content


@pytest.mark.parametrize("asked", [(), ((RESPONSE_INFO_ASKED, 0),), ((RESPONSE_INFO_ASKED, 1),)])
def test_response_information_is_not_given(asked, peer):
    """[MQTT-3.1.2-28]."""
    assert peer(V5, properties=asked).connack.property(RESPONSE_INFO) is None


# --- keep alive -------------------------------------------------------------------------


@BOTH
def test_silence_ends_the_connection_and_leaves_the_will(version, peer):
    """[MQTT-3.1.2-22], [MQTT3-3.1.2-24], [MQTT-3.2.2-22]: the client's own keep alive, as CONNACK
    names no other."""
    hearer = peer(V5)
    hearer.subscribe("t/silent")
    begun = time.monotonic()
    silent = peer(version, "silent", keep_alive=1, will=Will("t/silent"))
    assert silent.connack.property(KEEP_ALIVE) is None
    silent.refused(0x8D)
    assert time.monotonic() - begun > 1.2
    assert hearer.take().payload == b"gone"


@BOTH
def test_a_client_that_pings_stays(version, peer):
    """[MQTT-3.12.4-1], [MQTT3-3.12.4-1], [MQTT-3.1.2-22]."""
    made = peer(version, "pings", keep_alive=3)
    end = time.monotonic() + 4.8
    while time.monotonic() < end:
        made.quiet()
        time.sleep(0.3)
    made.quiet()


def test_the_longest_keep_alive_is_told(peer):
    """[MQTT-3.2.2-21]."""
    assert peer(V5, keep_alive=0).connack.property(KEEP_ALIVE) == 600
    assert peer(V5, keep_alive=601).connack.property(KEEP_ALIVE) == 600
    assert peer(V5, keep_alive=599).connack.property(KEEP_ALIVE) is None


# --- the session --------------------------------------------------------------------------


def kept(peer, version, client_id, clean=False, **settings):
    """Connected with a session that outlives the connection."""
    if version == V5:
        settings["properties"] = (*KEPT, *settings.get("properties", ()))
    return peer(version, client_id, clean=clean, **settings)


@BOTH
def test_a_session_goes_on_until_a_clean_start(version, peer):
    """[MQTT-3.1.2-4] to [MQTT-3.1.2-6], [MQTT-3.1.2-23], [MQTT-3.2.2-2], [MQTT-3.2.2-3], [MQTT-3.1.4-4],
    [MQTT-4.1.0-1], [MQTT-4.5.0-1], [MQTT3-3.1.2-4], [MQTT3-3.1.2-5], [MQTT3-3.1.2-6],
    [MQTT3-3.2.2-1], [MQTT3-3.2.2-2], [MQTT3-3.2.2-3], [MQTT3-3.1.4-3], [MQTT3-4.1.0-1],
    [MQTT3-4.1.0-2], [MQTT3-4.5.0-1]."""
    name, sender = f"goes-on-{version}", peer(V5)
    first = kept(peer, version, name)
    assert not first.connack.session_present
    first.subscribe("t/goes-on", qos=1)
    first.disconnect()
    sender.publish("t/goes-on", b"meanwhile", 1)
    second = kept(peer, version, name)
    assert second.connack.session_present
    assert second.take().payload == b"meanwhile"
    second.disconnect()
    sender.publish("t/goes-on", b"discarded", 1)
    third = kept(peer, version, name, clean=True)
    assert not third.connack.session_present
    sender.publish("t/goes-on", b"unheard", 1)
    third.quiet()


@BOTH
def test_a_session_of_no_expiry_ends_with_its_connection(version, peer):
    """[MQTT-4.1.0-2], [MQTT3-3.1.2-6]."""
    name = f"ends-{version}"
    first = peer(version, name, clean=True)
    first.subscribe("t/ends")
    first.disconnect()
    assert not peer(version, name, clean=version == V4).connack.session_present


def test_a_session_ends_when_its_expiry_has_passed(gb, keeper):
    """[MQTT-4.1.0-2]; while the connection is open it does not pass [MQTT-4.1.0-1]."""
    broker = gb(**CONFORMANCE)      # its own: it counts sessions

    def peer(*arguments, **settings):
        made = Peer(broker.port, V5)
        keeper.keep(made.end)
        return made.connect(*arguments, **settings)
    first = peer("expires", properties=[(EXPIRY, 1)])
    time.sleep(1.2)
    first.quiet()
    assert broker.metric("isobar_sessions") == 1
    first.disconnect()
    broker.wait_metric("isobar_sessions", 0)
    assert not peer("expires", clean=False).connack.session_present


@BOTH
def test_a_session_belongs_to_its_client_identifier(version, peer):
    """[MQTT-3.1.3-2], [MQTT3-3.1.3-2]."""
    kept(peer, version, f"mine-{version}").disconnect()
    assert not kept(peer, version, f"yours-{version}").connack.session_present
    assert kept(peer, version, f"mine-{version}").connack.session_present


@BOTH
def test_a_new_connection_takes_the_session_from_the_old(version, peer):
    """[MQTT-3.1.4-3], [MQTT3-3.1.4-2]; the code [MQTT-3.14.2-1], the end [MQTT-3.14.4-1],
    [MQTT-3.14.4-2]."""
    old = peer(version, f"taken-{version}")
    new = peer(version, f"taken-{version}")
    old.refused(0x8E)
    new.quiet()


# --- the will -------------------------------------------------------------------------------


@pytest.fixture
def hearer(peer):
    made = peer(V5, "hearer")
    assert made.subscribe("t/will/#", "t/fence", qos=2) == [2, 2]

    def heard():
        """Messages up to now."""
        sender = peer(V5)
        sender.publish("t/fence", b"fence", 1)
        found = []
        while True:
            found.append(made.take())
            if found[-1].payload == b"fence":
                return found[:-1]
    made.heard = heard
    return made


@BOTH
def test_a_connection_that_breaks_leaves_its_will_and_leaves_it_once(version, peer, hearer):
    """[MQTT-3.1.2-7], [MQTT-3.1.2-8], [MQTT-3.1.2-9], [MQTT-3.1.2-10], [MQTT-3.1.2-14], [MQTT-3.1.3-11],
    [MQTT3-3.1.2-8], [MQTT3-3.1.2-9], [MQTT3-3.1.2-10], [MQTT3-3.1.2-16], [MQTT3-3.1.3-10]."""
    name = f"breaks-{version}"
    for qos in (0, 1, 2):
        kept(peer, version, name, will=Will("t/will/x", b"gone %d" % qos, qos)).end()
        (found,) = [hearer.take()]
        assert (found.payload, found.qos, found.retain) == (b"gone %d" % qos, qos, False)
    kept(peer, version, name).end()
    assert hearer.heard() == []


@BOTH
def test_disconnect_takes_the_will_away(version, peer, hearer):
    """[MQTT-3.1.2-8], [MQTT-3.1.2-10], [MQTT-3.14.4-3], [MQTT3-3.1.2-8], [MQTT3-3.1.2-10],
    [MQTT3-3.14.4-3]; DISCONNECT 0x04 leaves it."""
    peer(version, will=Will("t/will/kept-back")).disconnect()
    assert hearer.heard() == []
    if version == V5:
        peer(V5, will=Will("t/will/asked-for")).disconnect(0x04)
        assert hearer.take().topic == "t/will/asked-for"


@BOTH
def test_who_has_no_will_leaves_none(version, peer, hearer):
    """[MQTT3-3.1.2-12], [MQTT-3.1.2-10]."""
    name = f"none-{version}"
    kept(peer, version, name, will=Will("t/will/old", properties=[(WILL_DELAY, 0)])).end()
    assert hearer.take().topic == "t/will/old"
    kept(peer, version, name).end()
    assert hearer.heard() == []


def test_a_will_waits_for_its_delay_or_the_end_of_the_session(peer, hearer):
    """[MQTT-3.1.2-8]."""
    delayed = Will("t/will/delayed", properties=[(WILL_DELAY, 2)])
    waiting = kept(peer, V5, "delayed", will=delayed)
    begun = time.monotonic()
    waiting.end()
    assert hearer.take().topic == "t/will/delayed"
    assert time.monotonic() - begun > 1.9
    ended = Will("t/will/ended", properties=[(WILL_DELAY, 600)])
    waiting = peer(V5, "ended", properties=[(EXPIRY, 2)], will=ended)
    begun = time.monotonic()
    waiting.end()
    assert hearer.take().topic == "t/will/ended"
    assert time.monotonic() - begun > 1.9


def test_a_new_connection_within_the_delay_keeps_the_will_back(peer, hearer):
    """[MQTT-3.1.3-9], [MQTT-3.1.2-8]."""
    kept(peer, V5, "back", will=Will("t/will/early", properties=[(WILL_DELAY, 5)])).end()
    kept(peer, V5, "back").quiet()
    time.sleep(5.3)
    assert hearer.heard() == []


def test_the_will_has_its_properties_in_their_order(peer, hearer):
    """[MQTT-3.1.3-10], [MQTT-3.3.2-18]."""
    properties = [(1, 1), (3, "text/plain"), (8, "t/answer"), (9, b"\0\1"), (38, ("b", "1")),
                  (38, ("a", "2")), (38, ("b", "3"))]
    peer(V5, will=Will("t/will/properties", properties=properties)).end()
    assert hearer.take().properties == properties


@BOTH
def test_both_kinds_of_bytes_make_one_string(version, peer, hearer):
    """[MQTT-1.5.4-3], [MQTT3-1.5.3-3]: U+FEFF is a character of the topic."""
    peer(version).publish("t/will/\ufeffbom", b"")
    assert hearer.take().topic == "t/will/\ufeffbom"
