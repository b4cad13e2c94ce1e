"""Tables: what is read, what is refused as a whole, and what is one bad row among good ones."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimpse_cli import tables
from glimpse_cli.errors import InputError, UsageError
from glimpse_cli.places import BoxPlace, CombPlace, GridPlace, Look, Pair
from glimpse_cli.tables import BadRow, Defaults, Row, records

SIZE = (5, 7)
BOXES = "image,x0,y0,x1,y1"


def rows(text, suffix=".csv", **defaults):
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return tables.parse(data, "t" + suffix, suffix, Defaults(size=SIZE, **defaults))


def refused(text, suffix=".csv"):
    with pytest.raises(UsageError) as caught:
        rows(text, suffix)
    assert caught.value.exit_code == 2
    return str(caught.value)


def bad(text, suffix=".csv", **defaults):
    (row,) = rows(text, suffix, **defaults)
    assert isinstance(row, BadRow), row
    return str(row.error)


@pytest.mark.parametrize(
    ("header", "values", "place"),
    [
        ("x0,y0,x1,y1", "1,2,30.5,4e1", BoxPlace((1, 2, 30.5, 40))),
        ("x,y,w,h", "-1,2,30,.5", BoxPlace((-1, 2, 29, 2.5))),
        ("u_y,u_x", "1,-2", CombPlace(Pair(1, -2), Pair(1, 1))),
        ("u_x,u_y,d_x,d_y", "1,-2,3,-4", CombPlace(Pair(-2, 1), Pair(-4, 3))),
        ("scale_y,scale_x,shift_y,shift_x", "1,2,3,4", GridPlace(Pair(1, 2), Pair(3, 4))),
    ],
)
def test_every_spelling_gives_its_place_in_every_form(header, values, place):
    columns = header.split(",")
    record = dict(zip(columns, map(float, values.split(",")), strict=True))
    for text, suffix, where in (
        (f"image,{header}\na.jpg,{values}\n", ".csv", "t.csv, line 2"),
        (f"image\t{header}\na.jpg\t{values}\n".replace(",", "\t"), ".tsv", "t.tsv, line 2"),
        (json.dumps({"image": "a.jpg", **record}), ".jsonl", "t.jsonl, line 1"),
    ):
        assert rows(text, suffix) == [Row(1, where, "a.jpg", Look(place, SIZE))]


def test_optional_columns_go_before_the_defaults_and_the_others_travel():
    header = "image,u_y,u_x,s_y,s_x,method,width,height,id,label,split"
    found = rows(f"{header}\na.jpg,1,2,3,4,,,,,cat,train\nb.jpg,1,2,,,stn,9,11,x-7,,\n", s=Pair(8, 9))
    place = CombPlace(Pair(1, 2), Pair(1, 1))
    assert found == [
        Row(1, "t.csv, line 2", "a.jpg", Look(place, SIZE, s=Pair(3, 4)), None, {"label": "cat", "split": "train"}),
        Row(2, "t.csv, line 3", "b.jpg", Look(place, (11, 9), "stn"), "x-7", {"label": "", "split": ""}),
    ]


def test_what_the_command_says_about_boxes_holds_for_every_row():
    (row,) = rows(f"{BOXES}\na.jpg,0,0,.5,1", normalized=True, margin=0.2, keep_aspect=True, method="hard")
    assert row.look == Look(BoxPlace((0, 0, 0.5, 1), True, 0.2, True), SIZE, "hard")


def test_json_values_keep_their_types():
    (row,) = rows('{"image":"a.jpg","x0":0,"y0":"1.5","x1":3,"y1":4,"id":12,"label":["a",1,null],"n":2.5}', ".jsonl")
    assert row.look.place == BoxPlace((0, 1.5, 3, 4))
    assert (row.id, row.extra) == ("12", {"label": ["a", 1, None], "n": 2.5})


def test_whole_numbers_may_come_as_fractions_as_data_frames_write_them():
    (row,) = rows('{"image":"a.jpg","x0":0,"y0":1,"x1":3,"y1":4,"id":7.0,"width":48.0}', ".jsonl")
    assert (row.id, row.look.size) == ("7", (SIZE[0], 48))
    (row,) = rows(f"{BOXES},width,height\na.jpg,1,2,3,4, 9 ,\n")
    assert row.look.size == (SIZE[0], 9)


def test_columns_without_a_name_as_that_of_a_data_frame_s_index_are_left_out():
    (row,) = rows(f",{BOXES},,label\n7,a.jpg,1,2,3,4,9,cat\n")
    assert row == Row(1, "t.csv, line 2", "a.jpg", Look(BoxPlace((1, 2, 3, 4)), SIZE), None, {"label": "cat"})


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_line_ends_and_a_byte_order_mark_make_no_difference(end, bom):
    text = bom + end.join([" image , x0,y0,x1,y1", "a.jpg,1,2,3,4", "", '"b,\u2028""c"".jpg",5,6,7,8', ""])
    found = rows(text)
    assert [(r.where, r.image) for r in found] == [("t.csv, line 2", "a.jpg"), ("t.csv, line 4", 'b,\u2028"c".jpg')]


def test_json_lines_end_at_line_feeds_alone():
    text = '{"image":"a\u2028\u0085.jpg","x0":1,"y0":2,"x1":3,"y1":4}\r\n\r\n{"image":"b","x0":1,"y0":2,"x1":3,"y1":4}'
    found = [(row.where, row.image) for row in rows(text, ".jsonl")]
    assert found == [("t.jsonl, line 1", "a\u2028\u0085.jpg"), ("t.jsonl, line 3", "b")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "column image is missing"),
        (BOXES, "no rows"),
        ("image,x0,y0,x1\na.jpg,1,2,3", "column y1 is missing"),
        ("file,x0,y0,x1,y1\na.jpg,1,2,3,4", "column image is missing: its columns are file, x0"),
        ("image,label\na.jpg,1", "column"),
        ("image,u_y,u_x,d_y\na,1,2,3", "column d_x is missing"),
        ("image,x0,y0,x1,y1,s_x\na,1,2,3,4,5", "column s_y is missing"),
        ("image,x0,y0,x1,y1,x,y,w,h\n", "more than once: x0,y0,x1,y1 and x,y,w,h"),
        ("image,x0,x0,y0,x1,y1\n", "two columns 'x0'"),
        ("image;x0;y0;x1;y1\na.jpg;1,5;2;3;4", "separated by semicolons"),
        ("image\tx0\ty0\tx1\ty1\n", "separated by tabs"),
        (f'{BOXES}\na.jpg,1,2,3,4\n"b.jpg,1,2,3,4\nc.jpg,1,2,3,4\n', "line 3: the row cannot be read"),
        (f'{BOXES}\n"a.jpg"b,1,2,3,4', "line 2"),
        (f"{BOXES}\n{'a' * 200000},1,2,3,4", "field larger than field limit"),
        (b"image,x0,y0,x1,y1\nf\xfcr.jpg,1,2,3,4", "not UTF-8: line 2 has the byte 0xfc"),
        ("image,x0".encode("utf-16"), "not UTF-8"),
    ],
)
def test_a_table_broken_as_a_whole_is_refused(text, says):
    assert says in refused(text)


def test_a_tsv_is_not_separated_by_commas():
    assert "separated by commas" in refused(f"{BOXES}\na.jpg,1,2,3,4", ".tsv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"image":"a.jpg","x0":1', "line 1: not JSON"),
        ('{"image":"a","x0":1,"y0":2,"x1":3,"y1":4}\n[1]', "line 2: [1] is no JSON object"),
        ('{"image":"a","x0":1,"x0":2,"y0":2,"x1":3,"y1":4}', "the key 'x0' is there twice"),
        ("[" * 100_000, "nested too deep"),
        ('{"image":"a","x0":1,"y0":2,"x1":3}', "column y1 is missing"),
        ("\n\n", "column image is missing"),
    ],
)
def test_broken_json_lines_are_refused(text, says):
    assert says in refused(text, ".jsonl")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("a.jpg,x,2,3,4", "t.csv, line 2: column x0: 'x' is not a number"),
        ("a.jpg,nan,2,3,4", "column x0: 'nan'"),
        ("a.jpg,1,inf,3,4", "column y0: 'inf'"),
        ("a.jpg,1,2,1_0,4", "column x1: '1_0'"),
        ("a.jpg,1,2,3,\u0664", "column y1: '\\u0664'"),
        ("a.jpg,1,2,3,0x10", "column y1: '0x10'"),
        ("a.jpg,1,2,3,1e999", "column y1: '1e999' is too large"),
        (f"a.jpg,1,2,3,{'9' * 5000}", "(5002 characters) is not a number"),
        ("a.jpg,1,2,3,", "column y1: '' is not a number"),
        ("a.jpg,1,2,3", "column y1: the row ends before it, with 4 values of 5"),
        ("a.jpg,1,2,3,4,5,6", "7 values for 5 columns, from '5' on"),
        (",1,2,3,4", "column image: ''"),
        ("a.jpg,5,2,3,4", "x1 must be above its x0, got x0 = 5 and x1 = 3"),
        ("a.jpg,1,2,3,2", "y1 must be above its y0"),
        ("a.jpg,1,2,3,\x1b[31m", "column y1: '\\x1b[31m'"),
    ],
)
def test_a_bad_row_names_line_column_and_value(values, says):
    message = bad(f"{BOXES}\n{values}\n")
    assert says in message
    assert message.isprintable()
    good, wrong = rows(f"{BOXES}\nb.jpg,1,2,3,4\n{values}")
    assert isinstance(good, Row)
    assert (wrong.number, wrong.where) == (2, "t.csv, line 3")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("method", "lanczos", "column method: 'lanczos' is none of gaussian, stn, hard"),
        ("width", "0", "column width: '0' is not a whole number"),
        ("height", "1.5", "column height: '1.5'"),
        ("width", "999999999", "column width: a glimpse of 999999999x"),
        ("id", "a/b", "column id: 'a/b' cannot be part of a file name"),
        ("id", "..\\x", "column id"),
    ],
)
def test_optional_columns_are_checked(column, value, says):
    assert says in bad(f"{BOXES},{column}\na.jpg,1,2,3,4,{value}")


def test_a_width_needs_the_gaussian_and_is_above_0():
    assert "column s_y: s must be above 0 px, got 0" in bad("image,u_y,u_x,s_y,s_x\na,1,2,0,5")
    assert "column s_x: '' is not a number" in bad("image,u_y,u_x,s_y,s_x\na,1,2,1,")
    assert "columns s_y,s_x: s is the gaussian's" in bad("image,u_y,u_x,s_y,s_x,method\na,1,2,1,1,stn")
    assert "padding 'reflection'" in bad(f"{BOXES},method\na,1,2,3,4,gaussian", padding="reflection")
    assert "columns x0,y0,x1,y1: a box's x1" in bad(f"{BOXES}\na,3,2,1,4")
    assert "columns x0,y0,x1,y1: u = " in bad(f"{BOXES}\na,1e200,2,2e200,4")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("image,u_y,u_x,d,sy\na,1,2,3,4", "d and sy would not say the place"),
        ("image,u_y,u_x,d_y,d_x,s\na,1,2,3,4,5", "s would not say the place"),
        ("image,u,s,d\na,1,2,3", "no columns say where to look"),
        ("image,u_y\na,1", "the column u_x is missing"),
    ],
)
def test_columns_that_were_meant_to_say_the_place_are_not_left_aside(table, says):
    said = refused(table)
    assert says in said
    assert "d_y,d_x" in said or "s_y,s_x" in said
    (row,) = rows(f"{BOXES},d_y\na,1,2,3,4,5")
    assert row.extra == {"d_y": "5"}
    for anybody_s in (f"{BOXES},d,s\na,1,2,3,4,5,6", "image,u_y,u_x,d_y,d_x,s_y,s_x,d,s\na,1,2,1,1,1,1,5,6"):
        (row,) = rows(anybody_s)
        assert row.extra == {"d": "5", "s": "6"}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_that_is_not_utf8_is_told_with_its_line_whatever_mark_is_ahead(mark):
    assert "line 3 has the byte 0xff" in refused(mark + f"{BOXES}\na,1,2,3,4\n".encode() + b"\xff,1")


def test_json_lines_are_told_by_their_own_line_alone():
    said = refused('{"image": "a.jpg", "x0": 1, "y0": 1, "x1": 2, "y1": 2}\n{"image": "b"\n', ".jsonl")
    assert "line 2: not JSON" in said
    assert "column 14" in said
    assert "line 1" not in said


@pytest.mark.parametrize(
    ("table", "defaults", "says"),
    [
        (f"{BOXES}\na,1,2,3,4", {"padding": "reflection"}, "the gaussian has no padding 'reflection'"),
        ("image,scale_y,scale_x,shift_y,shift_x\na,1,1,0,0", {"s": Pair(1, 2)}, "the method stn has none"),
        ("image,u_y,u_x\na,1,1", {"margin": 0.1}, "--margin goes with boxes"),
    ],
)
def test_what_no_row_could_have_refuses_the_table(table, defaults, says):
    with pytest.raises(UsageError, match=says):
        rows(table, **defaults)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("NaN", "column x0: 'NaN' is not a number"),
        ("-Infinity", "column x0: '-Infinity'"),
        ("1e999", "column x0: inf is not a number"),
        ("9" * 5000, "characters) is not a number"),
        ("true", "column x0: True is not a number"),
        ("null", "column x0: None is not a number"),
        ("[1]", "column x0: [1] is not a number"),
    ],
)
def test_json_numbers_are_strict(value, says):
    line = f'{{"image":"a.jpg","x0":{value},"y0":2,"x1":3,"y1":4}}'
    assert says in bad(line, ".jsonl")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("label", "NaN", "column label: 'NaN' is no number of JSON"),
        ("label", '{"a": [1, -Infinity]}', "column label: '-Infinity' is no number of JSON"),
        ("label", "[" * 600 + "]" * 600, "column label: its value is nested deeper than 100"),
        ("id", "NaN", "column id: 'NaN' cannot be part of a file name"),
        ("id", '"\\ud800"', "column id: '\\ud800' cannot be part of a file name"),
        ("id", '"a\\u007f"', "column id: 'a\\x7f' cannot be part of a file name"),
        ("id", "7.5", "column id: 7.5 cannot be part of a file name"),
        ("id", "true", "column id: True cannot be part of a file name"),
        ("width", "true", "column width: True is not a whole number"),
    ],
)
def test_what_a_name_or_a_manifest_cannot_carry_is_a_bad_row(column, value, says):
    line = f'{{"image":"a.jpg","x0":1,"y0":2,"x1":3,"y1":4,"{column}":{value}}}'
    good = line.replace(value, {"label": "[[[1], 2.5], {}]", "id": "0", "width": "9"}[column])
    wrong, right = rows(f"{line}\n{good}", ".jsonl")
    assert says in str(wrong.error)
    assert isinstance(right, Row)


def test_a_value_nested_as_deep_as_is_allowed_travels():
    line = f'{{"image":"a.jpg","x0":1,"y0":2,"x1":3,"y1":4,"label":{"[" * 100 + "]" * 100}}}'
    (row,) = rows(line, ".jsonl")
    assert json.dumps(row.extra["label"]) == "[" * 100 + "]" * 100


def test_what_goes_with_boxes_needs_a_table_of_boxes():
    for defaults in ({"normalized": True}, {"margin": 0.5}, {"keep_aspect": True}):
        with pytest.raises(UsageError, match=r"goes with boxes, and t\.csv has u_y,u_x"):
            rows("image,u_y,u_x\na,1,2", **defaults)
        assert isinstance(rows(f"{BOXES}\na,1,2,3,4", **defaults)[0], Row)


def test_a_name_that_is_a_number_of_nothing_is_a_bad_row():
    assert "is no file name" in bad('{"image":NaN,"x0":1,"y0":2,"x1":3,"y1":4}', ".jsonl")
    (row,) = rows('{"image":[1],"x0":1,"y0":2,"x1":3,"y1":4}', ".jsonl")
    assert "column image: [1] is no file name" in str(row.error)
    assert row.image is None


def test_a_json_line_without_a_column_is_a_bad_row_where_others_have_it():
    text = '{"image":"a","x0":1,"y0":2,"x1":3,"y1":4}\n{"image":"b","x0":1,"y0":2,"x1":3}\n{"x0":1}'
    good, wrong, nameless = rows(text, ".jsonl")
    assert isinstance(good, Row)
    assert "column y1: None" in str(wrong.error)
    assert (wrong.image, nameless.image) == ("b", None)


COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": "x", "file_name": "b.jpg"}, {"id": 9}],
    "annotations": [
        {"id": 3, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4.5], "segmentation": [[1]], "iscrowd": 0},
        {"id": 4, "image_id": "x", "bbox": [0, 0, 1, 1], "width": 640, "height": 480},  # of the picture
        {"id": 5, "image_id": 8, "bbox": [0, 0, 1, 1]},
        {"id": 6, "image_id": 7, "bbox": [0, 0, 1]},
        {"id": 6, "image_id": 7, "bbox": [0, 0, -1, 2]},
        {"id": 6, "image_id": 7, "bbox": [0, "a", 1, 2]},
        {"id": 6, "image_id": 9, "bbox": [0, 0, 1, 2]},
        {"id": 6, "image_id": [7], "bbox": None},
        "annotation",
        {"id": 6, "image_id": 7},
        {"id": 6, "image_id": 7, "bbox": "1234"},
    ],
    "categories": [{"id": 2, "name": "cat"}],
}


def test_coco_annotations_are_rows_and_categories_travel():
    first, second, *wrong = rows(json.dumps(COCO), ".json")
    extra = {"category": "cat", "category_id": 2, "iscrowd": 0}
    assert first == Row(1, "t.json, annotations[0]", "a.jpg", Look(BoxPlace((1, 2, 4, 6.5)), SIZE), "3", extra)
    assert (second.image, second.id, second.extra, second.look.size) == ("b.jpg", "4", {}, SIZE)
    messages = [str(row.error) for row in wrong]
    for message, says in zip(
        messages,
        [
            "annotations[2]: image_id: 8 is none",
            "annotations[3]: bbox: [0, 0, 1] is not",
            "column w: a box's width must be above 0, got -1",
            "column y: 'a' is not a number",
            "column image: None",
            "image_id: [7]",
            "'annotation' is no annotation",
            "bbox: None is not",
            "bbox: '1234' is not",
        ],
        strict=True,
    ):
        assert says in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": None}, "no list of images"),
        ({"annotations": {}}, "no list of annotations"),
        ({"annotations": []}, "no rows"),
        ({"images": [{"file_name": "a"}]}, "images[0] has no id"),
        ({"images": [{"id": 1}, {"id": 1}]}, "images[1] has the id 1 of another"),
        ({"categories": 3}, "categories are no list"),
    ],
)
def test_a_broken_coco_file_is_refused(change, says):
    assert says in refused(json.dumps(COCO | change), ".json")


def test_what_is_not_coco_at_all_is_refused():
    for text in ("[]", "1", "null", '"x"', "{}"):
        said = refused(text, ".json")
        assert "no COCO file" in said
        assert "JSON lines end in .jsonl" in said
    assert ".jsonl" not in refused('{"images": []}', ".json")
    assert "not JSON" in refused("{", ".json")
    assert "line 3, column 16" in refused('{"images": [],\n\n"annotations": x}', ".json")
    assert "nested too deep" in refused('{"images":' * 50_000, ".json")


def test_the_suffix_says_what_a_table_is(tmp_path):
    for suffix in (".CSV", ".tsv"):
        path = tmp_path / f"t{suffix}"
        path.write_text("image,x0,y0,x1,y1\na,1,2,3,4\n".replace(",", "\t" if suffix == ".tsv" else ","))
        assert tables.read(str(path), Defaults())[0].image == "a"
    with pytest.raises(UsageError, match="no kind of table"):
        tables.read("boxes.xlsx", Defaults())
    with pytest.raises(InputError, match="cannot open"):
        tables.read(str(tmp_path / "none.csv"), Defaults())
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UsageError, match="is empty"):
        tables.read(str(tmp_path / "empty.csv"), Defaults())


def test_parquet_without_pyarrow_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "glimpse-cli[parquet]" in refused(b"PAR1", ".parquet")


def test_parquet_is_read_where_pyarrow_is():
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"image": ["a.jpg", "b.jpg"], **{c: [1.0, 2.0] for c in ("x", "y", "w", "h")}, "id": [1, None]})
    sink = arrow.BufferOutputStream()
    parquet.write_table(table, sink)
    first, second = rows(sink.getvalue().to_pybytes(), ".parquet")
    assert (first.where, first.id, second.look.place) == ("t.parquet, row 1", "1", BoxPlace((2, 2, 4, 4)))
    assert "no parquet file" in refused(b"PAR1 and no more", ".parquet")
    pairs = arrow.array([[("a", float("nan"))], [("a", 1.0)]], arrow.map_(arrow.string(), arrow.float64()))
    sink = arrow.BufferOutputStream()
    parquet.write_table(table.append_column("m", pairs), sink)
    bad, good = rows(sink.getvalue().to_pybytes(), ".parquet")
    assert "column m: nan is no number of JSON" in str(bad.error)
    assert good.extra["m"] == [("a", 1.0)]


def test_a_parquet_that_unpacks_to_more_than_a_file_may_hold_is_refused_before_it_is_made_rows(monkeypatch):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(records, "MAX_BYTES", 2**20)
    many = 18_000
    columns = {column: arrow.repeat(1.0, many) for column in ("x", "y", "w", "h")}
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.table({"image": arrow.repeat("photographs/a.jpg", many), **columns}), sink)
    data = sink.getvalue().to_pybytes()
    assert len(data) < 5_000
    assert "t.parquet holds more than 1 MiB" in refused(data, ".parquet")


def test_categories_of_a_data_frame_count_once_a_row(monkeypatch):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(records, "MAX_BYTES", 2**20)
    many = 4096  # all of whose names come with each batch: together these are 2 MiB
    names = arrow.array([f"{'photographs' * 10}/{n:09}.jpg" for n in range(many)]).dictionary_encode()
    columns = {column: arrow.repeat(1.0, many) for column in ("x", "y", "w", "h")}
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.table({"image": names, **columns}), sink)
    found = rows(sink.getvalue().to_pybytes(), ".parquet")
    assert (len(found), found[-1].image[-13:]) == (many, "000004095.jpg")


def test_a_parquet_of_two_columns_of_one_name_or_of_a_date_that_is_none_is_refused():
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    names, ones = ["image", "x", "y", "w", "h", "t"], [arrow.array([1.0])] * 4
    for name, t, says in (("image", [1], "two columns 'image'"), ("t", [2**62], "out of range")):
        times = arrow.array(t, arrow.timestamp("us"))
        sink = arrow.BufferOutputStream()
        parquet.write_table(arrow.Table.from_arrays([arrow.array(["a"]), *ones, times], [*names[:5], name]), sink)
        assert says in refused(sink.getvalue().to_pybytes(), ".parquet")


def test_a_head_of_many_columns_is_read_in_no_time_and_told_in_a_line():
    many = ",".join(f"column{n}" for n in range(50_000))
    said = refused(f"{many},image,x0,y0,x1\n")
    assert "the column y1 is missing: its columns are column0, column1" in said
    assert len(said) < 1000
    with pytest.raises(UsageError, match="'a' is there twice"):
        rows(json.dumps({f"column{n}": 1 for n in range(50_000)})[:-1] + ', "a": 1, "a": 2}', ".jsonl")


def test_a_column_of_any_name_is_told_in_a_line_and_escaped():
    head = f"{BOXES},\x1b[31m\u202e{'a' * 1000}"
    assert bad(f"{head}\na.jpg,1,2,3,4\n").startswith("t.csv, line 2: column \\x1b[31m\\u202eaaa")
    line = json.dumps({"image": "a", "x0": 1, "y0": 2, "x1": 3, "y1": 4, "\x9b31m" + "a" * 1000: float("nan")})
    assert "column \\x9b31maaa" in bad(line, ".jsonl")
    assert len(bad(line, ".jsonl")) < 200


@given(st.binary(max_size=200), st.sampled_from([".csv", ".tsv", ".jsonl", ".json"]))
def test_no_bytes_at_all_make_anything_but_rows_or_a_refusal(data, suffix):
    for prefix in (b"", b"image,x0,y0,x1,y1\n", b'{"image":"a","x0":1,"y0":2,"x1":3,"y1":4}\n'):
        try:
            found = tables.parse(prefix + data, "t", suffix, Defaults())
        except UsageError as error:
            assert "\x1b" not in str(error)  # noqa: PT017 - a refusal is one of two right answers
        else:
            assert found
            assert all(isinstance(row, Row | BadRow) for row in found)
