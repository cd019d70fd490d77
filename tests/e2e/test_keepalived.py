"""deploy/keepalived, judged by keepalived itself for both machines."""
import getpass
import os
import shutil
import subprocess

import pytest

from harness.haproxy import DEPLOY, text_of

PROGRAM = shutil.which("keepalived") or "/usr/sbin/keepalived"


def text():
    with open(os.path.join(DEPLOY, "keepalived", "keepalived.conf"), encoding="utf-8") as f:
        return f.read()


def judge(folder, configuration, machine):
    """(exit status, what it says). keepalived 2.2's --config-test ends itself when it has to change users for
    a script, so the script's user is that of the test."""
    path, log = os.path.join(folder, "keepalived.conf"), os.path.join(folder, "log")
    assert "script_user nobody nogroup" in configuration
    with open(path, "w", encoding="utf-8") as f:
        f.write(configuration.replace("script_user nobody nogroup", f"script_user {getpass.getuser()}"))
    open(log, "w", encoding="utf-8").close()
    status = subprocess.run([PROGRAM, f"--config-test={log}", "-f", path, "--config-id", machine],
                            check=False).returncode
    with open(log, encoding="utf-8") as f:
        return status, f.read()


@pytest.mark.parametrize("machine", ["lb1", "lb2"])
def test_the_file_is_valid_on_both_machines(machine, tmp_path):
    assert judge(tmp_path, text(), machine) == (0, "")


def test_a_slip_would_be_found(tmp_path):
    status, said = judge(tmp_path, text().replace("unicast_src_ip", "unicast_source"), "lb1")
    assert status != 0 and "unicast_source" in said


def test_the_script_asks_what_haproxy_answers():
    for name in ("passthrough.cfg", "terminate.cfg"):
        assert "bind 127.0.0.1:8404" in text_of(name) and "monitor-uri /ready" in text_of(name)
    assert "http://127.0.0.1:8404/ready" in text()
