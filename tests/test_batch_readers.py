"""What others read: Hugging Face datasets and WebDataset, where they are installed."""

import numpy as np
import pytest
from PIL import Image

from batches import of_table, picture
from glimpse_cli import batch
from glimpse_cli.items import Writing

TABLE = "image,x0,y0,x1,y1,label\na.png,1,2,9,12,cat\nb.png,2,3,20,9.5,dog\na.png,4,2,29,21,cat\n"

pytestmark = pytest.mark.filterwarnings("default")  # what they leave open is theirs


@pytest.fixture
def photos(tmp_path):
    for n, name in enumerate(["a.png", "b.png", "bad.png"]):
        picture(tmp_path / "photos" / name, n)
    (tmp_path / "photos" / "bad.png").write_text("words")
    return tmp_path / "photos"


def opened(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_imagefolder_loads_a_folder_with_its_labels_and_masks(photos, tmp_path):
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    batch.run(of_table(photos, out, TABLE + "bad.png,1,2,9,9,cat\n", writing=Writing("png", mask="png")))
    loaded = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded["label"][:] == ["cat", "cat", "dog"]
    for row, name in zip(loaded, ["a.1", "a.3", "b"], strict=True):
        np.testing.assert_array_equal(np.asarray(row["image"]), opened(out / f"{name}.png"))
        np.testing.assert_array_equal(np.asarray(row["mask"]), opened(out / f"{name}.mask.png"))


def test_webdataset_reads_the_shards(photos, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    out = tmp_path / "out"
    batch.run(of_table(photos, out, TABLE, form="shards", shards=2))
    batch.run(of_table(photos, tmp_path / "files", TABLE))
    shards = [str(path) for path in sorted(out.glob("*.tar"))]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    assert [sample["json"]["label"] for sample in samples] == ["cat", "cat", "dog"]
    for sample in samples:
        np.testing.assert_array_equal(sample["png"], opened(tmp_path / "files" / sample["json"]["name"]))
        assert "." not in sample["__key__"]
