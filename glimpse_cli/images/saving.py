"""A glimpse becomes a file's bytes: rounded once, the same bytes every time.

Pillow writes JPEG and WebP. PNG and TIFF are written here, as it has no 16-bit colour and no floats in colour: a PNG is
three chunks, an uncompressed TIFF a table of a dozen numbers.
"""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glimpse_cli.errors import ParameterError

# The formats, and the bits a sample that each can hold
DEPTHS = {"png": (8, 16), "jpg": (8,), "webp": (8,), "tiff": (8, 16, 32), "npy": (8, 16, 32)}

LONGEST = {"jpg": 65535, "webp": 16383}  # pixels a side; the others hold what memory holds

_JPEG_QUALITY = 95


def encode(
    glimpse: NDArray[Any],
    *,
    format: str,  # noqa: A002 - the command's own word
    depth: int = 8,
    quality: int | None = None,
) -> bytes:
    """The bytes of a file that holds ``glimpse``.

    Args:
        glimpse: float, (h, w) grey or (h, w, C) with C from 1 to 4 (grey, grey and alpha, RGB, RGBA); [0, 1] is
            black to white and what lies outside is clipped, NaN is black. Colour is not multiplied by alpha.
        format: ``png`` (level 1), ``jpg`` (4:4:4, alpha laid over white), ``webp`` (lossless, or lossy where a
            quality is given), ``tiff`` (uncompressed), ``npy`` (float32 as it is, not rounded, not clipped).
        depth: bits a sample: 8; 16 for png and tiff; 32 is float32 as it is, for tiff. npy has its own.
        quality: 1 to 100 for jpg (95 if not given) and webp.

    Raises:
        ParameterError: a format, depth or quality that does not exist, or go together.
    """
    _require(format, depth, quality)
    glimpse = np.asarray(glimpse)
    if format == "npy":
        return _npy(glimpse)
    if depth == 32:
        return _tiff(glimpse.astype(np.float32))
    if format == "jpg":
        glimpse = over_white(glimpse)
    return _written(rounded(glimpse, depth), format, quality)


def encode_picture(rgb: NDArray[np.uint8], format: str = "png") -> bytes:  # noqa: A002 - as in `encode`
    """The bytes of a drawing, uint8 (h, w, 3), in any format of `encode` but npy, which holds numbers in [0, 1]."""
    _require(format, 8, None)
    if format == "npy":
        raise ParameterError("npy is no picture", hint="png")
    return _written(rgb, format, None)


def _written(numbers: NDArray[Any], kind: str, quality: int | None) -> bytes:
    require_sides(kind, numbers.shape[:2])
    if numbers.ndim == 3 and numbers.shape[2] == 1:
        numbers = numbers[:, :, 0]
    if kind == "tiff":
        return _tiff(numbers)
    if kind == "jpg":
        return _pillow(numbers, "JPEG", quality=quality or _JPEG_QUALITY, subsampling=0)
    if kind == "webp":
        return _pillow(numbers, "WEBP", lossless=quality is None, quality=quality or 75, exact=True)
    return _png(numbers)


def require_sides(kind: str, size: tuple[int, int]) -> None:
    """Refuse a (height, width) that a format cannot hold.

    Raises:
        ParameterError: WebP has 14 bits for a side, JPEG 16.
    """
    longest = LONGEST.get(kind, max(size))
    if max(size) > longest:
        raise ParameterError(
            f"{kind} holds {longest} pixels a side, got {size[1]}x{size[0]} (WxH)", hint="png, tiff or npy"
        )


def _require(kind: str, depth: int, quality: int | None) -> None:
    if kind not in DEPTHS:
        raise ParameterError(f"there is no format {kind!r}", hint=f"one of {', '.join(DEPTHS)}")
    if depth not in DEPTHS[kind]:
        depths = " or ".join(map(str, DEPTHS[kind]))
        raise ParameterError(f"{kind} holds {depths} bits a sample, got {depth}")
    if quality is not None and kind not in {"jpg", "webp"}:
        raise ParameterError(f"{kind} has no quality: it keeps every value", hint="--format jpg or webp")
    if quality is not None and not 1 <= quality <= 100:
        raise ParameterError(f"quality goes from 1 to 100, got {quality}")


def rounded(glimpse: NDArray[Any], depth: int) -> NDArray[Any]:
    """A glimpse in whole numbers of so many bits: halves up, clipped to [0, 1], a NaN is 0.

    The product is made in the glimpse's own dtype: there ``k.5 / peak``, which was rounded, times the peak is k.5
    again. With more digits it would be a little less for about half of all k, and be rounded down.
    """
    peak = 2**depth - 1
    values = np.multiply(glimpse, peak, dtype=np.result_type(glimpse, np.float32))
    values += 0.5
    np.fmax(values, 0, out=values)  # of a NaN and 0, 0
    np.fmin(values, peak, out=values)
    rounded: NDArray[Any] = values.astype(np.uint8 if depth == 8 else np.uint16)
    return rounded


def over_white(glimpse: NDArray[Any]) -> NDArray[Any]:
    """A glimpse (h, w, C) without its alpha, if it has one: white shows through. Mixed before the one rounding."""
    if glimpse.ndim == 2 or glimpse.shape[2] in {1, 3}:
        return glimpse
    alpha = glimpse[:, :, -1:]
    mixed: NDArray[Any] = glimpse[:, :, :-1] * alpha + (1 - alpha)
    return mixed


def _pillow(numbers: NDArray[Any], decoder: str, **options: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(numbers).save(out, decoder, **options)
    return out.getvalue()


def _npy(values: NDArray[Any]) -> bytes:
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    out = BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(values, np.float32), version=(1, 0), allow_pickle=False)
    return out.getvalue()


def _png(numbers: NDArray[Any]) -> bytes:
    """8 or 16 bits, grey to RGBA: each row as its difference to the one above, deflated as runs alone.

    On photographs this is half the time of a search for repeats at level 1, and no larger. PNG 1.2, sections 4 and 6.
    """
    height, width, channels = (*numbers.shape, 1)[:3]
    flat = np.ascontiguousarray(numbers, numbers.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    rows = np.empty((height, 1 + flat.shape[1]), np.uint8)
    rows[:, 0] = 2  # the filter's number
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])  # uint8 wraps, as PNG asks
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8 * numbers.itemsize, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", deflate.compress(rows.data) + deflate.flush()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _tiff(numbers: NDArray[Any]) -> bytes:
    """Little-endian and uncompressed, one strip: unsigned of 8 or 16 bits, or float32. TIFF 6.0, section 2.

    Grey of 16 bits with alpha is written as colour: libraries that read TIFF, Pillow among them, do not know it.
    """
    if numbers.dtype.itemsize == 2 and numbers.shape[2:] == (2,):
        numbers = numbers[:, :, [0, 0, 0, 1]]
    height, width, channels = (*numbers.shape, 1)[:3]
    bits, is_float = numbers.dtype.itemsize * 8, numbers.dtype.kind == "f"
    entries = {  # tag: values, ascending
        256: (width,),
        257: (height,),
        258: (bits,) * channels,
        259: (1,),  # not compressed
        262: (1 if channels < 3 else 2,),  # black is zero, RGB
        273: (0,),  # where the pixels begin: filled in below
        277: (channels,),
        278: (height,),
        279: (numbers.nbytes,),
        284: (1,),  # samples beside each other
        **({338: (2,)} if channels in {2, 4} else {}),  # alpha, not multiplied in
        339: (3 if is_float else 1,) * channels,
    }
    after = 8 + 2 + 12 * len(entries) + 4
    extra, table = b"", b""
    long = {256, 257, 273, 278, 279}
    start = after + sum(2 * len(values) for values in entries.values() if len(values) > 2)
    entries[273] = (start + start % 2,)
    for tag, values in entries.items():
        code = "I" if tag in long else "H"
        packed = struct.pack(f"<{len(values)}{code}", *values)
        if len(packed) > 4:
            extra, packed = extra + packed, struct.pack("<I", after + len(extra))
        table += struct.pack("<HHI4s", tag, 4 if code == "I" else 3, len(values), packed)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", 0) + extra
    little = numbers.astype(numbers.dtype.newbyteorder("<"))
    return head.ljust(entries[273][0], b"\0") + little.tobytes()
