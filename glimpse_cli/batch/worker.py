"""One picture in a worker process: is it done already, read it, compute, write, and the line that says so.

Nothing here is shared with another picture but the wait for the disk, and doing a picture twice is harmless. `begin`
and `finish` are apart so that a GPU in the parent can compute between them.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glimpse_cli import images, items
from glimpse_cli.banks import Floats
from glimpse_cli.batch import strays
from glimpse_cli.batch.journal import files_in
from glimpse_cli.batch.known import Errand, Ways, held, look_of, stamp_of, warned_in
from glimpse_cli.batch.landing import Waiting, drop, land, write
from glimpse_cli.batch.lines import checked_line_of
from glimpse_cli.batch.own import exists, hash_of, hash_of_file, is_within, set_aside, take_away
from glimpse_cli.batch.plan import Failure, Want, failure, mask_name
from glimpse_cli.errors import GlimpseError, OutputError, PictureError, Reason
from glimpse_cli.files import cannot_write, discard, make_folder, read_bytes, shown
from glimpse_cli.glimpse import contract
from glimpse_cli.items import Loaded, Sight, Writing

MOST_TRAVEL = 2**32  # bytes that the glimpses of one picture may take on their way from a device
_BYTES_A_SAMPLE = 16  # float32, of colour and alpha


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a picture.

    Args:
        n: its place in the plan.
        line: for the journal; None where it would be the old one.
        done: glimpses made now.
        kept: glimpses found as an earlier run left them.
        warned: glimpses with a warning.
        failures: the rows that failed.
        stay: files that an earlier run made, that are not wanted any more, and that are something else now.
    """

    n: int
    line: bytes | None
    done: int = 0
    kept: int = 0
    warned: int = 0
    failures: tuple[Failure, ...] = ()
    stay: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Begun:
    """A picture between reading and writing.

    Args:
        errand: what it is, with all that is wanted of it.
        record: of the glimpses that an earlier run made and that hold (see `held`).
        input: the hash and the stamp of the file.
        wants: the glimpses that are left to make.
        loaded: the picture and its sights, one for each of these.
    """

    errand: Errand
    record: Mapping[str, Any]
    input: Mapping[str, Any]
    wants: Sequence[Want]
    loaded: Loaded


@dataclass(frozen=True, slots=True)
class Part:
    """A glimpse that is encoded and written, and has no name yet."""

    want: Want
    row: dict[str, Any]
    files: dict[str, str]
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """A picture whose files wait to be flushed, together with those of others."""

    begun: Begun
    parts: tuple[Part, ...]
    wrong: tuple[Failure, ...]


def do(errands: Sequence[Errand], ways: Ways) -> list[Outcome]:
    """Pictures, from beginning to end, on the CPU."""
    return _landed([_do(errand, ways) for errand in errands], ways)


def _do(errand: Errand, ways: Ways) -> Outcome | Finished:
    begun = begin(errand, ways)
    return begun if isinstance(begun, Outcome) else finish(begun, computed(begun), ways)


def computed(begun: Begun, run: items.Contract = contract) -> Iterator[Floats | GlimpseError]:
    """The glimpses of a picture, one at a time: there may be thousands; what goes wrong is an error in its place."""
    for sight in begun.loaded.sights:
        yield sight if isinstance(sight, GlimpseError) else _computed(begun, sight, run)


def _computed(begun: Begun, sight: Sight, run: items.Contract) -> Floats | GlimpseError:
    try:
        return items.compute(begun.loaded, sight, run)
    except GlimpseError as error:
        return error
    except MemoryError:
        return items.out_of_memory(begun.errand.item.path)


def begin_all(errands: Sequence[Errand], ways: Ways) -> list[Outcome | Begun]:
    """Pictures with the windows their looks need, cut out to travel."""
    return [_travelling(begin(errand, ways), ways) for errand in errands]


def _travelling(begun: Outcome | Begun, ways: Ways) -> Outcome | Begun:
    if isinstance(begun, Outcome):
        return begun
    try:
        _refuse_crowd(begun)
        sights = tuple(sight.keep() if isinstance(sight, Sight) else sight for sight in begun.loaded.sights)
    except GlimpseError as error:
        return failed(begun.errand, error, ways)
    except MemoryError:
        return failed(begun.errand, items.out_of_memory(begun.errand.item.path), ways)
    return replace(begun, loaded=replace(begun.loaded, sights=sights))


def _refuse_crowd(begun: Begun) -> None:
    """The glimpses of a picture travel together, and the parent holds them: they must not fill its memory."""
    # of all that is wanted, not of what is left to make: a run that goes on ends as one from the beginning
    samples = sum(h * w for h, w in (want.look.size for want in begun.errand.item.wants))
    if samples * _BYTES_A_SAMPLE > MOST_TRAVEL:
        raise PictureError(
            f"{shown(begun.errand.item.path)} has too many glimpses for a device",
            Reason.TOO_LARGE,
            why=f"together they may take {samples * _BYTES_A_SAMPLE / 2**30:.3g} GiB",
            hint="--device cpu, which holds one at a time",
        )


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
    return _landed([finish(one, glimpses, ways) for one, glimpses in begun], ways)


def begin(errand: Errand, ways: Ways) -> Outcome | Begun:
    """Read a picture, unless all of it is done already."""
    item, record = errand.item, held(errand, ways)
    before, is_all = record["input"], len(record["rows"]) == len(item.wants)
    try:
        stamp = stamp_of(item.path)
        if is_all and stamp and stamp == before["stamp"]:
            return _held(errand, record, ways)
        data = read_bytes(item.path)
        source = {"hash": hash_of(data), "stamp": stamp}
        if source["hash"] != before.get("hash"):
            record |= {"looks": {}, "files": {}, "rows": []}
        elif is_all:
            # what is sealed stays as it is: a new stamp alone is no news
            return _held(errand, record if errand.sealed else record | {"input": source}, ways)
        wants = [want for want in item.wants if want.name not in record["looks"]]
        looks = [want.look for want in wants]
        loaded = items.load(data, item.path, looks, ways.reading, preview=ways.writing.mask == "png")
        return Begun(errand, record, source, wants, loaded)
    except GlimpseError as error:
        return failed(errand, error, ways)
    except MemoryError:
        return failed(errand, items.out_of_memory(item.path), ways)


def _held(errand: Errand, record: Mapping[str, Any], ways: Ways) -> Outcome:
    """A picture of which nothing is left to make."""
    stay = _clear(errand, ways, record["files"])
    return Outcome(errand.n, _news(errand, record), kept=len(record["rows"]), warned=warned_in(record), stay=stay)


def _news(errand: Errand, record: Mapping[str, Any]) -> bytes | None:
    """A record as a line for the journal, unless that is what it says already."""
    line = checked_line_of(record)
    return line if line != errand.line else None


def finish(begun: Begun, glimpses: Iterable[Floats | GlimpseError], ways: Ways) -> Finished:
    """Encode and write the glimpses of a picture."""
    parts: list[Part] = []
    wrong: list[Failure] = []
    ours = files_in(begun.errand.line)
    for want, sight, glimpse in zip(begun.wants, begun.loaded.sights, glimpses, strict=True):
        try:
            if isinstance(sight, GlimpseError):
                raise sight
            if isinstance(glimpse, GlimpseError):
                raise glimpse
            outputs = _outputs(want, begun.loaded, (sight, glimpse), ways)
            if ways.form == "files" and not ways.replace:
                _make_way(outputs, ours, ways)
            row = _row(want, begun, (sight, glimpse), ways)
            parts.append(_part(want, row, outputs, ways))
        except (GlimpseError, MemoryError) as error:
            wrong.append(_failure(begun, want, error))
    return Finished(begun, tuple(parts), tuple(wrong))


def _failure(begun: Begun, want: Want, error: GlimpseError | MemoryError) -> Failure:
    told = items.out_of_memory(begun.errand.item.path) if isinstance(error, MemoryError) else error
    return failure(begun.errand.item, want, told)


def _landed(pictures: Sequence[Outcome | Finished], ways: Ways) -> list[Outcome]:
    """Give the files of several pictures their names, with one wait for the disk."""
    finished = [one for one in pictures if isinstance(one, Finished)]
    lost = _named(finished, ways)
    return [one if isinstance(one, Outcome) else _outcome(one, lost, ways) for one in pictures]


def _named(finished: Sequence[Finished], ways: Ways) -> Mapping[Path, OutputError]:
    """Note which files are new, and give all of them their names; returns what kept those that failed from it."""
    waiting = [waiting for one in finished for part in one.parts for waiting in part.waiting]
    try:
        if ways.form == "files":  # parts lie where nobody else writes, and go when they are put together
            strays.note(ways.folder, map(_new, finished))
    except OSError as error:
        drop(waiting)
        return {one.path: cannot_write(one.path, error) for one in waiting}
    return land(waiting)


def _new(finished: Finished) -> tuple[str, dict[str, str]]:
    """The files of a picture that no earlier run wrote, or not like this."""
    ours = files_in(finished.begun.errand.line)
    files = {name: found for part in finished.parts for name, found in part.files.items() if ours.get(name) != found}
    return finished.begun.errand.item.image, files


def _outcome(finished: Finished, lost: Mapping[Path, OutputError], ways: Ways) -> Outcome:
    begun, errand, before = finished.begun, finished.begun.errand, finished.begun.record
    wrong, good = list(finished.wrong), []
    for part in finished.parts:
        error = next((lost[waiting.path] for waiting in part.waiting if waiting.path in lost), None)
        if error is None:
            good.append(part)
        else:
            for waiting in part.waiting:
                if waiting.path not in lost:
                    discard(waiting.path)
            wrong.append(_failure(begun, part.want, error))
    record = {
        "image": errand.item.image,
        "looks": before["looks"] | {part.want.name: look_of(part.want) for part in good},
        "input": begun.input,
        "files": before["files"] | {name: found for part in good for name, found in part.files.items()},
        "rows": [*before["rows"], *(part.row for part in good)],
        "errors": [failure.told() for failure in wrong],
    }
    stay = _clear(errand, ways, record["files"])
    kept, warned = len(before["rows"]), warned_in(record)
    return Outcome(errand.n, _news(errand, record), len(good), kept, warned, tuple(wrong), stay)


def failed(errand: Errand, error: GlimpseError, ways: Ways) -> Outcome:
    """Every row of a picture came to nothing."""
    wrong = [failure(errand.item, want, error) for want in errand.item.wants]
    record = {"image": errand.item.image, "files": {}, "rows": [], "errors": [failure.told() for failure in wrong]}
    return Outcome(errand.n, _news(errand, record), failures=tuple(wrong), stay=_clear(errand, ways))


def _outputs(want: Want, loaded: Loaded, seen: tuple[Sight, Floats], ways: Ways) -> dict[str, bytes]:
    """A glimpse, and its mask, by their names."""
    sight, glimpse = seen
    data = raw(glimpse, ways.writing) if ways.form == "stack" else items.encode(loaded, glimpse, ways.writing)
    outputs = {want.name: data}
    mask = mask_name(want.name, ways.writing)
    if mask and ways.writing.mask:
        outputs[mask] = items.encode_mask(loaded, sight, ways.writing.mask)
    return outputs


def _make_way(outputs: Mapping[str, bytes], ours: Mapping[str, str], ways: Ways) -> None:
    """Nothing is replaced that no run wrote; but where it is the same, byte for byte, nothing is lost."""
    for name, content in outputs.items():
        path, found = Path(ways.folder, name), hash_of(content)
        if name in ours:
            set_aside(ways.folder, name, (found, ours[name]))
        elif os.path.lexists(path) and hash_of_file(path) != found:
            raise exists(path)


def _part(want: Want, row: dict[str, Any], outputs: Mapping[str, bytes], ways: Ways) -> Part:
    """A glimpse, and its mask, under temporary names where they belong."""
    _make_folder(ways.folder, want.name.rpartition("/")[0])
    waiting: list[Waiting] = []
    try:
        for name, content in outputs.items():
            waiting.append(write(Path(ways.folder, name), content))
    except OutputError:
        drop(waiting)
        raise
    hashes = {name: hash_of(content) for name, content in outputs.items()}
    return Part(want, row, hashes, tuple(waiting))


def raw(glimpse: Floats, writing: Writing) -> bytes:
    """A glimpse as one element of a stack: (h, w, 3), float32 for npy, else uint8; alpha is laid over white."""
    cube = images.over_white(glimpse if glimpse.ndim == 3 else glimpse[:, :, None])
    if cube.shape[2] == 1:
        cube = cube.repeat(3, axis=2)
    return (cube.astype(np.float32) if writing.format == "npy" else images.rounded(cube, 8)).tobytes()


@cache
def _make_folder(folder: str, below: str) -> None:
    """A folder for names, once; a link in it must not lead out."""
    path = Path(folder, below)
    if not is_within(folder, str(Path(below, "name"))):
        raise OutputError(f"cannot write in {shown(path)}", why="a link leads out of the output folder, or nowhere")
    make_folder(path)


def _row(want: Want, begun: Begun, seen: tuple[Sight, Floats], ways: Ways) -> dict[str, Any]:
    """As it stands in ``metadata.jsonl``, but for what a table says of it."""
    loaded, (sight, glimpse) = begun.loaded, seen
    # not "image": that is what imagefolder calls the picture of file_name
    row: dict[str, Any] = {"file_name": want.name, "source": begun.errand.item.image}
    row |= items.report(loaded, sight)
    row["warnings"] = [*row["warnings"], *items.doubts(loaded, glimpse, ways.writing, stacked=ways.form == "stack")]
    mask = mask_name(want.name, ways.writing)
    if mask:
        row["mask_file_name"] = mask
    return row


def _clear(errand: Errand, ways: Ways, written: Collection[str] = ()) -> list[str]:
    """Take away what an earlier run wrote for a picture that is now another, or none; returns what is another file."""
    before = files_in(errand.line)
    return take_away(ways.folder, {name: before[name] for name in before if name not in written})
