"""Records -> rows with a `Look` each, every error with its line, column and value."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, cast, get_args

from glimpse_cli.errors import GlimpseError, ParameterError, UsageError
from glimpse_cli.files import shown
from glimpse_cli.places import BoxPlace, CombPlace, GridPlace, Look, Pair, Place, box_numbers, parse_number
from glimpse_cli.tables.records import LONGEST_NUMBER, XYWH, NotJson, Record, quoted, short

if TYPE_CHECKING:
    from glimpse_cli.glimpse import Method
    from glimpse_cli.kernels import Padding

# The columns that spell a place, and those that may go with them; anything else travels into the manifest.
_SPELLINGS = {
    "box": ("x0", "y0", "x1", "y1"),
    "xywh": XYWH,
    "comb": ("u_y", "u_x"),
    "grid": ("scale_y", "scale_x", "shift_y", "shift_x"),
}
_BOXES = ("box", "xywh")
_STEP, _WIDTH = ("d_y", "d_x"), ("s_y", "s_x")
_OPTIONAL = ("method", "width", "height", "id")

_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_NOT_IN_AN_ID = re.compile(r"[/\\\x00-\x1f\x7f\ud800-\udfff]")  # nor half a character of JSON
_LONGEST_LIST = 400  # characters of columns that an error lists
_DEEPEST = 100  # lists in lists that travel: a value is pickled on its way to a worker, which takes a call for each


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the command line says about every row; a row's own columns go first.

    Args:
        size: (height, width) of a glimpse.
        method: as for `Look`.
        padding: as for `Look`.
        s: as for `Look`; rows of another method than gaussian leave it aside.
        normalized: boxes are fractions of the image.
        margin: as for `BoxPlace`.
        keep_aspect: as for `BoxPlace`.
    """

    size: tuple[int, int] = (64, 64)
    method: "Method | None" = None
    padding: "Padding | None" = None
    s: Pair | None = None
    normalized: bool = False
    margin: float = 0.0
    keep_aspect: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be looked at.

    Args:
        number: which row of the table, from 1.
        where: ``boxes.csv, line 3``, for a person: no part of what is wanted.
        image: as it was written.
        look: where and how.
        id: the row's own name, one that a file name can carry.
        extra: the other columns.
    """

    number: int
    where: str = field(repr=False)
    image: str
    look: Look
    id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is wrong; the other rows are none the worse.

    Args:
        number: which row of the table, from 1.
        where: ``boxes.csv, line 3``, for a person.
        image: as it was written, where it was.
        error: file, line, column, value.
    """

    number: int
    where: str
    image: str | None
    error: GlimpseError


def spelling_of(columns: Sequence[str], name: str, defaults: Defaults) -> str:
    """Which spelling a table's columns are, exactly one.

    Raises:
        UsageError: a column is missing, there are two spellings, or the defaults speak of boxes and there are none.
    """
    present = set(columns)
    found = f"its columns are {short(', '.join(map(shown, columns)), _LONGEST_LIST) or 'none'}"
    if "image" not in present:
        raise UsageError(f"{name}: the column image is missing", why=found, hint=_ASK)
    whole = [key for key, names in _SPELLINGS.items() if present.issuperset(names)]
    if len(whole) > 1:
        two = " and ".join(",".join(_SPELLINGS[key]) for key in whole)
        raise UsageError(f"{name}: its columns say the place more than once: {two}", hint="keep one of them")
    if not whole:
        shares = {names: len(present.intersection(names)) / len(names) for names in _SPELLINGS.values()}
        nearest = max(shares, key=shares.__getitem__)
        missing = next(column for column in nearest if column not in present)
        what = f"the column {missing} is missing" if shares[nearest] else "no columns say where to look"
        raise UsageError(f"{name}: {what}", why=found, hint=_ASK)
    meant = sorted(column for column, pair in _MISTAKEN.items() if column in present and not present & {*pair})
    if whole[0] == "comb" and meant:
        pairs = " and ".join(dict.fromkeys(",".join(_MISTAKEN[column]) for column in meant))
        raise UsageError(f"{name}: {' and '.join(meant)} would not say the place", why=found, hint=f"rename to {pairs}")
    for pair in (_STEP, _WIDTH) if whole[0] == "comb" else (_WIDTH,):
        if len(present.intersection(pair)) == 1:
            missing = next(column for column in pair if column not in present)
            raise UsageError(f"{name}: the column {missing} is missing", why=found)
    if whole[0] not in _BOXES and (of_boxes := _said_of_boxes(defaults)):
        go = "goes" if len(of_boxes) == 1 else "go"
        raise UsageError(f"{' and '.join(of_boxes)} {go} with boxes, and {name} has {','.join(_SPELLINGS[whole[0]])}")
    if "method" not in present:  # what no row could have is wrong for all of them
        Look(_SOMEWHERE[whole[0]], defaults.size, defaults.method, defaults.padding, defaults.s)
    return whole[0]


def _said_of_boxes(defaults: Defaults) -> list[str]:
    said = {"--normalized": defaults.normalized, "--margin": defaults.margin, "--keep-aspect": defaults.keep_aspect}
    return [name for name, given in said.items() if given]


_SOMEWHERE: dict[str, Place] = {
    "box": BoxPlace((0, 0, 1, 1)),
    "xywh": BoxPlace((0, 0, 1, 1)),
    "comb": CombPlace(Pair(0, 0), Pair(1, 1)),
    "grid": GridPlace(Pair(1, 1), Pair(0, 0)),
}


_ASK = "image and x0,y0,x1,y1 or x,y,w,h or u_y,u_x[,d_y,d_x][,s_y,s_x] or scale_y,scale_x,shift_y,shift_x"
# What a log calls them, and their columns: as mere labels they would send a glimpse elsewhere
_MISTAKEN = {name: pair for pair in (_STEP, _WIDTH) for name in (pair[0][0], pair[0][0] + "y", pair[0][0] + "x")}


def row_of(record: Record, number: int, spelling: str, defaults: Defaults) -> Row | BadRow:
    """What a record of a table of that spelling says, or what is wrong with it."""
    image = record.values.get("image")
    try:
        return _good_row(record, number, spelling, defaults)
    except ParameterError as error:
        return BadRow(number, record.where, image if isinstance(image, str) else None, error.at(record.where))


def _good_row(record: Record, number: int, spelling: str, defaults: Defaults) -> Row:
    values = record.values
    if record.problem:
        raise ParameterError(record.problem)
    image = values.get("image")
    if not isinstance(image, str) or isinstance(image, NotJson) or not image:
        raise ParameterError(f"column image: {quoted(image)} is no file name")
    look = _look(values, spelling, defaults)
    return Row(number, record.where, image, look, _id(values), _extra(values, spelling))


def _look(values: Mapping[str, Any], spelling: str, defaults: Defaults) -> Look:
    method = _method(values) or defaults.method
    place, size = _place(values, spelling, defaults), _size(values, defaults.size)
    s = _optional_pair(values, _WIDTH)
    for axis, width in zip(_WIDTH, s or (), strict=False):
        if width <= 0:
            raise ParameterError(f"column {axis}: s must be above 0 px, got {width:g}")
    meant = method or ("stn" if spelling == "grid" else "gaussian")
    if s is not None and meant != "gaussian":
        error = ParameterError(
            f"s is the gaussian's width; the method {meant} has none",
            hint="leave them empty, or gaussian in the column method",
        )
        raise _of_columns(error, _WIDTH)
    if s is None and meant == "gaussian":
        s = defaults.s
    look = partial(Look, size=size, method=method, padding=defaults.padding, s=s)
    try:
        return look(place)
    except ParameterError as error:
        look(_SOMEWHERE[spelling])  # what is wrong wherever one looks is no fault of the place
        raise _of_columns(error, _SPELLINGS[spelling]) from error


def _method(values: Mapping[str, Any]) -> "Method | None":
    method = values.get("method") or None
    if method is None:
        return None
    from glimpse_cli.glimpse import Method  # noqa: PLC0415 - numpy: `glimpse --help` does not pay for it

    known = get_args(Method)
    if method not in known:
        raise ParameterError(f"column method: {quoted(method)} is none of {', '.join(known)}")
    return cast("Method | None", method)


def _of_columns(error: ParameterError, columns: Sequence[str]) -> ParameterError:
    return error.at(f"column{'s' if len(columns) > 1 else ''} {','.join(columns)}")


def _place(values: Mapping[str, Any], spelling: str, defaults: Defaults) -> Place:
    numbers = [_number(values, column) for column in _SPELLINGS[spelling]]
    if spelling == "comb":
        return CombPlace(Pair(*numbers), _optional_pair(values, _STEP) or Pair(1.0, 1.0))
    if spelling == "grid":
        return GridPlace(Pair(*numbers[:2]), Pair(*numbers[2:]))
    a, b, c, d = numbers
    if spelling == "xywh":
        for column, name, side in (("w", "width", c), ("h", "height", d)):
            if side <= 0:
                raise ParameterError(f"column {column}: a box's {name} must be above 0, got {side:g}")
        a, b, c, d = box_numbers(a, b, c, d, "xywh")
    return BoxPlace((a, b, c, d), defaults.normalized, defaults.margin, defaults.keep_aspect)


def _number(values: Mapping[str, Any], column: str) -> float:
    value = values.get(column)
    if isinstance(value, str) and len(value) <= LONGEST_NUMBER:
        return parse_number(value, f"column {column}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)  # of some hundred digits at most
        if isfinite(number):
            return number
    raise ParameterError(f"column {column}: {quoted(value)} is not a number")


def _optional_pair(values: Mapping[str, Any], columns: tuple[str, str]) -> Pair | None:
    if all(values.get(column) in (None, "") for column in columns):
        return None
    return Pair(*(_number(values, column) for column in columns))


def _size(values: Mapping[str, Any], default: tuple[int, int]) -> tuple[int, int]:
    height, width = (_whole(values, column, side) for column, side in zip(("height", "width"), default, strict=True))
    if (height, width) != default:
        from glimpse_cli.glimpse import require_size  # noqa: PLC0415 - numpy: `glimpse --help` does not pay for it

        try:
            require_size((height, width))
        except ParameterError as error:
            said = [column for column in ("width", "height") if values.get(column) not in {None, ""}]
            raise _of_columns(error, said) from error
    return height, width


def _whole(values: Mapping[str, Any], column: str, default: int) -> int:
    value = values.get(column)
    if value in (None, ""):
        return default
    text = _plain(value)
    if not text or not _WHOLE.fullmatch(text.strip()) or not int(text):
        raise ParameterError(f"column {column}: {quoted(value)} is not a whole number of pixels above 0")
    return int(text)


def _id(values: Mapping[str, Any]) -> str | None:
    value = values.get("id")
    if value in (None, ""):
        return None
    text = None if isinstance(value, NotJson) else _plain(value)
    if text is None or _NOT_IN_AN_ID.search(text):
        raise ParameterError(f"column id: {quoted(value)} cannot be part of a file name")
    return text


def _plain(value: Any) -> str | None:
    """Text, or a whole number as text: data frames make 7 of a column with a gap into 7.0."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _extra(values: Mapping[str, Any], spelling: str) -> Mapping[str, Any]:
    own = _OWN[spelling]
    return {key: _jsonable(key, value) for key, value in values.items() if key not in own}


_OWN = {
    key: frozenset(("image", *names, *_WIDTH, *_OPTIONAL, *(_STEP if key == "comb" else ())))
    for key, names in _SPELLINGS.items()
}


def _jsonable(column: str, value: Any) -> Any:
    """What a manifest can carry: of what JSON has no word for, dates become text and a NaN is an error."""
    if type(value) in (str, int, bool, type(None)):
        return value
    flaw = _flaw(value)
    if flaw:
        raise ParameterError(f"column {short(shown(column))}: {flaw}")
    try:
        json.dumps(value)
    except TypeError:
        return str(value)
    return value


def _flaw(value: Any, depth: int = 0) -> str | None:
    """What keeps a value from travelling into a manifest."""
    if isinstance(value, NotJson) or (isinstance(value, float) and not isfinite(value)):
        return f"{quoted(value)} is no number of JSON"
    if not isinstance(value, (list, tuple, dict)):  # a map of parquet is a list of tuples
        return None
    if depth == _DEEPEST:
        return f"its value is nested deeper than {_DEEPEST}"
    parts = value.values() if isinstance(value, dict) else value
    return next((flaw for part in parts if (flaw := _flaw(part, depth + 1))), None)
