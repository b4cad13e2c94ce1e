"""A run of batch, from folders and tables to files: what comes out, and what fails."""

import errno
import json
import os
import shutil
import socket
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batches import BOX, LOOK, command, expected, lines, named, of_table, picture, rewritten, settings, tree
from glimpse_cli import batch
from glimpse_cli.batch import gather, runner, strays
from glimpse_cli.batch.journal import checked_line_of, parsed
from glimpse_cli.batch.own import METADATA, hash_of, hash_of_file
from glimpse_cli.errors import OutputError, UsageError
from glimpse_cli.items import Writing


def test_glimpses_are_those_of_the_library_and_metadata_says_where_they_are(photos, tmp_path):
    out = tmp_path / "out"
    summary = batch.run(settings(photos, out))
    assert (summary.rows, summary.done, summary.failed, summary.skipped, summary.exit_code) == (4, 4, 0, 0, 0)
    rows = lines(out / METADATA)
    assert [next(iter(row)) for row in rows] == ["file_name"] * 4
    assert [row["file_name"] for row in rows] == ["a.png", "b.png", "sub/c.png", "sub/deep/d.v2.png"]
    for row, seed in zip(rows, (1, 0, 2, 3), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(out / row["file_name"])), expected(seed))
        assert row["place"]["box"] == pytest.approx(dict(zip(("x0", "y0", "x1", "y1"), BOX, strict=True)))
    assert (out / "errors.jsonl").read_bytes() == b""
    assert json.loads((out / "run.json").read_text())["done"] == 4


def test_a_table_gives_each_its_place_and_its_other_columns_travel(photos, tmp_path):
    text = (
        "image,x0,y0,x1,y1,label,file_name\na.png,1,2,9,12,cat,mine\nnone.png,1,2,3,4,,\n"
        "a.png,x,2,9,9,,\nb.png,2,3,20,9.5,dog,\na.png,4,2,29,21,cat,\n"
    )
    out = tmp_path / "out"
    summary = batch.run(of_table(photos, out, text))
    assert (summary.rows, summary.done, summary.failed, summary.exit_code) == (5, 3, 2, 3)
    rows = lines(out / METADATA)
    assert [(r["file_name"], r["source"], r["row"], r["label"], r["file_name_"]) for r in rows] == [
        ("a.1.png", "a.png", 1, "cat", "mine"),
        ("a.5.png", "a.png", 5, "cat", ""),
        ("b.png", "b.png", 4, "dog", ""),
    ]
    np.testing.assert_array_equal(np.asarray(Image.open(out / "a.5.png")), expected(1, (4, 2, 29, 21)))
    errors = lines(out / "errors.jsonl")
    assert [(e["image"], e["row"], e["reason"]) for e in errors] == [
        ("a.png", "t.csv, line 4", "wrong row"),
        ("none.png", "t.csv, line 3", "cannot be read"),
    ]
    assert "t.csv, line 4: column x0: 'x' is not a number" in errors[0]["error"]
    assert errors[1]["error"] == f"t.csv, line 3: cannot open {photos / 'none.png'}"


def test_every_input_is_done_or_failed_whatever_it_is(photos, tmp_path):
    (photos / "empty.png").touch()
    (photos / "words.png").write_text("words")
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:700])
    os.mkfifo(photos / "pipe.png")
    (photos / "null.png").symlink_to("/dev/null")
    (photos / "lost.png").symlink_to("nowhere")
    (photos / "round.png").symlink_to("round.png")
    (photos / "folder.png").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(photos / "socket.png"))
        summary = batch.run(settings(photos, tmp_path / "out"))
    assert (summary.done, summary.failed, summary.exit_code) == (4, 8, 3)
    reasons = {e["image"]: e["reason"] for e in lines(tmp_path / "out" / "errors.jsonl")}
    assert reasons == {
        "cut.png": "truncated",
        "empty.png": "empty",
        "lost.png": "cannot be read",
        "null.png": "cannot be read",
        "pipe.png": "cannot be read",
        "round.png": "cannot be read",
        "socket.png": "cannot be read",
        "words.png": "not an image",
    }


@pytest.mark.parametrize(
    "name",
    [
        b"new\nline",
        b"esc\x1b[31m",
        b"\xff\xfe",
        "\u202eright".encode(),
        b"-o",
        b"a b'\"\\",
        "\U0001f440".encode(),
    ],
)
def test_any_name_a_disk_takes_is_done_and_told(name, photos, tmp_path):
    os.rename(bytes(photos / "a.png"), os.path.join(bytes(photos), name + b".png"))  # noqa: PTH104, PTH118 - bytes
    out = tmp_path / "out"
    assert batch.run(settings(photos, out)).done == 4
    written = [row["file_name"] for row in lines(out / METADATA)]
    assert os.fsdecode(name) + ".png" in written
    assert all((out / name).is_file() for name in written)
    assert batch.run(settings(photos, out)).skipped == 4


def test_no_name_leads_out_of_the_folder_through_a_link(photos, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    out.mkdir()
    (out / "sub").symlink_to(elsewhere)
    assert batch.run(settings(photos, out)).failed == 2
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("force", [False, True])
def test_nothing_outside_the_folder_is_taken_away_whatever_the_journal_says(force, photos, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    batch.run(settings(photos, out))
    (out / "sub").rename(elsewhere)
    (out / "sub").symlink_to(elsewhere)
    mine = [elsewhere / "c.png", elsewhere / "mine.png", tmp_path / "mine.png"]
    for path in mine[1:]:
        path.write_text("mine")
    theirs = dict.fromkeys((str(mine[1]), "../mine.png", "sub/mine.png"), hash_of(b"mine"))
    rewritten(out, lambda record: record["files"].update(theirs))
    for name in ("a.png", "sub/c.png"):
        (photos / name).write_text("words")
    changes = {"look": replace(LOOK, size=(7, 5))} if force else {}
    batch.run(settings(photos, out, force=force, **changes))
    assert all(path.exists() for path in mine)
    assert not (out / "a.png").exists()


def test_taking_a_stack_apart_writes_nothing_outside_its_parts(photos, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    batch.run(settings(photos, out, form="stack"))
    elsewhere.mkdir()
    (out / ".glimpse" / "parts").mkdir()
    (out / ".glimpse" / "parts" / "sub").symlink_to(elsewhere)
    (photos / "a.png").write_text("words")
    with pytest.raises(OutputError, match=r"sub/c\.png is no part of this run"):
        batch.run(settings(photos, out, form="stack"))
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("form", "name", "data"),
    [
        ("stack", "stack.npy", b""),
        ("stack", "stack.npy", b"pickled"),
        ("stack", METADATA, b"[]\n"),
        ("stack", METADATA, b"[" * 100_000),
        ("stack", METADATA, b'{"index":99,"name":"a.png"}\n'),
        ("stack", METADATA, b'{"index":0,"name":["a.png"]}\n'),
        ("shards", "shard-000000.tar", b"words"),
    ],
)
def test_what_no_run_put_together_is_made_again_by_the_same_command(form, name, data, photos, tmp_path):
    out = tmp_path / "out"
    given = {"form": form, "shards": 1 if form == "shards" else 0}
    batch.run(settings(photos, out, **given))
    before = tree(out)
    (out / name).write_bytes(data)
    notes = out / ".glimpse" / "journal.jsonl"
    *others, seal = notes.read_bytes().splitlines(keepends=True)
    forged = {**parsed(seal)["sealed"], name: hash_of(data)}
    notes.write_bytes(b"".join([*others, checked_line_of({"sealed": forged})]))
    (photos / "a.png").write_bytes((photos / "a.png").read_bytes() + b"\0")
    with pytest.raises(OutputError, match=r"is missing \(try: run the same command again"):
        batch.run(settings(photos, out, **given))
    assert batch.run(settings(photos, out, **given)).failed == 0
    assert tree(out) == before


@pytest.mark.parametrize("form", ["stack", "shards"])
def test_to_begin_anew_takes_no_file_away_that_has_the_name_of_a_part(form, photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out, form=form, shards=1))
    (out / "a.png").write_text("mine")
    anew = settings(photos, out, form=form, shards=1, look=replace(LOOK, size=(7, 5)), force=True)
    assert batch.run(anew).done == 4
    assert (out / "a.png").read_text() == "mine"


def test_to_begin_anew_takes_no_file_away_that_stands_where_a_glimpse_once_was(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    (photos / "a.png").write_text("words")
    assert batch.run(settings(photos, out)).failed == 1
    (out / "a.png").write_text("mine")
    assert batch.run(settings(photos, out, look=replace(LOOK, size=(7, 5)), force=True)).done == 3
    assert (out / "a.png").read_text() == "mine"


@pytest.mark.parametrize("form", ["stack", "shards"])
def test_columns_that_say_where_a_glimpse_is_are_the_run_s_whatever_a_table_has(form, photos, tmp_path):
    (tmp_path / "secret").write_text("mine")
    text = (
        "image,x0,y0,x1,y1,name,index,key,shard,mask_file_name\n"
        f"a.png,3,2,17.5,19,{tmp_path}/secret,7,../x,s,cat\nb.png,3,2,17.5,19,cat,0,,,\n"
    )
    out = tmp_path / "out"
    assert batch.run(of_table(photos, out, text, form=form, shards=1)).done == 2
    first = lines(out / METADATA)[0]
    assert (first["name"], first["name_"]) == ("a.png", f"{tmp_path}/secret")
    assert (first["index_"], first["key_"], first["shard_"], first["mask_file_name_"]) == ("7", "../x", "s", "cat")
    if form == "stack":
        assert first["index"] == 0
        np.testing.assert_array_equal(np.load(out / "stack.npy")[0], expected(1))
    else:
        with tarfile.open(out / "shard-000000.tar") as tar:
            assert tar.getnames() == ["00000000.png", "00000000.json", "00000001.png", "00000001.json"]
            np.testing.assert_array_equal(np.asarray(Image.open(tar.extractfile("00000000.png"))), expected(1))
    picture(photos / "b.png", 9)
    assert batch.run(of_table(photos, out, text, form=form, shards=1)).done == 1


def test_columns_of_any_name_travel_and_none_is_lost(photos, tmp_path):
    head = "image,x0,y0,x1,y1,size,size_,size__,label,mask_file_name,index\n"
    batch.run(of_table(photos, tmp_path / "out", head + "a.png,1,2,9,12,big,small,none,cat,m,i\n"))
    (row,) = lines(tmp_path / "out" / METADATA)
    assert row["size"] == {"width": 7, "height": 5}
    assert sorted(row[key] for key in ("size_", "size__", "size___")) == ["big", "none", "small"]
    assert (row["label"], row["mask_file_name"], row["index"]) == ("cat", "m", "i")


@pytest.mark.parametrize("form", ["stack", "shards"])
def test_parts_that_a_killed_run_left_are_not_taken_for_those_of_the_journal(form, photos, tmp_path):
    out = tmp_path / "out"
    whole = settings(photos, out, form=form, shards=2)
    batch.run(whole)
    stale = out / ".glimpse" / "parts"
    stale.mkdir()
    for name in ("a.png", "gone.png"):
        (stale / name).write_bytes(bytes(5 * 7 * 3))
    picture(photos / "b.png", 9)
    assert batch.run(whole).done == 1
    batch.run(replace(whole, folder=str(tmp_path / "fresh")))
    assert tree(out) == tree(tmp_path / "fresh")


def test_a_stack_whose_metadata_is_damaged_is_not_taken_apart_by_it(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out, form="stack"))
    rows = (out / METADATA).read_bytes()
    (out / METADATA).write_bytes(rows[:-20])
    picture(photos / "b.png", 9)
    assert batch.run(settings(photos, out, form="stack")).exit_code == 0
    batch.run(settings(photos, tmp_path / "fresh", form="stack"))
    assert tree(out) == tree(tmp_path / "fresh")


@pytest.mark.parametrize("at", [(runner, "write_tables"), (gather, "seal")])
@pytest.mark.parametrize("how", [("stack", 0), ("stack", 1), ("shards", 0), ("shards", 1)])
def test_what_a_killed_run_had_no_time_to_put_together_is_in_the_next(how, at, photos, tmp_path, monkeypatch):
    out, (form, changed) = tmp_path / "out", how
    whole = settings(photos, out, form=form, shards=2)
    batch.run(whole)
    picture(photos / "b.png", 9)

    def kill(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(*at, kill)
        with pytest.raises(KeyboardInterrupt):
            batch.run(whole)
    if changed:
        picture(photos / "a.png", 8)
    assert batch.run(whole).done == changed
    batch.run(replace(whole, folder=str(tmp_path / "fresh")))
    assert tree(out) == tree(tmp_path / "fresh")


@pytest.mark.parametrize("form", ["stack", "shards"])
def test_what_is_put_together_follows_a_picture_that_goes_and_comes_back(form, photos, tmp_path):
    out = tmp_path / "out"
    whole = settings(photos, out, form=form, shards=2)
    batch.run(whole)
    before = tree(out)
    (photos / "a.png").rename(tmp_path / "a.png")
    assert batch.run(whole).gone == 0
    (tmp_path / "a.png").rename(photos / "a.png")
    assert batch.run(whole).done == 1
    assert tree(out) == before


def test_a_picture_is_never_replaced_by_its_glimpse_whatever_links_lead_to_it(photos, tmp_path):
    out, linked = tmp_path / "out", tmp_path / "linked"
    batch.run(settings(photos, out))
    linked.mkdir()
    (linked / "a.jpg").symlink_to(out / "a.png")
    for force in (False, True):
        with pytest.raises(UsageError, match=r"the output a\.png is also an input"):
            batch.run(settings(linked, out, force=force))


@pytest.mark.parametrize("name", ["metadata.jsonl", "errors.jsonl"])
@pytest.mark.parametrize("force", [False, True])
def test_a_table_is_never_replaced(name, force, photos, tmp_path):
    out = tmp_path / "out"
    text = '{"image": "a.png", "x0": 1, "y0": 2, "x1": 9, "y1": 9}\n'
    from_file = of_table(photos, out, text, ".jsonl", table=str(out / name), force=force)
    batch.run(replace(from_file, table=None))
    (out / name).write_text(text)
    with pytest.raises(UsageError, match=f"the output {name} is also an input"):
        batch.run(from_file)
    assert (out / name).read_text() == text


@pytest.mark.parametrize("change", [(b'"coverage":1.0', b'"coverage":1.4'), (b'"errors":[]', b'"error{":[]')])
def test_a_journal_in_which_a_disk_changed_a_word_costs_that_picture_s_work(change, photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    journal, before = out / ".glimpse" / "journal.jsonl", tree(out)
    journal.write_bytes(journal.read_bytes().replace(*change, 1))
    assert batch.run(settings(photos, out)).done == 1
    assert tree(out) == before
    assert batch.run(settings(photos, out)).skipped == 4


@pytest.mark.parametrize(
    "change",
    [
        {"rows": {"a": 1}},
        {"rows": [None]},
        {"rows": [{"file_name": "a.png"}]},
        {"looks": ["x"]},
        {"looks": {"a.png": 1}},
        {"input": None},
        {"input": {}},
        {"errors": 7},
        {"files": {"a.png": [1]}},
    ],
)
def test_a_line_that_no_run_would_write_counts_for_nothing_whoever_gave_it_its_hash(change, photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    before = tree(out)
    rewritten(out, lambda record: record.update(change))
    summary = batch.run(settings(photos, out, force=True))
    assert (summary.done + summary.skipped, summary.failed) == (4, 0)
    assert tree(out) == before


@pytest.mark.parametrize("known", [b"[" * 100_000, b"[]", b"\xff", b"1" * 5000, b'{"a": [7, null], "b": {}}'])
def test_what_no_run_would_note_of_its_sheets_counts_for_nothing(known, photos, tmp_path):
    own = tmp_path / "out" / ".glimpse"
    own.mkdir(parents=True)
    (own / "sheets.json").write_bytes(known)
    assert batch.run(settings(photos, tmp_path / "out", contact_sheet=str(tmp_path / "sheet.png"))).done == 4


def test_a_run_that_began_while_another_was_planned_is_told_of_or_gone_on_with(photos, tmp_path, monkeypatch):
    out, genuine = tmp_path / "out", runner.plan

    def meanwhile(wanted):
        monkeypatch.setattr(runner, "plan", genuine)
        batch.run(settings(photos, out))
        return genuine(wanted)

    monkeypatch.setattr(runner, "plan", meanwhile)
    assert batch.run(settings(photos, out)).skipped == 4


@pytest.mark.parametrize("name", ["lock", "journal.jsonl", "landing.jsonl", "sheets.json"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_a_run_keeps_for_itself_are_plain_files(kind, name, photos, tmp_path):
    own = tmp_path / "out" / ".glimpse"
    own.mkdir(parents=True)
    if kind == "link":
        (own / name).symlink_to(photos / "a.png")
    else:
        {"pipe": os.mkfifo, "folder": Path.mkdir}[kind](own / name)
    before = (photos / "a.png").read_bytes()
    with pytest.raises(OutputError, match=f"{name} is "):
        batch.run(settings(photos, tmp_path / "out", force=True, contact_sheet=str(tmp_path / "sheet.png")))
    assert (photos / "a.png").read_bytes() == before


@pytest.mark.parametrize("name", ["lock", "journal.jsonl", "landing.jsonl", "written.jsonl", "sheets.json"])
def test_a_file_that_is_a_picture_by_another_name_is_not_written(name, photos, tmp_path):
    (tmp_path / "out" / ".glimpse").mkdir(parents=True)
    (tmp_path / "out" / ".glimpse" / name).hardlink_to(photos / "a.png")
    before = (photos / "a.png").read_bytes()
    assert batch.run(settings(photos, tmp_path / "out", force=True)).done == 4
    assert (photos / "a.png").read_bytes() == before


def test_a_copy_that_shares_its_files_stays_as_it_is_when_the_run_goes_on(photos, tmp_path):
    out, shared = tmp_path / "out", tmp_path / "shared"
    batch.run(settings(photos, out))
    shutil.copytree(out, shared, copy_function=os.link)
    before = tree(shared), (shared / ".glimpse" / "journal.jsonl").read_bytes()
    picture(photos / "new.png", 9)
    assert (batch.run(settings(photos, out)).done, batch.run(settings(photos, out)).skipped) == (1, 5)
    assert (tree(shared), (shared / ".glimpse" / "journal.jsonl").read_bytes()) == before


@pytest.mark.parametrize("name", ["lock", "journal.jsonl"])
def test_a_link_that_came_after_one_looked_is_not_written_through(name, photos, tmp_path, monkeypatch):
    before = (photos / "a.png").read_bytes()
    monkeypatch.setattr(
        "glimpse_cli.batch.journal._refuse_links", lambda own: (own / name).symlink_to(photos / "a.png")
    )
    with pytest.raises(OutputError, match="cannot write"):
        batch.run(settings(photos, tmp_path / "out", force=True))
    assert (photos / "a.png").read_bytes() == before


def test_notes_are_not_written_through_a_link(photos, tmp_path):
    (tmp_path / ".glimpse").mkdir()
    (tmp_path / ".glimpse" / "landing.jsonl").symlink_to(photos / "a.png")
    before = (photos / "a.png").read_bytes()
    with pytest.raises(OSError, match=r"landing\.jsonl"):
        strays.note(str(tmp_path), [("a.png", {"a.png": "hash"})])
    assert (photos / "a.png").read_bytes() == before


def test_parts_that_lie_behind_a_link_are_somebody_else_s(photos, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "thesis.txt").write_text("precious")
    (tmp_path / "out" / ".glimpse").mkdir(parents=True)
    (tmp_path / "out" / ".glimpse" / "parts").symlink_to(tmp_path / "scratch")
    with pytest.raises(OutputError, match="parts is a link"):
        batch.run(settings(photos, tmp_path / "out", form="stack"))
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["thesis.txt"]


def test_a_folder_behind_one_that_is_not_there_is_checked_like_any_other(photos, tmp_path):
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / METADATA).write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        batch.run(settings(photos, tmp_path / "new" / ".." / "user", form="stack"))
    assert (tmp_path / "user" / METADATA).read_text() == "mine"


def test_what_a_run_keeps_for_itself_lies_behind_no_link(photos, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    (elsewhere / "parts").mkdir(parents=True)
    (elsewhere / "parts" / "mine").write_text("mine")
    (out / ".glimpse").symlink_to(elsewhere)
    with pytest.raises(OutputError, match=r"\.glimpse is a link"):
        batch.run(settings(photos, out, form="stack"))
    assert (elsewhere / "parts" / "mine").read_text() == "mine"


def test_what_is_no_plain_file_is_not_as_it_was_left(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "fifo")
    found = [hash_of_file(tmp_path / name) for name in ("file", "link", "fifo", "none")]
    assert found == [hash_of(b"mine"), None, None, None]


@pytest.mark.parametrize("ending", ["tif", "JPEG", "webp"])
def test_a_contact_sheet_may_have_any_suffix_of_a_picture(ending, photos, tmp_path):
    drawn = tmp_path / f"sheet.{ending}"
    batch.run(settings(photos, tmp_path / "out", contact_sheet=str(drawn)))
    with Image.open(drawn) as made:
        assert made.format == {"tif": "TIFF", "JPEG": "JPEG", "webp": "WEBP"}[ending]


def test_a_contact_sheet_that_could_not_be_replaced_twice_is_still_known(photos, tmp_path, monkeypatch):
    out, drawn = tmp_path / "out", tmp_path / "sheet.png"
    with_sheet = settings(photos, out, contact_sheet=str(drawn))
    batch.run(with_sheet)

    with monkeypatch.context() as patched:
        named(patched, drawn, OSError(errno.ENOSPC, "No space left on device"))
        for seed in (7, 8):
            picture(photos / "a.png", seed)
            with pytest.raises(OutputError, match="cannot write"):
                batch.run(with_sheet)
    picture(photos / "a.png", 9)
    assert batch.run(with_sheet).done == 1
    batch.run(settings(photos, tmp_path / "fresh", contact_sheet=str(tmp_path / "fresh.png")))
    assert drawn.read_bytes() == (tmp_path / "fresh.png").read_bytes()


def test_a_link_that_leads_round_in_a_circle_fails_the_rows_below_it_in_words(photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "sub").symlink_to("sub")
    assert batch.run(settings(photos, out)).failed == 2
    assert {error["reason"] for error in lines(out / "errors.jsonl")} == {"cannot be written"}


def test_inputs_are_never_written(photos, tmp_path):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in photos.rglob("*.png")}
    batch.run(settings(photos, tmp_path / "out", writing=Writing("png", mask="png")))
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in photos.rglob("*.png")} == before


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "tiff", "npy"])
def test_every_format_is_written_and_found_again(form, photos, tmp_path):
    out = tmp_path / "out"
    wanted = settings(photos, out, writing=Writing(form, mask="npy"))
    assert batch.run(wanted).done == 4
    before = tree(out)
    assert {f"sub/c.{form}", "sub/c.mask.npy"} <= set(before)
    assert batch.run(wanted).skipped == 4
    assert tree(out) == before


def test_a_folder_that_holds_other_files_of_those_names_is_left_alone(photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.png").write_text("mine")
    with pytest.raises(OutputError, match=r"b\.png exists"):
        batch.run(settings(photos, out))
    assert tree(out) == {"b.png": b"mine"}
    assert batch.run(settings(photos, out, force=True)).done == 4


@pytest.mark.parametrize("name", ["b.png", "b.mask.png", "metadata.jsonl"])
def test_a_first_run_over_any_file_it_would_replace_is_refused(name, photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    with_masks = settings(photos, out, writing=Writing("png", mask="png"))
    with pytest.raises(OutputError, match=rf"{name} exists"):
        batch.run(with_masks)
    assert tree(out) == {name: b"mine"}
    assert batch.run(replace(with_masks, force=True)).done == 4


@pytest.mark.parametrize(("form", "name"), [("stack", "stack.npy"), ("shards", "shard-000001.tar")])
def test_a_first_run_over_a_stack_or_shards_of_somebody_else_is_refused(form, name, photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    wanted = settings(photos, out, form=form, shards=2)
    with pytest.raises(OutputError, match=rf"{name} exists"):
        batch.run(wanted)
    assert tree(out) == {name: b"mine"}
    assert not (out / ".glimpse").exists()


@pytest.mark.parametrize("name", ["e.png", "e.mask.png"])
def test_a_file_that_came_to_lie_where_a_new_glimpse_belongs_fails_that_row_and_stays(name, photos, tmp_path):
    out = tmp_path / "out"
    with_masks = settings(photos, out, writing=Writing("png", mask="png"))
    batch.run(with_masks)
    (out / name).write_text("mine")
    picture(photos / "e.jpg")
    summary = batch.run(with_masks)
    assert (summary.done, summary.failed, summary.skipped) == (0, 1, 4)
    assert [(e["error"], e["try"]) for e in lines(out / "errors.jsonl")] == [
        (f"{out / name} exists", "--force to replace it, or another -o")
    ]
    assert (out / name).read_text() == "mine"
    assert {path.name for path in out.glob("e.*")} == {name}
    assert batch.run(replace(with_masks, force=True)).done == 1
    assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_the_glimpse_byte_for_byte_is_no_hindrance(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    picture(photos / "e.png", 0)
    (out / "e.png").write_bytes((out / "b.png").read_bytes())
    assert batch.run(settings(photos, out)).done == 1


@pytest.mark.parametrize("force", [False, True])
def test_a_picture_that_fails_takes_nobodys_file_with_it(force, photos, tmp_path):
    out = tmp_path / "out"
    wanted = settings(photos, out, writing=Writing("png", mask="png"), force=force)
    if not force:
        batch.run(wanted)
    out.mkdir(exist_ok=True)
    for name in ("e.png", "e.mask.png"):
        (out / name).write_text("mine")
    (photos / "e.jpg").write_text("words")
    assert batch.run(wanted).failed == 1
    assert [(out / name).read_text() for name in ("e.png", "e.mask.png")] == ["mine"] * 2


def test_a_glimpse_whose_mask_cannot_be_written_is_taken_back(photos, tmp_path):
    out = tmp_path / "out"
    (out / "a.mask.png").mkdir(parents=True)
    summary = batch.run(settings(photos, out, writing=Writing("png", mask="png"), force=True))
    assert (summary.done, summary.failed) == (3, 1)
    assert not (out / "a.png").exists()


def test_a_run_that_stopped_counts_the_glimpses_of_earlier_runs_that_it_did_not_come_to(photos, tmp_path):
    out = tmp_path / "out"
    batch.run(settings(photos, out))
    (photos / "0.png").touch()
    stopped = batch.run(settings(photos, out, jobs=1, stop=True))
    assert (stopped.failed, stopped.came_through, stopped.exit_code) == (1, 4, 3)


def test_a_run_that_stopped_draws_no_sheet_of_what_it_did_not_come_to(photos, tmp_path):
    text = "image,x0,y0,x1,y1\na.png,1,2,9,12\n../b.png,1,2,9,12\n"
    sheets = [tmp_path / name for name in ("1.png", "2.png")]
    wanted = of_table(photos, tmp_path / "out", text, writing=Writing("npy"), contact_sheet=str(sheets[0]))
    assert batch.run(wanted).done == 1
    (tmp_path / "out" / "a.npy").write_bytes(b"damaged")
    stopped = batch.run(replace(wanted, stop=True, contact_sheet=str(sheets[1])))
    assert (stopped.failed, stopped.not_begun, [path.exists() for path in sheets]) == (1, 1, [True, False])


def test_a_setting_of_the_environment_is_told_by_its_name(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("GLIMPSE_JOBS", "many")
    done = command(photos, "-o", tmp_path / "out", "--box", "3,2,17.5,19")
    assert (done.returncode, done.stderr.partition(" must be")[0]) == (2, "error: GLIMPSE_JOBS")
    done = command(photos, "-o", tmp_path / "out", "--box", "3,2,17.5,19", "--jobs=many")
    assert done.stderr.startswith("error: --jobs must be")


def test_stop_ends_at_the_first_failure_and_the_same_command_goes_on(photos, tmp_path):
    (photos / "aa.png").touch()
    out = tmp_path / "out"
    summary = batch.run(settings(photos, out, jobs=1, stop=True))
    assert summary.failed == 1
    assert summary.done + summary.failed + summary.skipped == 5
    assert [error["image"] for error in lines(out / "errors.jsonl")] == ["aa.png"]
    assert len(lines(out / METADATA)) == summary.done
    picture(photos / "aa.png", 9)
    assert batch.run(settings(photos, out)).exit_code == 0
    assert batch.run(settings(photos, tmp_path / "other")).done == 5
    assert tree(out) == tree(tmp_path / "other")
