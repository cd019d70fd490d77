"""A certificate authority of a test's own, made with openssl."""
import os
import subprocess
from dataclasses import dataclass

_CONFIGURATION = """
[ca]
default_ca = d
[d]
dir = {folder}
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
default_crl_days = 30
policy = p
unique_subject = no
[p]
organizationName = optional
commonName = supplied
[req]
distinguished_name = n
prompt = no
[n]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[leaf]
basicConstraints = CA:FALSE
subjectAltName = {names}
"""


@dataclass
class Certificate:
    certificate: str
    key: str


def _openssl(*argv):
    subprocess.run(["openssl", *argv], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Authority:
    def __init__(self, folder):
        self.folder = os.path.join(str(folder), "authority")
        os.makedirs(self.folder, exist_ok=True)
        open(os.path.join(self.folder, "index.txt"), "w", encoding="ascii").close()
        self.certificate = self._path("ca.pem")
        self.key = self._path("ca.key")
        config = self._config("DNS:unused")
        self._make_key(self.key)
        _openssl("req", "-x509", "-new", "-key", self.key, "-out", self.certificate, "-days", "30",
                 "-subj", "/CN=Isobar test authority", "-config", config,
                 "-extensions", "authority")

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _config(self, names):
        path = self._path("openssl.cnf")
        with open(path, "w", encoding="ascii") as f:
            f.write(_CONFIGURATION.format(folder=self.folder, names=names))
        return path

    @staticmethod
    def _make_key(path):
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)

    def issue(self, name, names="IP:127.0.0.1,DNS:localhost", start="20200101000000Z",
              end="20991231235959Z", subject=None):
        """A certificate of subject (/CN=name) for the names given, valid from start to end."""
        made = Certificate(self._path(name + ".pem"), self._path(name + ".key"))
        request = self._path(name + ".csr")
        config = self._config(names)
        self._make_key(made.key)
        _openssl("req", "-new", "-key", made.key, "-subj", subject or "/CN=" + name, "-config", config,
                 "-out", request)
        _openssl("ca", "-batch", "-config", config, "-extensions", "leaf", "-cert",
                 self.certificate, "-keyfile", self.key, "-in", request, "-out", made.certificate,
                 "-startdate", start, "-enddate", end, "-notext")
        return made

    def revoke(self, *revoked):
        """A PEM file with the authority's certificate and its list of those revoked."""
        config = self._config("DNS:unused")
        signer = ["-config", config, "-cert", self.certificate, "-keyfile", self.key]
        for one in revoked:
            _openssl("ca", *signer, "-revoke", one.certificate)
        crl, both = self._path("crl.pem"), self._path("ca-and-crl.pem")
        _openssl("ca", *signer, "-gencrl", "-out", crl)
        with open(both, "w", encoding="ascii") as out:
            for path in (self.certificate, crl):
                with open(path, encoding="ascii") as part:
                    out.write(part.read())
        return both
