"""Which files beside the glimpses the runs of a folder wrote: manifests, stacks, shards, contact sheets.

Before such a file gets its name, its place and its hash are noted, and flushed to the disk: whenever a run is killed, a
file that it wrote is known for one. The glimpses themselves are the journal's, and too many to be noted like this.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from glimpse_cli import files
from glimpse_cli.batch.lines import append, checked_line_of, parsed
from glimpse_cli.batch.own import OWN, hash_of, hash_of_file, set_aside
from glimpse_cli.errors import InputError

_NOTES = f"{OWN}/written.jsonl"
_SHEETS = f"{OWN}/sheets.json"  # an earlier version's notes, of contact sheets alone
_ALL = ""  # a name that is noted first, where all files are noted: an earlier version did not

Known = Mapping[str, Sequence[str]]  # the hashes that a file may have, by its place; the last is that of the last run


def place_of(path: str) -> str:
    """Where a file lies, however it is spelled."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118 - compared with the plan's strings


def known(folder: str) -> Known:
    """The files that were noted."""
    found: dict[str, list[str]] = {}
    with suppress(InputError, ValueError, RecursionError):
        before = json.loads(files.read_bytes(Path(folder, _SHEETS)))
        if isinstance(before, dict):
            found |= {place: hashes for place, hashes in before.items() if isinstance(hashes, list)}
    with suppress(InputError):
        root, notes = os.path.realpath(folder), files.read_bytes(Path(folder, _NOTES))
        for record in map(parsed, BytesIO(notes)):
            for name, content in record.get("sealed", {}).items():
                found.setdefault(os.path.join(root, name), []).append(content)  # noqa: PTH118 - strings
    return found


def note(folder: str, name: str, content: str) -> None:
    """Say that a file is about to get its name.

    Args:
        folder: the run's.
        name: of a file in it, relative to it, for it may move; of any other, absolute.
        content: its hash.

    Raises:
        OutputError: the disk is full, or the like.
    """
    path = Path(folder, _NOTES)
    files.make_folder(path.parent)
    with files.told_of(path):
        append(path, checked_line_of({"sealed": {name: content}}), durable=True)


class Written:
    """The files of a run that is at work.

    Args:
        folder: the run's, which it holds.
        new: no run began in it yet.
        replace: also files that are no run's.
    """

    def __init__(self, folder: str, *, new: bool, replace: bool) -> None:
        self._folder, self._root, self._replace = folder, os.path.realpath(folder), replace
        if new:
            note(folder, _ALL, "")
        self.known = {place: [*hashes] for place, hashes in known(folder).items()}

    def adopt(self, sealed: Mapping[str, str]) -> None:
        """Take files, hash by name, for the run's that an earlier version put together."""
        for name, content in sealed.items():
            self._hashes(name).insert(0, content)

    def name_of(self, path: str) -> str:
        """What a file is called here: relative to the folder if it lies in it, else absolute."""
        return place_of(path).removeprefix(self._place(""))

    def may_be(self, name: str) -> bool:
        """Whether a run may have written a file of this name."""
        return not self._hashes(_ALL) or bool(self._hashes(name))

    def content(self, name: str) -> str:
        """The hash of what was written last."""
        return self._hashes(name)[-1]

    @contextmanager
    def whole(self, name: str) -> Iterator[BinaryIO]:
        """`files.whole` of a file in the folder, or anywhere; what is no run's and has its name is set aside."""
        token = None
        if os.path.isabs(name):  # noqa: PTH117 - outside, nobody else takes away what a kill leaves
            token = hash_of(b"%b\0%b" % (os.fsencode(self._root), os.fsencode(name)))[:16]
        with files.whole(Path(self._folder, name), lambda temporary: self._admit(name, temporary), token) as file:
            yield file

    def _admit(self, name: str, temporary: Path) -> None:
        hashes, content = self._hashes(name), hash_of_file(temporary) or ""
        if hashes[-1:] != [content]:
            note(self._folder, name, content)
            hashes.append(content)
        self.make_way(name)

    def make_way(self, name: str) -> None:
        """Set aside what is no run's and has this name."""
        if not self._replace:
            set_aside(self._folder, name, self._hashes(name))

    def _hashes(self, name: str) -> list[str]:
        return self.known.setdefault(self._place(name), [])

    def _place(self, name: str) -> str:
        return os.path.join(self._root, name)  # noqa: PTH118 - compared with the plan's strings
