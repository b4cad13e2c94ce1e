"""What a TIFF's directory promises, held against its bytes before any decoder sees them."""

from collections.abc import Mapping
from typing import Any

from glimpse_cli.errors import PictureError, Reason
from glimpse_cli.images.strict import require_length


def check(tags: Mapping[int, Any], length: int, name: str) -> None:
    """Refuse what Pillow would read wrongly without a word, and pixels that lie behind the end of the file.

    Args:
        tags: of one picture of the file, by number.
        length: of the file, in bytes.
        name: as errors show it.

    Raises:
        PictureError: TRUNCATED, CORRUPT or UNSUPPORTED.
    """
    of = {tag: _whole_numbers(tags.get(tag, default), tag, name) for tag, default in _TIFF_TAGS.items()}
    bits, compression, planar = max(of[258]), of[259][0], of[284][0] == 2
    if planar and compression == 1 and bits > 8:
        raise PictureError(f"{name}: {bits}-bit TIFF with a plane a channel is not read", Reason.UNSUPPORTED)
    if 2 in of[339] and bits <= 8:
        raise PictureError(f"{name}: TIFF with signed bytes is not read", Reason.UNSUPPORTED)
    for starts, counts in ((273, 279), (324, 325)):  # strips, tiles
        ends = map(sum, zip(of[starts], of[counts], strict=False))
        require_length(max(ends, default=0), length, name)
    _require_pieces(of, planar, name)
    stored, most = sum(of[279]) + sum(of[325]), _EXPANSION.get(compression)
    if stored and most:
        pixels = of[256][0] * of[257][0] * bits * of[277][0] // 8
        require_length(pixels // most, stored, name)


def _require_pieces(of: Mapping[int, tuple[int, ...]], planar: bool, name: str) -> None:
    """Pillow leaves a strip or a tile that the directory does not list black, without a word."""
    width, height = of[256][0], of[257][0]
    if of[324]:
        needed = -(-width // (of[322][0] or width)) * -(-height // (of[323][0] or height))
    else:
        needed = -(-height // (of[278][0] or height))
    needed *= of[277][0] if planar else 1
    found = len(of[324] or of[273])
    if found < needed:
        raise PictureError(f"{name} is truncated", Reason.TRUNCATED, why=f"{found} of {needed} strips or tiles")


# Compressions -> how many bytes one byte can become: raw, LZW, deflate (twice), PackBits.
_EXPANSION = {1: 1, 5: 1400, 8: 1032, 32946: 1032, 32773: 64}

# The tags that are looked at: width, height, bits, compression; where strips are, samples a pixel, rows a strip,
# how long strips are; planes; a tile's size, where tiles are, how long they are; what numbers samples are.
_TIFF_TAGS: dict[int, Any] = {
    **dict.fromkeys((256, 257, 278, 322, 323), 0),
    **dict.fromkeys((258, 259, 277, 284, 339), 1),
    **dict.fromkeys((273, 279, 324, 325), ()),
}


def _whole_numbers(value: Any, tag: int, name: str) -> tuple[int, ...]:
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(number, int) for number in numbers) or (not numbers and _TIFF_TAGS[tag] != ()):
        raise PictureError(f"{name} is corrupt", why=f"TIFF tag {tag} should hold whole numbers")
    return numbers
