"""Files that a killed run left under their names before the journal could say so.

A worker gives files their names, and only then does the journal get its line: a kill between the two leaves a glimpse
that is the run's and that no line lists. So before a file gets a name, or a name another content, the name and the
content's hash are noted. A file that has the content which was noted, and not by its picture's line, is a stray: it is
taken away, and made again if it is still wanted. A file with any other content may be a user's, and stays.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from glimpse_cli.batch.journal import Journal, files_in
from glimpse_cli.batch.lines import append, checked_line_of, parsed
from glimpse_cli.batch.own import OWN, take_away
from glimpse_cli.batch.plan import Plan
from glimpse_cli.errors import OutputError
from glimpse_cli.files import write_whole

_NOTES = f"{OWN}/landing.jsonl"


def note(folder: str, some: Iterable[tuple[str, Mapping[str, str]]]) -> None:
    """Say which files are about to get their names.

    The notes are not flushed to the disk: they are for a killed process. Where a whole system goes down they may be
    lost, and a stray then is known by its content once it is made again.

    Args:
        folder: the run's.
        some: (picture, hash by name); all that are new to the journal.

    Raises:
        OSError: the disk is full, or the like.
    """
    lines = b"".join(checked_line_of({"image": image, "files": files}) for image, files in some if files)
    if not lines:
        return
    path = Path(folder, _NOTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    append(path, lines)


def remove(folder: str, journal: Journal, plan: Plan) -> None:
    """Take strays away, and forget the notes; of pictures that are not wanted now nothing is touched or forgotten."""
    places = {item.image: n for n, item in enumerate(plan.items)}
    for image, files in _noted(folder):
        if image in places or image in plan.hopeless:
            listed = files_in(journal.line(places[image])) if image in places else {}
            take_away(folder, {name: found for name, found in files.items() if listed.get(name) != found})
    forget(folder, plan)


def forget(folder: str, plan: Plan) -> None:
    """Drop the notes on the plan's pictures, once the journal lists every file that they name."""
    wanted = plan.hopeless.union(item.image for item in plan.items)
    left = [{"image": image, "files": files} for image, files in _noted(folder) if image not in wanted]
    with suppress(OSError, OutputError):
        if left:
            write_whole(Path(folder, _NOTES), b"".join(map(checked_line_of, left)))
        else:
            Path(folder, _NOTES).unlink()


def _noted(folder: str) -> Iterator[tuple[str, dict[str, str]]]:
    with suppress(FileNotFoundError), Path(folder, _NOTES).open("rb") as lines:
        for record in map(parsed, lines):
            if "image" in record:
                yield record["image"], record["files"]
