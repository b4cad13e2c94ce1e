"""What an earlier run left: how much of a picture's line in the journal still holds.

A glimpse holds if it is wanted as it was, if the input has the bytes it had, and if its own files do.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glimpse_cli.batch.lines import parsed
from glimpse_cli.batch.own import hash_of, hash_of_file
from glimpse_cli.batch.plan import Form, Item, Want
from glimpse_cli.items import Reading, Writing

_SETTLED = 2_000_000_000  # ns: a file changed later than this before it was read may change again within one tick


@dataclass(frozen=True, slots=True)
class Ways:
    """What is the same for every picture of a run.

    Args:
        folder: where names are relative to.
        reading: how pictures are read.
        writing: what is written.
        form: a file a glimpse, or parts of what is put together later.
        replace: also files that are not a run's.
    """

    folder: str
    reading: Reading
    writing: Writing
    form: Form
    replace: bool = False


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


def held(errand: Errand, ways: Ways) -> dict[str, Any]:
    """The record of an earlier run, of the glimpses alone that are wanted as they were and are as they were left.

    Of the input it says what it was, and nothing where there is no such record.
    """
    record = parsed(errand.line) if errand.line is not None else {}
    looks, files = record.get("looks", {}), record.get("files", {})

    def holds(want: Want) -> bool:
        if looks.get(want.name) != look_of(want):
            return False
        names = tuple(want.names(ways.writing))
        if not files.keys() >= {*names}:
            return False
        return errand.sealed or all(hash_of_file(Path(ways.folder, name)) == files[name] for name in names)

    kept = [want for want in errand.item.wants if holds(want)]
    names = {name for want in kept for name in want.names(ways.writing)}
    return {
        "image": errand.item.image,
        "looks": {want.name: looks[want.name] for want in kept},
        "input": record.get("input", {}),
        "files": {name: found for name, found in files.items() if name in names},
        "rows": [row for row in record.get("rows", ()) if row["file_name"] in names],
        "errors": [],
    }


def look_of(want: Want) -> str:
    """A hash of where and how a glimpse looks. What travels with it is no part of that: it is in the manifest alone."""
    return hash_of(repr(want.look).encode("utf-8", "backslashreplace"))


def stamp_of(path: str) -> list[int] | None:
    """What tells that a file is the same without reading it; None where it changed a moment ago.

    The time of the last change of the inode is in it, which nobody can set.
    """
    with suppress(OSError, ValueError):  # read_bytes will say why
        found = Path(path).stat()
        if time.time_ns() - max(found.st_ctime_ns, found.st_mtime_ns) > _SETTLED:
            return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    return None


def warned_in(record: Mapping[str, Any]) -> int:
    """How many of its glimpses have a warning."""
    return sum(bool(row["warnings"]) for row in record["rows"])
