"""What stands beside the glimpses: ``metadata.jsonl``, ``errors.jsonl``, ``run.json``; each whole or not at all.

They are written at the end, in the plan's order, from the journal: a run that was killed and taken up again writes
the same bytes as one that was not.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from glimpse_cli.batch.journal import Journal
from glimpse_cli.batch.lines import line_of
from glimpse_cli.batch.own import ERRORS, METADATA, PLACE_COLUMNS, RUN
from glimpse_cli.batch.plan import Form, Plan, Want
from glimpse_cli.batch.written import Written

Done = Iterable[tuple[int, dict[str, Any]]]  # (place in the plan, row)
Placed = Callable[[int, int, dict[str, Any]], dict[str, Any]]  # (place in the plan, among the done, row) -> row


def write_tables(plan: Plan, journal: Journal, written: Written, rows: Iterable[bytes]) -> None:
    """``metadata.jsonl``, a row a glimpse, and ``errors.jsonl``, a row for each that failed.

    Args:
        plan: whose order they have.
        journal: which knows what failed.
        written: what writes them.
        rows: the lines of `metadata`.
    """
    with written.whole(METADATA) as file:
        for line in rows:
            file.write(line)
    with written.whole(ERRORS) as file:
        for failure in plan.failures:
            file.write(line_of(failure.told()))
        for n in range(len(plan.items)):
            for error in _record(journal, n)["errors"]:
                file.write(line_of(error))


def metadata(done: Done, placed: Placed) -> Iterator[bytes]:
    """The lines of ``metadata.jsonl``: done rows with the columns that say where their glimpses are."""
    for index, (position, row) in enumerate(done):
        yield line_of(placed(position, index, row))


def done(plan: Plan, journal: Journal, form: Form) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every glimpse there is: its place among all that are wanted, and its row; in order.

    What a table says of a glimpse is taken from the plan: it may have changed since the glimpse was made.
    """
    position = 0
    for n, item in enumerate(plan.items):
        rows = {row["file_name"]: row for row in _record(journal, n)["rows"]}
        for want in item.wants:
            if want.name in rows:
                yield position, _labelled(rows[want.name], want, form)
            position += 1


def _labelled(row: dict[str, Any], want: Want, form: Form) -> dict[str, Any]:
    """A row with what its table says: id and number ahead of the report, the columns that travel behind it."""
    if want.row is None:
        return row
    head = {key: row[key] for key in ("file_name", "source")}
    told = {**head, "id": want.row.id, "row": want.row.number, **row}
    taken = {*told} if form == "files" else {*told, *PLACE_COLUMNS}
    for name, value in want.row.extra.items():
        key = name
        while key in taken:
            key += "_"
        taken.add(key)
        told[key] = value
    return told


def _record(journal: Journal, n: int) -> dict[str, Any]:
    line = journal.line(n)
    return {"rows": [], "errors": [], **(json.loads(line) if line is not None else {})}


def write_run(written: Written, document: Mapping[str, Any]) -> None:
    """``run.json``, for people."""
    with written.whole(RUN) as file:
        file.write(json.dumps(document, indent=1).encode() + b"\n")
