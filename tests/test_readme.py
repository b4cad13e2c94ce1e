"""The README is run: every console session prints what it shows, every Python block runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from batches import PROGRESS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SESSIONS = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def desk(tmp_path):
    """A folder like the one a reader stands in, where nothing of the checkout can be overwritten."""
    shutil.copytree(ROOT / "sample_images", tmp_path / "sample_images")
    return tmp_path


def environment():
    here = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "110"}


def steps(session):
    """(command, output) of a pasted session."""
    for step in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, _, output = step.partition("\n")
        yield command, output


def pattern(output):
    """What was printed, to the letter, but for the seconds it took."""
    return r" in [0-9.]+ s".join(re.escape(part) for part in re.split(r" in [0-9.]+ s", output))


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.splitlines()[0][2:50])
def test_a_session_prints_what_it_shows(session, desk):
    for command, output in steps(session):
        done = subprocess.run(
            ["bash", "-c", f"{{ {command}\n}} 2>&1"], cwd=desk, env=environment(), stdout=subprocess.PIPE, check=False
        )
        said = PROGRESS.sub("", done.stdout.decode())
        assert re.fullmatch(pattern(output), said), said
        assert done.returncode == 0 or "error: " in output


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0][:40])
def test_a_block_runs(block, desk):
    script = desk / "block.py"
    script.write_text(block, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script], cwd=desk, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_there_are_sessions_and_blocks():
    assert len(SESSIONS) >= 3
    assert len(BLOCKS) >= 1
