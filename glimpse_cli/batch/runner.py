"""A run, from its plan to its manifests: who does what, what is noted when, and what is refused."""

import json
import os
import platform
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from glimpse_cli import __version__
from glimpse_cli.banks import Bank, Floats
from glimpse_cli.batch import gather, sheet, strays, worker
from glimpse_cli.batch.journal import Journal, locked
from glimpse_cli.batch.known import Errand, Ways
from glimpse_cli.batch.landing import remove_temporaries
from glimpse_cli.batch.manifest import done, metadata, write_run, write_tables
from glimpse_cli.batch.own import ERRORS, JOURNAL, METADATA, RUN, exists, hash_of_pieces, kept_aside
from glimpse_cli.batch.plan import Failure, Item, Plan, Settings, plan
from glimpse_cli.batch.pool import Pool, TaskError
from glimpse_cli.batch.worker import Begun, Outcome
from glimpse_cli.batch.written import Written
from glimpse_cli.devices import Device, resolve
from glimpse_cli.errors import DeviceError, GlimpseError, OutputError
from glimpse_cli.files import make_folder, shown


@dataclass(frozen=True)
class Summary:
    """What came of a run, in rows.

    Args:
        rows: all that were wanted: done + failed + skipped.
        done: made now.
        failed: see ``errors.jsonl``.
        skipped: found as an earlier run left them, or not begun.
        not_begun: because the run was to stop at a failure.
        warned: done or found, with a warning in ``metadata.jsonl``.
        passed_over: files and folders that were not looked at, by why.
        gone: pictures that an earlier run did, of which nothing is wanted any more, and whose glimpses stay.
        seconds: of wall clock.
        came_through: glimpses there are now.
        stay: files that earlier runs made and that are something else now; this one had no more need of their names.
        aside: files in ``.glimpse/aside``: no run's, they lay where one had to write.
    """

    rows: int
    done: int
    failed: int
    skipped: int
    not_begun: int
    warned: int
    passed_over: dict[str, int]
    gone: int
    seconds: float
    came_through: int
    stay: Sequence[str] = ()
    aside: int = 0

    @property
    def exit_code(self) -> int:
        """0 all is well, 3 with failures, 1 where nothing came through."""
        if not self.failed:
            return 0
        return 3 if self.came_through else 1


@dataclass
class Progress:
    """How far a run is, in rows; changed as it goes."""

    rows: int
    done: int = 0
    failed: int = 0
    kept: int = 0
    warned: int = 0

    @property
    def left(self) -> int:
        """Rows nothing is known of yet."""
        return self.rows - self.done - self.failed - self.kept


@dataclass(frozen=True, slots=True)
class News:
    """What has just come of a picture, in rows.

    Args:
        image: its name; None for what the plan has found to fail.
        done: made now.
        kept: found as an earlier run left them.
        failures: what failed.
    """

    image: str | None
    done: int = 0
    kept: int = 0
    failures: Sequence[Failure] = ()


Watch = Callable[[Progress, News], None]


def run(settings: Settings, watch: Watch | None = None) -> Summary:
    """Do a run, or what is left of it.

    Args:
        settings: what is asked for.
        watch: called with the progress so far and what is new, once for the plan and then once a picture.

    Raises:
        UsageError: what cannot end well; nothing was started.
        OutputError: the folder cannot be written, or holds files of somebody else.
        DeviceError: the device is not there.
    """
    began = time.monotonic()
    device = resolve(settings.device)
    settings = replace(settings, device=device.name)
    with ExitStack() as held:
        begun = _is_begun(settings)
        if begun:  # another run is told of at once; a folder is made only for a plan that can end well
            held.enter_context(locked(settings.folder))
        made = plan(settings)
        if settings.contact_sheet:
            sheet.refuse_foreign(settings.contact_sheet, settings.folder, force=settings.force)
        if not begun:
            try:
                if not settings.force:
                    glimpses = made.names(settings.writing) if settings.form == "files" else ()
                    _refuse_foreign(settings, chain(_beside(settings), glimpses))
            except OutputError:
                if not _is_begun(settings):
                    raise  # else they are another run's, which began meanwhile
            held.enter_context(locked(settings.folder))
        written = Written(settings.folder, new=not begun, replace=settings.force)
        remove_temporaries(settings.folder)
        names = partial(Item.names, writing=settings.writing)
        journal = Journal(settings.folder, fingerprint(settings), made, names, force=settings.force)
        try:
            if not settings.force:
                _refuse_foreign(settings, (name for name in _beside(settings) if not written.may_be(name)))
            if settings.contact_sheet:
                make_folder(Path(settings.contact_sheet).parent)  # if it cannot be made, better now than in the end
            strays.remove(settings.folder, journal, made)
            journal.release(gather.parts_of(settings))
            work = _Run(settings, made, journal, written, device, watch or _nobody)
            work.go()
            written.make_way(RUN)  # now, for it tells how much was set aside
            try:
                work.draw_sheet()
            finally:  # it may lie on another disk: all else is there if it cannot be written
                summary = work.summary(time.monotonic() - began)
                write_run(written, _document(settings, summary))
        except KeyboardInterrupt:  # the workers were stopped in the middle of something
            remove_temporaries(settings.folder)
            raise
        finally:
            journal.close()
    return summary


def _is_begun(settings: Settings) -> bool:
    return os.path.exists(os.path.join(settings.folder, JOURNAL))  # noqa: PTH110, PTH118 - no name is too long for it


def _nobody(progress: Progress, news: News) -> None:
    """Watches nothing."""


def fingerprint(settings: Settings) -> dict[str, Any]:
    """What the bytes of the outputs follow from, besides inputs and rows: a folder holds one such run."""
    how = settings.look or settings.defaults
    reading = asdict(settings.reading)
    del reading["max_pixels"]  # a limit, as the timeout is: with another one a success has the same bytes
    document = {
        "sources": [os.path.realpath(source) for source in settings.sources],
        "places": "options" if settings.rows is None else f"a table below {os.path.realpath(settings.base)}",
        **(asdict(how) if how else {}),
        **reading,
        **asdict(settings.writing),
        "form": settings.form,
        "shards": settings.shards,
        "device": settings.device.partition(":")[0],
    }
    if how:
        document["size"] = "{1}x{0}".format(*how.size)  # as it is typed
    same: dict[str, Any] = json.loads(json.dumps(document))  # as it comes back from the journal
    return same


class _Run:
    """The work of one run, on a plan, a journal and a device."""

    def __init__(  # noqa: PLR0917 - what it is made of
        self, settings: Settings, made: Plan, journal: Journal, written: Written, device: Device, watch: Watch
    ) -> None:
        self.settings, self.plan, self.journal, self.written = settings, made, journal, written
        self.device, self.watch = device, watch
        parts = str(gather.parts_of(settings))
        self.ways = Ways(parts, settings.reading, settings.writing, settings.form, settings.force)
        self.wanted = sum(len(item.wants) for item in made.items)
        self.progress = Progress(made.rows, failed=len(made.failures))
        self.sealed = settings.form != "files" and gather.is_intact(settings, journal.sealed)
        self.died = False
        self.stay: list[str] = []
        written.adopt(journal.sealed)

    def go(self) -> None:
        if self.settings.form != "files":
            gather.remove_stale(self.settings, self._lines())
        if self.journal.sealed and not self.sealed:
            gather.unseal(self.settings, self.journal.sealed, self._lines())
        self.watch(self.progress, News(None, failures=self.plan.failures))
        if self.plan.items and not (self.settings.stop and self.plan.failures):
            self._work()
        if self.died or self.progress.left:
            remove_temporaries(self.settings.folder)
            strays.remove(self.settings.folder, self.journal, self.plan)
        else:
            strays.forget(self.settings.folder, self.plan)
        self._finish()

    def _work(self) -> None:
        settings = self.settings
        looks = {want.look.size for item in self.plan.items for want in item.wants}
        pixels = max(settings.reading.max_pixels, *(h * w for h, w in looks))
        jobs = min(settings.jobs, len(self.plan.items))
        with Pool(jobs, settings.timeout, pixels) as pool:
            through = self._on_cpu if self.device.name == "cpu" else self._on_device
            with closing(through(pool)) as outcomes:
                for outcome in outcomes:
                    self._note(outcome)
                    if settings.stop and outcome.failures:
                        break
            self.died = self.died or pool.died

    def _lines(self) -> Iterator[bytes | None]:
        return map(self.journal.line, range(len(self.plan.items)))

    def _errands(self) -> Iterator[Errand]:
        for n, item in enumerate(self.plan.items):
            yield Errand(n, item, self.journal.line(n), self.sealed and self.journal.is_sealed(n))

    def _on_cpu(self, pool: Pool) -> Generator[Outcome]:
        for errand, result in pool.map(worker.do, self._errands(), self.ways):
            yield self._blamed(errand, result) if isinstance(result, TaskError) else result

    def _on_device(self, pool: Pool) -> Generator[Outcome]:
        """Workers read and cut windows, the device computes them here, other workers encode and write."""
        over: deque[Outcome] = deque()  # pictures that come to their end before they are written
        with Pool(pool.jobs, pool.timeout, pool.pixels) as writers:
            try:
                for (begun, _), result in writers.map(worker.finish_all, self._computed(pool, over), self.ways):
                    while over:
                        yield over.popleft()
                    yield self._blamed(begun.errand, result) if isinstance(result, TaskError) else result
            finally:
                self.died = writers.died
        yield from over

    def _computed(self, pool: Pool, over: deque[Outcome]) -> Iterator[tuple[Begun, list[Floats | GlimpseError]]]:
        for errand, begun in pool.map(worker.begin_all, self._errands(), self.ways):
            if isinstance(begun, Begun):
                glimpses = list(worker.computed(begun, self._contract))
                yield worker.without_windows(begun), glimpses
            else:
                over.append(self._blamed(errand, begun) if isinstance(begun, TaskError) else begun)

    def _contract(self, window: NDArray[Any], by: Bank, bx: Bank) -> Floats:
        """The device's, whose troubles, such as memory that is full, are those of one picture."""
        try:
            return self.device.contract(window, by, bx)
        except RuntimeError as error:
            why = str(error).partition("\n")[0]
            raise DeviceError(f"{self.device.name} failed", why=why, hint="--device cpu") from error

    def _blamed(self, errand: Errand, error: TaskError) -> Outcome:
        return worker.failed(errand, error.at(shown(errand.item.path)), self.ways)

    def _note(self, outcome: Outcome) -> None:
        if outcome.line is not None:
            self.journal.append(outcome.n, outcome.line)
        self.stay += outcome.stay
        progress = self.progress
        progress.done += outcome.done
        progress.kept += outcome.kept
        progress.failed += len(outcome.failures)
        progress.warned += outcome.warned
        image = self.plan.items[outcome.n].image
        self.watch(progress, News(image, outcome.done, outcome.kept, outcome.failures))

    def _finish(self) -> None:
        """Write what stands beside the glimpses, and put together what is to be one."""
        settings = self.settings
        if self._waits:
            return
        is_done = settings.form == "files" or self._is_as_sealed()
        if not is_done:
            gather.unseal(settings, self.journal.sealed, self._lines())
            self.journal.seal({})  # from here on a part that is missing is made again, by the next run if not by this
        write_tables(self.plan, self.journal, self.written, self._metadata())
        if not is_done:
            self.journal.seal(gather.seal(settings, self._done, self.wanted, self.written))
        if settings.form != "files":
            shutil.rmtree(self.ways.folder, ignore_errors=True)

    def _is_as_sealed(self) -> bool:
        is_all = self.sealed and self.journal.is_all_sealed
        return is_all and hash_of_pieces(self._metadata()) == self.journal.sealed[METADATA]

    def _done(self) -> Iterator[tuple[int, dict[str, Any]]]:
        return done(self.plan, self.journal, self.settings.form)

    def _metadata(self) -> Iterator[bytes]:
        return metadata(self._done(), gather.placed(self.settings, self.wanted))

    def summary(self, seconds: float) -> Summary:
        """What came of it."""
        progress, folder = self.progress, self.settings.folder
        # glimpses there are now; of pictures that were not begun, those that an earlier run made
        came_through = sum(1 for _ in self._done()) if progress.left else progress.done + progress.kept
        return Summary(
            rows=progress.rows,
            done=progress.done,
            failed=progress.failed,
            skipped=progress.kept + progress.left,
            not_begun=progress.left,
            warned=progress.warned,
            passed_over=self.plan.passed_over,
            gone=self.journal.gone,
            seconds=round(seconds, 3),
            came_through=came_through,
            stay=[name for name in self.journal.stay + self.stay if os.path.lexists(f"{self.ways.folder}/{name}")],
            aside=kept_aside(folder),
        )

    @property
    def _waits(self) -> bool:
        """It was to stop, and its parts wait for the rest before they are put together."""
        return self.settings.form != "files" and bool(self.progress.left)

    def draw_sheet(self) -> None:
        """The contact sheet, if one is wanted and nothing is left: what was not come to may be damaged."""
        settings = self.settings
        if settings.contact_sheet and not self.progress.left:
            sheet.refuse_foreign(settings.contact_sheet, settings.folder, force=settings.force)  # as it took its time
            glimpses = gather.first(settings, self._done(), self.wanted, sheet.COUNT)
            sheet.make(settings.contact_sheet, self.written, glimpses)


def _beside(settings: Settings) -> list[str]:
    """The files that will hold the glimpses, or stand beside them."""
    return [*gather.names_of(settings), METADATA, ERRORS, RUN]


def _refuse_foreign(settings: Settings, names: Iterable[str]) -> None:
    """What no run can have written is not replaced: a run is refused before it starts, and not a row at a time."""
    folder = Path(os.path.realpath(settings.folder))  # NEW/.. is there before NEW is made
    if not os.path.isdir(folder):  # noqa: PTH112 - a name that is too long is none
        return
    for name in names:
        if os.path.lexists(f"{folder}/{name}"):
            raise exists(Path(settings.folder, name))


def _document(settings: Settings, summary: Summary) -> dict[str, Any]:
    return {
        "settings": fingerprint(settings),
        "max_pixels": settings.reading.max_pixels,
        "timeout": settings.timeout,
        "jobs": settings.jobs,
        "versions": {
            "glimpse": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "pillow")},
        },
        **asdict(summary),
    }
