"""PROXY headers as load balancers write them, versions 1 and 2."""
import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\0\0\0"
ALPN, AUTHORITY, TLS, NAME = 0x01, 0x02, 0x20, 0x22


def v1(client, port=40000):
    family = "TCP4" if ipaddress.ip_address(client).version == 4 else "TCP6"
    return f"PROXY {family} {client} {client} {port} 8883\r\n".encode()


def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def tls(name=None, verified=True):
    """That the client came over TLS, with a certificate of this common name."""
    value = struct.pack(">BI", 1 if name is None else 3, 0 if verified else 18)
    return tlv(TLS, value + (tlv(NAME, name.encode()) if name else b""))


def v2(client, *tlvs, port=40000):
    raw = ipaddress.ip_address(client).packed
    body = raw + raw + struct.pack(">HH", port, 8883) + b"".join(tlvs)
    return SIGNATURE + bytes([0x21, 0x11 if len(raw) == 4 else 0x21]) + struct.pack(">H", len(body)) + body
