"""Whose a file in a batch's folder is: a run's, or its user's."""

import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from batches import HEAD, LOOK, SIZE, interrupted, lines, of_table, picture, settings, tree, typed
from glimpse_cli import batch
from glimpse_cli.batch.journal import Journal, checked_line_of
from glimpse_cli.batch.own import METADATA, hash_of, set_aside
from glimpse_cli.cli.app import app
from glimpse_cli.errors import OutputError, UsageError
from glimpse_cli.items import Reading, Writing
from glimpse_cli.places import BoxPlace, Look
from glimpse_cli.tables import Defaults


def edited(path, by=b"mine, all mine"):
    path.write_bytes(by)
    return by


MASKED = Writing("png", mask="npy")
TOGETHER = [  # what is written of all pictures together, by form
    ("files", METADATA),
    ("files", "errors.jsonl"),
    ("files", "run.json"),
    ("stack", "stack.npy"),
    ("stack", METADATA),
    ("shards", "shard-000001.tar"),
]


@pytest.mark.parametrize(("form", "name"), TOGETHER)
def test_a_file_that_no_run_can_have_written_is_not_replaced_in_a_folder_that_one_began(
    form, name, photos, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    wanted = settings(photos, out, form=form, shards=2)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            batch.run(wanted)
    mine = edited(out / name)
    before = tree(out)
    with pytest.raises(OutputError, match=rf"{re.escape(name)} exists") as caught:
        batch.run(wanted)
    assert caught.value.hint == "--force to replace it, or another -o"
    assert tree(out) == before
    assert (out / name).read_bytes() == mine
    assert batch.run(replace(wanted, force=True)).done == 4
    assert (out / name).read_bytes() != mine


@pytest.mark.parametrize(("form", "name"), [("files", "a.png"), ("files", "sub/c.mask.npy"), *TOGETHER])
def test_what_was_put_in_the_place_of_a_run_s_file_is_kept_aside_where_that_is_made_anew(form, name, photos, tmp_path):
    out, aside = tmp_path / "out", tmp_path / "out" / ".glimpse" / "aside"
    wanted = settings(photos, out, form=form, shards=2, writing=MASKED if form == "files" else Writing())
    batch.run(wanted)
    before = tree(out)
    for n in (1, 2):
        mine = edited(out / name, b"mine, number %d" % n)
        assert batch.run(wanted).aside == n
        assert tree(out) == before
        assert (aside / str(n) / name).read_bytes() == mine
    assert (batch.run(wanted).done, batch.run(wanted).aside) == (0, 2)
    edited(out / name)
    assert batch.run(replace(wanted, force=True)).aside == 2
    assert tree(out) == before


def test_a_link_in_the_place_of_a_glimpse_is_kept_aside_as_a_link(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    mine = tmp_path / "mine.png"
    edited(mine)
    (out / "a.png").unlink()
    (out / "a.png").symlink_to(mine)
    assert batch.run(settings(photos, out)).done == 1
    assert (out / ".glimpse" / "aside" / "1" / "a.png").readlink() == mine
    assert mine.exists()


def test_a_pipe_in_the_place_of_a_glimpse_is_kept_aside_though_it_has_no_size(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    (out / "a.png").unlink()
    os.mkfifo(out / "a.png")
    assert batch.run(settings(photos, out)).aside == 1
    assert (out / ".glimpse" / "aside" / "1" / "a.png").is_fifo()


def test_nothing_is_set_aside_through_a_link(photos, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    batch.run(settings(photos, out))
    elsewhere.mkdir()
    (out / ".glimpse" / "aside").mkdir()
    (out / ".glimpse" / "aside" / "1").symlink_to(elsewhere)
    (out / "a.png").write_bytes(b"mine")
    assert batch.run(settings(photos, out)).aside == 1
    assert (out / ".glimpse" / "aside" / "2" / "a.png").read_bytes() == b"mine"
    assert not [*elsewhere.iterdir()]


def test_what_was_set_aside_is_no_hindrance_to_what_comes_to_lie_below_its_name(tmp_path):
    (tmp_path / "a.png").write_bytes(b"mine")
    set_aside(tmp_path, "a.png", ())
    (tmp_path / "a.png").mkdir()
    (tmp_path / "a.png" / "b.png").write_bytes(b"mine too")
    set_aside(tmp_path, "a.png/b.png", ())
    assert (tmp_path / ".glimpse" / "aside" / "1" / "a.png").read_bytes() == b"mine"
    assert (tmp_path / ".glimpse" / "aside" / "2" / "a.png" / "b.png").read_bytes() == b"mine too"


def test_what_lies_outside_the_folder_is_not_set_aside_though_a_link_leads_there(photos, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    batch.run(settings(photos, out))
    shutil.rmtree(out / "sub")
    elsewhere.mkdir()
    mine = edited(elsewhere / "c.png")
    (out / "sub").symlink_to(elsewhere)
    summary = batch.run(settings(photos, out))
    assert (summary.failed, summary.aside) == (2, 0)
    assert (elsewhere / "c.png").read_bytes() == mine


@pytest.mark.parametrize("change", ["picture", "row", "name", "force"])
def test_what_was_put_in_the_place_of_a_glimpse_stays_where_that_is_not_wanted_any_more(change, photos, tmp_path):
    out = tmp_path / "out"
    first, second = "a.png,1,2,9,12,x\n", "a.png,3,2,9,9,y\n"

    def run(rows, **changes):
        return batch.run(of_table(photos, out, "image,x0,y0,x1,y1,id\n" + rows, **changes))

    run(first + second)
    mine = edited(out / "a.x.png")
    if change == "picture":
        (photos / "a.png").write_text("words")
        summary = run(first + second)
    elif change == "row":
        summary = run(first.replace("1,2", "nan,2") + second)
    elif change == "name":
        summary = run(first.replace("x", "z") + second)
    else:
        summary = run("b.png,1,2,9,12,\n", force=True)
    assert summary.stay == ["a.x.png"]
    assert (out / "a.x.png").read_bytes() == mine
    assert not any("a.x.png" in line for line in (out / METADATA).read_text().splitlines())


@pytest.mark.parametrize("row", ["a.png,nan,2,9,12\n", "./a.png,1,2,nan,12\n"])
def test_a_picture_of_which_every_row_is_wrong_has_no_glimpse_of_an_earlier_run(row, photos, tmp_path):
    out, other = tmp_path / "out", "b.png,1,2,9,12\n"
    batch.run(of_table(photos, out, HEAD + "a.png,1,2,9,12\n" + other))
    summary = batch.run(of_table(photos, out, HEAD + row + other))
    assert (summary.failed, summary.skipped, summary.gone) == (1, 1, 0)
    batch.run(of_table(photos, tmp_path / "fresh", HEAD + row + other))
    assert tree(out) == tree(tmp_path / "fresh")
    assert batch.run(of_table(photos, out, HEAD + "a.png,1,2,9,12\n" + other)).done == 1


def test_what_a_killed_run_wrote_of_a_picture_whose_rows_are_all_wrong_now_is_taken_away(photos, tmp_path, monkeypatch):
    out, other = tmp_path / "out", "b.png,1,2,9,12\n"
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            batch.run(of_table(photos, out, HEAD + "a.png,1,2,9,12\n", jobs=1))
    assert (out / "a.png").exists()
    batch.run(of_table(photos, out, HEAD + "a.png,nan,2,9,12\n" + other))
    assert not (out / "a.png").exists()


@pytest.mark.parametrize("form", ["files", "stack", "shards"])
@pytest.mark.parametrize("name", [METADATA, "errors.jsonl", "run.json", "stack.npy", "shard-000001.tar"])
def test_what_a_killed_run_wrote_beside_the_glimpses_is_its_own(form, name, photos, tmp_path, monkeypatch):
    wanted, naming = settings(photos, tmp_path / "out", form=form, shards=2), Path.replace

    def named(self, target):
        naming(self, target)
        if target.name == name:
            raise KeyboardInterrupt
        return target

    for seed in (5, 6):
        picture(photos / "a.png", seed)
        with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
            patched.setattr(Path, "replace", named)
            batch.run(wanted)
    assert batch.run(wanted).aside == 0
    batch.run(replace(wanted, folder=str(tmp_path / "fresh")))
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


@pytest.mark.parametrize("form", ["files", "stack", "shards"])
def test_a_folder_that_was_copied_is_gone_on_with(form, photos, tmp_path):
    wanted = settings(photos, tmp_path / "out", form=form, shards=2, contact_sheet=str(tmp_path / "out" / "sheet.png"))
    batch.run(wanted)
    shutil.copytree(tmp_path / "out", tmp_path / "copy", copy_function=shutil.copyfile)  # and all times are now
    (photos / "a.png").write_text("words")
    copied = replace(wanted, folder=str(tmp_path / "copy"), contact_sheet=str(tmp_path / "copy" / "sheet.png"))
    summary = batch.run(copied)
    assert (summary.done, summary.failed, summary.skipped, summary.aside) == (0, 1, 3, 0)
    fresh = replace(wanted, folder=str(tmp_path / "fresh"), contact_sheet=str(tmp_path / "fresh" / "sheet.png"))
    batch.run(fresh)
    assert tree(tmp_path / "copy") == tree(tmp_path / "fresh")


@pytest.mark.parametrize("form", ["files", "stack", "shards"])
def test_a_folder_of_a_version_that_noted_less_is_gone_on_with_and_nothing_is_lost(form, photos, tmp_path):
    out = tmp_path / "out"
    drawn = tmp_path / "sheet.png"
    wanted = settings(photos, out, form=form, shards=2, contact_sheet=str(drawn))
    batch.run(wanted)
    (out / ".glimpse" / "written.jsonl").unlink()
    (out / ".glimpse" / "sheets.json").write_text(json.dumps({str(drawn): [hash_of(drawn.read_bytes())]}))
    picture(photos / "e.png", 9)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert batch.run(wanted).done == 1
    kept = {path.name: path.read_bytes() for path in (out / ".glimpse" / "aside").rglob("*") if path.is_file()}
    unknown = {"run.json"} if form != "files" else {"run.json", METADATA}  # errors.jsonl is empty
    assert kept == {name: before[name] for name in unknown}
    assert batch.run(wanted).aside == len(unknown)
    batch.run(replace(wanted, folder=str(tmp_path / "fresh"), contact_sheet=str(tmp_path / "fresh.png")))
    assert tree(out) == tree(tmp_path / "fresh")


def test_what_is_no_run_s_is_told_of(photos, tmp_path):
    out, arguments = tmp_path / "out", ["batch", str(photos), "-o", str(tmp_path / "out"), "--box", "3,2,17.5,19"]
    CliRunner().invoke(app, arguments)
    edited(out / "a.png")
    edited(out / "b.png")
    (photos / "a.png").write_text("words")
    told = CliRunner().invoke(app, arguments).stderr
    assert "not as a run left it, and so it stays, though nothing of that name is wanted now: a.png\n" in told
    assert f"had to be made anew, is kept until you remove it: 1 file in {out / '.glimpse' / 'aside'}\n" in told
    (photos / "b.png").unlink()
    told = CliRunner().invoke(app, arguments).stderr
    assert "of 1 picture of an earlier run nothing is wanted now; what it wrote stays" in told


def test_other_settings_are_refused_until_force_starts_anew(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    other = settings(photos, out, look=replace(LOOK, size=(7, 5)), writing=Writing("jpg"))
    with pytest.raises(UsageError, match='other settings: size was "7x5", and now is "5x7"'):
        batch.run(replace(other, contact_sheet=str(tmp_path / "none" / "sheet.png")))
    assert not (tmp_path / "none").exists()  # nothing was started
    assert batch.run(replace(other, force=True)).done == 4
    assert batch.run(settings(photos, tmp_path / "fresh", look=other.look, writing=other.writing)).done == 4
    assert tree(out) == tree(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"look": replace(LOOK, place=replace(LOOK.place, margin=0.1))}, "place margin was 0.0, and now is 0.1"),
        ({"look": replace(LOOK, method="stn")}, 'method was null, and now is "stn"'),
        ({"look": None, "rows": [], "defaults": Defaults()}, 'places was "options", and now is "a table below '),
    ],
)
def test_the_setting_that_is_another_is_named_with_both_of_its_values(change, words, photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    with pytest.raises(UsageError, match=re.escape(words)):
        batch.run(settings(photos, out, **change))


@pytest.mark.parametrize("first", [b"garbage", b"[1]", b"\xff", b'{"settings": 7}', b"{}", b"[" * 10_000])
def test_a_journal_whose_first_line_is_damaged_is_refused_until_force_starts_anew(first, photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    journal = out / ".glimpse" / "journal.jsonl"
    journal.write_bytes(first + b"\n" + journal.read_bytes().partition(b"\n")[2])
    with pytest.raises(UsageError, match=r"journal\.jsonl is damaged") as caught:
        batch.run(settings(photos, out))
    assert caught.value.hint.startswith("--force")
    assert batch.run(settings(photos, out, force=True)).done == 4


def test_the_command_goes_on_with_a_run_of_the_library_though_its_box_is_of_whole_numbers(photos, tmp_path):
    batch.run(settings(photos, tmp_path / "out", look=Look(BoxPlace((3, 2, 17, 19)), SIZE)))
    done = typed(photos, "-o", tmp_path / "out", "--box", "3,2,17,19", "--size", "7x5")
    assert (done.exit_code, len(lines(tmp_path / "out" / METADATA))) == (0, 4)


def test_a_setting_that_is_no_longer_known_is_named(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    journal = out / ".glimpse" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'{"settings":{', b'{"settings":{"colour":"blue",', 1))
    with pytest.raises(UsageError, match='colour was "blue", which this version does not know'):
        batch.run(settings(photos, out))


def test_a_picture_over_a_limit_is_done_by_the_same_command_with_a_higher_one(photos, tmp_path):
    out = tmp_path / "out"
    Image.new("RGB", (40, 40)).save(photos / "large.png")
    low = settings(photos, out, reading=Reading(max_pixels=1000))
    assert batch.run(low).failed == 1
    assert json.loads((out / "run.json").read_text())["max_pixels"] == 1000
    summary = batch.run(replace(low, reading=Reading(max_pixels=2000)))
    assert (summary.done, summary.skipped, summary.failed) == (1, 4, 0)


def test_a_picture_that_failed_and_went_is_not_told_as_one_whose_glimpses_stay(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    (photos / "a.png").write_text("words")
    (photos / "bad.png").write_text("words")
    assert batch.run(settings(photos, out)).failed == 2
    for name in ("a.png", "bad.png", "b.png"):
        (photos / name).unlink()
    assert batch.run(settings(photos, out)).gone == 1


def test_what_another_run_writes_below_the_folder_is_left_to_it(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    batch.run(settings(photos, out / "other"))
    (out / "other" / "deep").mkdir()
    left = f".glimpse-{'0' * 16}.tmp"
    ours, theirs, mine = out / "sub" / left, out / "other" / "deep" / left, out / ".glimpse-settings.tmp"
    mine.touch()
    ours.touch()
    theirs.touch()
    batch.run(settings(photos, out))
    assert (ours.exists(), theirs.exists(), mine.exists()) == (False, True, True)


def test_a_journal_cut_short_or_full_of_nonsense_costs_work_and_nothing_else(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    journal, before = out / ".glimpse" / "journal.jsonl", tree(out)
    whole = journal.read_bytes()
    for cut in (0, 10, whole.index(b"\n") + 1, len(whole) - 20):
        journal.write_bytes(whole[:cut])
        batch.run(settings(photos, out))
        assert tree(out) == before
    head, first, *rest = whole.splitlines(keepends=True)
    others = [{"image": ["a.png"], "files": {}}, {"image": "a.png", "files": "a.png"}, {"sealed": 7}, {"rows": []}]
    odd = [b"\0" * 50 + b"\n[]\n{}\n7\n", *map(checked_line_of, others)]
    journal.write_bytes(b"".join([head, *odd, first, *rest]))
    assert batch.run(settings(photos, out)).skipped == 4


def test_a_second_run_is_refused_and_told_of_the_first(photos, tmp_path):
    out = tmp_path / "out"
    (out / ".glimpse").mkdir(parents=True)
    (out / ".glimpse" / "lock").write_text("process 1, which was killed")
    seen = []

    def watch(*_):
        if not seen:
            seen.append(1)
            with pytest.raises(UsageError, match=rf"in use by another run: process {os.getpid()} on .* since 2"):
                batch.run(settings(photos, out))

    assert batch.run(settings(photos, out), watch).done == 4
    assert seen
