"""What a picture's bytes say by themselves, before any decoder sees them.

The first bytes name the format. PNG and JPEG are then walked for damage that decoders pass over in silence:
a wrong checksum, a missing end, image data that is too short. No pixel is made here.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from glimpse_cli.errors import PictureError, Reason

_PNG = b"\x89PNG\r\n\x1a\n"

# Magic bytes -> the decoder's name. Everything else is refused, whatever Pillow could open.
_ALLOWED: tuple[tuple[bytes, str], ...] = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"II[*+]\0|MM\0\*", "TIFF"),
    (rb"BM", "BMP"),
    (rb"P[1-6][\s#]", "PPM"),
    (rb"Pf\s", "PPM"),
    (rb"....ftypavi[fs]", "AVIF"),
    (rb"....ftyp(?:mif1|msf1|miaf)(?=.{0,48}avif)", "AVIF"),
)

# Known, and not read: a word more than "not an image" helps.
_REFUSED: tuple[tuple[bytes, str, str], ...] = (
    (rb"....ftyp(?:he[ivx]|mif1|msf1)", "HEIC/HEIF", "heif-convert IMG.heic IMG.jpg, or export as JPEG"),
    (rb"\0\0\0\x0cjP  \r\n|\xff\x4f\xff\x51", "JPEG 2000", "magick IN.jp2 OUT.png"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL", "djxl IN.jxl OUT.png"),
    (rb"%!PS|\xc5\xd0\xd3\xc6|%PDF", "PostScript/PDF", "pdftoppm -png IN.pdf OUT"),
    (rb"\s*(?:<\?xml|<svg|<!DOCTYPE svg)", "SVG/XML", "rsvg-convert IN.svg -o OUT.png"),
    (rb"MM\0\+", "big-endian BigTIFF", "tiffcp -L IN.tif OUT.tif"),
    (rb"8BPS", "Photoshop", "export it as PNG or TIFF"),
    (rb"\0\0[\1\2]\0", "icon", "magick IN.ico OUT.png"),
    (rb"PF\s", "colour PFM", "magick IN.pfm OUT.png"),
    (
        rb"DDS |BLP[12]|qoif|\x01\xda|\x59\xa6\x6a\x95|SIMPLE  =|v/1\x01|#\?RADIANCE|DanM|LinS|P7|\x0a\x05\x01\x08",
        "",
        "",
    ),
    (rb"....[\x11\x12]\xaf", "FLI animation", ""),
)

_BROKEN_PNG = rb".{1,16}IHDR"  # the first bytes are there to show what a transfer as text does to a file


def format_of(data: bytes, name: str) -> str:
    """The decoder that may read ``data``: JPEG, PNG, GIF, WEBP, TIFF, BMP, PPM or AVIF.

    Raises:
        PictureError: another picture format (UNSUPPORTED), or none that is known (NOT_AN_IMAGE).
    """
    head = data[:64]
    for pattern, decoder in _ALLOWED:
        if re.match(pattern, head, re.DOTALL):
            return decoder
    for pattern, kind, hint in _REFUSED:
        if re.match(pattern, head, re.DOTALL):
            raise PictureError(
                f"{name}: {kind or 'this'} format is not read",
                Reason.UNSUPPORTED,
                hint=hint or "convert it to PNG",
            )
    if re.match(_BROKEN_PNG, head, re.DOTALL):
        raise PictureError(f"{name} is corrupt", why="a PNG whose first bytes were changed, as by a transfer as text")
    raise PictureError(f"{name} is not an image of a known format", Reason.NOT_AN_IMAGE)


class Checked(NamedTuple):
    """The decoder that may read the bytes, and where a JPEG of one scan has its end marker (else 0)."""

    decoder: str
    end: int


def check(data: bytes, name: str) -> Checked:
    """`format_of`, and the format's own walk where it has one.

    Raises:
        PictureError: with its reason.
    """
    decoder = format_of(data, name)
    walk = _WALKS.get(decoder)
    return Checked(decoder, (walk(data, name) if walk else 0) or 0)


def bits_of(data: bytes, decoder: str) -> int:
    """Bits of a sample, where the file's first bytes tell (PNG, PPM, AVIF: 10 and 12 are both 10); else 8."""
    if decoder == "PNG":
        return data[24]
    if decoder == "PPM":
        header = re.match(rb"P[2356](?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d+)", data[:4096])
        return 16 if header and int(header[1]) > 255 else 8
    if decoder == "AVIF":
        at = data.find(b"av1C", 0, 4096)
        return 10 if at >= 0 and data[at + 6 : at + 7] and data[at + 6] & 0x40 else 8  # high_bitdepth
    return 8


# --- PNG ---------------------------------------------------------------------------------------------------


class PngHeader(NamedTuple):
    """What IHDR says: pixels, bits a sample, colour type (0 grey, 2 RGB, 3 palette, 4 LA, 6 RGBA), interlace."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool


_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Adam7 (PNG, section 8): first column, first row, column step, row step of the seven passes.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def check_png(data: bytes, name: str) -> None:
    """Walk a PNG's chunks: every checksum, the header, image data, and an end.

    A wrong checksum of an ancillary chunk refuses the file too: transparency, profile and orientation are ancillary.

    Raises:
        PictureError: CORRUPT or TRUNCATED.
    """
    header, seen_data = None, False
    for kind, start, length in _chunks(data, name):
        body = memoryview(data)[start : start + length]
        if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[start + length : start + length + 4]):
            raise PictureError(f"{name} is corrupt", why=f"checksum of {kind.decode('latin-1')!r}")
        if header is None:
            header = _png_header(kind, bytes(body), name)
        seen_data |= kind == b"IDAT"
    if not seen_data:
        raise PictureError(f"{name} is corrupt", why="the PNG has no image data")


def check_png_length(data: bytes, name: str) -> None:
    """Inflate the image data and compare its length with what the header promises; nothing is kept.

    Raises:
        PictureError: TRUNCATED: rows are missing.
        zlib.error: it cannot be inflated.
    """
    expected = _png_length(_png_header(b"IHDR", data[16:29], name))
    parts = (data[start : start + size] for kind, start, size in _chunks(data, name) if kind == b"IDAT")
    length = inflated(parts, expected)
    if length < expected:
        why = f"{length} of {expected} bytes of image data"
        raise PictureError(f"{name} is truncated", Reason.TRUNCATED, why=why)


def inflated(parts: Iterable[bytes], most: int) -> int:
    """How many bytes one stream holds, in parts, counted up to ``most`` or some more; nothing is kept.

    Raises:
        zlib.error: it cannot be inflated, or was read to its end, where it has another checksum.
    """
    inflater, length = zlib.decompressobj(), 0
    for part in parts:
        for at in range(0, len(part), 2**14):  # a little at a time, of which at most 16 MiB come
            if inflater.eof or length >= most:
                return length
            length += len(inflater.decompress(part[at : at + 2**14]))
    return length


def without_text(data: bytes, name: str) -> bytes:
    """The same PNG less its text, of which no pixel is made, except where an old tool has put EXIF into it.

    A little text that cannot inflate is left where it is: so the bytes need no copy.
    """
    chunks = list(_chunks(data, name))
    texts = [chunk for chunk in chunks if chunk[0] in _TEXTS and not data.startswith(_EXIF_AS_TEXT, chunk[1])]
    if all(kind == b"tEXt" for kind, _, _ in texts) and sum(length for _, _, length in texts) < _LITTLE_TEXT:
        return data
    whole = memoryview(data)
    dropped = {start for _, start, _ in texts}
    kept = (whole[start - 8 : start + length + 4] for _, start, length in chunks if start not in dropped)
    return b"".join((_PNG, *kept))


_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_EXIF_AS_TEXT = b"Raw profile type exif\0"
_LITTLE_TEXT = 2**20


def is_grey_alpha16(data: bytes) -> bool:
    """Whether a PNG holds grey and alpha of 16 bits each, for which Pillow has no mode."""
    return data[24:26] == b"\x10\x04"


def as_rgba8(data: bytes) -> bytes:
    """The same PNG with a header that says RGBA of 8 bits; for `is_grey_alpha16`, whose pixels are as long."""
    header = b"IHDR" + data[16:24] + b"\x08\x06" + data[26:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def _chunks(data: bytes, name: str) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start of the body, its length) of every chunk up to IEND, without which the PNG is refused."""
    at = len(_PNG)
    while at < len(data):
        if at + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        if not kind.isalpha():
            raise PictureError(f"{name} is corrupt", why=f"a PNG chunk called {kind!r}")
        if at + 12 + length > len(data):
            raise PictureError(
                f"{name} is truncated", Reason.TRUNCATED, why=f"inside the chunk {kind.decode('latin-1')}"
            )
        yield kind, at + 8, length
        if kind == b"IEND":
            return
        at += 12 + length
    raise PictureError(f"{name} is truncated", Reason.TRUNCATED, why="the PNG has no end")


def _png_header(kind: bytes, body: bytes, name: str) -> PngHeader:
    if kind != b"IHDR" or len(body) != 13:
        raise PictureError(f"{name} is corrupt", why="the PNG does not begin with its header")
    width, height, depth, colour, packing, filtering, interlace = struct.unpack(">IIBBBBB", body)
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise PictureError(f"{name} is corrupt", why=f"a size of {width} x {height} pixels")
    if depth not in _DEPTHS.get(colour, ()) or packing or filtering or interlace > 1:
        raise PictureError(f"{name} is corrupt", why="the PNG's header has values that do not exist")
    return PngHeader(width, height, depth, colour, bool(interlace))


def _png_length(header: PngHeader) -> int:
    """Bytes of the inflated image data: every row has one byte for its filter."""
    bits = header.depth * _SAMPLES[header.colour]
    passes = _PASSES if header.interlaced else ((0, 0, 1, 1),)
    total = 0
    for x, y, dx, dy in passes:
        columns = max(0, (header.width - x + dx - 1) // dx)
        rows = max(0, (header.height - y + dy - 1) // dy)
        total += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    return total


# --- JPEG --------------------------------------------------------------------------------------------------

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # C4, C8, CC share the range and are no frames
_LOSSLESS = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF})  # or hierarchical
_ONE_PASS = frozenset({0xC0, 0xC1})  # sequential, Huffman
_SOS, _EOI = 0xDA, 0xD9
# In entropy-coded data FF is followed by 00 (a stuffed byte), D0..D7 (a restart) or FF (fill).
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def check_jpeg(data: bytes, name: str) -> int:
    """Walk a JPEG's markers to its end: a frame that can be decoded, a scan, and an end marker.

    Returns:
        Where the end marker stands if one Huffman-coded scan holds the picture, else 0.

    Raises:
        PictureError: TRUNCATED, CORRUPT, or UNSUPPORTED (lossless, hierarchical, 12 bits).
    """
    frame = scans = 0
    for marker, start, length in _segments(data, name):
        if marker == _EOI:
            if not frame or not scans:
                break
            return start if scans == 1 and frame in _ONE_PASS else 0
        if marker in _SOF:
            frame = marker
            _check_frame(marker, data[start : start + length], name)
        scans += marker == _SOS
    raise PictureError(f"{name} is corrupt", why=f"the JPEG has no {'scan' if frame else 'frame'}")


def _check_frame(marker: int, body: bytes, name: str) -> None:
    if len(body) < 6:
        raise PictureError(f"{name} is corrupt", why="the JPEG's frame header is too short")
    if marker in _LOSSLESS or body[0] != 8:
        kind = "lossless or hierarchical" if marker in _LOSSLESS else f"{body[0]}-bit"
        raise PictureError(f"{name}: {kind} JPEG is not read", Reason.UNSUPPORTED)


def _segments(data: bytes, name: str) -> Iterator[tuple[int, int, int]]:
    """(marker, start of the body, its length) of every segment; last the end marker and where it stands."""
    at = 2
    while True:
        found = _MARKER.search(data, at)
        if not found:
            raise PictureError(f"{name} is truncated", Reason.TRUNCATED, why="the JPEG has no end marker")
        marker, at = data[found.start() + 1], found.end()
        if marker == _EOI:
            yield marker, found.start(), 0
            return
        if marker in (0x01, 0xD8):  # these stand alone
            continue
        if at + 2 > len(data):
            raise PictureError(f"{name} is truncated", Reason.TRUNCATED, why="inside a JPEG header")
        length = int.from_bytes(data[at : at + 2])
        if at + length > len(data):
            raise PictureError(f"{name} is truncated", Reason.TRUNCATED, why="inside a JPEG header")
        yield marker, at + 2, length - 2
        at += max(length, 2)


# --- WebP, AVIF, TIFF --------------------------------------------------------------------------------------


def check_riff(data: bytes, name: str) -> None:
    """Compare a WebP's length with what its first bytes announce.

    Raises:
        PictureError: TRUNCATED.
    """
    require_length(8 + int.from_bytes(data[4:8], "little"), len(data), name)


def check_boxes(data: bytes, name: str) -> None:
    """Walk the outer boxes of an AVIF.

    Raises:
        PictureError: TRUNCATED, or CORRUPT where a box has no length.
    """
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        if size == 1:  # the length follows, in 64 bits
            size = int.from_bytes(data[at + 8 : at + 16])
        if size == 0:  # up to the end
            return
        if size < 8:
            raise PictureError(f"{name} is corrupt", why=f"a box of {size} bytes")
        at += size
    require_length(at, len(data), name)


def check_tiff_start(data: bytes, name: str) -> None:
    """See whether a TIFF's first directory lies in the file (it often is its last part).

    Raises:
        PictureError: TRUNCATED.
    """
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    big = 43 in data[2:4]  # BigTIFF
    start = int.from_bytes(data[8:16] if big else data[4:8], order)
    entries = int.from_bytes(data[start : start + (8 if big else 2)], order)
    require_length(start + (8 + 20 * entries if big else 2 + 12 * entries), len(data), name)


def require_length(expected: int, length: int, name: str) -> None:
    """See whether there are as many bytes as are needed.

    Raises:
        PictureError: TRUNCATED.
    """
    if length < expected:
        raise PictureError(f"{name} is truncated", Reason.TRUNCATED, why=f"{length} of {expected} bytes")


_WALKS: dict[str, Callable[[bytes, str], int | None]] = {
    "PNG": check_png,
    "JPEG": check_jpeg,
    "WEBP": check_riff,
    "AVIF": check_boxes,
    "TIFF": check_tiff_start,
}
