"""``glimpse crop``: pictures in, a glimpse and its mask out for each."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from glimpse_cli import files
from glimpse_cli.cli import outputs, talk
from glimpse_cli.cli.app import command
from glimpse_cli.cli.options import (
    OUT,
    FormatOption,
    LookOptions,
    MaskFormatOption,
    PlaceOptions,
    QualityOption,
    ReadOptions,
    TalkOptions,
    format_of,
    mask_format,
    output_path,
    parse_format,
    writing,
)
from glimpse_cli.cli.outputs import FINISHED_WITH_FAILURES, PIPE
from glimpse_cli.errors import GlimpseError, UsageError

if TYPE_CHECKING:
    from glimpse_cli.devices import Device
    from glimpse_cli.items import Loaded, MaskFormat, Reading, Sight, Writing
    from glimpse_cli.places import Look


@dataclass(frozen=True)
class CropOptions:
    """What crop writes."""

    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            callback=output_path,
            help="A file for one picture, a folder for several, - for stdout; by default <stem>.glimpse.png here.",
            rich_help_panel=OUT,
        ),
    ] = None
    format: FormatOption = None
    quality: QualityOption = None
    mask: Annotated[
        bool | None,
        typer.Option(
            "--mask/--no-mask",
            help="Write the picture of what was attended to (the default but for -o -).",
            rich_help_panel=OUT,
        ),
    ] = None
    mask_format: MaskFormatOption = None
    json: Annotated[
        bool, typer.Option("--json", help="Say what was done as JSON, a document a glimpse.", rich_help_panel=OUT)
    ] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but write.", rich_help_panel=OUT)] = False
    force: Annotated[bool, typer.Option("--force", help="Replace outputs that exist.", rich_help_panel=OUT)] = False


class Target(NamedTuple):
    """Where one glimpse and its mask go; None is stdout, or no mask."""

    glimpse: Path | None
    mask: Path | None

    def paths(self) -> list[Path]:
        """The files that will be written."""
        return [path for path in self if path is not None]


@dataclass(frozen=True)
class Task:
    """What is the same for every picture of one command."""

    looks: "Sequence[Look]"
    reading: "Reading"
    kind: "Writing"
    device: "Device"
    out: CropOptions
    said: TalkOptions


@command("crop")
def crop(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE", help="Picture files; - is stdin.", show_default=False)
    ],
    *,
    place: PlaceOptions,
    how: LookOptions,
    out: CropOptions,
    read: ReadOptions,
    said: TalkOptions,
) -> None:
    """Cut a glimpse out of each picture, and draw what it attended to.

    glimpse crop photo.jpg --box 40,30,200,190 --size 64x64

    glimpse crop photo.jpg -u 40,30 -d 2 -s 1 -o eye.png
    """
    looks = [how.look(where) for where in place.places()]
    kind = writing(_format(out, len(images)), out.quality, _mask_format(out, len(images) * len(looks)), looks[0].size)
    targets = [_targets(image, len(looks), len(images), out, kind) for image in images]
    task = Task(looks, read.reading(), kind, how.resolved_device(), out, said)
    folder = Path(out.output) if out.output is not None and _is_folder(out, len(images)) else None
    if folder is not None:
        outputs.require_folder(folder, len(images))
    paths = [(path, image) for image, some in zip(images, targets, strict=True) for one in some for path in one.paths()]
    outputs.require_places((path for path, _ in paths), made=folder)
    outputs.check(paths, images, replaced=out.force or out.dry_run)
    if folder is not None and not out.dry_run:
        files.make_folder(folder)
    failed = 0
    for image, some in zip(images, targets, strict=True):
        try:
            failed += _crop(image, some, task)
        except (GlimpseError, MemoryError) as error:
            talk.explain(outputs.told(error, image), trace=said.debug)
            failed += len(looks)
    if failed:
        raise typer.Exit(FINISHED_WITH_FAILURES if failed < len(images) * len(looks) else 1)


def _crop(image: str, targets: Sequence[Target], task: Task) -> int:
    """One picture; returns how many of its looks failed."""
    from glimpse_cli import items  # noqa: PLC0415 - numpy and Pillow, which `glimpse --help` does not pay for

    data, name = outputs.read(image), outputs.name_of(image)
    loaded = items.load(data, name, task.looks, task.reading, preview=task.kind.mask == "png")
    failed = 0
    for sight, target in zip(loaded.sights, targets, strict=True):
        try:
            if isinstance(sight, GlimpseError):
                raise sight
            _look(image, loaded, sight, target, task)
        except (GlimpseError, MemoryError) as error:
            talk.explain(outputs.told(error, image), trace=task.said.debug)
            failed += 1
    return failed


def _look(image: str, loaded: "Loaded", sight: "Sight", target: Target, task: Task) -> None:
    """One look at a picture: its glimpse and its mask written, and told."""
    from glimpse_cli import items  # noqa: PLC0415 - as above

    kind = task.kind
    glimpse = items.compute(loaded, sight, task.device.contract)
    warnings = [*loaded.warnings, *sight.warnings, *items.doubts(loaded, glimpse, kind)]
    encoded = items.encode(loaded, glimpse, kind)
    mask = items.encode_mask(loaded, sight, kind.mask) if kind.mask else b""
    if not task.out.dry_run:
        _write(target, encoded, mask)
    _tell(image, {**items.report(loaded, sight), "device": task.device.name, "warnings": warnings}, target, task)


def _write(target: Target, glimpse: bytes, mask: bytes) -> None:
    if target.glimpse is None:
        sys.stdout.buffer.write(glimpse)
        sys.stdout.buffer.flush()
    files.write_together({path: data for path, data in zip(target, (glimpse, mask), strict=True) if path is not None})


def _tell(image: str, report: dict[str, Any], target: Target, task: Task) -> None:
    name = files.shown(outputs.name_of(image))
    if not task.said.quiet:
        for warning in report["warnings"]:
            talk.warn(f"{name}: {warning}")
    if task.said.verbose:
        talk.note(f"{name}: {report['method']} on {report['device']}, {json.dumps(report['place'])}")
    if task.out.json:
        written = {"glimpse": target.glimpse, "mask": target.mask}
        named = {name: None if path is None else str(path) for name, path in written.items()}
        talk.say(json.dumps({"input": image, **report, "files": named}))
    elif not task.said.quiet:
        for path in target.paths():
            talk.say(files.shown(path))


def _is_folder(out: CropOptions, images: int) -> bool:
    """Whether -o names a folder: it ends in a slash, is one, or takes several pictures."""
    path = out.output
    return path not in {None, "", PIPE} and (images > 1 or path.endswith(("/", os.sep)) or files.is_folder(path))


def _format(out: CropOptions, images: int) -> str:
    """The format of the glimpses: --format, the suffix of -o, png."""
    named = None if out.format is None else parse_format(out.format, "--format")
    if out.output is None or out.output == PIPE or _is_folder(out, images):
        return named or "png"
    if named and out.output and not Path(out.output).suffix:
        return named
    meant = format_of(out.output, "-o")
    if named not in {None, meant}:
        raise UsageError(
            f"-o {files.shown(out.output)} and --format {out.format} name two formats", hint="leave --format out"
        )
    return meant


def _mask_format(out: CropOptions, glimpses: int) -> "MaskFormat | None":
    """The format of the masks, or none; stdout takes one glimpse and nothing else."""
    if out.output != PIPE:
        return mask_format(out.mask_format, wanted=out.mask is not False)
    if glimpses > 1:
        raise UsageError(f"-o - takes one glimpse, got {glimpses}", hint="-o FOLDER/")
    with_it = {"--mask": out.mask, "--mask-format": out.mask_format, "--json": out.json}
    if typed := next((name for name, value in with_it.items() if value), None):
        raise UsageError(f"-o - sends the glimpse alone; {typed} does not go with it", hint=f"-o FILE {typed}")
    if sys.stdout.isatty() and not out.dry_run:
        raise UsageError("-o - would send a picture to the terminal", hint="-o - > eye.png")
    return None


def _targets(image: str, looks: int, images: int, out: CropOptions, kind: "Writing") -> list[Target]:
    """Where the glimpses of one picture go, numbered from 1 where it has several."""
    if out.output == PIPE:
        return [Target(None, None)]
    path = Path(outputs.name_of(image))
    folder, stem, ending = Path(), path.stem, f".glimpse.{kind.format}"
    if out.output is not None and _is_folder(out, images):
        folder = Path(out.output)
    elif out.output is not None:
        folder, stem, ending = Path(out.output).parent, Path(out.output).stem, Path(out.output).suffix
    names = [stem] if looks == 1 else [f"{stem}.{number}" for number in range(1, looks + 1)]
    return [
        Target(folder / f"{name}{ending}", folder / f"{name}.mask.{kind.mask}" if kind.mask else None) for name in names
    ]
