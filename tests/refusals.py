"""How a refusal looks, for every command, and what may bring one about."""

import os
from pathlib import Path


def files():
    """Every file below the working folder."""
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def refused(result, code, *words):
    """One error of at most three lines, the right code, and nothing on stdout."""
    assert result.exit_code == code, result.output
    lines = result.stderr.splitlines()
    assert 1 <= len(lines) <= 3, lines
    assert lines[0].startswith("error: ")
    assert all(line.startswith(("why: ", "try: ")) for line in lines[1:])
    for word in words:
        assert word in result.stderr
    assert result.stdout == ""
    return True


def enterable_alone(patched, folder):
    """Neither a folder nor those above it may be read: they may be entered, as /home on many a shared machine."""
    genuine = os.listdir

    def listed(path):
        if Path(path) in {folder, *folder.parents}:
            raise PermissionError(13, "Permission denied", str(path))
        return genuine(path)

    patched.setattr(os, "listdir", listed)
