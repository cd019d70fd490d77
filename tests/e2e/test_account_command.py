"""`isobar account`: the accounts file of a broker that runs or does not."""
import os
import pty
import subprocess

import pytest

from harness.isobar import Isobar, isobar
from harness.process import binary, patience

ACCOUNTS = """# who may what
- user: everyone
  password: everyone
  read: [origin/a/wis2/#]

# at the GC
- user: partner
  password: old
  read: ["#"]
"""


def account(broker, *arguments, text=""):
    return isobar("account", *arguments, "-c", broker.path, text=text)


def read(broker):
    with open(broker.config["accounts_file"], encoding="utf-8") as f:
        return f.read()


@pytest.fixture
def stopped(gb):
    return gb(accounts=ACCOUNTS, start=False)


def test_accounts_are_added_changed_and_removed(stopped):
    assert account(stopped, "add", "ops", "--admin", text="secret\n").returncode == 0
    assert 'password_hash: "$y$' in read(stopped) and "secret" not in read(stopped)
    assert account(stopped, "add", "ops", text="secret\n").returncode == 1
    shown = account(stopped, "list")
    assert shown.returncode == 0 and "$y$" not in shown.stdout
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["everyone", "partner", "ops"]
    assert account(stopped, "passwd", "partner", "-P", "-", text="new\n").returncode == 0
    assert "password: old" not in read(stopped) and "# at the GC\n- user: partner" in read(stopped)
    assert account(stopped, "remove", "ops").returncode == 0
    assert account(stopped, "remove", "ops").returncode == 1
    assert isobar("check", "-c", stopped.path).returncode == 0


def test_half_an_option_is_none_so_no_password_is_an_argument(stopped):
    result = account(stopped, "add", "ops", "--password", "secret")
    assert result.returncode == 2 and "unknown option" in result.stderr and "ops" not in read(stopped)


def test_without_a_file_there_is_nobody_to_change(stopped):
    os.unlink(stopped.config["accounts_file"])
    for action in ("passwd", "remove"):
        result = account(stopped, action, "everyone", text="secret\n")
        assert result.returncode == 1 and "everyone is the one account" in result.stderr
    checked = isobar("check", "-c", stopped.path)
    assert checked.returncode == 2 and "`isobar account add USER` makes it" in checked.stdout
    stopped.config["accounts_file"] = "/nonexistent/accounts.yaml"
    stopped.write_config()
    result = account(stopped, "add", "ops", text="secret\n")
    assert result.returncode == 3 and "accounts_file in" in result.stderr


def test_an_account_for_a_page_alone_reads_and_writes_nothing(stopped):
    """A Global Monitor's."""
    assert account(stopped, "add", "gm", "--page", "metrics", text="secret\n").returncode == 0
    assert read(stopped).endswith('  pages: ["metrics"]\n')
    assert "read" not in read(stopped).split("gm")[1]
    assert "sees metrics" in account(stopped, "list").stdout.splitlines()[-1]


def test_the_file_keeps_its_mode_and_a_new_one_is_closed_to_others(stopped):
    path = stopped.config["accounts_file"]
    os.chmod(path, 0o600)
    assert account(stopped, "add", "a", text="x\n").returncode == 0
    assert os.stat(path).st_mode & 0o777 == 0o600
    os.remove(path)
    assert account(stopped, "add", "a", text="x\n").returncode == 0
    assert os.stat(path).st_mode & 0o777 == 0o640
    assert "- user: everyone" in read(stopped)


def test_nothing_unsound_is_written(stopped):
    before = read(stopped)
    assert account(stopped, "add", "a", "--read", "a/#/b", text="x\n").returncode == 2
    for password in ("", "\n", "x" * 600 + "\n"):
        assert account(stopped, "add", "a", text=password).returncode == 2
    assert account(stopped, "add", "a", "secret", text="x\n").returncode == 2
    assert account(stopped, "add", "a", "--page", "metric", text="x\n").returncode == 2
    assert read(stopped) == before


def test_the_password_comes_from_a_terminal_twice_and_unseen(stopped):
    def type_in(*passwords):
        ours, theirs = pty.openpty()
        process = subprocess.Popen([binary(), "account", "passwd", "partner", "-c", stopped.path],
                                   stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for password in passwords:
            while process.stderr.read(1) != b":":
                pass
            os.write(ours, password + b"\n")
        process.communicate(timeout=10 * patience())
        os.set_blocking(ours, False)
        try:
            seen = os.read(ours, 4096)
        except BlockingIOError:
            seen = b""
        os.close(ours)
        os.close(theirs)
        return process.returncode, seen
    assert type_in(b"one", b"other")[0] == 2 and "password: old" in read(stopped)
    status, seen = type_in(b"hidden", b"hidden")
    assert status == 0 and b"hidden" not in seen and "password: old" not in read(stopped)


def test_a_running_broker_lets_in_whom_it_is_told_of(gb, client, tmp_path):
    broker = gb(accounts=ACCOUNTS)
    secret = tmp_path / "secret"
    secret.write_text("pass word\n")
    result = account(broker, "add", "new", "--read", "a/#", "-P", secret)
    assert "the running broker reads it" in result.stdout, result.stderr
    broker.process.wait_log('operator order=reload what="account add new".* by=')
    broker.process.wait_log("reloaded .*accounts=3")
    one = client(broker.port, user="new", password="pass word")
    assert one.subscribe("a/#") == [1]
    account(broker, "remove", "new")
    assert one.wait_disconnected() == 0x98
    one.end()
    gone = client(broker.port, user="new", password="pass word", connect=False)
    assert gone.refused() == 0x86


def test_without_a_configuration_nothing_is_written(tmp_path):
    result = isobar("account", "add", "x", "-c", tmp_path / "none.yaml", cwd=tmp_path, text="x\n")
    assert result.returncode == 2 and os.listdir(tmp_path) == []
    assert isobar("account", "-c", Isobar(tmp_path).path).returncode == 2
