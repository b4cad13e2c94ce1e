"""A decoded picture is looked at through windows: upright, in sRGB, and only what is asked for is converted."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from glimpse_cli.errors import PictureError, Reason
from glimpse_cli.files import shown
from glimpse_cli.images.loading import Loaded, load
from glimpse_cli.images.refusals import mapped
from glimpse_cli.images.storage import Pixels, Stored, storage_of

MAX_PIXELS = 100_000_000

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

_TYPES = {255.0: np.uint8, 65535.0: np.uint16, 1.0: np.float32}
_BAND = 2**18  # pixels converted at a time: five times as fast as a large picture at once, and without its copies


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
        warnings: what a person should know about these pixels, a line each.
    """

    size: tuple[int, int]
    channels: int
    peak: float
    format: str
    orientation: int
    frames: int
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
        channels = () if self.channels == 1 else (self.channels,)
        window = np.empty((len(rows), len(cols), *channels), _TYPES[self.peak])
        stored = self._as_stored(window)
        if flip_y:
            rows = range(height - rows.stop, height - rows.start)
        if flip_x:
            cols = range(width - cols.stop, width - cols.start)
        if transpose:
            rows, cols = cols, rows
        step = max(1, _BAND // max(1, len(cols)))
        for top in range(0, len(rows), step):
            band = rows[top : top + step]
            stored[top : top + step] = self._stored.read((cols.start, band.start, cols.stop, band.stop))
        return window

    def preview(self, longest: int) -> NDArray[np.uint8]:
        """The whole picture for the eye, (h, w, 3): at most ``longest`` pixels a side and never enlarged.

        Alpha is laid over mid-grey. A float picture that leaves [0, 1] is shown from its least value, or 0 if that is
        less, to its greatest, or 1 if that is more; a NaN in it is magenta, and so is a pixel that one is averaged in.
        """
        small = self._stored.shrink(longest)
        transpose = self._turn[0]
        preview = np.empty_like(small.swapaxes(0, 1) if transpose else small, order="C")
        self._as_stored(preview)[:] = small
        return preview

    def _as_stored(self, upright: Pixels) -> Pixels:
        """A view of ``upright`` in which what was stored lies as it was stored: filled so, it needs no copy."""
        transpose, flip_y, flip_x = self._turn
        flipped = upright[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
        return flipped.swapaxes(0, 1) if transpose else flipped


def decode(
    data: bytes,
    *,
    name: str = "the picture",
    frame: int = 0,
    icc: bool = True,
    max_pixels: int = MAX_PIXELS,
) -> Picture:
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
    name = shown(name)
    if not data:
        raise PictureError(f"{name} is empty", Reason.EMPTY)
    with mapped(name, max_pixels):
        loaded = load(data, name, frame, max_pixels)
        stored = storage_of(loaded, name, icc=icc)
    return _picture(loaded, stored, frame)


def _picture(loaded: Loaded, stored: Stored, frame: int) -> Picture:
    turn = _UPRIGHT[loaded.orientation if loaded.pending else 1]
    width, height = loaded.image.size
    notes = [*loaded.notes, *stored.notes]
    if loaded.frames > 1 and frame == 0 and loaded.image.format != "MPO":  # a phone's MPO is a JPEG to its owner
        notes.append(f"the first of {loaded.frames} frames")
    return Picture(
        size=(width, height) if turn[0] else (height, width),
        channels=stored.channels,
        peak=stored.peak,
        format=str(loaded.image.format),
        orientation=loaded.orientation,
        frames=loaded.frames,
        warnings=tuple(notes),
        _stored=stored,
        _turn=turn,
    )
