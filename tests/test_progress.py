"""How far a run is, as a terminal shows it."""

import io
import re
import sys
from itertools import count
from types import SimpleNamespace

from glimpse_cli.batch import Progress
from glimpse_cli.cli import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_not_in_the_red_of_an_error_and_keeps_its_numbers_on_a_narrow_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    for name, value in (("COLUMNS", "42"), ("TERM", "xterm-256color"), ("COLORTERM", "")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    seconds = count()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    with progress._bar() as show:
        for done in range(40):
            show(Progress(rows=6000, done=done, failed=2))
    written = sys.stderr.getvalue()
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", written)]
    assert any("41/6000" in line and "2 failed" in line and "images/s" in line for line in lines)
    assert not any("…" in line for line in lines)
    assert "\x1b[32m━" in written
    assert "38;5;197" not in written
