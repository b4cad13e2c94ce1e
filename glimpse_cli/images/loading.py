"""A picture's bytes are decoded once, from memory, by the one decoder their first bytes name, behind every guard."""

import importlib
import sys
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

from PIL import Image, ImageFile

from glimpse_cli.errors import InputError, PictureError, Reason
from glimpse_cli.files import shown
from glimpse_cli.images import bmp, strict, tiff
from glimpse_cli.images.complaints import DECODING, NOT_BUILT, listening
from glimpse_cli.images.refusals import REFUSALS, changed

# The plugin that reads each allowed format; no other is ever imported. (EPS would run Ghostscript.)
PLUGINS = {
    "AVIF": "AvifImagePlugin",
    "BMP": "BmpImagePlugin",
    "GIF": "GifImagePlugin",
    "JPEG": "JpegImagePlugin",
    "PNG": "PngImagePlugin",
    "PPM": "PpmImagePlugin",
    "TIFF": "TiffImagePlugin",
    "WEBP": "WebPImagePlugin",
}

_ORIENTATION = 274  # the EXIF and TIFF tag
_BITS = 258  # TIFF: bits a sample
_TABLES = 347  # TIFF: what its JPEGs have in common

# Pillow's words for numbers of a given byte order -> for numbers of the machine's own.
_NATIVE = {
    **dict.fromkeys(("I;16S", "I;16BS"), "I;16NS"),
    **dict.fromkeys(("I;32S", "I;32BS"), "I;32NS"),
    **dict.fromkeys(("F;32F", "F;32BF"), "F;32NF"),
}

_MOST_PROFILE = 2**26  # bytes of an inflated profile; Pillow would refuse a PNG with more than 1 MiB
_MORE_KINDS = {(b"MM", 1, (1,), 1, (32,), ()): ("I", "I;32BS")}  # of these Pillow knows the little-endian alone


@dataclass(frozen=True)
class Loaded:
    """What came out of the decoder.

    Args:
        image: the pixels, in any mode of Pillow's.
        low: for 16-bit colour the low bytes, as ``image`` keeps the high ones; else None.
        frames: how many pictures the file holds.
        orientation: EXIF's, 1 to 8, as the file has it.
        pending: whether it is still to be applied (Pillow turns a TIFF itself).
        bits: of a sample, in the file.
        clear: the transparent colour of 16-bit colour, as the file has it; else None.
        notes: what went wrong and did no harm to the pixels.
    """

    image: Image.Image
    low: Image.Image | None
    frames: int
    orientation: int
    pending: bool = True
    bits: int = 8
    clear: tuple[int, ...] | None = None
    notes: list[str] = field(default_factory=list)


def load(data: bytes, name: str, frame: int, max_pixels: int) -> Loaded:
    """Decode one frame; inside `mapped`.

    Args:
        data: the whole file.
        name: as errors show it.
        frame: from 0.
        max_pixels: more are refused before they are decoded.

    Raises:
        PictureError: what the bytes themselves give away, or too many pixels.
        InputError: there is no such frame.
    """
    checked = strict.check(data, name)
    if checked.decoder == "PNG":
        with changed(importlib.import_module("PIL.PngImagePlugin"), "MAX_TEXT_CHUNK", _MOST_PROFILE):
            return _load(strict.without_text(data, name), checked, name, frame, max_pixels)
    if checked.decoder != "TIFF":
        return _load(data, checked, name, frame, max_pixels)
    pages = tiff.places(data)
    if frame:  # cut out, so that what is asked for stands first: Pillow reads the first with more care than the others
        _require_frame(frame, len(pages), name)
        data = tiff.page(data, pages[frame])
    plugin: Any = importlib.import_module("PIL.TiffImagePlugin")
    heard: list[str] = []
    try:
        with listening(heard), changed(plugin, "OPEN_INFO", plugin.OPEN_INFO | _MORE_KINDS):
            loaded = _load_planes(data, name, max_pixels) or _load(data, checked, name, 0, max_pixels)
    except OSError as error:
        for said in filter(NOT_BUILT.search, heard):
            raise PictureError(
                f"{name}: this kind of TIFF is not read",
                Reason.UNSUPPORTED,
                why=shown(said.removeprefix("tempfile.tif: ")),
            ) from error
        raise
    for said in filter(DECODING.match, heard):
        raise PictureError(f"{name} is corrupt", why=shown(said))
    return replace(loaded, frames=len(pages))


def _load(data: bytes, checked: strict.Checked, name: str, frame: int, max_pixels: int) -> Loaded:
    decoder, end = checked
    image = _opened(data, decoder, name, max_pixels)
    # Pillow counts a TIFF's by opening each, and fails at one that it cannot read.
    frames = 1 if decoder == "TIFF" else _go_to(image, frame, name, max_pixels)
    tags, expected = getattr(image, "tag_v2", {}), b""
    if decoder == "TIFF":
        directory = tiff.directory_of(tags, data, name)
        _check_tiff(directory, tags, max_pixels)
        if faxes := tiff.with_fax_ends(directory):
            ended, filled = faxes
            image = _opened(filled, decoder, name, max_pixels)
            _decode(image)
            expected = image.tobytes()  # an eighth of its memory
            image = _opened(ended, decoder, name, max_pixels)
    if decoder == "BMP":
        tile: Any = image.tile[0]
        if tile.codec_name == "bmp_rle":
            # moved to the start: Pillow counts whole pairs of bytes from there
            codes = bmp.with_every_row(data[tile.offset :], 4 if tile.args[1] else 8, image.height)
            image.fp, image.tile = BytesIO(codes), [tile._replace(offset=0)]
    turned, bits = tags.get(_ORIENTATION, 1), _bits(data, decoder, tags)
    tiles = _other_bytes(image.tile) if bits == 16 and not frame else []
    if end and not frame:
        image.fp = _Endless(data, end)
    _decode(image)
    if expected and image.tobytes() != expected:
        raise PictureError(f"{name} is corrupt", why="a row of a fax goes on behind its strip")
    if decoder == "PNG" and frame == 0 and _may_be_short(image):
        strict.check_png_length(data, name)
    low = _low(data, decoder, name, tiles, max_pixels) if tiles else None
    notes: list[str] = []
    orientation = _known(turned if decoder == "TIFF" else _exif_orientation(image, notes))
    if decoder == "PNG" and strict.is_grey_alpha16(data) and not frame:
        return Loaded(*_grey_alpha16(data, image), frames, orientation, bits=bits, notes=notes)
    clear = _scale_clear(image, bits) if decoder == "PNG" else None
    return Loaded(image, low, frames, orientation, decoder != "TIFF", bits, clear, notes)


def _load_planes(data: bytes, name: str, max_pixels: int) -> Loaded | None:
    """The first picture of a TIFF with a plane a channel, each read as a picture of its own; None for any other.

    Of several planes Pillow forgets what they are: alpha that colour was multiplied by, the signs of CIELAB, the
    second channel of two, the second byte of 16 bits.
    """
    places, plugin = tiff.places(data), importlib.import_module("PIL.TiffImagePlugin")
    if not places:
        return None
    tags = _tags_at(data, places[0], plugin)
    directory = tiff.directory_of(tags, data, name)
    compression = directory.of[259][0]
    if compression not in plugin.COMPRESSION_INFO:
        raise PictureError(f"{name}: TIFF with compression {compression} is not read", Reason.UNSUPPORTED)
    channels = tiff.channels_of(directory)
    if not channels:
        return None
    bits, orientation = max(directory.of[258]), _known(tags.get(_ORIENTATION, 1))
    picture = _opened(tiff.as_contiguous(directory, channels), "TIFF", name, max_pixels)
    _check_tiff(directory, tags, max_pixels)
    args: Any = picture.tile[0].args
    mode = args[0].partition(";")[0].rstrip("X") if channels > 1 else ""
    if mode == "PA":
        raise PictureError(f"{name}: TIFF with a palette and alpha in planes is not read", Reason.UNSUPPORTED)
    planes = []
    for number in range(Image.getmodebands(mode) if mode else 1):
        image = _opened(tiff.plane(directory, number, grey=channels > 1), "TIFF", name, max_pixels)
        _decode(image)
        planes.append(image)
    if not mode:
        return Loaded(planes[0], None, 1, orientation, pending=False, bits=bits)
    highs, lows = zip(*map(_halves, planes), strict=True)
    if mode == "LAB":
        highs = (highs[0], *(high.point([value ^ 128 for value in range(256)]) for high in highs[1:]))
    high = Image.merge(mode, highs)
    high.info, high.format = picture.info, picture.format
    low = Image.merge(mode, lows) if bits == 16 and mode in {"RGB", "RGBA"} else None
    return Loaded(high, low, 1, orientation, pending=False, bits=bits)


def _check_tiff(directory: tiff.Directory, tags: Any, max_pixels: int) -> None:
    """`tiff.check`, and every JPEG in it by itself: of one that ends early libtiff makes up the missing rows."""
    tiff.check(directory)
    most = max(max_pixels, 2**24)  # a small picture may lie in a large tile
    for jpeg in tiff.jpegs(directory, tags.get(_TABLES, b"")):
        end = strict.check_jpeg(jpeg, directory.name)
        if directory.of[277][0] in {1, 3, 4}:  # Pillow reads no other number of channels from a JPEG
            image = _opened(jpeg, "JPEG", directory.name, most)
            image.draft(None, (1, 1))  # all codes, and an eighth of the rows and columns
            if end:
                image.fp = _Endless(jpeg, end)
            _decode(image)


def _tags_at(data: bytes, place: int, plugin: Any) -> Any:
    file = BytesIO(data)
    tags = plugin.ImageFileDirectory_v2(data[: 16 if data[2] == 43 else 8])  # as much as its header has
    file.seek(place)
    tags.load(file)
    return tags


def _halves(plane: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The high and the low bytes of 16 bits; 8 bits are both."""
    if plane.mode == "L":
        return plane, plane
    stored = plane.tobytes()
    first, second = (Image.frombytes("L", plane.size, stored[at::2]) for at in (0, 1))
    return (first, second) if plane.mode == "I;16B" else (second, first)


def _decode(image: ImageFile.ImageFile) -> None:
    image.tile = [_native(tile) for tile in image.tile]
    image.info.pop("xmp", None)  # Pillow would turn a TIFF by it
    image.load()  # once: after a failure a second load gives a black picture


def _known(orientation: Any) -> int:
    """Others exist, and mean nothing."""
    return orientation if orientation in range(1, 9) else 1


def _opened(data: bytes, decoder: str, name: str, max_pixels: int) -> ImageFile.ImageFile:
    """Open without ``Image.open``, which imports and tries other decoders."""
    importlib.import_module(f"PIL.{PLUGINS[decoder]}")
    factory, _ = Image.OPEN[decoder]
    image = factory(BytesIO(data), "")
    _check_size(image.size, name, max_pixels)
    return image


def _go_to(image: ImageFile.ImageFile, frame: int, name: str, max_pixels: int) -> int:
    """Go to a frame; returns how many there are."""
    frames = int(getattr(image, "n_frames", 1))
    _require_frame(frame, frames, name)
    if frame:
        image.seek(frame)
        _check_size(image.size, name, max_pixels)
    return frames


def _require_frame(frame: int, frames: int, name: str) -> None:
    if not 0 <= frame < frames:
        count = "one frame" if frames == 1 else f"{frames} frames, 0 to {frames - 1}"
        raise InputError(f"{name} has {count}: there is no frame {frame}", hint="leave --frame out for the first")


class _Endless(BytesIO):
    """A JPEG with a few zeros in place of its end marker.

    At an end marker that comes too early a decoder makes up the missing rows and says nothing. Without one it
    asks for more data if, and only if, rows are missing. The zeros are what it reads ahead: libjpeg-turbo fills
    64 bits at a time.
    """

    def __init__(self, data: bytes, end: int) -> None:
        super().__init__(data)  # shares the bytes
        self._end = end
        self._zeros = bytes(16)

    def read(self, size: int | None = -1) -> bytes:
        left = self._end - self.tell()
        if left > 0:
            return super().read(left if size is None or size < 0 else min(size, left))
        zeros, self._zeros = self._zeros, b""
        return zeros


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise PictureError(
            f"{name} is too large: {width} x {height} pixels, {max_pixels} are allowed",
            Reason.TOO_LARGE,
            hint=f"--max-pixels {width * height}",
        )


def _bits(data: bytes, decoder: str, tags: Any) -> int:
    if decoder == "TIFF":
        bits = tags.get(_BITS, 1)
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return strict.bits_of(data, decoder)


def _other_bytes(tiles: list[Any]) -> list[Any]:
    """The tiles of 16-bit colour with their bytes swapped, so that Pillow keeps the low one; empty for others.

    Pillow reads ``RGB;16B`` into 8 bits by taking the first byte of each pair, and told that the pairs are
    little-endian, the second. ``N`` is the machine's own order.
    """
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    swapped = []
    for tile in tiles:
        raw, *rest = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
        base, _, order = str(raw).partition(";16")
        if base not in {"RGB", "RGBA", "RGBX"} or order not in other:
            return []
        raw = f"{base};16{other[order]}"
        swapped.append(tile._replace(args=raw if isinstance(tile.args, str) else (raw, *rest)))
    return swapped


def _native(tile: Any) -> Any:
    """A tile of libtiff's comes in the machine's own byte order, which Pillow minds for unsigned 16 bits only."""
    if tile.codec_name != "libtiff":
        return tile
    raw, *rest = tile.args
    return tile._replace(args=(_NATIVE.get(raw, raw), *rest))


def _low(data: bytes, decoder: str, name: str, tiles: list[Any], max_pixels: int) -> Image.Image:
    image = _opened(data, decoder, name, max_pixels)
    image.tile = tiles
    _decode(image)
    return image


def _grey_alpha16(data: bytes, image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Grey and alpha of 16 bits lie in a PNG exactly as RGBA of 8 bits: read as that, they keep every byte."""
    factory, _ = Image.OPEN["PNG"]
    grey_high, grey_low, alpha_high, alpha_low = factory(BytesIO(strict.as_rgba8(data)), "").split()
    high = Image.merge("LA", (grey_high, alpha_high))
    high.info, high.format = image.info, image.format
    return high, Image.merge("LA", (grey_low, alpha_low))


def _scale_clear(image: Image.Image, bits: int) -> tuple[int, ...] | None:
    """Bring a PNG's transparent colour to the 8 bits of its pixels, which Pillow forgets; what it was, for RGB."""
    clear = image.info.get("transparency")
    if image.mode == "L" and isinstance(clear, int):
        image.info["transparency"] = clear * 255 // (2**bits - 1)
    if image.mode == "RGB" and isinstance(clear, tuple) and bits == 16:
        image.info["transparency"] = tuple(value >> 8 for value in clear)
        return clear
    return None


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


def _exif_orientation(image: Image.Image, notes: list[str]) -> int:
    """Out of EXIF alone: ``getexif`` would take that of XMP, by which other programs turn no picture."""
    exif = Image.Exif()
    try:
        block = image.info.get("exif")
        if block is None:  # a name, a length, and then hexadecimal digits
            block = bytes.fromhex("".join(image.info.get("Raw profile type exif", "").split("\n")[3:]))
        exif.load(block)
        return int(exif.get(_ORIENTATION, 1))
    except REFUSALS:
        notes.append("its EXIF block is damaged: an orientation in it was not read")
        return 1
