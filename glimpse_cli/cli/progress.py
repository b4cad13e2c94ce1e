"""How far a run is, on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from glimpse_cli.cli import talk
from glimpse_cli.cli.options import TalkOptions
from glimpse_cli.files import shown

if TYPE_CHECKING:
    from collections import Counter

    from glimpse_cli.batch import Failure, News
    from glimpse_cli.batch import Progress as Counts

    Watch = Callable[[Counts, News], None]
    Show = Callable[[Counts], None]

SECONDS = 10.0  # between two plain lines


@contextmanager
def watching(said: TalkOptions, told: "list[Failure]", most: int, reasons: "Counter[str]") -> Iterator["Watch"]:
    """What a run calls as it goes.

    Args:
        said: -q shows nothing, -v what came of each picture.
        told: is filled with the first failures, for the end; with -v they are shown where they happen.
        most: how many.
        reasons: counts all of them.
    """

    def watch(progress: "Counts", news: "News") -> None:
        reasons.update(failure.reason for failure in news.failures)
        if said.verbose:
            _tell(news)
        else:
            told.extend(news.failures[: most - len(told)])
        show(progress)

    if said.quiet:
        show: Show = _nothing
        yield watch
    elif sys.stderr.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}:  # on these rich draws no bar
        with _bar() as show:
            yield watch
    else:
        show = _Lines()
        yield watch


def _tell(news: "News") -> None:
    counts = ((news.done, "done"), (news.kept, "skipped"), (len(news.failures), "failed"))
    if news.image is not None:
        talk.note(f"{shown(news.image)}: {', '.join(f'{count} {what}' for count, what in counts if count)}")
    for failure in news.failures:
        talk.explain(failure.error)


def _nothing(progress: "Counts") -> None:
    pass


class _Lines:
    """A line every few seconds, from when a run has lasted that long."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()
        self.known = 0

    def __call__(self, progress: "Counts") -> None:
        now = time.monotonic()
        if now - self.last < SECONDS:
            return
        self.last = now
        rate = (progress.done + progress.failed) / (now - self.began)
        talk.note(
            f"{progress.rows - progress.left} of {progress.rows}: {progress.done} done, {progress.failed} failed,"
            f" {progress.kept} skipped, {rate:.1f} images/s"
        )


@contextmanager
def _bar() -> Iterator["Show"]:
    from rich.console import Console  # noqa: PLC0415 - rich is slow to load, and only a terminal needs it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - likewise
    from rich.table import Column  # noqa: PLC0415 - likewise

    columns: list[Any] = [
        BarColumn(complete_style="green", pulse_style="green"),  # rich's own is the red of an error
        MofNCompleteColumn(table_column=Column(no_wrap=True)),  # on a narrow terminal the bar alone gives way
        TextColumn("{task.fields[failed]} failed", markup=False),
        TextColumn("{task.fields[rate]:.1f} images/s", markup=False),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5) as bar:
        task, began = bar.add_task("", total=None, failed=0, rate=0.0), time.monotonic()

        def show(progress: "Counts") -> None:
            rate = (progress.done + progress.failed) / max(time.monotonic() - began, 1e-3)
            bar.update(
                task,
                total=progress.rows,
                completed=progress.rows - progress.left,
                failed=progress.failed,
                rate=rate,
            )

        yield show
