"""RecBole's atomic files, and the config of the data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import yaml

from recbole_vae_plugin.datafiles.interactions import Interactions
from recbole_vae_plugin.settings.validation import Refused, refuse
from recbole_vae_plugin.system.atomic import replacing, write_text
from recbole_vae_plugin.system.content import hash_of_files

#: Rows that are written at a time.
ROWS = 200_000
#: Name -> split, in RecBole's terms; docs/splits.md.
SPLITS: dict[str, dict] = {
    "random": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "order": "RO"},
    "leave-one-out": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO"},
    "user-time": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "order": "TO"},
    "global-time": {"split": {"GT": [0.8, 0.1, 0.1]}, "group_by": "none", "order": "TO"},
    "held-out": {"split": {"HO": [0, 0]}, "fold_in": 0.8, "group_by": "user", "order": "RO"},
}


def write_interactions(
    data: Interactions, file: Path, progress: Callable[[int], object] = lambda rows: None
) -> None:
    """Write ``NAME.inter``: user_id, item_id and, if there are any, rating and timestamp in seconds."""
    header = ["user_id:token", "item_id:token"]
    header += ["rating:float"] if data.ratings is not None else []
    header += ["timestamp:float"] if data.times is not None else []
    users, items = (np.array(ids, dtype=object) for ids in (data.user_ids, data.item_ids))
    with replacing(file) as partial, partial.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write("\t".join(header) + "\n")
        for start in range(0, len(data), ROWS):
            part = slice(start, start + ROWS)
            columns: list[Iterable[str]] = [users[data.users[part]], items[data.items[part]]]
            columns += [
                texts_of(numbers[part]) for numbers in (data.ratings, data.times) if numbers is not None
            ]
            stream.writelines("\t".join(row) + "\n" for row in zip(*columns))
            progress(min(start + ROWS, len(data)))


def texts_of(numbers: np.ndarray) -> Iterator[str]:
    """The shortest texts that give the same float64; whole numbers without a point."""
    return (repr(number).removesuffix(".0") for number in numbers.tolist())


def evaluation_of(split: str, data: Interactions) -> dict:
    """The ``eval_args`` of a split.

    Raises:
        Refused: the split needs times, and there are none.
    """
    evaluation = {**SPLITS[split], "mode": "full"}
    if evaluation["order"] == "TO" and data.times is None:
        without = ", ".join(name for name, each in SPLITS.items() if each["order"] == "RO")
        refuse("--split", split, f"{without}, or data with timestamps; give --timestamp")
    if split == "held-out":
        held_out = max(1, len(np.unique(data.users)) // 10)
        evaluation["split"] = {"HO": [held_out, held_out]}
    return evaluation


def write_config(file: Path, inter: Path, comments: Iterable[str], evaluation: dict) -> None:
    """Write the config of the data set.

    Args:
        inter: the interactions, ``DIR/NAME/NAME.inter``.
        comments: what was done, line by line.
        evaluation: the key ``eval_args``.
    """
    columns = ["user_id", "item_id", *(["timestamp"] if evaluation["order"] == "TO" else [])]
    content = {
        "dataset": inter.stem,
        "data_path": str(inter.parent.parent),
        # of the files' content: other data under this name is refused
        "data_hash": hash_of_files([inter]),
        "load_col": {"inter": columns},
        "eval_args": evaluation,
        "metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision"],
        "topk": [10],
        "valid_metric": "NDCG@10",
    }
    lines = [f"# {printable(line)}".rstrip() for line in comments]
    write_text(file, "\n".join(lines) + "\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def printable(text: str) -> str:
    """A text on one line, with what YAML or UTF-8 does not allow as escapes."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )


def refuse_overwriting(files: Iterable[Path], sources: Iterable[Path], replace: bool) -> None:
    """Refuse to write where nothing can be written, or where something is, unless it may be replaced; a
    source is never replaced."""
    read = {source.resolve() for source in sources}
    for file in files:
        folder = next(parent for parent in file.absolute().parents if parent.exists())
        if not folder.is_dir():
            raise Refused(f"{folder}: is no folder; give another --output or --name")
        if not os.access(folder, os.W_OK):
            raise Refused(f"{folder}: no permission to write there; give another --output")
        if file.is_dir():
            raise Refused(f"{file}: is a folder; give another --name")
        if file.resolve() in read:
            raise Refused(f"{file}: is read from; give another --output or --name")
        if file.exists() and not replace:
            raise Refused(f"{file}: exists already; give another --name, or replace it with --replace")
