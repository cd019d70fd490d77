"""TLS of listeners: resumption, versions, ALPN, names, client certificates, certificates replaced while
running, and crowds in the handshake."""
import datetime
import os
import shutil
import socket
import ssl
import subprocess
import time

import pytest

from harness import notifications as wnm
from harness import wire
from harness.kept import kept
from harness.process import patience, wait_until

ALL = "origin/a/wis2/#"
EVERYONE = {"user": "everyone", "password": "everyone", "read": [ALL]}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Secure:
    """A TLS connection of Python's own, with MQTT by hand on it. One context resumes its sessions."""

    @staticmethod
    def context(authority, certificate=None, version=None, alpn=None):
        made = ssl.create_default_context(cafile=authority.certificate)
        made.check_hostname = False
        if certificate:
            made.load_cert_chain(certificate.certificate, certificate.key)
        if version:
            made.minimum_version = made.maximum_version = version
        if alpn:
            made.set_alpn_protocols(alpn)
        return made

    def __init__(self, port, context, session=None, name=None):
        plain = socket.create_connection(("127.0.0.1", port), timeout=10 * patience())
        self.socket = context.wrap_socket(plain, session=session, server_hostname=name)

    def connect(self, **options):
        """CONNECT of MQTT 5; gives CONNACK's reason code."""
        options.setdefault("client_id", "")
        self.socket.sendall(wire.connect(**options))
        head = self.socket.recv(2)
        body = b""
        while len(body) < head[1]:
            body += self.socket.recv(head[1] - len(body))
        assert head[0] == 0x20, head
        return body[1]

    def ping(self):
        self.socket.sendall(wire.PINGREQ)
        assert self.socket.recv(2) == b"\xd0\x00"

    def serial(self):
        return self.socket.getpeercert()["serialNumber"]

    def close(self):
        self.socket.close()


secure = kept(Secure, "close")


@pytest.fixture
def world(tmp_path, gb, authority):
    """world(certificate, accounts, **listener): Isobar with an mqtts listener; its certificate's files
    are copies that may be replaced."""
    def make(leaf=None, accounts=None, **listener):
        leaf = leaf or authority.issue("first")
        files = {"certificate": str(tmp_path / "server.pem"), "key": str(tmp_path / "server.key")}
        replace(files, leaf)
        made = gb(accounts=accounts or [EVERYONE], config={
            "listeners": ["mqtt://127.0.0.1:0", "http://127.0.0.1:0",
                          {"url": "mqtts://127.0.0.1:0", **listener}], "tls": files})
        made.files = files
        return made
    return make


def replace(files, leaf):
    """Each file at once, as certbot and others do it."""
    for key, path in files.items():
        shutil.copy(getattr(leaf, key), path + ".new")
        os.rename(path + ".new", path)


# --- certificates replaced ------------------------------------------------------


@pytest.mark.parametrize("by", ["file", "signal"])
def test_a_new_certificate_drops_nobody_and_old_sessions_resume(by, world, authority, secure):
    broker = world()
    port = broker.ports["mqtts"]
    old = {}
    for version in VERSIONS:
        context = Secure.context(authority, version=version)
        link = secure(port, context)
        assert link.connect() == 0      # and the ticket of TLS 1.3 has come
        old[version] = (context, link, link.socket.session, link.serial())

    mark = broker.process.mark()
    replace(broker.files, authority.issue("second"))
    if by == "signal":
        broker.reload()
    broker.process.wait_log(r"certificate_loaded", mark)

    for version, (context, link, session, serial) in old.items():
        link.ping()
        again = secure(port, context, session=session)
        assert again.connect() == 0
        assert again.socket.session_reused, version
        fresh = secure(port, Secure.context(authority, version=version))
        assert fresh.connect() == 0
        assert not fresh.socket.session_reused
        assert fresh.serial() != serial
    assert broker.metric("isobar_connections") == 6


def test_a_key_that_does_not_belong_is_refused_and_the_old_pair_stays(world, authority, secure):
    broker = world()
    context = Secure.context(authority)
    before = secure(broker.ports["mqtts"], context).serial()

    mark = broker.process.mark()
    shutil.copy(authority.issue("other").key, broker.files["key"])
    broker.process.wait_log(
        r"certificate_refused .*server\.key: not the key of the certificate in .*server\.pem"
        r".*the one in force stays", mark, limit=30)
    assert secure(broker.ports["mqtts"], context).serial() == before

    mark = broker.process.mark()
    replace(broker.files, authority.issue("mended"))
    broker.process.wait_log(r"certificate_loaded", mark)
    assert secure(broker.ports["mqtts"], context).serial() != before


def days_from_now(days):
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return when.strftime("%Y%m%d%H%M%SZ")


def test_the_end_of_a_certificate_is_a_metric_and_warned_about(world, authority):
    broker = world(authority.issue("short", end=days_from_now(29.5)))
    labels = {"listener": f"mqtts://127.0.0.1:{broker.ports['mqtts']}",
              "file": broker.files["certificate"]}

    def days():
        return broker.metric("isobar_certificate_expiry_seconds", **labels) / 86400
    assert 29.4 < days() < 29.6
    broker.process.wait_log(r"certificate_expires .*server\.pem days=29")

    mark = broker.process.mark()
    replace(broker.files, authority.issue("long", end=days_from_now(30.5)))
    broker.process.wait_log(r"certificate_loaded", mark)
    wait_until(lambda: 30.4 < days() < 30.6, 10, lambda: days())

    replace(broker.files, authority.issue("over", start=days_from_now(-9), end=days_from_now(-1)))
    broker.process.wait_log(r"certificate_expired", mark)
    wait_until(lambda: days() < 0, 10, lambda: days())
    assert len(broker.process.find_log("certificate_expires ")) == 1


# --- handshakes -----------------------------------------------------------------


def s_client(broker, authority, *options):
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{broker.ports['mqtts']}", "-CAfile",
         authority.certificate, "-brief", *options],
        input=b"", capture_output=True, timeout=20 * patience(), check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def test_versions_names_and_protocols_are_agreed_or_refused(world, authority):
    broker = world()
    said = s_client(broker, authority, "-tls1_2", "-alpn", "mqtt", "-servername", "any.example")
    assert "TLSv1.2" in said and "Verification: OK" in said, said
    said = s_client(broker, authority, "-tls1_3", "-alpn", "h2,mqtt")
    assert "TLSv1.3" in said and "Verification: OK" in said, said
    said = s_client(broker, authority, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "alert protocol version" in said, said
    said = s_client(broker, authority, "-alpn", "http/1.1")
    assert "alert no application protocol" in said, said


def test_a_crowd_in_the_handshake_leaves_live_delivery_going_and_is_cut(
        world, authority, client, subscriber, keeper):
    broker = world(accounts=[EVERYONE, {"user": "p", "password": "p", "write": ["#"]}])
    reader = subscriber(broker.port, ALL)
    writer = client(broker.port, user="p", password="p")
    began = time.monotonic()
    idle = [socket.create_connection(("127.0.0.1", broker.ports["mqtts"])) for _ in range(40)]
    for one in idle:
        keeper.keep(one.close)
        one.sendall(b"\x16\x03\x01\x02\x00\x01")     # the front of a ClientHello, and no more

    context = Secure.context(authority)
    shaking = []
    for _ in range(200):
        plain = socket.create_connection(("127.0.0.1", broker.ports["mqtts"]))
        keeper.keep(plain.close)
        link = context.wrap_socket(plain, do_handshake_on_connect=False)
        link.setblocking(False)
        keeper.keep(link.close)
        try:
            link.do_handshake()
        except ssl.SSLWantReadError:
            pass
        shaking.append(link)
    messages = wnm.valid_many("de-dwd", 20)
    writer.publish_all(messages)
    reader.wait_count(20)
    for link in shaking:
        link.setblocking(True)
        link.settimeout(10 * patience())
        link.do_handshake()

    for one in idle:
        one.settimeout(15 * patience())
        assert one.recv(100) == b""
    assert time.monotonic() - began > 9


# --- client certificates ----------------------------------------------------------


def test_a_client_certificate_stands_for_the_account_that_names_it(world, authority, secure):
    by_name = authority.issue("gc.example.org")
    by_subject = authority.issue("ops", subject="/O=Example/CN=ops")
    other_subject = authority.issue("ops2", subject="/O=Other/CN=ops")
    stranger = authority.issue("stranger")
    expired = authority.issue("late.example.org", end="20210101000000Z")
    revoked = authority.issue("gone.example.org")
    broker = world(accounts=[
        EVERYONE,
        {"user": "gc", "certificate": "gc.example.org", "read": ["gc/#"]},
        {"user": "ops", "certificate": "CN=ops,O=Example", "password": "p", "read": ["ops/#"]},
        {"user": "late", "certificate": "late.example.org", "read": ["#"]},
        {"user": "gone", "certificate": "gone.example.org", "read": ["#"]},
    ], client_ca=authority.revoke(revoked), client_certificate="optional")
    port = broker.ports["mqtts"]

    def attempt(certificate, user=None, password=None):
        link = secure(port, Secure.context(authority, certificate))
        reason = link.connect(user=user, password=password)
        if reason:
            return reason
        granted = []
        for tree in ("origin/a/wis2", "gc", "ops"):
            link.socket.sendall(wire.subscribe([tree + "/#"]))
            head = link.socket.recv(2)
            granted.append(link.socket.recv(head[1])[-1] < 0x80)
        return ["everyone", "gc", "ops"][granted.index(True)]

    everyone = (b"everyone", b"everyone")
    assert attempt(by_name) == "gc"
    assert attempt(by_name, b"gc") == "gc"
    assert attempt(by_name, b"gc", b"anything") == "gc"
    assert attempt(by_name, *everyone) == "everyone"
    assert attempt(by_name, b"everyone", b"wrong") == 0x86
    assert attempt(by_name, b"ops", b"wrong") == 0x86
    assert attempt(by_subject) == "ops"
    assert attempt(other_subject) == 0x87
    assert attempt(None, b"ops", b"p") == "ops"
    assert attempt(None, b"gc", b"") == 0x86
    assert attempt(None, b"gc") == 0x86
    assert attempt(stranger) == 0x87
    assert attempt(stranger, *everyone) == "everyone"
    for refused, alert in ((expired, "CERTIFICATE_EXPIRED"), (revoked, "CERTIFICATE_REVOKED")):
        with pytest.raises(ssl.SSLError, match=alert):
            attempt(refused)


def test_required_certificates_open_the_door_only_to_who_has_one(world, authority, secure):
    broker = world(accounts=[EVERYONE, {"user": "gc", "certificate": "gc", "read": ["gc/#"]}],
                   client_ca=authority.certificate, client_certificate="required")
    port = broker.ports["mqtts"]
    context = Secure.context(authority, authority.issue("gc"))
    link = secure(port, context)
    assert link.connect(user=None, password=None) == 0
    again = secure(port, context, session=link.socket.session)
    assert again.socket.session_reused
    assert again.connect(user=None, password=None) == 0     # known by its ticket as well
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        secure(port, Secure.context(authority)).connect()


def test_a_revocation_counts_from_the_reload_on_for_tickets_too(world, authority, secure, tmp_path):
    gone = authority.issue("gc")
    ca = str(tmp_path / "clients.pem")
    shutil.copy(authority.certificate, ca)
    broker = world(accounts=[{"user": "gc", "certificate": "gc", "read": ["gc/#"]}],
                   client_ca=ca, client_certificate="required")
    port = broker.ports["mqtts"]
    context = Secure.context(authority, gone)
    link = secure(port, context)
    assert link.connect(user=None, password=None) == 0
    ticket = link.socket.session

    mark = broker.process.mark()
    shutil.copy(authority.revoke(gone), ca)
    broker.process.wait_log(r"certificate_loaded", mark)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REVOKED"):
        secure(port, context, session=ticket).connect(user=None, password=None)
