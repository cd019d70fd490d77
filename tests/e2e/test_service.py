"""What a service manager is told: sd_notify's protocol."""
import socket

import pytest

from harness.process import patience


@pytest.fixture
def manager(tmp_path, monkeypatch):
    path = str(tmp_path / "notify")
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(path)
    told.settimeout(20 * patience())
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    yield told
    told.close()


def test_the_service_manager_is_told_of_each_state(manager, gb):
    broker = gb({})
    assert manager.recv(100) == b"READY=1"
    broker.reload()
    assert manager.recv(100) == b"RELOADING=1" and manager.recv(100) == b"READY=1"
    broker.stop()
    assert manager.recv(100) == b"STOPPING=1"


def test_the_watchdog_hears_of_it_while_workers_turn(manager, gb, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    broker = gb({})
    assert manager.recv(100) == b"READY=1"
    assert manager.recv(100) == b"WATCHDOG=1" and manager.recv(100) == b"WATCHDOG=1"
    broker.stop()
