"""A run of batch taken up again: what is done anew, and what is kept."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import faults
from batches import HEAD, SIZE, expected, interrupted, lines, of_table, picture, pixels, rewritten, settings, tree
from glimpse_cli import batch, tables
from glimpse_cli.batch import known, process, runner, strays, worker
from glimpse_cli.batch.journal import Journal
from glimpse_cli.batch.known import Errand, Ways
from glimpse_cli.batch.own import METADATA, hash_of
from glimpse_cli.batch.plan import plan as planned
from glimpse_cli.errors import UsageError
from glimpse_cli.items import Writing
from glimpse_cli.tables import Defaults


def test_the_same_command_again_does_nothing(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    summary = batch.run(settings(photos, out))
    assert (summary.done, summary.skipped, summary.exit_code) == (0, 4, 0)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == before


def backdate(path, seconds=100):
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - seconds * 10**9))


def test_a_table_of_another_name_is_the_same_run(photos, tmp_path):
    text, out = "image,x0,y0,x1,y1\na.png,1,2,9,12\nb.png,2,3,20,9.5\n", tmp_path / "out"
    batch.run(of_table(photos, out, text))
    again = settings(photos, out, look=None, rows=tables.parse(text.encode(), "u.csv", ".csv", Defaults(size=SIZE)))
    assert batch.run(replace(again, base=str(photos))).skipped == 2


def test_only_a_changed_content_is_done_again_even_with_the_size_and_time_it_had(photos, tmp_path):
    out, size = tmp_path / "out", []
    for n in range(2):
        Image.fromarray(pixels(7 + n)).save(photos / "a.bmp")
        (photos / "a.png").unlink(missing_ok=True)
        os.utime(photos / "a.bmp", ns=(10**18, 10**18))
        size.append((photos / "a.bmp").stat().st_size)
        assert batch.run(settings(photos, out)).done == (4 if n == 0 else 1)
    assert size[0] == size[1]
    np.testing.assert_array_equal(np.asarray(Image.open(out / "a.png")), expected(8))
    (photos / "b.png").touch()
    backdate(photos / "sub" / "c.png")
    assert batch.run(settings(photos, out)).done == 0


def test_a_file_that_changed_a_moment_ago_is_told_by_its_bytes_alone(tmp_path, monkeypatch):
    path = picture(tmp_path / "a.png")
    changed = path.stat().st_ctime_ns
    monkeypatch.setattr(known.time, "time_ns", lambda: changed + 10**9)
    assert known.stamp_of(str(path)) is None
    monkeypatch.setattr(known.time, "time_ns", lambda: changed + 10**10)
    assert known.stamp_of(str(path))


def test_a_picture_that_was_changed_in_place_long_after_and_has_its_old_time_is_done_again(
    photos, tmp_path, monkeypatch
):
    now, path = time.time_ns, photos / "a.png"
    monkeypatch.setattr(known.time, "time_ns", lambda: now() + 10**10)  # all of it is long past
    Image.fromarray(pixels(7)).save(path, "BMP")
    wanted, before = settings(photos, tmp_path / "out"), path.stat()
    ways, item = Ways(wanted.folder, wanted.reading, wanted.writing, wanted.form), planned(wanted).items[0]
    (first,) = worker.do([Errand(0, item)], ways)
    (again,) = worker.do([Errand(0, item, first.line)], ways)
    assert (first.done, again.kept) == (1, 1)
    time.sleep(0.05)  # a clock may tick as slowly
    with path.open("r+b") as file:
        Image.fromarray(pixels(8)).save(file, "BMP")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    (changed,) = worker.do([Errand(0, item, first.line)], ways)
    assert changed.done == 1
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), expected(8))


def test_a_glimpse_that_its_picture_s_line_does_not_list_is_made_again(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    before = tree(out)
    rewritten(out, lambda record: record["files"].pop("a.png", None))
    (out / "a.png").unlink()
    assert batch.run(settings(photos, out)).done == 1
    assert tree(out) == before


def test_damaged_and_missing_outputs_are_made_again(photos, tmp_path):
    out = tmp_path / "out"
    wanted = settings(photos, out, writing=Writing("png", mask="npy"))
    batch.run(wanted)
    before = tree(out)
    (out / "a.png").unlink()
    (out / "b.mask.npy").write_bytes(before["b.mask.npy"][:-1] + b"\1")
    (out / "sub" / "c.png").write_bytes(b"")
    (out / METADATA).write_bytes(b"")
    assert batch.run(wanted).done == 3
    assert tree(out) == before


def test_an_input_that_turned_bad_leaves_no_glimpse_of_what_it_was(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    (photos / "a.png").write_text("words")
    assert batch.run(settings(photos, out)).failed == 1
    assert not (out / "a.png").exists()
    assert [row["file_name"] for row in lines(out / METADATA)] == ["b.png", "sub/c.png", "sub/deep/d.v2.png"]
    assert batch.run(settings(photos, out)).failed == 1  # what failed is tried again
    picture(photos / "a.png", 1)
    assert batch.run(settings(photos, out)).done == 1


def test_a_table_that_changed_is_followed_row_by_row(photos, tmp_path):
    out = tmp_path / "out"
    head = "image,x0,y0,x1,y1\n"
    batch.run(of_table(photos, out, head + "a.png,1,2,9,9\nb.png,1,2,9,9\n"))
    changed = head + "a.png,1,2,9,9\nb.png,1,2,9,9\na.png,5,5,9,9\n"
    assert batch.run(of_table(photos, out, changed)).done == 2
    assert batch.run(of_table(photos, tmp_path / "fresh", changed)).done == 3
    assert tree(out) == tree(tmp_path / "fresh")


def identities(folder):
    """Which files those of a folder are: one that was made again is another, or younger."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*.png")
    }


@pytest.mark.parametrize("form", ["files", "stack", "shards"])
def test_of_a_picture_only_the_rows_that_are_missing_changed_or_failed_are_done_again(form, photos, tmp_path):
    head, out = "image,scale_y,scale_x,shift_y,shift_x,id\n", tmp_path / "out"
    how = {"form": form, "shards": 2 * (form == "shards")}
    text = head + "b.png,.3,.4,.1,.2,far\nb.png,1e308,.3,0,0,on\nb.png,.2,.5,-.1,.3,off\na.png,.1,.2,.3,.4,\n"
    first = batch.run(of_table(photos, out, text, **how))
    assert (first.done, first.failed) == (3, 1)  # so large a scale is a number, but no place on this picture
    before = identities(out)
    again = batch.run(of_table(photos, out, text, **how))
    assert (again.done, again.failed, again.skipped) == (0, 1, 3)
    assert identities(out) == before
    changed = text.replace("1e308", ".3").replace("-.1,.3", "-.1,.35")
    third = batch.run(of_table(photos, out, changed + "a.png,.2,.2,.3,.4,new\n", **how))
    assert (third.done, third.failed, third.skipped) == (4, 0, 1)  # a.png's first has another name now
    kept = {name for name, which in identities(out).items() if before.get(name) == which}
    assert kept == ({"b.far.png"} if form == "files" else set())
    fewer = "\n".join(changed.splitlines()[:3]) + "\n"
    fourth = batch.run(of_table(photos, out, fewer, **how))
    assert (fourth.done, fourth.failed, fourth.skipped, fourth.gone) == (0, 0, 2, form == "files")
    assert batch.run(of_table(photos, out, fewer, force=True, **how)).skipped == 2
    batch.run(of_table(photos, tmp_path / "fresh", fewer, **how))
    assert tree(out) == tree(tmp_path / "fresh")


def test_of_a_picture_only_the_glimpse_that_is_gone_or_whose_mask_is_damaged_is_made_again(photos, tmp_path):
    text = "image,x0,y0,x1,y1\n" + "".join(f"a.png,{n},2,{n + 9.5},19\n" for n in range(4))
    wanted = of_table(photos, tmp_path / "out", text, writing=Writing("png", mask="png"))
    batch.run(wanted)
    before, files = identities(tmp_path / "out"), tree(tmp_path / "out")
    (tmp_path / "out" / "a.2.png").unlink()
    (tmp_path / "out" / "a.3.mask.png").write_bytes(b"")
    again = batch.run(wanted)
    assert (again.done, again.skipped) == (2, 2)
    assert tree(tmp_path / "out") == files
    made = {name for name, which in identities(tmp_path / "out").items() if before[name] != which}
    assert made - {"a.3.mask.png"} == {"a.2.png", "a.2.mask.png", "a.3.png"}


@pytest.mark.parametrize("form", ["files", "stack", "shards"])
def test_a_column_that_changed_is_in_the_manifest_and_no_picture_is_read_for_it(form, photos, tmp_path):
    out, how = tmp_path / "out", {"form": form, "shards": 2 * (form == "shards")}
    batch.run(of_table(photos, out, "image,x0,y0,x1,y1,id,label\na.png,1,2,9,12,l,cat\na.png,3,2,9,9,r,dog\n", **how))
    before = identities(out)
    changed = "image,x0,y0,x1,y1,id,label,split\na.png,3,2,9,9,r,dog,val\na.png,1,2,9,12,l,cow,train\n"
    again = batch.run(of_table(photos, out, changed, **how))
    assert (again.done, again.skipped, identities(out)) == (0, 2, before)
    told = [(row["id"], row["row"], row["label"], row["split"]) for row in lines(out / METADATA)]
    assert told == [("r", 1, "dog", "val"), ("l", 2, "cow", "train")]
    batch.run(of_table(photos, tmp_path / "fresh", changed, **how))
    assert tree(out) == tree(tmp_path / "fresh")


@pytest.mark.parametrize("form", ["stack", "shards"])
def test_what_is_put_together_is_left_alone_where_nothing_but_the_time_of_a_picture_changed(
    form, photos, tmp_path, monkeypatch
):
    wanted = settings(photos, tmp_path / "out", form=form, shards=2 * (form == "shards"))
    monkeypatch.setattr(process, "start", faults.settled_start)
    batch.run(wanted)

    def there():
        return {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("s*")}

    before = there()
    (photos / "a.png").touch()
    backdate(photos / "b.png")
    assert batch.run(wanted).skipped == 4
    assert there() == before


def test_pictures_that_came_are_done_and_those_that_went_are_told(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    (photos / "a.png").unlink()
    picture(photos / "e.png", 5)
    summary = batch.run(settings(photos, out))
    assert (summary.done, summary.skipped, summary.gone) == (1, 3, 1)
    assert "a.png" not in [row["file_name"] for row in lines(out / METADATA)]
    assert (out / "a.png").exists()


def test_what_is_left_of_pictures_that_went_is_taken_away_by_force_and_nothing_is_done_anew(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out, writing=Writing(mask="png")))
    (out / "mine.png").write_text("mine")
    (photos / "a.png").rename(tmp_path / "a.png")
    summary = batch.run(settings(photos, out, writing=Writing(mask="png"), force=True))
    assert (summary.done, summary.skipped, summary.gone) == (0, 3, 0)
    assert not (out / "a.png").exists()
    assert not (out / "a.mask.png").exists()
    assert (out / "mine.png").read_text() == "mine"
    assert batch.run(settings(photos, out, writing=Writing(mask="png"))).gone == 0
    (tmp_path / "a.png").rename(photos / "a.png")
    assert batch.run(settings(photos, out, writing=Writing(mask="png"))).done == 1
    (out / "mine.png").unlink()
    batch.run(settings(photos, tmp_path / "fresh", writing=Writing(mask="png")))
    assert tree(out) == tree(tmp_path / "fresh")


FIRST, SECOND, THIRD = "a.bmp,3,2,17.5,19\n", "a.png,3,2,17.5,19\n", "a.bmp,1,1,8,8\n"


@pytest.mark.parametrize("form", ["files", "stack", "shards"])
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("seed", [1, 9])  # the same picture, and another one
@pytest.mark.parametrize("order", [SECOND + FIRST + THIRD, FIRST + THIRD + SECOND])
def test_a_name_that_passes_from_one_picture_to_another_is_the_other_s(form, force, seed, order, photos, tmp_path):  # noqa: PLR0917 - each of them matters
    out = tmp_path / "out"
    picture(photos / "a.bmp", seed)
    batch.run(of_table(photos, out, HEAD + FIRST, form=form, shards=1, jobs=1))
    passed = of_table(photos, out, HEAD + order, form=form, shards=1, jobs=1)
    assert batch.run(replace(passed, force=force)).done == 3
    assert batch.run(passed).skipped == 3
    batch.run(replace(passed, folder=str(tmp_path / "fresh")))
    assert tree(out) == tree(tmp_path / "fresh")


def test_a_mask_goes_with_the_glimpse_whose_name_another_picture_takes(photos, tmp_path):
    for name in ("a.mask.png", "e.jpg"):
        picture(photos / name)
    wanted = {"writing": Writing("png", mask="png")}
    out, head = tmp_path / "out", "image,x0,y0,x1,y1\n"
    batch.run(of_table(photos, out, head + "a.mask.png,1,2,9,12\n", **wanted))
    batch.run(of_table(photos, out, head + "a.png,1,2,9,12\n", **wanted))  # whose mask has that name
    assert sorted(path.name for path in out.glob("*.png")) == ["a.mask.png", "a.png"]


def test_a_name_that_two_lines_tell_of_is_that_of_the_one_that_wants_it(photos, tmp_path):
    out = tmp_path / "out"
    picture(photos / "a.bmp", 9)
    batch.run(of_table(photos, out, HEAD + FIRST))
    (out / "a.png").unlink()
    batch.run(of_table(photos, out, HEAD + SECOND))
    passed = of_table(photos, out, HEAD + SECOND + FIRST + THIRD, jobs=1)
    assert batch.run(passed).failed == 0
    batch.run(replace(passed, folder=str(tmp_path / "fresh")))
    assert tree(out) == tree(tmp_path / "fresh")


@pytest.mark.parametrize("form", ["files", "stack", "shards"])
def test_a_picture_of_another_kind_takes_the_place_of_the_one_it_was_made_from(form, photos, tmp_path):
    out = tmp_path / "out"
    (photos / "a.png").unlink()
    picture(photos / "a.bmp", 9)
    whole = settings(photos, out, form=form, shards=2, writing=Writing(mask=None if form == "stack" else "npy"))
    batch.run(whole)
    (photos / "a.bmp").unlink()
    picture(photos / "a.png", 8)
    summary = batch.run(whole)
    assert (summary.done, summary.failed, summary.gone) == (1, 0, 0)
    batch.run(replace(whole, folder=str(tmp_path / "fresh")))
    assert tree(out) == tree(tmp_path / "fresh")


def test_an_interrupted_run_leaves_nothing_half_written(photos, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def interrupted(*_):
        (out / f".glimpse-{'0' * 16}.tmp").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(runner._Run, "_note", interrupted)
    with pytest.raises(KeyboardInterrupt):
        batch.run(settings(photos, out))
    assert not list(out.rglob("*.tmp"))


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_what_workers_are_forked_from_says_nothing(photos, tmp_path):
    batch.run(settings(photos, tmp_path / "out"))
    server = forkserver._forkserver._forkserver_pid
    assert str(Path(f"/proc/{server}/fd/2").readlink()) == os.devnull
    os.kill(server, signal.SIGKILL)
    os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
    forkserver.ensure_running()  # as Python's library does by itself
    server, until = forkserver._forkserver._forkserver_pid, time.monotonic() + 60
    while str(Path(f"/proc/{server}/fd/2").readlink()) != os.devnull:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_none_but_the_server_of_workers_is_mute():
    loads = "import os, sys; sys.argv[:] = {}; import glimpse_cli.mute; os.write(2, b'said')"
    for argv, of, said in ((["-c"], "", b"said"), (["glimpse"], " # multiprocessing.forkserver", b"")):
        code = loads.format(argv) + of + "\nassert 'numpy' not in sys.modules"  # nor anything that may fail to load
        assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stderr == said


def test_a_source_that_is_given_twice_is_refused_in_words(photos, tmp_path):
    with pytest.raises(UsageError, match=r"photos/a\.png is given twice"):
        planned(settings(photos, tmp_path / "out", sources=(str(photos), str(photos))))


def test_glimpses_of_other_runs_among_the_pictures_are_passed_over_unless_they_are_the_source(photos, tmp_path):
    batch.run(settings(photos, photos / "crops"))
    summary = batch.run(settings(photos, photos / "others"))
    assert (summary.rows, summary.passed_over["other runs' folders"]) == (4, 1)
    assert batch.run(settings(photos / "crops", tmp_path / "out")).rows == 4


@pytest.fixture
def killed(photos, tmp_path, monkeypatch):
    """A run that was killed when its files had their names and the journal did not know."""
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            batch.run(settings(photos, out, jobs=1))
    assert (out / "a.png").exists()
    return out


@pytest.mark.parametrize("change", ["none", "broken", "another"])
def test_what_a_killed_run_wrote_and_did_not_note_is_its_own(change, killed, photos, tmp_path):
    if change == "broken":
        (photos / "a.png").write_text("words")
    elif change == "another":
        picture(photos / "a.png", 9)
    again = batch.run(settings(photos, killed))
    calm = batch.run(settings(photos, tmp_path / "calm"))
    assert (again.done, again.failed, again.skipped) == (calm.done, calm.failed, calm.skipped)
    assert tree(killed) == tree(tmp_path / "calm")


def test_what_a_killed_run_made_anew_is_known_though_its_name_passes_to_another_picture(photos, tmp_path, monkeypatch):
    def run(text):
        return batch.run(of_table(photos, tmp_path / "out", "image,x0,y0,x1,y1,id\n" + text))

    def interrupt(*_):
        raise KeyboardInterrupt

    picture(photos / "a.x.png", 7)
    run("a.png,1,2,9,12,x\na.png,3,2,9,9,y\n")
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run("a.png,1,2,9,15,x\na.png,3,2,9,9,y\n")
    done = run("a.png,3,2,9,9,z\na.png,3,2,9,9,y\na.x.png,1,2,9,12,\n")
    assert (done.done, done.failed, done.skipped) == (2, 0, 1)


def test_what_a_killed_run_wrote_is_known_though_its_picture_was_away_in_between(killed, photos, tmp_path):
    (photos / "a.png").rename(tmp_path / "a.png")
    assert batch.run(settings(photos, killed)).done == 3
    picture(photos / "a.png", 9)
    assert batch.run(settings(photos, killed)).done == 1
    batch.run(settings(photos, tmp_path / "fresh"))
    assert tree(killed) == tree(tmp_path / "fresh")


def test_a_glimpse_that_cannot_be_noted_whole_gets_no_name(photos, tmp_path, monkeypatch):
    wanted, write = settings(photos, tmp_path / "out"), os.write
    ways = Ways(wanted.folder, wanted.reading, wanted.writing, wanted.form)
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[: len(data) // 2]))
    (outcome,) = worker.do([Errand(0, planned(wanted).items[0])], ways)
    assert [failure.error.why for failure in outcome.failures] == ["No space left on device"]
    assert tree(tmp_path / "out") == {}


def test_a_note_after_half_of_one_is_read(tmp_path):
    note = {"a.png": hash_of(b"mine")}
    strays.note(str(tmp_path), [("a.png", note)])
    path = tmp_path / ".glimpse" / "landing.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    strays.note(str(tmp_path), [("b.png", note)])
    assert list(strays._noted(str(tmp_path))) == [("b.png", note)]


def test_a_file_that_took_the_place_of_what_a_killed_run_wrote_stays(killed, photos):
    (killed / "a.png").write_text("mine")
    assert batch.run(settings(photos, killed)).failed == 1
    assert (killed / "a.png").read_text() == "mine"
