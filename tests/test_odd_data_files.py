"""``recbole-vae data`` on files that a first reading would take wrong: read right, or refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from test_data_command import AB, assert_refused, atomic, convert, written


def zipped(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


READ = {
    "separators in quotes": ("a.csv", b'user,item\n"a::b",x\n"b::c",y\n', [], atomic("a::b\tx", "b::c\ty")),
    "utf-8 said, with a mark": ("a.csv", b"\xef\xbb\xbfuser,item\na,x\nb,y\n", ["--encoding", "utf-8"], AB),
    "text that begins like bz2": ("a.csv", b"BZhang,user,item\n1,a,x\n2,b,y\n", [], AB),
    "text that begins like Parquet": ("a.csv", b"PAR1,user,item\n1,a,x\n2,b,y\n", [], AB),
    "text in braces": ("a.csv", b"{user},item\na,x\nb,y\n", ["--header"], AB),
    "JSON in UTF-16, by its content": (
        "a.txt",
        '{"user": "a", "item": "x"}\n{"user": "b", "item": "y"}\n'.encode("utf-16"),
        [],
        AB,
    ),
    "a key that comes late": (
        "a.jsonl",
        "".join(
            json.dumps({"user": f"u{n}", "item": "x", **({"rating": n} if n > 150 else {})}) + "\n"
            for n in range(153)
        ).encode(),
        [],
        atomic("u151\tx\t151", "u152\tx\t152", columns="\trating:float"),
    ),
    "quotes in packed atomic files": (
        "a.inter.gz",
        gzip.compress(b'user_id:token\titem_id:token\n"a\tx\nb\ty\n'),
        [],
        atomic('"a\tx', "b\ty"),
    ),
    "an archive with hidden files": (
        "a.zip",
        zipped(**{"d/a.csv": "user,item\na,x\nb,y\n", "d/.DS_Store": "x", "__MACOSX/a": "y"}),
        [],
        AB,
    ),
    "bz2": ("a.csv", bz2.compress(b"user,item\na,x\nb,y\n"), [], AB),
    "nulls of databases, and blanks": ("a.csv", b"user,item\na,x\n\\N,x\nb, \nb,y\n", [], AB),
}


@pytest.mark.parametrize("name, content, options, rows", READ.values(), ids=READ.keys())
def test_odd_files_are_read_right(name, content, options, rows):
    Path(name).write_bytes(content)
    assert convert(name, *options) == 0
    assert rows is None or written() == rows


def test_a_quoted_value_may_go_on_after_the_lines_that_show_the_separator():
    rows = [f'u{row},i{row},"text, of\ntwo lines"' for row in range(40)]
    Path("a.csv").write_text("\n".join(["user,item,te;xt", *rows[:24], "a,x,one", *rows[24:]]))
    assert convert("a.csv") == 0
    assert len(written()) == 42


REFUSED = {
    "a space is no separator beside commas": (
        "a.csv",
        b"user, item, rating\n1, 2, 3\n3, 4,4, 5\n",
        [],
        "a.csv, line 3: has 4 values, the first line 3, separated by ','",
    ),
    "nor beside those in quotes": (
        "a.csv",
        b'user, item\na, "x, y"\nb, z\n',
        [],
        "a.csv, line 2: has 3 values",
    ),
    "a fault beside other characters in the header": (
        "a.csv",
        b"user,item,genres|tags\na,x,1\nb,y\n",
        [],
        "a.csv, line 3: has 2 values, the first line 3",
    ),
    "a fault between spaces": ("a.txt", b"1 2 3\n4 5 6\n7 8\n", [], "a.txt, line 3: has 2 values"),
    "several spaces": ("a.txt", b"1  2\n3  4\n", [], "a.txt, line 1: '1  2' has several spaces"),
    "a line after blank ones": ("a.csv", b"\n\nwho,what\na,x\n", [], "a.csv, line 3: ['who', 'what'] may be"),
    "two separators": (
        "a.csv",
        b"u1,i1,a::b\nu2,i2,c::d\n",
        ["--no-header"],
        "'::' and ',' may both be the separator",
    ),
    "columns that pandas has numbered": (
        "a.csv",
        b"0,1,2\n5,6,3\n",
        [],
        "a.csv, line 1: ['0', '1', '2'] may",
    ),
    "a header again": ("a.csv", b"user,item\na,x\nuser,item\nb,y\n", [], "a.csv, line 3: repeats the header"),
    "a quotation mark after a space": (
        "a.csv",
        b'user, item\n"a", "x"\n',
        [],
        "a.csv, line 2: ' \"x\"' has a space before the quotation mark",
    ),
    "a key twice": (
        "a.jsonl",
        b'{"user": "a", "item": "x", "item": "y"}\n',
        [],
        "a.jsonl, line 1: is not JSON (the key item is there twice)",
    ),
    "half a character": ("a.jsonl", b'{"user": "a", "item": "x\\ud83d"}\n', [], "line 1: item 'x\\ud83d'"),
    "times as numbers of digits": (
        "a.csv",
        b"user,item,time\na,x,20200131123000\n",
        [],
        "line 2: timestamp '20200131123000' may be a date or milliseconds; give --time-format %Y%m%d%H%M%S",
    ),
    "and without seconds": (
        "a.csv",
        b"user,item,time\na,x,202001311230\n",
        [],
        "line 2: timestamp '202001311230' may be a date or milliseconds",
    ),
    "too large a time": (
        "a.csv",
        b"user,item,time\na,x,1e21\n",
        [],
        "line 2: timestamp '1e21' is too large for a time",
    ),
    "a pattern that pandas does not know": (
        "a.csv",
        b"user,item,time\na,x,2020-03\n",
        ["--time-format", "%G-%V"],
        "--time-format: got '%G-%V'",
    ),
    "bytes of another encoding in an old Mac's file": (
        "a.csv",
        b"user,item\ra,x\r\xe9,y\r",
        [],
        "a.csv, line 3: b'\\xe9' is not utf-8",
    ),
    "a broken UTF-16": (
        "a.csv",
        "user,item\na,x\nb,y\n".encode("utf-16")[:-3],
        [],
        "a.csv, line 3: b'y' is not utf-16",
    ),
    "UTF-16 without its mark": (
        "a.csv",
        "user,item\na,x\n".encode("utf-16-le"),
        ["--encoding", "utf-16"],
        "a.csv, line 1: ",
    ),
    "an encoding that is none": (
        "a.csv",
        b"1,2\n",
        ["--encoding", "undefined"],
        "--encoding: got 'undefined'",
    ),
    "Feather": ("a.feather", b"ARROW1\0\0" + bytes(40), [], "a.feather: is a Feather file"),
    "a pickle": ("a.pkl", b"\x80\x04\x95" + bytes(40), [], "a.pkl: is a pickle"),
    "an empty archive": ("a.zip", zipped(), [], "a.zip: the archive has 0 files"),
    "Parquet in an archive": (
        "a.gz",
        gzip.compress(b"PAR1\0\0"),
        [],
        "a.gz: is a Parquet file in an archive",
    ),
    "no number": (
        "a.csv",
        b"1,2\n",
        ["--min-rating", "nan"],
        "--min-rating: got nan; allowed: a finite number",
    ),
}


@pytest.mark.parametrize("name, content, options, said", REFUSED.values(), ids=REFUSED.keys())
def test_others_are_refused(name, content, options, said, capsys):
    assert_refused(name, content, options, said, capsys)


def test_times_in_the_future_are_a_warning(capsys):
    later = int(datetime.now().timestamp()) + 10**6
    Path("a.csv").write_text(f"user,item,time\na,x,{later}\n")
    assert convert("a.csv") == 0
    assert "the latest timestamp is" in capsys.readouterr().err


class TestFolders:
    def test_parts_without_the_header_of_the_first_are_refused(self, capsys):
        """As ``split`` makes them: the columns of the others would be taken in another order."""
        Path("parts").mkdir()
        Path("parts/xaa").write_text("movie_id,user_id\n10,1\n11,1\n")
        Path("parts/xab").write_text("12,2\n")
        assert convert("parts") == 2
        assert "parts/xab: has no header, parts/xaa has one" in capsys.readouterr().err

    def test_links_are_followed_and_those_to_nothing_refused(self, capsys):
        for folder in ("parts", "elsewhere"):
            Path(folder).mkdir()
        Path("elsewhere/b.csv").write_text("user,item\nb,y\n")
        Path("elsewhere/round").symlink_to(Path("elsewhere").resolve())
        Path("parts/a.csv").write_text("user,item\na,x\n")
        Path("parts/linked").symlink_to(Path("elsewhere").resolve())
        assert convert("parts") == 0
        assert written() == AB
        Path("parts/gone.csv").symlink_to("nowhere.csv")
        assert convert("parts", "--replace") == 2
        assert "parts/gone.csv: is a link to nothing" in capsys.readouterr().err

    def test_what_is_no_file_is_refused(self, capsys):
        os.mkfifo("pipe")
        assert convert("pipe") == 2
        assert "pipe: is not a regular file; save it first" in capsys.readouterr().err


class TestTarget:
    @pytest.mark.parametrize("name", ["a\x80b\udce9.csv", "a\nkey: 1.csv"], ids=["bytes", "a line end"])
    def test_the_config_can_be_read_whatever_the_source_is_called(self, name):
        try:
            Path(name).write_text("user,item\na,x\n")
        except (OSError, UnicodeError):
            pytest.skip("no file can be called so here")
        assert convert(name) == 0
        assert yaml.safe_load(Path("dataset/d/d.yaml").read_text())["dataset"] == "d"

    @pytest.mark.parametrize("place", ["dataset", "dataset/d", "dataset/d/d.yaml/x"])
    def test_where_nothing_can_be_written_nothing_is_read(self, place, capsys):
        Path("a.csv").write_text("user,item\na,x\n")
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(place).write_text("mine")
        assert convert("a.csv", "--replace") == 2
        assert "is no folder" in (error := capsys.readouterr().err) or "is a folder" in error
        assert Path(place).read_text() == "mine" and not Path("dataset/d/d.inter").exists()


class TestParquet:
    @pytest.fixture(autouse=True)
    def arrow(self):
        self.arrow = pytest.importorskip("pyarrow", reason="the extra data is not installed")
        self.parquet = pytest.importorskip("pyarrow.parquet")

    def write(self, **columns) -> None:
        self.parquet.write_table(self.arrow.table(columns), "a.parquet")

    def test_ratings_in_float32_are_what_they_were_before(self):
        self.write(user=["a", "b", "c"], item=["x"] * 3, rating=self.arrow.array([3.7, 4.1, 5.0], "float32"))
        assert convert("a.parquet", "--min-rating", "4.1") == 0
        assert written() == atomic("b\tx\t4.1", "c\tx\t5", columns="\trating:float")

    def test_dates_as_whole_numbers_have_a_pattern(self, capsys):
        self.write(user=["a", "b"], item=["x", "y"], time=[20200101, 20200102])
        assert convert("a.parquet") == 2
        assert "give --time-format %Y%m%d" in capsys.readouterr().err
        assert convert("a.parquet", "--time-format", "%Y%m%d") == 0
        assert written()[1:] == ["a\tx\t1577836800", "b\ty\t1577923200"]

    def test_sparks_unknown_date_is_refused(self, capsys):
        times = self.arrow.array([datetime(2020, 1, 1), datetime(9999, 12, 31)], self.arrow.timestamp("us"))
        table = self.arrow.table({"user": ["a", "b"], "item": ["x", "y"], "time": times})
        self.parquet.write_table(table, "a.parquet", use_deprecated_int96_timestamps=True)
        assert convert("a.parquet") == 2
        assert "line 2: timestamp" in (error := capsys.readouterr().err) and "1678 to 2261" in error

    def test_decimals_without_digits_after_the_point_are_ids(self):
        from decimal import Decimal

        ids = self.arrow.array([Decimal(2**60), Decimal(7)], self.arrow.decimal128(38, 0))
        self.write(user=ids, item=["x", "y"])
        assert convert("a.parquet") == 0
        assert written() == atomic(f"{2**60}\tx", "7\ty")

    @pytest.mark.parametrize(
        ("column", "said"),
        [
            (lambda arrow: arrow.array([b"a", b"\xff"]).view("string"), "the column user has texts that are"),
            (lambda arrow: arrow.array([1.5, 2.0]), "allowed for ids: texts or whole numbers"),
            (
                lambda arrow: arrow.array([["a"], ["b"]]),
                "cannot be the user's; allowed: texts or whole numbers",
            ),
        ],
        ids=["not UTF-8", "fractions", "lists"],
    )
    def test_columns_of_other_kinds_are_refused(self, column, said, capsys):
        self.write(user=column(self.arrow), item=["x", "y"])
        assert convert("a.parquet") == 2
        assert said in (error := capsys.readouterr().err) and "Traceback" not in error

    def test_two_columns_of_one_name_are_refused(self, capsys):
        table = self.arrow.table([["a"], ["x"], ["y"]], names=["user", "item", "item"])
        self.parquet.write_table(table, "a.parquet")
        assert convert("a.parquet", "--item", "2") == 2
        assert "2 columns are named item; rename them" in capsys.readouterr().err

    def test_a_damaged_page_is_named(self, capsys):
        self.write(user=["a", "b"] * 999, item=["x", "y"] * 999)
        content = bytearray(Path("a.parquet").read_bytes())
        content[4:60] = os.urandom(56)
        Path("a.parquet").write_bytes(content)
        assert convert("a.parquet") == 2
        assert "the Parquet file is damaged" in capsys.readouterr().err
