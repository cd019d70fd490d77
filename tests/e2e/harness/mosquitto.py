"""A real mosquitto broker: stands for a WIS2 Node, a cache or another Global Broker."""
import os
import shutil
import signal
import subprocess

from .ports import free_port
from .process import Process


def _program():
    return shutil.which("mosquitto") or "/usr/sbin/mosquitto"


class Mosquitto:
    """folder: for its files. log: the log_type of its lines. users: {name: password}, or None to let everyone in. tls: a
    certificate of harness.certificates. options: further lines of mosquitto.conf. websocket: with a
    second listener, at websocket_url."""

    def __init__(self, folder, name="node", users=None, tls=None, options=(), port=None,
                 websocket=False, log="all"):
        self.folder = os.path.join(str(folder), "mosquitto-" + name)
        os.makedirs(self.folder, exist_ok=True)
        self.name = name
        self.port = port or free_port()
        self.websocket_port = free_port() if websocket else None
        self.tls = tls
        self.options = list(options)
        self.log = log
        self.password_file = None
        if users is not None:
            self.password_file = os.path.join(self.folder, "passwords")
            self.set_users(users)
        self.process = None

    def set_users(self, users):
        with open(self.password_file, "w", encoding="ascii") as f:
            os.chmod(self.password_file, 0o600)
            f.writelines(f"{user}:{password}\n" for user, password in users.items())
        subprocess.run(["mosquitto_passwd", "-U", self.password_file], check=True)

    def _listener(self, port):
        yield f"listener {port} 127.0.0.1"
        if self.tls:
            yield f"certfile {self.tls.certificate}"
            yield f"keyfile {self.tls.key}"

    def _configuration(self):
        yield from self._listener(self.port)
        if self.websocket_port:
            yield from self._listener(self.websocket_port)
            yield "protocol websockets"
        if self.password_file:
            yield "allow_anonymous false"
            yield f"password_file {self.password_file}"
        else:
            yield "allow_anonymous true"
        if os.getuid() == 0:
            yield "user root"
        yield "persistence true"
        yield f"persistence_location {self.folder}/"
        yield "max_queued_messages 0"
        yield "max_inflight_messages 100"
        yield "log_dest stderr"
        yield f"log_type {self.log}"
        yield from self.options

    def start(self):
        path = os.path.join(self.folder, "mosquitto.conf")
        with open(path, "w", encoding="ascii") as f:
            f.writelines(line + "\n" for line in self._configuration())
        self.process = Process([_program(), "-c", path], f"mosquitto {self.name}")
        self.process.wait_log(r"mosquitto version .* running")
        return self

    def stop(self):
        """Cleanly: sessions and what is queued for them are saved."""
        self.process.end()

    def reload(self):
        mark = self.process.mark()
        self.process.signal(signal.SIGHUP)
        self.process.wait_log(r"Reloading config", since=mark)

    @property
    def url(self):
        return f"{'mqtts' if self.tls else 'mqtt'}://127.0.0.1:{self.port}"

    @property
    def websocket_url(self):
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.websocket_port}"
