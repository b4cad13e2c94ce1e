"""What a run will do, before it does anything: every picture, every glimpse and the name each will have.

What stops a run is found here: names that collide, outputs that are inputs. What concerns one row is a `Failure`.
"""

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from glimpse_cli.batch import sheet
from glimpse_cli.batch.own import ERRORS, JOURNAL, METADATA, OWN, RUN
from glimpse_cli.batch.written import Known, known, place_of
from glimpse_cli.errors import GlimpseError, InputError, OutputError, UsageError
from glimpse_cli.files import LONGEST_NAME, LONGEST_PATH, are_listed, folded, shown
from glimpse_cli.items import Reading, Writing
from glimpse_cli.places import Look
from glimpse_cli.tables import BadRow, Defaults, Row

MOST_SHARDS = 100_000

# By suffix a folder's files are chosen; what they are, their bytes say. The last are photographs that we cannot read:
# they are tried, and told as unsupported, not passed over in silence.
SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "tif", "tiff"),
        *("bmp", "dib", "gif", "ppm", "pgm", "pbm", "pnm", "pfm", "avif", "avifs"),
        *("heic", "heif", "jp2", "j2k", "jxl"),
    )
)

_OTHER_SHEET = "another --contact-sheet"

Form = Literal["files", "stack", "shards"]


@dataclass(frozen=True)
class Settings:
    """One run, as it was asked for.

    Args:
        sources: folders and files.
        folder: where everything goes.
        look: where and how to look, the same for all; None where a table says it.
        rows: a table's rows, in its order.
        table: the file of the rows, where it is one.
        base: the folder that a table's names are relative to.
        defaults: what the rows were read with.
        reading: how pictures are read.
        writing: what is written.
        form: a file a glimpse, one stack, or shards.
        shards: how many, for shards.
        contact_sheet: a picture of the first glimpses.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        jobs: worker processes.
        timeout: seconds that one picture may take.
        stop: end the run at the first failure.
        force: start anew where the folder holds another run, and replace files that are not a run's.
    """

    sources: tuple[str, ...]
    folder: str
    look: Look | None = None
    rows: Sequence[Row | BadRow] | None = field(default=None, repr=False)
    table: str | None = None
    base: str = "."
    defaults: Defaults | None = None
    reading: Reading = field(default_factory=Reading)
    writing: Writing = field(default_factory=Writing)
    form: Form = "files"
    shards: int = 0
    contact_sheet: str | None = None
    device: str = "cpu"
    jobs: int = 1
    timeout: float = 30.0
    stop: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Want:
    """One glimpse that is wanted.

    Args:
        name: its file, relative to the folder, parts separated by ``/``.
        look: where and how.
        row: the table's row it is, if there is one.
    """

    name: str
    look: Look
    row: Row | None = None

    def names(self, writing: Writing) -> Iterator[str]:
        """The files that it is: the glimpse, and its mask beside it."""
        yield self.name
        if mask := mask_name(self.name, writing):
            yield mask


@dataclass(frozen=True, slots=True)
class Item:
    """One picture, decoded once, and the glimpses that are wanted of it.

    Args:
        root: the folder its name is relative to.
        image: its name, as manifests tell it.
        wants: in the table's order.
    """

    root: str
    image: str
    wants: tuple[Want, ...]

    @property
    def path(self) -> str:
        """Where it is read."""
        return os.path.join(self.root, self.image)  # noqa: PTH118 - a string: there are a hundred thousand

    def names(self, writing: Writing) -> Iterator[str]:
        """Every file that is wanted: glimpses, and masks beside them."""
        for want in self.wants:
            yield from want.names(writing)


@dataclass(frozen=True, slots=True)
class Failure:
    """A row, a picture or a folder that came to nothing.

    Args:
        image: its name, where it has one.
        where: the table and the line, where there is one.
        reason: one of the six of `Reason`, or what else stood in the way, in a word or three.
        error: where, what, why and what to try.
    """

    image: str | None
    where: str | None
    reason: str
    error: GlimpseError

    def told(self) -> dict[str, Any]:
        """As it stands in ``errors.jsonl``."""
        error = self.error
        return {
            "image": self.image,
            "row": self.where,
            "reason": self.reason,
            "error": error.what,
            "why": error.why,
            "try": error.hint,
        }


@dataclass
class Plan:
    """All that a run will do.

    Args:
        items: in order.
        hopeless: pictures of a table of which every row has failed already.
        failures: what has failed already.
        passed_over: files and folders that were not looked at, by why.
    """

    items: list[Item] = field(default_factory=list)
    hopeless: frozenset[str] = frozenset()
    failures: list[Failure] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many glimpses are wanted, with those that have failed already."""
        return sum(len(item.wants) for item in self.items) + len(self.failures)

    def names(self, writing: Writing) -> Iterator[str]:
        """Every file that is wanted."""
        for item in self.items:
            yield from item.names(writing)


def plan(settings: Settings) -> Plan:
    """Find the pictures, name the glimpses, and refuse what cannot end well.

    Raises:
        UsageError: two glimpses want one name, an output is an input, a source is the output folder.
        InputError: a source is missing, or there is nothing to do.
    """
    made = Plan()
    wanted = _wanted_by_row(settings, made) if settings.rows is not None else _wanted_by_source(settings, made)
    items = [_with_short_names(item, settings, made) for item in wanted]
    made.items = [item for item in items if item.wants]
    made.hopeless = frozenset(item.image for item in items if not item.wants)
    if not made.items and settings.rows is None:
        names = ", ".join(map(shown, settings.sources))
        nothing = InputError(f"there is no picture in {names}", why=_passed(made.passed_over))
        raise made.failures[0].error if made.failures else nothing
    if settings.form == "stack":
        _refuse_other_sizes(made.items)
    if settings.shards > MOST_SHARDS:  # fewer rows than shards leave some empty, as is asked for
        raise UsageError(f"--shards {settings.shards} is more than {MOST_SHARDS}")
    _refuse_collisions(made.items, settings)
    _refuse_inputs(made.items, settings)
    return made


def reason_of(error: GlimpseError) -> str:
    """In a word or three why something failed."""
    reason = getattr(error, "reason", None)
    if reason:
        return str(reason)
    kinds = ((InputError, "cannot be read"), (OutputError, "cannot be written"), (UsageError, "wrong place"))
    return next((reason for kind, reason in kinds if isinstance(error, kind)), "failed")


def mask_name(name: str, writing: Writing) -> str | None:
    """The file of a glimpse's mask, beside it."""
    return f"{posixpath.splitext(name)[0]}.mask.{writing.mask}" if writing.mask else None


# Sources -> items


def _wanted_by_source(settings: Settings, made: Plan) -> Iterator[Item]:
    if settings.look is None:
        raise ValueError("a run without a table needs a look")
    ending = settings.writing.format
    for root, image in _pictures(settings, made):
        name = f"{posixpath.splitext(_slashed(image))[0]}.{ending}"
        yield Item(root, image, (Want(name, settings.look),))


def _pictures(settings: Settings, made: Plan) -> Iterator[tuple[str, str]]:
    """(root, name below it) of every picture of the sources, in order."""
    for source in settings.sources:
        if os.path.isdir(source):  # noqa: PTH112 - strings throughout: a Path a file would cost more than the rest
            yield from ((source, image) for image in _walk(source, settings.folder, made))
        elif os.path.lexists(source):
            yield os.path.split(source)  # named by hand: tried, whatever its suffix
        else:
            error = InputError(f"there is no {shown(source)}")
            made.failures.append(Failure(source, None, reason_of(error), error))


def _walk(source: str, folder: str, made: Plan) -> Iterator[str]:
    """Names below a source: a folder's pictures in order, then its folders', however deep they lie."""
    top, own = os.path.realpath(source), os.path.realpath(folder)
    if top == own or _is_one(top, own):
        raise UsageError(f"{shown(source)} is the folder that is read and the one that is written", hint="another -o")
    sheets = known(folder)
    ahead = [""]
    while ahead:
        below = ahead.pop()
        try:
            with os.scandir(os.path.join(top, below)) as entries:  # noqa: PTH118 - strings
                found = [(entry.name, _is_folder(entry), entry) for entry in entries]
        except OSError as error:
            name = below.rstrip(os.sep) or source
            why = InputError(f"cannot read the folder {shown(name)}", why=error.strerror)
            made.failures.append(Failure(name, None, reason_of(why), why))
            continue
        found.sort(reverse=True)
        ahead += [
            f"{below}{name}{os.sep}" for name, is_folder, entry in found if is_folder and _is_open(entry, own, made)
        ]
        for name, is_folder, entry in reversed(found):
            if not is_folder and _is_picture(name, made) and not (sheets and _is_sheet(entry, sheets, made)):
                yield below + name


def _is_one(folder: str, other: str) -> bool:
    """Whether two names are of one folder, as Photos and photos are on many disks."""
    try:
        return os.path.samefile(folder, other)  # noqa: PTH121 - strings
    except OSError:
        return False


def _is_open(entry: "os.DirEntry[str]", own: str, made: Plan) -> bool:
    """Whether a folder is looked into."""
    if entry.path == own:
        return False
    if entry.name.startswith("."):
        return _passed_over(made, "hidden")
    if entry.is_symlink():  # it may lead out, or round in a circle
        return _passed_over(made, "links to folders")
    if os.path.exists(os.path.join(entry.path, JOURNAL)):  # noqa: PTH110, PTH118 - strings
        return _passed_over(made, "other runs' folders")  # no glimpses of glimpses, unless it is named as a source
    return True


def _is_picture(name: str, made: Plan) -> bool:
    """Whether a file is to be tried: by its suffix, whatever it is."""
    if name.startswith("."):
        return _passed_over(made, "hidden")
    if os.path.splitext(name)[1].lower() not in SUFFIXES:  # noqa: PTH122 - strings
        return _passed_over(made, "not images")
    return True


def _is_sheet(entry: "os.DirEntry[str]", sheets: Known, made: Plan) -> bool:
    """Whether a file is a contact sheet that an earlier run left among the pictures."""
    if not sheet.is_known(entry.path, sheets):
        return False
    _passed_over(made, "contact sheets")
    return True


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: tried like a file, and refused in words
        return False


def _passed_over(made: Plan, why: str) -> Literal[False]:
    made.passed_over[why] = made.passed_over.get(why, 0) + 1
    return False


def _passed(counts: dict[str, int]) -> str | None:
    return ", ".join(f"{count} {why}" for why, count in counts.items()) + " passed over" if counts else None


# Rows -> items


def _wanted_by_row(settings: Settings, made: Plan) -> Iterator[Item]:
    """Rows of one picture share its item, in the place of the first."""
    pictures: dict[str, list[Row | BadRow]] = {}
    for row in settings.rows or ():
        image = os.path.normpath(row.image) if row.image else ""
        if isinstance(row, BadRow):
            made.failures.append(Failure(row.image, row.where, "wrong row", row.error))
        elif not _is_inside(image):
            kind = "a file inside the source folder" if _is_encodable(image) else "a file name that this system has"
            error = UsageError(f"column image: {row.image!a} is not {kind}")
            made.failures.append(Failure(row.image, row.where, "wrong row", error.at(row.where)))
        pictures.setdefault(image, []).append(row)
    for image, rows in pictures.items():
        good = [row for row in rows if isinstance(row, Row)]
        if _is_inside(image):
            names = _names(image, rows, settings.writing.format)
            yield Item(settings.base, image, tuple(Want(names[row.number], row.look, row) for row in good))


def _names(image: str, rows: Sequence[Row | BadRow], ending: str) -> dict[int, str]:
    """Names by row number: a row that is wrong today may be right tomorrow, and moves no other then."""
    stem = posixpath.splitext(_slashed(image))[0]
    if len(rows) == 1:
        return {rows[0].number: f"{stem}.{ending}"}
    return {row.number: f"{stem}.{(isinstance(row, Row) and row.id) or row.number}.{ending}" for row in rows}


def _is_inside(image: str) -> bool:
    """Whether a normalised name is one of a file below the source."""
    leaves = os.path.isabs(image) or image.split(os.sep, 1)[0] == os.pardir  # noqa: PTH117 - strings
    return not leaves and "\0" not in image and image != os.curdir and _is_encodable(image)


def _is_encodable(name: str) -> bool:
    """Whether a file can have this name: not half a character of JSON, nor one that the locale has no byte for."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def _slashed(name: str) -> str:
    return name if os.sep == "/" else name.replace(os.sep, "/")


# Names


def _with_short_names(item: Item, settings: Settings, made: Plan) -> Item:
    """A picture without the glimpses that have names no disk would take: these have failed."""
    fit = []
    for want in item.wants:
        name = mask_name(want.name, settings.writing) or want.name
        longest = max(name.split("/"), key=_bytes)
        if _bytes(longest) <= LONGEST_NAME and _bytes(name) <= LONGEST_PATH:
            fit.append(want)
            continue
        found, most = (longest, LONGEST_NAME) if _bytes(longest) > LONGEST_NAME else (name, LONGEST_PATH)
        error = OutputError(
            f"the name {shown(found[:40])}... is too long", why=f"{_bytes(found)} bytes, {most} are allowed"
        )
        made.failures.append(failure(item, want, error))
    return item if len(fit) == len(item.wants) else replace(item, wants=tuple(fit))


def failure(item: Item, want: Want, error: GlimpseError) -> Failure:
    """A glimpse that came to nothing; of a table's, the error says in which row it was wanted."""
    where = want.row.where if want.row else None
    return Failure(item.image, where, reason_of(error), error.at(where))


def _bytes(name: str) -> int:
    return len(name) if name.isascii() else len(os.fsencode(name))


def _refuse_collisions(items: Iterable[Item], settings: Settings) -> None:
    """Two glimpses of one name, also where the disk takes A for a, or two spellings of é, for one."""
    taken: dict[str, Item | None] = dict.fromkeys((METADATA, ERRORS, RUN, OWN))
    folders: dict[str, Item] = {}
    for item in items:
        for name in item.names(settings.writing):
            key = folded(name)
            if key in taken:
                _refuse_pair(name, taken[key], item, settings.writing)
            taken[key] = item
            folder = posixpath.dirname(key)
            while folder and folder not in folders:
                folders[folder] = item
                folder = posixpath.dirname(folder)
    for folder, item in folders.items():
        if folder in taken:
            _refuse_pair(folder, taken[folder], item, settings.writing)
    if settings.contact_sheet:
        _refuse_sheet(settings.contact_sheet, settings, taken.keys(), folders.keys())


def _refuse_sheet(path: str, settings: Settings, taken: AbstractSet[str], folders: AbstractSet[str]) -> None:
    """A contact sheet that lies in the folder is one of its files."""
    folder, place = os.path.realpath(settings.folder), place_of(path)
    if not _inside(place, folder):
        return
    name = folded(_slashed(os.path.relpath(place, folder)))
    ways = [name]
    while ways[-1]:
        ways.append(posixpath.dirname(ways[-1]))
    if name in folders or not taken.isdisjoint(ways):
        raise UsageError(f"the contact sheet {shown(path)} has a name that the run needs", hint=_OTHER_SHEET)


def _refuse_pair(name: str, first: Item | None, second: Item, writing: Writing) -> None:
    if first is None:
        raise UsageError(f"{shown(second.image)} wants the name {shown(name)}, which the run needs", hint="rename it")
    if first is second:
        both = [want for want in second.wants if folded(name) in map(folded, want.names(writing))]
        rows = " and ".join(want.row.where for want in both[:2] if want.row)
        same = len({want.row.id for want in both[:2] if want.row}) < 2
        raise UsageError(
            f"two rows of {shown(second.image)} ({rows}) want the name {shown(name)}",
            hint="give every row an id of its own" if same else "give one of them another id",
        )
    if first.path == second.path:
        raise UsageError(f"{shown(first.path)} is given twice", hint="name it once")
    raise UsageError(
        f"{shown(first.path)} and {shown(second.path)} both want the name {shown(name)}",
        hint="rename one of them, or run them into folders of their own",
    )


def _refuse_other_sizes(items: Iterable[Item]) -> None:
    sizes = {want.look.size for item in items for want in item.wants}
    if len(sizes) > 1:
        told = " and ".join(f"{w}x{h}" for h, w in sorted(sizes)[:2])
        raise UsageError(f"a stack holds glimpses of one size, got {told}", hint="shards or files take any")


def _refuse_inputs(items: Sequence[Item], settings: Settings) -> None:
    """An output that is also an input, a picture or the table, whatever links lead to it; A for a likewise."""
    folder = os.path.realpath(settings.folder)
    drawn = settings.contact_sheet and os.path.realpath(settings.contact_sheet)
    if drawn and any(folded(os.path.realpath(item.path)) == folded(drawn) for item in items):
        raise UsageError(f"the contact sheet {shown(drawn)} is also an input", hint=_OTHER_SHEET)
    is_own, depth = cache(partial(_is_own, folder)), len(Path(folder).parts)
    places = map(_places(), (*(item.path for item in items), *filter(None, [settings.table])))
    top = folded(folder)
    below = [path for path in places if _inside(folded(path), top)]
    inputs = {folded(path) for path in below if is_own(Path(*Path(path).parts[:depth]))}
    if not inputs:
        return
    for name in chain((METADATA, ERRORS, RUN), *(item.names(settings.writing) for item in items)):
        if folded(os.path.join(folder, name)) in inputs:  # noqa: PTH118 - strings
            raise UsageError(f"the output {shown(name)} is also an input", hint="another -o")


def _is_own(folder: str, other: Path) -> bool:
    """Whether a folder is the run's, of which the name may be spelled otherwise; photos beside Photos is another."""
    if str(other) == folder:
        return True
    is_there = os.path.lexists(folder) and os.path.lexists(other)
    return is_there and (_is_one(folder, str(other)) or not are_listed(folder, str(other)))


def _places() -> Callable[[str], str]:
    """Where a file lies once links are followed; of a hundred thousand in a few folders these are followed once."""
    folders = cache(os.path.realpath)

    def place(path: str) -> str:
        if os.path.islink(path):  # noqa: PTH114 - strings
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        return os.path.join(folders(folder), name)  # noqa: PTH118 - strings

    return place


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
