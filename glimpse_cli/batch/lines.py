"""Lines of JSON, each of which tells whether it is what was written: what a run notes survives kills and bad disks."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glimpse_cli.batch.own import hash_of
from glimpse_cli.files import itself

_CHECK = b',"check":"'
_OF_A_ROW = {"file_name", "source", "warnings"}
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT


def line_of(record: Mapping[str, Any]) -> bytes:
    r"""A record as a line; half a character of a name that is not UTF-8 becomes JSON's own ``\udcff``."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"


def checked_line_of(record: Mapping[str, Any]) -> bytes:
    """A record as a line that tells whether it is what was written; see `parsed`."""
    body = line_of(record)[:-2]
    return body + _CHECK + hash_of(body).encode() + b'"}\n'


def parsed(line: bytes) -> dict[str, Any]:
    """The record of a line of `checked_line_of`, or nothing where a failing disk left something else."""
    body, _, check = line.rpartition(_CHECK)
    if check != hash_of(body).encode() + b'"}\n':
        return {}
    try:
        record = json.loads(body + b"}")
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and _is_shaped(record) else {}


def _is_shaped(record: Mapping[str, Any]) -> bool:
    """Whether it is of the shape that runs write: what has the right hash may still be somebody else's."""
    if "image" not in record:
        return _are_texts(record.get("sealed"))
    if not isinstance(record["image"], str) or not _are_texts(record.get("files")):
        return False
    rows, source = record.get("rows", []), record.get("input", {"stamp": None})
    return (
        _are_texts(record.get("looks", {}))
        and isinstance(source, dict)
        and "stamp" in source
        and all(isinstance(each, list) for each in (rows, record.get("errors", [])))
        and all(isinstance(row, dict) and row.keys() >= _OF_A_ROW and isinstance(row["file_name"], str) for row in rows)
        and all(isinstance(row.get("mask_file_name", ""), str) for row in rows)
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def append(path: Path, lines: bytes, *, durable: bool = False) -> None:
    """Add lines to a file that others may add to at the same time.

    Args:
        path: of a folder that is there.
        lines: whole ones.
        durable: wait until they are on the disk.

    Raises:
        OSError: the disk is full, or the like.
    """
    descriptor = itself(path, _APPEND)
    try:
        # one write, for others write too; what an earlier one could not end is a line of its own
        if os.write(descriptor, b"\n" + lines) <= len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
