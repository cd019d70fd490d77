"""A client of the model: sends by hand, and holds whatever arrives against the reference server."""
import socket
import struct

from . import packets as mqtt


class Surprise(AssertionError):
    """The broker did what no correct server does."""


class Client:
    """One client identifier, connected or not. holds: acknowledges only when told to."""

    def __init__(self, server, port, client_id, account, limit):
        self.server, self.port, self.client_id = server, port, client_id
        self.account, self.limit = account, limit
        self.socket = None
        self.session = None
        self.last_id = 0

    # --- connection

    def connect(self, settings):
        self.open(*settings)
        self.opened()

    def open(self, version, clean, expiry, receive_maximum, aliases, will, holds):
        """Sends CONNECT."""
        self.version, self.clean, self.holds = version, clean, holds
        self.receive_maximum = receive_maximum if version == 5 else 65535
        self.names, self.answers, self.unread = {}, [], b""
        self.due, self.releases = [], []     # PUBRELs to come, and come without PUBCOMP yet
        self.to_answer = []      # PUBLISH packets that wait for PUBACK or PUBREC
        self.given = {}          # topic aliases towards the server
        self.half_done = {}      # QoS 2 towards the server: packet id -> message, PUBREL not sent
        self.will = will
        self.lasting = expiry > 0 if version == 5 else not clean
        flags = 0x02 * clean | 0xC0
        block = []
        if version == 5:
            block = [(mqtt.SESSION_EXPIRY, expiry), (mqtt.RECEIVE_MAXIMUM, receive_maximum)]
            block += [(mqtt.ALIAS_MAXIMUM, aliases)] if aliases else []
        body = mqtt.text("MQTT") + bytes([version])
        tail = mqtt.text(self.client_id)
        if will:
            flags |= 0x04 | will.qos << 3 | 0x20 * will.retain
            tail += mqtt.properties(will.properties) if version == 5 else b""
            tail += mqtt.text(will.topic) + mqtt.binary(will.payload)
        body += bytes([flags]) + struct.pack(">H", 60)
        body += mqtt.properties(block) if version == 5 else b""
        tail += mqtt.text(self.account[0]) + mqtt.text(self.account[1])
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=self.limit)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send(mqtt.packet(0x10, body + tail))

    def opened(self):
        """CONNACK, and what goes on from an earlier connection."""
        answer = self.read()
        self.session, present = self.server.connect(self.client_id, self.clean, self.lasting,
                                                     self.version)
        self.check(answer and answer.kind == mqtt.CONNACK and answer.reasons == [0],
                   f"CONNACK was due, not {answer}")
        self.check(answer.session_present == present,
                   f"session present is {answer.session_present}")
        for flight in [f for f in self.session.flights if f.received]:
            self.await_release(flight.packet_id)
        for packet_id in sorted(self.session.open_ids):
            self.release(packet_id)

    def end(self, how):
        """how: normal, with_will, broken (the connection ends without a word)."""
        self.holds = True
        if how == "broken":
            self.socket.shutdown(socket.SHUT_WR)
        elif how == "with_will" and self.version == 5:
            self.send(mqtt.packet(0xE0, b"\x04"))
        else:
            self.send(mqtt.packet(0xE0))
        self.wait_end()
        self.ended(with_will=how == "broken" or (how == "with_will" and self.version == 5))

    def take_over(self, settings):
        """Another connection with this client identifier [MQTT-3.1.4-3]; gives its Client."""
        fresh = Client(self.server, self.port, self.client_id, self.account, self.limit)
        self.holds = True
        fresh.open(*settings)
        self.wait_end(0x8E)
        self.ended(with_will=True)
        return fresh

    def wait_end(self, reason=None):
        """Up to the end of the connection; DISCONNECT with this reason (MQTT 5) before it."""
        told = None
        while True:
            packet = self.read()
            if packet is None:
                break
            if packet.kind == mqtt.DISCONNECT:
                told = packet.reasons[0]
            else:
                self.arrived(packet)
        wanted = reason if self.version == 5 else None
        self.check(told == wanted, f"DISCONNECT {told} instead of {wanted}")

    def ended(self, with_will):
        self.socket.close()
        self.socket = None
        self.server.disconnect(self.session)
        if with_will and self.will:
            self.server.publish(self.will)

    # --- bytes

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        """The next packet; None: closed."""
        while True:
            length, shift, at = 0, 0, 1
            while at < len(self.unread) and at < 5:
                byte = self.unread[at]
                length, shift, at = length | (byte & 127) << shift, shift + 7, at + 1
                if byte >= 128:
                    continue
                if len(self.unread) >= at + length:
                    first, body = self.unread[0], self.unread[at:at + length]
                    self.unread = self.unread[at + length:]
                    return mqtt.decode(first, body, self.version)
                break
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            except socket.timeout:
                raise Surprise(f"{self.client_id}: nothing came; {self.session.flights=} "
                               f"{self.session.retained=}") from None
            if not more:
                return None
            self.unread += more

    def check(self, true, what):
        if not true:
            raise Surprise(f"{self.client_id}: {what}")

    # --- what arrives

    def arrived(self, packet):
        if packet.kind == mqtt.PUBLISH:
            self.take_publish(packet)
        elif packet.kind == mqtt.PUBREL:
            self.check(self.due[:1] == [packet.packet_id], f"{packet}, due were {self.due}")
            self.releases.append(self.due.pop(0))
            if not self.holds:
                self.complete()
        else:
            self.check(packet.kind != mqtt.DISCONNECT, f"disconnected: {packet.reasons}")
            self.answers.append(packet)

    def take_publish(self, packet):
        alias = packet.property(mqtt.ALIAS)
        if alias and packet.topic:
            self.names[alias] = packet.topic
        elif alias:
            self.check(alias in self.names, f"alias {alias} was never given")
            packet.topic = self.names[alias]
        identifiers = [v for n, v in packet.properties if n == mqtt.SUBSCRIPTION_ID]
        packet.properties = [(n, v) for n, v in packet.properties
                             if n not in (mqtt.SUBSCRIPTION_ID, mqtt.ALIAS)]
        try:
            self.server.take(self.session, packet, identifiers, self.receive_maximum,
                             self.version)
        except AssertionError as wrong:
            raise Surprise(f"{self.client_id}: {wrong}") from None
        if packet.qos:
            self.to_answer.append(packet)
            if not self.holds:
                self.answer()

    def settle(self):
        """Reads until all that must have come is there."""
        while self.server.must_send(self.session, self.receive_maximum):
            packet = self.read()
            self.check(packet is not None, "the connection ended")
            self.arrived(packet)

    def await_answer(self, kind, packet_id=0):
        while not self.answers:
            packet = self.read()
            self.check(packet is not None, "the connection ended")
            self.arrived(packet)
        answer = self.answers.pop(0)
        self.check((answer.kind, answer.packet_id) == (kind, packet_id),
                   f"answer {kind} to {packet_id} was due, not {answer}")
        return answer

    def await_release(self, packet_id):
        """PUBREL for what was answered with PUBREC, in that order [MQTT-4.6.0-4]."""
        self.due.append(packet_id)
        while packet_id in self.due:
            packet = self.read()
            self.check(packet is not None, "the connection ended")
            self.arrived(packet)

    def catch_up(self):
        """What a server may send (QoS 0 while the window is full, MQTT 5, 4.9) is here or will not
        come before something changes: it has gone round once between the two."""
        self.ping()
        self.ping()

    def ping(self):
        self.send(mqtt.packet(0xC0))
        self.await_answer(mqtt.PINGRESP)

    # --- acknowledgements, in the order the specifications ask for

    def answer(self):
        """The oldest PUBLISH gets its PUBACK or PUBREC."""
        packet = self.to_answer.pop(0)
        if packet.qos == 1:
            self.server.done(self.session, packet.packet_id)
            self.send(mqtt.packet(0x40, struct.pack(">H", packet.packet_id)))
            return
        self.server.received(self.session, packet.packet_id)
        self.send(mqtt.packet(0x50, struct.pack(">H", packet.packet_id)))
        self.await_release(packet.packet_id)

    def complete(self):
        """The oldest PUBREL gets its PUBCOMP."""
        packet_id = self.releases.pop(0)
        self.server.done(self.session, packet_id)
        self.send(mqtt.packet(0x70, struct.pack(">H", packet_id)))

    def answer_all(self):
        self.holds = False
        while self.to_answer or self.releases:
            if self.to_answer:
                self.answer()
            else:
                self.complete()

    # --- requests

    def next_id(self):
        self.last_id += 1
        while self.last_id in self.session.open_ids:
            self.last_id += 1
        return self.last_id

    def subscribe(self, subscriptions, identifier):
        packet_id = self.next_id()
        body = struct.pack(">H", packet_id)
        if self.version == 5:
            body += mqtt.properties([(mqtt.SUBSCRIPTION_ID, identifier)] if identifier else [])
        for s in subscriptions:
            options = s.qos
            if self.version == 5:
                options |= s.no_local << 2 | s.as_published << 3 | s.handling << 4
            body += mqtt.text(s.filter) + bytes([options])
            self.server.subscribe(self.session, s)
        self.send(mqtt.packet(0x82, body))
        answer = self.await_answer(mqtt.SUBACK, packet_id)
        self.check(answer.reasons == [s.qos for s in subscriptions], f"SUBACK {answer.reasons}")

    def unsubscribe(self, filters):
        packet_id = self.next_id()
        body = struct.pack(">H", packet_id) + (b"\0" if self.version == 5 else b"")
        body += b"".join(mqtt.text(f) for f in filters)
        there = [self.server.unsubscribe(self.session, f) for f in filters]
        self.send(mqtt.packet(0xA2, body))
        answer = self.await_answer(mqtt.UNSUBACK, packet_id)
        if self.version == 5:
            self.check(answer.reasons == [0 if t else 0x11 for t in there],
                       f"UNSUBACK {answer.reasons} for {there}")

    def publish(self, message, alias=None, named=True):
        """At QoS 2 up to PUBREC. alias: given to the topic, and instead of it unless `named`."""
        packet_id = self.next_id() if message.qos else 0
        data = self.publish_packet(message, packet_id, alias, named)
        self.server.publish(message)
        if message.qos == 2:
            self.session.open_ids.add(packet_id)
        self.send(data)
        if message.qos:
            self.await_answer(mqtt.PUBACK if message.qos == 1 else mqtt.PUBREC, packet_id)
        else:
            self.ping()
        return packet_id

    def publish_again(self, packet_id, message):
        """QoS 2, before PUBREL: must not be published a second time [MQTT-4.3.3-10]."""
        self.send(self.publish_packet(message, packet_id, None, True, dup=True))
        self.await_answer(mqtt.PUBREC, packet_id)

    def publish_packet(self, message, packet_id, alias, named, dup=False):
        body = mqtt.text(message.topic if named else "")
        body += struct.pack(">H", packet_id) if message.qos else b""
        if self.version == 5:
            block = list(message.properties) + ([(mqtt.ALIAS, alias)] if alias else [])
            body += mqtt.properties(block)
        return mqtt.packet(0x30 | 8 * dup | message.qos << 1 | message.retain,
                           body + message.payload)

    def release(self, packet_id):
        self.send(mqtt.packet(0x62, struct.pack(">H", packet_id)))
        self.await_answer(mqtt.PUBCOMP, packet_id)
        self.session.open_ids.discard(packet_id)
