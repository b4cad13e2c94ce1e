"""Tables of places: a file's text -> rows with a `Look` each, every error with its file, line, column and value.

A table that is broken as a whole is refused; a row that is wrong is a `BadRow` among the others.
Verbs: `read`, `parse`.
"""

import csv
import gc
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from glimpse_cli.errors import GlimpseError, ParameterError, PictureError, UsageError
from glimpse_cli.files import read_bytes, read_stream, shown
from glimpse_cli.places import BoxPlace, CombPlace, GridPlace, Look, Pair, Place, box_numbers, parse_number

if TYPE_CHECKING:
    from glimpse_cli.glimpse import Method
    from glimpse_cli.kernels import Padding

# The columns that spell a place, and those that may go with them; anything else travels into the manifest.
_SPELLINGS = {
    "box": ("x0", "y0", "x1", "y1"),
    "xywh": ("x", "y", "w", "h"),
    "comb": ("u_y", "u_x"),
    "grid": ("scale_y", "scale_x", "shift_y", "shift_x"),
}
_STEP, _WIDTH = ("d_y", "d_x"), ("s_y", "s_x")
_OPTIONAL = ("method", "width", "height", "id")

_LONGEST_NUMBER = 100  # characters; 17 digits are all that float64 keeps
_LONGEST_SHOWN = 60
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_NOT_IN_AN_ID = re.compile(r"[/\\\x00-\x1f\x7f]")


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
        where: ``line 3``, for a person.
        image: as it was written.
        look: where and how.
        id: the row's own name, one that a file name can carry.
        extra: the other columns.
    """

    number: int
    where: str
    image: str
    look: Look
    id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is wrong; the other rows are none the worse.

    Args:
        number: which row of the table, from 1.
        where: ``line 3``, for a person.
        image: as it was written, where it was.
        error: file, line, column, value.
    """

    number: int
    where: str
    image: str | None
    error: GlimpseError


@dataclass(frozen=True, slots=True)
class _Record:
    """A row before it means anything: its values by column, or what is wrong with it already."""

    where: str
    values: Mapping[str, Any]
    problem: str | None = None


def read(path: str, defaults: Defaults, stdin: BinaryIO | None = None) -> list[Row | BadRow]:
    """Read a table; its suffix says what it is.

    Args:
        path: ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``, COCO ``.json``, or ``-``: JSON lines on ``stdin``.
        defaults: what holds for every row.
        stdin: where ``-`` reads.

    Raises:
        UsageError: the table as a whole is broken, or its suffix is none of these.
        InputError: it is missing or cannot be read.
    """
    suffix = ".jsonl" if path == "-" else Path(path).suffix.lower()
    if suffix not in _FORMS:
        raise UsageError(f"{shown(path)} is no kind of table", why=f"a table ends in {', '.join(_FORMS)}")
    name = "standard input" if stdin is not None and path == "-" else shown(path)
    try:
        data = read_stream(stdin, name) if stdin is not None and path == "-" else read_bytes(path)
    except PictureError as error:  # empty, or too large: a table that is broken as a whole
        raise UsageError(error.what) from error
    return parse(data, name, suffix, defaults)


def parse(data: bytes, name: str, suffix: str, defaults: Defaults) -> list[Row | BadRow]:
    """A table's bytes -> its rows, in its own order.

    Args:
        data: the whole file.
        name: what errors call it.
        suffix: ``.csv``, ``.tsv``, ``.jsonl``, ``.json`` or ``.parquet``.
        defaults: what holds for every row.

    Raises:
        UsageError: the table as a whole is broken.
    """
    with _uncollected():
        columns, records = _FORMS[suffix](data, name)
        spelling = _spelling(columns, name)
        rows = [_row(record, number, name, spelling, defaults) for number, record in enumerate(records, 1)]
    if not rows:
        raise UsageError(f"{name} has no rows")
    return rows


@contextmanager
def _uncollected() -> Iterator[None]:
    """Rows hold no cycles: looking for some among a hundred thousand takes a fifth of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


# Forms: bytes -> the columns there are, and a record a row.

_Table = tuple[Sequence[str], Iterable[_Record]]


def _csv(data: bytes, name: str) -> _Table:
    return _separated(_text(data, name), name, ",")


def _tsv(data: bytes, name: str) -> _Table:
    return _separated(_text(data, name), name, "\t")


def _separated(text: str, name: str, separator: str) -> _Table:
    lines = _lines(text, name, separator)
    _, header = next(lines, (0, []))
    columns = [column.strip() for column in header]
    if len(columns) == 1:
        _refuse_other_separator(columns[0], name, separator)
    named = [column for column in columns if column]  # a data frame's index comes without a name
    for column in named:
        if named.count(column) > 1:
            raise UsageError(f"{name} has two columns {column!a}", hint="rename or drop one of them")
    return named, (_separated_record(line, columns, values) for line, values in lines)


def _lines(text: str, name: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(first line, values) of every row that is not blank."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for values in reader:
            if values:
                yield line, values
            line = reader.line_num + 1
    except csv.Error as error:
        hint = (
            "is a quotation mark left open?"
            if "unexpected end" in str(error) or "expected after" in str(error)
            else None
        )
        raise UsageError(f"{name}, line {line}: the row cannot be read", why=str(error), hint=hint) from error


def _separated_record(line: int, columns: Sequence[str], values: Sequence[str]) -> _Record:
    where, problem = f"line {line}", None
    if len(values) < len(columns):
        problem = f"column {columns[len(values)]}: the row ends before it, with {_count(values)} of {len(columns)}"
    elif len(values) > len(columns):
        problem = f"{_count(values)} for {len(columns)} columns, from {_quoted(values[len(columns)])} on too many"
    return _Record(where, {column: value for column, value in zip(columns, values) if column}, problem)  # noqa: B905 - a row of another length is told above


def _count(values: Sequence[str]) -> str:
    return "1 value" if len(values) == 1 else f"{len(values)} values"


def _refuse_other_separator(header: str, name: str, separator: str) -> None:
    for other, called in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")):
        if other in header and other != separator:
            raise UsageError(
                f"{name}: its columns are separated by {called}: {_quoted(header)}",
                hint="a .csv is separated by commas, a .tsv by tabs, and decimals have a point",
            )


def _json_lines(data: bytes, name: str) -> _Table:
    lines = _text(data, name).split("\n")  # not splitlines(): U+2028 is a character of JSON
    records = [_json_record(line, n, name) for n, line in enumerate(lines, 1) if line and not line.isspace()]
    columns: dict[str, None] = {}
    for record in records:
        columns.update(dict.fromkeys(record.values))
    return list(columns), records


def _json_record(line: str, number: int, name: str) -> _Record:
    value = _json(line, f"{name}, line {number}")
    if not isinstance(value, dict):
        raise UsageError(f"{name}, line {number}: {_quoted(value)} is no JSON object", hint='{"image": "a.jpg", ...}')
    return _Record(f"line {number}", value)


def _coco(data: bytes, name: str) -> _Table:
    document = _json(_text(data, name), name)
    parts = [document.get(key) if isinstance(document, dict) else None for key in ("images", "annotations")]
    for key, part in zip(("images", "annotations"), parts, strict=True):
        if not isinstance(part, list):
            raise UsageError(f"{name} is no COCO file: it has no list of {key}", hint="JSON lines end in .jsonl")
    images = _named(parts[0], name, "images")
    names = {
        key: image["name"] for key, image in _named_or_none(document.get("categories"), name).items() if "name" in image
    }
    records = [_annotation(n, item, images, names) for n, item in enumerate(parts[1] or ())]
    return ("image", *_SPELLINGS["xywh"], "id"), records


def _named_or_none(items: Any, name: str) -> dict[Any, Mapping[str, Any]]:
    return {} if items is None else _named(items, name, "categories")


def _named(items: Any, name: str, key: str) -> dict[Any, Mapping[str, Any]]:
    """COCO's images or categories by their id."""
    if not isinstance(items, list):
        raise UsageError(f"{name} is no COCO file: its {key} are no list")
    found: dict[Any, Mapping[str, Any]] = {}
    for n, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get("id"), (int, str)):
            raise UsageError(f"{name}: {key}[{n}] has no id")
        if item["id"] in found:
            raise UsageError(f"{name}: {key}[{n}] has the id {_quoted(item['id'])} of another")
        found[item["id"]] = item
    return found


def _annotation(n: int, item: Any, images: Mapping[Any, Mapping[str, Any]], names: Mapping[Any, Any]) -> _Record:
    where = f"annotations[{n}]"
    if not isinstance(item, dict):
        return _Record(where, {}, f"{_quoted(item)} is no annotation")
    key, box = item.get("image_id"), item.get("bbox")
    image = images.get(key) if isinstance(key, (int, str)) else None
    if image is None:
        return _Record(where, {}, f"image_id: {_quoted(key)} is none of the images")
    values = {"image": image.get("file_name"), "id": item.get("id")}
    if not isinstance(box, list) or len(box) != len(_SPELLINGS["xywh"]):
        return _Record(where, values, f"bbox: {_quoted(box)} is not [x, y, width, height]")
    values.update(zip(_SPELLINGS["xywh"], box, strict=True))
    category = item.get("category_id")
    if isinstance(category, (int, str)) and category in names:
        values["category"] = names[category]
    own = {*values, "image_id", "bbox", "segmentation", "method", "width", "height"}
    return _Record(where, values | {key: value for key, value in item.items() if key not in own})


def _parquet(data: bytes, name: str) -> _Table:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            f"{name}: reading parquet needs pyarrow, which is not installed", hint="pip install 'glimpse-cli[parquet]'"
        ) from error
    try:
        table = parquet.read_table(arrow.BufferReader(data))
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise UsageError(f"{name} is no parquet file", why=str(error).partition("\n")[0]) from error
    return table.column_names, [_Record(f"row {n}", values) for n, values in enumerate(table.to_pylist(), 1)]


_FORMS: dict[str, Callable[[bytes, str], _Table]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _json_lines,
    ".json": _coco,
    ".parquet": _parquet,
}


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{name} is not UTF-8", why=f"line {line} has the byte 0x{data[error.start]:02x}", hint="save it as UTF-8"
        ) from error


class _NotJson(str):
    """A number's text that Python's parser takes and that we do not: NaN, Infinity, thousands of digits."""

    __slots__ = ()


def _json(text: str, where: str) -> Any:
    """A JSON value, where a `_NotJson` stands for a number that is none.

    Raises:
        UsageError: not JSON at all, a key twice in an object, or nested too deep to be read.
    """
    try:
        return _decode(text)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON", why=str(error)) from error
    except RecursionError as error:
        raise UsageError(f"{where}: the JSON is nested too deep") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {_quoted(max(keys, key=keys.count))} is there twice")
    return values


def _int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else _NotJson(digits)


_decode = json.JSONDecoder(parse_constant=_NotJson, parse_int=_int, object_pairs_hook=_object).decode


# Meaning: the columns and the values.


def _spelling(columns: Sequence[str], name: str) -> str:
    """Which spelling a table's columns are, exactly one.

    Raises:
        UsageError: a column is missing, or there are two spellings.
    """
    present = set(columns)
    found = f"its columns are {', '.join(map(shown, columns)) or 'none'}"
    if "image" not in present:
        raise UsageError(f"{name}: the column image is missing", why=found)
    whole = [key for key, names in _SPELLINGS.items() if present.issuperset(names)]
    if len(whole) > 1:
        two = " and ".join(",".join(_SPELLINGS[key]) for key in whole)
        raise UsageError(f"{name}: its columns say the place more than once: {two}", hint="keep one of them")
    if not whole:
        nearest = max(_SPELLINGS.values(), key=lambda names: len(present.intersection(names)) / len(names))
        missing = next(column for column in nearest if column not in present)
        raise UsageError(f"{name}: the column {missing} is missing", why=found, hint=_ASK)
    for pair in (_STEP, _WIDTH) if whole[0] == "comb" else (_WIDTH,):
        if len(present.intersection(pair)) == 1:
            missing = next(column for column in pair if column not in present)
            raise UsageError(f"{name}: the column {missing} is missing", why=found)
    return whole[0]


_ASK = "image and " + " or ".join(",".join(names) for names in _SPELLINGS.values())


def _row(record: _Record, number: int, name: str, spelling: str, defaults: Defaults) -> Row | BadRow:
    image = record.values.get("image")
    try:
        return _good_row(record, number, spelling, defaults)
    except ParameterError as error:
        told = ParameterError(f"{name}, {record.where}: {error.what}", why=error.why, hint=error.hint)
        return BadRow(number, record.where, image if isinstance(image, str) else None, told)


def _good_row(record: _Record, number: int, spelling: str, defaults: Defaults) -> Row:
    values = record.values
    if record.problem:
        raise ParameterError(record.problem)
    image = values.get("image")
    if not isinstance(image, str) or not image:
        raise ParameterError(f"column image: {_quoted(image)} is no file name")
    look = _look(values, spelling, defaults)
    return Row(number, record.where, image, look, _id(values), _extra(values, spelling))


def _look(values: Mapping[str, Any], spelling: str, defaults: Defaults) -> Look:
    method = values.get("method") or defaults.method
    if not isinstance(method, str | None):
        raise ParameterError(f"column method: {_quoted(method)} is no method")
    place = _place(values, spelling, defaults)
    s = _optional_pair(values, _WIDTH)
    for axis, width in zip(_WIDTH, s or (), strict=False):
        if width <= 0:
            raise ParameterError(f"column {axis}: s must be above 0 px, got {width:g}")
    if s is None and (method or ("stn" if spelling == "grid" else "gaussian")) == "gaussian":
        s = defaults.s
    return Look(place, _size(values, defaults.size), method, defaults.padding, s)  # type: ignore[arg-type]  # Look checks its name


def _place(values: Mapping[str, Any], spelling: str, defaults: Defaults) -> Place:
    numbers = [_number(values, column) for column in _SPELLINGS[spelling]]
    if spelling == "comb":
        return CombPlace(Pair(*numbers), _optional_pair(values, _STEP) or Pair(1.0, 1.0))
    if spelling == "grid":
        return GridPlace(Pair(*numbers[:2]), Pair(*numbers[2:]))
    a, b, c, d = numbers
    if spelling == "xywh":
        for column, side in (("w", c), ("h", d)):
            if side <= 0:
                raise ParameterError(f"column {column}: a box's side must be above 0, got {side:g}")
        a, b, c, d = box_numbers(a, b, c, d, "xywh")
    return BoxPlace((a, b, c, d), defaults.normalized, defaults.margin, defaults.keep_aspect)


def _number(values: Mapping[str, Any], column: str) -> float:
    value = values.get(column)
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        return parse_number(value, f"column {column}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if isfinite(number):
            return number
    raise ParameterError(f"column {column}: {_quoted(value)} is not a number")


def _optional_pair(values: Mapping[str, Any], columns: tuple[str, str]) -> Pair | None:
    if all(values.get(column) in (None, "") for column in columns):
        return None
    return Pair(*(_number(values, column) for column in columns))


def _size(values: Mapping[str, Any], default: tuple[int, int]) -> tuple[int, int]:
    height, width = (_whole(values, column, side) for column, side in zip(("height", "width"), default, strict=True))
    return height, width


def _whole(values: Mapping[str, Any], column: str, default: int) -> int:
    value = values.get(column)
    if value in (None, ""):
        return default
    text = _plain(value)
    if not text or not _WHOLE.fullmatch(text.strip()) or not int(text):
        raise ParameterError(f"column {column}: {_quoted(value)} is not a whole number of pixels above 0")
    return int(text)


def _id(values: Mapping[str, Any]) -> str | None:
    value = values.get("id")
    if value in (None, ""):
        return None
    text = _plain(value)
    if text is None or _NOT_IN_AN_ID.search(text):
        raise ParameterError(f"column id: {_quoted(value)} cannot be part of a file name")
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
    try:
        text = json.dumps(value, allow_nan=False)
    except TypeError:
        return str(value)
    except ValueError:
        text = ""
    if isinstance(value, _NotJson) or not text:
        raise ParameterError(f"column {column}: {_quoted(value)} is no number of JSON")
    return value


def _quoted(value: Any) -> str:
    """A value as it may be shown in an error: short, and without control characters."""
    text = ascii(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text)} characters)"
