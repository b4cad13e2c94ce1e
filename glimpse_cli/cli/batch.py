"""``glimpse batch``: whole folders, a place for all or one for each picture, nothing lost."""

import json
import os
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from glimpse_cli import files, tables
from glimpse_cli.cli import talk
from glimpse_cli.cli.app import INTERRUPTED, command
from glimpse_cli.cli.options import (
    JOBS,
    OUT,
    PICTURES,
    FormatOption,
    LookOptions,
    MaskFormatOption,
    PlaceOptions,
    QualityOption,
    ReadOptions,
    TalkOptions,
    format_of,
    mask_format,
    one_of,
    output_path,
    parse_count,
    parse_format,
    typed_as,
    writing,
)
from glimpse_cli.cli.outputs import FINISHED_WITH_FAILURES, PIPE
from glimpse_cli.cli.progress import watching
from glimpse_cli.errors import UsageError
from glimpse_cli.places import BoxPlace, Look, parse_number, parse_size, parse_width
from glimpse_cli.tables import Defaults

if TYPE_CHECKING:
    from glimpse_cli.batch import Failure, Settings, Summary
    from glimpse_cli.glimpse import Method
    from glimpse_cli.items import Writing
    from glimpse_cli.kernels import Padding

RUNNING = "How the run goes"
LISTED = 10  # failures that are told; all of them are in errors.jsonl
LONGEST_TIMEOUT = 86400
CPU_SHARE = "/sys/fs/cgroup/cpu.max"  # Linux: microseconds of time in so many


@dataclass(frozen=True)
class BatchOptions:
    """What batch writes, and how it goes about it."""

    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER",
            callback=output_path,
            help="The folder everything goes into.",
            rich_help_panel=OUT,
        ),
    ] = None
    table: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TABLE",
            help="A place for each row: .csv, .tsv, .jsonl, .parquet, COCO .json; - is JSON lines on stdin.",
        ),
    ] = None
    format: FormatOption = None
    quality: QualityOption = None
    mask: Annotated[
        bool, typer.Option("--mask/--no-mask", help="Write a mask beside every glimpse.", rich_help_panel=OUT)
    ] = False
    mask_format: MaskFormatOption = None
    stack: Annotated[
        bool,
        typer.Option(
            "--stack",
            help="One stack.npy (N, height, width, 3) instead of files: uint8, or float32 with --format npy.",
            rich_help_panel=OUT,
        ),
    ] = False
    shards: Annotated[
        str | None,
        typer.Option(metavar="N", help="N WebDataset tar shards instead of files.", rich_help_panel=OUT),
    ] = None
    contact_sheet: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", callback=output_path, help="Also one picture of the first 60 glimpses.", rich_help_panel=OUT
        ),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="The summary as JSON.", rich_help_panel=OUT)] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and do nothing.", rich_help_panel=RUNNING)
    ] = False
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Start anew where FOLDER holds another run; replace what no run wrote.",
            rich_help_panel=RUNNING,
        ),
    ] = False
    jobs: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            envvar=JOBS,
            help="Worker processes; by default a core each.",
            rich_help_panel=RUNNING,
        ),
    ] = None
    timeout: Annotated[
        str, typer.Option(metavar="S", help="Seconds one picture may take.", rich_help_panel=RUNNING)
    ] = "30"
    on_error: Annotated[
        str, typer.Option(metavar="WHAT", help="skip, or stop at the first failure.", rich_help_panel=RUNNING)
    ] = "skip"


@command("batch")
def batch(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="SOURCE", help="Folders and picture files.", show_default=False)
    ] = None,
    *,
    place: PlaceOptions,
    how: LookOptions,
    out: BatchOptions,
    read: ReadOptions,
    said: TalkOptions,
) -> None:
    """Cut a glimpse out of every picture of a folder, with as many workers as there are cores.

    glimpse batch photos -o eyes --box 40,30,200,190 --size 64x64

    glimpse batch photos -o eyes --from boxes.csv

    The same command again does only what is missing, changed or failed.

    A TABLE has a column image, and one place: x0,y0,x1,y1 or x,y,w,h or
    u_y,u_x (with d_y,d_x and s_y,s_x) or scale_y,scale_x,shift_y,shift_x.
    It may have method, width, height and id; other columns travel along.
    """
    if os.name == "nt":
        raise UsageError("batch needs Linux or macOS: its workers and its lock are POSIX", hint="WSL, or glimpse crop")
    settings = _settings(sources or [], place, how, out, read)
    if out.dry_run:
        _show_plan(settings, out)
        return
    from glimpse_cli.batch import run  # noqa: PLC0415 - numpy, Pillow and the pool, which `--help` does not pay for

    told: list[Failure] = []
    reasons: Counter[str] = Counter()
    try:
        with watching(said, told, LISTED, reasons) as watch:
            summary = run(settings, watch)
    except KeyboardInterrupt as interrupt:
        talk.note("interrupted: the same command goes on from here")
        raise typer.Exit(INTERRUPTED) from interrupt
    if not said.verbose:
        _list_failures(told, reasons, settings.folder)
    _report(summary, settings, out, said)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


# What was typed -> settings


def _settings(
    sources: list[str], place: PlaceOptions, how: LookOptions, out: BatchOptions, read: ReadOptions
) -> "Settings":
    from glimpse_cli.batch import Settings  # noqa: PLC0415 - see batch

    if not out.output:
        raise UsageError("-o FOLDER is missing", why="batch needs a folder to write into")
    if out.output == PIPE:
        raise UsageError("batch writes a folder, and -o - is stdout", hint="-o FOLDER, or -o ./- if that is its name")
    kind = _writing(out, parse_size(how.size))
    where = _from_table(sources, place, how, out) if out.table is not None else _for_all(sources, place, how)
    return Settings(
        **where,
        folder=out.output,
        reading=read.reading(),
        writing=kind,
        form="stack" if out.stack else "shards" if out.shards is not None else "files",
        shards=0 if out.shards is None else parse_count(out.shards, "--shards"),
        contact_sheet=_sheet(out.contact_sheet),
        device=how.resolved_device().name,
        jobs=_cores() if out.jobs is None else parse_count(out.jobs, typed_as("--jobs", JOBS, out.jobs)),
        timeout=_timeout(out.timeout),
        stop=one_of(out.on_error, ("skip", "stop"), "--on-error") == "stop",
        force=out.force,
    )


def _for_all(sources: list[str], place: PlaceOptions, how: LookOptions) -> dict[str, Any]:
    places = place.places()
    if len(places) > 1:
        raise UsageError(f"batch takes one --box, got {len(places)}", hint="--from TABLE takes several of one picture")
    if not sources:
        raise UsageError("a SOURCE is missing", hint="glimpse batch FOLDER -o FOLDER ...")
    return {"sources": tuple(sources), "look": how.look(places[0])}


def _from_table(sources: list[str], place: PlaceOptions, how: LookOptions, out: BatchOptions) -> dict[str, Any]:
    table = out.table or ""
    typed = place.spelled() + (["--box-format"] if place.box_format is not None else [])
    if typed:
        raise UsageError(f"--from and {' and '.join(typed)} both say the place", hint="one of them")
    if len(sources) > 1:
        raise UsageError(f"--from takes one SOURCE, got {len(sources)}", hint="a folder that holds all of them")
    if sources and not files.is_folder(sources[0]):
        raise UsageError(f"{files.shown(sources[0])} is no folder", why="a table's names are relative to a folder")
    base = sources[0] if sources else "." if table == "-" else os.path.dirname(table) or "."  # noqa: PTH120 - as typed
    defaults = _defaults(place, how)
    rows = tables.read(table, defaults, sys.stdin.buffer)
    file = None if table == "-" else table
    return {"sources": (base,), "rows": rows, "table": file, "base": base, "defaults": defaults}


def _defaults(place: PlaceOptions, how: LookOptions) -> Defaults:
    margin = place.share()
    size, method, padding = parse_size(how.size), cast("Method | None", how.method), cast("Padding | None", how.padding)
    s = None if how.s is None else parse_width(how.s)
    # Whatever the rows say, names that do not exist are told now, and so is an s that no row could use.
    Look(BoxPlace((0, 0, 1, 1)), size, method or "hard", padding, s if method else None)
    return Defaults(size, method, padding, s, place.normalized, margin, place.keep_aspect)


def _writing(out: BatchOptions, size: tuple[int, int]) -> "Writing":
    form = parse_format(out.format, "--format") if out.format is not None else "png"
    if out.stack:
        if out.shards is not None or out.mask or out.mask_format:
            other = "--shards" if out.shards is not None else "--mask" if out.mask else "--mask-format"
            raise UsageError(f"--stack and {other} do not go together")
        if out.format is not None and form != "npy":
            raise UsageError(f"a stack holds numbers, got --format {form}", hint="npy for float32; uint8 without it")
    return writing(form, out.quality, mask_format(out.mask_format, wanted=out.mask), size)


def _sheet(path: str | None) -> str | None:
    if path is not None:
        format_of(path, "--contact-sheet", PICTURES)
    return path


def _timeout(text: str) -> float:
    seconds = parse_number(text, "--timeout")
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise UsageError(f"--timeout must be above 0 s and at most a day, got {text}")
    return seconds


def _cores() -> int:
    """Those that this process may use; of a container, whose system shows all of the machine's, its share of time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no such system, or no limit: "max 100000"
        quota, period = map(int, Path(CPU_SHARE).read_text("ascii").split())
        cores = min(cores, max(1, quota // period))
    return cores


# What came of it -> words


def _show_plan(settings: "Settings", out: BatchOptions) -> None:
    from glimpse_cli.batch import plan  # noqa: PLC0415 - see batch
    from glimpse_cli.batch.gather import place_of, placed  # noqa: PLC0415 - likewise

    made = plan(settings)
    wants = [(item, want) for item in made.items for want in item.wants]
    place = placed(settings, len(wants))
    for position, (item, want) in enumerate(wants):
        row = place(position, position, {"file_name": want.name})
        if out.json:
            talk.say(json.dumps({"image": item.image, **row}))
        else:
            talk.say(f"{files.shown(item.path)} -> {files.shown(place_of(row, settings))}")
    _list_failures(made.failures[:LISTED], Counter(failure.reason for failure in made.failures), None)
    if made.failures:
        raise typer.Exit(FINISHED_WITH_FAILURES if made.items and not settings.stop else 1)


def _report(summary: "Summary", settings: "Settings", out: BatchOptions, said: TalkOptions) -> None:
    if out.json:
        talk.say(json.dumps({**asdict(summary), "folder": settings.folder}))
    if said.quiet:
        return
    counts = ", ".join(f"{count} {why}" for why, count in summary.passed_over.items())
    if summary.not_begun:
        talk.warn(f"stopped at the first failure: {summary.not_begun} not begun, and counted as skipped")
    if summary.gone and settings.form == "files":
        gone = "1 picture" if summary.gone == 1 else f"{summary.gone} pictures"
        talk.warn(f"of {gone} of an earlier run nothing is wanted now; what it wrote stays (--force takes it away)")
    if summary.stay:
        names = ", ".join(map(files.shown, summary.stay[:LISTED])) + ", ..." * (len(summary.stay) > LISTED)
        talk.warn(f"not as a run left it, and so it stays, though nothing of that name is wanted now: {names}")
    if summary.aside:
        many = "1 file" if summary.aside == 1 else f"{summary.aside} files"
        where = files.shown(Path(settings.folder, ".glimpse", "aside"))
        talk.warn(
            f"what was not as a run left it, and had to be made anew, is kept until you remove it: {many} in {where}"
        )
    if summary.warned:
        many = "1 glimpse has" if summary.warned == 1 else f"{summary.warned} glimpses have"
        talk.warn(f"{many} warnings: see {files.shown(Path(settings.folder, 'metadata.jsonl'))}")
    talk.note(
        f"{summary.done} done, {summary.failed} failed, {summary.skipped} skipped of {summary.rows}"
        f" in {summary.seconds:.1f} s{f' ({counts} passed over)' if counts else ''}"
    )


def _list_failures(told: "list[Failure]", reasons: Counter[str], folder: str | None) -> None:
    """The first failures, and where there are more, how many of each kind there are in all."""
    for failure in told:
        talk.explain(failure.error)
    if reasons.total() > len(told):
        kinds = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        where = f": {files.shown(Path(folder, 'errors.jsonl'))}" if folder else ""
        talk.note(f"and {reasons.total() - len(told)} more failures{where} (of all {reasons.total()}: {kinds})")
