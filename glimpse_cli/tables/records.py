"""A table's bytes -> the columns there are and a record a row, before either means anything.

A table that is broken as a whole is refused; of a row that is broken the record says so.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from typing import Any

from glimpse_cli.errors import UsageError
from glimpse_cli.files import MAX_BYTES, shown

XYWH = ("x", "y", "w", "h")  # a box by its corner and its sides, as COCO's are
LONGEST_NUMBER = 100  # characters; 17 digits are all that float64 keeps
_LONGEST_SHOWN = 60
_BATCH = 1024  # rows of a parquet that are unpacked at a time, to see how large they are


@dataclass(frozen=True, slots=True)
class Record:
    """A row before it means anything: where it stands, its values by column, or what is wrong with it already."""

    where: str
    values: Mapping[str, Any]
    problem: str | None = None


_Table = tuple[Sequence[str], Iterable[Record]]


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
    _refuse_twins(named, name)
    return named, (_separated_record(f"{name}, line {line}", columns, values) for line, values in lines)


def _refuse_twins(columns: Sequence[str], name: str) -> None:
    for column, count in Counter(columns).items():
        if count > 1:
            raise UsageError(f"{name} has two columns {quoted(column)}", hint="rename or drop one of them")


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


def _separated_record(where: str, columns: Sequence[str], values: Sequence[str]) -> Record:
    problem = None
    if len(values) < len(columns):
        first = short(shown(columns[len(values)]))
        problem = f"column {first}: the row ends before it, with {_count(values)} of {len(columns)}"
    elif len(values) > len(columns):
        problem = f"{_count(values)} for {len(columns)} columns, from {quoted(values[len(columns)])} on too many"
    return Record(where, {column: value for column, value in zip(columns, values) if column}, problem)  # noqa: B905 - a row of another length is told above


def _count(values: Sequence[str]) -> str:
    return "1 value" if len(values) == 1 else f"{len(values)} values"


def _refuse_other_separator(header: str, name: str, separator: str) -> None:
    for other, called in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")):
        if other in header and other != separator:
            raise UsageError(
                f"{name}: its columns are separated by {called}: {quoted(header)}",
                hint="a .csv is separated by commas, a .tsv by tabs, and decimals have a point",
            )


def _json_lines(data: bytes, name: str) -> _Table:
    lines = _text(data, name).split("\n")  # not splitlines(): U+2028 is a character of JSON
    numbered = enumerate(lines, 1)
    records = [_json_record(line, f"{name}, line {n}") for n, line in numbered if line and not line.isspace()]
    columns: dict[str, None] = {}
    for record in records:
        columns.update(dict.fromkeys(record.values))
    return list(columns), records


_OBJECT_A_LINE = 'JSON lines, an object a line: {"image": "a.jpg", ...}'


def _json_record(line: str, where: str) -> Record:
    value = _json(line, where, _OBJECT_A_LINE)
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {quoted(value)} is no JSON object", hint=_OBJECT_A_LINE)
    return Record(where, value)


def _coco(data: bytes, name: str) -> _Table:
    document = _json(_text(data, name), name)
    parts = [document.get(key) if isinstance(document, dict) else None for key in ("images", "annotations")]
    for key, part in zip(("images", "annotations"), parts, strict=True):
        if not isinstance(part, list):
            hint = None if any(isinstance(other, list) for other in parts) else "JSON lines end in .jsonl"
            raise UsageError(f"{name} is no COCO file: it has no list of {key}", hint=hint)
    images = _named(parts[0], name, "images")
    names = {
        key: image["name"] for key, image in _named_or_none(document.get("categories"), name).items() if "name" in image
    }
    records = [_annotation(f"{name}, annotations[{n}]", item, images, names) for n, item in enumerate(parts[1] or ())]
    return ("image", *XYWH, "id"), records


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
            raise UsageError(f"{name}: {key}[{n}] has the id {quoted(item['id'])} of another")
        found[item["id"]] = item
    return found


def _annotation(where: str, item: Any, images: Mapping[Any, Mapping[str, Any]], names: Mapping[Any, Any]) -> Record:
    if not isinstance(item, dict):
        return Record(where, {}, f"{quoted(item)} is no annotation")
    key, box = item.get("image_id"), item.get("bbox")
    image = images.get(key) if isinstance(key, (int, str)) else None
    if image is None:
        return Record(where, {}, f"image_id: {quoted(key)} is none of the images")
    values = {"image": image.get("file_name"), "id": item.get("id")}
    if not isinstance(box, list) or len(box) != len(XYWH):
        return Record(where, values, f"bbox: {quoted(box)} is not [x, y, width, height]")
    values.update(zip(XYWH, box, strict=True))
    category = item.get("category_id")
    if isinstance(category, (int, str)) and category in names:
        values["category"] = names[category]
    own = {*values, "image_id", "bbox", "segmentation", "method", "width", "height"}
    return Record(where, values | {key: value for key, value in item.items() if key not in own})


def _parquet(data: bytes, name: str) -> _Table:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            f"{name}: reading parquet needs pyarrow, which is not installed", hint="pip install 'glimpse-cli[parquet]'"
        ) from error
    broken = (arrow.ArrowException, OSError, ValueError, ArithmeticError)  # the last two of a date that Python has not
    try:
        file = parquet.ParquetFile(arrow.BufferReader(data))
        size = 0
        for batch in file.iter_batches(_BATCH):  # a few bytes may say of a billion rows that they are equal
            # a data frame's categories come with every batch, all of them; of a column of nothing, nbytes are none
            plain = (c.dictionary_decode() if isinstance(c, arrow.DictionaryArray) else c for c in batch.columns)
            size += sum(column.nbytes for column in plain) + 8 * batch.num_rows
            if size > MAX_BYTES:
                raise UsageError(f"{name} holds more than {MAX_BYTES / 2**20:g} MiB", hint="several tables")
        columns = file.schema_arrow.names
        _refuse_twins(columns, name)
        rows = file.read().to_pylist()
    except broken as error:
        raise UsageError(f"{name} is no parquet file", why=str(error).partition("\n")[0]) from error
    return columns, [Record(f"{name}, row {n}", values) for n, values in enumerate(rows, 1)]


FORMS: dict[str, Callable[[bytes, str], _Table]] = {
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
        line, byte = error.object.count(b"\n", 0, error.start) + 1, error.object[error.start]  # behind a mark, if any
        raise UsageError(
            f"{name} is not UTF-8", why=f"line {line} has the byte 0x{byte:02x}", hint="save it as UTF-8"
        ) from error


class NotJson(str):
    """A number's text that Python's parser takes and that we do not: NaN, Infinity, thousands of digits."""

    __slots__ = ()


def _json(text: str, where: str, hint: str | None = None) -> Any:
    """A JSON value, where a `NotJson` stands for a number that is none.

    Raises:
        UsageError: not JSON at all, a key twice in an object, or nested too deep to be read.
    """
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if "\n" in text else f"column {error.colno}"
        raise UsageError(f"{where}: not JSON", why=f"{error.msg}: {place}", hint=hint) from error
    except ValueError as error:
        raise UsageError(f"{where}: not JSON", why=str(error), hint=hint) from error
    except RecursionError as error:
        raise UsageError(f"{where}: the JSON is nested too deep") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {quoted(key)} is there twice")
    return values


def _int(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_NUMBER else NotJson(digits)


_decode = json.JSONDecoder(parse_constant=NotJson, parse_int=_int, object_pairs_hook=_object).decode


def quoted(value: Any) -> str:
    """A value as it may be shown in an error: short, and without control characters."""
    return short(ascii(value))


def short(text: str, most: int = _LONGEST_SHOWN) -> str:
    """A text of which an error has the beginning, where it is long."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
