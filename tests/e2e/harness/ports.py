"""TCP ports for programs that cannot take an ephemeral one and tell which (mosquitto).

They lie below the kernel's ephemeral range, so that no outgoing connection takes one while the
program it belongs to is stopped for a moment.
"""
import os
import random
import socket

_random = random.Random(os.getpid() ^ random.SystemRandom().getrandbits(32))
_given = set()


def free_port(low=20000, high=32000):
    while True:
        port = _random.randrange(low, high)
        if port in _given:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
