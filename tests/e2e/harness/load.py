"""A steady load through WIS2 Nodes, and subscribers that count what they get of it.

Some thousand messages a second in one Python process leave no time for a library: Feed and Readers each
have one thread and speak just the MQTT they need. A message is known by its id, and a subscriber keeps
how often it got each.
"""
import selectors
import socket
import struct
import threading
import time
import uuid

from . import notifications as wnm
from . import wire
from .process import patience

TICK = 0.01
RETRY = 0.05
MARK = b'"id": "'


class _Route:
    """To one WIS2 Node: what it has acknowledged is its own to keep from then on."""

    def __init__(self, port):
        self.wire = wire.Wire(port).login(4)
        self.wire.socket.settimeout(0)
        self.open = {}
        self.packet_id = 0
        self.out = bytearray()

    def put(self, identity, topic, payload):
        self.packet_id = self.packet_id % 65535 + 1
        self.open[self.packet_id] = identity
        self.out += wire.publish(topic, payload, 4, 1, self.packet_id)

    def turn(self):
        """Sends what there is to send; the ids acknowledged meanwhile."""
        try:
            while self.out:
                del self.out[:self.wire.socket.send(self.out)]
        except BlockingIOError:
            pass
        try:
            while more := self.wire.socket.recv(65536):
                self.wire.buffer += more
        except BlockingIOError:
            pass
        raw, whole = self.wire.buffer, len(self.wire.buffer) // 4 * 4
        self.wire.buffer = raw[whole:]
        return [self.open.pop(raw[at + 2] << 8 | raw[at + 3]) for at in range(0, whole, 4)]


class Feed:
    """rate: messages a second, all different. Each goes to its centre's broker, one of peers ({centre: a
    Mosquitto}), and, where there is one, to `repeats`, which stands for another Global Broker."""

    def __init__(self, peers, rate, repeats=None):
        self.rate = rate
        self.acknowledged = []      # ids, in the order in which their WIS2 Nodes took them
        self.failure = None
        self.stopping = threading.Event()
        self.routes = {centre: _Route(peer.port) for centre, peer in peers.items()}
        self.repeats = _Route(repeats.port) if repeats else None
        self.forms = [self._form(centre, number) for number in range(4) for centre in peers]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @staticmethod
    def _form(centre, number):
        """(centre, topic, what stands before the id, what behind)."""
        message = wnm.valid(centre, number)
        return (centre, message.topic, *message.payload.split(message.id.encode()))

    def _put(self, number):
        centre, topic, before, behind = self.forms[number % len(self.forms)]
        identity = str(uuid.uuid4()).encode()
        payload = before + identity + behind
        self.routes[centre].put(identity, topic, payload)
        if self.repeats:
            self.repeats.put(identity, topic, payload)

    def _turn(self):
        for route in self.routes.values():
            self.acknowledged += route.turn()
        if self.repeats:
            self.repeats.turn()

    def _run(self):
        try:
            number, begun = 0, time.monotonic()
            while not self.stopping.is_set():
                while number < (time.monotonic() - begun) * self.rate:
                    self._put(number)
                    number += 1
                self._turn()
                time.sleep(TICK)
            end = time.monotonic() + 10 * patience()
            while any(route.open for route in self.routes.values()):
                assert time.monotonic() < end, "WIS2 Nodes do not acknowledge"
                self._turn()
                time.sleep(TICK)
        except Exception as failure:    # told to who waits
            self.failure = failure

    def end(self):
        """How many were acknowledged in all."""
        self.stopping.set()
        self.thread.join()
        for route in [*self.routes.values(), *([self.repeats] if self.repeats else [])]:
            route.wire.end()
        assert not self.failure, self.failure
        return len(self.acknowledged)


class Reader:
    """One subscriber of origin/# at QoS 1, which comes back whenever it is cut off. port: a function that
    gives the one to go to. Read by its Readers' thread only, its counts by anybody."""

    def __init__(self, name, port, is_persistent):
        self.name, self.port, self.is_persistent = name, port, is_persistent
        self.counts = {}            # id -> how often
        self.repeats = 0            # on one and the same connection, not marked as sent again
        self.lost_sessions = 0
        self.connects = 0
        self.longest = (0.0, 0.0)   # seconds without a message, when they ended
        self.latest = None
        self.is_subscribed = False
        self.socket = None
        self.again = 0.0
        self.confirmed = 0          # so many of the feed's, from the first on, have come

    def mark(self):
        """From now on the longest gap is looked for anew."""
        self.longest, self.latest = (0.0, 0.0), time.monotonic()

    def missing(self, acknowledged):
        """Of the feed's ids up to this number those that did not come, from the first missing on."""
        while self.confirmed < len(acknowledged) and acknowledged[self.confirmed] in self.counts:
            self.confirmed += 1
        return [i for i in acknowledged[self.confirmed:] if i not in self.counts]

    # --- on the thread

    def open(self):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", self.port()))      # done at once here, or nobody is there
        self.buffer = b""
        self.here = set()           # ids on this connection
        expiry = b"\x11" + struct.pack(">I", 3600) if self.is_persistent else b""
        self.socket.send(wire.connect(5, self.name if self.is_persistent else "", keep_alive=10,
                                      flags=0xC0 if self.is_persistent else 0xC2,
                                      properties=expiry))
        self.pinged = time.monotonic()

    def close(self, now):
        if self.socket:
            self.socket.close()
        self.socket, self.is_subscribed, self.again = None, False, now + RETRY

    def take(self):
        """What the socket has; False: it is closed."""
        more = self.socket.recv(1 << 18)
        self.buffer += more
        out, at = bytearray(), 0
        while found := self._length(at):
            begin, end = found
            if not self._packet(self.buffer[at], begin, end, out):
                return False
            at = end
        self.buffer = self.buffer[at:]
        if out:
            self.socket.send(out)
        return bool(more)

    def _length(self, at):
        """Where the body of the packet at this place begins and ends, once it is all here."""
        length, shift, at = 0, 0, at + 1
        while at < len(self.buffer):
            byte = self.buffer[at]
            length |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if byte < 0x80:
                return (at, at + length) if at + length <= len(self.buffer) else None
        return None

    def _packet(self, first, begin, end, out):
        if first >> 4 == 3:
            self._message(first, begin, end, out)
        elif first == 0x20:
            if self.buffer[begin + 1] != 0:
                return False
            present = self.buffer[begin] & 1
            if self.connects and self.is_persistent and not present:
                self.lost_sessions += 1
            self.connects += 1
            if present:
                self.is_subscribed = True
            else:
                out += wire.subscribe(["origin/#"], 5, 1)
        elif first == 0x90:
            self.is_subscribed = True
        return first != 0xE0        # DISCONNECT

    def _message(self, first, begin, end, out):
        if first & 6:
            at = begin + 2 + (self.buffer[begin] << 8 | self.buffer[begin + 1])
            out += b"\x40\x02" + self.buffer[at:at + 2]
        at = self.buffer.index(MARK, begin, end) + len(MARK)
        identity = self.buffer[at:at + 36]
        if identity in self.here and not first & 8:
            self.repeats += 1
        self.here.add(identity)
        self.counts[identity] = self.counts.get(identity, 0) + 1
        now = time.monotonic()
        if self.latest is not None and now - self.latest > self.longest[0]:
            self.longest = (now - self.latest, now)
        self.latest = now

    def ping(self, now):
        if now - self.pinged > 3:
            self.pinged = now
            self.socket.send(wire.PINGREQ)


class Readers:
    """All readers, on one thread."""

    def __init__(self, readers):
        self.readers = readers
        self.failure = None
        self.stopping = False
        self.selector = selectors.DefaultSelector()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _open(self, reader, now):
        try:
            reader.open()
            self.selector.register(reader.socket, selectors.EVENT_READ, reader)
        except OSError:
            reader.close(now)

    def _close(self, reader, now):
        self.selector.unregister(reader.socket)
        reader.close(now)

    def _turn(self):
        now = time.monotonic()
        for reader in self.readers:
            if not reader.socket and now > reader.again:
                self._open(reader, now)
        for key, _ in self.selector.select(TICK):
            try:
                is_open = key.data.take()
            except OSError:
                is_open = False
            if not is_open:
                self._close(key.data, time.monotonic())
        for reader in self.readers:
            try:
                if reader.socket:
                    reader.ping(now)
            except OSError:
                self._close(reader, now)

    def _run(self):
        try:
            while not self.stopping:
                self._turn()
        except Exception as failure:    # told to who waits
            self.failure = failure

    def end(self):
        self.stopping = True
        self.thread.join()
        for reader in self.readers:
            reader.close(0)
        self.selector.close()
        assert not self.failure, self.failure
