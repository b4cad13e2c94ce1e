"""Small pictures as files, made for tests."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def png(array):
    """The bytes of a PNG of a uint8 or uint16 array, (H, W) or (H, W, C)."""
    return _saved(array, "PNG")


def tiff(array):
    """The bytes of a TIFF of a float32 array (H, W)."""
    return _saved(array, "TIFF")


def plain_png(pixels, depth, colour, *, interlace=0, before=(), drop=0, data=None):
    """A PNG written plainly: no filters, one image data chunk, which is given where samples are no whole bytes."""
    height, width = pixels.shape[:2]
    if data is None:
        big = pixels.astype(f">u{depth // 8}").reshape(height, -1)
        rows = b"".join(b"\0" + row.tobytes() for row in big)
        data = zlib.compress(rows[: len(rows) - drop])
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    chunks = ((b"IHDR", header), *before, (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks
    )


def _saved(array, form):
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(out, form)
    return out.getvalue()
