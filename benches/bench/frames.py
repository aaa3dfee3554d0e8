"""HTTP/2 by hand: frames, and header blocks of literals that are not indexed."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
WINDOW_SIZE = 4


def frame(kind, flags, stream, payload=b""):
    """A frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def hello(window=65_535):
    """The beginning of a connection, with a window for each stream."""
    return PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", WINDOW_SIZE, window))


def block(fields):
    """A header block."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def request(method, path, *more):
    """The header block of a request."""
    return block([(":method", method), (":scheme", "http"), (":path", path), (":authority", "x"), *more])


def _text(text):
    text = text.encode()
    return _integer(len(text)) + text


def _integer(value):
    if value < 127:
        return bytes([value])
    found, value = [127], value - 127
    while value >= 128:
        found.append(value % 128 + 128)
        value //= 128
    return bytes([*found, value])
