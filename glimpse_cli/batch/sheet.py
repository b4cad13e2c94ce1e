"""The contact sheet: one picture of the first glimpses, wherever it is wanted.

It may lie anywhere, also among the pictures that are read. A sheet that a run noted (see `written`) is replaced by the
next one and never taken for an input; what else has come to lie where one was drawn is first set aside.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glimpse_cli import draw, images
from glimpse_cli.batch.own import exists, hash_of_file
from glimpse_cli.batch.written import Known, Written, known, place_of
from glimpse_cli.errors import OutputError
from glimpse_cli.files import FORMATS, is_folder, make_folder, shown, told_of

COUNT = 60  # glimpses on a sheet
CELL = 160  # pixels of the long side of one


def is_known(place: str, sheets: Known) -> bool:
    """Whether a file is one of these sheets, as it was made."""
    return place in sheets and hash_of_file(Path(place)) in sheets[place]


def refuse_foreign(path: str, folder: str, *, force: bool) -> None:
    """Only where an earlier run drew its sheet is one drawn without being told to; over what is no file, never.

    Raises:
        OutputError: there is something else.
    """
    if is_folder(path):
        raise OutputError(f"cannot write {shown(path)}", why="it is a folder", hint="another --contact-sheet")
    replaceable = force and os.path.isfile(path)  # noqa: PTH113 - what may not be looked at is none
    if os.path.lexists(path) and not replaceable and place_of(path) not in known(folder):
        raise exists(Path(path), instead="--contact-sheet")


def make(path: str, written: Written, glimpses: Iterable[tuple[str, NDArray[np.uint8]]]) -> None:
    """Draw a sheet of (name, uint8 glimpse), of which one at a time is held as large as it is.

    Where there is none, the sheet of an earlier run goes: what it shows is no more.
    """
    pairs = [(shown(name), _reduced(glimpse)) for name, glimpse in glimpses]
    if not pairs:
        if is_known(place_of(path), written.known):
            with told_of(Path(path)):
                Path(path).unlink(missing_ok=True)
        return
    names, pictures = zip(*pairs, strict=True)
    sheet = draw.contact_sheet(pictures, names, cell=CELL)
    data = images.encode_picture(sheet, FORMATS[Path(path).suffix[1:].lower()])
    make_folder(Path(path).parent)
    with written.whole(written.name_of(path)) as file:
        file.write(data)


def _reduced(glimpse: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A glimpse larger than its cell as the sheet will show it; a smaller one as it is, to be enlarged there."""
    from glimpse_cli.draw import paper  # noqa: PLC0415 - it brings a typeface, which only a sheet pays for

    return paper.scaled(paper.rgb(glimpse), (CELL, CELL)) if max(glimpse.shape[:2]) > CELL else glimpse
