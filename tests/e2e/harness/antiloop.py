"""The duplicate filter of the existing antiloop, as that software uses it: one key for each id, with
`SET wis2gb:dedup:<id> 1 NX EX 7200`; who has set it publishes the message, anybody else drops it."""
import binascii
import json
import threading

PREFIX = "wis2gb:dedup:"
TTL = 7200


def key_of(identity):
    return PREFIX + identity


def slot_of(key):
    tag = key[key.index("{") + 1:key.index("}")] if "{" in key else key
    return binascii.crc_hqx(tag.encode(), 0) % 16384


def masters_by_slot(redis):
    """A function from slot to master, as the cluster is now."""
    ports = {node.port: node for node in redis.nodes}
    rows = [(int(r[0]), int(r[1]), ports[int(r[2][1])])
            for r in redis.running()[0].command("cluster", "slots")]
    return lambda slot: next(node for first, last, node in rows if first <= slot <= last)


class Antiloop:
    """One instance; value: 1 as written in Go, true as in Node-RED."""

    def __init__(self, redis, value="1", batch=20):
        self.redis, self.value, self.batch = redis, value.encode(), batch
        self.master = masters_by_slot(redis)
        self.published = []
        self.dropped = []
        self.thread = None
        self.failure = None

    def take(self, messages, publish=lambda message: None):
        """Asks for each in pipelines, publishes those that are its own."""
        for at in range(0, len(messages), self.batch):
            by_master = {}
            for message in messages[at:at + self.batch]:
                key = key_of(json.loads(message.payload)["id"])
                by_master.setdefault(self.master(slot_of(key)), []).append((key, message))
            for node, rows in by_master.items():
                replies = node.pipeline([[b"SET", key.encode(), self.value, b"NX", b"EX",
                                          str(TTL).encode()] for key, _ in rows])
                for (_, message), reply in zip(rows, replies):
                    (self.published if reply == b"OK" else self.dropped).append(message)
                    if reply == b"OK":
                        publish(message)
        return self

    def start(self, messages):
        def run():
            try:
                self.take(messages)
            except (AssertionError, OSError, StopIteration) as failure:
                self.failure = failure
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        return self

    def wait(self):
        self.thread.join(60)
        assert not self.thread.is_alive() and self.failure is None, self.failure


def remembered(redis):
    """All keys of the filter: {id: (value, seconds left)}."""
    found = {}
    for node in redis.masters():
        for key in node.command("keys", PREFIX + "*"):
            value, left = node.pipeline([[b"GET", key], [b"TTL", key]])
            found[key.decode()[len(PREFIX):]] = (value.decode(), int(left))
    return found
