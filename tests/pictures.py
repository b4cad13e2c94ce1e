"""Small pictures as files, made for tests."""

import io

import numpy as np
from PIL import Image


def png(array):
    """The bytes of a PNG of a uint8 or uint16 array, (H, W) or (H, W, C)."""
    return _saved(array, "PNG")


def tiff(array):
    """The bytes of a TIFF of a float32 array (H, W)."""
    return _saved(array, "TIFF")


def _saved(array, form):
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(out, form)
    return out.getvalue()
