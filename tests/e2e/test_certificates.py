"""Where certificates come from: files as certbot, lego and others lay them out and replace them, and one of
Isobar's own making where there is none."""
import datetime
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import time

import pytest

from harness import wire
from harness.isobar import isobar
from harness.process import patience, wait_equal, wait_until

READER = {"user": "reader", "password": "reader", "read": ["#"]}


def presented(port, trusted=None):
    """The certificate that is shown; trusted: a file by which it has to be valid for 127.0.0.1."""
    context = ssl.create_default_context(cafile=trusted)
    if not trusted:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=10 * patience()) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as s:
            s.sendall(wire.connect(user=b"reader", password=b"reader"))
            assert s.recv(4)[3] == 0
            return ssl.DER_cert_to_PEM_cert(s.getpeercert(True))


def text_of(path):
    with open(path, encoding="ascii") as f:
        return f.read()


# --- files of others ------------------------------------------------------------


class Certbot:
    """live/NAME/*.pem are links to archive/NAME/*N.pem, which are replaced one after the other."""

    def __init__(self, folder, leaf):
        self.archive = os.path.join(folder, "archive", "gb")
        self.live = os.path.join(folder, "live", "gb")
        self.certificate, self.key = (os.path.join(self.live, n) for n in ("fullchain.pem", "privkey.pem"))
        self.number = 0
        os.makedirs(self.archive)
        os.makedirs(self.live)
        for step in self.steps(leaf):
            step()

    def link(self, source, name):
        target = os.path.join(self.archive, f"{name}{self.number}.pem")
        shutil.copy(source, target)
        path = os.path.join(self.live, name + ".pem")
        if os.path.islink(path):
            os.unlink(path)
        os.symlink(os.path.relpath(target, self.live), path)

    def steps(self, leaf):
        self.number += 1
        return [lambda: self.link(leaf.key, "privkey"), lambda: self.link(leaf.certificate, "fullchain")]


class Lego:
    """certificates/NAME.crt and .key are written over, where they are; traefik-certs-dumper does the same."""

    def __init__(self, folder, leaf):
        self.certificate, self.key = (os.path.join(folder, "gb." + end) for end in ("crt", "key"))
        os.makedirs(folder)
        for step in self.steps(leaf):
            step()

    @staticmethod
    def write(path, text):
        with open(path, "w", encoding="ascii") as f:
            f.write(text)

    def steps(self, leaf):
        key = text_of(leaf.key)
        return [lambda: self.write(self.certificate, text_of(leaf.certificate)[:300]),
                lambda: self.write(self.certificate, text_of(leaf.certificate)),
                lambda: self.write(self.key, key)]


class Mounted:
    """A secret of Kubernetes: NAME -> ..data/NAME, and ..data is a link to a folder that is changed at once."""

    def __init__(self, folder, leaf):
        self.folder = folder
        self.certificate, self.key = (os.path.join(folder, n) for n in ("tls.crt", "tls.key"))
        os.makedirs(folder)
        self.number = 0
        for step in self.steps(leaf):
            step()
        for name in ("tls.crt", "tls.key"):
            os.symlink(os.path.join("..data", name), os.path.join(folder, name))

    def turn(self, leaf):
        self.number += 1
        fresh = os.path.join(self.folder, f"..{self.number}")
        os.makedirs(fresh)
        shutil.copy(leaf.certificate, os.path.join(fresh, "tls.crt"))
        shutil.copy(leaf.key, os.path.join(fresh, "tls.key"))
        os.symlink(os.path.basename(fresh), os.path.join(self.folder, "..data_tmp"))
        os.rename(os.path.join(self.folder, "..data_tmp"), os.path.join(self.folder, "..data"))

    def steps(self, leaf):
        return [lambda: self.turn(leaf)]


def test_files_are_followed_as_others_lay_them_out_and_a_pair_that_does_not_fit_is_waited_for(
        gb, tmp_path, authority):
    leaf = authority.issue("first")
    places = [kind(str(tmp_path / kind.__name__), leaf) for kind in (Certbot, Lego, Mounted)]
    broker = gb(accounts=[READER], config={"workers": 1, "listeners": ["http://127.0.0.1:0"] + [
        {"url": "mqtts://127.0.0.1:0", "certificate": place.certificate, "key": place.key} for place in places]})
    ports = [int(line.rsplit(":", 1)[1]) for line in broker.process.find_log("listener url=mqtts:")]
    first = [text_of(leaf.certificate).strip()] * 3
    assert [presented(port).strip() for port in ports] == first

    second = authority.issue("second")
    mark = broker.process.mark()
    steps = [place.steps(second) for place in places]
    while any(steps):
        for rest in steps:
            if rest:
                rest.pop(0)()
        if any(steps):
            time.sleep(2.2)         # it looks every two seconds, and sees each stage
    wanted = text_of(second.certificate).strip()
    wait_until(lambda: [presented(port).strip() for port in ports] == [wanted] * 3, 20, pause=0.2)
    wait_equal(lambda: len(broker.process.find_log("certificate_loaded", mark)), 3)
    assert not broker.process.find_log("certificate_refused")
    assert broker.metric("isobar_tls_self_signed", listener=f"mqtts://127.0.0.1:{ports[0]}") == 0


# --- of its own making ----------------------------------------------------------


@pytest.fixture
def bare(gb):
    """Isobar with TLS listeners and nothing about certificates in its configuration."""
    assert not os.path.exists("/etc/isobar/fullchain.pem"), "this machine has a certificate in the default place"
    return gb(accounts=[READER], config={"workers": 1, "listeners": [
        "mqtts://127.0.0.1:0", "wss://0.0.0.0:0", "http://127.0.0.1:0"]})


def test_without_a_certificate_one_is_made_that_who_has_the_file_can_trust(bare):
    folder = os.path.join(bare.data, "self-signed")
    certificate, key = (os.path.join(folder, name) for name in ("certificate.pem", "key.pem"))
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    names = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-ext", "subjectAltName"],
                           capture_output=True, text=True, check=True).stdout
    host = socket.gethostname()
    host = host if re.fullmatch("[A-Za-z0-9.-]+", host) else "localhost"
    assert {f"DNS:{host}", "DNS:localhost", "IP Address:127.0.0.1"} <= set(
        names.split("\n", 1)[1].strip().split(", "))
    before = presented(bare.ports["mqtts"], trusted=certificate)
    assert before.strip() == text_of(certificate).strip()

    bare.stop()
    bare.start()
    assert presented(bare.ports["mqtts"], trusted=certificate) == before
    assert not bare.process.find_log("certificate_made")


def test_on_the_loopback_address_it_is_for_localhost_too(gb):
    broker = gb(config={"workers": 1, "listeners": ["mqtts://127.0.0.1:0", "http://127.0.0.1:0"]})
    names = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in",
                            os.path.join(broker.data, "self-signed", "certificate.pem")],
                           capture_output=True, text=True, check=True).stdout
    assert "DNS:localhost" in names and "IP Address:127.0.0.1" in names


def test_a_certificate_of_its_own_is_loudly_marked(bare, authority):
    urls = [f"mqtts://127.0.0.1:{bare.ports['mqtts']}", f"wss://0.0.0.0:{bare.ports['wss']}"]
    wait_equal(lambda: len(bare.process.find_log(
        r"warn .*cli self_signed listener=.*self-signed/certificate\.pem")), 2)
    assert [bare.metric("isobar_tls_self_signed", listener=url) for url in urls] == [1, 1]
    assert bare.metric("isobar_certificate_expiry_seconds", listener=urls[0],
                       file=os.path.join(bare.data, "self-signed", "certificate.pem")) > 364 * 86400
    shown = bare.get_json("/api/v1/status")["certificates"]
    assert [(row["listener"], row["self_signed"]) for row in shown] == [(url, True) for url in urls]
    checked = isobar("check", "-c", bare.path)
    assert checked.returncode == 0 and checked.stdout.count("TLS without a certificate; a self-signed one") == 2

    leaf = authority.issue("real")
    bare.config["tls"] = {"certificate": leaf.certificate, "key": leaf.key}
    bare.write_config()
    mark = bare.reload()
    bare.process.wait_log("reloaded", mark)
    presented(bare.ports["mqtts"], trusted=authority.certificate)
    assert [bare.metric("isobar_tls_self_signed", listener=url) for url in urls] == [0, 0]
    assert not bare.process.find_log("self_signed", mark)
    assert "warning" not in isobar("check", "-c", bare.path).stdout


@pytest.mark.parametrize("end,word", [("20200102000000Z", "has expired"), (None, "expires within 30 days")])
def test_check_tells_of_a_certificate_that_clients_will_refuse(end, word, gb, authority):
    soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=29)).strftime("%Y%m%d%H%M%SZ")
    leaf = authority.issue("old", end=end or soon)
    broker = gb(start=False, config={"listeners": ["mqtts://127.0.0.1:0"],
                                     "tls": {"certificate": leaf.certificate, "key": leaf.key}})
    checked = isobar("check", "-c", broker.path)
    assert checked.returncode == 0
    assert re.search(rf"warning: .*:\d+:\d+: listeners: the certificate {leaf.certificate} {word}", checked.stdout)
    broker.config["tls"] = {"certificate": authority.certificate, "key": authority.key}
    broker.write_config()
    assert "is self-signed, which clients cannot verify" in isobar("check", "-c", broker.path).stdout


def test_what_is_configured_and_not_there_is_a_fault_and_nothing_is_made(gb, tmp_path):
    broker = gb(start=False, config={"listeners": ["mqtts://127.0.0.1:0"],
                                     "tls": {"certificate": str(tmp_path / "none.pem")}})
    checked = isobar("check", "-c", broker.path)
    assert checked.returncode == 2 and "TLS without a certificate: cannot read" in checked.stdout
    assert isobar("run", "-c", broker.path).returncode == 2
    assert not os.path.exists(os.path.join(broker.data, "self-signed"))
