"""Which pages need an account, and whose; IPv6; what a reload changes of both."""
import base64
import json
import subprocess
import threading
import time

import pytest

from harness.process import wait_quick

PAGES = {"ui": "/", "metrics": "/metrics", "status": "/api/v1/status",
         "sources": "/api/v1/sources", "rejects": "/api/v1/rejects"}


def hashed(password):
    return subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password,
                          capture_output=True, text=True, check=True).stdout.strip()


def accounts():
    return [{"user": "everyone", "password": "everyone", "read": ["#"]},
            {"user": "ops", "password_hash": hashed("hush"), "admin": True},
            {"user": "partner", "password_hash": hashed("secret"), "read": ["#"]}]


def basic(user, password):
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": "Basic " + text}


@pytest.mark.parametrize("public", [["ui", "metrics"], []])
def test_pages_not_public_are_for_an_admin(public, gb):
    broker = gb(accounts=accounts(), config={"http_public": public})
    for name, path in PAGES.items():
        status, headers, _ = broker.get(path)
        if name in public:
            assert status == 200
            continue
        assert status == 401
        assert headers["WWW-Authenticate"].startswith("Basic realm=")
        assert broker.get(path, basic("ops", "hush"))[0] == 200
        assert broker.get(path, basic("partner", "secret"))[0] == 403
        assert broker.get(path, basic("everyone", "everyone"))[0] == 403
    if not public:
        assert broker.get("/api/v1/sources/xx-none")[0] == 401
    for path in ("/healthz", "/readyz"):
        assert broker.get(path)[0] == 200
    assert broker.get("/nothing")[0] == 404
    assert "hush" not in broker.process.log()


def test_an_account_sees_the_pages_it_names_and_no_others(gb, client):
    """MON-06: a Global Monitor scrapes with an account of its own, which may nothing else."""
    rows = accounts() + [{"user": "gm", "password_hash": hashed("scrape"), "pages": ["metrics"]}]
    broker = gb(accounts=rows, config={"http_public": []})
    monitor = basic("gm", "scrape")
    assert broker.get("/metrics", monitor)[0] == 200
    for name, path in PAGES.items():
        if name != "metrics":
            status, _, body = broker.get(path, monitor)
            assert status == 403 and b"pages name it" in body, name
    assert broker.get("/api/v1/clients", monitor)[0] == 403
    reader = client(broker.port, user="gm", password="scrape")
    assert reader.subscribe("origin/a/wis2/#") == [0x87]
    rows[-1]["pages"] = ["status"]
    with open(broker.config["accounts_file"], "w", encoding="utf-8") as f:
        json.dump(rows, f)
    broker.process.wait_log("reloaded", since=broker.reload())
    assert broker.get("/metrics", monitor)[0] == 403
    assert broker.get("/api/v1/status", monitor)[0] == 200


@pytest.mark.parametrize("value", [
    "Basic", "Basic ", "Basic !!!!", "Basic b3Bz", "Basic " + "b3Bz" * 500, "Bearer b3BzOmh1c2g=",
    "Basic b3BzOmh1c2g", "Basic b3BzOmh1c2h4", "Basic Omh1c2g=", "Basic b3BzOmh1c2gA"])
def test_credentials_that_are_none_are_refused(value, gb):
    broker = gb(accounts=accounts(), config={"http_public": []})
    assert broker.get("/metrics", {"Authorization": value})[0] == 401
    assert broker.get("/healthz")[0] == 200


def test_failed_logins_delay_the_next_one_over_http_as_over_mqtt(gb, client):
    broker = gb(accounts=accounts(), config={"http_public": [], "workers": 1})
    for guess in range(5):
        assert broker.get("/metrics", basic("ops", f"wrong{guess}"))[0] == 401
    begun = time.monotonic()
    assert broker.get("/metrics", basic("ops", "hush"))[0] == 200
    assert time.monotonic() - begun >= 1.6
    # a login is remembered for a while: the delay is for others
    assert wait_quick(lambda: broker.get("/metrics", basic("ops", "hush")), 1.6)[0] == 200
    begun = time.monotonic()
    partner = client(broker.port, user="partner", password="secret")
    assert partner.connects[0][0] == 0 and time.monotonic() - begun >= 1.6
    assert broker.get("/healthz")[0] == 200


def test_many_ask_at_once_with_one_login(gb):
    broker = gb(accounts=accounts(), config={"http_public": []})
    broker.get("/metrics", basic("ops", "wrong"))
    got = []

    def ask(password):
        got.append((password, broker.get("/api/v1/status", basic("ops", password))[0]))
    asking = [threading.Thread(target=ask, args=(p,)) for p in ("hush", "wrong2") * 8]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert sorted(set(got)) == [("hush", 200), ("wrong2", 401)] and len(got) == 16


def test_one_who_leaves_while_his_login_waits_disturbs_nobody(gb):
    import socket
    broker = gb(accounts=accounts(), config={"http_public": []})
    for guess in range(3):
        broker.get("/metrics", basic("ops", f"wrong{guess}"))
    text = basic("ops", "hush")["Authorization"]
    request = f"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: {text}\r\n\r\n".encode()
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", broker.http_port)) as s:
            s.sendall(request)
    assert broker.get("/metrics", basic("ops", "hush"))[0] == 200


def test_a_reload_changes_pages_accounts_and_the_listeners_shown(gb):
    broker = gb(accounts=accounts(), config={"http_public": ["status"]})
    shown = broker.get_json("/api/v1/status")["listeners"]
    assert len(shown) == 2
    ops = basic("ops", "hush")
    assert broker.get("/metrics", ops)[0] == 200
    broker.config["http_public"] = ["metrics", "status"]
    broker.config["listeners"] = broker.config["listeners"] + ["mqtt://[::1]:0"]
    broker.write_config()
    broker.process.wait_log("cli reloaded", since=broker.reload())
    assert broker.get("/metrics")[0] == 200
    now = broker.get_json("/api/v1/status")["listeners"]
    assert len(now) == 3 and set(shown) < set(now) and any("[::1]:" in url for url in now)
    with open(broker.config["accounts_file"], "w", encoding="utf-8") as f:
        json.dump(accounts()[:1], f)
    broker.process.wait_log("cli reloaded", since=broker.reload())
    assert broker.get("/api/v1/sources", ops)[0] == 401
    # a refused configuration changes nothing
    broker.config["http_public"] = ["everything"]
    broker.config["limits"] = {"connections_per_address": 1}
    broker.write_config()
    broker.process.wait_log("configuration_refused", since=broker.reload())
    assert broker.get("/metrics")[0] == 200 and broker.get("/api/v1/sources")[0] == 401
