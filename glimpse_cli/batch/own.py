"""What is a run's own: the names it keeps for itself, the names inside its folder, and the files it wrote.

Whatever a run takes away or replaces has passed through here: a name is one of its folder's (`is_within`), and a file
is as the run left it (`is_intact`) or the journal lists it.
"""

import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path

from glimpse_cli.errors import OutputError
from glimpse_cli.files import shown

# Beside the glimpses; and the folder, hidden, in which a run keeps what it needs to be taken up again.
METADATA, ERRORS, RUN, OWN = "metadata.jsonl", "errors.jsonl", "run.json", ".glimpse"
JOURNAL = f"{OWN}/journal.jsonl"
PARTS = f"{OWN}/parts"  # of what is put together at the end

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


def is_intact(path: Path, found: str) -> bool:
    """Whether a file, which is no link, has the content of this hash."""
    return hash_of_file(path) == found


def take_away(folder: str | Path, files: Mapping[str, str]) -> None:
    """Take away files of a folder, hash by name, where they still are what was written; nothing else is touched."""
    for name, found in files.items():
        # a journal is a file that others may have written, and a folder may be a link
        if is_within(folder, name) and is_intact(Path(folder, name), found):
            with suppress(OSError):
                Path(folder, name).unlink()


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
