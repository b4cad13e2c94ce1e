"""The contact sheet: one picture of the first glimpses, wherever it is wanted.

It may lie anywhere, also among the pictures that are read. A sheet that a run noted (see `written`) is replaced by the
next one and never taken for an input; any other file is a user's.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glimpse_cli import draw, images
from glimpse_cli.batch.own import exists, hash_of, hash_of_file
from glimpse_cli.batch.written import Known, known, note, place_of
from glimpse_cli.errors import OutputError
from glimpse_cli.files import FORMATS, is_folder, make_folder, shown, told_of, whole

COUNT = 60  # glimpses on a sheet
CELL = 160  # pixels of the long side of one


def is_known(place: str, sheets: Known) -> bool:
    """Whether a file is one of these sheets, as it was made."""
    return place in sheets and hash_of_file(Path(place)) in sheets[place]


def refuse_foreign(path: str, folder: str, *, force: bool) -> None:
    """Only a sheet of an earlier run is replaced without being told to; what is no file, never.

    Raises:
        OutputError: there is something else.
    """
    if is_folder(path):
        raise OutputError(f"cannot write {shown(path)}", why="it is a folder", hint="another --contact-sheet")
    replaceable = force and os.path.isfile(path)  # noqa: PTH113 - what may not be looked at is none
    if os.path.lexists(path) and not replaceable and not is_known(place_of(path), known(folder)):
        raise exists(Path(path), instead="--contact-sheet")


def make(path: str, folder: str, glimpses: Iterable[tuple[str, NDArray[np.uint8]]]) -> None:
    """Draw a sheet of (name, uint8 glimpse), of which one at a time is held as large as it is.

    Where there is none, the sheet of an earlier run goes: what it shows is no more.
    """
    pairs = [(shown(name), _reduced(glimpse)) for name, glimpse in glimpses]
    if not pairs:
        if is_known(place_of(path), known(folder)):
            with told_of(Path(path)):
                Path(path).unlink(missing_ok=True)
        return
    names, pictures = zip(*pairs, strict=True)
    sheet = draw.contact_sheet(pictures, names, cell=CELL)
    data = images.encode_picture(sheet, FORMATS[Path(path).suffix[1:].lower()])
    make_folder(Path(path).parent)
    place, found = place_of(path), hash_of(data)
    if list(known(folder).get(place, ()))[-1:] != [found]:
        note(folder, place, found)
    token = hash_of(b"%b\0%b" % (os.fsencode(os.path.realpath(folder)), os.fsencode(place)))[:16]
    with whole(Path(path), token=token) as file:  # outside the folder, nobody else takes away what a kill leaves
        file.write(data)


def _reduced(glimpse: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A glimpse larger than its cell as the sheet will show it; a smaller one as it is, to be enlarged there."""
    from glimpse_cli.draw import paper  # noqa: PLC0415 - it brings a typeface, which only a sheet pays for

    return paper.scaled(paper.rgb(glimpse), (CELL, CELL)) if max(glimpse.shape[:2]) > CELL else glimpse
