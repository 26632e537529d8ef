"""Config files: finding one by its path, or by its name among the shipped ones, and reading it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from recbole_vae_plugin.settings.validation import Refused, did_you_mean, refuse

#: Folder of shipped files -> what it holds.
KINDS = {
    "datasets": "data sets",
    "models": "models, as in the papers",
    "tuned": "models tuned for one data set",
    "experiments": "experiments for recbole-vae compare",
    "search": "search spaces for recbole-vae tune",
    "published": "published results, for the key published of experiments",
}
#: Kinds that ``--config_files`` and ``config:`` accept.
RUN_KINDS = ("datasets", "models", "tuned")


class Loader(yaml.SafeLoader):
    """YAML as RecBole reads it: 1e-3 is a number, where YAML 1.1 has it as a string."""


def construct_mapping(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    """Construct a mapping, and reject duplicate keys, whether they are numbers or strings."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key.value} is given twice, in lines {lines[key.value]} and {line}"
            )
        lines[key.value] = line
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


Loader.add_constructor("tag:yaml.org,2002:map", construct_mapping)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_]*(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def shipped_folder() -> Path:
    """The folder of the shipped files: in the package if installed from a wheel, else in the checkout."""
    package = Path(__file__).resolve().parents[1]
    return next(folder for folder in (package / "configs", package.parent / "configs") if folder.is_dir())


def shipped_files(kinds: Sequence[str] = tuple(KINDS)) -> Iterator[Path]:
    """The paths of the shipped files, kind by kind, sorted by name."""
    for kind in kinds:
        yield from sorted((shipped_folder() / kind).glob("*.yaml"))


def find_config(
    name: str | Path, key: str = "config_files", kinds: Sequence[str] = RUN_KINDS, folder: Path = Path()
) -> Path:
    """Find a config file by its path, or else a shipped one by its name.

    Args:
        name: a path, or a name such as ``vae-split`` or, if two kinds share it, ``models/vae-split``.
        key: the key or option that named the file, for error messages.
        kinds: the kinds of shipped files, see :data:`KINDS`, to search for a name.
        folder: what a relative path is relative to.

    Raises:
        ValueError: there is no such file, or there are several.
    """
    path = folder / Path(name).expanduser()
    if path.is_file():
        return path
    candidates = list(_shipped_by_name(Path(name), kinds))
    local = path.with_name(f"{path.name}.yaml")
    is_shipped = local.resolve().is_relative_to(shipped_folder())
    if candidates and path.suffix != ".yaml" and local.is_file() and not is_shipped:
        candidates.append(local)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        refuse(key, str(name), f"the path of one of {' and '.join(map(str, candidates))}")
    nearby = [str(other) for other in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    names = {other.stem: other.stem for other in shipped_files(kinds)}
    allowed = "the path of an existing YAML file, or a name that `recbole-vae configs` lists"
    refuse(key, str(name), allowed + did_you_mean(str(name), [*nearby, *names]))


def _shipped_by_name(name: Path, kinds: Sequence[str]) -> Iterator[Path]:
    stem = name.name.removesuffix(".yaml")
    *parents, kind = name.parts[:-1] or (None,)
    if kind is not None:
        # configs/models/vae-split.yaml, or ../models/vae-split.yaml in an experiment
        kinds = [kind] if kind in KINDS and {*parents} <= {"configs", ".."} else []
    return (file for file in shipped_files(kinds) if file.stem == stem)


def summary(file: Path) -> str:
    """The first sentence of the comment, or of the description, at the top of a shipped file."""
    text = file.read_text(encoding="utf-8")
    comment_lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    comment = " ".join(line.removeprefix("#").strip() for line in comment_lines)
    description = comment or str(yaml.load(text, Loader).get("description", ""))
    # a sentence does not end after "et al."
    return re.split(r"(?<!\bal)\.(?= |$)", " ".join(description.split()), maxsplit=1)[0]


def read_config_file(file: str | Path, key: str = "config_files") -> dict[str, Any]:
    """Read the keys and values of a config file.

    Args:
        file: its path.
        key: the key or option that named the file, for error messages.

    Raises:
        ValueError: it is not a YAML file of keys.
    """
    path = Path(file)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        reason = " ".join(str(problem).split())
        raise Refused(f"{key}: {file} is not valid YAML: {reason}") from problem
    if not isinstance(content, dict):
        raise Refused(f"{key}: {file} must consist of lines `key: value`")
    return content
