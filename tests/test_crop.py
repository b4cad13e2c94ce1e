"""`glimpse crop` as its users see it: files, lines, documents, exit codes."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from glimpse_cli import items
from glimpse_cli.cli import talk
from glimpse_cli.cli.app import app
from glimpse_cli.errors import GlimpseError
from glimpse_cli.glimpse import extract, mask
from glimpse_cli.places import BoxPlace, CombPlace, GridPlace, Look, Pair
from pictures import png
from refusals import enterable_alone, files, refused

RNG = np.random.default_rng(3)
PHOTO = RNG.integers(0, 256, (43, 71, 3)).astype(np.uint8)
BOX = ["--box", "5.5,-3,40,30"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(png(PHOTO))
    Path("grey.png").write_bytes(png(PHOTO[:, :, 0]))
    return tmp_path


def run(*args, **kwargs):
    return CliRunner().invoke(app, ["crop", *map(str, args)], **kwargs)


def test_a_glimpse_and_its_mask_are_written_and_named_a_line_each():
    result = run("photo.png", *BOX)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["photo.glimpse.png", "photo.mask.png"]
    assert files() == ["grey.png", "photo.glimpse.png", "photo.mask.png", "photo.png"]
    with Image.open("photo.glimpse.png") as glimpse, Image.open("photo.mask.png") as attended:
        assert glimpse.size == (64, 64)
        assert max(attended.size) <= 1024


@pytest.mark.parametrize(
    ("args", "look"),
    [
        (BOX, Look(BoxPlace((5.5, -3, 40, 30)), (7, 9))),
        (["--box", "5.5,-3,34.5,33", "--box-format", "xywh"], Look(BoxPlace((5.5, -3, 40, 30)), (7, 9))),
        (
            ["--box", ".1,.2,.8,.9", "--normalized", "--margin", ".2"],
            Look(BoxPlace((0.1, 0.2, 0.8, 0.9), normalized=True, margin=0.2), (7, 9)),
        ),
        ([*BOX, "--keep-aspect"], Look(BoxPlace((5.5, -3, 40, 30), keep_aspect=True), (7, 9))),
        (["-u", "-3,4"], Look(CombPlace(Pair(-3, 4), Pair(1, 1)), (7, 9))),
        (
            ["-u", "x=60,y=2", "-d", "-1e0,2.5", "-s", "1"],
            Look(CombPlace(Pair(2, 60), Pair(-1, 2.5)), (7, 9), s=Pair(1, 1)),
        ),
        (["--scale", ".4", "--shift", "-0.1,.2"], Look(GridPlace(Pair(0.4, 0.4), Pair(-0.1, 0.2)), (7, 9))),
        (
            ["--scale", "-1.4,.3", "--shift", "0", "--padding", "reflection"],
            Look(GridPlace(Pair(-1.4, 0.3), Pair(0, 0)), (7, 9), padding="reflection"),
        ),
        ([*BOX, "--method", "stn"], Look(BoxPlace((5.5, -3, 40, 30)), (7, 9), "stn")),
        ([*BOX, "--method", "hard", "--padding", "zeros"], Look(BoxPlace((5.5, -3, 40, 30)), (7, 9), "hard", "zeros")),
        ([*BOX, "--padding", "zeros"], Look(BoxPlace((5.5, -3, 40, 30)), (7, 9), padding="zeros")),
        (
            ["--scale", ".4", "--shift", ".1", "--method", "gaussian", "-s", "2,1"],
            Look(GridPlace(Pair(0.4, 0.4), Pair(0.1, 0.1)), (7, 9), "gaussian", s=Pair(2, 1)),
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("name", "array"), [("photo.png", PHOTO), ("grey.png", PHOTO[:, :, 0])])
def test_npy_holds_the_numbers_of_every_place_and_method(args, look, name, array):
    result = run(name, *args, "--size", "9x7", "-o", "out.npy", "--mask-format", "npy")
    assert result.exit_code == 0, result.stderr
    spec = look.spec((43, 71))
    glimpse, attention = np.load("out.npy"), np.load("out.mask.npy")
    assert glimpse.dtype == attention.dtype == np.float32
    np.testing.assert_allclose(glimpse, extract(array, spec), atol=2e-6)
    np.testing.assert_allclose(attention, mask((43, 71), spec), atol=1e-6)


@pytest.mark.parametrize("method", ["hard", "stn"])
def test_an_integer_box_at_its_own_size_is_the_plain_crop(method):
    run("photo.png", "--box", "7,3,29,40", "--size", "22x37", "--method", method, "-o", "cut.png", "--no-mask")
    with Image.open("cut.png") as cut:
        np.testing.assert_array_equal(np.asarray(cut), PHOTO[3:40, 7:29])


def test_json_shows_every_spelling_and_feeding_one_back_gives_the_same_glimpse():
    first = json.loads(run("photo.png", *BOX, "--size", "9x7", "-o", "a.npy", "--json").stdout)
    assert list(first["place"]) == ["box", "u", "s", "d", "scale", "shift"]
    assert first["input_size"] == {"width": 71, "height": 43}
    assert first["size"] == {"width": 9, "height": 7}
    assert first["files"] == {"glimpse": "a.npy", "mask": "a.mask.png"}
    assert (first["method"], first["padding"], first["device"]) == ("gaussian", "border", "cpu")
    assert (first["orientation"], first["frames"], first["warnings"]) == (1, 1, [])
    assert 0.8 < first["coverage"] < 1
    place = {name: ",".join(f"{key}={value!r}" for key, value in axes.items()) for name, axes in first["place"].items()}
    box = ",".join(repr(value) for value in first["place"]["box"].values())
    same = ["--method", "gaussian", "--padding", "border", "-s", place["s"], "--size", "9x7", "--no-mask"]
    for number, spelled in enumerate(
        (["--box", box], ["-u", place["u"], "-d", place["d"]], ["--scale", place["scale"], "--shift", place["shift"]])
    ):
        assert run("photo.png", *spelled, *same, "-o", f"{number}.npy").exit_code == 0
        np.testing.assert_allclose(np.load(f"{number}.npy"), np.load("a.npy"), atol=1e-6)


def test_several_boxes_are_numbered_from_one():
    result = run("photo.png", *BOX, "--box", "1,2,3,4", "--no-mask")
    assert result.stdout.splitlines() == ["photo.1.glimpse.png", "photo.2.glimpse.png"]
    assert run("photo.png", *BOX, "--box", "1,2,3,4", "-o", "eye.webp").stdout.splitlines() == [
        "eye.1.webp", "eye.1.mask.png", "eye.2.webp", "eye.2.mask.png",
    ]  # fmt: skip


def test_several_pictures_go_to_a_folder_and_one_bad_one_stops_no_other():
    Path("bad.jpg").write_bytes(b"no picture")
    result = run("photo.png", "bad.jpg", "grey.png", *BOX, "-o", "out/", "--no-mask")
    assert result.exit_code == 3
    assert result.stdout.splitlines() == ["out/photo.glimpse.png", "out/grey.glimpse.png"]
    assert "error: bad.jpg" in result.stderr
    refused(run("bad.jpg", *BOX), 1, "bad.jpg")
    refused(run("bad.jpg", *BOX, "--box", "1,2,3,4"), 1, "bad.jpg")


def test_stdin_and_stdout_are_pipes():
    result = run("-", *BOX, "-o", "-", "--size", "9x7", input=png(PHOTO))
    assert result.exit_code == 0
    with Image.open(io.BytesIO(result.stdout_bytes)) as glimpse:
        assert glimpse.size == (9, 7)
    assert run("-", *BOX, input=png(PHOTO)).stdout.splitlines() == ["stdin.glimpse.png", "stdin.mask.png"]
    result = run("photo.png", *BOX, "-o", "-", "--format", "npy", "--size", "9x7")
    assert np.load(io.BytesIO(result.stdout_bytes)).shape == (7, 9, 3)


@pytest.mark.parametrize(("form", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("tiff", "TIFF")])
def test_every_format_is_written_as_such(form, kind):
    assert run("photo.png", *BOX, "--format", form, "--no-mask").exit_code == 0
    with Image.open(f"photo.glimpse.{form}") as glimpse:
        assert glimpse.format == kind
    assert run("photo.png", *BOX, "-o", f"named.{form}", "--no-mask").exit_code == 0
    with Image.open(f"named.{form}") as glimpse:
        assert glimpse.format == kind


def test_quality_is_heard():
    sizes = []
    for quality in (5, 95):
        run("photo.png", *BOX, "-o", f"{quality}.jpg", "--quality", quality, "--no-mask")
        sizes.append(Path(f"{quality}.jpg").stat().st_size)
    assert sizes[0] < sizes[1] / 2


def test_a_dry_run_tells_all_and_writes_nothing():
    before = files()
    result = run("photo.png", *BOX, "--dry-run", "--json", "-o", "new/")
    assert json.loads(result.stdout)["place"]["box"]["x0"] == 5.5
    assert run("photo.png", *BOX, "--dry-run").stdout.splitlines() == ["photo.glimpse.png", "photo.mask.png"]
    assert files() == before
    assert not Path("new").exists()


def test_what_exists_is_kept_unless_forced():
    Path("photo.mask.png").write_text("mine", encoding="utf-8")
    refused(run("photo.png", *BOX), 1, "photo.mask.png exists", "--force")
    assert Path("photo.mask.png").read_text(encoding="utf-8") == "mine"
    assert not Path("photo.glimpse.png").exists()
    assert run("photo.png", *BOX, "--force").exit_code == 0


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_an_output_that_is_an_input_is_refused_whatever_its_name(force):
    Path("link.png").symlink_to("photo.png")
    before = Path("photo.png").read_bytes()
    refused(run("photo.png", *BOX, "-o", "link.png", *force), 2, "input")
    refused(run("photo.png", *BOX, "-o", "photo.png", *force), 2, "input")
    assert Path("photo.png").read_bytes() == before


def test_an_input_is_not_replaced_under_a_name_that_some_disks_take_for_its_own(monkeypatch):
    """FUSE's exFAT and shared folders give each spelling of a name an inode of its own, and list one of them."""
    Path("PHOTO.png").write_bytes(before := Path("photo.png").read_bytes())
    with monkeypatch.context() as patched:
        enterable_alone(patched, Path.cwd().parent)
        two = run("photo.png", *BOX, "-o", "PHOTO.png", "--force", "--no-mask", "--dry-run")
    assert two.exit_code == 0
    monkeypatch.setattr(os, "listdir", lambda _: ["photo.png"])
    refused(run("photo.png", *BOX, "-o", "PHOTO.png", "--force", "--no-mask"), 2, "PHOTO.png is also an input")
    assert Path("PHOTO.png").read_bytes() == before
    assert run("photo.png", *BOX, "-o", "Photo.png", "--no-mask").exit_code == 0  # where it is another name


def test_names_that_collide_are_found_before_anything_is_started():
    Path("other").mkdir()
    Path("other/photo.jpg").write_bytes(png(PHOTO))
    before = files()
    refused(run("photo.png", "other/photo.jpg", *BOX), 2, "photo.glimpse.png")
    assert files() == before


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ([], 2, ["exactly one place", "--box"]),
        ([*BOX, "-u", "3"], 2, ["--box and -u"]),
        (["-u", "3", "--scale", "1"], 2, ["-u and --scale/--shift"]),
        (["-d", "3"], 2, ["-u"]),
        ([*BOX, "-d", "3"], 2, ["-u"]),
        (["--scale", "1"], 2, ["--shift is missing"]),
        (["--shift", "1"], 2, ["--scale is missing"]),
        (["-u", "3", "--margin", "1"], 2, ["--margin goes with --box"]),
        ([*BOX, "-s", "0"], 2, ["s must be above 0 px"]),
        ([*BOX, "-s", "-1"], 2, ["s must be above 0 px"]),
        ([*BOX, "-s", "nan"], 2, ["not a number"]),
        (["-u", "inf"], 2, ["not a number"]),
        (["-u", "1_0"], 2, ["not a number"]),
        (["-u", "-s", "1"], 2, []),
        (["-u", "3", "-s", "0,5"], 2, ["s_y = 0", "0.5"]),
        ([*BOX, "--method", "stn", "-s", "1"], 2, ["gaussian"]),
        (["-u", "1,2,3"], 2, ["3 values"]),
        (["--box", "9,5,3,30"], 2, ["x1 must be above"]),
        (["--box", "3,5,9"], 2, ["four numbers"]),
        ([*BOX, "--box-format", "yxyx"], 2, ["xyxy, xywh, cxcywh"]),
        ([*BOX, "--margin", "-1"], 2, ["0 or above"]),
        ([*BOX, "--size", "0"], 2, ["1 or more"]),
        ([*BOX, "--size", "100000x100000"], 2, ["too large"]),
        ([*BOX, "--padding", "reflection"], 2, ["reflection"]),
        ([*BOX, "--method", "cubic"], 2, ["gaussian, stn, hard"]),
        ([*BOX, "--method", ""], 2, ["gaussian, stn, hard", "''"]),
        ([*BOX, "--padding", ""], 2, ["zeros, border, reflection", "''"]),
        (["-u=3"], 2, ["'=3' is not a number", "try: -u 3"]),
        (["-u=3,4"], 2, ["'=3,4' is not a number", "try: -u 3,4"]),
        ([*BOX, "--device", "tpu"], 2, ["cuda"]),
        ([*BOX, "-o", "out.bmp"], 2, ["unknown format", "png"]),
        ([*BOX, "-o", "out"], 2, ["suffix", "try: -o out.png, or -o out/ for a folder"]),
        ([*BOX, "-o", "./out"], 2, ["try: -o ./out.png, or -o ./out/ for a folder"]),
        ([*BOX, "-o", "../out"], 2, ["try: -o ../out.png"]),
        ([*BOX, "-o", "out."], 2, ["suffix", "try: -o out.png"]),
        ([*BOX, "-o", ""], 2, ["-o '' has no suffix", "try: -o glimpse.png"]),
        ([*BOX, "-o", "my eye"], 2, ["try: -o 'my eye.png'"]),
        ([*BOX, "--box-format", ""], 2, ["--box-format must be one of xyxy"]),
        ([*BOX, "-o", "photo.png/"], 2, ["photo.png is a file, and a folder is needed"]),
        (["-", "-", *BOX], 2, ["- is given twice"]),
        ([*BOX, "-o", "out.png", "--format", "jpg"], 2, ["two formats"]),
        ([*BOX, "--format", "gif"], 2, ["unknown format"]),
        ([*BOX, "--quality", "50"], 2, ["jpg and webp"]),
        ([*BOX, "--quality", "101", "--format", "jpg"], 2, ["1 to 100"]),
        ([*BOX, "--mask-format", "jpg"], 2, ["png, npy"]),
        ([*BOX, "-o", "-", "--json"], 2, ["--json"]),
        ([*BOX, *BOX, "-o", "-"], 2, ["one glimpse"]),
        ([*BOX, "--frame", "-1"], 2, ["--frame"]),
        ([*BOX, "--frame", "3"], 1, ["frame"]),
        ([*BOX, "--frame", "9" * 5000], 2, ["--frame must be a whole number"]),
        ([*BOX, "--max-pixels", "100"], 1, ["pixels"]),
        ([*BOX, "--bogus"], 2, ["--bogus", "--help"]),
        ([*BOX, "-o", "missing/eye.png"], 1, ["cannot write missing/eye.png", "there is no folder missing"]),
        ([*BOX, "-o", "wide.webp", "--size", "16384x2"], 2, ["webp holds 16383 pixels a side, got 16384x2"]),
    ],
)
def test_bad_input_is_one_error(args, code, words):
    before = files()
    assert refused(run("photo.png", *args), code, *words)
    assert files() == before


TYPED = st.one_of(
    st.text(max_size=12),
    st.from_regex(r"-?[0-9]{1,3}(\.[0-9]+)?(,-?[0-9]{1,3}){0,4}", fullmatch=True),
    st.sampled_from(["1e400", "-1e-400", "9" * 400, "0x0", "y=1,x=2", "x=1", "[red]", "\x1b[2J", "1,2,3,4", "∞"]),
)


WORDS = [
    "box", "scale", "shift", "size", "margin", "method", "padding", "device", "box-format", "format", "quality",
    "frame", "max-pixels", "mask-format",
]  # fmt: skip


@settings(max_examples=150)
@given(
    option=st.sampled_from([*(f"-{letter}" for letter in "uds"), *(f"--{word}" for word in WORDS)]),
    value=TYPED,
    place=st.sampled_from([[], BOX, ["-u", "3"], ["--scale", ".4", "--shift", "0"]]),
)
def test_whatever_is_typed_is_done_or_one_error(option, value, place):
    assume(value not in {"cuda", "auto"})
    assume(not (option == "--size" and len(value) > 3))  # a large glimpse is no error, only slow
    result = run("photo.png", *place, f"{option}={value}" if option[1] == "-" else f"{option}{value}", "--dry-run")
    if result.exit_code:
        assert refused(result, result.exit_code)
        assert result.exit_code in {1, 2}
        assert all(line.isprintable() for line in result.stderr.splitlines())


def test_a_gpu_that_is_not_there_is_one_error():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    how = "pytorch.org/get-started" if torch.version.cuda is None else "the device cpu"
    refused(run("photo.png", *BOX, "--device", "cuda"), 1, "--device cuda is not there", how)


def test_a_torch_that_cannot_be_loaded_is_told_and_auto_does_without_it(monkeypatch):
    Path("torch.py").write_text("raise ImportError('libc10.so: no such file')")
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    for device, code in (("cuda", 1), ("auto", 0)):
        done = subprocess.run(
            [sys.executable, "-m", "glimpse_cli", "crop", "photo.png", *BOX, "--device", device, "--json", "--dry-run"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["device"] == "cpu"


def test_without_torch_cuda_says_how_to_get_it():
    code = (
        "import sys; sys.modules['torch'] = None; import importlib.util as u; f = u.find_spec;"
        "u.find_spec = lambda n, *a: None if n == 'torch' else f(n, *a);"
        "from glimpse_cli.cli.app import app; app(['crop', 'photo.png', '--box', '1,2,9,8', '--device', 'cuda'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install" in done.stderr


@pytest.mark.parametrize("name", ["missing.png", ".", "empty.png", "text.jpg", "cut.png", "pipe"])
def test_what_is_no_picture_is_one_error(name):
    Path("empty.png").write_bytes(b"")
    Path("text.jpg").write_text("a picture of a cat", encoding="utf-8")
    Path("cut.png").write_bytes(png(PHOTO)[:-300])
    os.mkfifo("pipe")
    before = [name for name in files() if name != "pipe"]
    assert refused(run(name, *BOX, "-o", "out.png"), 1)
    assert [name for name in files() if name != "pipe"] == before


def test_a_link_that_leads_nowhere_is_an_output_that_exists():
    Path("link.png").symlink_to("nowhere")
    assert refused(run("photo.png", *BOX, "-o", "link.png"), 1, "link.png exists")
    assert Path("link.png").is_symlink()


def test_a_name_that_is_too_long_is_told():
    name = "a" * 247
    Path(f"{name}.png").write_bytes(Path("photo.png").read_bytes())
    assert refused(run(f"{name}.png", *BOX), 1, f"cannot write {name}.glimpse.png", "255 bytes")
    refused(run("photo.png", *BOX, "-o", "a" * 250 + ".png"), 1, ".mask.png", "255 bytes")  # it alone is too long
    assert run("photo.png", f"{name}.png", *BOX, "-o", "out/").exit_code == 3  # of several, it alone fails
    assert [path.stem for path in Path().glob("aaa*.png")] == [name]


def test_a_glimpse_whose_mask_cannot_be_written_is_not_written_either(monkeypatch):
    Path("e.mask.png").mkdir()
    Path("e.png").write_text("old")
    refused(run("photo.png", *BOX, "-o", "e.png", "--force"), 1, "cannot write e.mask.png", "it is a folder")
    Path("e.mask.png").rmdir()
    genuine = os.fsync

    def full(descriptor):
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()).endswith(".tmp") and next(fails):
            raise OSError(errno.ENOSPC, "full")
        genuine(descriptor)

    for which in (0, 1):  # the first file to be flushed, and the second
        fails = iter([which == 0, which == 1])
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            refused(run("photo.png", *BOX, "-o", "e.png", "--force"), 1, "cannot write e.", "No space left")
        assert Path("e.png").read_text() == "old"
        assert not list(Path().glob("*.mask.png"))
        assert not list(Path().glob(".glimpse-*"))


def test_a_way_through_a_folder_that_is_made_on_it_leads_to_no_unchecked_place():
    Path("photo.glimpse.png").write_text("mine")
    refused(run("photo.png", *BOX, "-o", "new/../", "--no-mask"), 1, "photo.glimpse.png exists")
    refused(run("photo.png", "photo.glimpse.png", *BOX, "-o", "new/..", "--force"), 2, "also an input")
    assert Path("photo.glimpse.png").read_text() == "mine"
    Path("sub").mkdir()
    assert run("photo.png", *BOX, "-o", "sub/../eye.png", "--no-mask").stdout == "eye.png\n"
    assert run("photo.png", *BOX, "-o", "sub/../", "--no-mask", "--force").stdout == "photo.glimpse.png\n"
    Path("link.png").symlink_to("nowhere.png")
    refused(run("photo.png", *BOX, "-o", "sub/../link.png", "--no-mask"), 1, "link.png exists")
    assert run("photo.png", *BOX, "-o", "sub/../link.png", "--no-mask", "--force").exit_code == 0
    assert not Path("link.png").is_symlink()
    assert not Path("nowhere.png").exists()


def test_what_is_typed_slightly_wrong_is_told_with_what_is_right(monkeypatch):
    Path("-dash.png").write_bytes(png(PHOTO))
    refused(run("-dash.png", *BOX), 2, "goes after --: -- -dash.png")
    assert run(*BOX, "--dry-run", "--", "-dash.png").exit_code == 0
    refused(run("photo.png", *BOX, "-o=eye.png"), 2, "-o takes 'eye.png' without an equals sign", "-o eye.png")
    refused(run("photo.png", *BOX, "--no-mask", "--mask-format", "npy"), 2, "--mask-format npy", "--mask")
    refused(run("photo.png", *BOX, "-o", "-", "--mask-format", "npy"), 2, "--mask-format does not go with it")
    refused(run("photo.png", *BOX, "-o", "/dev/null"), 2, "/dev/null is a device", "-o -")
    monkeypatch.setenv("GLIMPSE_DEVICE", "tpu")
    refused(run("photo.png", *BOX), 2, "GLIMPSE_DEVICE must be")


def test_format_says_what_a_name_without_a_suffix_holds():
    assert run("photo.png", *BOX, "-o", "eye", "--format", "webp").stdout.splitlines() == ["eye", "eye.mask.png"]
    with Image.open("eye") as glimpse:
        assert glimpse.format == "WEBP"


def test_a_dry_run_finds_what_would_keep_a_glimpse_from_being_written():
    refused(run("photo.png", *BOX, "-o", "none/eye.png", "--dry-run"), 1, "there is no folder none", "mkdir -p none")
    refused(run("photo.png", *BOX, "-o", "-d/eye.png"), 1, "there is no folder -d", "mkdir -p -- -d")
    for below in ("grey.png/eye.png", "grey.png/none/eye.png"):  # mkdir would not help
        refused(run("photo.png", *BOX, "-o", below, "--dry-run"), 1, f"cannot write {below}", "grey.png is no folder")
    assert run("photo.png", "grey.png", *BOX, "-o", "none/", "--dry-run").exit_code == 0
    assert not Path("none").exists()


@pytest.mark.parametrize("option", ["-u", "-d", "-s", "--scale", "--shift"])
def test_a_second_value_does_not_take_the_place_of_the_first_in_silence(option):
    place = ["-u", "3,4"] if option in {"-d", "-s"} else ["--shift" if option == "--scale" else "--scale", ".5"]
    place = [] if option == "-u" else place
    assert run("photo.png", *place, option, "1,2", "--dry-run").exit_code == 0
    refused(run("photo.png", *place, option, "1,2", option, "3,4"), 2, f"{option} is given twice")


def test_a_picture_is_not_sent_to_a_terminal():
    primary, secondary = os.openpty()
    command = [sys.executable, "-m", "glimpse_cli", "crop", "photo.png", *BOX, "-o", "-"]
    done = subprocess.run(command, stdout=secondary, stderr=subprocess.PIPE, text=True, check=False)
    os.close(secondary)
    os.close(primary)
    assert (done.returncode, "would send a picture to the terminal" in done.stderr) == (2, True)


def test_standard_input_is_called_so():
    refused(run("-", *BOX, input=b"words"), 1, "stdin is not an image")
    done = run("-", "-u", "700,10", "-s", ".5", "--size", "5x7", input=png(PHOTO))
    assert "warning: stdin: rows 0-6 of a_y are darkened by the post's eps" in done.stderr


@pytest.mark.usefixtures("signals_are_heard")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_command_that_is_told_to_end_says_so_in_one_line(name):
    command = [sys.executable, "-m", "glimpse_cli", "crop", "-", *BOX]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        run.stdin.write("x" * 2**18)  # more than a pipe holds
        run.stdin.flush()  # it reads its standard input now
        run.send_signal(getattr(signal, name))
        assert run.communicate(timeout=60)[1] == "interrupted\n"
    assert run.returncode == 130


def test_every_command_tells_the_version():
    assert run("--version").stdout.startswith("glimpse ")


def test_two_names_that_some_disks_take_for_one_are_refused():
    Path("sub").mkdir()
    Path("sub/PHOTO.png").write_bytes(png(PHOTO))
    refused(
        run("photo.png", "sub/PHOTO.png", *BOX, "-o", "out/"),
        2,
        "photo.png and sub/PHOTO.png both want the name out/PHOTO.glimpse.png",
    )


def test_a_look_that_memory_does_not_hold_stops_no_other(monkeypatch):
    compute = items.compute

    def short(loaded, sight, run):
        if sight.spec.x.comb.step > 3:
            raise MemoryError
        return compute(loaded, sight, run)

    monkeypatch.setattr(items, "compute", short)
    result = run("photo.png", "grey.png", *BOX, "--box", "3,4,12,13", "-o", "out/", "--size", "9", "--no-mask")
    assert result.exit_code == 3
    said = [(f"error: {name}.png is too large", "why: out of memory") for name in ("photo", "grey")]
    assert result.stderr.splitlines() == [line for lines in said for line in lines]
    assert sorted(path.name for path in Path("out").iterdir()) == ["grey.2.glimpse.png", "photo.2.glimpse.png"]


def test_several_pictures_do_not_go_into_one_file():
    refused(run("photo.png", "grey.png", *BOX, "-o", "out.png"), 2, "folder")
    refused(run("photo.png", "grey.png", *BOX, "-o", "photo.png"), 2, "folder")


@pytest.mark.parametrize("name", ["closed/eye.png", "closed/eye"])
def test_an_output_that_may_not_be_looked_at_is_no_bug(name, monkeypatch):
    Path("closed").mkdir()
    look = os.stat

    def refusing(path, *rest, **options):
        if str(path).startswith("closed/"):
            raise PermissionError(13, "Permission denied", path)
        return look(path, *rest, **options)

    monkeypatch.setattr(os, "stat", refusing)
    assert run("photo.png", *BOX, "-o", name, "--format", "png", "--no-mask").exit_code == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_an_unwritable_folder_is_one_error():
    Path("locked").mkdir(mode=0o500)
    refused(run("photo.png", *BOX, "-o", "locked/eye.png"), 1, "locked")


@pytest.mark.parametrize(
    "name", ["a\nb.png", "a\x1b[31mb.png", "[red]b.png", "a b\u202e.png", "-dash.png", "b\udcff.png"]
)
def test_hostile_names_work_and_are_shown_escaped(name):
    Path(name).write_bytes(png(PHOTO))
    result = run(*BOX, "--no-mask", "--", name)
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    assert result.stdout.strip().isprintable()
    assert json.loads(run(*BOX, "--no-mask", "--force", "--json", "--", name).stdout)["input"] == name


def test_warnings_go_to_stderr_and_quiet_silences_them():
    args = ("photo.png", "--box", "0,0,71,43", "--size", "5x4", "--method", "stn", "--no-mask")
    assert "warning: photo.png: d_y is 10.8" in run(*args).stderr
    quiet = run(*args, "--force", "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    assert "stn on cpu" in run(*args, "--force", "--verbose").stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("args", [["-o", "-"], ["--json", "--dry-run"]])
def test_a_full_disk_behind_stdout_is_one_error(args):
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "glimpse_cli", "crop", "photo.png", *BOX, *args]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["error: cannot write the output", "why: No space left on device"]


@pytest.mark.usefixtures("signals_are_heard")
def test_an_interrupt_is_one_line_and_130():
    for number in range(300):
        os.link("photo.png", f"{number}.png")
    command = [sys.executable, "-m", "glimpse_cli", "crop", *(f"{number}.png" for number in range(300)), *BOX]
    process = subprocess.Popen([*command, "-o", "out/"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()  # it is under way
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()) == (130, ["interrupted"])


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_sees_colour_unless_it_wants_none(environment, coloured):
    import pty

    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    command = [sys.executable, "-m", "glimpse_cli", "crop", "missing.png", *BOX]
    done = subprocess.run(command, stderr=theirs, env=inherited | environment, check=False)
    os.close(theirs)
    said = ""
    with suppress(OSError):  # that is its end
        while some := os.read(ours, 1 << 16):
            said += some.decode()
    os.close(ours)
    assert done.returncode == 1
    assert "cannot open missing.png" in said
    assert ("\x1b[" in said) == coloured


def test_each_part_of_an_error_is_one_line_whatever_a_library_says(capsys):
    talk.explain(GlimpseError("one\ntwo", why="three\r\nfour", hint="five"))
    assert capsys.readouterr() == ("", "error: one two\nwhy: three four\ntry: five\n")


@pytest.mark.parametrize(
    "say", [talk.warn, talk.note, lambda text: talk.explain(GlimpseError("a", why=text, hint=text))]
)
def test_nothing_that_is_said_moves_a_cursor_whoever_worded_it(say, capsys):
    say("it is for \x1b]0;\x07, not \x9b31m\u202e \udcff é")
    assert "it is for \\x1b]0;\\x07, not \\x9b31m\\u202e \\xff é\n" in capsys.readouterr().err


def test_a_profile_says_nothing_to_the_terminal():
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"\r\n\x1bc"  # the colours it is for; to a terminal: be as you were switched on
    Image.fromarray(PHOTO).save("profile.png", icc_profile=bytes(profile))
    said = run("profile.png", *BOX).stderr
    assert "it is for \\x1bc, the picture is RGB" in said


def test_debug_shows_the_traceback_too():
    assert "Traceback" in run("missing.png", *BOX, "--debug").stderr
    assert "Traceback" not in run("missing.png", *BOX).stderr


def test_the_cpu_never_loads_torch_and_help_loads_no_numpy():
    code = "import sys\ntry:\n from glimpse_cli.__main__ import main; main()\nfinally: print(*sys.modules)"
    for args, absent in (
        (["crop", "photo.png", *BOX], {"torch", "pydantic", "rich", "pebble"}),
        (["--help"], {"torch", "numpy", "PIL"}),
        (["crop", "--help"], {"torch", "numpy", "PIL"}),
    ):
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
        assert not absent & set(done.stdout.split()), args


WITHOUT_POSIX = """
import os, signal, sys
from types import SimpleNamespace
import numpy, multiprocessing.util, typer  # which ask what system this is
sys.modules.update(dict.fromkeys(("fcntl", "grp", "pwd", "resource", "termios", "tty")))
for name in ("O_NONBLOCK", "O_CLOEXEC", "fork", "geteuid", "getuid", "sched_getaffinity", "killpg", "mkfifo"):
    vars(os).pop(name, None)
for name in ("SIGHUP", "SIGKILL", "SIGPIPE", "SIGCHLD", "pthread_sigmask"):
    vars(signal).pop(name, None)
from glimpse_cli.cli.app import app
from glimpse_cli.cli import batch
batch.os = SimpleNamespace(name="nt")
app(sys.argv[1:], prog_name="glimpse")
"""


def test_crop_and_compare_need_nothing_that_windows_lacks_and_batch_says_what_it_needs():
    start = [sys.executable, "-c", WITHOUT_POSIX]
    for line in (
        ["crop", "photo.png", *BOX],
        ["compare", "photo.png", *BOX, "--repeats", "1", "--report", "page.html"],
    ):
        done = subprocess.run([*start, *line], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run([*start, "batch", ".", "-o", "out", *BOX], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.partition(":")[2][:33]) == (2, " batch needs Linux or macOS: its ")


def test_version_and_help_answer():
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("glimpse 0")
    for args in (["-h"], ["crop", "-h"], []):
        shown = CliRunner().invoke(app, args).output
        assert "Usage: " in shown
        assert "list[" not in shown


@pytest.mark.parametrize("columns", [50, 60, 66, 80, 200])
@pytest.mark.parametrize("command", ["crop", "batch", "compare"])
def test_help_cuts_no_word_and_keeps_to_its_terminal(command, columns):
    asked = [sys.executable, "-m", "glimpse_cli", command, "-h"]
    env = {**os.environ, "COLUMNS": str(columns), "TERMINAL_WIDTH": str(columns), "PYTHONUTF8": "1"}
    shown = subprocess.run(asked, env=env, capture_output=True, encoding="utf-8", check=True).stdout
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= columns
    for name in ("--keep-aspect", "--normalized", "--max-pixels", "X0,Y0,X1,Y1"):
        assert name in shown


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a POSIX shell, and a disk that is always full")
@pytest.mark.parametrize(
    ("args", "lost"),
    [
        ("-o b.png <&-", False),
        ("-o b.png 2>&-", False),
        ("-o b.png 2>/dev/full", False),
        ("-o b.png -q >&-", False),
        ("-o b.png >&-", True),
        ("-o - >&-", True),
        ("--dry-run --json >&-", True),
    ],
)
def test_a_closed_stdout_loses_no_data_in_silence_and_other_streams_stop_nothing(args, lost, tmp_path):
    Image.fromarray(np.zeros((9, 13, 3), np.uint8)).save(tmp_path / "a.png")
    command = f"{sys.executable} -m glimpse_cli crop a.png -u 1e9 {args}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == int(lost), done.stderr
    assert (tmp_path / "b.png").exists() == ("b.png" in args)
    assert ("error: cannot write the output\nwhy: Bad file descriptor" in done.stderr) == lost
