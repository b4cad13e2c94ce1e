"""Pillow's limits as we want them; whatever it raises becomes one of the six reasons here and nowhere else."""

import logging
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image, ImageFile

from glimpse_cli.errors import InputError, PictureError, Reason
from glimpse_cli.files import shown

# With these Pillow was seen to refuse a file. Anything else is a bug and keeps its traceback.
REFUSALS = (
    OSError,  # UnidentifiedImageError is one
    SyntaxError,
    ValueError,  # UnicodeError is one
    TypeError,
    LookupError,  # IndexError, KeyError
    EOFError,
    ArithmeticError,  # OverflowError, ZeroDivisionError
    AttributeError,
    AssertionError,
    RuntimeError,  # NotImplementedError, RecursionError
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

_lock = threading.RLock()  # Pillow's limits are globals

logging.getLogger("PIL").addHandler(logging.NullHandler())  # its remarks are not for stderr


@contextmanager
def mapped(name: str, max_pixels: int) -> Iterator[None]:
    """Pillow's limits as we want them, and every refusal of its as a `PictureError`, until the end of the block.

    Threads wait for each other here, since the limits are global; processes do not share them.

    Raises:
        PictureError: with a reason, in place of what Pillow raised.
        RuntimeError: another library has told Pillow to accept truncated files.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on: damage could not be seen")
    with _lock, warnings.catch_warnings(), changed(Image, "MAX_IMAGE_PIXELS", max_pixels):
        warnings.simplefilter("ignore")  # remarks about metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except InputError:
            raise
        except REFUSALS as error:
            raise _refusal(error, name) from error


@contextmanager
def changed(module: Any, name: str, value: Any) -> Iterator[None]:
    """One of Pillow's globals is another until the end of the block; inside `mapped`, or threads would see it."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _refusal(error: BaseException, name: str) -> PictureError:
    """Any exception of a decoder -> a reason. Nothing in its text depends on where in memory things lie."""
    said = shown(str(error).strip() or type(error).__name__)
    if isinstance(error, MemoryError):
        return PictureError(f"{name} is too large", Reason.TOO_LARGE, why="out of memory")
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        why, hint = "more pixels than are allowed", "--max-pixels allows more"
        return PictureError(f"{name} is too large", Reason.TOO_LARGE, why=why, hint=hint)
    if (
        isinstance(error, _ENDED)
        or isinstance(error.__cause__, _ENDED)
        or "truncated" in said.lower()
        or "not enough" in said.lower()
    ):
        return PictureError(f"{name} is truncated", Reason.TRUNCATED, why=said)
    if _NOT_READ.fullmatch(said):
        return PictureError(f"{name}: this kind of file is not read", Reason.UNSUPPORTED, why=said)
    return PictureError(f"{name} is corrupt", Reason.CORRUPT, why=said)


_ENDED = (EOFError, IndexError, struct.error)  # what Pillow wraps where the bytes end too early

# Pillow's words for what exists and it cannot read: of a TIFF, and of a BMP with other masks, with a JPEG, a PNG or
# CMYK inside, of OS/2, of 2 bits. Other numbers are no BMP.
_NOT_READ = re.compile(
    r"unknown pixel mode|unknown data organization|Unsupported BMP "
    r"(?:bitfields layout|compression \((?:[3-6]|1[1-3])\)|header type \(16\)|pixel depth \([02]\))"
)
