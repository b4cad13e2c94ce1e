"""Every picture of a corpus with a known outcome: right and upright, or refused for the right kind of reason.

``GLIMPSE_CORPUS`` names a folder with ``index.json``: ``files``, each with ``file`` and ``expect`` (``outcome`` ok,
fail or either; ``upright_size``, ``frames``, ``error_kind``, ``group``, ``truth``). Without it these tests skip.
"""

import io
import json
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glimpse_cli import files, images, items
from glimpse_cli.errors import InputError, PictureError, Reason
from glimpse_cli.places import BoxPlace, Look

FOLDER = Path(os.environ.get("GLIMPSE_CORPUS", ""))
ENTRIES = json.loads((FOLDER / "index.json").read_text())["files"] if "GLIMPSE_CORPUS" in os.environ else []

pytestmark = pytest.mark.skipif(not ENTRIES, reason="GLIMPSE_CORPUS names no folder with pictures")

DAMAGED = {Reason.EMPTY, Reason.NOT_AN_IMAGE, Reason.TRUNCATED, Reason.CORRUPT, Reason.TOO_LARGE}
KINDS = {"corrupt": DAMAGED, "unsupported_format": {Reason.UNSUPPORTED, Reason.NOT_AN_IMAGE}}


def read(entry):
    """(Picture, its window) or the error that refused it; anything else is a failure of the test."""
    path = FOLDER / entry["file"]
    try:
        picture = images.decode(files.read_bytes(path), name=path.name)
        height, width = picture.size
        window = picture.window(range(height), range(width))
        assert window.shape[:2] == picture.size
        assert picture.preview(99).shape[2] == 3
    except InputError as error:
        return error
    return picture, window


@pytest.fixture(scope="module")
def results():
    return {entry["file"]: (entry["expect"], read(entry)) for entry in ENTRIES}


def of(results, outcome):
    return {name: (expect, got) for name, (expect, got) in results.items() if expect["outcome"] == outcome}


def test_every_good_picture_is_read_at_its_upright_size_with_its_frames(results):
    wrong = {}
    for name, (expect, got) in of(results, "ok").items():
        width, height = expect["upright_size"]
        if isinstance(got, InputError) or got[0].size != (height, width):
            wrong[name] = got
        elif got[0].frames != expect.get("frames", got[0].frames):
            wrong[name] = got[0].frames
    assert not wrong


@pytest.mark.parametrize("form", ["png", "webp"])
def test_every_good_picture_gives_a_glimpse_with_its_mask(results, form):
    look = Look(BoxPlace((0.25, -1, 9.5, 7)), (5, 8))
    writing = items.Writing(form, mask="png")
    for name in of(results, "ok"):
        loaded = items.load(files.read_bytes(FOLDER / name), name, [look], items.Reading(), preview=True)
        (sight,) = loaded.sights
        glimpse = items.encode(loaded, items.compute(loaded, sight), writing)
        for data in (glimpse, items.encode_mask(loaded, sight, "png")):
            with Image.open(io.BytesIO(data)) as written:
                written.load()
        assert Image.open(io.BytesIO(glimpse)).size == (8, 5)


def test_every_bad_file_is_refused(results):
    assert not {name for name, (_, got) in of(results, "fail").items() if not isinstance(got, PictureError)}


def test_nearly_every_refusal_has_the_right_kind_of_reason(results):
    failed = of(results, "fail")
    # What is no format that is read is refused as such, however broken it is beyond that.
    wrong = {
        name: (expect["error_kind"], got.reason)
        for name, (expect, got) in failed.items()
        if got.reason not in KINDS[expect["error_kind"]] and not _not_read(FOLDER / name)
    }
    assert len(wrong) <= 0.05 * len(failed), wrong


def _not_read(path):
    try:
        images.strict.format_of(path.read_bytes(), "x")
    except PictureError as error:
        return error.reason is Reason.UNSUPPORTED
    return False


def test_what_may_be_read_or_refused_never_does_anything_else(results):
    for _, got in of(results, "either").values():
        assert isinstance(got, (tuple, PictureError))


def test_pictures_of_one_scene_in_all_orientations_look_alike(results):
    groups = defaultdict(list)
    for expect, got in of(results, "ok").values():
        if "group" in expect:
            groups[expect["group"]].append(got[1])
    for first, *others in groups.values():
        scene = np.atleast_3d(first).astype(float)
        turned = scene[::-1, ::-1]
        for other in others:
            other = np.atleast_3d(other)  # noqa: PLW2901 - grey or colour
            assert other.shape == scene.shape
            assert np.abs(other - scene).mean() < 10 < np.abs(other - turned).mean()


def test_pictures_with_a_reference_look_like_it(results):
    for expect, got in of(results, "ok").values():
        if "truth" in expect:
            reference = results[expect["truth"]["ref"].removeprefix("files/")][1][1][..., :3]
            difference = np.abs(got[1].astype(float) - reference).mean()
            assert difference <= expect["truth"]["max_mean_abs_diff_255"]
