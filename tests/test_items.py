"""From bytes to glimpses: alpha, bands, windows that travel, and what is said about a look."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from glimpse_cli import draw, items
from glimpse_cli.devices import on_torch, resolve
from glimpse_cli.errors import DeviceError, ParameterError
from glimpse_cli.glimpse import extract
from glimpse_cli.items import Reading, Writing
from glimpse_cli.places import BoxPlace, CombPlace, GridPlace, Look, Pair
from pictures import plain_png, png, tiff

RNG = np.random.default_rng(11)
LOOKS = [
    Look(BoxPlace((3.25, -4, 50.5, 33)), (7, 9)),
    Look(CombPlace(Pair(2, 60.5), Pair(3.5, -2.25)), (11, 8), s=Pair(0.8, 2)),
    Look(GridPlace(Pair(0.7, 1.3), Pair(-0.2, 0.3)), (6, 13)),
    Look(BoxPlace((5, 6, 18, 13)), (7, 13), "hard"),
]


def loaded(array, looks=LOOKS, **options):
    return items.load(png(array), "made.png", looks, Reading(), **options)


def glimpses(picture, run=items.contract):
    return [items.compute(picture, sight, run) for sight in picture.sights]


@pytest.mark.parametrize("shape", [(43, 71), (43, 71, 3), (430, 71, 3)])
def test_a_file_gives_what_its_array_gives(shape):
    array = RNG.integers(0, 256, shape).astype(np.uint8)
    for look, glimpse in zip(LOOKS, glimpses(loaded(array)), strict=True):
        np.testing.assert_allclose(glimpse, extract(array, look.spec(shape[:2])), atol=1e-6)


def test_a_large_picture_is_read_in_bands_that_meet():
    array = RNG.integers(0, 256, (1900, 1571)).astype(np.uint8)
    look = Look(BoxPlace((0, 0, 1571, 1900)), (150, 9))
    picture = loaded(array, [look])
    read = []
    sight = picture.sights[0]
    object.__setattr__(
        sight, "read", lambda rows, columns, read=read, inner=sight.read: read.append(rows) or inner(rows, columns)
    )
    np.testing.assert_allclose(items.compute(picture, sight), extract(array, look.spec((1900, 1571))), atol=1e-6)
    assert len(read) > 5
    assert max(map(len, read)) < 500


@pytest.mark.parametrize("method", ["gaussian", "stn"])
def test_what_is_transparent_has_no_say(method):
    array = np.zeros((43, 71, 4), np.uint8)
    array[:, :30] = (200, 100, 50, 255)
    array[:, 30:] = (0, 255, 0, 0)  # a green that nobody sees
    picture = loaded(array, [Look(BoxPlace((24.3, 5, 36.7, 17)), (5, 40), method)])
    glimpse = glimpses(picture)[0]
    seen = glimpse[:, :, 3] > 1e-3
    assert 0.4 < seen.mean() < 0.7
    np.testing.assert_allclose(glimpse[seen][:, :3] * 255, np.broadcast_to((200, 100, 50), (seen.sum(), 3)), atol=0.01)


def test_alpha_is_weighed_as_the_formula_says():
    array = RNG.integers(0, 256, (43, 71, 4)).astype(np.uint8)
    unit = array.astype(float) / 255
    weighed = np.dstack((unit[:, :, :3] * unit[:, :, 3:], unit[:, :, 3]))
    spec = LOOKS[0].spec((43, 71))
    expected = extract(weighed, spec)
    expected[:, :, :3] /= expected[:, :, 3:]
    np.testing.assert_allclose(glimpses(loaded(array))[0], expected, atol=1e-5)


def test_hard_keeps_the_colour_of_transparent_pixels():
    array = RNG.integers(0, 256, (43, 71, 4)).astype(np.uint8)
    array[:, :, 3] = 0
    np.testing.assert_array_equal(glimpses(loaded(array))[3] * 255, array[6:13, 5:18].astype(np.float32))


@pytest.mark.parametrize("shape", [(43, 71), (43, 71, 3), (43, 71, 4)])
def test_torch_computes_the_same_numbers(shape):
    array = RNG.integers(0, 256, shape).astype(np.uint8)
    picture = loaded(array)
    for ours, theirs in zip(glimpses(picture), glimpses(picture, on_torch("cpu").contract), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize("method", ["stn", "hard"])
def test_torch_lets_a_nan_be_where_it_is_not_read(method):
    array = RNG.random((43, 71)).astype(np.float32)
    array[20, 32] = np.nan
    picture = items.load(tiff(array), "odd.tiff", [Look(BoxPlace((20, 10, 62, 31)), (7, 14), method)], Reading())
    ours, theirs = glimpses(picture)[0], glimpses(picture, on_torch("cpu").contract)[0]
    assert not np.isnan(ours).any()
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_torch_reads_sixteen_bits():
    array = RNG.integers(0, 65536, (43, 71)).astype(np.uint16)
    picture = items.load(png(array), "deep.png", LOOKS, Reading())
    for ours, theirs in zip(glimpses(picture), glimpses(picture, on_torch("cpu").contract), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_cuda_computes_the_same_numbers():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    picture = loaded(RNG.integers(0, 256, (43, 71, 3)).astype(np.uint8))
    for ours, theirs in zip(glimpses(picture), glimpses(picture, resolve("cuda").contract), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_a_kept_sight_travels_without_its_picture():
    array = RNG.integers(0, 256, (43, 71, 3)).astype(np.uint8)
    picture = loaded(array)
    for sight in picture.sights:
        kept = pickle.loads(pickle.dumps(sight.keep()))  # noqa: S301 - our own bytes
        np.testing.assert_array_equal(items.compute(picture, kept), items.compute(picture, sight))


def test_a_look_that_this_picture_cannot_have_is_an_error_in_its_place():
    far = Look(BoxPlace((0, 0, 1e15, 1), normalized=True), (5, 7))
    sights = loaded(np.zeros((43, 71), np.uint8), [LOOKS[0], far, LOOKS[2]]).sights
    assert isinstance(sights[1], ParameterError)
    assert [getattr(sight, "method", None) for sight in sights] == ["gaussian", None, "stn"]


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (Look(BoxPlace((200, 5, 230, 12)), (5, 7)), "wholly outside"),
        (Look(BoxPlace((0, 0.2, 0.5, 1)), (5, 7)), "need --normalized"),
        (Look(BoxPlace((0, 0, 71, 43)), (43, 20), "stn"), "d_x is 3.55"),
        (Look(BoxPlace((0, 0, 71, 43)), (4, 71), "hard"), "d_y is 10.8"),
        (Look(CombPlace(Pair(2, 2), Pair(1.6, 1)), (5, 6), "stn"), "d_y is 1.6"),
        (Look(CombPlace(Pair(2.5, 2.5), Pair(1, 1.5)), (5, 6), s=Pair(0.06, 0.05)), "rows 0-4 of a_y are"),
        (Look(CombPlace(Pair(2.5, 2.5), Pair(1, 1.5)), (5, 6), s=Pair(0.06, 0.05)), "rows 0, 2, 4 of a_x"),
        (
            Look(CombPlace(Pair(-3, 3), Pair(1.25, 1)), (12, 8), s=Pair(0.05, 0.5)),
            "rows 0-2, 6, 10 of a_y are darkened by the post's eps, over 5 s from every pixel",
        ),  # outside, and between two pixels
        (Look(CombPlace(Pair(-3, 3), Pair(1, 1)), (8, 8), s=Pair(0.5, 0.5)), "row 0 of a_y is darkened"),
    ],
)
def test_a_doubtful_look_is_said(look, words):
    (sight,) = loaded(np.zeros((43, 71), np.uint8), [look]).sights
    assert any(words in warning for warning in sight.warnings), sight.warnings


def test_an_ordinary_look_is_not_remarked_on():
    (sight,) = loaded(np.zeros((43, 71), np.uint8), [Look(BoxPlace((3, 4, 60, 40)), (7, 9))]).sights
    assert sight.warnings == ()
    assert sight.coverage == 1
    small = [Look(BoxPlace((0, 0, 0.9, 1), normalized=True), (7, 9)), Look(BoxPlace((0, 0, 1, 1), margin=9), (7, 9))]
    small += [Look(BoxPlace((5, 0, 5.9, 1)), (7, 9))]
    assert not any(sight.warnings for sight in loaded(np.zeros((43, 71), np.uint8), small).sights)
    (whole,) = loaded(np.zeros((1, 1), np.uint8), [Look(BoxPlace((0, 0, 1, 1)), (7, 9))]).sights
    assert whole.warnings == ()


def test_what_a_file_format_loses_is_said():
    deep = items.load(png(np.full((43, 71), 40000, np.uint16)), "deep.png", LOOKS[:1], Reading())
    glimpse = items.compute(deep, deep.sights[0])
    assert items.doubts(deep, glimpse, Writing("png")) == []
    assert "16 bits become 8" in items.doubts(deep, glimpse, Writing("jpg"))[0]
    wide = items.load(tiff(np.full((43, 71), 3.5, np.float32)), "wide.tiff", LOOKS[:1], Reading())
    glimpse = items.compute(wide, wide.sights[0])
    assert wide.warnings == ()
    assert items.doubts(wide, glimpse, Writing("tiff")) == items.doubts(wide, glimpse / 5, Writing("png")) == []
    assert "3.5 to 3.5 are cut to [0, 1]" in items.doubts(wide, glimpse, Writing("png"))[0]
    assert items.doubts(deep, glimpse, Writing("png")) == []
    assert items.doubts(deep, glimpse, Writing("png"), stacked=True) == ["16 bits become 8 in a stack; npy keeps them"]
    assert items.doubts(deep, glimpse, Writing("npy"), stacked=True) == []
    clear = loaded(np.zeros((43, 71, 4), np.uint8))
    assert "white" in items.doubts(clear, np.zeros((5, 7, 4), np.float32), Writing("npy"), stacked=True)[0]
    assert "white" in items.doubts(clear, np.zeros((5, 7, 4), np.float32), Writing("jpg"))[0]
    blind = np.full((5, 7), np.nan, np.float32)
    assert "35 of 35" in items.doubts(clear, blind, Writing("npy"))[0]


def test_sixteen_bits_stay_sixteen_in_a_png(tmp_path):
    array = RNG.integers(0, 65536, (43, 71)).astype(np.uint16)
    deep = items.load(png(array), "deep.png", LOOKS[3:], Reading())
    path = tmp_path / "out.png"
    path.write_bytes(items.encode(deep, items.compute(deep, deep.sights[0]), Writing("png")))
    with Image.open(path) as written:
        np.testing.assert_array_equal(np.asarray(written), array[6:13, 5:18])


@pytest.mark.parametrize("look", LOOKS[:1] + LOOKS[3:])
@pytest.mark.parametrize("shape", [(43, 71, 2), (43, 71, 4)])
@pytest.mark.parametrize("form", ["png", "tiff", "webp", "jpg", "npy"])
def test_sixteen_bits_with_alpha_are_written_as_they_are_in_every_format(shape, form, look):
    """And read again by the command itself, which has no other way to see all of them."""
    array = RNG.integers(0, 65536, shape).astype(np.uint16)
    deep = items.load(plain_png(array, 16, {2: 4, 4: 6}[shape[2]]), "deep.png", [look], Reading())
    glimpse = items.compute(deep, deep.sights[0])
    data = items.encode(deep, glimpse, Writing(form))
    if form == "npy":
        np.testing.assert_array_equal(np.load(io.BytesIO(data)), glimpse)
        return
    h, w = look.size
    again = items.load(data, "again", [Look(BoxPlace((0, 0, w, h)), (h, w), "hard")], Reading())
    read = items.compute(again, again.sights[0])
    if form == "jpg":
        assert read.shape == (h, w) if shape[2] == 2 else (h, w, 3)
    else:
        wanted = glimpse[..., [0, 0, 0, 1]] if shape[2] == 2 and read.shape[2] == 4 else glimpse
        np.testing.assert_allclose(read, wanted, rtol=0, atol=0.51 / (255 if form == "webp" else 65535))


def test_the_mask_as_numbers_is_the_outer_product():
    from glimpse_cli.glimpse import mask

    picture = loaded(np.zeros((43, 71), np.uint8))
    for look, sight in zip(LOOKS, picture.sights, strict=True):
        attention = np.load(io.BytesIO(items.encode_mask(picture, sight, "npy")))
        np.testing.assert_allclose(attention, mask((43, 71), look.spec((43, 71))), atol=1e-6)


def test_the_mask_of_a_mirrored_look_marks_its_first_sample_s_corner():
    for steps, mirrored in ((Pair(-3, 4), (True, False)), (Pair(3, -4), (False, True))):
        look = Look(CombPlace(Pair(20, 30), steps), (5, 7), "stn")
        picture = loaded(RNG.integers(0, 256, (43, 71)).astype(np.uint8), [look], preview=True)
        (sight,) = picture.sights
        ay, ax = (bank.column_sums(N) for bank, N in zip(sight.banks(), (43, 71), strict=True))
        wanted = draw.mask_figure(
            picture.preview, (43, 71), ay, ax, items.outline(look.spec((43, 71))), mirrored=mirrored
        )
        with Image.open(io.BytesIO(items.encode_mask(picture, sight, "png"))) as found:
            np.testing.assert_array_equal(np.asarray(found), wanted)


def test_the_outline_is_the_box_whichever_way_the_comb_runs():
    forth = Look(BoxPlace((3, 5, 17, 29)), (8, 7)).spec((43, 71))
    back = Look(CombPlace(Pair(5 + 3 - 0.5 - 1.5 + 7 * 3, 3 + 1 - 0.5), Pair(-3, 2)), (8, 7)).spec((43, 71))
    assert items.outline(forth) == pytest.approx((3, 5, 17, 29))
    assert items.outline(back) == pytest.approx((3, 5, 17, 29))


def test_auto_without_a_gpu_is_the_cpu_and_a_missing_gpu_says_what_to_do():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert resolve("auto").name == "cpu"
    for name in ("cuda", "cuda:3"):
        with pytest.raises(DeviceError, match="not there") as caught:
            resolve(name)
        assert ("pytorch.org" if torch.version.cuda is None else "the device cpu") in caught.value.hint


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:00", "CPU", ""])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(ParameterError, match="cpu, cuda, cuda:N or auto"):
        resolve(name)
