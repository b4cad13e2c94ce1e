"""The sample pictures are what their README and tables say they are."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image, ImageOps

SAMPLES = Path(__file__).parent.parent / "sample_images"
UPRIGHT = {  # (width, height), as a viewer shows them
    "astronaut.jpg": (384, 512),
    "camera.png": (512, 384),
    "chelsea.png": (451, 300),
    "coffee.jpg": (600, 400),
    "rocket.jpg": (640, 427),
}


def boxes():
    with (SAMPLES / "boxes.csv").open(newline="", encoding="utf-8") as file:
        return [
            (row["image"], tuple(int(row[key]) for key in ("x0", "y0", "x1", "y1")), row["label"])
            for row in csv.DictReader(file, strict=True)
        ]


def test_the_folder_holds_these_pictures_and_no_others():
    assert {path.name for path in SAMPLES.iterdir() if path.suffix in {".jpg", ".png"}} == set(UPRIGHT)


def test_all_of_it_is_under_3_mb():
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 3_000_000


@pytest.mark.parametrize(("name", "size"), UPRIGHT.items())
def test_a_picture_decodes_to_its_upright_size_and_is_not_square(name, size):
    with Image.open(SAMPLES / name) as picture:
        assert ImageOps.exif_transpose(picture).size == size
    assert size[0] != size[1]


def test_the_astronaut_lies_on_its_side_in_the_file_and_says_so():
    with Image.open(SAMPLES / "astronaut.jpg") as picture:
        assert picture.size == (512, 384)
        assert picture.getexif()[0x0112] == 6


def test_the_astronaut_is_upright_when_turned_as_its_exif_says():
    with Image.open(SAMPLES / "astronaut.jpg") as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB")
    red, _, blue = upright.crop((40, 300, 160, 345)).resize((1, 1)).getpixel((0, 0))  # the orange suit is below
    assert red > blue + 100
    wall = upright.crop((150, 5, 290, 12)).resize((1, 1)).getpixel((0, 0))  # the grey wall is above
    assert max(wall) - min(wall) < 30


def test_one_picture_is_grey_and_one_has_a_wide_gamut_profile():
    with Image.open(SAMPLES / "camera.png") as grey, Image.open(SAMPLES / "rocket.jpg") as wide:
        assert grey.mode == "L"
        assert b"Adobe RGB" in wide.info["icc_profile"]


@pytest.mark.parametrize(("image", "box", "label"), boxes())
def test_a_box_lies_inside_its_picture(image, box, label):
    x0, y0, x1, y1 = box
    width, height = UPRIGHT[image]
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert label


def test_every_picture_has_a_box():
    assert {image for image, _, _ in boxes()} == set(UPRIGHT)


def test_the_coco_file_says_the_same_as_the_table():
    coco = json.loads((SAMPLES / "coco.json").read_text(encoding="utf-8"))
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    labels = {category["id"]: category["name"] for category in coco["categories"]}
    found = []
    for annotation in coco["annotations"]:
        x, y, w, h = annotation["bbox"]
        found.append((names[annotation["image_id"]], (x, y, x + w, y + h), labels[annotation["category_id"]]))
        assert annotation["area"] == w * h
    assert found == boxes()
    assert {image["file_name"]: (image["width"], image["height"]) for image in coco["images"]} == UPRIGHT


def test_the_readme_names_every_file():
    text = (SAMPLES / "README.md").read_text(encoding="utf-8")
    names = [f"{path.name}/" if path.is_dir() else path.name for path in SAMPLES.iterdir()]
    assert all(f"`{name}`" in text for name in names if name != "README.md")
