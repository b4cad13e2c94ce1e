"""How a refusal looks, for every command."""

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
