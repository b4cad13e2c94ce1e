"""What a TIFF's directory promises, held against its bytes before any decoder sees them.

Where Pillow or libtiff would go wrong without a word, the file gets another directory, written behind it.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from glimpse_cli.errors import PictureError, Reason
from glimpse_cli.images.strict import require_jpeg_end, require_length

_JPEG = 7
_FAX = frozenset({2, 3, 4, 32771})  # CCITT's: RLE, group 3, group 4, RLE in words
_NO_ZEROS = frozenset({2, 4})  # those with no two bytes of zeros between codes


class Directory(NamedTuple):
    """What is said of one picture of a TIFF; made by `directory_of`.

    Args:
        data: the whole file.
        at: where the directory lies.
        of: the numbers of every tag that is looked at.
        name: as errors show it.
    """

    data: bytes
    at: int
    of: dict[int, tuple[int, ...]]
    name: str


def directory_of(tags: Any, data: bytes, name: str) -> Directory:
    """What is looked at of the tags of one picture, as Pillow read them.

    Raises:
        PictureError: CORRUPT: words where numbers should be.
    """
    of = {tag: _whole_numbers(tags.get(tag, default), tag, name) for tag, default in _TAGS.items()}
    return Directory(data, tags.offset, of, name)


def check(directory: Directory) -> None:
    """Refuse what Pillow would read wrongly without a word, and pixels that lie behind the end of the file.

    Raises:
        PictureError: TRUNCATED, CORRUPT or UNSUPPORTED.
    """
    data, _, of, name = directory
    bits, compression = max(of[258]), of[259][0]
    if of[284][0] == _PLANES and compression == 1 and bits > 8:
        raise PictureError(f"{name}: {bits}-bit TIFF with a plane a channel is not read", Reason.UNSUPPORTED)
    if 2 in of[339] and bits <= 8:
        raise PictureError(f"{name}: TIFF with signed bytes is not read", Reason.UNSUPPORTED)
    for starts, counts in _PIECES:
        ends = map(sum, zip(of[starts], of[counts], strict=False))
        require_length(max(ends, default=0), len(data), name)
    _require_pieces(of, name)
    stored, most = sum(of[279]) + sum(of[325]), _EXPANSION.get(compression)
    if stored and most:
        pixels = of[256][0] * of[257][0] * bits * of[277][0] // 8
        require_length(pixels // most, stored, name)
    for piece in _pieces(directory) if compression == _JPEG else ():
        require_jpeg_end(piece, name)


def _require_pieces(of: Mapping[int, tuple[int, ...]], name: str) -> None:
    """Pillow leaves a strip or a tile that the directory does not list black, without a word."""
    width, height = of[256][0], of[257][0]
    if of[324]:
        needed = -(-width // (of[322][0] or width)) * -(-height // (of[323][0] or height))
    else:
        needed = -(-height // (of[278][0] or height))
    needed *= of[277][0] if of[284][0] == _PLANES else 1
    found = len(of[324] or of[273])
    if found < needed:
        raise PictureError(f"{name} is truncated", Reason.TRUNCATED, why=f"{found} of {needed} strips or tiles")


def _pieces(directory: Directory) -> Iterator[bytes]:
    """The strips, or the tiles, that have a length."""
    for starts, counts in _PIECES:
        for start, count in zip(directory.of[starts], directory.of[counts], strict=False):
            if count:
                yield directory.data[start : start + count]


# Compressions -> how many bytes one byte can become: raw, LZW, deflate (twice), PackBits.
_EXPANSION = {1: 1, 5: 1400, 8: 1032, 32946: 1032, 32773: 64}

_PIECES = ((273, 279), (324, 325))  # where strips are and how long, where tiles are and how long
_PLANES = 2  # of tag 284: a plane a channel

# What is looked at: width, height, colours, rows a strip, a tile's size; bits, compression, order of bits, samples a
# pixel, planes, what numbers samples are; the pieces and what further samples are.
_TAGS: dict[int, Any] = {
    **dict.fromkeys((256, 257, 262, 278, 322, 323), 0),
    **dict.fromkeys((258, 259, 266, 277, 284, 339), 1),
    **dict.fromkeys((273, 279, 324, 325, 338), ()),
}


def _whole_numbers(value: Any, tag: int, name: str) -> tuple[int, ...]:
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(number, int) for number in numbers) or (not numbers and _TAGS[tag] != ()):
        raise PictureError(f"{name} is corrupt", why=f"TIFF tag {tag} should hold whole numbers")
    return numbers


# --- the same file with another directory -----------------------------------------------------------------


def _with_tags(data: bytes, at: int, changes: Mapping[int, tuple[int, ...]]) -> bytes:
    """One picture only: the directory at ``at``, with some tags changed, added, or, of no value, left out."""
    order = "<" if data[:2] == b"II" else ">"
    # BigTIFF has its first offset at 8, counts in 8 bytes, entries of 20 and numbers of type 16, LONG8.
    first, count, size, number, kind = (8, "Q", 20, "Q", 16) if 43 in data[2:4] else (4, "H", 12, "I", 4)
    (entries,) = struct.unpack_from(order + count, data, at)
    at += struct.calcsize(count)
    table = {}
    for start in range(at, at + entries * size, size):
        (tag,) = struct.unpack_from(order + "H", data, start)
        table[tag] = data[start : start + size]
    lists = b""
    for tag, values in changes.items():
        packed = struct.pack(f"{order}{len(values)}{number}", *values)
        if len(values) > 1:
            lists, packed = lists + packed, struct.pack(order + number, len(data) + len(lists))
        table[tag] = struct.pack(f"{order}HH{number}", tag, kind, len(values)) + packed
        if not values:
            del table[tag]
    head = data[:first] + struct.pack(order + number, len(data) + len(lists))
    rows = [struct.pack(order + count, len(table)), *(table[tag] for tag in sorted(table)), bytes(8)]
    return b"".join((head, memoryview(data)[len(head) :], lists, *rows))


def with_fax_ends(directory: Directory) -> bytes:
    """Every strip that holds fax codes ends in what is no code; the file itself where there is none.

    Where rows are missing libtiff only warns, and Pillow has silenced that; at what is no code it complains.

    Raises:
        PictureError: CORRUPT: zeros that no code has.
    """
    data, at, of, name = directory
    starts, counts = _PIECES[bool(of[324])]
    if of[259][0] not in _FAX or not all(of[counts]) or len(of[counts]) < len(of[starts]):
        return data
    pieces = [_with_fax_end(piece, backwards=of[266][0] == 2) for piece in _pieces(directory)]
    # Zeros are taken for the end of a strip or of rows, and rows are left out.
    if of[259][0] in _NO_ZEROS and any(b"\0\0" in piece[: -len(_NO_CODES) // 8] for piece in pieces):
        raise PictureError(f"{name} is corrupt", why="zeros between the codes of a fax strip")
    ends = [len(data)]
    for piece in pieces:
        ends.append(ends[-1] + len(piece))
    return _with_tags(b"".join((data, *pieces)), at, {starts: tuple(ends[:-1]), counts: tuple(map(len, pieces))})


# Eight to ten zeros and a one are no code in any of CCITT's tables; eleven and a one begin a row of group 3.
_NO_CODES = "000000000010000000001000000001" + ("000000000001000000000010000000001") * 4
_BACKWARDS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def _with_fax_end(piece: bytes, *, backwards: bool) -> bytes:
    piece = (piece.translate(_BACKWARDS) if backwards else piece).rstrip(b"\0")
    bits = f"{piece[-1]:08b}".rstrip("0") + _NO_CODES if piece else _NO_CODES
    bits += "0" * (-len(bits) % 8)
    piece = piece[:-1] + int(bits, 2).to_bytes(len(bits) // 8)
    return piece.translate(_BACKWARDS) if backwards else piece
