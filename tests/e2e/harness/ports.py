"""TCP ports for programs that cannot take an ephemeral one and tell which (mosquitto).

They lie below the kernel's ephemeral range, so that no outgoing connection takes one while the
program it belongs to is stopped for a moment; for the same reason each of pytest's processes has a part
of the range for itself, and Redis, which takes two ports 10 000 apart, a range that no other port is in.

    10000 ... 15000         Redis
    20000 ... 25000         the cluster's bus of each of these
    25000 ... 32000         all others
"""
import os
import random
import socket

_random = random.Random(os.getpid() ^ random.SystemRandom().getrandbits(32))
_given = set()


def _part(low, high):
    """Of pytest's processes (gw0, gw1, ...) the one that this is."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    width = (high - low) // count
    return low + number * width, low + (number + 1) * width


def free_port(low=25000, high=32000):
    while True:
        port = _random.randrange(*_part(low, high))
        if port in _given:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
