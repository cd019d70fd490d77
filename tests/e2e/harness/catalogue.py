"""A Global Discovery Catalogue: an HTTPS server whose answers a test sets."""
import http.server
import json
import ssl
import threading
from dataclasses import dataclass, field

from .process import patience

ITEMS = "/collections/wis2-discovery-metadata/items"


def record(centre, local, *tails, channel="origin"):
    """A record as catalogues give it, cut to what matters and a little more."""
    identifier = f"urn:wmo:md:{centre}:{local}"
    links = [{"rel": "items", "type": "application/json", "title": "notifications",
              "href": "mqtts://everyone:everyone@gb.example.org:8883",
              "channel": f"{channel}/a/wis2/{centre}/{tail}"} for tail in tails]
    links.append({"rel": "license", "href": "https://example.org/license"})
    return {"id": identifier, "type": "Feature", "geometry": None,
            "conformsTo": ["http://wis.wmo.int/spec/wcmp/2/conf/core"],
            "properties": {"title": "A dataset, \"quoted\" [and] {so on}"}, "links": links}


def page(records, next_page=None):
    links = [{"rel": "self", "href": "."}]
    if next_page:
        links.append({"rel": "next", "href": next_page})
    return json.dumps({"type": "FeatureCollection", "features": records,
                       "numberReturned": len(records), "links": links}).encode()


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    pieces: object = None       # an iterable of bytes instead of the body
    stall: object = None        # a threading.Event: after the head nothing comes until it is set


class Catalogue:
    """answers: {path with query: Answer or a function of the request that gives one}."""

    def __init__(self, authority, name="catalogue", tls=True):
        self.answers = {}
        self.requests = []      # (path, headers)
        self.changed = threading.Condition()
        catalogue = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with catalogue.changed:
                    catalogue.requests.append((self.path, dict(self.headers.items())))
                    catalogue.changed.notify_all()
                answer = catalogue.answers.get(self.path.split("?")[0], Answer(status=404))
                answer = answer(self) if callable(answer) else answer
                try:
                    catalogue.send(self, answer)
                except OSError:     # the client has had enough
                    self.close_connection = True

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *arguments: None
        if tls:
            certificate = authority.issue(name)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.base = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def send(handler, answer):
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if answer.pieces is None and "Content-Length" not in answer.headers:
            handler.send_header("Content-Length", str(len(answer.body)))
        if answer.pieces is not None or "Content-Length" in answer.headers:
            handler.send_header("Connection", "close")
            handler.close_connection = True
        handler.end_headers()
        handler.wfile.write(answer.body)
        for piece in answer.pieces or ():
            handler.wfile.write(piece)
        handler.wfile.flush()
        if answer.stall:
            answer.stall.wait(60)

    def serve(self, records, path=ITEMS, **settings):
        """These records on one page from now on."""
        self.answers[path] = Answer(page(records), **settings)

    def url(self, path=ITEMS):
        return self.base + path

    def wait_requests(self, count, limit=20.0):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count,
                                         limit * patience()), self.requests

    def end(self):
        self.server.shutdown()
        self.server.server_close()
