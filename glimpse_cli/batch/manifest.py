"""What stands beside the glimpses: ``metadata.jsonl``, ``errors.jsonl``, ``run.json``; each whole or not at all.

They are written at the end, in the plan's order, from the journal: a run that was killed and taken up again writes
the same bytes as one that was not.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from glimpse_cli.batch.journal import Journal, line_of
from glimpse_cli.batch.landing import whole
from glimpse_cli.batch.own import ERRORS, METADATA, RUN
from glimpse_cli.batch.plan import Plan
from glimpse_cli.files import write_whole

Placed = Callable[[int, int, dict[str, Any]], dict[str, Any]]  # (place in the plan, among the done, row) -> row


def write_tables(plan: Plan, journal: Journal, folder: Path, placed: Placed) -> None:
    """``metadata.jsonl``, a row a glimpse, and ``errors.jsonl``, a row for each that failed.

    Args:
        plan: whose order they have.
        journal: which knows what came of it.
        folder: where they go.
        placed: a done row with the columns that say where its glimpse is.
    """
    with whole(folder / METADATA) as file:
        for line in metadata(plan, journal, placed):
            file.write(line)
    with whole(folder / ERRORS) as file:
        for failure in plan.failures:
            file.write(line_of(failure.told()))
        for n in range(len(plan.items)):
            for error in _record(journal, n)["errors"]:
                file.write(line_of(error))


def metadata(plan: Plan, journal: Journal, placed: Placed) -> Iterator[bytes]:
    """The lines of ``metadata.jsonl``."""
    for index, (position, row) in enumerate(done(plan, journal)):
        yield line_of(placed(position, index, row))


def done(plan: Plan, journal: Journal) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every glimpse there is: its place among all that are wanted, and its row; in order."""
    position = 0
    for n, item in enumerate(plan.items):
        rows = {row["file_name"]: row for row in _record(journal, n)["rows"]}
        for want in item.wants:
            if want.name in rows:
                yield position, rows[want.name]
            position += 1


def _record(journal: Journal, n: int) -> dict[str, Any]:
    line = journal.line(n)
    return json.loads(line) if line is not None else {"rows": [], "errors": []}


def write_run(folder: Path, document: Mapping[str, Any]) -> None:
    """``run.json``, for people."""
    write_whole(folder / RUN, json.dumps(document, indent=1).encode() + b"\n")
