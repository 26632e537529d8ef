"""``recbole-vae data``: every file is read right, or refused with its name and line."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.datafiles import text
from recbole_vae_plugin.datafiles.interactions import read_interactions
from recbole_vae_plugin.datafiles.opening import files_of
from recbole_vae_plugin.integration.config.keys import known_keys

#: 1 January 2020 and the next day, as seconds since 1970.
DAY_1, DAY_2 = 1577836800, 1577923200
AB = ["user_id:token\titem_id:token", "a\tx", "b\ty"]
NUMBERED = ["user_id:token\titem_id:token\ttimestamp:float", f"1\t2\t{DAY_1}", f"3\t4\t{DAY_2}"]
RATED = ["user_id:token\titem_id:token\trating:float", "1\t2\t3", "4\t5\t3.5"]


def convert(source: Path | str, *options: str) -> int:
    return main(["data", str(source), "--name", "d", *options])


def written() -> list[str]:
    return Path("dataset/d/d.inter").read_text(encoding="utf-8").splitlines()


def assert_refused(name: str, content: bytes | None, options: list[str], said: str, capsys) -> None:
    """A file with this content, or none, is refused with these words, and nothing is written."""
    if content is not None:
        Path(name).write_bytes(content)
    assert convert(name, *options) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error, error
    assert not Path("dataset").exists()


def atomic(*rows: str, columns: str = "") -> list[str]:
    return [f"user_id:token\titem_id:token{columns}", *rows]


READ = {
    "comma": ("a.csv", b"user,item\na,x\nb,y\n", [], AB),
    "tab": ("a.tsv", b"user\titem\na\tx\nb\ty\n", [], AB),
    "semicolon": ("a.csv", b"user;item\na;x\nb;y\n", [], AB),
    "pipe": ("a.txt", b"user|item\na|x\nb|y\n", [], AB),
    "space": ("a.txt", b"user item\na x\nb y\n", [], AB),
    "given separator": ("a.txt", b"user^item\na^x\nb^y\n", ["--separator", "^"], AB),
    "double colon, no header": (
        "ratings.dat",
        f"1::2::3::{DAY_1}\n4::5::3.5::{DAY_2}\n".encode(),
        ["--rating", "3"],
        RATED,
    ),
    "semicolons with commas in titles": ("a.csv", b"user;item;title\na;x;1,2\nb;y;3,4\n", [], AB),
    "names with spaces, no header": (
        "a.csv",
        b"alice smith,toy story\nbob jones,heat two\n",
        ["--no-header"],
        atomic("alice smith\ttoy story", "bob jones\theat two"),
    ),
    "a long review": ("a.csv", b"user,item,text\na,x," + b"w" * 200_000 + b"\nb,y,z\n", [], AB),
    "only the last suffix counts": ("a.json.csv", b"user,item\na,x\nb,y\n", [], AB),
    "microseconds": (
        "a.csv",
        f"user,item,time\n1,2,{DAY_1}000000\n3,4,{DAY_2}000000\n".encode(),
        [],
        NUMBERED,
    ),
    "nanoseconds": (
        "a.csv",
        f"user,item,time\n1,2,{DAY_1}000000000\n3,4,{DAY_2}000000000\n".encode(),
        [],
        NUMBERED,
    ),
    "windows": ("a.csv", b"user,item\r\na,x\r\nb,y\r\n", [], AB),
    "old mac": ("a.csv", b"user,item\ra,x\rb,y\r", [], AB),
    "byte-order mark": ("a.csv", b"\xef\xbb\xbfuser,item\na,x\nb,y\n", [], AB),
    "utf-16": ("a.csv", "user,item\na,x\nb,y\n".encode("utf-16"), [], AB),
    "latin-1": (
        "a.csv",
        "user,item\né,x\nb,ü\n".encode("latin-1"),
        ["--encoding", "latin-1"],
        atomic("é\tx", "b\tü"),
    ),
    "no line end at the end": ("a.csv", b"user,item\na,x\nb,y", [], AB),
    "blank lines": ("a.csv", b"\nuser,item\n\na,x\n\n\nb,y\n\n", [], AB),
    "quoted": ("a.csv", b'"user","item"\n"a","x"\nb,"y"\n', [], AB),
    "quoted separator": ("a.csv", b'user,item\n"a,b",x\nb,"say ""y"""\n', [], atomic("a,b\tx", 'b\tsay "y"')),
    "quoted line ends elsewhere": ("a.csv", b'user,item,text\na,x,"one\ntwo"\nb,y,"\r\n"\n', [], AB),
    "quotes are characters": ("a.csv", b'user,item\n"a,x\nb,y"\n', ["--no-quotes"], atomic('"a\tx', 'b\ty"')),
    "quotes in atomic files": (
        "a.inter",
        b'user_id:token\titem_id:token\n"a\tx\nb\ty\n',
        [],
        atomic('"a\tx', "b\ty"),
    ),
    "usual names": ("a.csv", b"Movie ID,reviewerID,extra\nx,a,1\ny,b,2\n", [], AB),
    "named columns": ("a.csv", b"who,what,user\na,x,1\nb,y,2\n", ["--user", "who", "--item", "what"], AB),
    "numbered columns": ("a.csv", b"who,what\na,x\nb,y\n", ["--header", "--user", "1", "--item", "2"], AB),
    "no header": ("a.csv", b"1,2\n3,4\n", [], atomic("1\t2", "3\t4")),
    "no header, as said": ("a.csv", b"a,x\nb,y\n", ["--no-header"], AB),
    "zeros and long numbers stay": (
        "a.csv",
        b"user,item\n007,12345678901234567890\n1.0,1e5\n",
        [],
        atomic("007\t12345678901234567890", "1.0\t1e5"),
    ),
    "spaces stay": ("a.csv", b"user,item\n a,x \nb,y y\n", [], atomic(" a\tx ", "b\ty y")),
    "missing ids": ("a.csv", b"user,item\na,x\n,x\nnull,y\na,NA\nb,y\n", [], AB),
    "missing ratings": ("a.csv", b"user,item,rating\n1,2,3\n1,9,\n4,5,3.5\n", [], RATED),
    "rating not wanted": ("a.csv", b"user,item,rating\na,x,?\nb,y,!\n", ["--rating", "none"], AB),
    "seconds": ("a.csv", f"user,item,ts\n1,2,{DAY_1}\n3,4,{DAY_2}\n".encode(), [], NUMBERED),
    "milliseconds": ("a.csv", f"user,item,ts\n1,2,{DAY_1}000\n3,4,{DAY_2}000\n".encode(), [], NUMBERED),
    "dates": ("a.csv", b"user,item,date\n1,2,2020-01-01\n3,4,2020-01-02\n", [], NUMBERED),
    "iso, with and without zone": (
        "a.csv",
        b"user,item,time\n1,2,2020-01-01T01:00:00+01:00\n3,4,2020-01-02 00:00:00\n",
        [],
        NUMBERED,
    ),
    "iso with Z": (
        "a.csv",
        b"user,item,time\n1,2,2020-01-01T00:00:00Z\n3,4,2020-01-02T00:00:00.000Z\n",
        [],
        NUMBERED,
    ),
    "a given format": (
        "a.csv",
        b"user,item,date\n1,2,01.01.2020\n3,4,02.01.2020\n",
        ["--time-format", "%d.%m.%Y"],
        NUMBERED,
    ),
    "numbers of a given format": (
        "a.csv",
        b"user,item,date\n1,2,20200101\n3,4,20200102\n",
        ["--time-format", "%Y%m%d"],
        NUMBERED,
    ),
    "written in the order of time": (
        "a.csv",
        b"user,item,date\n3,4,2020-01-02\n1,2,2020-01-01\n",
        [],
        NUMBERED,
    ),
    "json lines": (
        "a.jsonl",
        b'{"user": "a", "item": "x"}\n\n{"item": "y", "user": "b", "z": [1]}\n',
        [],
        AB,
    ),
    "json by its content": ("a.txt", b'{"user": "a", "item": "x"}\n{"item": "y", "user": "b"}\n', [], AB),
    "json numbers stay": (
        "a.json",
        b'{"user": 12345678901234567890, "item": "007"}\n{"user": 1, "item": null}\n',
        [],
        atomic("12345678901234567890\t007"),
    ),
    "gz by its content": ("a.csv", gzip.compress(b"user,item\na,x\nb,y\n"), [], AB),
    "json gz": (
        "a.jsonl.gz",
        gzip.compress(b'{"user": "a", "item": "x"}\n{"user": "b", "item": "y"}'),
        [],
        AB,
    ),
    "bz2": ("a.csv.bz2", bz2.compress(b"user,item\na,x\nb,y\n"), [], AB),
    "xz": ("a.csv.xz", lzma.compress(b"user,item\na,x\nb,y\n"), [], AB),
}


@pytest.mark.parametrize("name, content, options, expected", READ.values(), ids=READ.keys())
def test_odd_files_are_read_right(name, content, options, expected, capsys):
    Path(name).write_bytes(content)
    assert convert(name, *options) == 0, capsys.readouterr().err
    assert written() == expected


REFUSED = {
    "nothing": ("a.csv", b"", [], "a.csv: there are no interactions"),
    "a header only": ("a.csv", b"user,item\n", [], "a.csv: there are no interactions"),
    "one column": ("a.csv", b"user\na\n", [], "a.csv, line 1: no separator"),
    "another separator": (
        "a.csv",
        b"user,item\na,x\n",
        ["--separator", ";"],
        "a.csv, line 1: 'user,item' is one value",
    ),
    "too many values": (
        "a.csv",
        b"user,item\na,x\nb,y,z\n",
        [],
        "a.csv, line 3: has 3 values, the first line 2",
    ),
    "too few values": ("a.csv", b"user,item\na,x\n\nb\n", [], "a.csv, line 4: has 1 values"),
    "after a value of two lines": ("a.csv", b'user,item\n"a","x\ny"\nb\n', [], "a.csv, line 4: has 1"),
    "an open quotation mark": (
        "a.csv",
        b'user,item\na,x\n"b,y\nc,z\n',
        [],
        "a.csv, line 3: a quotation mark",
    ),
    "an odd quotation mark": ("a.csv", b'user,item\n"a"b,x\n', [], "a.csv, line 2: a quotation mark"),
    "another encoding": ("a.csv", b"user,item\na,x\n\xe9,y\n", [], r"a.csv, line 3: b'\xe9' is not utf-8"),
    "several separators": (
        "a.csv",
        b"1,5;2,5;3,5\n2,5;3,5;4,5\n",
        ["--no-header"],
        "a.csv, line 1: ';' and ',' may both be the separator",
    ),
    "quotation marks with a long separator": (
        "a.dat",
        b'"u"::"i"\n"a"::"x"\n',
        ["--separator", "::"],
        "a.dat, line 1: values in quotation marks cannot be read",
    ),
    "the time of the conversion": (
        "a.csv",
        b"user,item,time\na,x,2020-01-01\na,y, Now\n",
        [],
        "a.csv, line 3: timestamp ' Now' is not in ISO 8601",
    ),
    "a time of no year that there is": (
        "a.csv",
        b"user,item,time\na,x,2020-01-01\na,y,0001-01-01\n",
        [],
        "a.csv, line 3: timestamp '0001-01-01' is not of the years",
    ),
    "a pattern that is none": (
        "a.csv",
        b"user,item,time\na,x,1\n",
        ["--time-format", "%Q"],
        "--time-format: got '%Q'",
    ),
    "infinity in JSON": (
        "a.jsonl",
        b'{"user": "a", "item": "x", "rating": Infinity}\n',
        [],
        "a.jsonl, line 1: rating 'Infinity' is not a number",
    ),
    "a name that YAML reads as a number": (
        "a.csv",
        b"user,item\na,x\n",
        ["--name", "1e5"],
        "--name: got '1e5'",
    ),
    "unclear header": ("a.csv", b"who,what\na,x\n", [], "a.csv, line 1: ['who', 'what'] may be names"),
    "no such column": (
        "a.csv",
        b"user,item\na,x\n",
        ["--item", "itm"],
        "--item: got 'itm'; allowed: user, item",
    ),
    "two items": (
        "a.csv",
        b"user,artist_id,track_id\na,x,y\n",
        [],
        "artist_id and track_id may both be the item's",
    ),
    "twice the same name": (
        "a.csv",
        b"user,item,item\na,x,y\n",
        ["--item", "item"],
        "2 columns are named item",
    ),
    "one column twice": (
        "a.csv",
        b"user,item\na,x\n",
        ["--user", "1", "--item", "user"],
        "one column has two roles",
    ),
    "tab in an id": ("a.csv", b'user,item\na,x\n"b\tc",y\n', [], "a.csv, line 3: user 'b\\tc': an id cannot"),
    "line end in an id": ("a.csv", b'user,item\na,"x\ny"\n', [], "a.csv, line 2: item 'x\\ny': an id cannot"),
    "the id of padding": ("a.csv", b"user,item\na,[PAD]\n", [], "a.csv, line 2: item '[PAD]': RecBole uses"),
    "a word for a rating": (
        "a.csv",
        b"user,item,rating\na,x,1\nb,y,good\n",
        [],
        "a.csv, line 3: rating 'good' is not",
    ),
    "a comma in a rating": (
        "a.csv",
        b"user;item;rating\na;x;4,5\n",
        [],
        "line 2: rating '4,5' is not a number; decimals",
    ),
    "an infinite rating": (
        "a.csv",
        b"user,item,rating\na,x,inf\n",
        [],
        "line 2: rating 'inf' is not a number",
    ),
    "other dates": (
        "a.csv",
        b"user,item,date\na,x,31/01/2020\n",
        [],
        "line 2: timestamp '31/01/2020' is not in ISO",
    ),
    "a date that is none": (
        "a.csv",
        b"user,item,date\na,x,2020-01-01\nb,y,2020-02-30\n",
        [],
        "a.csv, line 3",
    ),
    "two units": (
        "a.csv",
        f"user,item,ts\na,x,{DAY_1}\nb,y,{DAY_2}000\n".encode(),
        [],
        "a.csv, line 2: timestamp '1577836800' looks like seconds, others like milliseconds",
    ),
    "seconds or dates": ("a.csv", b"user,item,date\na,x,20200131\n", [], "may be a date or seconds"),
    "missing, not allowed": (
        "a.csv",
        b"user,item\na,x\n,y\n",
        ["--missing", "error"],
        "a.csv, line 3: no user",
    ),
    "duplicates, not allowed": (
        "a.csv",
        b"user,item\na,x\nb,y\na,x\n",
        ["--duplicates", "error"],
        "a.csv, line 4: user 'a' and item 'x' are also in a.csv, line 2",
    ),
    "filters that leave nothing": (
        "a.csv",
        b"user,item,rating\na,x,1\n",
        ["--min-rating", "4"],
        "nothing is left of the data (1 rows: rating below 4)",
    ),
    "a filter without its column": (
        "a.csv",
        b"user,item\na,x\n",
        ["--min-rating", "4"],
        "--min-rating: got 4.0",
    ),
    "broken json": (
        "a.jsonl",
        b'{"user": "a", "item": "x"}\n{"user": \n',
        [],
        "a.jsonl, line 2: is not JSON",
    ),
    "a json array": ("a.json", b'[{"user": "a", "item": "x"}]', [], "a.json, line 1: is an array"),
    "nested json": (
        "a.jsonl",
        b'{"user": "a", "item": {"id": 1}}\n',
        [],
        "a.jsonl, line 1: item is an object",
    ),
    "truncated gz": (
        "a.csv.gz",
        gzip.compress(b"user,item\n" + b"a,x\n" * 9999)[:-30],
        [],
        "damaged or incomplete",
    ),
    "no parquet": ("a.parquet", b"user,item\na,x\n", [], "a.parquet: is not a Parquet file"),
    "damaged parquet": ("a.parquet", b"PAR1 and no more", [], "a.parquet: the Parquet file is damaged"),
    "excel": ("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", [], "a.xlsx: is an Excel file"),
    "no file": ("a.csv", None, [], "SOURCE: got 'a.csv'"),
    "a split that needs times": (
        "a.csv",
        b"user,item\na,x\n",
        ["--split", "user-time"],
        "--split: got 'user-time'",
    ),
    "a name that is a path": ("a.csv", b"user,item\na,x\n", ["--name", "../a"], "--name: got '../a'"),
    "an unknown encoding": (
        "a.csv",
        b"user,item\na,x\n",
        ["--encoding", "utf8000"],
        "--encoding: got 'utf8000'",
    ),
    "an unknown time format": (
        "a.csv",
        b"user,item,ts\na,x,1\n",
        ["--time-format", "days"],
        "--time-format: got 'days'",
    ),
}


@pytest.mark.parametrize("name, content, options, said", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_is_refused_with_file_and_line(name, content, options, said, capsys):
    assert_refused(name, content, options, said, capsys)


class TestFolders:
    def test_parts_are_one_source(self):
        Path("parts/later").mkdir(parents=True)
        Path("parts/a.csv").write_text("user,item\na,x\n")
        Path("parts/later/b.csv.gz").write_bytes(gzip.compress(b"item,user\ny,b\n"))
        Path("parts/_SUCCESS").write_text("")
        Path("parts/.a.csv.crc").write_bytes(b"\0\1")
        assert convert("parts") == 0
        assert written() == AB

    def test_a_fault_in_a_part_has_the_name_of_the_part(self, capsys):
        Path("parts").mkdir()
        Path("parts/a.csv").write_text("user,item\na,x\n")
        Path("parts/b.csv").write_text("user,item\nb,y\nc\n")
        assert convert("parts") == 2
        assert "parts/b.csv, line 3: has 1" in capsys.readouterr().err

    def test_columns_by_number_are_the_same_in_all_parts(self, capsys):
        Path("parts").mkdir()
        Path("parts/1.csv").write_text("user,item\na,x\n")
        Path("parts/2.csv").write_text("item,user\ny,b\n")
        assert convert("parts", "--user", "1", "--item", "2") == 2
        assert "2.csv: the user's column is item, in parts" in capsys.readouterr().err
        assert convert("parts") == 0
        assert written() == AB

    def test_parts_with_other_columns_are_refused(self, capsys):
        Path("parts").mkdir()
        Path("parts/a.csv").write_text("user,item\na,x\n")
        Path("parts/b.csv").write_text("user,item,rating\nb,y,1\n")
        assert convert("parts") == 2
        assert "parts/b.csv: has columns for user, item, rating" in capsys.readouterr().err

    def test_an_archive_holds_one_file(self, capsys):
        with zipfile.ZipFile("one.zip", "w") as archive:
            archive.writestr("folder/a.csv", "user,item\na,x\nb,y\n")
        assert convert("one.zip") == 0
        assert written() == AB
        with zipfile.ZipFile("one.zip", "a") as archive:
            archive.writestr("b.csv", "user,item\nc,z\n")
        assert convert("one.zip", "--replace") == 2
        assert "one.zip: the archive has 2 files" in capsys.readouterr().err


class TestParquet:
    @pytest.fixture(autouse=True)
    def pyarrow(self):
        return pytest.importorskip("pyarrow")

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    def test_ids_and_times_of_any_type(self, unit):
        times = pd.to_datetime([DAY_1, DAY_2], unit="s").astype(f"datetime64[{unit}]")
        table = pd.DataFrame({"user": [1, 3], "item": pd.Categorical(["2", "4"]), "time": times})
        table.to_parquet("a.parquet")
        assert convert("a.parquet") == 0
        assert written() == NUMBERED

    def test_whole_numbers_that_pandas_stored_with_decimals(self, capsys):
        pd.DataFrame({"user": [1.0, None, 4.0], "item": [2, 9, 5], "rating": [3, 1, 3.5]}).to_parquet(
            "a.parquet"
        )
        assert convert("a.parquet") == 0
        assert written() == RATED
        assert "1 without user, the first in a.parquet, line 2" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "user, said", [([1.5], "column user has 1.5"), ([b"x"], "column user of type binary")]
    )
    def test_ids_that_are_none(self, user, said, capsys):
        pd.DataFrame({"user": user, "item": [2]}).to_parquet("a.parquet")
        assert convert("a.parquet") == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "which, expected", [("keep", ["1", "2", "5"]), ("first", ["1", "5"]), ("last", ["2", "5"])]
)
def test_of_repeated_interactions_the_time_decides(which, expected):
    Path("a.csv").write_text(f"user,item,rating,ts\na,x,2,{DAY_2}\na,x,1,{DAY_1}\nb,y,5,{DAY_2 + 1}\n")
    assert convert("a.csv", "--duplicates", which) == 0
    assert [line.split("\t")[2] for line in written()[1:]] == expected


def test_a_core_is_what_is_left_when_nothing_changes_any_more():
    # a square of 3 x 3, and a chain that falls apart from its end
    square = [f"u{user},i{item}" for user in range(3) for item in range(3)]
    chain = ["u0,c0", "c1,c0", "c1,c1", "c2,c1"]
    Path("a.csv").write_text("\n".join(["user,item", *square, *chain]) + "\n")
    assert convert("a.csv", "--k-core", "2") == 0
    assert [line.replace("\t", ",") for line in written()[1:]] == square


def test_of_repeated_interactions_of_one_time_the_order_in_the_file_decides():
    rows = [f"u{row % 50},i,{row % 7},{DAY_1}" for row in range(200)]
    Path("a.csv").write_text("\n".join(["user,item,rating,time", *rows]))
    assert convert("a.csv") == 0
    last = {f"u{row % 50}": f"{row % 7}" for row in range(200)}
    assert {line.split("\t")[0]: line.split("\t")[2] for line in written()[1:]} == last


def test_every_row_is_accounted_for(capsys):
    """Rows read are those written and those that the summary says were dropped, each once."""
    random = np.random.default_rng(0)
    rows = []
    for _ in range(500):
        user, item = random.integers(40, size=2)
        rating = random.choice(["1", "2", "3", "", "NA"])
        rows.append(f"{user if user else ''},{item},{rating}")
    Path("a.csv").write_text("\n".join(["user,item,rating", *rows]) + "\n")
    assert convert("a.csv", "--min-rating", "2", "--k-core", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    dropped = [int(line.split()[1].strip(":").replace(",", "")) for line in lines if "  dropped" in line]
    assert len(dropped) == 5
    assert len(written()) - 1 + sum(dropped) == 500


def test_memory_is_that_of_a_chunk_and_of_numbers(monkeypatch):
    """40,000 rows with texts that are not needed: as texts, they would take more than 20 MB."""
    monkeypatch.setattr(text, "CHUNK_ROWS", 1000)
    with open("a.csv", "w") as file:
        file.write("user,item,text\n")
        file.writelines(f"u{row % 1000},i{row % 777},{'text' * 100}{row}\n" for row in range(40_000))
    wanted = dict.fromkeys(("user", "item", "rating", "timestamp"))
    tracemalloc.start()
    try:
        read = read_interactions(files_of(Path("a.csv")), wanted, text.TextOptions(), None, "drop")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(read.interactions) == 40_000
    assert peak < 5e6


class TestWritten:
    def test_the_config_is_one_of_recboles_with_the_hash_of_the_file(self, capsys):
        Path("a.csv").write_text("user,item\n" + "".join(f"u{i % 20},i{i % 7}\n" for i in range(140)))
        assert convert("a.csv", "--output", "elsewhere") == 0
        content = Path("elsewhere/d/d.yaml").read_text()
        config = yaml.safe_load(content)
        assert config.keys() <= known_keys("VAESplit") | {"data_hash"}
        assert config["data_hash"] == "sha256:" + sha256(Path("elsewhere/d/d.inter").read_bytes()).hexdigest()
        assert "# rows read" in content and config["data_path"] == "elsewhere"
        out = capsys.readouterr().out
        assert "compare untuned --datasets elsewhere/d/d.yaml" in out

    def test_nothing_is_overwritten_unasked(self, capsys):
        Path("a.csv").write_text("user,item\na,x\nb,y\n")
        assert convert("a.csv") == 0
        Path("a.csv").write_text("user,item\nc,z\n")
        assert convert("a.csv") == 2
        assert "--replace" in capsys.readouterr().err and written() == AB
        assert convert("a.csv", "--replace") == 0
        assert written() == atomic("c\tz")
        assert convert("dataset/d/d.inter", "--replace") == 2
        assert "is read from" in capsys.readouterr().err

    def test_what_was_written_is_read_again_as_it_is(self):
        Path("a.csv").write_text(f'user,item,rating,ts\n007,é x,0.1,{DAY_1}.123456\nb,"y""",1e-17,{DAY_2}\n')
        assert convert("a.csv") == 0
        first = written()
        assert main(["data", "dataset/d/d.inter", "--name", "again"]) == 0
        assert Path("dataset/again/again.inter").read_text(encoding="utf-8").splitlines() == first
        assert first[1] == f"007\té x\t0.1\t{DAY_1}.123456"
