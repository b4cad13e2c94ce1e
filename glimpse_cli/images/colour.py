"""A stored window becomes grey or RGB in sRGB, with alpha beside it: modes and ICC profiles.

The modes of Pillow are many and what a person sees is one. Everything here works on a window, never on the
whole picture, and the transform of a profile is built once.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

# What each 8-bit mode becomes where no profile and no transparent colour has a say.
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
_WITH_ALPHA = {"L": "LA", "RGB": "RGBA", "LA": "LA", "RGBA": "RGBA"}


@dataclass(frozen=True)
class Colour:
    """How windows of one picture become sRGB: made by `colour_of`.

    Args:
        mode: what a window becomes: L, LA, RGB or RGBA.
        source: the mode that the profile's transform reads; empty where there is none.
        transform: ImageCms's transform, or None.
        inverted: CMYK as inks were meant, and Pillow turned them around.
    """

    mode: str
    source: str = ""
    transform: Any = None
    inverted: bool = False

    def convert(self, window: Image.Image) -> Image.Image:
        """A window as Pillow stores it -> the same pixels in ``mode``."""
        if self.inverted:
            window = window.point(_NEGATIVE)
        if self.transform is None:
            return window if window.mode == self.mode else window.convert(self.mode)
        plain = window if window.mode == self.source else window.convert(self.mode)
        return self._managed(plain)

    def _managed(self, window: Image.Image) -> Image.Image:
        from PIL import ImageCms  # noqa: PLC0415 - 5 ms that only a picture with a profile pays

        alpha = window.getchannel("A") if window.mode in {"LA", "RGBA"} else None
        colours = window if window.mode == self.source else window.convert(self.source)
        managed: Any = ImageCms.applyTransform(colours, self.transform)
        if self.mode in {"L", "LA"}:
            managed = managed.getchannel("G")  # neutral in, neutral out
        if alpha is not None:
            managed.putalpha(alpha)
        converted: Image.Image = managed
        return converted


_NEGATIVE = [255 - value for value in range(256)] * 4
_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def colour_of(image: Image.Image, *, icc: bool) -> tuple[Colour, str | None]:
    """How to read ``image``, an 8-bit picture that was loaded, and what went wrong with its profile, if any.

    Args:
        image: in any 8-bit mode.
        icc: convert from its ICC profile, or from LAB, to sRGB; off leaves the numbers.

    Raises:
        KeyError: a mode that no allowed format has.
    """
    mode = _PLAIN[image.mode]
    if "transparency" in image.info and image.mode in {"1", "L", "P", "RGB"}:
        mode = _WITH_ALPHA[mode]
    # Pillow takes every CMYK JPEG as Adobe's, inks inverted; without Adobe's marker they are as they are.
    inverted = image.mode == "CMYK" and image.format in {"JPEG", "MPO"} and "adobe" not in image.info
    plain = Colour(mode, inverted=inverted)
    profile = image.info.get("icc_profile")
    if image.mode == "LAB":
        return _from_profile(plain, image.mode, None), None
    if not icc or not profile:
        return plain, None
    return _guarded(plain, image.mode, profile)


def grey_curve(image: Image.Image) -> tuple[list[int] | None, str | None]:
    """What the profile of a 16-bit grey picture does to 256 greys, or None; and what went wrong with it.

    ImageCms reads no 16-bit grey, so the picture is sent through this curve: its depth stays, its tone is right
    to 8 bits.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return None, None
    colour, note = _guarded(Colour("L"), "L", profile)
    if colour.transform is None:
        return None, note
    greys = Image.frombytes("L", (256, 1), bytes(range(256)))
    return list(colour.convert(greys).tobytes()), "its ICC profile was applied with a precision of 8 bits"


def _guarded(plain: Colour, stored: str, profile: bytes) -> tuple[Colour, str | None]:
    from PIL import ImageCms  # noqa: PLC0415 - only a picture with a profile pays

    try:
        return _from_profile(plain, stored, profile), None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        return plain, f"its ICC profile cannot be used ({error}); its numbers were taken as sRGB"


def _from_profile(plain: Colour, stored: str, profile: bytes | None) -> Colour:
    from PIL import ImageCms  # noqa: PLC0415 - only a picture with a profile pays

    if profile is None:
        opened, source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB"
    else:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = opened.profile.xcolor_space
        source = _SPACES.get(space, "")
        if (source == "CMYK") != (stored == "CMYK") or not source:
            raise ValueError(f"it is for {space.strip()} and the picture is {stored}")
        if source == "L" and plain.mode not in {"L", "LA"}:
            raise ValueError(f"it is for grey and the picture is {stored}")
    transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), source, "RGB")
    if profile is not None and source != "CMYK" and _changes_nothing(transform, source):
        return plain
    return Colour(plain.mode, source, transform, plain.inverted)


def _changes_nothing(transform: Any, source: str) -> bool:
    """Whether a profile is sRGB's own: then its windows cost nothing and 16 bits stay whole."""
    from PIL import ImageCms  # noqa: PLC0415 - only a picture with a profile pays

    steps = range(0, 256, 15)
    if source == "L":
        probe = Image.frombytes("L", (256, 1), bytes(range(256)))
    else:
        cube = bytes(value for r in steps for g in steps for b in steps for value in (r, g, b))
        probe = Image.frombytes("RGB", (len(cube) // 3, 1), cube)
    managed: Any = ImageCms.applyTransform(probe, transform)
    return all(abs(a - b) <= 1 for a, b in zip(managed.tobytes(), probe.convert("RGB").tobytes(), strict=True))
