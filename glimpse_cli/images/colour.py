"""A stored window becomes grey or RGB in sRGB, with alpha beside it: modes and ICC profiles.

The modes of Pillow are many and what a person sees is one. Everything here works on a window, never on the
whole picture, and the transform of a profile is built once.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

# What each 8-bit mode becomes. A transparent colour adds alpha to it.
_PLAIN = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBX": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
    "LAB": "RGB",
}
_WITH_ALPHA = {"L": "LA", "RGB": "RGBA"}
_GREY = {"L", "LA"}
_OWN = {"CMYK", "LAB"}  # the modes whose numbers a transform reads as they are stored

_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC's word -> the mode that ImageCms reads
_NEGATIVE = [255 - value for value in range(256)] * 4


@dataclass(frozen=True)
class Colour:
    """How windows of one picture become sRGB; made by `colour_of`.

    Args:
        mode: what a window becomes: L, LA, RGB or RGBA.
        curve: for grey, what each of the 256 values becomes.
        source: for colour, the mode that the transform reads.
        transform: for colour, ImageCms's.
        inverted: the inks of a CMYK picture are as they were meant, and Pillow has turned them around.
    """

    mode: str
    curve: bytes | None = None
    source: str = ""
    transform: Any = None
    inverted: bool = False

    @property
    def managed(self) -> bool:
        """Whether a profile changes the numbers."""
        return self.curve is not None or self.transform is not None

    def convert(self, window: Image.Image) -> Image.Image:
        """A window as Pillow stores it -> the same pixels in ``mode``."""
        if self.inverted:
            window = window.point(_NEGATIVE)
        if window.mode != self.mode and self.source not in _OWN:
            window = window.convert(self.mode)
        if self.curve is not None:
            return _by_curve(window, self.curve)
        return window if self.transform is None else self._by_transform(window)

    def _by_transform(self, window: Image.Image) -> Image.Image:
        from PIL import ImageCms  # noqa: PLC0415 - only a picture with a profile pays

        alpha = window.getchannel("A") if window.mode == "RGBA" else None
        colours = window if window.mode == self.source else window.convert(self.source)
        srgb: Any = ImageCms.applyTransform(colours, self.transform)
        if alpha is not None:
            srgb.putalpha(alpha)
        result: Image.Image = srgb
        return result


def colour_of(image: Image.Image, *, icc: bool) -> tuple[Colour, str | None]:
    """How to read ``image``, an 8-bit picture that was loaded, and what is wrong with its profile, if anything.

    Args:
        image: in any 8-bit mode.
        icc: convert from its ICC profile to sRGB; off leaves the numbers. LAB is always converted.

    Raises:
        KeyError: a mode that no allowed format has.
    """
    mode = _PLAIN[image.mode]
    if "transparency" in image.info and image.mode in {"1", "L", "P", "RGB"}:
        mode = _WITH_ALPHA[mode]
    # Pillow takes every CMYK JPEG as Adobe's, inks inverted; without Adobe's marker they are as they are.
    inverted = image.mode == "CMYK" and image.format in {"JPEG", "MPO"} and "adobe" not in image.info
    if image.mode == "LAB":
        return Colour(mode, source="LAB", transform=_lab_transform()), None
    plain = Colour(mode, inverted=inverted)
    return _managed(plain, image) if icc and "icc_profile" in image.info else (plain, None)


def grey_curve(image: Image.Image) -> tuple[bytes | None, str | None]:
    """What the profile of a 16-bit grey picture does to 256 greys, or None; and what is wrong with it.

    ImageCms reads no 16-bit grey, so the picture is sent through this curve: its depth stays, its tone is right
    to 8 bits.
    """
    if "icc_profile" not in image.info:
        return None, None
    colour, note = _managed(Colour("L"), image)
    return colour.curve, "its ICC profile was applied with a precision of 8 bits" if colour.curve else note


def _managed(plain: Colour, image: Image.Image) -> tuple[Colour, str | None]:
    from PIL import ImageCms  # noqa: PLC0415 - only a picture with a profile pays

    profile = image.info["icc_profile"]
    try:
        # None is Pillow's sign for a profile whose parts do not add up.
        return _through(ImageCms.ImageCmsProfile(BytesIO(profile or b"")), plain, image.mode), None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        return plain, f"its ICC profile cannot be used ({error}): its numbers were taken as sRGB"


def _through(profile: Any, plain: Colour, stored: str) -> Colour:
    """``plain`` with the profile's curve or transform, unless the profile is sRGB's own."""
    from PIL import ImageCms  # noqa: PLC0415 - only a picture with a profile pays

    space = profile.profile.xcolor_space
    source = _SPACES.get(space)
    if source is None or (source == "CMYK") != (stored == "CMYK") or (source == "L" and plain.mode not in _GREY):
        raise ValueError(f"it is for {space.strip()}, the picture is {stored}")
    srgb = ImageCms.createProfile("sRGB")
    if plain.mode in _GREY:
        # Left to itself lcms samples a grey profile coarsely: off by 10 of 255 in the shadows.
        exact = ImageCms.buildTransform(profile, srgb, source, "RGB", flags=ImageCms.Flags.NOOPTIMIZE)
        greys = Image.frombytes("L", (256, 1), bytes(range(256)))
        curve = _applied(greys.convert(source), exact)[1::3]  # neutral in, neutral out: green is as good as any
        return plain if _near(curve, bytes(range(256))) else Colour(plain.mode, curve)
    transform = ImageCms.buildTransform(profile, srgb, source, "RGB")
    if source == "RGB":
        steps = range(0, 256, 15)
        cube = bytes(value for r in steps for g in steps for b in steps for value in (r, g, b))
        if _near(_applied(Image.frombytes("RGB", (len(cube) // 3, 1), cube), transform), cube):
            return plain
    return Colour(plain.mode, None, source, transform, plain.inverted)


def _lab_transform() -> Any:
    from PIL import ImageCms  # noqa: PLC0415 - only a picture in LAB pays

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB")


def _applied(image: Image.Image, transform: Any) -> bytes:
    from PIL import ImageCms  # noqa: PLC0415 - only a picture with a profile pays

    result: Any = ImageCms.applyTransform(image, transform)
    return bytes(result.tobytes())


def _near(some: bytes, others: bytes) -> bool:
    """Whether no value differs by more than 1: then a window costs nothing and 16 bits stay whole."""
    return all(abs(a - b) <= 1 for a, b in zip(some, others, strict=True))


def _by_curve(window: Image.Image, curve: bytes) -> Image.Image:
    return window.point(list(curve) + (list(range(256)) if window.mode == "LA" else []))
