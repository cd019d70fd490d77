"""Fixtures: each makes things that are gone when the test, or the run, ends."""
import os
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import containers  # noqa: E402  (finds tests/e2e/harness, too)
from harness.clients import Client, Subscriber  # noqa: E402


@pytest.fixture(scope="session")
def images():
    daemon = containers.Daemon()
    made = containers.Images()
    try:
        yield made
    finally:
        made.end()
        daemon.end()


@pytest.fixture
def keep():
    """keep(thing): its end() is called when the test ends, newest first."""
    things = []

    def note(thing):
        things.append(thing)
        return thing
    yield note
    failures = []
    for thing in reversed(things):
        try:
            thing.end()
        except Exception as failure:  # all must be tried
            failures.append(failure)
    assert not failures, failures


@pytest.fixture
def client(keep):
    return lambda *arguments, **settings: keep(Client(*arguments, **settings))


@pytest.fixture
def subscriber(keep):
    return lambda *arguments, **settings: keep(Subscriber(*arguments, **settings))
