"""What an earlier run left: whether a picture's line in the journal still holds.

It holds if it is about the same wants, if the input has the bytes it had, and if every output does.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glimpse_cli.batch.journal import files_in, parsed
from glimpse_cli.batch.own import hash_of, is_intact
from glimpse_cli.batch.plan import Form, Item
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


def record_of(errand: Errand, ways: Ways) -> dict[str, Any] | None:
    """The line of an earlier run, if it is about these wants and every output is as it was left."""
    if errand.line is None:
        return None
    record = parsed(errand.line)
    if record.get("errors") or record.get("wants") != wants_of(errand.item):
        return None
    if set(errand.item.names(ways.writing)) != set(record["files"]):
        return None
    if errand.sealed or all(is_intact(Path(ways.folder, name), found) for name, found in record["files"].items()):
        return record
    return None


def listed(errand: Errand) -> frozenset[str]:
    """The names of what earlier runs wrote for a picture, and nobody else."""
    return frozenset(files_in(errand.line))


def wants_of(item: Item) -> str:
    """A hash of all that is wanted of a picture: names, looks, and the columns that travel."""
    return hash_of("\n".join(map(repr, item.wants)).encode("utf-8", "backslashreplace"))


def stamp_of(path: str) -> list[int] | None:
    """What tells that a file is the same without reading it; nothing where it changed a moment ago.

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
