"""Crashing decoders, kills, full disks, failing writes: one picture at most is lost, and the end is the same bytes."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

import faults
from batches import command, lines, picture, settings, tree, typed
from glimpse_cli import batch
from glimpse_cli.batch import pool, runner
from glimpse_cli.devices import Device
from glimpse_cli.errors import GlimpseError, OutputError
from glimpse_cli.glimpse import contract

BOX = ("--box", "3,2,17.5,19", "--size", "7x5")


@pytest.fixture
def photos(tmp_path):
    for n in range(12):
        picture(tmp_path / "photos" / f"{'sub/' * (n % 3)}{n}.png", n)
    return tmp_path / "photos"


# Decoders that misbehave, in the workers alone


def test_a_decoder_that_misbehaves_costs_one_picture_and_is_named(photos, tmp_path, monkeypatch, capfd):
    for name in faults.EVIL:
        picture(photos / f"{name}.png", 5)
    monkeypatch.setattr(pool.process, "start", faults.evil_start)
    summary = batch.run(settings(photos, tmp_path / "out", jobs=4, timeout=1.5))
    errors = {Path(e["image"]).stem: e for e in lines(tmp_path / "out" / "errors.jsonl")}
    assert set(errors) == set(faults.EVIL) - {"floods"}
    assert (summary.done, summary.failed, summary.exit_code) == (13, 10, 3)
    reasons = {name: error["reason"] for name, error in errors.items()}
    assert {name for name, reason in reasons.items() if reason == "timed out"} == {"hangs", "sleeps", "exit0"}
    assert {name for name, reason in reasons.items() if reason == "crashed"} == {"segfault", "killed", "abort", "exit7"}
    assert reasons["memory"] == "too large"
    assert errors["segfault"]["why"] == "signal SIGSEGV"
    assert capfd.readouterr() == ("", "")
    monkeypatch.undo()
    assert batch.run(settings(photos, tmp_path / "out")).done == 10
    batch.run(settings(photos, tmp_path / "calm"))
    assert tree(tmp_path / "out") == tree(tmp_path / "calm")


def test_a_decoder_that_misbehaves_costs_one_picture_where_a_device_computes_too(photos, tmp_path, monkeypatch):
    for name in ("segfault", "hangs"):
        picture(photos / f"{name}.png", 5)
    monkeypatch.setattr(pool.process, "start", faults.evil_start)
    monkeypatch.setattr(runner, "resolve", lambda _: Device("cuda:1", contract))
    summary = batch.run(settings(photos, tmp_path / "out", timeout=1.5))
    assert (summary.done, summary.failed) == (12, 2)
    errors = lines(tmp_path / "out" / "errors.jsonl")
    assert {e["image"]: e["reason"] for e in errors} == {"segfault.png": "crashed", "hangs.png": "timed out"}


def test_a_worker_that_dies_with_its_files_in_place_leaves_none_of_a_failed_picture(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(pool.process, "start", faults.dying_start)
    out = tmp_path / "out"
    summary = batch.run(settings(photos, out))
    assert (summary.done, summary.failed) == (11, 1)
    assert [error["image"] for error in lines(out / "errors.jsonl")] == ["0.png"]
    assert not (out / "0.png").exists()
    monkeypatch.undo()
    assert batch.run(settings(photos, out)).done == 1


def test_a_picture_is_not_blamed_for_a_worker_that_died_but_once(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(pool.process, "start", faults.unlucky_start)
    assert batch.run(settings(photos / "0.png", tmp_path / "out")).done == 1
    assert (photos / "0.tried").exists()


def test_a_picture_is_not_blamed_for_time_that_went_by_while_nothing_could_run(photos, tmp_path, monkeypatch):
    """As while a laptop sleeps, or when a clock is set: here it is, as soon as the picture is being read."""
    monkeypatch.setattr(pool.process, "start", faults.slow_load_start)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 1000 * (photos / "0.tried").exists())
    assert batch.run(settings(photos / "0.png", tmp_path / "out", timeout=20)).done == 1


def test_a_pause_is_noticed_in_the_first_tick_too(monkeypatch):
    flight, now = pool._Flight(iter(())), time.time()
    monkeypatch.setattr(pool, "wait", lambda *_: (set(), set()))
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    flight.finished()
    assert flight.paused > 0


@pytest.mark.usefixtures("signals_are_heard")
def test_a_run_that_was_stopped_for_longer_than_a_picture_may_take_goes_on(photos, tmp_path, start):
    run = start("slow_load_start", photos / "0.png", photos / "3.png", "-o", tmp_path / "out", *BOX, "--timeout", "2.5")
    while not any(photos.rglob("*.tried")):
        assert run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGSTOP)
    time.sleep(2.8)
    os.killpg(run.pid, signal.SIGCONT)
    assert "2 done, 0 failed" in run.communicate(timeout=60)[1]


def test_what_a_writer_of_a_device_left_half_written_is_taken_away(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(pool.process, "start", faults.unfinished_start)
    monkeypatch.setattr(runner, "resolve", lambda _: Device("cuda:1", contract))
    summary = batch.run(settings(photos, tmp_path / "out"))
    assert (summary.done, summary.failed) == (11, 1)
    assert not list((tmp_path / "out").rglob(".glimpse-*.tmp"))


def test_a_glimpse_that_does_not_fit_into_memory_is_too_large_and_no_bug(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(pool.process, "start", faults.narrow_start)
    assert batch.run(settings(photos, tmp_path / "out")).failed == 12
    assert {error["reason"] for error in lines(tmp_path / "out" / "errors.jsonl")} == {"too large"}


def test_workers_that_cannot_start_end_the_run_in_words(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(pool.process, "start", faults.stillborn)
    with pytest.raises(GlimpseError, match="worker processes die") as caught:
        batch.run(settings(photos, tmp_path / "out"))
    assert "__main__" in caught.value.hint  # a script without that ends like this


def test_workers_that_are_not_needed_any_more_as_they_are_born_say_nothing(monkeypatch, capfd):
    monkeypatch.setattr(pool, "_has_server", lambda: False)  # which would be mute
    monkeypatch.setattr(pool, "_PATIENCE", 0.6)
    with pool.Pool(4, 20, 100) as workers:
        workers._send(len, [[]], ())
        first, *_ = workers._pool._pool_manager.worker_manager.workers
        os.kill(first, signal.SIGSTOP)  # a busy machine: it takes its time to end
    assert capfd.readouterr() == ("", "")


# Kills


@pytest.fixture
def start():
    """`glimpse batch` with two workers of `faults`, in a session of its own."""
    runs = []

    def started(*arguments):
        runs.append(
            subprocess.Popen(
                [sys.executable, faults.__file__, *map(str, arguments), "--jobs", "2"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": str(Path(batch.__file__).parents[2])},
            )
        )
        return runs[-1]

    yield started
    for run in runs:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)


def orphans(session):
    """Processes of a session that still live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(stat.parent.name)
    return found


def gone(session):
    end = time.monotonic() + 30
    while orphans(session) and time.monotonic() < end:
        time.sleep(0.05)
    return not orphans(session)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("form", [(), ("--shards", "3", "--mask"), ("--stack",)])
def test_a_run_killed_anywhere_ends_in_the_same_bytes_and_leaves_no_process(form, photos, tmp_path, start):
    calm, out, midway = tmp_path / "calm", tmp_path / "out", 0
    assert typed(photos, "-o", calm, *BOX, *form).exit_code == 0
    chance = random.Random(4)  # noqa: S311 - moments, not secrets
    for _ in range(3):
        run = start("halting_start", photos, "-o", out, *BOX, *form)
        before = set(out.rglob(".glimpse-*.tmp"))
        while run.poll() is None and set(out.rglob(".glimpse-*.tmp")) <= before:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.1))
        run.kill()
        run.communicate()
        assert gone(run.pid)
        midway += any(out.rglob(".glimpse-*.tmp"))
        for path in out.rglob("*.png"):
            data = path.read_bytes()
            assert len(data) == 5 * 7 * 3 if "--stack" in form else data.endswith(b"IEND\xaeB`\x82")
    assert midway, "no kill landed inside a write"
    done = typed(photos, "-o", out, *BOX, *form)
    assert done.exit_code == 0, done.stderr
    assert tree(out) == tree(calm)
    assert not any(path for path in out.rglob("*") if path.name.endswith(".tmp") or path.name == "parts")


@pytest.mark.usefixtures("signals_are_heard")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_run_soon_with_one_line_and_130(name, photos, tmp_path, start):
    run = start("halting_start", photos, "-o", tmp_path / "out", *BOX)
    while not any((tmp_path / "out").rglob("*.png")):
        assert run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, getattr(signal, name))
    out, err = run.communicate(timeout=30)
    assert (run.returncode, out, err) == (130, "", "interrupted: the same command goes on from here\n")
    assert gone(run.pid)
    assert typed(photos, "-o", tmp_path / "out", *BOX).exit_code == 0


# Disks


def test_a_disk_that_fills_leaves_whole_files_and_the_run_goes_on_where_it_was(photos, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * (300 * 1024 - 10 * 4096))
        done = typed(photos, "-o", disk / "out", *BOX)
        assert done.exit_code in {1, 3}
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        for path in (disk / "out").rglob("*.png"):
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
        ballast.unlink()
        assert typed(photos, "-o", disk / "out", *BOX).exit_code == 0
        typed(photos, "-o", tmp_path / "calm", *BOX)
        assert tree(disk / "out") == tree(tmp_path / "calm")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)  # a worker may be about to end there


def test_a_limit_on_file_size_is_told_in_words(photos, tmp_path):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = command(photos, "-o", tmp_path / "out", *BOX, preexec_fn=limited)
    assert done.returncode in {1, 3}
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert typed(photos, "-o", tmp_path / "out", *BOX).exit_code == 0


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize(
    ("call", "error", "when"),
    [
        ("fsync", "ENOSPC", 5),
        ("fsync", "EIO", 9),
        ("write", "EDQUOT", 2),
        ("rename", "EIO", 3),
        ("openat", "EMFILE", 400),
    ],
)
def test_a_system_call_that_fails_once_costs_little_and_the_next_run_mends_it(call, error, when, photos, tmp_path):
    traced = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", str(tmp_path / "trace"), "-e", f"trace={call}"]
    inject = ["-e", f"inject={call}:error={error}:when={when}"]
    line = [sys.executable, "-m", "glimpse_cli", "batch", str(photos), "-o", str(tmp_path / "out"), *BOX]
    done = subprocess.run(traced + inject + line, capture_output=True, text=True, check=False, timeout=60)
    if "PTRACE" in done.stderr:
        pytest.skip("no right to trace")
    assert "(INJECTED)" in (tmp_path / "trace").read_text(), "the fault was never injected"
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 1, 3}
    assert typed(photos, "-o", tmp_path / "out", *BOX).exit_code == 0
    typed(photos, "-o", tmp_path / "calm", *BOX)
    assert tree(tmp_path / "out") == tree(tmp_path / "calm")


def test_an_output_folder_that_cannot_be_written_is_told_in_words(photos, tmp_path):
    with pytest.raises(OutputError, match="cannot make the folder"):
        batch.run(settings(photos, "/proc/glimpse"))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is no folder"):
        batch.run(settings(photos, tmp_path / "file"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told_in_words(photos, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(OutputError):
        batch.run(settings(photos, tmp_path / "out"))


def test_an_unreadable_folder_among_the_sources_is_a_failure(photos, tmp_path, monkeypatch):
    scan = os.scandir

    def refusing(path):
        if os.fspath(path).rstrip("/").endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    summary = batch.run(settings(photos, tmp_path / "out"))
    assert (summary.done, summary.failed) == (4, 1)
    assert lines(tmp_path / "out" / "errors.jsonl")[0]["image"] == "sub"


def test_few_file_descriptors_are_enough(photos, tmp_path):
    def limited():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    done = command(photos, "-o", tmp_path / "out", *BOX, "--jobs", "4", preexec_fn=limited)
    assert done.returncode == 0, done.stderr


# Stacks and shards


def test_a_system_that_gives_no_worker_what_it_needs_is_told_in_words(photos, tmp_path):
    def limited():
        resource.setrlimit(resource.RLIMIT_NOFILE, (14, 14))

    done = command(photos, "-o", tmp_path / "out", *BOX, preexec_fn=limited)
    assert done.returncode == 1
    assert done.stderr.startswith("error: worker processes cannot be started\nwhy: Too many open files\ntry: --jobs 1")


def test_a_folder_for_temporary_files_with_a_name_too_long_for_a_socket_does_for_a_run(photos, tmp_path):
    long = tmp_path / ("long" * 30)
    long.mkdir()
    done = command(photos, "-o", tmp_path / "out", *BOX, "--jobs", "2", env=os.environ | {"TMPDIR": str(long)})
    assert (done.returncode, done.stderr[:9]) == (0, "12 done, ")


def test_a_working_folder_that_is_gone_is_told_so(photos, tmp_path):
    def gone():
        Path("here").mkdir()
        os.chdir("here")
        Path.cwd().rmdir()

    environment = os.environ | {"PYTHONPATH": str(Path(batch.__file__).parents[2])}
    done = command(photos, "-o", tmp_path / "out", *BOX, preexec_fn=gone, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr[:34]) == (1, "error: the working folder is gone,")


def test_no_file_beside_the_pictures_is_run(photos, tmp_path):
    """The command does not look into the working folder for modules, and so its workers may not either."""
    script = tmp_path / "bin" / "glimpse"
    script.parent.mkdir()
    script.write_text("from glimpse_cli.__main__ import main\nif __name__ == '__main__':\n    main()\n")
    for name in ("multiprocessing", "json", "numpy", "random"):
        (photos / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\n")
    line = [sys.executable, str(script), "batch", ".", "-o", str(tmp_path / "out"), *BOX, "-q"]
    environment = os.environ | {"PYTHONPATH": str(Path(batch.__file__).parents[2])}
    done = subprocess.run(line, cwd=photos, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "ran").exists()


def test_a_row_that_fails_stays_out_of_a_stack_and_metadata_says_which_is_which(photos, tmp_path):
    import numpy as np

    (photos / "1a.png").write_text("words")
    out = tmp_path / "out"
    assert batch.run(settings(photos, out, form="stack")).exit_code == 3
    stack, rows = np.load(out / "stack.npy", mmap_mode="r"), lines(out / "metadata.jsonl")
    assert stack.shape == (12, 5, 7, 3)
    assert stack.dtype == np.uint8
    assert [row["index"] for row in rows] == list(range(12))
    batch.run(settings(photos, tmp_path / "files"))
    from PIL import Image

    for row in rows:
        np.testing.assert_array_equal(stack[row["index"]], np.asarray(Image.open(tmp_path / "files" / row["name"])))
    picture(photos / "1a.png", 20)
    assert batch.run(settings(photos, out, form="stack")).done == 1
    batch.run(settings(photos, tmp_path / "calm", form="stack"))
    assert tree(out) == tree(tmp_path / "calm")


def test_shards_hold_every_picture_with_its_row_and_a_damaged_one_is_made_again(photos, tmp_path):
    import tarfile

    out = tmp_path / "out"
    wanted = settings(photos, out, form="shards", shards=3)
    wanted = replace(wanted, writing=replace(wanted.writing, mask="npy"))
    assert batch.run(wanted).done == 12
    before, seen = tree(out), []
    for number in range(3):
        with tarfile.open(out / f"shard-{number:06}.tar") as tar:
            members = tar.getmembers()
            assert {m.mtime for m in members} == {0}
            for key in dict.fromkeys(m.name.partition(".")[0] for m in members):
                row = json.load(tar.extractfile(f"{key}.json"))
                assert tar.extractfile(f"{key}.png").read().startswith(b"\x89PNG")
                assert tar.extractfile(f"{key}.mask.npy").read().startswith(b"\x93NUMPY")
                assert (row["key"], row["shard"]) == (key, f"shard-{number:06}.tar")
                seen.append(row)
    assert seen == lines(out / "metadata.jsonl")
    damaged = out / "shard-000001.tar"
    damaged.write_bytes(before[damaged.name][:3000])
    assert batch.run(wanted).done == 4
    assert tree(out) == before
    assert batch.run(wanted).done == 0
