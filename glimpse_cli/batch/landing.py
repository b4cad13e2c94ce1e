"""Many files at a time, each of which appears whole or not at all.

`files.write_whole` waits for the disk once a file. Where files come in numbers, the waiting is shared: all are written
under temporary names, then flushed, which the disk does for all of them in nearly the time of one, then renamed.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from glimpse_cli.batch.own import OWN
from glimpse_cli.errors import OutputError
from glimpse_cli.files import cannot_write, discard, flush, flush_folder, is_temporary, temporary_beside


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that is written and has no name yet."""

    temporary: Path
    path: Path


def write(path: Path, data: bytes) -> Waiting:
    """Write a file under a temporary name beside the one it will have.

    Raises:
        OutputError: the disk is full, or the like.
    """
    waiting = Waiting(temporary_beside(path), path)
    try:
        waiting.temporary.write_bytes(data)
    except OSError as error:
        drop([waiting])
        raise cannot_write(path, error) from error
    return waiting


def drop(some: Iterable[Waiting]) -> None:
    """Take temporary files away again."""
    for waiting in some:
        discard(waiting.temporary)


def land(some: Sequence[Waiting]) -> dict[Path, OutputError]:
    """Flush files to the disk and give them their names; returns what kept those that failed from it."""
    failed: dict[Path, OutputError] = {}
    for step in (_flush, _name):
        some = [waiting for waiting in some if _tried(step, waiting, failed)]
    for folder in {waiting.path.parent for waiting in some}:
        flush_folder(folder)
    return failed


def _tried(step: Callable[[Waiting], None], waiting: Waiting, failed: dict[Path, OutputError]) -> bool:
    try:
        step(waiting)
    except OSError as error:
        failed[waiting.path] = cannot_write(waiting.path, error)
        drop([waiting])
        return False
    return True


def remove_temporaries(folder: str) -> None:
    """What a run that was killed left half-written; what lies in the folder of another run is that one's."""
    for here, folders, names in os.walk(folder):
        folders[:] = [below for below in folders if not os.path.lexists(os.path.join(here, below, OWN))]  # noqa: PTH118 - strings
        for name in names:
            if is_temporary(name):
                discard(Path(here, name))


def _flush(waiting: Waiting) -> None:
    flush(waiting.temporary)


def _name(waiting: Waiting) -> None:
    waiting.temporary.replace(waiting.path)
