"""The playbooks on one machine: everything from nothing, then what an operator does with it in a year.

One machine and one life: the tests go on where the one before ended.
"""
import os
import subprocess

import pytest
import yaml
from lab import PLAYBOOKS, Lab, package

from harness import notifications as wnm
from harness.process import wait_until

BOOKS = ["site.yml", "add-source.yml", "remove-source.yml", "upgrade.yml", "backup.yml", "restore.yml"]
HOST = "gb01"


@pytest.fixture(scope="module")
def lab(request, images, tmp_path_factory):
    made = Lab(images, "one", tmp_path_factory.mktemp("one"))
    try:
        yield made.start()
        if request.session.testsfailed:
            made.tell()
    finally:
        made.end()


def test_ansible_lint_finds_nothing():
    done = subprocess.run(["ansible-lint", "--offline", "-p", "--nocolor"], cwd=PLAYBOOKS, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("layout", ["one", "three", "seven"])
def test_every_playbook_can_be_read_with_an_inventory(layout):
    subprocess.run(["ansible-playbook", "--syntax-check", "-i", f"inventories/{layout}.yml", *BOOKS],
                   cwd=PLAYBOOKS, check=True, stdout=subprocess.DEVNULL)


def test_check_mode_on_an_empty_machine_changes_nothing(lab):
    played = lab.play("site.yml", "--check", check=False)
    assert played.status == 0, played.text[-4000:]
    assert lab.sh(HOST, "ls /etc/isobar /var/lib/isobar-offline 2>/dev/null | wc -l") == "0"
    assert lab.sh(HOST, "getent passwd isobar ansadm || true") == ""


def test_an_empty_machine_becomes_a_global_broker(lab):
    lab.play("site.yml")
    assert lab.json(HOST, "/readyz")["ready"]


def test_a_second_run_changes_nothing(lab):
    played = lab.play("site.yml")
    assert played.changes() == [] and played.count("changed") == 0
    played = lab.play("site.yml", "--check")
    assert played.changes() == []


def test_nobody_can_log_in_as_the_user_that_runs_it(lab):
    assert lab.sh(HOST, "ps -o user= -C isobar | sort -u") == "isobar"
    assert lab.sh(HOST, "getent passwd isobar | cut -d: -f7") == "/usr/sbin/nologin"
    assert lab.sh(HOST, "getent shadow isobar | cut -d: -f2").startswith("!")
    assert lab.sh(HOST, "su isobar -c true > /dev/null 2>&1 || echo refused") == "refused"


def test_people_may_become_the_users_of_the_deployment_and_not_root(lab):
    assert lab.sh(HOST, "su ansadm -c 'sudo -n id -un'") == "root"
    assert lab.sh(HOST, "su meteo -c 'sudo -n -u isobar id -un'") == "isobar"
    assert lab.sh(HOST, "su meteo -c 'sudo -n id -un' 2>/dev/null || echo refused") == "refused"
    assert lab.sh(HOST, "mkdir -p /run/sshd; sshd -T | grep -i '^passwordauthentication'") == "passwordauthentication no"


def test_a_stranger_reaches_subscribers_ports_only(lab):
    stranger = lab.stranger()
    found = {port: lab.is_open(stranger, HOST, port) for port in (443, 8883, 22, 1883, 8080, 9090)}
    assert found == {443: True, 8883: True, 22: False, 1883: False, 8080: False, 9090: False}


def test_a_source_is_added_and_what_it_sends_arrives(lab):
    lab.node("de-dwd")
    played = lab.play("add-source.yml", "-e", "source=de-dwd", "-e", "url=mqtt://de-dwd:1883")
    assert played.count("changed") > 0
    assert lab.play("add-source.yml", "-e", "source=de-dwd", "-e", "url=mqtt://de-dwd:1883").count("changed") == 0
    lab.wait_connected(1)
    reader = lab.subscriber("origin/a/wis2/#")
    sent = wnm.valid_many("de-dwd", 20)
    lab.publisher("de-dwd").publish_all(sent)
    reader.wait_count(20, limit=60)
    assert [m.payload for m in reader.messages] == [m.payload for m in sent]


def test_a_source_that_cannot_be_is_refused_and_nothing_changes(lab):
    before = lab.sh(HOST, "ls /etc/isobar/sources.d; sha256sum /etc/isobar/sources.d/*")
    for wrong in ("source=fr-meteofrance -e url=ftp://host", "source=de-dwd -e url=ftp://host"):
        played = lab.play("add-source.yml", "-e", *wrong.split(), check=False)
        assert played.status != 0 and "url" in played.text, played.text[-2000:]
    assert lab.sh(HOST, "ls /etc/isobar/sources.d; sha256sum /etc/isobar/sources.d/*") == before
    assert lab.sources(HOST) == {"de-dwd"}
    assert not os.path.exists(os.path.join(lab.folder, "sources.d", "fr-meteofrance.yaml"))


def test_prometheus_scrapes_it(lab):
    def up():
        return '"value":[' in lab.get(HOST, "/api/v1/query?query=up%7Bjob%3D%22isobar%22%7D%20%3D%3D%201", 9090)
    wait_until(up, 90, "a scrape", pause=0.5)


def test_what_the_inventory_says_is_taken_in_by_a_reload(lab):
    since = lab.sh(HOST, "systemctl show isobar -p ExecMainStartTimestampMonotonic")
    lab.settings["isobar_settings"] = {"journal": {"size": "256MiB"}, "workers": 1, "limits": {"connections": 777}}
    lab.write_inventory()
    assert lab.play("site.yml", "--tags", "isobar", "--check").changes() == ["isobar : Configure Isobar",
                                                                           "isobar : Reload Isobar"]
    assert lab.play("site.yml", "--tags", "isobar").changes() == ["isobar : Configure Isobar", "isobar : Reload Isobar"]
    assert yaml.safe_load(lab.sh(HOST, "cat /etc/isobar/isobar.yaml"))["limits"] == {"connections": 777}
    assert lab.sh(HOST, "systemctl show isobar -p ExecMainStartTimestampMonotonic") == since


def test_a_certificate_that_certbot_has_renewed_is_served_at_once(lab):
    """By the hook that the role leaves there; HAProxy's file, too."""
    with open(os.path.join(PLAYBOOKS, "roles", "certificates", "files", "renewed.sh"), encoding="ascii") as f:
        lab.sh(HOST, "cat > /usr/local/bin/renewed && chmod 755 /usr/local/bin/renewed", text=f.read())
    lab.sh(HOST, "mkdir -p /tmp/live/isobar /tmp/live/other /etc/haproxy/certs && cd /tmp/live/isobar && "
                 "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=renewed -days 90 "
                 "-keyout privkey.pem -out fullchain.pem 2> /dev/null && groupadd -f haproxy && "
                 "printf '#!/bin/sh\necho \"$@\" > /tmp/told\n' > /usr/local/bin/systemctl && chmod 755 /usr/local/bin/systemctl")
    lab.sh(HOST, "RENEWED_LINEAGE=/tmp/live/other /usr/local/bin/renewed && test ! -e /tmp/told")    # another one's
    lab.sh(HOST, "RENEWED_LINEAGE=/tmp/live/isobar PATH=/usr/local/bin:$PATH renewed; "
                 "rm /usr/local/bin/systemctl /usr/local/bin/renewed")
    wait_until(lambda: "CN = renewed" in lab.sh(
        HOST, "openssl s_client -connect 127.0.0.1:8883 < /dev/null 2> /dev/null | openssl x509 -noout -subject"),
        30, "the new certificate", pause=0.5)
    assert lab.sh(HOST, "stat -c '%U:%G %a' /etc/isobar/privkey.pem") == "root:isobar 640"
    assert lab.sh(HOST, "cat /tmp/told; stat -c '%G %a' /etc/haproxy/certs/isobar.pem; cat /tmp/live/isobar/*.pem | "
                        "cmp - /etc/haproxy/certs/isobar.pem && echo same") == "reload haproxy\nhaproxy 640\nsame"
    lab.sh(HOST, "rm -r /etc/haproxy")
    assert "certificates : Put the key there" in lab.play("site.yml", "--tags", "certificates").changes()


def test_a_new_machine_has_what_the_lost_one_had_and_misses_nothing(lab):
    reader = lab.subscriber("origin/a/wis2/#", client_id="archive", clean=False, expiry=3600)
    reader.disconnect()
    lab.play("backup.yml")
    sent = wnm.valid_many("de-dwd", 5)
    lab.kill(HOST)
    lab.publisher("de-dwd").publish_all(sent)
    lab.boot(HOST)
    lab.wait_booted(HOST)
    lab.write_inventory()
    lab.play("site.yml", "-e", "isobar_restore=new")
    lab.wait_connected(1)
    reader.connect()
    assert reader.connects[-1] == (0, True)     # its session is there
    reader.wait_count(5, limit=60)
    assert {m.payload for m in sent} <= {m.payload for m in reader.messages}


def test_a_machine_goes_back_to_its_newest_backup(lab):
    lab.play("backup.yml")
    later = lab.subscriber("origin/a/wis2/#", client_id="later", clean=False, expiry=3600)
    later.disconnect()
    lab.play("restore.yml")
    later.connect()
    assert later.connects[-1] == (0, False)     # it came after the backup
    assert lab.sources(HOST) == {"de-dwd"}
    assert lab.sh(HOST, "ls -d /var/lib/isobar/replaced-*/journal | wc -l") == "1"
    assert lab.play("site.yml", "--tags", "isobar,certificates").changes() == []


def test_an_upgrade_restarts_it_as_the_next_version_with_its_sessions(lab):
    reader = lab.subscriber("origin/a/wis2/#", client_id="reader", clean=False, expiry=3600)
    newer = package("+next")
    played = lab.play("upgrade.yml", "-e", f"isobar_deb={newer}")
    assert "isobar : Install the package" in played.changes()
    assert lab.sh(HOST, "dpkg-query -W -f '${Version}' isobar").endswith("+next")
    reader.wait(lambda: len(reader.connects) == 2, 60, "a second CONNACK")
    assert reader.connects[-1] == (0, True)
    assert lab.play("upgrade.yml", "-e", f"isobar_deb={newer}").count("changed") == 0


def test_a_source_is_removed(lab):
    lab.play("remove-source.yml", "-e", "source=de-dwd")
    wait_until(lambda: lab.sources(HOST) == set(), 10, "no source")
    assert lab.play("remove-source.yml", "-e", "source=de-dwd").count("changed") == 0
