"""The page at / as a person sees it: in a real browser."""
import pytest

from harness import notifications as wnm
from harness.chromium import Chromium
from harness.process import wait_equal, wait_until

DWD = "de-dwd"
ALL = "origin/a/wis2/#"
WRITER = {"user": "writer", "password": "writer", "read": [ALL], "write": [ALL]}
EVERYONE = {"user": "everyone", "password": "everyone", "read": [ALL]}
FIGURES = """Object.fromEntries([...document.querySelectorAll("#figures div")].map(box =>
    [box.lastChild.textContent, box.firstChild.textContent]))"""
ROWS = """[...document.querySelectorAll("#sources tr")].map(row =>
    [...row.cells].map(cell => cell.textContent))"""


@pytest.fixture
def browser(tmp_path, keeper):
    made = Chromium(tmp_path)
    keeper.keep(made.end)
    return made


def test_the_page_shows_live_figures_and_reports_no_fault(browser, gb, node, client, subscriber):
    peer = node("dwd")
    broker = gb({DWD: {"centre_id": DWD, "kind": "node", "url": peer.url}},
                accounts=[EVERYONE, WRITER])
    broker.wait_connected(DWD)
    page = browser.open(f"http://127.0.0.1:{broker.http_port}/")

    def shows(name, value):
        wait_until(lambda: page.evaluate(FIGURES).get(name) == value,
                   what=lambda: f"{name} {value}: {page.evaluate(FIGURES)}", pause=0.05)
    shows("clients", "0")
    shows("sources connected", "1 / 1")
    assert broker.config["centre_id"] in page.evaluate("document.body.innerText")
    assert f"-p {broker.port} " in page.evaluate("document.getElementById('example').textContent")
    listener = subscriber(broker.port, ALL)
    shows("clients", "1")
    sender = client(peer.port, user=None)
    messages = wnm.valid_many(DWD, 5)
    sender.publish_all(messages + messages[:2])
    listener.wait_count(5)
    shows("duplicates dropped", "2")
    wait_equal(lambda: page.evaluate(ROWS)[0][:7], [DWD, "node", "connected", "7", "5", "2", "0"])
    assert not page.errors, page.errors
    origin = f"http://127.0.0.1:{broker.http_port}/"
    foreign = [url for url in page.requests if not url.startswith((origin, "data:"))]
    assert not foreign, f"asked elsewhere: {foreign}"


def test_the_page_says_when_nobody_answers(browser, gb):
    broker = gb()
    page = browser.open(f"http://127.0.0.1:{broker.http_port}/")
    wait_until(lambda: page.evaluate(FIGURES).get("clients") == "0", what="figures")
    broker.stop()
    wait_until(lambda: page.evaluate("document.getElementById('sub').textContent")
               .startswith("no answer"), what="no answer")
