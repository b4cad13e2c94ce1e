"""Pictures, settings and commands for the tests of batch."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from glimpse_cli import batch, tables
from glimpse_cli.batch.journal import checked_line_of, parsed
from glimpse_cli.cli.app import app
from glimpse_cli.combs import Box
from glimpse_cli.glimpse import Spec, extract
from glimpse_cli.places import BoxPlace, Look
from glimpse_cli.tables import Defaults

SIZE = (5, 7)
BOX = (3, 2, 17.5, 19)
LOOK = Look(BoxPlace(BOX), SIZE)


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (23, 31, 3), np.uint8)


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed)).save(path)
    return path


def settings(photos, out, **changes):
    return replace(batch.Settings((str(photos),), str(out), LOOK, jobs=2), **changes)


def of_table(photos, out, text, suffix=".csv", **changes):
    rows = tables.parse(text.encode(), "t" + suffix, suffix, Defaults(size=SIZE))
    return settings(photos, out, look=None, rows=rows, base=str(photos), **changes)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tree(folder):
    """Every file a user sees, but for the clock's."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".glimpse" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != "run.json"}


def expected(seed, box=BOX):
    glimpse = extract(pixels(seed), Spec.from_box(Box(*box), SIZE))
    return np.floor(glimpse * 255 + 0.5).astype(np.uint8)


def names(plan):
    return [want.name for item in plan.items for want in item.wants]


def rewritten(out, change):
    """The journal's records, with the header left as it is, changed by hand."""
    journal = out / ".glimpse" / "journal.jsonl"
    head, *rest = journal.read_bytes().splitlines(keepends=True)
    records = [parsed(line) for line in rest]
    for record in records:
        change(record)
    journal.write_bytes(head + b"".join(map(checked_line_of, records)))


def with_sheet(photos, out, path, **changes):
    return settings(photos, out, contact_sheet=str(path), **changes)


def named(patched, path, error):
    """What happens where one file is to get its name."""
    genuine = Path.replace

    def replaced(self, target):
        if target == path:
            raise error
        return genuine(self, target)

    patched.setattr(Path, "replace", replaced)


HEAD = "image,x0,y0,x1,y1\n"
PROGRESS = re.compile(r"^\d+ of \d+: \d+ done, .* images/s\n", re.MULTILINE)  # where a machine is busy


def interrupted(*_, **__):
    raise KeyboardInterrupt


def typed(*arguments, **options):
    return CliRunner().invoke(app, ["batch", *map(str, arguments)], **options)


def command(*arguments, **options):
    done = subprocess.run(
        [sys.executable, "-m", "glimpse_cli", "batch", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    done.stderr = PROGRESS.sub("", done.stderr)
    return done
