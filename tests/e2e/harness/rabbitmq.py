"""A real RabbitMQ with its MQTT plugin: slow to start, so a module shares one.

Everything it has is below one folder, also Erlang's port mapper, which runs on a port of its own: no
RabbitMQ of this machine is touched.
"""
import json
import os
import signal

from .ports import free_port
from .process import Process, wait_until

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"


class RabbitMQ:
    """users: {name: (password, regular expression of routing keys it may publish)}; in a routing key
    the levels of a topic are parted by dots."""

    def __init__(self, folder, users):
        self.folder = os.path.join(str(folder), "rabbitmq")
        os.makedirs(self.folder, exist_ok=True)
        self.users = users
        self.port = free_port()
        self.mapper = None
        self.process = None

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        return path

    def _definitions(self):
        everything = {"vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        return json.dumps({
            "vhosts": [{"name": "/"}],
            "users": [{"name": name, "password": password, "tags": ""}
                      for name, (password, _) in self.users.items()],
            "permissions": [{"user": name, **everything} for name in self.users],
            "topic_permissions": [
                {"user": name, "vhost": "/", "exchange": "amq.topic", "write": write, "read": ".*"}
                for name, (_, write) in self.users.items()],
        })

    def _environment(self, mapper_port):
        definitions = self._write("definitions.json", self._definitions())
        config = self._write("rabbitmq.conf", "\n".join([
            f"listeners.tcp.1 = 127.0.0.1:{free_port()}",
            f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.port}",
            "mqtt.allow_anonymous = false",
            f"load_definitions = {definitions}",
            "log.console = true",
            "log.console.level = info",
        ]) + "\n")
        return {
            **os.environ,
            "HOME": self.folder,    # of the Erlang cookie
            "ERL_EPMD_PORT": str(mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": config,
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_MNESIA_BASE": os.path.join(self.folder, "mnesia"),
            "RABBITMQ_LOG_BASE": os.path.join(self.folder, "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self._write("plugins", "[rabbitmq_mqtt].\n"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
        }

    def start(self, limit=90.0):
        mapper_port = free_port()
        environment = self._environment(mapper_port)
        self.mapper = Process(["epmd", "-port", str(mapper_port), "-address", "127.0.0.1"], "epmd",
                              env=environment)
        log = os.path.join(self.folder, "console")
        # Its own output goes to a file, so that no pipe is left to whoever outlives it.
        self.process = Process(["sh", "-c", f'exec "{SERVER}" > "{log}" 2>&1'], "rabbitmq",
                               env=environment)

        def text():
            try:
                with open(log, encoding="utf-8", errors="replace") as f:
                    return f.read()
            except FileNotFoundError:
                return ""
        wait_until(lambda: "Server startup complete" in text() or not self.process.is_running(),
                   limit, lambda: "rabbitmq:\n" + text(), pause=0.1)
        assert self.process.is_running(), text()
        return self

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    def end(self):
        if self.process:
            self.process.signal(signal.SIGTERM)     # the shell passes it on and waits
            self.process.wait(60)
        if self.mapper:
            self.mapper.end()
