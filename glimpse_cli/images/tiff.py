"""What a TIFF's directory promises, held against its bytes before any decoder sees them.

Where Pillow or libtiff would go wrong without a word, the file gets another directory, written behind it.
"""

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from glimpse_cli.errors import PictureError, Reason
from glimpse_cli.images.strict import inflated, require_length

_JPEG = 7
_YCBCR = 6
_MOST_CHANNELS = 6
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
        PictureError: CORRUPT: words where numbers should be; TRUNCATED: values that lie behind the end of the file.
    """
    _require_values(data, tags.offset, name)
    of = {tag: _whole_numbers(tags.get(tag, default), tag, name) for tag, default in _TAGS.items()}
    return Directory(data, tags.offset, of, name)


def _require_values(data: bytes, at: int, name: str) -> None:
    """Pillow passes over such a tag, be it what says that there is alpha, without a word."""
    number = _form(data).number
    wide = struct.calcsize(number)
    for start, _, kind in _entries(data, at):
        count, place = struct.unpack_from(number + number[1], data, start + 4)
        size = count * (_SIZES[kind] if kind < len(_SIZES) else 0)
        if size > wide:
            require_length(place + size, len(data), name)


_SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)  # bytes of a value of each type


def check(directory: Directory) -> None:
    """Refuse what Pillow would read wrongly without a word, and pixels that lie behind the end of the file.

    Raises:
        PictureError: TRUNCATED, CORRUPT or UNSUPPORTED.
    """
    data, _, of, name = directory
    bits, compression = max(of[258]), of[259][0]
    if 2 in of[339] and bits <= 8:
        raise PictureError(f"{name}: TIFF with signed bytes is not read", Reason.UNSUPPORTED)
    for starts, counts in _PIECES:
        ends = map(sum, zip(of[starts], of[counts], strict=False))
        require_length(max((*of[starts], *of[counts], *ends), default=0), len(data), name)
    _require_pieces(of, name)
    stored, most = sum(of[279]) + sum(of[325]), _EXPANSION.get(compression)
    if stored and most:
        pixels = of[256][0] * of[257][0] * bits * of[277][0] // 8
        require_length(pixels // most, stored, name)
    if compression in _DEFLATE:
        _check_sums(directory)


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


def _check_sums(directory: Directory) -> None:
    """Inflate every strip up to its checksum: libtiff stops before it. Nothing is kept.

    Raises:
        zlib.error: it is another.
    """
    of = directory.of
    wide, high = of[322][0] or of[256][0], of[323][0] or min(of[278][0] or of[257][0], of[257][0])
    most = high * (wide * max(of[258]) * of[277][0] // 8 + 1) + 1  # a longer one is left unread
    for piece in _pieces(directory):
        inflated([piece.translate(_BACKWARDS) if of[266][0] == 2 else piece], most)


def jpegs(directory: Directory, tables: bytes) -> Iterator[bytes]:
    """Every strip or tile of JPEG, with the tables that all have in common: a file of its own; none of other kinds."""
    tables = tables.rpartition(b"\xff\xd9")[0] or tables  # less their end marker, and what may lie behind it
    for piece in _pieces(directory) if directory.of[259][0] == _JPEG else ():
        yield tables + piece[2:] if tables else piece


def _pieces(directory: Directory) -> Iterator[bytes]:
    """The strips, or the tiles, that have a length."""
    for starts, counts in _PIECES:
        for start, count in zip(directory.of[starts], directory.of[counts], strict=False):
            if count:
                yield directory.data[start : start + count]


_DEFLATE = frozenset({8, 32946})

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
    if not all(isinstance(number, int) and number >= 0 for number in numbers) or (not numbers and _TAGS[tag] != ()):
        raise PictureError(f"{name} is corrupt", why=f"TIFF tag {tag} should hold whole numbers")
    return numbers


# --- the same file with another directory -----------------------------------------------------------------


class _Form(NamedTuple):
    """How a directory is written; the types are those of `struct`."""

    first: int  # where the offset of the first directory stands
    entries: str  # how many there are
    size: int  # of an entry
    number: str  # an offset, and how many values an entry has
    kind: int  # the entry's word for such numbers


def _form(data: bytes) -> _Form:
    order = "<" if data[:2] == b"II" else ">"
    if 43 in data[2:4]:  # BigTIFF
        return _Form(8, order + "Q", 20, order + "Q", 16)
    return _Form(4, order + "H", 12, order + "I", 4)


def places(data: bytes) -> list[int]:
    """Where the directory of each picture lies."""
    form, found = _form(data), dict[int, None]()
    (at,) = struct.unpack_from(form.number, data, form.first)
    with suppress(struct.error, OverflowError):  # the next one lies behind the end
        while at and at not in found:
            found[at] = None
            (entries,) = struct.unpack_from(form.entries, data, at)
            (at,) = struct.unpack_from(form.number, data, at + struct.calcsize(form.entries) + entries * form.size)
    return list(found)


def _entries(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Where each entry of the directory at ``at`` lies, its tag, and of what type it is."""
    form = _form(data)
    (entries,) = struct.unpack_from(form.entries, data, at)
    at += struct.calcsize(form.entries)
    for start in range(at, at + entries * form.size, form.size):
        yield start, *struct.unpack_from(form.entries[0] + "HH", data, start)


def _with_tags(data: bytes, at: int, changes: Mapping[int, tuple[int, ...]]) -> bytes:
    """One picture only: the directory at ``at``, with some tags changed, added, or, of no value, left out."""
    form = _form(data)
    table = {tag: data[start : start + form.size] for start, tag, _ in _entries(data, at)}
    lists = b""
    for tag, values in changes.items():
        packed = b"".join(struct.pack(form.number, value) for value in values)
        if len(values) > 1:
            lists, packed = lists + packed, struct.pack(form.number, len(data) + len(lists))
        table[tag] = (
            struct.pack(form.entries[0] + "HH", tag, form.kind) + struct.pack(form.number, len(values)) + packed
        )
        if not values:
            del table[tag]
    head = data[: form.first] + struct.pack(form.number, len(data) + len(lists))
    rows = [struct.pack(form.entries, len(table)), *(table[tag] for tag in sorted(table)), bytes(8)]
    return b"".join((head, memoryview(data)[len(head) :], lists, *rows))


def page(data: bytes, at: int) -> bytes:
    """One picture only: that of the directory at ``at``."""
    return _with_tags(data, at, {})


def channels_of(directory: Directory) -> int:
    """How many channels have a plane each, less those that mean nothing; 0 if it is not so kept.

    YCbCr is left out: its planes are not all of one size, and libtiff puts them together. So are more channels, or
    other numbers, than any picture that Pillow knows has.
    """
    of = directory.of
    channels = of[277][0] - (0 if any(of[338]) else len(of[338]))
    if of[284][0] != _PLANES or of[277][0] == 1 or of[262][0] == _YCBCR:
        return 0
    return channels if 0 < channels <= _MOST_CHANNELS and max(of[258] + of[338] + of[339]) < 2**16 else 0


def as_contiguous(directory: Directory, channels: int) -> bytes:
    """A directory that says the channels lie together: from it Pillow tells what they are, if not their values."""
    data, at, of, _ = directory
    extra = of[338] if any(of[338]) else ()
    return _with_tags(data, at, {258: _each(of[258], channels), 277: (channels,), 284: (1,), 338: extra})


def plane(directory: Directory, number: int, *, grey: bool) -> bytes:
    """One plane, from 0, as a picture; ``grey`` says that its zero is black, whatever the picture's colours are."""
    data, at, of, _ = directory
    changes = {258: of[258][:1], 277: (1,), 284: (1,), 338: (), 339: of[339][:1]}
    for tag in sum(_PIECES, ()):
        share = len(of[tag]) // of[277][0]
        changes[tag] = of[tag][number * share : (number + 1) * share]
    return _with_tags(data, at, {**changes, 262: (1,)} if grey else changes)


def _each(values: tuple[int, ...], channels: int) -> tuple[int, ...]:
    """One value a channel, of which the directory may name one for all."""
    return (values * channels if len(values) == 1 else values)[:channels]


def with_fax_ends(directory: Directory) -> tuple[bytes, ...]:
    """The file twice: every strip that holds fax codes ends in what is no code, or in ones. Nothing for other files.

    Where rows are missing libtiff only warns, and Pillow has silenced that; at what is no code it complains. A last
    row that is cut short is filled from what follows: then the two differ.

    Raises:
        PictureError: CORRUPT: zeros that no code has.
    """
    _, _, of, name = directory
    starts, counts = _PIECES[bool(of[324])]
    if of[259][0] not in _FAX or not all(of[counts]) or len(of[counts]) < len(of[starts]):
        return ()
    strips = list(_pieces(directory))
    pieces = [_with_fax_end(piece, backwards=of[266][0] == 2) for piece in strips]
    # Zeros are taken for the end of a strip or of rows, and rows are left out.
    if of[259][0] in _NO_ZEROS and any(b"\0\0" in piece[: -len(_NO_CODES) // 8] for piece in pieces):
        raise PictureError(f"{name} is corrupt", why="zeros between the codes of a fax strip")
    return _with_pieces(directory, pieces), _with_pieces(directory, [piece + b"\xff" * 16 for piece in strips])


def _with_pieces(directory: Directory, pieces: list[bytes]) -> bytes:
    data, at, of, _ = directory
    starts, counts = _PIECES[bool(of[324])]
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
