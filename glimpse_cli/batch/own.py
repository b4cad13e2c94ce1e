"""What is a run's own: the names it keeps for itself, the names inside its folder, and the files it wrote.

A file is a run's exactly where it has the content that a run of the folder noted for its name; any other is a user's.
Only the run's are taken away or replaced: a user's stays where it is, and only where a run must make a file of its own
anew it is first set aside, in the hidden folder. ``--force`` alone replaces a user's.
"""

import os
import shutil
import stat
from collections.abc import Container, Iterable, Mapping
from functools import partial
from hashlib import blake2b
from itertools import count
from pathlib import Path

from glimpse_cli.errors import OutputError
from glimpse_cli.files import discard, make_folder, shown, told_of

# Beside the glimpses; and the folder, hidden, in which a run keeps what it needs to be taken up again.
METADATA, ERRORS, RUN, OWN = "metadata.jsonl", "errors.jsonl", "run.json", ".glimpse"
JOURNAL = f"{OWN}/journal.jsonl"
PARTS = f"{OWN}/parts"  # of what is put together at the end
ASIDE = f"{OWN}/aside"  # what is no run's, and lay where one had to write

# What ``metadata.jsonl`` says beside a picture's own columns where glimpses are put together (see `gather.placed`).
PLACE_COLUMNS = ("name", "index", "shard", "key", "mask_file_name")

_CHUNK = 2**20


def is_within(folder: str | Path, name: str) -> bool:
    """Whether a name, relative to a folder, is one of a file inside it once the links on the way are followed.

    The last part may be a link: to take it away or to replace it leaves alone what it leads to.
    """
    way = Path(name)
    if ".." in way.parts:
        return False
    try:
        return Path(folder, way.parent).resolve().is_relative_to(Path(folder).resolve())
    except (OSError, RuntimeError, ValueError):  # links that lead round in a circle, a NUL
        return False


def take_away(folder: str | Path, files: Mapping[str, str]) -> list[str]:
    """Take away files of a folder, hash by name, where they still are what was written.

    Returns the names of those that are something else now: these stay.
    """
    stay = []
    for name, found in files.items():
        path = Path(folder, name)
        if not is_within(folder, name):  # a journal is a file that others may have written, and a folder may be a link
            continue
        if hash_of_file(path) == found:
            discard(path)
        elif os.path.lexists(path):
            stay.append(name)
    return stay


def set_aside(folder: str | Path, name: str, ours: Container[str]) -> None:
    """Keep what is no run's, as none of these hashes says, out of the way of a file of this name.

    Args:
        folder: the run's.
        name: relative to it; or absolute, of a file that may lie anywhere.
        ours: the hashes of what runs wrote there.

    Raises:
        OutputError: it cannot be moved.
    """
    path = Path(folder, name)
    is_elsewhere = Path(name).is_absolute()
    if not (is_elsewhere or is_within(folder, name)) or (path.is_dir() and not path.is_symlink()):
        return  # writing will say so
    found = hash_of_file(path)
    if not os.path.lexists(path) or found == hash_of(b"") or found in ours:
        return
    places = (f"{ASIDE}/{n}/{path.name if is_elsewhere else name}" for n in count(1))
    free = (place for place in places if is_within(folder, place) and not _is_taken(Path(folder, place)))
    kept = Path(folder, next(free))
    make_folder(kept.parent)
    with told_of(path):
        shutil.move(path, kept)  # a folder of a name may be another disk


def _is_taken(path: Path) -> bool:
    """Whether a file has this name, or that of a folder on the way there."""
    try:
        path.lstat()
    except OSError as error:
        return isinstance(error, NotADirectoryError)
    return True


def kept_aside(folder: str | Path) -> int:
    """How many files were set aside and are there still."""
    return sum(len(names) for _, _, names in os.walk(Path(folder, ASIDE)))


def exists(path: Path, instead: str = "-o") -> OutputError:
    """What no run wrote lies where this one would write; ``instead`` is the option that names another place."""
    return OutputError(f"{shown(path)} exists", hint=f"--force to replace it, or another {instead}")


def hash_of(data: bytes) -> str:
    """What tells one content from another."""
    return hash_of_pieces((data,))


def hash_of_pieces(pieces: Iterable[bytes]) -> str:
    """`hash_of` of the pieces one after the other."""
    found = blake2b(digest_size=16)
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def hash_of_file(path: Path) -> str | None:
    """The hash of a file of any size; None where there is none that can be read, or a link to one."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # a FIFO would be waited for
            return None
        with path.open("rb", buffering=0) as file:
            return hash_of_pieces(iter(partial(file.read, _CHUNK), b""))
    except (OSError, ValueError):
        return None
