"""Small pictures as files, made for tests."""

import io

import numpy as np
from PIL import Image


def png(array):
    """The bytes of a PNG of a uint8 or uint16 array, (H, W) or (H, W, C)."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(out, "PNG")
    return out.getvalue()


def tiff(array):
    """Float pixels as TIFF bytes."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF")
    return buffer.getvalue()
