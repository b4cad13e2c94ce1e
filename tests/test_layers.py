"""The rooms and the direction of the arrows: a module imports only rooms above it, and few know the heavy libraries."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import glimpse_cli

PACKAGE = Path(glimpse_cli.__file__).parent
ROOMS = [
    "errors", "mute", "combs", "kernels", "banks", "glimpse", "torch", "devices", "files", "images",
    "draw", "places", "tables", "items", "batch", "compare", "cli",
]  # fmt: skip
KNOWS = {  # who may import what, at any depth of the file
    "PIL": {"images", "draw"},
    "torch": {"torch", "devices"},
    "typer": {"cli"},
    "rich": {"cli"},
    "pebble": {"batch"},
    "triton": {"torch"},
}


def sources():
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        yield room, path


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively: its room would not be seen"
            yield node.module
            if node.module == "glimpse_cli":
                yield from (f"glimpse_cli.{alias.name}" for alias in node.names if alias.name in ROOMS)


def test_every_module_has_a_room():
    assert {room for room, _ in sources()} == {*ROOMS, "__init__", "__main__"}


def test_a_module_imports_only_rooms_above_it():
    for room, path in sources():
        if room.startswith("__"):
            continue
        for name in imports(path):
            top, _, rest = name.partition(".")
            if top == "glimpse_cli" and rest:
                other = rest.split(".")[0]
                assert ROOMS.index(other) <= ROOMS.index(room), f"{path} imports {name}"


def test_heavy_libraries_are_known_only_where_they_belong():
    for room, path in sources():
        for name in imports(path):
            allowed = KNOWS.get(name.split(".")[0])
            assert allowed is None or room in allowed, f"{path} imports {name}"


def loaded_after(code):
    script = f"import sys\n{code}\nprint(*sorted(m for m in ('numpy', 'PIL', 'torch') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("module", ["errors", "combs", "places", "tables"])
def test_what_help_needs_loads_no_numpy(module):
    assert loaded_after(f"import glimpse_cli.{module}") == []


def test_the_package_is_lazy_and_its_names_are_real():
    assert loaded_after("import glimpse_cli; glimpse_cli.Box") == []
    assert loaded_after("from glimpse_cli import *") == ["numpy"]
    for name in glimpse_cli.__all__:
        assert getattr(glimpse_cli, name) is not None
    with pytest.raises(AttributeError, match="glimps"):
        _ = glimpse_cli.glimps
