"""Bytes come from regular files only, bounded; they go to disk whole or not at all, whatever fails."""

import errno
import io
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glimpse_cli import files
from glimpse_cli.errors import InputError, OutputError, PictureError, Reason

DATA = bytes(range(256)) * 31


# --- read ---------------------------------------------------------------------------------------------------


def test_a_file_is_read_whole_through_a_link_and_by_any_name(tmp_path):
    for name in (
        "plain",
        "new\nline",
        "-dash",
        "[b]x",
        "\x1b[31m",
        "ü.jpg",
        os.fsdecode(b"\xff\xfe.jpg"),
        "a" * 255,
    ):
        (tmp_path / name).write_bytes(DATA)
        assert files.read_bytes(tmp_path / name) == DATA
        assert files.read_bytes(str(tmp_path / name)) == DATA
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    assert files.read_bytes(tmp_path / "link") == DATA


def test_a_stream_is_read_whole_in_whatever_pieces_it_comes():
    class Dripping(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 7))

    assert files.read_stream(Dripping(DATA), "stdin") == DATA


@pytest.mark.parametrize("size", [1, 99, 100])
def test_up_to_the_limit_is_read(tmp_path, size):
    (tmp_path / "f").write_bytes(DATA[:size])
    assert files.read_bytes(tmp_path / "f", max_bytes=100) == DATA[:size]
    assert files.read_stream(io.BytesIO(DATA[:size]), "stdin", max_bytes=100) == DATA[:size]


def test_more_than_the_limit_is_too_large_and_is_not_read_to_its_end(tmp_path):
    (tmp_path / "f").write_bytes(DATA[:101])
    with pytest.raises(PictureError, match="larger than") as caught:
        files.read_bytes(tmp_path / "f", max_bytes=100)
    assert caught.value.reason is Reason.TOO_LARGE
    endless = io.BytesIO(DATA)
    with pytest.raises(PictureError) as caught:
        files.read_stream(endless, "stdin", max_bytes=100)
    assert caught.value.reason is Reason.TOO_LARGE
    assert endless.tell() == 101

    class Halting(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 100))  # a pipe may give just the limit, and then the rest

    with pytest.raises(PictureError) as caught:
        files.read_stream(Halting(DATA), "stdin", max_bytes=100)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_sparse_giant_is_refused_before_memory_is_taken(tmp_path):
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(2**40)
    tracemalloc.start()
    with pytest.raises(PictureError) as caught:
        files.read_bytes(tmp_path / "giant", max_bytes=2**30)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.reason is Reason.TOO_LARGE
    assert taken < 2**20


def test_nothing_is_an_empty_file(tmp_path):
    (tmp_path / "f").touch()
    for read in (lambda: files.read_bytes(tmp_path / "f"), lambda: files.read_stream(io.BytesIO(), "stdin")):
        with pytest.raises(PictureError, match="is empty") as caught:
            read()
        assert caught.value.reason is Reason.EMPTY


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name, kind, instead in (
        ("fifo", "a pipe", "glimpse crop - reads standard input"),
        ("device", "a device", None),
        ("folder", "a folder", "glimpse batch reads folders"),
    ):
        with pytest.raises(InputError, match=kind) as caught:
            files.read_bytes(tmp_path / name)
        assert caught.value.hint == instead
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(InputError):
            files.read_bytes(tmp_path / "socket")


def test_a_folder_is_called_one_where_the_system_only_says_that_it_may_not_be_opened(tmp_path, monkeypatch):
    """As Windows does."""

    def refusing(path, *_):
        raise PermissionError(13, "Permission denied", path)

    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(InputError, match=r"is a folder, not a regular file \(try: glimpse batch reads folders\)"):
        files.read_bytes(tmp_path)
    with pytest.raises(InputError, match=r"cannot open .*: Permission denied"):
        files.read_bytes(tmp_path / "file")


def test_what_cannot_be_opened_says_why_and_shows_the_name_escaped(tmp_path):
    for name in ("missing\x1b[31m", "a" * 300, "nul\0l", "missing/folder"):
        with pytest.raises(InputError, match="cannot open") as caught:
            files.read_bytes(tmp_path / name)
        assert str(caught.value).isprintable()
        assert caught.value.why
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, why in (("loop", "symbolic links"), ("nul\0l", "the name holds a NUL character")):
        with pytest.raises(InputError, match=why):
            files.read_bytes(tmp_path / name)


def test_a_disk_that_fails_while_reading_is_an_input_error():
    class Failing(io.BytesIO):
        def read(self, _size=-1):
            raise OSError(errno.EIO, "")

    with pytest.raises(InputError, match="Input/output"):
        files.read_stream(Failing(), "stdin")
    with pytest.raises(InputError):  # what Linux has for a file that opens and cannot be read
        files.read_bytes("/proc/self/mem")


# --- write --------------------------------------------------------------------------------------------------


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_written_file_has_its_bytes_ordinary_permissions_and_no_neighbour(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_whole(tmp_path / "out.png", DATA)
        (tmp_path / "ordinary").write_bytes(b"")
    finally:
        os.umask(before)
    assert (tmp_path / "out.png").read_bytes() == DATA
    mode = stat.S_IMODE((tmp_path / "out.png").stat().st_mode)
    assert mode == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode) == 0o640
    assert names(tmp_path) == ["ordinary", "out.png"]


def test_an_existing_file_is_replaced_and_a_link_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_bytes(b"input")
    (tmp_path / "out").symlink_to(tmp_path / "precious")
    files.write_whole(tmp_path / "out", DATA)
    assert (tmp_path / "precious").read_bytes() == b"input"
    assert (tmp_path / "out").read_bytes() == DATA
    assert not (tmp_path / "out").is_symlink()


@pytest.mark.parametrize("name", ["a" * 255, "new\nline", "-dash", os.fsdecode(b"\xff.png"), "€" * 85])
def test_every_name_the_disk_takes_can_be_written(tmp_path, name):
    files.write_whole(tmp_path / name, DATA)
    assert (tmp_path / name).read_bytes() == DATA


def test_the_working_folder_needs_no_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_whole("out.png", DATA)
    assert names(tmp_path) == ["out.png"]


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_failure_at_any_step_leaves_the_target_as_it_was_and_nothing_else(tmp_path, monkeypatch, failing, code):
    (tmp_path / "out").write_bytes(b"before")
    fired = []
    genuine = io.FileIO.write

    def fails(*args):
        fired.append(1)
        if failing == "write" and len(fired) == 1:
            return genuine(args[0], args[1][:100])  # a nearly full disk takes a part
        raise OSError(code, os.strerror(code))

    class Full(io.FileIO):
        write = fails

    spoilt = {
        "write": (Path, "open", lambda path, mode: io.BufferedWriter(Full(path, mode))),
        "fsync": (os, "fsync", fails),
        "replace": (Path, "replace", fails),
    }
    monkeypatch.setattr(*spoilt[failing])
    with pytest.raises(OutputError, match=os.strerror(code)):
        files.write_whole(tmp_path / "out", DATA)
    monkeypatch.undo()
    assert fired
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"before"


def test_ctrl_c_while_writing_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_whole(tmp_path / "out", DATA)
    assert names(tmp_path) == []


def test_a_limit_of_the_system_itself_leaves_nothing_behind(tmp_path):
    code = "import sys; from glimpse_cli import files; files.write_whole(sys.argv[1], bytes(100_000))"
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert "OutputError" in run.stderr
    assert "File too large" in run.stderr
    assert names(tmp_path) == []


def test_a_writer_killed_half_way_leaves_the_old_file_and_a_name_that_can_be_told(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from glimpse_cli import files\n"
        "with files.whole(Path(sys.argv[1])) as file:\n"
        "    file.write(bytes(100_000)); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    (tmp_path / "out").write_bytes(b"before")
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "out"], check=False)
    assert run.returncode == -signal.SIGKILL
    assert (tmp_path / "out").read_bytes() == b"before"
    (left,) = set(names(tmp_path)) - {"out"}
    assert files.is_temporary(left)


def test_a_written_file_has_its_name_on_the_disk(tmp_path, monkeypatch):
    genuine, flushed = os.fsync, []

    def spy(descriptor):
        genuine(descriptor)
        found = os.fstat(descriptor)
        flushed.append(("folder" if stat.S_ISDIR(found.st_mode) else "file", (tmp_path / "out").exists()))

    monkeypatch.setattr(os, "fsync", spy)
    files.write_whole(tmp_path / "out", DATA)
    assert flushed == [("file", False), ("folder", True)]


def test_what_is_no_regular_file_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("fifo", "folder", "null"):
        with pytest.raises(OutputError, match="cannot write"):
            files.write_whole(tmp_path / name, DATA)
    assert names(tmp_path) == ["fifo", "folder", "null"]
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_a_link_that_stands_for_an_open_file_as_that_of_stdout_does_is_never_replaced(tmp_path):
    with (tmp_path / "redirected").open("wb") as file:
        link = tmp_path / "stdout"
        link.symlink_to(f"/proc/self/fd/{file.fileno()}")
        with pytest.raises(OutputError, match="a file that is open already"):
            files.write_whole(link, b"picture")
    assert link.is_symlink()


def test_an_output_that_cannot_be_written_says_why(tmp_path):
    (tmp_path / "file").touch()
    for name in ("missing/out", "file/out", "nul\0l", "a" * 256):
        with pytest.raises(OutputError, match="cannot write") as caught:
            files.write_whole(tmp_path / name, DATA)
        assert str(caught.value).isprintable()
    assert names(tmp_path) == ["file"]


def test_a_folder_is_made_with_those_above_it(tmp_path):
    files.make_folder(tmp_path / "a" / "b")
    files.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make the folder"):
        files.make_folder(tmp_path / "file" / "b")


def test_what_may_not_be_looked_at_is_neither_folder_nor_device(tmp_path, monkeypatch):
    assert files.is_folder(tmp_path)
    assert files.is_device(os.devnull)

    def refusing(path, **_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", refusing)
    assert not files.is_folder(tmp_path)
    assert not files.is_device(os.devnull)


def test_a_working_folder_that_may_not_be_entered_is_told_so(monkeypatch):
    """As after ``sudo -u``: it can still be named."""

    def refusing(path):
        raise PermissionError(13, "Permission denied", path)

    assert files.working_folder() == str(Path.cwd())
    monkeypatch.setattr(os, "chdir", refusing)
    with pytest.raises(InputError, match=r"may not be entered: Permission denied \(try: cd to another folder\)"):
        files.working_folder()


@pytest.mark.parametrize(
    ("one", "other"), [("photo.PNG", "PHOTO.png"), ("Straße", "STRASSE"), ("caf\u00e9", "CAFE\u0301"), ("ΣΑΣ", "σας")]
)
def test_names_that_some_disk_takes_for_one_are_folded_alike(one, other):
    assert files.folded(one) == files.folded(other)
    assert files.folded(one) != files.folded(other + "s")


# --- shown --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("über 猫 🐈.png", "über 猫 🐈.png"),
        ("[red]x[/red]", "[red]x[/red]"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("new\nline\r\ttab\x7f\x9b", r"new\x0aline\x0d\x09tab\x7f\x9b"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("zero\u200bwidth\u2066\ufeff", r"zero\u200bwidth\u2066\ufeff"),
        ("line\u2028sep", r"line\u2028sep"),
        ("tag\U000e0041", r"tag\U000e0041"),
        (b"\xff\xfe.jpg", r"\xff\xfe.jpg"),
        ("lone\ud800", r"lone\ud800"),
    ],
)
def test_names_are_shown_with_what_could_mislead_escaped(name, shown):
    assert files.shown(name) == shown


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_whatever_a_name_holds_what_is_shown_prints_on_one_line(name):
    shown = files.shown(name)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown


@settings(deadline=None)
@given(st.binary(max_size=30))
def test_any_bytes_can_be_shown(name):
    assert files.shown(name).isprintable()
