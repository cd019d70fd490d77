"""What a correct server does, as sets of what may and what must arrive.

One log of published messages; a session is a place in it, its subscriptions, and what is in flight.
Where the specifications leave a choice the model allows all of it, with these exceptions, which are
Isobar's promises: one copy of a message however many subscriptions match, carrying all their
identifiers; order as published over all levels of QoS; what a lasting session missed comes at
QoS 0 too; UNSUBSCRIBE takes effect on what has not been sent yet.
"""
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: tuple    # (number, value), in order
    publisher: str       # client identifier


@dataclass(frozen=True)
class Subscription:
    filter: str
    qos: int
    made_at: int         # length of the log then
    no_local: bool = False
    as_published: bool = False
    handling: int = 0
    identifier: int = 0


@dataclass
class Flight:
    """A message at QoS 1 or 2 that the client was sent."""
    packet_id: int
    message: Message
    qos: int
    sent: bool = True        # on the present connection
    received: bool = False   # PUBREC came: PUBREL is due


def matches(filter_, topic):
    wanted, levels = filter_.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("#", "+"):
        return False
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i >= len(levels) or level not in ("+", levels[i]):
            return False
    return len(wanted) == len(levels)


@dataclass
class Delivery:
    """What is to come next."""
    message: Message
    qos: int
    retain: bool
    identifiers: list


class Session:
    def __init__(self, client_id):
        self.client_id = client_id
        self.subscriptions = {}
        self.place = 0           # in the log: next message to look at
        self.flights = []        # in the order sent
        self.retained = []       # [subscription, message] still to come
        self.perhaps = []        # of these, what an earlier connection was not sent
        self.open_ids = set()    # QoS 2 from the client, PUBREL not sent yet
        self.lasting = False
        self.version = 5         # of the present connection

    def wanted(self, message, at):
        """The Delivery of log[at], or None."""
        found = [s for s in self.subscriptions.values() if s.made_at <= at
                 and matches(s.filter, message.topic)
                 and not (s.no_local and message.publisher == self.client_id)]
        if not found:
            return None
        return Delivery(message, min(message.qos, max(s.qos for s in found)),
                        message.retain and self.version == 5
                        and any(s.as_published for s in found),
                        sorted(s.identifier for s in found if s.identifier))

    def open(self):
        """What counts against the client's receive maximum (MQTT 5, 4.9)."""
        return sum(f.sent and not f.received for f in self.flights)

    def unfinished(self):
        """A server may hold back while this many are not completed."""
        return sum(f.sent or f.received for f in self.flights)


class Server:
    def __init__(self):
        self.log = []
        self.sessions = {}
        self.kept = {}           # retained messages by topic

    # --- what clients do

    def connect(self, client_id, clean, lasting, version):
        """(the session, was it there)."""
        old = self.sessions.get(client_id)
        present = old is not None and not clean
        session = old if present else Session(client_id)
        if not present:
            session.place = len(self.log)
        session.lasting, session.version = lasting, version
        self.sessions[client_id] = session
        for flight in session.flights:
            flight.sent = False
        return session, present

    def disconnect(self, session):
        session.perhaps += session.retained
        session.retained = []
        if not session.lasting and self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]

    def publish(self, message):
        self.log.append(message)
        if not message.retain:
            return
        for session in self.sessions.values():      # it comes by itself now
            self._leave_retained(session, lambda s, m: m.topic == message.topic)
        if message.payload:
            self.kept[message.topic] = message
        else:
            self.kept.pop(message.topic, None)

    def subscribe(self, session, subscription):
        old = session.subscriptions.get(subscription.filter)
        self._leave_retained(session, lambda s, m: s.filter == subscription.filter)
        session.subscriptions[subscription.filter] = replace(
            subscription, made_at=old.made_at if old else len(self.log))
        if subscription.handling == 2 or (subscription.handling == 1 and old):
            return
        for message in self.kept.values():
            if not matches(subscription.filter, message.topic):
                continue
            # A client's own do not come by its No Local subscriptions [MQTT-3.8.3-3]; what an
            # earlier session of it published is nobody's promise.
            is_own = subscription.no_local and message.publisher == session.client_id
            (session.perhaps if is_own else session.retained).append([subscription, message])

    def unsubscribe(self, session, filter_):
        """Was it there."""
        self._leave_retained(session, lambda s, m: s.filter == filter_)
        return session.subscriptions.pop(filter_, None) is not None

    @staticmethod
    def _leave_retained(session, which):
        """What was to come for an earlier SUBSCRIBE may be under way still, or not."""
        session.perhaps += [r for r in session.retained if which(*r)]
        session.retained = [r for r in session.retained if not which(*r)]

    # --- what comes of it

    def _next_of_log(self, session):
        while session.place < len(self.log):
            delivery = session.wanted(self.log[session.place], session.place)
            if delivery:
                return delivery
            session.place += 1
        return None

    def must_send(self, session, receive_maximum):
        """Has the client to wait for a PUBLISH?"""
        if session.unfinished() >= receive_maximum:
            return False
        return any(not f.sent and not f.received for f in session.flights) \
            or bool(session.retained) or self._next_of_log(session) is not None

    def take(self, session, packet, identifiers, receive_maximum, version):
        """A PUBLISH arrived, topic alias resolved. Raises AssertionError unless it had to or may."""
        if packet.dup:
            self._take_again(session, packet)
        else:
            # A message to come, published with the retain flag, may look like its retained copy.
            delivery = self._next_of_log(session)
            wrong = self._differs(packet, delivery, identifiers, version) if delivery \
                else "nothing was to come"
            if not wrong:
                session.place += 1
                self._fly(session, packet, delivery.message)
            else:
                assert self._take_retained(session, packet, identifiers, version), \
                    f"{wrong}, but {packet}"
        assert session.open() <= receive_maximum, "more in flight than the client takes"

    @staticmethod
    def _take_again(session, packet):
        waiting = [f for f in session.flights if not f.sent and not f.received]
        assert waiting, f"a repeat of nothing: {packet}"
        flight = waiting[0]
        assert (packet.packet_id, packet.topic, packet.payload, packet.qos) == (
            flight.packet_id, flight.message.topic, flight.message.payload, flight.qos), \
            f"repeat out of order: {packet}, due was {flight}"
        flight.sent = True

    def _take_retained(self, session, packet, identifiers, version):
        if not packet.retain:
            return False
        for waiting in (session.retained, session.perhaps):
            for item in waiting:
                now = session.subscriptions.get(item[0].filter, item[0])
                if all(self._differs(packet, self._copy(s, item[1]), identifiers, version)
                       for s in (item[0], now)):
                    continue
                waiting.remove(item)
                self._fly(session, packet, item[1])
                return True
        return False

    @staticmethod
    def _copy(subscription, message):
        """What a new subscription gets of a retained message."""
        return Delivery(message, min(message.qos, subscription.qos), True,
                        [subscription.identifier] if subscription.identifier else [])

    @staticmethod
    def _differs(packet, delivery, identifiers, version):
        message = delivery.message
        wanted = (message.topic, message.payload, delivery.qos, delivery.retain)
        if (packet.topic, packet.payload, packet.qos, packet.retain) != wanted:
            return f"{wanted} was due"
        if version == 5 and sorted(identifiers) != delivery.identifiers:
            return f"subscription identifiers {delivery.identifiers} were due, not {identifiers}"
        if version == 5 and tuple(packet.properties) != message.properties:
            return f"properties {message.properties} were due"
        return None

    @staticmethod
    def _fly(session, packet, message):
        if packet.qos == 0:
            return
        assert packet.packet_id, "packet identifier 0"
        assert packet.packet_id not in [f.packet_id for f in session.flights], \
            f"packet identifier {packet.packet_id} is in use"
        assert all(f.sent or f.received for f in session.flights), \
            "a new message before the repeats"
        session.flights.append(Flight(packet.packet_id, message, packet.qos))

    @staticmethod
    def done(session, packet_id):
        """PUBACK or PUBCOMP left."""
        session.flights = [f for f in session.flights if f.packet_id != packet_id]

    @staticmethod
    def received(session, packet_id):
        """PUBREC left."""
        for flight in session.flights:
            if flight.packet_id == packet_id:
                flight.received = True
