"""What a run has done so far, on disk, so that the same command takes it up again, wherever it was killed.

A line a picture, appended when its glimpses are on the disk; of two lines for one picture the later counts. A line
carries a hash of itself, without which it counts for nothing: one that was cut short, or that a disk has changed. What
it speaks of is believed only as far as the bytes bear it out: it carries the hashes of the input and of every output.
"""

import fcntl
import json
import os
import shutil
import socket
import stat
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from glimpse_cli.batch.lines import checked_line_of, line_of, parsed
from glimpse_cli.batch.own import ASIDE, JOURNAL, OWN, PARTS, take_away
from glimpse_cli.batch.plan import Item, Plan
from glimpse_cli.errors import OutputError, UsageError
from glimpse_cli.files import itself, make_folder, shown, told_of, whole

_LOCK = "lock"
_NOTHING = -1


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """Hold a folder for one run.

    Raises:
        UsageError: another run holds it.
        OutputError: the folder cannot be made or written.
    """
    if os.path.lexists(folder) and not os.path.isdir(folder):  # noqa: PTH112 - a name that is too long is none
        raise OutputError(f"{shown(folder)} is no folder", hint="another -o")
    own = Path(folder, OWN)
    make_folder(own)
    _refuse_links(own)
    try:
        lock = open(own / _LOCK, "a+b", buffering=0, opener=itself)  # noqa: SIM115 - closed below
    except OSError as error:
        raise OutputError(f"cannot write in {shown(folder)}", why=error.strerror) from error
    with lock:
        _take(lock, folder)
        _unshare(own)
        try:
            yield
        finally:
            _say(lock, "")


def _refuse_links(own: Path) -> None:
    """What a run keeps for itself are files and folders of its own: a link would lead to somebody else's."""
    folders = {own, *(own / Path(name).name for name in (PARTS, ASIDE))}
    try:
        for path in (own, *own.iterdir()):
            is_folder = path in folders
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:  # of a run that is at work
                continue
            if not (stat.S_ISDIR(mode) if is_folder else stat.S_ISREG(mode)):
                kind = "a link" if stat.S_ISLNK(mode) else f"no {'folder' if is_folder else 'file'}"
                raise OutputError(f"{shown(path)} is {kind}", why="what a run keeps for itself lies in its folder")
    except OSError as error:
        raise OutputError(f"cannot read {shown(own)}", why=error.strerror) from error


def _take(lock: BinaryIO, folder: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read(200).decode("utf-8", "replace") or "just begun"
        raise UsageError(
            f"{shown(folder)} is in use by another run: {shown(holder)}", hint="wait for it, or another -o"
        ) from error
    except OSError:  # a network disk that keeps no locks
        return
    _say(lock, f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")


def _say(lock: BinaryIO, holder: str) -> None:
    """Who holds it; a full disk, or another name that the file has as well, leaves the lock without its words."""
    with suppress(OSError):
        if not _is_shared(os.fstat(lock.fileno())):
            lock.truncate(0)
            lock.write(holder.encode())


def _unshare(own: Path) -> None:
    """Replace files that have another name as well, as after ``cp -al``, by copies: they are written where they are."""
    for path in own.iterdir():
        if path.name != _LOCK and path.is_file() and _is_shared(path.stat()):
            with whole(path) as copy, path.open("rb") as file:
                shutil.copyfileobj(file, copy)


def _is_shared(found: os.stat_result) -> bool:
    return found.st_nlink > 1


class Journal:
    """The journal of one run, open for appending.

    Args:
        folder: the run's.
        settings: what the bytes of its outputs follow from.
        plan: the lines of whose items can be asked for by their place in it.
        names: the files that are wanted of an item.
        force: a journal of other settings is begun anew; in one of these, what is no longer wanted is dropped.

    Raises:
        UsageError: the folder holds a run with other settings.
        OutputError: it cannot be written.
    """

    def __init__(
        self,
        folder: str,
        settings: Mapping[str, Any],
        plan: Plan,
        names: Callable[[Item], Iterable[str]],
        *,
        force: bool,
    ) -> None:
        self.folder = Path(folder)
        self._items, self._names = plan.items, names
        self._is_files = settings["form"] == "files"
        self._is_over = plan.hopeless.__contains__ if self._is_files and not force else lambda _: True
        self._path = self.folder / JOURNAL
        self._header = line_of({"settings": settings})
        self._offsets = array("q", [_NOTHING]) * len(plan.items)
        self.sealed: dict[str, str] = {}
        self.stay: list[str] = []  # files that are not what was written, and were not taken away
        self._sealed_at = _NOTHING
        self._others: dict[str, dict[str, Any]] = {}  # of pictures of which nothing is wanted any more
        self._renamed: set[int] = set()  # items with files that are not wanted of them any more
        with told_of(self._path), ExitStack() as undo:
            self._file = undo.enter_context(open(self._path, "a+b", opener=itself))
            if self._is_of(settings, force=force):
                self._others = self._read()
            else:
                self._begin()
            undo.pop_all()  # see close

    def _is_of(self, settings: Mapping[str, Any], *, force: bool) -> bool:
        """Whether the file is this run's, as far as it got."""
        self._file.seek(0)
        first = self._file.readline()
        before = _settings_of(first)
        if before == settings and first.endswith(b"\n"):
            self._header = first  # where one has 3, another may have 3.0
            return True
        if not first.endswith(b"\n") or force:  # killed before its first line was whole
            return False
        told = f"{shown(self.folder)} holds a run with other settings"
        if before is None:
            told, why = f"{shown(self._path)} is damaged", "its first line does not say what run it is of"
        else:
            why = _difference(before, settings)
        raise UsageError(told, why=why, hint="--force starts anew, another -o keeps both")

    def _begin(self) -> None:
        self._file.seek(0)
        before = _settings_of(self._file.readline())
        shutil.rmtree(self.folder / PARTS, ignore_errors=True)
        for record in self.records():
            take_away(self.folder, record.get("sealed", {}))
            if before and before.get("form") == "files":  # else these were parts
                take_away(self.folder, record.get("files", {}))
        self._file.truncate(0)
        self._file.seek(0)
        self._file.write(self._header)
        self._sync()
        self._end = len(self._header)

    @property
    def gone(self) -> int:
        """How many pictures there are glimpses of, and nothing is wanted of any more."""
        return len(self._others)

    def _read(self) -> dict[str, dict[str, Any]]:
        """Note where each item's last line is, and where the last whole line ends; returns what is of no item."""
        places = {item.image: n for n, item in enumerate(self._items)}
        others: dict[str, dict[str, Any]] = {}
        end = len(self._header)
        for line in iter(self._file.readline, b""):
            if not line.endswith(b"\n"):
                break
            record = parsed(line)
            if "sealed" in record:
                self.sealed, self._sealed_at = record["sealed"], end
            elif (n := places.get(record.get("image", ""))) is not None:
                self._offsets[n] = end
                if set(self._names(self._items[n])).issuperset(record["files"]):
                    self._renamed.discard(n)
                else:
                    self._renamed.add(n)
            elif record.get("rows"):
                others[record["image"]] = record
            elif record:  # it failed in the end, and left nothing
                others.pop(record["image"], None)
            end += len(line)
        self._file.truncate(end)
        self._end = end
        return others

    def release(self, below: Path) -> None:
        """Take away what is not wanted any more, and what one picture had under a name that another wants now.

        Args:
            below: the folder that the names of files are relative to.

        Raises:
            OutputError: the disk is full, or the like.
        """
        for image in filter(self._is_over, list(self._others)):
            record = self._others.pop(image)
            if self._is_files:  # what is put together anew is without them
                self.stay += take_away(self.folder, record["files"])
            self._write(checked_line_of({"image": image, "files": {}, "rows": [], "errors": []}))
        if not self._renamed and not self._others:
            return
        owners = {name: n for n, item in enumerate(self._items) for name in self._names(item)}
        for n in self._renamed:
            record = parsed(self.line(n) or b"")
            if taken := {name for name in record["files"] if owners.get(name, n) != n}:
                self.append(n, self._without(record, taken, below))
        for image, record in list(self._others.items()):
            if taken := record["files"].keys() & owners.keys():
                line = self._without(record, taken, below)
                self._write(line)
                self._others[image] = parsed(line)
                if not self._others[image]["rows"]:
                    del self._others[image]

    def _without(self, record: Mapping[str, Any], taken: AbstractSet[str], below: Path) -> bytes:
        """A picture's line without some of its files, and the masks of those, which are taken away."""
        masks = {row.get("mask_file_name") for row in record.get("rows", ()) if row["file_name"] in taken}
        taken |= masks & record["files"].keys()
        self.stay += take_away(below, {name: record["files"][name] for name in taken})
        files = {name: found for name, found in record["files"].items() if name not in taken}
        rows = [row for row in record.get("rows", ()) if row["file_name"] in files]
        return checked_line_of({**record, "files": files, "rows": rows})

    def records(self) -> Iterator[dict[str, Any]]:
        """Every whole line but the first."""
        self._file.seek(0)
        self._file.readline()
        for line in self._file:
            if record := parsed(line):
                yield record

    def line(self, n: int) -> bytes | None:
        """The line of the plan's n-th item, where there is one."""
        offset = self._offsets[n]
        if offset == _NOTHING:
            return None
        self._file.seek(offset)
        return self._file.readline()

    def append(self, n: int, line: bytes) -> None:
        """Note what came of the plan's n-th item.

        Raises:
            OutputError: the disk is full, or the like.
        """
        self._write(line)
        self._offsets[n] = self._end - len(line)

    def seal(self, files: Mapping[str, str]) -> None:
        """Note that everything so far is in these files, which were put together at the end; with their hashes."""
        self._write(checked_line_of({"sealed": files}))
        self._sync()
        self.sealed, self._sealed_at = dict(files), self._end

    @property
    def is_all_sealed(self) -> bool:
        """Whether nothing was noted since the last seal, as by a run that was killed before it could make one."""
        return all(offset < self._sealed_at for offset in self._offsets)

    def is_sealed(self, n: int) -> bool:
        """Whether the plan's n-th item was done before the last seal."""
        return _NOTHING < self._offsets[n] < self._sealed_at

    def _write(self, line: bytes) -> None:
        with told_of(self._path):
            self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._file.flush()
        self._end += len(line)

    def _sync(self) -> None:
        with told_of(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file."""
        with suppress(OSError):
            self._file.close()


def _settings_of(line: bytes) -> dict[str, Any] | None:
    """What a journal's first line says; None where it is no such line."""
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        return None
    settings = header.get("settings") if isinstance(header, dict) else None
    return settings if isinstance(settings, dict) else None


def files_in(line: bytes | None) -> dict[str, str]:
    """The files that a picture's line lists: hash by name."""
    files: dict[str, str] = parsed(line).get("files", {}) if line is not None else {}
    return files


def _difference(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> str:
    """The first setting that is another one, in words."""
    for key in {**now, **before}:
        was, is_ = before.get(key), now.get(key)
        if was == is_:
            continue
        if isinstance(was, dict) and isinstance(is_, dict) and was.keys() == is_.keys():
            return _difference(was, is_, f"{within}{key} ")
        rest = f"and now is {_short(is_)}" if key in now else "which this version does not know"
        return f"{within}{shown(key)} was {_short(was)}, {rest}"
    return "it was written by another version"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
