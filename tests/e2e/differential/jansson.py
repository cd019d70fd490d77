"""jansson by ctypes: is it JSON?"""
import ctypes

REJECT_DUPLICATES, DECODE_ANY, INT_AS_REAL, ALLOW_NUL = 0x1, 0x4, 0x8, 0x10

# What jansson refuses although it is JSON (docs/rules.md).
LIMITS = ("real number overflow", "NUL byte in object key", "maximum parsing depth")


class Error(ctypes.Structure):
    _fields_ = [("line", ctypes.c_int), ("column", ctypes.c_int), ("position", ctypes.c_int),
                ("source", ctypes.c_char * 80), ("text", ctypes.c_char * 160)]


library = ctypes.CDLL("libjansson.so.4")
library.json_loadb.restype = ctypes.c_void_p
library.json_loadb.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t,
                               ctypes.POINTER(Error))
library.json_delete.argtypes = (ctypes.c_void_p,)


def why_not(payload, flags=0):
    """None when jansson takes the text, else what it says of it."""
    error = Error()
    root = library.json_loadb(payload, len(payload), DECODE_ANY | INT_AS_REAL | ALLOW_NUL | flags,
                              ctypes.byref(error))
    if not root:
        return error.text.decode("utf-8", "replace") or "refused"
    # json_decref() is inline: a root has one reference.
    library.json_delete(root)
    return None
