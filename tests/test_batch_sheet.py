"""The contact sheet of a batch."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batches import BOX, SIZE, expected, named, picture, pixels, settings, with_sheet
from glimpse_cli import batch, draw
from glimpse_cli.batch import sheet
from glimpse_cli.batch.written import Written
from glimpse_cli.combs import Box
from glimpse_cli.errors import OutputError, UsageError
from glimpse_cli.glimpse import Spec, extract
from glimpse_cli.items import Writing
from pictures import png


@pytest.mark.parametrize("place", ["out/sub/all.png", "sheet.png"])
@pytest.mark.parametrize("kind", ["empty", "cut", "link"])
def test_a_contact_sheet_that_is_not_as_it_was_left_is_made_anew_and_what_it_was_is_kept(kind, place, photos, tmp_path):
    drawn, aside = tmp_path / place, tmp_path / "out" / ".glimpse" / "aside" / "1" / place.removeprefix("out/")
    batch.run(with_sheet(photos, tmp_path / "out", drawn))
    before = drawn.read_bytes()
    drawn.unlink()
    if kind == "link":
        (tmp_path / "mine").write_bytes(before[:99])
        drawn.symlink_to(tmp_path / "mine")
    else:
        drawn.write_bytes(before[: 99 * (kind == "cut")])
    summary = batch.run(with_sheet(photos, tmp_path / "out", drawn))
    assert (summary.skipped, summary.aside) == (4, kind != "empty")
    assert not drawn.is_symlink()
    assert drawn.read_bytes() == before
    assert kind == "empty" or aside.read_bytes() == before[:99]


@pytest.mark.parametrize(
    "name", ["a.png", "A.png", "sub", "a.png/sheet.png", "a.mask.png", "metadata.jsonl", ".glimpse/sheet.png"]
)
def test_a_contact_sheet_under_a_name_that_the_run_needs_is_refused_before_it_starts(name, photos, tmp_path):
    wanted = with_sheet(photos, tmp_path / "out", tmp_path / "out" / name, writing=Writing("png", mask="png"))
    with pytest.raises(UsageError, match="a name that the run needs"):
        batch.run(wanted)
    assert not (tmp_path / "out").exists()


def test_a_contact_sheet_may_lie_among_the_glimpses(photos, tmp_path):
    drawn = tmp_path / "out" / "sub" / "all.png"
    for done in (4, 0):
        assert batch.run(with_sheet(photos, tmp_path / "out", drawn)).done == done
        assert drawn.is_file()


@pytest.mark.parametrize("begun", [False, True])
def test_a_contact_sheet_replaces_no_file_of_somebody_else(begun, photos, tmp_path):
    path = tmp_path / "precious.png"
    if begun:
        batch.run(settings(photos, tmp_path / "out"))
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"precious\.png exists") as caught:
        batch.run(with_sheet(photos, tmp_path / "out", path))
    assert caught.value.hint == "--force to replace it, or another --contact-sheet"
    assert path.read_text() == "mine"
    batch.run(with_sheet(photos, tmp_path / "out", path, force=True))
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_contact_sheet_of_an_earlier_run_is_replaced_and_is_no_input_among_the_pictures(photos, tmp_path):
    path = photos / "sheets" / "sheet.png"
    wanted = with_sheet(photos, tmp_path / "out", path)
    assert batch.run(wanted).done == 4
    before = path.read_bytes()
    picture(photos / "e.png", 5)
    summary = batch.run(wanted)
    assert (summary.done, summary.skipped, summary.passed_over) == (1, 4, {"contact sheets": 1})
    assert path.read_bytes() != before
    assert batch.run(settings(photos, tmp_path / "out")).rows == 5
    path.write_bytes(before + b"a hand was here")
    with pytest.raises(UsageError, match="is also an input"):
        batch.run(wanted)


def test_a_contact_sheet_that_may_not_be_removed_is_told_in_words(photos, tmp_path, monkeypatch):
    path, genuine = tmp_path / "sheet.png", Path.unlink
    wanted = with_sheet(photos, tmp_path / "out", path)
    batch.run(wanted)
    for image in photos.rglob("*.png"):
        image.write_text("words")

    def unlink(self, **how):
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied")
        genuine(self, **how)

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(OutputError, match=r"cannot write .*sheet\.png"):
        batch.run(wanted)


def test_a_contact_sheet_goes_with_the_last_of_its_glimpses_and_no_other_file_does(photos, tmp_path):
    path = tmp_path / "sheet.png"
    wanted = with_sheet(photos, tmp_path / "out", path)
    batch.run(wanted)
    for image in photos.rglob("*.png"):
        image.write_text("words")
    assert batch.run(wanted).failed == 4
    assert not path.exists()
    path.write_text("mine")
    assert batch.run(replace(wanted, force=True)).failed == 4
    assert path.read_text() == "mine"
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*folder\.png") as caught:
        batch.run(with_sheet(photos, tmp_path / "out", tmp_path / "folder.png", force=True))
    assert caught.value.why == "it is a folder"


def test_a_contact_sheet_is_known_though_a_run_was_killed_before_it_could_replace_it(photos, tmp_path, monkeypatch):
    out, drawn = tmp_path / "out", tmp_path / "sheet.png"
    batch.run(with_sheet(photos, out, drawn))
    picture(photos / "a.png", 9)
    with monkeypatch.context() as patched:
        named(patched, drawn, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            batch.run(with_sheet(photos, out, drawn))
    assert batch.run(with_sheet(photos, out, drawn)).skipped == 4
    batch.run(with_sheet(photos, tmp_path / "fresh", tmp_path / "fresh.png"))
    assert drawn.read_bytes() == (tmp_path / "fresh.png").read_bytes()


def test_a_file_that_comes_to_lie_where_a_contact_sheet_will_be_while_a_run_is_at_work_stays(photos, tmp_path):
    path = tmp_path / "sheet.png"
    with pytest.raises(OutputError, match=r"sheet\.png exists"):
        batch.run(with_sheet(photos, tmp_path / "out", path), lambda *_: path.write_text("mine"))
    assert path.read_text() == "mine"
    assert json.loads((tmp_path / "out" / "run.json").read_text())["done"] == 4


def test_what_a_killed_run_left_of_a_contact_sheet_outside_its_folder_goes_with_the_next(photos, tmp_path, monkeypatch):
    drawn = tmp_path / "sheets" / "sheet.png"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: None)  # of what is killed nothing is taken away
        named(patched, drawn, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            batch.run(with_sheet(photos, tmp_path / "out", drawn))
    (left,) = drawn.parent.iterdir()
    assert left.name.startswith(".glimpse-")
    assert batch.run(with_sheet(photos, tmp_path / "out", drawn)).skipped == 4
    assert [path.name for path in drawn.parent.iterdir()] == ["sheet.png"]


def test_a_contact_sheet_that_cannot_be_made_is_told_before_the_work_and_costs_nothing_after_it(
    photos, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make the folder"):
        batch.run(with_sheet(photos, tmp_path / "out", tmp_path / "file" / "sheet.png"))
    assert not list((tmp_path / "out").glob("*.png"))

    def full(*_):
        raise OutputError("the disk is full")

    monkeypatch.setattr(sheet, "make", full)
    with pytest.raises(OutputError, match="the disk is full"):
        batch.run(with_sheet(photos, tmp_path / "out", tmp_path / "sheet.png"))
    assert json.loads((tmp_path / "out" / "run.json").read_text())["done"] == 4


@pytest.mark.parametrize("size", [(5, 7), (160, 100), (161, 90), (37, 4000)])
def test_a_contact_sheet_looks_the_same_however_early_its_glimpses_are_reduced(size, tmp_path):
    glimpses = [np.random.default_rng(n).integers(0, 256, (*size, 1 + n), np.uint8) for n in range(4)]
    names = [f"{n}.png" for n in range(4)]
    written = Written(str(tmp_path), new=True, replace=False)
    sheet.make(str(tmp_path / "sheet.png"), written, zip(names, glimpses, strict=True))
    with Image.open(tmp_path / "sheet.png") as found:
        np.testing.assert_array_equal(np.asarray(found), draw.contact_sheet(glimpses, names))


@pytest.mark.parametrize("kept", ["png", "npy"])
@pytest.mark.parametrize("form", ["files", "stack", "shards"])
def test_a_contact_sheet_shows_the_glimpses_in_order_whatever_they_are_kept_in(
    form, kept, photos, tmp_path, monkeypatch
):
    grey = pixels(5)[..., 0]
    (photos / "e.png").write_bytes(png(grey * np.uint16(257)))  # of 16 bits
    shown = {}

    def drawn(pictures, names, **_):
        shown.update(zip(names, pictures, strict=True))
        return pictures[0]

    monkeypatch.setattr(sheet.draw, "contact_sheet", drawn)
    wanted = settings(photos, tmp_path / "out", form=form, shards=2, writing=Writing(kept))
    batch.run(replace(wanted, contact_sheet=str(tmp_path / "sheet.png")))
    assert list(shown) == [f"{name}.{kept}" for name in ("a", "b", "e", "sub/c", "sub/deep/d.v2")]
    deep = shown.pop(f"e.{kept}")
    for got, seed in zip(shown.values(), (1, 0, 2, 3), strict=True):
        np.testing.assert_array_equal(got, expected(seed))
    glimpse = extract(grey, Spec.from_box(Box(*BOX), SIZE))
    assert np.abs(np.atleast_3d(deep) / 255 - glimpse[:, :, None]).max() < 1.5 / 255


def test_a_contact_sheet_holds_one_large_glimpse_at_a_time(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(sheet.draw, "contact_sheet", lambda pictures, *_, **__: seen.extend(pictures) or pictures[0])
    written = Written(str(tmp_path), new=True, replace=False)
    large = (("a", np.zeros((900, 1200, 3), np.uint8)) for _ in range(3))
    sheet.make(str(tmp_path / "s.png"), written, large)
    assert [one.shape for one in seen] == [(120, 160, 3)] * 3
