"""Random legal stories of several clients, told to the broker and to the reference server alike.

Each step waits for its answers, and an observer that subscribes to everything has seen each message
before the next step: so both sides agree on the order of what happened, and a difference is a fault.
A story is its seed; every step is written down as it is taken, for whoever has to read it.
"""
from . import packets as mqtt
from .client import Client
from .server import Message, Server, Subscription

LEVELS = ["a", "b", "c", "", "é"]
RETAIN = 0.25
ACCOUNT = ("model", "model")


class Story:
    def __init__(self, random, port, number, limit):
        self.random, self.number = random, number
        self.root = f"m{number}"
        self.server = Server()
        self.steps = []
        self.count = 0
        self.observer = Client(self.server, port, f"{self.root}-observer", ACCOUNT, limit)
        self.clients = [Client(self.server, port, f"{self.root}-{i}", ACCOUNT, limit)
                        for i in range(random.randint(2, 4))]

    # --- what is drawn

    def topic(self):
        return "/".join([self.root] + [self.random.choice(LEVELS)
                                       for _ in range(self.random.randint(1, 3))])

    def filter(self):
        levels = [self.random.choice(LEVELS + ["+", "+"]) for _ in range(self.random.randint(1, 3))]
        if self.random.random() < 0.4:
            levels[-1] = "#"
        return "/".join([self.root] + levels)

    def message(self, client, version):
        self.count += 1
        draw = self.random.random
        block = []
        if version == 5:
            block += [(mqtt.PAYLOAD_FORMAT, 1)] if draw() < 0.2 else []
            block += [(mqtt.CONTENT_TYPE, "text/plain")] if draw() < 0.2 else []
            block += [(mqtt.RESPONSE_TOPIC, "answers/here")] if draw() < 0.2 else []
            block += [(mqtt.CORRELATION, bytes([0, 255]))] if draw() < 0.2 else []
            block += [(mqtt.USER, (name, str(self.count))) for name in ("k", "k", "j")] \
                if draw() < 0.2 else []
        retain = draw() < RETAIN
        empty = retain and draw() < 0.25
        return Message(self.topic(), b"" if empty else b"%d" % self.count,
                       self.random.randint(0, 2), retain, tuple(block), client.client_id)

    # --- steps

    def connect(self, i):
        client, draw = self.clients[i], self.random
        version = draw.choice([4, 5, 5])
        will = self.message(client, version) if draw.random() < 0.4 else None
        settings = (version, draw.random() < 0.3, draw.choice([0, 300, 300]),
                    draw.choice([1, 2, 3, 5, 65535]), draw.choice([0, 0, 2, 10]), will,
                    draw.random() < 0.4)
        self.say(client, f"CONNECT {settings}")
        if client.socket:
            self.clients[i] = client = client.take_over(settings)
            self.settle()
            client.opened()
        else:
            client.connect(settings)

    def end(self, i):
        how = self.random.choice(["normal", "with_will", "broken", "broken"])
        self.say(self.clients[i], f"ends: {how}")
        self.clients[i].end(how)

    def subscribe(self, i):
        client, draw = self.clients[i], self.random
        client.catch_up()
        five = client.version == 5
        filters = list({self.filter() for _ in range(draw.choice([1, 1, 2, 3]))})
        identifier = draw.choice([0, 1, 200, 268435455]) if five else 0
        subscriptions = [Subscription(
            f, draw.randint(0, 2), len(self.server.log), five and draw.random() < 0.2,
            five and draw.random() < 0.5, draw.choice([0, 0, 1, 2]) if five else 0, identifier)
            for f in filters]
        # Whether a change of No Local holds for what is waiting already is nobody's promise.
        old = client.session.subscriptions
        subscriptions = [s for s in subscriptions
                         if s.no_local == old.get(s.filter, s).no_local]
        if not subscriptions:
            return
        self.say(client, f"SUBSCRIBE {subscriptions}")
        client.subscribe(subscriptions, identifier)

    def unsubscribe(self, i):
        client = self.clients[i]
        client.catch_up()
        filters = [self.filter()]
        if client.session.subscriptions and self.random.random() < 0.8:
            filters.append(self.random.choice(sorted(client.session.subscriptions)))
        filters = list(dict.fromkeys(filters))
        self.say(client, f"UNSUBSCRIBE {filters}")
        client.unsubscribe(filters)

    def publish(self, i):
        client = self.clients[i]
        message = self.message(client, client.version)
        alias, named = None, True
        if client.version == 5 and self.random.random() < 0.3:
            alias = self.random.randint(1, 3)
            named = client.given.get(alias) != message.topic
            client.given[alias] = message.topic
        self.say(client, f"PUBLISH {message} {alias=} {named=}")
        packet_id = client.publish(message, alias, named)
        if message.qos == 2:
            client.half_done[packet_id] = message

    def publish_again(self, i):
        client = self.clients[i]
        if client.half_done:
            packet_id, message = self.random.choice(sorted(
                client.half_done.items(), key=lambda item: item[0]))
            self.say(client, f"PUBLISH again {packet_id}")
            client.publish_again(packet_id, message)

    def release(self, i):
        client = self.clients[i]
        if client.half_done:
            packet_id = next(iter(client.half_done))
            del client.half_done[packet_id]
            self.say(client, f"PUBREL {packet_id}")
            client.release(packet_id)

    def answer(self, i):
        """The oldest that waits for PUBACK, PUBREC or PUBCOMP."""
        client = self.clients[i]
        for _ in range(self.random.randint(1, 3)):
            if client.to_answer and (not client.releases or self.random.random() < 0.7):
                self.say(client, f"answers {client.to_answer[0]}")
                client.answer()
            elif client.releases:
                self.say(client, f"PUBCOMP {client.releases[0]}")
                client.complete()

    STEPS = [(connect, 3), (end, 10), (subscribe, 20), (unsubscribe, 6), (publish, 50),
             (publish_again, 4), (release, 10), (answer, 14)]

    def say(self, client, what):
        self.steps.append(f"{client.client_id}: {what}")

    def settle(self):
        for client in [self.observer, *self.clients]:
            if client.socket and client.session:
                client.settle()

    def step(self):
        i = self.random.randrange(len(self.clients))
        if not self.clients[i].socket:
            self.connect(i)
        else:
            steps, weights = zip(*self.STEPS)
            self.random.choices(steps, weights)[0](self, i)
        self.settle()

    def tell(self, length):
        self.observer.connect((5, True, 0, 65535, 0, None, False))
        self.observer.subscribe([Subscription(f"{self.root}/#", 2, 0, as_published=True)], 0)
        for _ in range(length):
            self.step()
        self.finish()

    def finish(self):
        """Everybody comes back, takes all there is, and goes for good; nothing is left behind."""
        for client in self.clients:
            if not client.socket:
                client.connect((5, False, 0, 65535, 0, None, False))
                self.settle()
            while client.half_done:
                client.release(client.half_done.popitem()[0])
            client.answer_all()
            client.settle()
            client.answer_all()
        for client in [*self.clients, self.observer]:
            client.ping()
        for topic in list(self.server.kept):
            empty = Message(topic, b"", 0, True, (), self.observer.client_id)
            self.observer.publish(empty)
            self.settle()
        for client in [*self.clients, self.observer]:
            client.end("normal")
        for client in self.clients:
            if client.client_id in self.server.sessions:
                client.connect((4, True, 0, 65535, 0, None, False))
                client.end("normal")

    def close(self):
        for client in [self.observer, *self.clients]:
            if client.socket:
                client.socket.close()
                client.socket = None
