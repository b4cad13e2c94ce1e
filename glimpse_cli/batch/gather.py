"""Glimpses put together at the end of a run: one stack to train on, or WebDataset shards.

Until then each is a part, a file of its own in the run's hidden folder, so that a run can be taken up again as with
files. `seal` makes the whole from the parts, a part at a time, and `unseal` the parts from the whole.
"""

import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from io import BytesIO
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from glimpse_cli import images
from glimpse_cli.batch.journal import files_in
from glimpse_cli.batch.manifest import Done, Placed
from glimpse_cli.batch.own import METADATA, PARTS, hash_of, hash_of_file, is_within
from glimpse_cli.batch.plan import Settings
from glimpse_cli.batch.written import Written
from glimpse_cli.errors import InputError, OutputError
from glimpse_cli.files import MAX_BYTES, discard, make_folder, read_bytes, shown, write_whole
from glimpse_cli.tables import Row

STACK = "stack.npy"

Read = Callable[..., bytes]


def parts_of(settings: Settings) -> Path:
    """Where the glimpses of a run lie while it works."""
    folder = Path(settings.folder)
    return folder if settings.form == "files" else folder / PARTS


def placed(settings: Settings, rows: int) -> Placed:
    """How a row of ``metadata.jsonl`` says where its glimpse is: file, place in the stack, or shard and key."""

    def place(position: int, index: int, row: dict[str, Any]) -> dict[str, Any]:
        if settings.form == "files":
            return row
        rest = {"name" if key == "file_name" else key: value for key, value in row.items()}
        if settings.form == "stack":
            return {"index": index, **rest}
        return {"shard": shard_name(_shard(position, settings.shards, rows)), "key": _key(position), **rest}

    return place


def place_of(row: Mapping[str, Any], settings: Settings) -> str:
    """Where the glimpse of such a row is, for a person."""
    if settings.form == "files":
        return str(row["file_name"])
    if settings.form == "stack":
        return f"{STACK}[{row['index']}]"
    return f"{row['shard']}/{row['key']}.{settings.writing.format}"


def seal(settings: Settings, done: Callable[[], Done], rows: int, written: Written) -> dict[str, str]:
    """Put the parts together; returns the hash of every file that tells of them.

    Args:
        settings: of the run.
        done: the glimpses there are, in order, as often as it is asked.
        rows: how many were wanted.
        written: what writes them.
    """
    if settings.form == "stack":
        _seal_stack(settings, done, written)
    else:
        _seal_shards(settings, done(), rows, written)
    return {name: written.content(name) for name in (*names_of(settings), METADATA)}


def names_of(settings: Settings) -> list[str]:
    """The files that glimpses are put together in."""
    if settings.form == "stack":
        return [STACK]
    return [shard_name(number) for number in range(settings.shards)]


def is_intact(settings: Settings, sealed: Mapping[str, str]) -> bool:
    """Whether every file that was put together is as it was left."""
    return bool(sealed) and all(hash_of_file(Path(settings.folder, name)) == found for name, found in sealed.items())


def remove_stale(settings: Settings, lines: Iterable[bytes | None]) -> None:
    """Take away parts that no line lists with their hash: a killed run left them, or their picture is gone.

    Args:
        settings: of the run.
        lines: the journal's, of every picture that is wanted.
    """
    parts = parts_of(settings)
    there = [Path(here, name) for here, _, names in os.walk(parts) for name in names]
    if not there:
        return
    listed = _listed(lines)
    for path in there:
        if hash_of_file(path) != listed.get(path.relative_to(parts).as_posix(), ""):
            discard(path)


def _listed(lines: Iterable[bytes | None]) -> dict[str, str]:
    """The hash of every part, by its name."""
    return {name: found for line in lines for name, found in files_in(line).items()}


def unseal(settings: Settings, sealed: Mapping[str, str], lines: Iterable[bytes | None]) -> None:
    """Take apart the files that are intact; a part that is there already is newer, and what no line lists is left out.

    Args:
        settings: of the run.
        sealed: the hashes of the files that were put together.
        lines: the journal's, of every picture that is wanted.
    """
    listed = _listed(lines)
    intact = [name for name, found in sealed.items() if hash_of_file(Path(settings.folder, name)) == found]
    for name, data in _readable(_unsealed(settings, intact)):
        part = parts_of(settings) / name
        if listed.get(name) == hash_of(data) and is_within(parts_of(settings), name) and not part.exists():
            make_folder(part.parent)
            write_whole(part, data)


def first(settings: Settings, done: Done, rows: int, count: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The first ``count`` glimpses as (name, uint8 picture), wherever they are; arguments as for `seal`."""
    folder, wanted = Path(settings.folder), [(position, row["file_name"]) for position, row in islice(done, count)]
    if settings.form == "files":
        for _, name in wanted:
            yield name, _pixels(read_bytes(folder / name), name)
    elif settings.form == "stack" and wanted:
        stack = np.load(folder / STACK, mmap_mode="r", allow_pickle=False)
        for index, (_, name) in enumerate(wanted):
            yield name, _eight_bits(stack[index])
    elif settings.form == "shards":
        for number, some in groupby(wanted, lambda each: _shard(each[0], settings.shards, rows)):
            with tarfile.open(folder / shard_name(number), "r:") as tar:  # once: a member is found by reading all heads
                for position, name in some:
                    yield name, _pixels(_member(tar, f"{_key(position)}.{settings.writing.format}"), name)


def _pixels(data: bytes, name: str) -> NDArray[np.uint8]:
    if name.endswith(".npy"):
        return _eight_bits(np.load(BytesIO(data), allow_pickle=False))
    picture = images.decode(data, name=name)
    return _eight_bits(picture.window(range(picture.size[0]), range(picture.size[1])))


def _eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint16:
        pixels = pixels >> 8
    elif pixels.dtype != np.uint8:
        pixels = images.rounded(pixels, 8)
    return np.ascontiguousarray(pixels, np.uint8)


# The stack


def _seal_stack(settings: Settings, done: Callable[[], Done], written: Written) -> None:
    (h, w), read = _one_size(settings), _reader(settings)
    dtype = np.dtype("<f4" if settings.writing.format == "npy" else "u1")
    shape, length = (sum(1 for _ in done()), h, w, 3), h * w * 3 * dtype.itemsize
    with written.whole(STACK) as file:
        npy.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
        for _, row in done():
            file.write(read(row["file_name"], length))


def _one_size(settings: Settings) -> tuple[int, int]:
    looks = [settings.look] if settings.look else [row.look for row in settings.rows or () if isinstance(row, Row)]
    if looks:
        return looks[0].size  # the plan has seen that they are all of one size
    return settings.defaults.size if settings.defaults else (0, 0)


def _reader(settings: Settings) -> Read:
    """What reads parts by their names, of a length if one is given; each of their folders is looked at once for all."""
    parts = parts_of(settings)
    is_place = cache(lambda folder: is_within(parts, str(Path(folder, "part"))))  # no link leads out of it

    def read(name: str, length: int | None = None) -> bytes:
        folder, _, last = name.rpartition("/")
        if last in {"", ".", ".."} or not is_place(folder):
            raise OutputError(f"{shown(name)} is no part of this run")
        try:
            data = read_bytes(parts / name)
        except InputError as error:  # it was to be in a file that no run wrote
            raise OutputError(f"the part {shown(name)} is missing", hint="run the same command again") from error
        if length is not None and len(data) != length:
            raise OutputError(f"the part {shown(name)} is damaged", hint="run the same command again")
        return data

    return read


# Shards


def shard_name(number: int) -> str:
    """``shard-000012.tar``."""
    return f"shard-{number:06}.tar"


def _shard(position: int, shards: int, rows: int) -> int:
    return position * shards // rows  # by the plan: a glimpse that fails moves no other


def _key(position: int) -> str:
    return f"{position:08}"  # readers take a name up to its first dot for the key


def _seal_shards(settings: Settings, done: Done, rows: int, written: Written) -> None:
    todo = iter(done)
    ahead = next(todo, None)
    place, read = placed(settings, rows), _reader(settings)
    for number, name in enumerate(names_of(settings)):
        with written.whole(name) as file, tarfile.open(fileobj=file, mode="w") as tar:
            while ahead is not None and _shard(ahead[0], settings.shards, rows) == number:
                _add(tar, settings, read, ahead[0], place(ahead[0], 0, ahead[1]))
                ahead = next(todo, None)


def _add(tar: tarfile.TarFile, settings: Settings, read: Read, position: int, row: dict[str, Any]) -> None:
    members = {settings.writing.format: read(row["name"])}
    if "mask_file_name" in row:
        members[f"mask.{settings.writing.mask}"] = read(row["mask_file_name"])
    members["json"] = json.dumps(row).encode()
    for ending, data in members.items():
        member = tarfile.TarInfo(f"{_key(position)}.{ending}")  # no clock, no owner: the same bytes every time
        member.size = len(data)
        tar.addfile(member, BytesIO(data))


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    with suppress(KeyError):
        member = tar.getmember(name)
        if member.isreg() and member.size <= MAX_BYTES:
            file = tar.extractfile(member)
            if file is not None:
                return file.read()
    raise OutputError(f"{shown(str(tar.name))} holds no {name}", hint="run the same command again")


# Taking apart

# What reading such a file may end in where no run wrote it, whatever hash the journal has of it
_OF_OTHERS = (ValueError, LookupError, TypeError, EOFError, RecursionError, tarfile.TarError)


def _readable(parts: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """The parts up to the first that no run would have left; what is missing is made again."""
    with suppress(*_OF_OTHERS, OutputError):
        yield from (part for part in parts if isinstance(part[0], str))


def _unsealed(settings: Settings, intact: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of every part of the files that are intact."""
    if settings.form == "stack":
        if {STACK, METADATA} <= set(intact):
            stack = np.load(Path(settings.folder, STACK), mmap_mode="r", allow_pickle=False)
            with Path(settings.folder, METADATA).open("rb") as lines:
                for row in map(json.loads, lines):
                    yield row["name"], stack[row["index"]].tobytes()
        return
    for name in intact:
        if name != METADATA:
            with tarfile.open(Path(settings.folder, name), "r:") as tar:
                yield from _samples(tar, settings)


def _samples(tar: tarfile.TarFile, settings: Settings) -> Iterator[tuple[str, bytes]]:
    for member in tar.getnames():
        if member.endswith(".json"):
            row = json.loads(_member(tar, member))
            yield row["name"], _member(tar, f"{row['key']}.{settings.writing.format}")
            if "mask_file_name" in row:
                yield row["mask_file_name"], _member(tar, f"{row['key']}.mask.{settings.writing.mask}")
