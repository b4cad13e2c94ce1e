"""``glimpse compare``: one place through several methods and devices, as a table, a picture, numbers or a page."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from glimpse_cli import files
from glimpse_cli.cli import outputs, table, talk
from glimpse_cli.cli.app import command
from glimpse_cli.cli.options import (
    DEVICE,
    HOW,
    OUT,
    PICTURES,
    PlaceOptions,
    ReadOptions,
    TalkOptions,
    format_of,
    output_path,
    parse_count,
    typed_as,
)
from glimpse_cli.cli.outputs import FINISHED_WITH_FAILURES, PIPE
from glimpse_cli.errors import GlimpseError, UsageError
from glimpse_cli.places import parse_size, parse_width

if TYPE_CHECKING:
    from glimpse_cli.compare import Contender, Limit, Plan, Section
    from glimpse_cli.kernels import Padding

LANCZOS = "lanczos"
CHECK = "What is checked"


@dataclass(frozen=True)
class ContestOptions:
    """What is compared."""

    methods: Annotated[
        str,
        typer.Option(
            metavar="METHOD,...",
            help="hard, gaussian, stn; a gaussian may carry its width: gaussian:s=0.5, gaussian:s=Y/X.",
            rich_help_panel=HOW,
        ),
    ] = "hard,gaussian,stn"
    devices: Annotated[
        str,
        typer.Option(metavar="DEVICE,...", envvar=DEVICE, help="cpu, cuda, cuda:N or auto.", rich_help_panel=HOW),
    ] = "cpu"
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Size of the glimpses, or N for NxN.", rich_help_panel=HOW)
    ] = "64x64"
    s: Annotated[
        str | None,
        typer.Option(
            "-s", metavar="Y,X", help="Width of the gaussian; 0.35 max(1, |d|) if left out.", rich_help_panel=HOW
        ),
    ] = None
    padding: Annotated[
        str | None,
        typer.Option(metavar="PADDING", help="zeros, border or reflection, as in crop.", rich_help_panel=HOW),
    ] = None
    reference: Annotated[
        str,
        typer.Option(
            metavar="METHOD", help="What the rows are compared with: lanczos is Pillow's.", rich_help_panel=HOW
        ),
    ] = LANCZOS
    repeats: Annotated[
        str,
        typer.Option(
            metavar="N", help="How often each glimpse is timed; the median counts. 0: not at all.", rich_help_panel=HOW
        ),
    ] = "9"

    def plan(self, place: PlaceOptions, read: ReadOptions, *, drawn: bool) -> "Plan":
        """What is compared, checked; the devices are there."""
        from glimpse_cli.compare import Plan  # noqa: PLC0415 - numpy
        from glimpse_cli.devices import resolve  # noqa: PLC0415 - likewise

        contenders = self._contenders(place, self.methods, name="--methods")
        reference: tuple[Contender, ...] = ()
        if self.reference != LANCZOS:
            known = f"{LANCZOS}, or one of hard, gaussian, stn"
            if "," in self.reference:
                raise UsageError(f"--reference takes one method, got {self.reference!a}", hint=f"--reference {known}")
            reference = self._contenders(place, self.reference, name="--reference", known=known)
        if self.s is not None and not any(each.label == "gaussian" for each in (*contenders, *reference)):
            raise UsageError(f"-s is the gaussian's width, and --methods {self.methods} has no plain gaussian")
        repeats = parse_count(self.repeats, "--repeats", least=0)
        option = typed_as("--devices", DEVICE, self.devices)
        devices = tuple(resolve(name.strip(), option) for name in self.devices.split(","))
        return Plan(contenders, devices, reference[0] if reference else None, read.reading(), repeats, drawn)

    def _contenders(self, place: PlaceOptions, text: str, **said: str) -> tuple["Contender", ...]:
        from glimpse_cli.compare import parse_methods  # noqa: PLC0415 - numpy

        where, *more = place.places()
        if more:
            raise UsageError(f"compare looks at one place, got {len(more) + 1} boxes")
        s = None if self.s is None else parse_width(self.s)
        return parse_methods(
            text, where, parse_size(self.size), s=s, padding=cast("Padding | None", self.padding), **said
        )


@dataclass(frozen=True)
class ShowOptions:
    """What is shown and checked."""

    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            callback=output_path,
            help="The picture: input, glimpses, masks, differences. A folder for several inputs.",
            rich_help_panel=OUT,
        ),
    ] = None
    report: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            callback=output_path,
            help="One self-contained HTML page with all of it.",
            rich_help_panel=OUT,
        ),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="The numbers as one JSON document.", rich_help_panel=OUT)] = False
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what each number means; needs no IMAGE.", rich_help_panel=OUT)
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Replace outputs that exist.", rich_help_panel=OUT)] = False
    fail_above: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE",
            help="mae, max, psnr or ssim of every row against the reference or, of several devices, against the first; "
            "exit 3 where one is worse (for psnr and ssim: below).",
            rich_help_panel=CHECK,
        ),
    ] = None

    def limits(self) -> list["Limit"]:
        """The limits, where what they need is there."""
        from glimpse_cli.compare import parse_limit  # noqa: PLC0415 - numpy
        from glimpse_cli.compare.measures import has_ssim  # noqa: PLC0415 - likewise

        limits = [parse_limit(text) for text in self.fail_above or ()]
        if any(limit.metric == "ssim" for limit in limits) and not has_ssim():
            raise GlimpseError("--fail-above ssim needs scikit-image", hint="pip install 'glimpse-cli[metrics]'")
        return limits


@dataclass(frozen=True)
class Task:
    """What is the same for every picture of one command."""

    plan: "Plan"
    limits: "Sequence[Limit]"
    show: ShowOptions
    said: TalkOptions


@command("compare")
def compare(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE", help="Picture files; - is stdin.", show_default=False)
    ] = None,
    *,
    place: PlaceOptions,
    contest: ContestOptions,
    show: ShowOptions,
    read: ReadOptions,
    said: TalkOptions,
) -> None:
    """Look at one place with several methods, and measure how they differ.

    glimpse compare photo.jpg --box 40,30,200,190 -o compare.png

    glimpse compare photo.jpg --box 40,30,200,190 --methods gaussian,stn --fail-above psnr=30
    """
    if show.explain and not images:
        _explain(as_json=show.json)
        return
    if not images:
        raise UsageError("compare needs a picture", hint="glimpse compare --help")
    drawn = show.output is not None or show.report is not None
    task = Task(contest.plan(place, read, drawn=drawn), show.limits(), show, said)
    targets = _targets(images, show)
    documents, sections = [], []
    for image, target in zip(images, targets, strict=True):
        try:
            document, section = _compare(image, target, task)
        except (GlimpseError, MemoryError) as error:
            talk.explain(outputs.told(error, image), trace=said.debug)
            continue
        documents.append(document)
        sections += [section] if section else []
    _conclude(documents, sections, task)
    if len(documents) < len(images) or any(document["failures"] for document in documents):
        raise typer.Exit(FINISHED_WITH_FAILURES if documents else 1)


def _compare(image: str, target: Path | None, task: Task) -> tuple[dict[str, Any], "Section | None"]:
    """One picture: its numbers said, its picture written, its part of the page made."""
    from glimpse_cli import compare, images  # noqa: PLC0415 - numpy and Pillow, which `glimpse --help` does not pay for

    found = compare.compare(outputs.read(image), outputs.name_of(image), task.plan)
    document = {
        "input": image,
        **compare.document(found),
        "notes": compare.notes(found),
        "failures": compare.failures(found.rows, task.limits),
    }
    panel = compare.figure(found) if task.plan.drawn else None
    if target is not None and panel is not None:
        files.write_whole(target, images.encode_picture(panel, format_of(str(target), "-o")))
    _tell(document, task)
    return document, compare.section(found, document, panel) if task.show.report and panel is not None else None


def _tell(document: dict[str, Any], task: Task) -> None:
    name = files.shown(outputs.name_of(document["input"]))
    if not task.said.quiet:
        for warning in document["warnings"]:
            talk.warn(f"{name}: {warning}")
    if task.said.verbose:
        talk.note(f"{name}: {json.dumps(document['place'])}")
    for failure in document["failures"]:
        talk.explain(GlimpseError(f"{name}: {failure}"))
    if not task.show.json:
        table.show(document, several_devices=len(task.plan.devices) > 1)


def _conclude(documents: Sequence[dict[str, Any]], sections: "Sequence[Section]", task: Task) -> None:
    """What is said and written of all pictures together."""
    from glimpse_cli import compare  # noqa: PLC0415 - numpy

    plan, show = task.plan, task.show
    facts = {"reference": plan.reference_label, "repeats": plan.repeats, "threads": compare.threads()}
    mean = compare.means(documents) if len(documents) > 1 else None
    if show.json:
        explained = {"explain": compare.EXPLAINED} if show.explain else {}
        talk.say(json.dumps({**facts, "images": documents, "mean": mean, **explained}, allow_nan=False))
    else:
        if mean:
            table.show_means(mean, len(documents), several_devices=len(plan.devices) > 1)
        if documents:
            table.say(f"{compare.basis(facts, documents)}; --explain says more")
        if show.explain:
            _explain(as_json=False)
    if show.report and sections:
        files.write_whole(show.report, compare.page(sections, facts, mean).encode())


def _explain(*, as_json: bool) -> None:
    """What each number means."""
    from glimpse_cli.compare import EXPLAINED  # noqa: PLC0415 - numpy

    if as_json:
        talk.say(json.dumps({"explain": EXPLAINED}))
        return
    table.show_explained(EXPLAINED)


def _targets(images: Sequence[str], show: ShowOptions) -> list[Path | None]:
    """Where each picture goes; refused before anything is started: an output that is an input, or that exists."""
    if show.report is not None and Path(show.report).suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"--report {files.shown(show.report)} is no page", hint="--report compare.html")
    targets = _pictures(images, show)
    paths = [(path, image) for path, image in zip(targets, images, strict=True) if path]
    paths += [(Path(show.report), "--report")] if show.report else []
    folder = Path(show.output) if show.output is not None and targets[0] != Path(show.output) else None
    outputs.require_places((path for path, _ in paths), made=folder)
    outputs.check(paths, images, replaced=show.force)
    if folder is not None:
        files.make_folder(folder)
    return targets


def _pictures(images: Sequence[str], show: ShowOptions) -> list[Path | None]:
    if show.output is None:
        return [None] * len(images)
    if show.output == PIPE:
        raise UsageError("stdout is the table's: -o takes a file", hint="-o compare.png")
    path = Path(show.output)
    if show.output and (len(images) > 1 or show.output.endswith(("/", os.sep)) or files.is_folder(path)):
        outputs.require_folder(path, len(images))
        return [path / f"{Path(outputs.name_of(image)).stem}.compare.png" for image in images]
    format_of(show.output, "-o", PICTURES)
    return [path]
