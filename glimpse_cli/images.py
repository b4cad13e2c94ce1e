"""Pictures in, right or refused; glimpses out, rounded once. The only user of Pillow's open and save.

A file is decoded once and whole, from memory, behind every guard there is. Its pixels are then converted
window by window: what a glimpse does not see is never made into numbers.
"""

import importlib
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from glimpse_cli import strict
from glimpse_cli.errors import InputError, PictureError, Reason
from glimpse_cli.files import shown
from glimpse_cli.saving import encode, encode_picture
from glimpse_cli.storage import Pixels, Stored, storage_of, swapped_tiles

__all__ = ["MAX_PIXELS", "Picture", "decode", "encode", "encode_picture"]

MAX_PIXELS = 100_000_000

# The plugin that reads each allowed format; no other is ever imported. (EPS runs Ghostscript.)
_PLUGINS = {
    "AVIF": "AvifImagePlugin",
    "BMP": "BmpImagePlugin",
    "GIF": "GifImagePlugin",
    "JPEG": "JpegImagePlugin",
    "PNG": "PngImagePlugin",
    "PPM": "PpmImagePlugin",
    "TIFF": "TiffImagePlugin",
    "WEBP": "WebPImagePlugin",
}

# Every exception with which Pillow was seen to refuse a file. Anything else is a bug and keeps its traceback.
_REFUSALS = (
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

# EXIF orientation -> transpose the stored picture?, then flip its rows?, its columns? (EXIF 2.3, tag 274)
_UPRIGHT = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}

_lock = threading.RLock()  # Pillow's limits are globals

logging.getLogger("PIL").addHandler(logging.NullHandler())  # its remarks are not for stderr


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright and in sRGB wherever it is looked at; made by `decode`.

    Args:
        size: (height, width) in pixels, upright.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        peak: the value of white: 255 (windows are uint8), 65535 (uint16), or 1 (float32, the picture's own
            values, which may leave [0, 1]).
        format: as Pillow names it: JPEG, MPO, PNG, ...
        orientation: EXIF's, 1 to 8, as the file had it. It is applied to everything below.
        frames: how many the file holds.
        frame: which of them this is, from 0.
        warnings: what a person should know about these pixels, a line each.
    """

    size: tuple[int, int]
    channels: int
    peak: float
    format: str
    orientation: int
    frames: int
    frame: int
    warnings: tuple[str, ...]
    _stored: Stored = field(repr=False, compare=False)
    _turn: tuple[bool, bool, bool] = field(repr=False, compare=False)

    @property
    def alpha(self) -> bool:
        """Whether the last channel is alpha; colour is not multiplied by it."""
        return self.channels in {2, 4}

    def window(self, rows: range, cols: range) -> Pixels:
        """The pixels of ``rows`` and ``cols``: (h, w) for grey, else (h, w, C); contiguous, the caller's own.

        Only these are converted: the rest of the picture costs nothing.

        Args:
            rows: step 1, inside [0, height).
            cols: step 1, inside [0, width).

        Returns:
            uint8, uint16 or float32, as ``peak`` says.
        """
        transpose, flip_y, flip_x = self._turn
        height, width = self.size
        if flip_y:
            rows = range(height - rows.stop, height - rows.start)
        if flip_x:
            cols = range(width - cols.stop, width - cols.start)
        if transpose:
            rows, cols = cols, rows
        return self._upright(self._stored.read((cols.start, rows.start, cols.stop, rows.stop)))

    def preview(self, longest: int) -> NDArray[np.uint8]:
        """The whole picture for the eye, (h, w, 3): at most ``longest`` pixels a side and never enlarged.

        Alpha is laid over mid-grey. A float picture that leaves [0, 1] is shown from its least to its greatest
        value.
        """
        return self._upright(self._stored.shrink(longest))

    def _upright(self, stored: Pixels) -> Pixels:
        transpose, flip_y, flip_x = self._turn
        turned = stored.swapaxes(0, 1) if transpose else stored
        return np.ascontiguousarray(turned[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def decode(data: bytes, *, name: str = "", frame: int = 0, icc: bool = True, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode one picture from its file's bytes, or refuse it.

    Threads decode one at a time, since Pillow's limits are global; processes do not share them.

    Args:
        data: the whole file.
        name: what errors call it.
        frame: which frame or page, from 0.
        icc: convert to sRGB from the profile the file carries; off leaves its numbers alone.
        max_pixels: the most pixels that are decoded; checked before the work.

    Raises:
        PictureError: with one of the six reasons.
        InputError: the frame does not exist.
        RuntimeError: another library has told Pillow to accept truncated files.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on: damage could not be seen")
    name = shown(name) or "the picture"
    if not data:
        raise PictureError(f"{name} is empty", Reason.EMPTY)
    decoder = strict.check(data, name)
    try:
        with _guards(max_pixels):
            loaded = _loaded(data, decoder, name, frame, max_pixels)
            stored, notes = storage_of(loaded.image, loaded.second, icc=icc)
    except _REFUSALS as error:
        raise _refusal(error, name) from error
    return _picture(loaded, stored, notes, frame)


class _Loaded(NamedTuple):
    image: ImageFile.ImageFile
    second: Image.Image | None  # the low bytes of 16-bit colour, as an 8-bit picture
    frames: int
    orientation: int
    notes: list[str]


def _loaded(data: bytes, decoder: str, name: str, frame: int, max_pixels: int) -> _Loaded:
    image = _opened(data, decoder)
    _check_size(image.size, name, max_pixels)
    frames = int(getattr(image, "n_frames", 1))
    _go_to(image, frame, frames, name)
    _check_size(image.size, name, max_pixels)
    orientation = _tiff_orientation(image)
    swapped = swapped_tiles(image)
    image.load()  # once: after a failure a second load gives a black picture
    if decoder == "PNG" and frame == 0 and _may_be_short(image):
        strict.check_png_length(data, name)
    second = None
    if swapped:
        second = _opened(data, decoder)
        _go_to(second, frame, frames, name)
        second.tile = swapped
        second.load()
    notes: list[str] = []
    return _Loaded(image, second, frames, orientation or _orientation(image, notes), notes)


def _picture(loaded: _Loaded, stored: Stored, notes: list[str], frame: int) -> Picture:
    image = loaded.image
    turn = _UPRIGHT[1 if image.format == "TIFF" else loaded.orientation]  # Pillow has turned a TIFF already
    width, height = image.size
    if loaded.frames > 1 and image.format != "MPO" and frame == 0:  # a phone's MPO is a photograph to its owner
        notes = [*notes, f"the first of {loaded.frames} frames"]
    return Picture(
        size=(width, height) if turn[0] else (height, width),
        channels=stored.channels,
        peak=stored.peak,
        format=str(image.format),
        orientation=loaded.orientation,
        frames=loaded.frames,
        frame=frame,
        warnings=(*loaded.notes, *notes),
        _stored=stored,
        _turn=turn,
    )


@contextmanager
def _guards(max_pixels: int) -> Iterator[None]:
    """Pillow's global limits as we want them, while one picture is decoded, and then as they were."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks about metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _opened(data: bytes, decoder: str) -> ImageFile.ImageFile:
    """The one decoder that the first bytes name; not ``Image.open``, which imports and tries others."""
    importlib.import_module(f"PIL.{_PLUGINS[decoder]}")
    factory, _ = Image.OPEN[decoder]
    return factory(BytesIO(data), "")


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise PictureError(
            f"{name} is too large: {width} x {height} pixels, {max_pixels} are allowed",
            Reason.TOO_LARGE,
            hint=f"--max-pixels {width * height}",
        )


def _go_to(image: ImageFile.ImageFile, frame: int, frames: int, name: str) -> None:
    if not 0 <= frame < frames:
        count = "one frame" if frames == 1 else f"{frames} frames, 0 to {frames - 1}"
        raise InputError(f"{name} has {count}: there is no frame {frame}")
    if frame:
        image.seek(frame)


def _tiff_orientation(image: Image.Image) -> int:
    """A TIFF's own orientation, which Pillow applies while it loads; 0 for other formats."""
    if image.format != "TIFF":
        return 0
    value = image.tag_v2.get(274, 1)  # type: ignore[attr-defined]
    return value if value in _UPRIGHT else 1


def _orientation(image: Image.Image, notes: list[str]) -> int:
    try:
        value = image.getexif().get(274, 1)
    except _REFUSALS:
        notes.append("its EXIF block is damaged: an orientation in it was not read")
        return 1
    return value if value in _UPRIGHT else 1


def _may_be_short(image: Image.Image) -> bool:
    """Whether the last row could be one that the decoder never wrote: it starts out as zeros.

    This spares nearly every PNG a second inflation. An interlaced one ends elsewhere.
    """
    if image.info.get("interlace"):
        return True
    width, height = image.size
    extrema: Any = image.crop((0, height - 1, width, height)).getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return not any(high for _, high in bands)


def _refusal(error: BaseException, name: str) -> Exception:
    """Any exception of a decoder -> one of ours, with a reason. Nothing in it depends on where things lie."""
    if isinstance(error, InputError):
        return error
    said = shown(str(error).strip() or type(error).__name__)
    if isinstance(error, (MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return PictureError(f"{name} is too large", Reason.TOO_LARGE, why=said, hint="--max-pixels allows more")
    if isinstance(error, EOFError) or "truncated" in said.lower() or "not enough" in said.lower():
        return PictureError(f"{name} is truncated", Reason.TRUNCATED, why=said)
    return PictureError(f"{name} is corrupt", Reason.CORRUPT, why=said)
