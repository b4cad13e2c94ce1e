"""`glimpse compare` as its users see it: tables, documents, pictures, exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from glimpse_cli import devices
from glimpse_cli.cli.app import app
from glimpse_cli.compare import measures
from glimpse_cli.draw import paper
from pictures import png
from refusals import files, refused

RNG = np.random.default_rng(11)
PHOTO = RNG.integers(0, 256, (43, 71, 3)).astype(np.uint8)
BOX = ["--box", "5.5,3,40,30", "--size", "9x7", "--repeats", "1"]
NUMBERS = {
    "ms", "pixels_read", "pixels_seen", "coverage", "mae", "max", "psnr", "ssim", "aliasing", "blur", "noise_gain",
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(png(PHOTO))
    Path("other.png").write_bytes(png(PHOTO[::-1, :50]))
    Path("broken.png").write_bytes(png(PHOTO)[:200])
    return tmp_path


def run(*args, **kwargs):
    return CliRunner().invoke(app, ["compare", *map(str, args)], **kwargs)


def document(*args):
    result = run(*args, "--json")
    assert result.exit_code in {0, 3}, result.output
    (line,) = result.stdout.splitlines()
    return json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_table_has_a_row_for_each_method_and_aligned_columns():
    result = run("photo.png", *BOX, "--methods", "stn,gaussian:s=2,hard")
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[0].startswith("photo.png: 71 x 43, box 5.5,3,40,30 -> 9 x 7, d_y 3.86, d_x 3.83, coverage 100%")
    assert [line.split()[0] for line in lines[1:5]] == ["method", "stn", "gaussian:s=2", "hard"]
    assert lines[1].split()[1:4] == ["ms", "px", "read"]
    for head in ("mae", "max", "psnr", "aliasing", "blur"):
        assert all(line[lines[1].index(f" {head} ") + len(head)] in "0123456789%" for line in lines[2:5])  # ends below
    for part in (slice(lines[1].index("  px read")), slice(lines[1].index("  noise"), None)):
        assert len({line[part].rindex(".") for line in lines[2:5]}) == 1  # one point below the other
    assert "hard alias" in lines[5]
    assert lines[-1].startswith("reference: Pillow's LANCZOS; ms: median of 1")
    assert "\x1b" not in result.stdout
    assert files() == ["broken.png", "other.png", "photo.png"]


def test_json_is_one_document_with_every_number():
    found = document("photo.png", *BOX, "--devices", "cpu,cpu")
    assert (found["reference"], found["repeats"], found["mean"]) == ("lanczos", 1, None)
    (image,) = found["images"]
    assert image["input"] == "photo.png"
    assert image["input_size"] == {"width": 71, "height": 43}
    assert image["place"]["box"] == pytest.approx({"x0": 5.5, "y0": 3, "x1": 40, "y1": 30})
    assert [row["label"] for row in image["rows"]] == ["hard", "gaussian", "stn"] * 2
    for row in image["rows"]:
        assert set(row) >= NUMBERS
        assert row["aliasing"] + row["blur"] == pytest.approx(1)
    assert image["rows"][4]["s"] == pytest.approx({"y": 0.35 * 27 / 7, "x": 0.35 * 34.5 / 9})
    assert image["rows"][3]["against_first_device"]["max"] == 0
    assert image["notes"]


@pytest.mark.parametrize(
    ("value", "said"),
    [(1, "1.00"), (0.16, "0.160"), (0.04286, "0.0429"), (100.4, "100"), (999.6, "1,000"), (12345, "12,345")],
)
def test_three_digits_are_told_of_a_number_and_all_before_the_point(value, said):
    from glimpse_cli.compare.columns import three_digits

    assert three_digits(value) == said


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("columns", [30, 60, 80, 200])
def test_no_terminal_is_too_narrow_for_a_number(columns):
    said = on_terminal(columns, "photo.png", *BOX)
    wide = run("photo.png", *BOX).stdout.splitlines()
    heads, *rows = (re.split(r"  +", line.strip()) for line in wide[1:5])
    table = said[said.index("\n") : said.index("  d_y = ")]
    assert "\N{HORIZONTAL ELLIPSIS}" not in table
    for text in [*heads, *(cell for row in rows for cell in [row[0], *row[2:]])]:  # but for the time
        assert text in table
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", table).splitlines())) <= max(columns, 30)
    words = re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines()
    assert max(map(len, words)) <= max(columns, 30)
    assert " ".join(said.split()).endswith("--explain says more")  # no word is broken

    explained = on_terminal(columns, "--explain").splitlines()
    assert max(map(len, explained)) <= columns
    assert sum(map(len, explained)) > 1000


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize(("missing", "parts"), [(0, 1), (1, 2)])
def test_a_table_that_just_fits_into_a_terminal_stays_whole(missing, parts):
    args = ("photo.png", *BOX, "--repeats", "0")  # the time, which is never twice the same, is left out
    width = max(map(len, run(*args).stdout.splitlines()[1:5]))
    assert on_terminal(width - missing, *args).count("method") == parts


def on_terminal(columns, *args):
    """What is said on a terminal of so many columns."""
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns)}
    process = subprocess.Popen(
        [sys.executable, "-m", "glimpse_cli", "compare", *args], stdout=theirs, env=environment
    )  # read while it speaks: a terminal holds 4 kB
    os.close(theirs)
    said = b"".join(iter(lambda: _read(ours), b"")).decode()
    assert process.wait() == 0
    return said


def _read(descriptor):
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # the other end is closed
        return b""


def test_several_pictures_have_a_row_each_and_a_mean():
    found = document("photo.png", "other.png", *BOX, "--methods", "stn")
    rows = [image["rows"][0] for image in found["images"]]
    assert found["mean"][0]["mae"] == pytest.approx((rows[0]["mae"] + rows[1]["mae"]) / 2)
    assert found["mean"][0]["over"] == {}
    result = run("photo.png", "other.png", *BOX)
    assert "mean of 2 pictures" in result.stdout
    assert ": over " not in result.stdout


def test_a_mean_of_fewer_pictures_says_so():
    Path("flat.png").write_bytes(png(np.full((50, 60, 3), 77, np.uint8)))
    args = ("photo.png", "flat.png", *BOX, "--methods", "hard,stn", "--reference", "hard")
    first, second = document(*args)["images"][0]["rows"][1]["psnr"], document(*args)["mean"][1]
    assert (second["psnr"], second["over"]["psnr"]) == (pytest.approx(first), 1)
    assert "\n  psnr, aliasing and blur of stn: over the 1 of 2 pictures that have them\n" in run(*args).stdout


def test_what_is_no_number_is_blamed_on_whom_it_comes_from_without_a_python_warning():
    values = RNG.random((43, 71)).astype(np.float32)
    values[9, 16], values[21, 20] = np.nan, np.inf  # columns that lie between the places of hard and stn
    Image.fromarray(values).save("float.tiff")
    done = subprocess.run(
        [sys.executable, "-m", "glimpse_cli", "compare", "float.tiff", *BOX, "-o", "out.png"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "  gaussian and the reference: some values are not finite" in done.stdout
    assert done.stderr == "warning: float.tiff: 2 of its 3053 pixels are NaN or infinite\n"
    assert (np.asarray(Image.open("out.png")) == paper.UNKNOWN).all(axis=2).sum() > 1000


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--box", "-5,3,40,30"], "stays inside the picture, the glimpse does not"),
        (["-u", "5", "-d", "0"], "needs a step"),
    ],
)
def test_where_there_is_no_reference_none_is_named(args, why):
    said = run("photo.png", *args, "--size", "9x7", "--repeats", "0").stdout
    assert f"  no reference: Pillow's LANCZOS {why}; --reference takes a method\n" in said
    assert said.splitlines()[-1].startswith("reference: none; ")


def test_one_bad_picture_does_not_stop_the_others():
    result = run("photo.png", "broken.png", "missing.png", *BOX)
    assert result.exit_code == 3
    assert result.stderr.count("error: ") == 2
    assert "photo.png: 71 x 43" in result.stdout
    assert run("broken.png", *BOX).exit_code == 1


def test_a_picture_comes_from_stdin_too():
    result = run("-", *BOX, "--json", input=png(PHOTO))
    assert json.loads(result.stdout)["images"][0]["input_size"] == {"width": 71, "height": 43}


@pytest.mark.parametrize(
    ("limit", "code"),
    [("mae=0.9", 0), ("mae=0.0001", 3), ("max=1", 0), ("max=1e-3", 3), ("psnr=1", 0), ("psnr=60", 3)],
)
def test_fail_above_turns_it_into_a_check(limit, code):
    result = run("photo.png", *BOX, "--methods", "stn", "--fail-above", limit)
    assert result.exit_code == code
    assert (f"error: photo.png: stn on cpu: {limit.partition('=')[0]} is" in result.stderr) == (code == 3)
    assert "reference:" in result.stdout  # the table is there all the same


def test_one_limit_of_several_is_enough():
    result = run("photo.png", *BOX, "--fail-above", "mae=0.9", "--fail-above", "psnr=99", "--json")
    assert result.exit_code == 3
    assert len(json.loads(result.stdout)["images"][0]["failures"]) == 3


def test_a_metric_that_is_not_there_never_passes():
    result = run("photo.png", "--box", "-5,3,40,30", "--fail-above", "psnr=0", "--methods", "stn")
    assert result.exit_code == 3
    assert "there is no psnr" in result.stderr


def test_ssim_without_scikit_image_is_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setattr(measures, "find_spec", lambda _: None)
    assert refused(run("photo.png", *BOX, "--fail-above", "ssim=0.5"), 1, "glimpse-cli[metrics]")
    assert "ssim" not in run("photo.png", *BOX).stdout


def test_devices_are_checked_against_the_first(monkeypatch):
    cpu = devices.resolve("cpu")
    off = devices.Device("off", lambda *given: cpu.contract(*given) + np.float32(0.01))
    monkeypatch.setattr(devices, "resolve", lambda name, _: off if name == "cuda" else cpu)
    args = ["photo.png", *BOX, "--devices", "cpu,cuda", "--methods", "gaussian,stn", "--fail-above"]
    assert run(*args, "max=0.02").exit_code == 0
    result = run(*args, "max=0.005")
    assert result.exit_code == 3
    assert "gaussian on off: max is 0.01" in result.stderr
    assert "off first device" in result.stdout
    assert result.stdout.count("0.0100") == 2


def test_a_width_may_be_that_of_the_reference_alone():
    args = ("photo.png", *BOX, "--methods", "stn,hard", "-s", "1.5")
    assert run(*args, "--reference", "gaussian").exit_code == 0
    assert refused(run(*args), 2, "-s is the gaussian's width")


def test_torch_gives_what_numpy_gives(monkeypatch):
    pytest.importorskip("torch")
    cpu, torch = devices.resolve("cpu"), devices.on_torch("cpu")
    monkeypatch.setattr(devices, "resolve", lambda name, _: torch if name == "cuda" else cpu)
    args = ["--devices", "cpu,cuda", "--fail-above", "max=2e-5"]
    for place in (["--box", "5.5,-3,40,30"], ["-u", "3,70", "-d", "2,-1.5", "-s", "1"]):
        result = run("photo.png", *place, *args)
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--methods", "hard,fourier"], "unknown method 'fourier'"),
        (["--methods", "stn:s=1"], "no setting"),
        (["--reference", "bicubic"], "unknown method 'bicubic'\ntry: --reference lanczos"),
        (["--reference", "hard,stn"], "takes one method, got 'hard,stn'\ntry: --reference lanczos"),
        (["--methods", "gaussian:s=0,5"], "unknown method '5'\ntry: gaussian:s=0.5"),
        (["--methods", "gaussian:s=1/2/3"], "more than a width for each axis"),
        (["--devices", "tpu"], "--devices must be"),
        (["--fail-above", "sharp=1"], "mae, max, psnr, ssim"),
        (["--fail-above", "mae=a"], "not a number"),
        (["--fail-above", "mae=nan"], "not a number"),
        (["--repeats", "-1"], "--repeats"),
        (["--size", "0"], "size"),
        (["-s", "1", "--methods", "stn,gaussian:s=2"], "no plain gaussian"),
        (["-s", "0,5"], "above 0"),
        (["--padding", "reflection"], "; the methods stn and hard have reflection"),  # there is no --method
        (["--padding", "mirror"], "padding must be"),
        (["--box", "1,2,3,4"], "one place"),
        (["-u", "3"], "exactly one place"),
        (["-o", "compare.docx"], "unknown format"),
        (["-o", "compare"], "has no suffix"),
        (["-o", "compare.npy"], "try: one of jpg, png, tiff, webp\n"),
        (["-o", "-"], "stdout"),
        (["-o", "photo.png", "--force"], "also an input"),
        (["other.png", "-o", "compare.png"], "2 pictures need a folder"),
        (["--report", "-"], "is no page"),
        (["--report", "report.txt"], "is no page"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(args, words):
    assert refused(run("photo.png", *BOX, *args), 2, words)
    assert files() == ["broken.png", "other.png", "photo.png"]


def test_a_picture_is_needed():
    assert refused(run(*BOX), 2, "needs a picture")


def test_a_device_that_is_not_there_is_an_error():
    if devices.find_spec("torch") and __import__("torch").cuda.is_available():
        pytest.skip("there is a GPU")
    assert refused(run("photo.png", *BOX, "--devices", "cpu,cuda"), 1, "cuda")


OUTPUTS = pytest.mark.parametrize(("option", "name"), [("-o", "out.png"), ("--report", "out.html")])


@OUTPUTS
def test_an_output_that_exists_stays_unless_forced(option, name):
    Path(name).write_text("mine")
    assert refused(run("photo.png", *BOX, option, name), 1, "exists", "--force")
    assert Path(name).read_text() == "mine"
    assert run("photo.png", *BOX, option, name, "--force").exit_code == 0
    assert Path(name).read_bytes() != b"mine"


def test_a_page_is_no_input_and_two_pictures_no_one_output():
    Path("photo.html").symlink_to("photo.png")
    assert refused(run("photo.html", *BOX, "--report", "photo.html", "--force"), 2, "also an input")
    Path("sub").mkdir()
    Path("sub/photo.png").symlink_to("../photo.png")
    assert refused(run("photo.png", "sub/photo.png", *BOX, "-o", "out/"), 2, "photo.png and sub/photo.png both")


@OUTPUTS
def test_an_output_that_cannot_be_written_is_one_clear_error(option, name):
    Path("full").mkdir()
    Path("full/file").write_text("not a folder")
    result = run("photo.png", *BOX, option, f"full/file/{name}")
    assert result.exit_code == 1
    assert result.stderr.count("error: ") == 1
    assert sorted(path.name for path in Path("full").iterdir()) == ["file"]


def test_the_picture_is_written_in_the_format_of_its_name():
    for name, form in (("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.webp", "WEBP")):
        assert run("photo.png", *BOX, "-o", name).exit_code == 0
        with Image.open(name) as picture:
            assert picture.format == form
            assert 600 < picture.width <= 1600
    assert run("photo.png", *BOX, "-o", "new/").exit_code == 0
    assert Path("new/photo.compare.png").is_file()
    assert refused(run("photo.png", *BOX, "-o", "missing/a.png"), 1, "cannot write")
    assert run("photo.png", "other.png", *BOX, "-o", "out").exit_code == 0
    assert {"out/photo.compare.png", "out/other.compare.png"} <= set(files())


def test_what_cannot_be_written_is_told_before_anything_is_measured():
    result = run("photo.png", *BOX, "--report", "missing/a.html")
    assert refused(result, 1, "cannot write missing/a.html", "there is no folder missing")
    assert not result.stdout


def test_explain_says_what_each_number_means_also_without_a_picture():
    alone = run("--explain")
    assert alone.exit_code == 0
    assert all(name in alone.stdout for name in NUMBERS)
    heads = {line.partition(" (")[0] for line in alone.stdout.splitlines() if not line.startswith(" ")}
    assert heads >= {"ms", "px read", "px seen", "noise", "off first device", "reference"}  # as tables have them
    assert json.loads(run("--explain", "--json").stdout)["explain"].keys() >= NUMBERS
    with_table = run("photo.png", *BOX, "--explain")
    assert with_table.stdout.endswith(alone.stdout)
    assert set(document("photo.png", *BOX, "--explain")["explain"]) >= NUMBERS


def test_what_is_not_timed_is_the_same_every_time():
    runs = [run("photo.png", *BOX, *more, "--repeats", "0").stdout for more in ([], [], ["--json"], ["--json"])]
    assert runs[0] == runs[1]
    assert runs[2] == runs[3]
    assert " ms" not in runs[0]
    assert json.loads(runs[2])["images"][0]["rows"][0]["ms"] is None


def test_quiet_leaves_the_data():
    result = run("photo.png", *BOX, "-q")
    assert result.stderr == ""
    assert "gaussian" in result.stdout


def test_hostile_names_are_shown_escaped():
    name = "\x1b[31m<b>\u202e.png"
    Path(name).write_bytes(png(PHOTO))
    result = run(name, *BOX)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "\\x1b[31m<b>\\u202e.png" in result.stdout


def test_the_posts_example_from_the_command_line():
    square = np.zeros((10, 10), np.uint8)
    square[3:6, 3:6] = 255
    Path("square.png").write_bytes(png(square))
    (image,) = document("square.png", "-u", "2", "-d", "1", "-s", "0.5", "--size", "5")["images"]
    assert run("square.png", "-u", "2", "-s", "0.5", "--size", "5").stdout.count(" inf ") == 2
    hard, gaussian, stn = image["rows"]
    assert (hard["max"], stn["max"]) == (0, 0)
    assert (hard["psnr"], stn["psnr"]) == (None, None)
    assert 0.19 < gaussian["max"] < 0.21
    assert gaussian["blur"] == pytest.approx(1)
    assert image["place"]["scale"] == pytest.approx({"y": 4 / 9, "x": 4 / 9})
    assert image["place"]["shift"] == pytest.approx({"y": -1 / 9, "x": -1 / 9})
    run_own = document("square.png", "--scale", ".4", "--shift", "-.1", "-s", ".5", "--size", "5")
    assert run_own["images"][0]["place"]["u"] == pytest.approx({"y": 2.25, "x": 2.25})


def test_no_torch_is_loaded_and_help_needs_no_numpy():
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom glimpse_cli.cli.app import app\n"
        f"print(CliRunner().invoke(app, {{}}).exit_code, *(m in sys.modules for m in {('numpy', 'PIL', 'torch')}))"
    )
    for args, wanted in (
        (["compare", "--help"], "0 False False False"),
        (["compare", "photo.png", *BOX], "0 True True False"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", script.replace("{}", repr(args))], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == wanted
