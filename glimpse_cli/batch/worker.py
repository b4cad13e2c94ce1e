"""One picture in a worker process: is it done already, read it, compute, write, and the line that says so.

Nothing here is shared with another picture, and doing a picture twice is harmless. `begin` and `finish` are apart so
that a GPU in the parent can compute between them.
"""

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glimpse_cli import items
from glimpse_cli.banks import Floats
from glimpse_cli.batch.journal import line_of
from glimpse_cli.batch.plan import Failure, Form, Item, Want, failures, mask_name, reason_of
from glimpse_cli.errors import GlimpseError, InputError, OutputError, PictureError, Reason
from glimpse_cli.files import MAX_BYTES, make_folder, read_bytes, shown, write_whole
from glimpse_cli.glimpse import contract
from glimpse_cli.items import Loaded, Reading, Sight, Writing

_SETTLED = 2_000_000_000  # ns: a file changed later than this before it was read may change again within one tick
_PR_SET_PDEATHSIG = 1

# What a worker may take: its libraries, a file, and a picture with the copies that are made of it.
_BASE_MEMORY, _BYTES_A_PIXEL = 2**30, 32


@dataclass(frozen=True, slots=True)
class Ways:
    """What is the same for every picture of a run.

    Args:
        folder: where names are relative to.
        reading: how pictures are read.
        writing: what is written.
        form: a file a glimpse, or parts of what is put together later.
    """

    folder: str
    reading: Reading
    writing: Writing
    form: Form


@dataclass(frozen=True, slots=True)
class Errand:
    """A picture on its way to a worker.

    Args:
        n: its place in the plan.
        item: what is wanted.
        line: the journal's, of an earlier run.
        sealed: its glimpses are in a stack or in shards that were found as they were left.
    """

    n: int
    item: Item
    line: bytes | None = None
    sealed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a picture.

    Args:
        n: its place in the plan.
        line: for the journal; None where the old one holds.
        done: glimpses made now.
        kept: glimpses found as an earlier run left them.
        warned: glimpses with a warning.
        failures: the rows that failed.
    """

    n: int
    line: bytes | None
    done: int = 0
    kept: int = 0
    warned: int = 0
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Begun:
    """A picture between reading and writing."""

    errand: Errand
    input: Mapping[str, Any]
    loaded: Loaded


def start(pixels: int, here: str) -> None:
    """Make a fresh process a worker: it dies with its parent, takes so much memory, and says nothing.

    Args:
        pixels: the most that a picture or a glimpse may have.
        here: the folder that names are relative to.
    """
    _die_with_parent()
    os.chdir(here)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a decoder that hangs in C would never hear of it otherwise
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # a decoder's chatter is neither data nor talk
        os.dup2(nowhere, stream)
    os.close(nowhere)
    most = _BASE_MEMORY + MAX_BYTES + _BYTES_A_PIXEL * pixels
    with suppress(ValueError, OSError):  # a limit below ours is there already
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _die_with_parent() -> None:
    """A worker never outlives the run, even where the run is killed while a decoder hangs."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - for this alone

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_outlive, args=(parent.sentinel,), daemon=True).start()


def _outlive(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def do(errands: Sequence[Errand], ways: Ways) -> list[Outcome]:
    """Pictures, from beginning to end, on the CPU."""
    return [_do(errand, ways) for errand in errands]


def _do(errand: Errand, ways: Ways) -> Outcome:
    begun = begin(errand, ways)
    if isinstance(begun, Outcome):
        return begun
    try:
        return finish(begun, computed(begun.loaded), ways)
    except MemoryError:
        return failed(errand, _too_much(errand.item), ways)


def computed(loaded: Loaded, run: items.Contract = contract) -> Iterator[Floats | GlimpseError]:
    """The glimpses of a picture, one at a time: there may be thousands."""
    for sight in loaded.sights:
        yield sight if isinstance(sight, GlimpseError) else items.compute(loaded, sight, run)


def begin_all(errands: Sequence[Errand], ways: Ways) -> list[Outcome | Begun]:
    """Pictures with the windows their looks need, cut out to travel."""
    return [_travelling(begin(errand, ways)) for errand in errands]


def _travelling(begun: Outcome | Begun) -> Outcome | Begun:
    if isinstance(begun, Outcome):
        return begun
    sights = tuple(sight.keep() if isinstance(sight, Sight) else sight for sight in begun.loaded.sights)
    return replace(begun, loaded=replace(begun.loaded, sights=sights))


def without_windows(begun: Begun) -> Begun:
    """What is left to write once the glimpses are computed."""
    sights = tuple(
        replace(sight, read=_nothing) if isinstance(sight, Sight) else sight for sight in begun.loaded.sights
    )
    return replace(begun, loaded=replace(begun.loaded, sights=sights))


def _nothing(rows: range, columns: range) -> NDArray[Any]:
    raise ValueError(f"the window of {rows} and {columns} is gone")


def finish_all(begun: Sequence[tuple[Begun, Sequence[Floats | GlimpseError]]], ways: Ways) -> list[Outcome]:
    """Pictures whose glimpses were computed elsewhere."""
    return [finish(one, glimpses, ways) for one, glimpses in begun]


def begin(errand: Errand, ways: Ways) -> Outcome | Begun:
    """Read a picture, unless it is done already."""
    item, record = errand.item, _record(errand, ways)
    try:
        stamp = _stamp(item.path)
        if record and stamp and stamp == record["input"]["stamp"]:
            return Outcome(errand.n, None, kept=len(item.wants), warned=_warned(record))
        data = read_bytes(item.path)
        source = {"hash": _hash(data), "stamp": stamp}
        if record and source["hash"] == record["input"]["hash"]:
            line = line_of(record | {"input": source})
            return Outcome(errand.n, line, kept=len(item.wants), warned=_warned(record))
        looks = [want.look for want in item.wants]
        loaded = items.load(data, item.image, looks, ways.reading, preview=ways.writing.mask == "png")
        return Begun(errand, source, loaded)
    except GlimpseError as error:
        return failed(errand, error, ways)
    except MemoryError:
        return failed(errand, _too_much(item), ways)


def finish(begun: Begun, glimpses: Iterable[Floats | GlimpseError], ways: Ways) -> Outcome:
    """Encode and write the glimpses of a picture, and say what was done."""
    errand, loaded = begun.errand, begun.loaded
    rows: list[dict[str, Any]] = []
    written: dict[str, str] = {}
    wrong: list[Failure] = []
    for want, sight, glimpse in zip(errand.item.wants, loaded.sights, glimpses, strict=True):
        try:
            if isinstance(sight, GlimpseError) or isinstance(glimpse, GlimpseError):
                raise sight if isinstance(sight, GlimpseError) else glimpse  # type: ignore[misc]
            written |= _write(want, loaded, sight, glimpse, ways)
            rows.append(_row(want, begun, (sight, glimpse), ways))
        except GlimpseError as error:
            where = want.row.where if want.row else None
            wrong.append(Failure(errand.item.image, where, reason_of(error), error))
    record = {
        "image": errand.item.image,
        "wants": _wants(errand.item),
        "input": begun.input,
        "files": written,
        "rows": rows,
        "errors": [failure.told() for failure in wrong],
    }
    _clear(errand, ways, written)
    return Outcome(errand.n, line_of(record), len(rows), warned=_warned(record), failures=tuple(wrong))


def failed(errand: Errand, error: GlimpseError, ways: Ways) -> Outcome:
    """Every row of a picture came to nothing."""
    wrong = failures(errand.item, error)
    record = {"image": errand.item.image, "files": {}, "rows": [], "errors": [failure.told() for failure in wrong]}
    _clear(errand, ways)
    return Outcome(errand.n, line_of(record), failures=tuple(wrong))


def _too_much(item: Item) -> PictureError:
    return PictureError(f"{shown(item.image)} is too large", Reason.TOO_LARGE, why="out of memory")


def _write(want: Want, loaded: Loaded, sight: Sight, glimpse: Floats, ways: Ways) -> dict[str, str]:
    """Put a glimpse, and its mask, where they belong; returns the hash of each by name."""
    part = ways.form == "stack"
    data = raw(glimpse, ways.writing) if part else items.encode(loaded, glimpse, ways.writing)
    outputs = {want.name: data}
    mask = mask_name(want.name, ways.writing)
    if mask and ways.writing.mask:
        outputs[mask] = items.encode_mask(loaded, sight, ways.writing.mask)
    _make_folder(ways.folder, want.name.rpartition("/")[0])
    for name, data in outputs.items():
        write_whole(Path(ways.folder, name), data)
    return {name: _hash(data) for name, data in outputs.items()}


def raw(glimpse: Floats, writing: Writing) -> bytes:
    """A glimpse as one element of a stack: (h, w, 3), float32 for npy, else uint8; alpha is laid over white."""
    cube = glimpse if glimpse.ndim == 3 else glimpse[:, :, None]
    if cube.shape[2] in {2, 4}:
        cube = cube[:, :, :-1] * cube[:, :, -1:] + (1 - cube[:, :, -1:])
    if cube.shape[2] == 1:
        cube = cube.repeat(3, axis=2)
    return as_stored(cube, writing).tobytes()


def as_stored(cube: Floats, writing: Writing) -> NDArray[Any]:
    """In the numbers of a stack."""
    if writing.format == "npy":
        return np.ascontiguousarray(cube, np.float32)
    whole: NDArray[np.uint8] = np.floor(np.clip(np.nan_to_num(cube, nan=0.0), 0, 1) * 255 + 0.5).astype(np.uint8)
    return whole


@cache
def _make_folder(folder: str, below: str) -> None:
    """A folder for names, once; a link in it must not lead out."""
    path = Path(folder, below)
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise OutputError(f"cannot write in {shown(path)}", why="it leads out of the output folder")
    make_folder(path)


def _row(want: Want, begun: Begun, seen: tuple[Sight, Floats], ways: Ways) -> dict[str, Any]:
    """As it stands in ``metadata.jsonl``; the table's own columns come last."""
    loaded, (sight, glimpse) = begun.loaded, seen
    row: dict[str, Any] = {"file_name": want.name, "image": begun.errand.item.image}
    if want.row is not None:
        row |= {"id": want.row.id, "row": want.row.number}
    row |= items.report(loaded, sight)
    row["warnings"] = [*row["warnings"], *items.doubts(loaded, glimpse, ways.writing)]
    mask = mask_name(want.name, ways.writing)
    if mask:
        row["mask_file_name"] = mask
    extra = want.row.extra if want.row else {}
    return row | {f"{key}_" if key in row else key: value for key, value in extra.items()}


# What is done already


def _record(errand: Errand, ways: Ways) -> dict[str, Any] | None:
    """The line of an earlier run, if it is about these wants and every output is as it was left."""
    if errand.line is None:
        return None
    record: dict[str, Any] = json.loads(errand.line)
    if record["errors"] or record["wants"] != _wants(errand.item):
        return None
    names = {name for want in errand.item.wants for name in (want.name, mask_name(want.name, ways.writing)) if name}
    if names != set(record["files"]):
        return None
    return (
        record
        if errand.sealed or all(_intact(Path(ways.folder, name), found) for name, found in record["files"].items())
        else None
    )


def _intact(path: Path, found: str) -> bool:
    try:
        return not path.is_symlink() and _hash(read_bytes(path, sys.maxsize)) == found
    except InputError:
        return False


def _clear(errand: Errand, ways: Ways, written: Collection[str] = ()) -> None:
    """Take away what an earlier run wrote for a picture that is now another, or none."""
    before = json.loads(errand.line).get("files", ()) if errand.line else ()
    wanted = [name for want in errand.item.wants for name in (want.name, mask_name(want.name, ways.writing)) if name]
    for name in {*before, *wanted}.difference(written):
        if ".." not in Path(name).parts:
            with suppress(OSError, ValueError):
                Path(ways.folder, name).unlink()


def _wants(item: Item) -> str:
    return _hash("\n".join(map(repr, item.wants)).encode("utf-8", "backslashreplace"))


def _stamp(path: str) -> list[int] | None:
    """What tells that a file is the same without reading it; nothing where it changed a moment ago.

    The time of the last change of the inode is in it, which nobody can set.
    """
    with suppress(OSError, ValueError):  # read_bytes will say why
        found = Path(path).stat()
        if time.time_ns() - max(found.st_ctime_ns, found.st_mtime_ns) > _SETTLED:
            return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    return None


def _warned(record: Mapping[str, Any]) -> int:
    return sum(bool(row["warnings"]) for row in record["rows"])


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
