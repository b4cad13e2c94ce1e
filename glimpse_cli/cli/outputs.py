"""What commands share about the pictures they are given, the files they write, and how they end."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import quote

from glimpse_cli import files
from glimpse_cli.errors import GlimpseError, OutputError, UsageError

PIPE = "-"  # stdin as an input, stdout as an output
FINISHED_WITH_FAILURES = 3


def read(image: str) -> bytes:
    """The bytes of a picture, or of stdin."""
    return files.read_stream(sys.stdin.buffer, name_of(image)) if image == PIPE else files.read_bytes(image)


def name_of(image: str) -> str:
    """What a picture is called."""
    return "stdin" if image == PIPE else image


def told(error: GlimpseError | MemoryError, image: str) -> GlimpseError:
    """What is said of a picture that failed."""
    if isinstance(error, GlimpseError):
        return error
    from glimpse_cli.items import out_of_memory  # noqa: PLC0415 - numpy and Pillow, which `glimpse --help` does not pay for

    return out_of_memory(name_of(image))


def require_folder(path: Path, images: int) -> None:
    """Refuse a folder for several outputs that is an existing file, or that has the name of a picture."""
    if os.path.lexists(path) and not files.is_folder(path):
        raise UsageError(f"-o {files.shown(path)} is a file, and a folder is needed", hint="-o FOLDER/")
    if not files.is_folder(path) and path.suffix[1:].lower() in files.FORMATS:
        raise UsageError(f"{images} pictures need a folder, got -o {files.shown(path)}", hint="-o FOLDER/")


def check(outputs: Sequence[tuple[Path, str]], images: Sequence[str], *, replaced: bool) -> None:
    """Refuse before anything is started: two outputs of one name, an output that is an input, one that exists.

    Args:
        outputs: where each goes, and the input that it is of, or the option that asks for it.
        images: the inputs.
        replaced: whether an output may exist.
    """
    if images.count(PIPE) > 1:
        raise UsageError("stdin is one picture, and - is given twice", hint="- once")
    there = [image for image in images if image != PIPE and _identity(image)]
    inputs = {_identity(image) for image in there}
    places = {files.folded(place): place for place in map(os.path.realpath, there)}
    seen: dict[str, str] = {}
    for path, of in outputs:
        name = files.folded(os.path.normpath(path))
        if name in seen:
            raise _two_of_one_name(path, seen[name], of)
        seen[name] = of
        is_there = os.path.lexists(path)
        place = os.path.realpath(path) if is_there else ""
        other = places.get(files.folded(place))
        if _identity(path) in inputs or (other and not files.are_listed(place, other)):
            raise UsageError(f"the output {files.shown(path)} is also an input", hint="another -o")
        if is_there and not replaced:
            raise OutputError(f"{files.shown(path)} exists", hint="--force to replace it, or another name")


def _two_of_one_name(path: Path, first: str, second: str) -> UsageError:
    if first == second:
        return UsageError(f"{files.shown(first)} is given twice", hint="name it once")
    return UsageError(
        f"{files.shown(first)} and {files.shown(second)} both want the name {files.shown(path)}",
        hint="a command for each, with another -o",
    )


def require_places(paths: Iterable[Path], made: Path | None = None) -> None:
    """Refuse outputs that could not be written, before the work and not after it.

    Args:
        paths: of the outputs.
        made: a folder that will be made.

    Raises:
        OutputError: a folder that is not there or stands where a file is to be.
        InputError: there is no working folder.
    """
    for path in paths:
        cannot = f"cannot write {files.shown(path)}"
        if path.parent != made and not files.is_folder(path.parent):
            if not path.is_absolute():
                files.working_folder()  # says if it is this that is not there
            folder = files.shown(path.parent)
            there = next(way for way in path.parents if os.path.lexists(way))
            if not files.is_folder(there):
                raise OutputError(cannot, why=f"{files.shown(there)} is no folder", hint="another name")
            dashed = "-- " * folder.startswith("-")
            raise OutputError(cannot, why=f"there is no folder {folder}", hint=f"mkdir -p {dashed}{quote(folder)}")
        if files.is_folder(path):
            raise OutputError(cannot, why="it is a folder", hint="another name")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """What tells a file, by whatever name or link; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a str or a Path
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
