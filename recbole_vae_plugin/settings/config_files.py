"""Config files: found by path, or by name among those that the package ships, and read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from recbole_vae_plugin.settings.validation import Refused, did_you_mean, refuse

#: Folder of shipped files -> what they are.
KINDS = {
    "datasets": "data sets",
    "models": "models, as in the papers",
    "tuned": "models tuned for one data set",
    "experiments": "experiments for recbole-vae compare",
    "search": "search spaces for recbole-vae tune",
}
#: Kinds that ``--config_files`` and ``config:`` name.
OF_RUNS = ("datasets", "models", "tuned")


class Loader(yaml.SafeLoader):
    """YAML 1.1 takes 1e-3 for a text; RecBole, and everyone who writes a learning rate, for a number."""


def construct_mapping(loader: Loader, node: yaml.MappingNode) -> dict:
    """A mapping in which no key stands twice, as a number or as a text."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key.value} stands in line {lines[key.value]} and in line {line}"
            )
        lines[key.value] = line
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


Loader.add_constructor("tag:yaml.org,2002:map", construct_mapping)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_]*(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def shipped_folder() -> Path:
    """The folder of the shipped files: in the package where a wheel is installed, else in the checkout."""
    package = Path(__file__).resolve().parents[1]
    return next(folder for folder in (package / "configs", package.parent / "configs") if folder.is_dir())


def shipped_files(kinds: Sequence[str] = tuple(KINDS)) -> Iterator[Path]:
    """Paths of the shipped files, kind by kind, in the order of their names."""
    for kind in kinds:
        yield from sorted((shipped_folder() / kind).glob("*.yaml"))


def find_config(
    name: str | Path, key: str = "config_files", kinds: Sequence[str] = OF_RUNS, folder: Path = Path()
) -> Path:
    """The file of that path, or else the shipped one of that name.

    Args:
        name: a path, ``vae-split``, or, where two kinds share a name, ``models/vae-split``.
        key: what named the file, for the message.
        kinds: of :data:`KINDS`, in which a bare name is looked for.
        folder: what a relative path is relative to.

    Raises:
        ValueError: there is no such file, or there are several.
    """
    path = folder / Path(name).expanduser()
    if path.is_file():
        return path
    found = list(_shipped(Path(name), kinds))
    own = path.with_name(f"{path.name}.yaml")
    shipped = own.resolve().is_relative_to(shipped_folder())
    if found and path.suffix != ".yaml" and own.is_file() and not shipped:
        found.append(own)
    if len(found) == 1:
        return found[0]
    if found:
        refuse(key, str(name), f"the path of one of {' and '.join(map(str, found))}")
    nearby = [str(other) for other in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    names = {other.stem: other.stem for other in shipped_files(kinds)}
    allowed = "the path of an existing YAML file, or a name that `recbole-vae configs` lists"
    refuse(key, str(name), allowed + did_you_mean(str(name), [*nearby, *names]))


def _shipped(name: Path, kinds: Sequence[str]) -> Iterator[Path]:
    stem = name.name.removesuffix(".yaml")
    *before, kind = name.parts[:-1] or (None,)
    if kind is not None:
        # configs/models/vae-split.yaml, or ../models/vae-split.yaml in an experiment
        kinds = [kind] if kind in KINDS and {*before} <= {"configs", ".."} else []
    return (file for file in shipped_files(kinds) if file.stem == stem)


def summary(file: Path) -> str:
    """The first sentence of the comment, or of the description, at the top of a shipped file."""
    text = file.read_text(encoding="utf-8")
    lines = re.match(r"(#.*\n)*", text)[0]
    comment = " ".join(line.removeprefix("#").strip() for line in lines.splitlines())
    said = comment or str(yaml.load(text, Loader).get("description", ""))
    # the first sentence; "et al." ends none
    return re.split(r"(?<!\bal)\.(?= |$)", " ".join(said.split()), maxsplit=1)[0]


def read_config_file(file: str | Path, key: str = "config_files") -> dict:
    """The keys of a config file.

    Args:
        file: its path.
        key: what named the file, for the message.

    Raises:
        ValueError: it is not a YAML file of keys.
    """
    path = Path(file)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        where = " ".join(str(problem).split())
        raise Refused(f"{key}: {file} is not valid YAML: {where}") from problem
    if not isinstance(content, dict):
        raise Refused(f"{key}: {file} must hold lines of `key: value`")
    return content
