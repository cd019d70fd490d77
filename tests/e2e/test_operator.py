"""`isobar client`, `isobar notice`, `isobar health`: orders to a running broker."""
import base64
import json
import os
import stat

import pytest

from harness.clients import V4, V5
from harness.isobar import Isobar, isobar
from harness.peer import Peer

ADMIN = {"user": "ops", "password": "ops", "admin": True}
READER = {"user": "reader", "password": "reader", "read": ["#"], "max_qos": 1}
BANNED = {V5: 0x8A, V4: 5}


def tell(broker, *arguments):
    return isobar(*arguments, "-c", broker.path)


def listed(broker, *arguments):
    result = tell(broker, "client", "list", "--json", *arguments)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def broker(gb):
    return gb(accounts=[ADMIN, READER])


@pytest.fixture
def reader(broker, client):
    def make(client_id, **settings):
        return client(broker.port, user="reader", password="reader", client_id=client_id, **settings)
    return make


def test_health_tells_a_ready_broker_from_one_that_is_not_there(broker):
    result = tell(broker, "health")
    assert result.returncode == 0 and json.loads(result.stdout)["ready"] is True
    broker.stop()
    result = tell(broker, "health")
    assert result.returncode == 3 and "none runs there" in result.stderr
    assert not os.path.exists(os.path.join(broker.data, "control"))


def test_only_the_owner_may_open_the_socket(broker):
    mode = os.stat(os.path.join(broker.data, "control")).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


def test_a_socket_left_over_by_a_kill_is_replaced(broker):
    broker.kill()
    broker.process.wait(10)
    assert tell(broker, "health").returncode == 3
    broker.start()
    assert tell(broker, "health").returncode == 0


def test_clients_are_listed_with_what_an_operator_asks(broker, reader):
    five, three = reader("five"), reader("three", version=V4)
    five.subscribe("a/#")
    rows = {row["client_id"]: row for row in listed(broker)}
    assert set(rows) == {"five", "three"}
    assert rows["five"]["protocol"] == "5" and rows["three"]["protocol"] == "3.1.1"
    assert rows["five"]["user"] == "reader" and rows["five"]["transport"] == "mqtt"
    assert rows["five"]["subscriptions"] == 1 and rows["three"]["subscriptions"] == 0
    assert rows["five"]["address"].startswith("127.0.0.1:")
    assert [row["client_id"] for row in listed(broker, "--client-id", "three")] == ["three"]
    assert len(listed(broker, "--address", "127.0.0.0/8")) == 2
    assert listed(broker, "--address", "10.0.0.0/8") == []
    assert listed(broker, "--user", "ops") == []
    table = tell(broker, "client", "list").stdout
    assert "three" in table and "lag" in table


def test_all_clients_are_listed_though_they_come_in_pieces(broker, keeper):
    """More than a walk tells at one turn (256), and than it lists at once (500)."""
    names = [f"c{i}" for i in range(600)]
    for name in names:
        one = Peer(broker.port, 5)
        keeper.keep(one.end)
        one.connect(name, user=b"reader", password=b"reader")
    rows = listed(broker)
    assert sorted(row["client_id"] for row in rows) == sorted(names)
    seen, after = [], ""
    while after is not None:
        page = get_as_admin(broker, f"/api/v1/clients?limit=250{after}")
        assert len(page["clients"]) <= 250
        seen += [row["client_id"] for row in page["clients"]]
        after = f"&after={page['next']}" if page["next"] else None
    assert sorted(seen) == sorted(row["client_id"] for row in rows)


@pytest.mark.parametrize("selector", [["one"], ["--client-id", "one"], ["--user", "reader"],
                                      ["127.0.0.1"], ["--address", "127.0.0.0/8"]])
def test_a_kicked_client_is_told_why_and_may_come_back(broker, reader, selector):
    one = reader("one")
    result = tell(broker, "client", "kick", *selector)
    assert result.returncode == 0 and "1 closed" in result.stdout, result.stderr
    assert one.wait_disconnected() == 0x98
    one.end()
    broker.process.wait_log(r"operator order=kick .*by=\S+ uid=\d+ pid=\d+")
    reader("one")
    assert tell(broker, "client", "kick", "nobody").returncode == 1


@pytest.mark.parametrize("what", ["the one", "127.0.0.0/8"])
@pytest.mark.parametrize("version", [V4, V5])
def test_a_ban_closes_refuses_and_outlives_a_restart(broker, reader, version, what):
    one = reader("the one", version=version)
    result = tell(broker, "client", "ban", what, "--why", "floods")
    assert result.returncode == 0 and "1 closed" in result.stdout, result.stderr
    one.wait_disconnected()
    one.end()
    assert reader("the one", version=version, connect=False).refused() == BANNED[version]
    broker.stop()
    broker.start()
    assert reader("the one", version=version, connect=False).refused() == BANNED[version]
    shown = tell(broker, "client", "list", "--banned").stdout
    assert what in shown and "floods" in shown
    assert tell(broker, "client", "unban", what).returncode == 0
    reader("the one", version=version)
    assert tell(broker, "client", "unban", what).returncode == 1
    assert tell(broker, "client", "list", "--banned").stdout == ""


def test_what_is_no_address_is_not_banned(broker):
    result = tell(broker, "client", "ban", "--address", "10.0.0.1/8")
    assert result.returncode == 2 and "192.0.2.0/24" in result.stderr
    assert tell(broker, "client", "ban").returncode == 2


@pytest.mark.parametrize("mistyped", ["192.0.2.7/99", "192.0.2.7/24", "300.1.2.3", "2001:db8::/129", "fe80:::1"])
@pytest.mark.parametrize("action", ["kick", "ban"])
def test_a_mistyped_address_is_not_taken_for_a_client(action, mistyped, broker):
    result = tell(broker, "client", action, mistyped)
    assert result.returncode == 2 and f"{mistyped}: not an address" in result.stderr
    assert tell(broker, "client", "list", "--banned").stdout == ""


def test_a_client_id_like_an_address_is_banned_when_it_is_said_so(broker):
    assert tell(broker, "client", "ban", "--client-id", "1.2").returncode == 0
    assert tell(broker, "client", "ban", "aa:bb:cc:dd:ee:ff").returncode == 0
    assert tell(broker, "client", "list", "--banned").stdout.count("client-id") == 2


def test_who_is_not_banned_is_named(broker):
    result = tell(broker, "client", "unban", "192.0.2.7")
    assert result.returncode == 1 and '"192.0.2.7" is not banned' in result.stderr


@pytest.mark.parametrize("arguments", [
    ["health"], ["client", "list"], ["notice", "text"], ["compare", "--theirs", "mqtt://127.0.0.1:1"],
    ["source", "list"], ["account", "list"], ["version"], ["check"], ["export", "-"], ["run"]])
def test_a_configuration_that_cannot_be_read_names_no_other_broker(arguments, tmp_path):
    result = isobar(*arguments, "-c", tmp_path / "none.yaml")
    assert result.returncode == 2
    assert "none.yaml" in result.stderr + result.stdout and "No such file" in result.stderr + result.stdout


def test_a_list_of_nobody_has_a_head_and_of_no_broker_has_none(broker):
    assert tell(broker, "client", "list").stdout.startswith("client id ")
    broker.stop()
    result = tell(broker, "client", "list")
    assert (result.returncode, result.stdout) == (3, "") and "none runs there" in result.stderr


def test_a_damaged_file_of_bans_is_no_start_without_bans(gb):
    broker = gb(start=False)
    os.makedirs(broker.data)
    with open(os.path.join(broker.data, "bans"), "w", encoding="utf-8") as f:
        f.write("nonsense\n")
    result = isobar("run", "-c", broker.path)
    assert result.returncode == 3 and "bans:1: not a ban" in result.stderr


def test_a_notice_becomes_a_monitoring_event(broker, client):
    listener = client(broker.port, user="reader", password="reader")
    listener.subscribe("monitor/a/wis2/#", qos=1)
    assert tell(broker, "notice", "We move to another rack.").returncode == 0
    assert tell(broker, "notice", "New disks.", "--from", "2026-05-04T10:00:00Z",
                "--until", "2026-05-04T11:30:00Z").returncode == 0
    assert tell(broker, "notice", "For a while.", "--from", "2026-05-04T10:00:00Z").returncode == 0

    def notices():
        """The broker may tell of its start in between."""
        events = [json.loads(m.payload) for m in list(listener.events)]
        return [e for e in events if e["data"].get("subtype") == "gb-notice"]
    listener.wait(lambda: len(notices()) == 3, what="three notices")
    plain, timed, open_end = notices()
    assert plain["data"]["content"]["description"] == "We move to another rack."
    assert "time" not in plain["data"]
    assert timed["data"]["content"]["title"] == "Scheduled maintenance"
    assert timed["data"]["time"] == {"interval": ["2026-05-04T10:00:00Z", "2026-05-04T11:30:00Z"]}
    assert open_end["data"]["time"]["interval"][1] == ".."


def test_how_long_a_notice_may_be_is_told(broker):
    assert tell(broker, "notice", "x" * 4000).returncode == 0
    result = tell(broker, "notice", "x" * 4001)
    assert result.returncode == 2 and "at most 4000 bytes" in result.stderr


@pytest.mark.parametrize("arguments", [
    ["notice"], ["notice", "a", "b"], ["notice", ""], ["notice", "a", "--from", "tomorrow"],
    ["notice", "a", "--from", "2026-02-30T10:00:00Z"],
    ["notice", "a", "--from", "2026-05-04T10:00:00Z", "--until", "2026-05-03T10:00:00Z"],
    ["client"], ["client", "nonsense"], ["client", "list", "x"], ["health", "x"]])
def test_wrong_usage_is_told(arguments, tmp_path):
    result = isobar(*arguments, "-c", Isobar(tmp_path).path)
    assert result.returncode == 2 and "isobar" in result.stderr


def get_as_admin(broker, path, user="ops"):
    token = base64.b64encode(f"{user}:{user}".encode()).decode()
    status, _, body = broker.get(path, headers={"Authorization": "Basic " + token})
    return json.loads(body) if status == 200 else status


def test_the_page_of_clients_is_for_admins(broker, reader):
    reader("one")
    assert broker.get("/api/v1/clients")[0] == 401
    assert get_as_admin(broker, "/api/v1/clients", "reader") == 403
    page = get_as_admin(broker, "/api/v1/clients")
    assert [row["client_id"] for row in page["clients"]] == ["one"] and page["next"] is None
    assert get_as_admin(broker, "/api/v1/clients?client_id=two")["clients"] == []
    assert len(get_as_admin(broker, "/api/v1/clients?address=127.0.0.0/8&user=reader")["clients"]) == 1
    for wrong in ("limit=0", "limit=5001", "after=x", "address=10.0.0.1/8"):
        assert get_as_admin(broker, "/api/v1/clients?" + wrong) == 400
