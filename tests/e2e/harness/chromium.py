"""A headless Chromium, spoken to by the DevTools protocol over two pipes.

    browser = Chromium(folder)
    page = browser.open("http://127.0.0.1:8080/")
    page.evaluate("document.title")
    page.errors             what went to the console as an error, and what the page threw

A page keeps what it calls through a binding: page.bind("emit", function).
"""
import base64
import hashlib
import json
import os
import shutil
import subprocess
import threading

from .process import patience, wait_until


def _pin(certificate):
    """The digest of a certificate's public key: what Chromium is told to trust in a test."""
    key = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], check=True,
                         capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, check=True,
                         capture_output=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


class Chromium:
    """trust: the path of a server's certificate."""

    def __init__(self, folder, trust=None):
        argv = [shutil.which("chromium") or "chromium", "--headless", "--no-sandbox",
                "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-background-networking", "--disable-component-update",
                "--disable-default-apps", "--disable-extensions", "--disable-sync",
                "--metrics-recording-only", "--no-proxy-server", "--remote-debugging-pipe",
                f"--user-data-dir={os.path.join(str(folder), 'chromium')}"]
        if trust:
            argv.append(f"--ignore-certificate-errors-spki-list={_pin(trust)}")
        theirs_in, self.orders = os.pipe()
        self.answers, theirs_out = os.pipe()
        # It reads descriptor 3 and writes to 4.
        shell = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "chromium", *argv]
        self.popen = subprocess.Popen(shell, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, pass_fds=(theirs_in, theirs_out))
        os.close(theirs_in)
        os.close(theirs_out)
        self.changed = threading.Condition()
        self.results = {}
        self.last = 0
        self.pages = {}
        self.ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        rest = b""
        while True:
            try:
                more = os.read(self.answers, 1 << 20)
            except OSError:
                more = b""
            if not more:
                break
            *whole, rest = (rest + more).split(b"\0")
            for text in whole:
                self._take(json.loads(text))
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _take(self, message):
        if "id" in message:
            with self.changed:
                self.results[message["id"]] = message
                self.changed.notify_all()
        elif message.get("sessionId") in self.pages:
            self.pages[message["sessionId"]].take(message["method"], message["params"])
        elif message["method"] == "Target.detachedFromTarget":
            with self.changed:
                self.pages.pop(message["params"]["sessionId"], None)
                self.changed.notify_all()

    def send(self, method, session=None, **params):
        """Without waiting; the number of the call."""
        with self.changed:
            self.last += 1
            call = {"id": self.last, "method": method, "params": params}
            if session:
                call["sessionId"] = session
            data = json.dumps(call).encode() + b"\0"
            while data:
                data = data[os.write(self.orders, data):]
            return call["id"]

    def call(self, method, session=None, limit=20.0, **params):
        number = self.send(method, session, **params)
        with self.changed:
            self.changed.wait_for(lambda: number in self.results or self.ended, limit * patience())
            assert number in self.results, f"chromium does not answer {method}"
            answer = self.results.pop(number)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def open(self, url="about:blank"):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, target, session)
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(domain + ".enable", session)
        if url != "about:blank":
            page.go(url)
        return page

    def end(self):
        try:
            self.send("Browser.close")
            self.popen.wait(10 * patience())
        except (OSError, subprocess.TimeoutExpired):
            self.popen.kill()
            self.popen.wait()
        os.close(self.orders)
        os.close(self.answers)


class Page:
    def __init__(self, browser, target, session):
        self.browser, self.target, self.session = browser, target, session
        self.errors = []
        self.requests = []          # addresses asked for
        self.bindings = {}
        self.loads = 0

    def take(self, method, params):
        """An event, on the reading thread."""
        if method == "Runtime.bindingCalled":
            self.bindings[params["name"]](params["payload"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(params["args"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loads += 1

    def bind(self, name, function):
        self.bindings[name] = function
        self.browser.call("Runtime.addBinding", self.session, name=name)

    def go(self, url):
        before = self.loads
        self.browser.call("Page.navigate", self.session, url=url)
        wait_until(lambda: self.loads > before, what=f"{url} in chromium")

    def evaluate(self, expression):
        answer = self.browser.call("Runtime.evaluate", self.session, expression=expression,
                                   returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (expression[:200], answer)
        return answer["result"].get("value")

    def close(self):
        """As a person closes a tab: connections of the page end without a good-bye of MQTT. When
        this returns its scripts run no more."""
        browser = self.browser
        browser.call("Target.closeTarget", targetId=self.target)
        with browser.changed:
            assert browser.changed.wait_for(lambda: self.session not in browser.pages,
                                            20 * patience()), "the page does not close"
