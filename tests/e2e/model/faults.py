"""Random faults of clients: legal packets in which something is broken, and how each must end.

A fault with a name has its prescribed end. What chance has broken may by chance be legal: then it
must be answered like anything legal, else the connection ends; in MQTT 5 with DISCONNECT and a
reason that is an error, if it had come as far as CONNECT (MQTT 5, 4.13).
"""
import struct

from . import packets as mqtt
from .story import ACCOUNT

MALFORMED, PROTOCOL, TOO_LARGE, FILTER, NAME, ALIAS, FORMAT, RECEIVE = (
    0x81, 0x82, 0x95, 0x8F, 0x90, 0x94, 0x99, 0x93)
ANY = frozenset(range(0x80, 0x100))


def block(version, items=()):
    return mqtt.properties(items) if version == 5 else b""


def connect(version, client_id="", flags=0xC2, name="MQTT", level=None, keep_alive=60,
            properties=()):
    body = mqtt.text(name) + bytes([level or version, flags]) + struct.pack(">H", keep_alive)
    return mqtt.packet(0x10, body + block(version, properties) + mqtt.text(client_id)
                       + mqtt.text(ACCOUNT[0]) + mqtt.text(ACCOUNT[1]))


def publish(version, topic="f/t", qos=0, packet_id=7, properties=(), flags=0, payload=b"x"):
    raw = topic if isinstance(topic, bytes) else topic.encode()
    body = mqtt.binary(raw) + (struct.pack(">H", packet_id) if qos else b"")
    return mqtt.packet(0x30 | flags | qos << 1, body + block(version, properties) + payload)


def subscribe(version, *options, filter_="f/#", packet_id=7, first=0x82, properties=()):
    body = struct.pack(">H", packet_id) + block(version, properties)
    return mqtt.packet(first, body + b"".join(mqtt.text(filter_) + bytes([o]) for o in options))


def unsubscribe(version, *filters, packet_id=7, first=0xA2):
    return mqtt.packet(first, struct.pack(">H", packet_id) + block(version)
                       + b"".join(mqtt.text(f) for f in filters))


# name -> (bytes by version, versions, reasons of which one must be given)
NAMED = {
    "a second CONNECT": (connect, (4, 5), {PROTOCOL}),
    "packet type 0": (lambda v: mqtt.packet(0x00), (4, 5), {MALFORMED, PROTOCOL}),
    "packet type 15 without AUTH agreed": (lambda v: mqtt.packet(0xF0), (4, 5),
                                           {MALFORMED, PROTOCOL}),
    "CONNACK from a client": (lambda v: mqtt.packet(0x20, b"\0\0" + b"\0" * (v == 5)), (4, 5),
                              {MALFORMED, PROTOCOL}),
    "SUBACK from a client": (lambda v: mqtt.packet(0x90, b"\0\1" + block(v) + b"\0"), (4, 5),
                             {MALFORMED, PROTOCOL}),
    "PINGRESP from a client": (lambda v: mqtt.packet(0xD0), (4, 5), {MALFORMED, PROTOCOL}),
    "length of five bytes": (lambda v: b"\x30\xff\xff\xff\xff\x01", (4, 5), {MALFORMED}),
    "QoS 3": (lambda v: publish(v, qos=3), (4, 5), {MALFORMED}),
    "DUP at QoS 0": (lambda v: publish(v, flags=8), (4, 5), {MALFORMED, PROTOCOL}),
    "packet identifier 0": (lambda v: publish(v, qos=1, packet_id=0), (4, 5),
                            {MALFORMED, PROTOCOL}),
    "# in a topic name": (lambda v: publish(v, "f/#"), (4, 5), {NAME, MALFORMED, PROTOCOL}),
    "+ in a topic name": (lambda v: publish(v, "f/+/x"), (4, 5), {NAME, MALFORMED, PROTOCOL}),
    "NUL in a topic name": (lambda v: publish(v, "f/\0"), (4, 5), {NAME, MALFORMED}),
    "a lone surrogate": (lambda v: publish(v, b"f/\xed\xa0\x80"), (4, 5), {NAME, MALFORMED}),
    "an overlong form": (lambda v: publish(v, b"f/\xc0\xaf"), (4, 5), {NAME, MALFORMED}),
    "no topic name, no alias": (lambda v: publish(v, ""), (4, 5), {PROTOCOL, NAME, ALIAS}),
    "alias 0": (lambda v: publish(v, properties=[(35, 0)]), (5,), {ALIAS}),
    "alias above the maximum": (lambda v: publish(v, properties=[(35, 65535)]), (5,), {ALIAS}),
    "alias never given": (lambda v: publish(v, "", properties=[(35, 1)]), (5,),
                          {ALIAS, PROTOCOL}),
    "subscription identifier in PUBLISH": (lambda v: publish(v, properties=[(11, 3)]), (5,),
                                           {PROTOCOL, MALFORMED}),
    "content type twice": (lambda v: publish(v, properties=[(3, "a"), (3, "b")]), (5,),
                           {PROTOCOL}),
    "payload format 2": (lambda v: publish(v, properties=[(1, 2)]), (5,), {PROTOCOL, MALFORMED}),
    "wildcard in the response topic": (lambda v: publish(v, properties=[(8, "a/#")]), (5,),
                                       {PROTOCOL, NAME, MALFORMED}),
    "a property of CONNECT in PUBLISH": (lambda v: publish(v, properties=[(17, 3)]), (5,),
                                         {PROTOCOL, MALFORMED}),
    "SUBSCRIBE without filters": (subscribe, (4, 5), {PROTOCOL, MALFORMED}),
    "SUBSCRIBE with flags 0": (lambda v: subscribe(v, 1, first=0x80), (4, 5), {MALFORMED}),
    "SUBSCRIBE at QoS 3": (lambda v: subscribe(v, 3), (4, 5), {PROTOCOL, MALFORMED}),
    "SUBSCRIBE with reserved options": (lambda v: subscribe(v, 0xC1), (4, 5),
                                        {PROTOCOL, MALFORMED}),
    "retain handling 3": (lambda v: subscribe(v, 0x30), (5,), {PROTOCOL, MALFORMED}),
    "No Local, shared": (lambda v: subscribe(v, 0x04, filter_="$share/g/f"), (5,), {PROTOCOL}),
    "SUBSCRIBE with identifier 0": (lambda v: subscribe(v, 1, packet_id=0), (4, 5),
                                    {PROTOCOL, MALFORMED}),
    "subscription identifier 0": (lambda v: subscribe(v, 1, properties=[(11, 0)]), (5,),
                                  {PROTOCOL}),
    "two subscription identifiers": (lambda v: subscribe(v, 1, properties=[(11, 1), (11, 2)]),
                                     (5,), {PROTOCOL}),
    "UNSUBSCRIBE without filters": (unsubscribe, (4, 5), {PROTOCOL, MALFORMED}),
    "UNSUBSCRIBE with flags 0": (lambda v: unsubscribe(v, "f", first=0xA0), (4, 5), {MALFORMED}),
    "PUBREL with flags 0": (lambda v: mqtt.packet(0x60, b"\0\1"), (4, 5), {MALFORMED}),
    "PUBACK with flags": (lambda v: mqtt.packet(0x41, b"\0\1"), (4, 5), {MALFORMED}),
    "PINGREQ with a body": (lambda v: mqtt.packet(0xC0, b"x"), (4, 5), {MALFORMED}),
    "PUBACK cut short": (lambda v: mqtt.packet(0x40, b"\0"), (4, 5), {MALFORMED}),
    "properties longer than the packet": (
        lambda v: mqtt.packet(0x30, mqtt.text("f/t") + b"\x7f\x01\x01"), (5,), {MALFORMED}),
    "more than the largest packet": (lambda v: b"\x30" + mqtt.variable(1 << 24), (4, 5),
                                     {TOO_LARGE}),
}


def legal(version):
    """What chance breaks."""
    return [publish(version), publish(version, qos=1), publish(version, qos=2),
            publish(version, properties=[(1, 1), (3, "text"), (38, ("k", "v"))]),
            subscribe(version, 1, 2), unsubscribe(version, "f/#", "a"),
            mqtt.packet(0x40, b"\0\7"), mqtt.packet(0x62, b"\0\7"), mqtt.packet(0xC0),
            connect(version)]


def broken(random, version):
    """Some legal packets, bytes of them changed, left out, put in or said twice."""
    data = bytearray(b"".join(random.choices(legal(version), k=random.randint(1, 4))))
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(data))
        what = random.randrange(4)
        if what == 0:
            data[at] ^= 1 << random.randrange(8)
        elif what == 1:
            data[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)])
        elif what == 2 and len(data) > 1:
            del data[at:at + random.randint(1, 4)]
            data = data or bytearray(b"\0")
        else:
            data[at:at] = data[at:at + random.randint(1, 8)]
    return bytes(data)
