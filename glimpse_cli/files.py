"""Bytes come from a regular file or a stream, bounded, and go to disk whole or not at all.

Nothing here knows what the bytes mean. Verbs: `read_bytes`, `read_stream`, `write_whole`, `whole`, `shown`.
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from unicodedata import normalize

from glimpse_cli.errors import InputError, OutputError, PictureError, Reason

MAX_BYTES = 512 * 2**20
LONGEST_NAME = 255  # bytes of one part of a path, on every file system in use
LONGEST_PATH = 4095  # bytes of a path that Linux takes; macOS takes a quarter
_CHUNK = 2**20

# What the suffix of an output says of its format
FORMATS = {"png": "png", "jpg": "jpg", "jpeg": "jpg", "webp": "webp", "tiff": "tiff", "tif": "tiff", "npy": "npy"}

# A name that no user would choose: what a killed run leaves behind can be told from everything else.
_TEMPORARY = re.compile(r"\.glimpse-[0-9a-f]{16}\.tmp")

# Absent on Windows, where a FIFO does not block and text translation must be switched off.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read_bytes(path: str | Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The whole of a regular file; a link is followed, a FIFO or a device is refused without waiting for it.

    Args:
        path: any name the file system takes, also one that is not UTF-8 (surrogate escapes).
        max_bytes: the most that is read, in bytes.

    Raises:
        InputError: the file is missing, not a regular file, or cannot be read.
        PictureError: it is empty, or larger than ``max_bytes`` (nothing of it was read then).
    """
    try:
        descriptor = os.open(path, _READ)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if is_folder(path):  # Windows opens none
            raise _irregular(path, stat.S_IFDIR) from error
        raise InputError(f"cannot open {shown(path)}", why=_reason(error)) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _irregular(path, found.st_mode)
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            if found.st_size > max_bytes:
                raise _too_large(shown(path), max_bytes)
            # Asking for the size it has spares the copies of a growing buffer; one byte more sees it grow.
            return _bounded(file, shown(path), max_bytes, first=found.st_size + 1)
    except OSError as error:
        raise InputError(f"cannot read {shown(path)}", why=_reason(error)) from error
    finally:
        os.close(descriptor)


def read_stream(stream: BinaryIO, name: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Everything a stream such as stdin gives, with the bounds of `read_bytes`.

    Args:
        stream: read to its end, blocking.
        name: what errors call it.
        max_bytes: the most that is kept; one byte more and the rest is left unread.

    Raises:
        InputError: reading failed.
        PictureError: the stream is empty, or longer than ``max_bytes``.
    """
    try:
        return _bounded(stream, shown(name), max_bytes, first=_CHUNK)
    except OSError as error:
        raise InputError(f"cannot read {shown(name)}", why=_reason(error)) from error


def write_whole(path: str | Path, data: bytes) -> None:
    """Put ``data`` at ``path`` so that every reader sees all of it or what was there before.

    It has an ordinary file's permissions. A target that is a link is replaced, not what it points to.

    Raises:
        OutputError: the folder is missing, the disk is full, or the target is no regular file.
    """
    write_together({Path(path): data})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """`write_whole` of several files: none gets its name before all of them are on the disk.

    Raises:
        OutputError: as for `write_whole`.
    """
    for path in contents:
        _require_file(path)
    temporaries: dict[Path, Path] = {}
    try:
        for path, data in contents.items():
            temporaries[path] = temporary_beside(path)
            with told_of(path), temporaries[path].open("xb") as file:
                file.write(data)
                _sync(file)
        for path, temporary in temporaries.items():
            with told_of(path):
                temporary.replace(path)
    except BaseException:  # KeyboardInterrupt as well: nothing may stay behind
        for temporary in temporaries.values():
            discard(temporary)
        raise
    for folder in {path.parent for path in contents}:
        flush_folder(folder)


@contextmanager
def whole(path: Path, before: Callable[[Path], None] | None = None, token: str | None = None) -> Iterator[BinaryIO]:
    """A file that is written piece by piece and is at ``path`` only when all of it is on the disk.

    A hidden temporary file in the same folder is written, flushed to the disk and renamed onto the target. On any
    failure it is removed, and what was at ``path`` is untouched.

    Args:
        path: where it will be.
        before: called with the temporary file before it gets its name.
        token: 16 hexadecimal digits of the temporary's name, where nobody else writes one of that name: what a killed
            writer left is replaced by the next one.

    Raises:
        OutputError: the disk is full, or the like.
    """
    temporary = temporary_beside(path, token)
    with told_of(path):
        try:
            if token:
                temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file:
                yield file
                _sync(file)
            if before:
                before(temporary)
            temporary.replace(path)
        except BaseException:  # KeyboardInterrupt as well: nothing may stay behind
            discard(temporary)
            raise
    flush_folder(path.parent)  # what it was made from may be removed now


def discard(path: Path) -> None:
    """Take a file away, if it is there and can be."""
    with suppress(OSError):
        path.unlink()


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """The system's refusals, as those of a file that is written.

    Raises:
        OutputError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def cannot_write(path: Path, error: OSError | ValueError) -> OutputError:
    """A file that could not be written, and why."""
    return OutputError(f"cannot write {shown(path)}", why=_reason(error))


def make_folder(path: str | Path) -> None:
    """A folder, and those it lies in, where they are not there yet.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot make the folder {shown(path)}", why=_reason(error)) from error


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder; what may not be looked at, or has a name that is too long, is none.

    ``Path.is_dir`` raises for these before Python 3.14.
    """
    return os.path.isdir(path)  # noqa: PTH112 - see above


def are_listed(path: str, other: str) -> bool:
    """Whether a folder lists both of two absolute paths that are `folded` to one, and that so are two.

    Of the disks that take A for a, some give each spelling a number of its own.
    """
    ways = Path(path).parts, Path(other).parts
    with suppress(OSError):  # a folder may be entered, and not be read
        differ = [(n, {*names}) for n, names in enumerate(zip(*ways, strict=True)) if len({*names}) > 1]
        return any(names <= {*os.listdir(Path(*ways[0][:n]))} for n, names in differ)  # noqa: PTH208 - names alone
    return False


def is_device(path: str | Path) -> bool:
    """Whether there is a device such as /dev/stdout; of what may not be looked at, as of `is_folder`."""
    with suppress(OSError, ValueError):
        return stat.S_ISCHR(os.stat(path).st_mode)  # noqa: PTH116 - a str or a Path
    return False


def working_folder() -> str:
    """The folder that names are relative to.

    Raises:
        InputError: it was removed, or it is somebody else's, as after ``sudo -u``.
    """
    try:
        here = os.getcwd()  # noqa: PTH109 - a string
        os.chdir(here)  # asks no more than whether it may be entered
    except OSError as error:
        what = "the working folder is gone, or may not be entered"
        raise InputError(what, why=_reason(error), hint="cd to another folder") from error
    return here


def itself(path: str | Path, flags: int) -> int:
    """An ``opener`` for `open`: the file of this name, and none that a link leads to, though it came a moment ago."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)


def flush(path: Path) -> None:
    """Wait until what was written at a path is on the disk.

    Raises:
        OSError: the disk failed, or has no more room.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Make the names that files were given in a folder durable, where the system can."""
    with suppress(OSError):  # Windows, and some network file systems, cannot flush a folder
        flush(folder)


def temporary_beside(path: Path, token: str | None = None) -> Path:
    """A name for a file, in the folder of the one that it will become."""
    return path.parent / f".glimpse-{token or secrets.token_hex(8)}.tmp"


def is_temporary(name: str) -> bool:
    """Whether a name is one of `temporary_beside`."""
    return _TEMPORARY.fullmatch(name) is not None


def shown(name: str | bytes | Path) -> str:
    r"""A file name as it may be shown anywhere: nothing in it can move a cursor or turn the text around.

    Control, bidirectional and zero-width characters become ``\x1b`` or ``\u202e``; a byte that is not UTF-8
    becomes ``\xff``, as does the surrogate that Python keeps for it. Other text, emoji included, stays; an empty
    name is a pair of quotes.
    """
    text = os.fsdecode(name) or "''"
    return text if text.isprintable() else "".join(map(_shown_character, text))


def folded(name: str) -> str:
    """A name as it is compared by a disk to which A and a, or two spellings of é, are the same."""
    if name.isascii():
        return name.lower()
    return normalize("NFC", normalize("NFD", name).casefold())


def _shown_character(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: the byte it stands for
        code -= 0xDC00
    width = 2 if code <= 0xFF else 4 if code <= 0xFFFF else 8
    return f"\\{'xuU'[(width > 2) + (width > 4)]}{code:0{width}x}"


def _bounded(stream: BinaryIO, name: str, max_bytes: int, first: int) -> bytes:
    parts, total, wanted = [], 0, first
    while total <= max_bytes:
        part = stream.read(min(wanted, max_bytes + 1 - total))
        if not part:
            break
        parts.append(part)
        total += len(part)
        wanted = _CHUNK
    if total > max_bytes:
        raise _too_large(name, max_bytes)
    if not total:
        raise PictureError(f"{name} is empty", Reason.EMPTY)
    return b"".join(parts)  # of one part, that part itself


def _too_large(name: str, max_bytes: int) -> PictureError:
    return PictureError(f"{name} is larger than {max_bytes / 2**20:g} MiB", Reason.TOO_LARGE)


def _require_file(path: Path) -> None:
    """Refuse to replace what is not a regular file: a rename onto /dev/null would destroy the device."""
    if len(os.fsencode(path.name)) > LONGEST_NAME:  # before its temporary file, which has a short one, is written
        raise OutputError(f"cannot write {shown(path)}", why=f"a name has {LONGEST_NAME} bytes at most")
    try:
        mode = path.stat().st_mode
        is_open = path.is_symlink() and _OF_OPEN_FILES.match(str(path.readlink())) is not None
    except OSError:  # nothing there: what is wrong with the name, writing will say
        return
    except ValueError as error:  # a name that no file can have
        raise cannot_write(path, error) from error
    if not stat.S_ISREG(mode):
        hint = "-o - writes to standard output" if stat.S_ISCHR(mode) else None
        raise OutputError(f"cannot write {shown(path)}", why=f"it is {_kind(mode)}", hint=hint)
    if is_open:
        why, hint = "it stands for a file that is open already", "-o - writes to standard output"
        raise OutputError(f"cannot write {shown(path)}", why=why, hint=hint)


# Where /dev/stdout leads: to replace such a link would take it from the whole system
_OF_OPEN_FILES = re.compile(r"(/proc/|/dev/fd/|fd/\d)")


def _reason(error: OSError | ValueError) -> str:
    """The system's words, without the unescaped name and the number that ``str`` would add."""
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else type(error).__name__
    return "the name holds a NUL character" if "null" in str(error) else os.strerror(errno.EINVAL)


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def _irregular(path: str | Path, mode: int) -> InputError:
    return InputError(f"{shown(path)} is {_kind(mode)}, not a regular file", hint=_hint(mode))


def _kind(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), "something else")


def _hint(mode: int) -> str | None:
    if stat.S_ISDIR(mode):
        return "glimpse batch reads folders"
    return "glimpse crop - reads standard input" if stat.S_ISFIFO(mode) else None
