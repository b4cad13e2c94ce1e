"""`glimpse batch`, as it is typed."""

import json
import os
import resource
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batches import command, expected, lines, pixels, settings, tree, typed
from glimpse_cli import batch, glimpse
from glimpse_cli.batch import runner, worker
from glimpse_cli.batch.known import Errand, Ways
from glimpse_cli.batch.plan import plan as planned
from glimpse_cli.batch.pool import Pool
from glimpse_cli.cli import batch as cli
from glimpse_cli.cli import progress
from glimpse_cli.cli.options import TalkOptions
from glimpse_cli.devices import Device
from glimpse_cli.files import MAX_BYTES
from glimpse_cli.items import Writing


def test_the_command_says_what_came_of_it(photos, tmp_path):
    (photos / "bad.png").write_text("words")
    out = tmp_path / "out"
    done = command(
        photos, "-o", out, "--box", "3,2,17.5,19", "--size", "7x5", "--json", "--contact-sheet", out / "s.png"
    )
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["done"], summary["failed"], summary["rows"]) == (4, 1, 5)
    assert done.stderr.startswith(f"error: {photos}/bad.png is ")
    assert "4 done, 1 failed, 0 skipped of 5" in done.stderr
    np.testing.assert_array_equal(np.asarray(Image.open(out / "b.png")), expected(0))
    with Image.open(out / "s.png") as sheet:
        assert sheet.size[0] > 100


def test_a_dry_run_of_a_stack_or_of_shards_says_where_each_glimpse_would_be(photos, tmp_path):
    args = (photos, "-o", tmp_path / "out", "--box", "3,2,17.5,19", "--dry-run")
    assert typed(*args, "--stack").stdout.splitlines()[1] == f"{photos}/b.png -> stack.npy[1]"
    assert (
        typed(*args, "--shards", "2").stdout.splitlines()[2] == f"{photos}/sub/c.png -> shard-000001.tar/00000002.png"
    )
    found = [json.loads(line) for line in typed(*args, "--stack", "--json").stdout.splitlines()]
    assert found[3] == {"image": "sub/deep/d.v2.png", "index": 3, "name": "sub/deep/d.v2.png"}


def test_a_run_that_stopped_says_so(photos, tmp_path):
    (photos / "0.png").write_text("words")
    args = (photos, "-o", tmp_path / "out", "--box", "3,2,17.5,19", "--jobs", "1", "--on-error", "stop", "--json")
    done = typed(*args)
    summary = json.loads(done.stdout)
    assert summary["failed"] == 1
    assert summary["skipped"] == summary["not_begun"] == 4 - summary["done"]
    said = f"warning: stopped at the first failure: {summary['not_begun']} not begun, and counted as skipped"
    assert (said in done.stderr) == (summary["not_begun"] > 0)


def test_verbose_says_what_came_of_each_picture_and_each_failure_once(photos, tmp_path):
    (photos / "bad.png").write_text("words")
    args = (photos, "-o", tmp_path / "out", "--box", "3,2,17.5,19", "--jobs", "1", "-v")
    failed = ["bad.png: 1 failed", f"error: {photos}/bad.png is not an image of a known format"]
    for came in ("done", "skipped"):
        said = typed(*args).stderr.splitlines()
        assert [line for line in said if "bad.png" in line] == failed
        assert {line for line in said if line.endswith(f": 1 {came}")} == {
            f"{name}: 1 {came}" for name in ("a.png", "b.png", "sub/c.png", "sub/deep/d.v2.png")
        }


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk to talk to")
def test_a_run_that_nobody_hears_is_a_run_like_any_other(photos, tmp_path):
    (photos / "bad.png").write_text("words")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        line = [
            sys.executable,
            "-m",
            "glimpse_cli",
            "batch",
            photos,
            "-o",
            tmp_path / "out",
            "--box",
            "3,2,17.5,19",
            "-v",
        ]
        assert subprocess.run(line, stderr=full, check=False).returncode == 3
    assert len(lines(tmp_path / "out" / "metadata.jsonl")) == 4


def test_on_a_terminal_without_a_cursor_progress_is_lines(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "SECONDS", 0)
    with progress.watching(TalkOptions(), [], 10, Counter()) as watch:
        watch(batch.Progress(4, done=1), batch.News("a.png", done=1))
    assert "1 of 4: 1 done" in capsys.readouterr().err


@pytest.mark.parametrize(("limit", "jobs"), [("150000 100000", 1), ("250000 100000", 2), ("max 100000", 3), ("", 3)])
def test_a_container_has_the_cores_that_it_may_use(limit, jobs, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(cli, "CPU_SHARE", str(tmp_path / "cpu.max"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert cli._cores() == jobs


def test_ten_failures_are_told_and_how_many_more_there_are(photos, tmp_path):
    for n in range(12):
        (photos / f"bad{n}.png").write_text("words" if n < 7 else "")
    done = typed(photos, "-o", tmp_path / "out", "--box", "3,2,17.5,19")
    assert done.stderr.count("error: ") == 10
    counts = "(of all 12: 7 not an image, 5 empty)"
    assert f"\nand 2 more failures: {tmp_path}/out/errors.jsonl {counts}\n" in done.stderr


def test_rows_come_from_stdin_and_a_dry_run_touches_nothing(photos, tmp_path):
    text = '{"image":"a.png","x":1,"y":2,"w":3,"h":4}\n{"image":"../a.png","x":1,"y":2,"w":3,"h":4}\n'
    done = typed(photos, "--from", "-", "-o", tmp_path / "out", "--dry-run", input=text)
    assert (done.exit_code, done.stdout) == (3, f"{photos}/a.png -> a.png\n")
    assert "line 2: column image: '../a.png'" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("width", "error"), [(0, "skip"), (3, "stop")])
def test_a_dry_run_of_which_nothing_would_come_exits_as_the_run_does(width, error, photos, tmp_path):
    text = f'{{"image":"a.png","x":1,"y":2,"w":{width},"h":4}}\n{{"image":"../a.png","x":1,"y":2,"w":3,"h":4}}\n'
    arguments = (photos, "--from", "-", "-o", tmp_path / "out", "--on-error", error)
    assert [typed(*arguments, *dry, input=text).exit_code for dry in (["--dry-run"], [])] == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--box", "1,2,3,4"], "-o FOLDER is missing"),
        (["-o", "-", "--box", "1,2,3,4"], "try: -o FOLDER, or -o ./-"),
        (["-o", "out"], "exactly one place is needed"),
        (["-o", "out", "--box", "1,2,3,4", "--from", "t.csv"], "--from and --box both say the place"),
        (["-o", "out", "--box", "1,2,3,4", "--box", "1,2,3,4"], "one --box, got 2"),
        (["-o", "out", "--from", "t.xls"], "no kind of table"),
        (["-o", "out", "--from", "t.csv", "--method", "stn", "-s", "1"], "the method stn has none"),
        (["-o", "out", "--box", "1,2,3,4", "--stack", "--shards", "2"], "do not go together"),
        (["-o", "out", "--box", "1,2,3,4", "--stack", "--format", "jpg"], "a stack holds numbers"),
        (["-o", "out", "--box", "1,2,3,4", "--jobs", "0"], "--jobs must be a whole number"),
        (["-o", "out", "--box", "1,2,3,4", "--timeout", "0"], "--timeout must be above 0"),
        (["-o", "out", "--box", "1,2,3,4", "--on-error", "panic"], "--on-error must be one of"),
        (["-o", "out", "--box", "1,2,3,4", "--contact-sheet", "s.xyz"], "--contact-sheet"),
        (["-o", "out", "--box", "1,2,3,4", "--contact-sheet", "s.npy"], "try: one of jpg, png, tiff, webp\n"),
        (["-o", "out", "--from", "t.csv", "other"], "--from takes one SOURCE, got 2"),
    ],
)
def test_a_wrong_command_line_is_told_before_anything_starts(arguments, says, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = typed(photos, *arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert not {tmp_path / "out", tmp_path / "-"} & {*tmp_path.iterdir()}


def test_the_cpu_path_loads_no_torch(photos, tmp_path):
    script = (
        "import sys; from glimpse_cli.cli.app import app\n"
        "try: app(['batch', *sys.argv[1:]])\nexcept SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    arguments = [str(photos), "-o", str(tmp_path / "out"), "--box", "1,2,13,14", "-q"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_another_device_computes_between_the_workers_and_gives_the_same_bytes(photos, tmp_path, monkeypatch):
    (photos / "bad.png").write_text("words")
    seen = []

    def contract(window, by, bx):
        seen.append(window.shape)
        return glimpse.contract(window, by, bx)

    with_masks = settings(photos, tmp_path / "cpu", writing=Writing("png", mask="png"))
    assert batch.run(with_masks).exit_code == 3
    on_device(monkeypatch, contract)
    elsewhere = replace(with_masks, folder=str(tmp_path / "cuda"))
    summary = batch.run(elsewhere)
    assert (summary.done, summary.failed, len(seen)) == (4, 1, 4)
    assert tree(tmp_path / "cuda") == tree(tmp_path / "cpu")
    assert (batch.run(elsewhere).skipped, len(seen)) == (4, 4)


def on_device(monkeypatch, contract):
    monkeypatch.setattr(runner, "resolve", lambda _: Device("cuda:1", contract))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("CUDA out of memory.\nTried to allocate"), ("failed", "CUDA out of memory.")),
        (MemoryError(), ("too large", "out of memory")),
    ],
)
def test_a_device_that_fails_on_one_picture_costs_that_picture(error, told, photos, tmp_path, monkeypatch):
    Image.fromarray(pixels(5)[:, :, 0]).save(photos / "grey.png")

    def contract(window, by, bx):
        if window.ndim == 2 or window.shape[2] == 1:
            raise error
        return glimpse.contract(window, by, bx)

    on_device(monkeypatch, contract)
    summary = batch.run(settings(photos, tmp_path / "out"))
    assert (summary.done, summary.failed) == (4, 1)
    assert [(e["image"], e["reason"], e["why"]) for e in lines(tmp_path / "out" / "errors.jsonl")] == [
        ("grey.png", *told)
    ]


def begun_for_a_device(photos, tmp_path):
    wanted = settings(photos, tmp_path / "out")
    ways = Ways(wanted.folder, wanted.reading, wanted.writing, wanted.form)
    return worker.begin_all([Errand(0, planned(wanted).items[0])], ways)[0]


def test_windows_that_do_not_fit_into_memory_cost_one_picture(photos, tmp_path, monkeypatch):
    def full(_):
        raise MemoryError

    monkeypatch.setattr(worker.Sight, "keep", full)
    assert [one.reason for one in begun_for_a_device(photos, tmp_path).failures] == ["too large"]


def test_more_glimpses_of_one_picture_than_travel_from_a_device_are_refused_in_words(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "MOST_TRAVEL", 7 * 5 * 16 - 1)
    found = begun_for_a_device(photos, tmp_path).failures[0]
    assert (found.reason, found.error.hint) == ("too large", "--device cpu, which holds one at a time")
    monkeypatch.setattr(worker, "MOST_TRAVEL", 7 * 5 * 16)
    assert isinstance(begun_for_a_device(photos, tmp_path), worker.Begun)


def test_pools_that_overlap_leave_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("PILLOW_BLOCKS_MAX", "3")
    before, pools = dict(os.environ), [Pool(1, 10, 10**6) for _ in range(2)]
    for pool in pools:
        pool.__enter__()
    pools[0].__exit__()
    assert os.environ["PYTHONSAFEPATH"] == "1"
    pools[1].__exit__()
    assert dict(os.environ) == before


def test_a_pool_gives_every_task_its_own_result():
    with Pool(2, 10, 10**6) as pool:
        found = dict(pool.map(_doubled, range(100)))
    assert found == {n: 2 * n for n in range(100)}


def _doubled(numbers):
    return [2 * n for n in numbers]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such limit, or do not keep to it")
def test_a_worker_may_take_so_much_memory_and_no_more():
    with Pool(1, 10, 10**6) as pool:
        ((_, most),) = pool.map(_most_memory, [0])
    assert 0 < most <= 2**30 + MAX_BYTES + 32 * 10**6


def _most_memory(tasks):
    return [resource.getrlimit(resource.RLIMIT_AS)[0] for _ in tasks]
