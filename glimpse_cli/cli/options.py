"""Options that commands share, in groups, and what they say: a group is a frozen dataclass of Annotated fields."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, cast, get_args

from typer import CallbackParam, Option

from glimpse_cli.cli.app import remember_debug, show_version
from glimpse_cli.errors import UsageError
from glimpse_cli.files import FORMATS, is_device, shown
from glimpse_cli.places import (
    BoxFormat,
    BoxPlace,
    CombPlace,
    GridPlace,
    Look,
    Pair,
    Place,
    parse_box,
    parse_number,
    parse_pair,
    parse_size,
    parse_width,
)

if TYPE_CHECKING:
    from glimpse_cli.devices import Device
    from glimpse_cli.glimpse import Method
    from glimpse_cli.items import MaskFormat, Reading, Writing
    from glimpse_cli.kernels import Padding

WHERE = "Where to look (exactly one place)"
HOW = "How to look"
OUT = "What is written"
IN = "How pictures are read"

PICTURES = {suffix: form for suffix, form in FORMATS.items() if form != "npy"}  # the formats of what is for people

DEVICE, JOBS = "GLIMPSE_DEVICE", "GLIMPSE_JOBS"  # of the environment: defaults

# Options of several commands whose groups differ around them
FormatOption = Annotated[str | None, Option(metavar="FORMAT", help="png, jpg, webp, tiff or npy.", rich_help_panel=OUT)]
QualityOption = Annotated[str | None, Option(metavar="N", help="1 to 100, for jpg and webp.", rich_help_panel=OUT)]
MaskFormatOption = Annotated[
    str | None,
    Option(metavar="FORMAT", help="png (default), or npy for the (H, W) attention itself.", rich_help_panel=OUT),
]


@dataclass(frozen=True)
class PlaceOptions:
    """Where to look: a box, or the post's Gaussian numbers, or its spatial transformer's."""

    box: Annotated[
        list[str] | None,
        Option(
            "--box",
            metavar="X0,Y0,X1,Y1",
            help="A box in pixels, half-open; may leave the picture. In crop it may be repeated.",
            rich_help_panel=WHERE,
        ),
    ] = None
    box_format: Annotated[
        str | None, Option(metavar="FORMAT", help="xyxy (default), xywh or cxcywh.", rich_help_panel=WHERE)
    ] = None
    normalized: Annotated[
        bool, Option("--normalized", help="The box is in fractions of the picture.", rich_help_panel=WHERE)
    ] = False
    margin: Annotated[
        str | None,
        Option(metavar="F", help="Grow the box by this share of its width and height.", rich_help_panel=WHERE),
    ] = None
    keep_aspect: Annotated[
        bool, Option("--keep-aspect", help="Grow the box to the aspect of the glimpse.", rich_help_panel=WHERE)
    ] = False
    u: Annotated[
        str | None,
        Option(
            "-u", metavar="Y,X", help="Centre of the first sample, in pixels (the post's u).", rich_help_panel=WHERE
        ),
    ] = None
    d: Annotated[
        str | None,
        Option("-d", metavar="Y,X", help="Distance between centres, in pixels; 1 if left out.", rich_help_panel=WHERE),
    ] = None
    scale: Annotated[
        str | None,
        Option(
            metavar="Y,X", help="The spatial transformer's scale, in [-1, 1] of the picture.", rich_help_panel=WHERE
        ),
    ] = None
    shift: Annotated[str | None, Option(metavar="Y,X", help="Its shift; goes with --scale.", rich_help_panel=WHERE)] = (
        None
    )

    def places(self) -> list[Place]:
        """The places that were typed: one, or one for each box.

        Raises:
            UsageError: no place or several, an option that goes with another place, a text that is no number.
        """
        typed = self.spelled()
        if len(typed) != 1:
            raise UsageError(
                f"exactly one place is needed, got {' and '.join(typed) or 'none'}",
                hint="one of: --box X0,Y0,X1,Y1 | -u Y,X [-d Y,X] | --scale Y,X --shift Y,X",
            )
        if self.box:
            return [self._box_place(text) for text in self.box]
        alone = [name for name, given in self._box_only().items() if given]
        if alone:
            raise UsageError(f"{' and '.join(alone)} goes with --box only, got {typed[0]}")
        if self.u is not None:
            return [CombPlace(parse_pair(self.u, "-u"), Pair(1.0, 1.0) if self.d is None else parse_pair(self.d, "-d"))]
        if self.scale is None or self.shift is None:
            missing = "--scale" if self.scale is None else "--shift"
            raise UsageError(f"--scale and --shift go together, {missing} is missing")
        return [GridPlace(parse_pair(self.scale, "--scale"), parse_pair(self.shift, "--shift"))]

    def spelled(self) -> list[str]:
        """The names of the places that were typed, whole or in part."""
        if self.d is not None and self.u is None:
            raise UsageError("-d is the step from -u, which is missing", hint="-u Y,X")
        grid = self.scale is not None or self.shift is not None
        given = {"--box": bool(self.box), "-u": self.u is not None, "--scale/--shift": grid}
        return [name for name, typed in given.items() if typed]

    def _box_only(self) -> dict[str, bool]:
        return {
            "--box-format": self.box_format is not None,
            "--normalized": self.normalized,
            "--margin": self.margin is not None,
            "--keep-aspect": self.keep_aspect,
        }

    def _box_place(self, text: str) -> BoxPlace:
        form = one_of("xyxy" if self.box_format is None else self.box_format, get_args(BoxFormat), "--box-format")
        margin = self.share()
        return BoxPlace(parse_box(text, cast("BoxFormat", form)), self.normalized, margin, self.keep_aspect)

    def share(self) -> float:
        """By which share of its sides a box grows: --margin."""
        margin = 0.0 if self.margin is None else parse_number(self.margin, "--margin")
        if margin < 0:
            raise UsageError(f"--margin must be 0 or above, got {self.margin}")
        return margin


@dataclass(frozen=True)
class LookOptions:
    """How to look."""

    method: Annotated[
        str | None,
        Option(
            metavar="METHOD",
            help="gaussian, stn or hard; by default stn for --scale/--shift, else gaussian.",
            rich_help_panel=HOW,
        ),
    ] = None
    size: Annotated[str, Option(metavar="WxH", help="Size of the glimpse, or N for NxN.", rich_help_panel=HOW)] = (
        "64x64"
    )
    s: Annotated[
        str | None,
        Option(
            "-s",
            metavar="Y,X",
            help="Width of the gaussian in pixels; 0.35 max(1, |d|) if left out.",
            rich_help_panel=HOW,
        ),
    ] = None
    padding: Annotated[
        str | None,
        Option(
            metavar="PADDING",
            help="zeros, border or reflection outside the picture; border for a box, zeros for raw numbers.",
            rich_help_panel=HOW,
        ),
    ] = None
    device: Annotated[
        str,
        Option(metavar="DEVICE", envvar=DEVICE, help="cpu, cuda, cuda:N or auto.", rich_help_panel=HOW),
    ] = "cpu"

    def look(self, place: Place) -> Look:
        """One place, looked at this way."""
        return Look(
            place,
            parse_size(self.size),
            cast("Method | None", self.method),
            cast("Padding | None", self.padding),
            None if self.s is None else parse_width(self.s),
        )

    def resolved_device(self) -> "Device":
        """The device, if it is there."""
        from glimpse_cli.devices import resolve  # noqa: PLC0415 - numpy

        return resolve(self.device, typed_as("--device", DEVICE, self.device))


@dataclass(frozen=True)
class ReadOptions:
    """How pictures are read."""

    frame: Annotated[str, Option(metavar="N", help="Which frame or page of a file, from 0.", rich_help_panel=IN)] = "0"
    no_icc: Annotated[
        bool, Option("--no-icc", help="Leave the numbers alone: no conversion to sRGB.", rich_help_panel=IN)
    ] = False
    max_pixels: Annotated[
        str, Option(metavar="N", help="Refuse larger pictures.", show_default="100 million", rich_help_panel=IN)
    ] = "100000000"

    def reading(self) -> "Reading":
        """How pictures are read."""
        from glimpse_cli.items import Reading  # noqa: PLC0415 - numpy

        frame = parse_count(self.frame, "--frame", least=0)
        return Reading(frame, not self.no_icc, parse_count(self.max_pixels, "--max-pixels"))


@dataclass(frozen=True)
class TalkOptions:
    """What is said."""

    quiet: Annotated[bool, Option("-q", "--quiet", help="Say nothing but errors.")] = False
    verbose: Annotated[bool, Option("-v", "--verbose", help="Say what was done to each picture.")] = False
    debug: Annotated[bool, Option("--debug", help="Show the traceback of an error.", callback=remember_debug)] = False
    version: Annotated[bool, Option("--version", callback=show_version, is_eager=True, hidden=True)] = False


def output_path(param: CallbackParam, value: str | None) -> str | None:
    """Callback of an output: where it goes, whatever is made on the way there.

    A path through ``NEW/..`` leads to nothing that is there, until NEW is made: it is taken for where it will lead.
    """
    if value is not None and value.startswith("="):
        name = min(param.opts, key=len)
        raise UsageError(f"{name} takes {value[1:]!a} without an equals sign", hint=f"{name} {quote(value[1:])}")
    parts = Path(value or "").parts
    if os.pardir not in parts[parts.count(os.pardir) :]:  # but for those that it begins with
        return value
    typed = str(value)
    folder, name = os.path.split(typed)
    if name == os.pardir:
        folder, name = typed, ""
    way = os.path.realpath(folder)  # the name itself may be a link, which is replaced and not followed
    return os.path.join(way if os.path.isabs(typed) else os.path.relpath(way), name)  # noqa: PTH117, PTH118 - strings


def writing(form: str, quality: str | None, mask: "MaskFormat | None", size: tuple[int, int]) -> "Writing":
    """What is written, checked.

    Args:
        form: png, jpg, webp, tiff or npy, as in `FORMATS`.
        quality: as typed.
        mask: the mask's format, or none.
        size: (height, width) of the glimpses.
    """
    from glimpse_cli.images import require_sides  # noqa: PLC0415 - numpy and Pillow
    from glimpse_cli.items import Writing  # noqa: PLC0415 - numpy

    require_sides(form, size)
    if quality is None:
        return Writing(form, None, mask)
    if form not in {"jpg", "webp"}:
        raise UsageError(f"--quality is for jpg and webp, got --format {form}")
    value = parse_count(quality, "--quality")
    if value > 100:
        raise UsageError(f"--quality is 1 to 100, got {value}")
    return Writing(form, value, mask)


def mask_format(text: str | None, *, wanted: bool) -> "MaskFormat | None":
    """The format of masks, where some are wanted; png where none was typed."""
    form = None if text is None else one_of(text, ("png", "npy"), "--mask-format")
    if form and not wanted:
        raise UsageError(f"--mask-format {form} is for masks, and none is written", hint="--mask")
    return cast("MaskFormat", form or "png") if wanted else None


def typed_as(option: str, variable: str, value: str) -> str:
    """What an error calls a value: its option, or the variable of the environment that it comes from."""
    is_typed = any(word.partition("=")[0] == option for word in sys.argv)
    return variable if os.environ.get(variable) == value and not is_typed else option


def format_of(path: str, option: str, known: Mapping[str, str] = FORMATS) -> str:
    """The format that the suffix of an output names.

    Args:
        path: as typed.
        option: what it was typed after, for errors.
        known: what there is for it.
    """
    suffix = Path(path).suffix[1:]
    if not suffix and is_device(path):
        raise UsageError(f"{option} {shown(path)} is a device", hint="a file; crop writes to standard output with -o -")
    if not suffix:
        name = path.rstrip(".") or "glimpse"
        hint = f"{option} {shown(quote(f'{name}.png'))}"
        if option == "-o":
            hint += f", or -o {shown(quote(f'{name}/'))} for a folder"
        raise UsageError(f"{option} {shown(path)} has no suffix that names a format", hint=hint)
    return parse_format(suffix, f"{option} {shown(path)}", known)


def parse_format(text: str, name: str, known: Mapping[str, str] = FORMATS) -> str:
    """A format's name, or a suffix without its dot, in lower or upper case."""
    form = known.get(text.lower())
    if form is None:
        raise UsageError(f"{name}: unknown format {text!a}", hint=f"one of {', '.join(sorted(set(known.values())))}")
    return form


def parse_count(text: str, name: str, least: int = 1) -> int:
    """A whole number, ``least`` or above."""
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) >= least):
        raise UsageError(f"{name} must be a whole number of {least} or above, got {text!a}")
    return int(text)


def one_of(text: str, names: tuple[str, ...], option: str) -> str:
    """One of some names."""
    if text not in names:
        raise UsageError(f"{option} must be one of {', '.join(names)}, got {text!a}")
    return text
