"""Data files: every row arrives, and what is wrong is told with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_vae_plugin.cli.run_recbole import main
from recbole_vae_plugin.integration.data.reading import count_rows

HEADER = "user_id:token\titem_id:token\trating:float\n"


@pytest.fixture
def write():
    file = Path("data/odd/odd.inter")
    file.parent.mkdir(parents=True)

    def write(text: str, **more) -> Path:
        file.write_bytes(text.encode(**more))
        return file

    return write


def rows(number: int = 600) -> list[str]:
    return [f"u{row % 30}\ti{(row + row // 30) % 40}\t{row % 5}\n" for row in range(number)]


@pytest.mark.parametrize("places", [(100, 500), (0,), (599,), (1, 2, 3), (598, 599)])
@pytest.mark.parametrize("mark", ['"', "'", '""'])
@pytest.mark.parametrize("column", [0, 1])
def test_quotation_marks_are_characters_like_others(prepare, write, places, mark, column):
    lines = rows()
    for place in places:
        fields = lines[place].split("\t")
        fields[column] = mark + fields[column]
        lines[place] = "\t".join(fields)
    write(HEADER + "".join(lines))
    dataset = prepare("BPR", dataset="odd", data_path="data").dataset
    assert dataset.inter_num == 600
    field = (dataset.uid_field, dataset.iid_field)[column]
    assert any(str(name).startswith(mark) for name in dataset.field2id_token[field])


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("blank", ["", "\n", "\n\n\n"])
def test_line_ends_and_blank_lines_do_not_count(prepare, write, end, blank):
    lines = [line.rstrip("\n") for line in rows()]
    newline = end or "\n"
    file = write(HEADER.replace("\n", newline) + blank + newline.join(lines) + end)
    assert count_rows(file, b"\t") == (600, 1202, 2)
    assert prepare("BPR", dataset="odd", data_path="data").dataset.inter_num == 600


@pytest.mark.parametrize(
    "text, said",
    [
        (HEADER + "u1\ti1\t1\nu2\ti2\tgood\n", ["odd.inter: line 3 has 'good'", "column rating:float"]),
        (HEADER + "u1\ti1\t1\n\nu2\ti2\t1,5\n", ["odd.inter: line 4 has '1,5'"]),
        (HEADER + "u1\ti1\t1\nu2\ti2\t1\t7\n", ["odd.inter: line 3 has 4 fields; the first line names 3"]),
        ("user_id:float\titem_id:token\n1\t2\n", ["odd.inter says user_id:float", "user_id:token"]),
        ("user_id:token\titem_id:token_seq\n1\t2\n", ["odd.inter says item_id:token_seq"]),
        ("\ufeff" + HEADER + "u1\ti1\t1\n", ["odd.inter begins with a byte-order mark", "utf-8-sig"]),
        (HEADER + "\n\n", ["odd.inter has no interactions"]),
    ],
)
def test_a_wrong_file_is_told_with_its_line(write, text, said, capsys):
    write(text)
    columns = "{'inter': ['user_id', 'item_id', 'rating']}"
    code = main(["--model=DAE", "--dataset=odd", "--data_path=data", f"--load_col={columns}"])
    error = capsys.readouterr().err
    assert code in (1, 2) and "Traceback" not in error
    for part in said:
        assert part in error, error


def test_a_byte_order_mark_is_read_with_its_encoding(write, capsys):
    write("\ufeff" + HEADER + "".join(rows()))
    arguments = ["--model=Pop", "--dataset=odd", "--data_path=data", "--encoding=utf-8-sig", "--state=ERROR"]
    assert main(arguments) == 0, capsys.readouterr().err
