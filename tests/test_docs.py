"""README.md and docs/ can be believed: what they show runs, prints what they say, and names what there is.

Every command and every block of Python is run. Data sets that are large, or not at hand, are planted ones of
the same names here, and runs have one epoch; :data:`LONG` and :data:`NOT_RUN` say what else differs.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import outside
import pytest
import torch
import yaml
from conftest import CONFIGS
from documents import PAGES, ROOT, anchors, blocks, commands_of, links, outputs, quoted
from results_by_hand import write_results
from scipy.sparse import csr_matrix

import recbole_vae_plugin
from recbole_vae_plugin.cli import command_table, recbole_vae, run_recbole
from recbole_vae_plugin.compare import experiment
from recbole_vae_plugin.integration.config import keys as recbole_keys
from recbole_vae_plugin.settings.config_files import KINDS, shipped_files
from recbole_vae_plugin.settings.model_registry import SHIPPED
from recbole_vae_plugin.tune.space import Space

PACKAGE = Path(recbole_vae_plugin.__file__).parent

#: Added to each run of one model.
QUICK = ["--epochs=1", "--eval_step=1", "--show_progress=False"]

#: Pattern of commands -> why they are not run.
NOT_RUN = {
    r"^(apt-get|service|su) ": "sets up a database server",
    r" --ip=": "needs two machines; tests/test_parallel.py plays them",
    r" --gpu_id=0,1": "needs two GPUs",
    r"^(ruff|mypy|pyright|pre-commit|sphinx-build|git|\.ci/run|bash \.ci/run|python -m (pytest|venv)) ?": (
        "the checks of this repository themselves"
    ),
}

#: Pattern of commands that take minutes -> arguments that are added where they are run as processes, with
#: ``-m slow``, and with :func:`small_file`. Otherwise what they ask for is checked, but they are not run.
LONG = {
    r"^recbole-vae compare ml-100k-quick": [],
    r"^recbole-vae tune vae-split .*--jobs 2$": ["--trials=2"],
    r"^run_recbole .*--nproc=2$": QUICK,
    r"^torchrun ": QUICK,
}


def fits(command: str, patterns) -> str | None:
    return next((pattern for pattern in patterns if re.search(pattern, command)), None)


@cache
def commands() -> list[str]:
    """All commands that are run, each of them once."""
    shown = [block for block in blocks() if block.language == "bash" and not block.skip]
    found = dict.fromkeys(command for block in shown for command in commands_of(block))
    return [command for command in found if not fits(command, NOT_RUN)]


def runs_of(condition) -> pytest.MarkDecorator:
    found = [command for command in commands() if condition(command)]
    return pytest.mark.parametrize("command", found, ids=[command.replace("…", "...") for command in found])


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory) -> Path:
    """A folder with what a reader has by then: data, a checkpoint, a bundle, results, a list of users."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["pytest"])
        plant_datasets(folder / "dataset")
        small = ["--mlp_hidden_size=[16]", "--latent_dimension=4"]
        assert run_recbole.main(["--config_files=ml-100k vae-split", *small, *QUICK]) == 0
        (checkpoint,) = Path("saved").glob("*.pth")
        checkpoint.rename("saved/VAESplit-trained.pth")
        assert recbole_vae.main(["bundle", "saved/VAESplit-trained.pth", "films.vae"]) == 0
        Path("results", "vae").mkdir(parents=True)
        write_results(Path("results", "quick"), methods=("VAESplit", "Pop"))
        Path("results", "vae", "best.yaml").write_text("{model: VAESplit, dataset: ml-100k}")
        Path("users.jsonl").write_text(json.dumps({"user": "ann", "items": ["1", "50"]}) + "\n")
        Path("board.json").write_text("[]")
        Path("train_triplets.txt").write_text("ann\tsong\t3\n")
        plant_own_data()
    return folder


def plant_datasets(folder: Path) -> None:
    """Each data set of configs/datasets, but with 1,200 users and 150 items in groups."""
    random = np.random.default_rng(0)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(1200):
        for item in random.choice(25, size=12, replace=False):
            lines.append(f"{user}\t{user % 6 * 25 + item}\t5\t{len(lines)}")
    names = {yaml.safe_load(file.read_text())["dataset"] for file in shipped_files(["datasets"])}
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.inter").write_text("\n".join(lines) + "\n")


def plant_own_data() -> None:
    """What a reader may bring: a file with a header, one without, and a folder of parts with other names."""
    rows = [
        f"{user},{user % 6 * 10 + item},{5 - item % 2},{1000 * user + item}"
        for user in range(60)
        for item in range(8)
    ]
    Path("ratings.csv").write_text("\n".join(["user,item,rating,timestamp", *rows]))
    Path("u.data").write_text("\n".join(row.replace(",", "\t") for row in rows))
    Path("plays").mkdir()
    for part, few in enumerate((rows[::2], rows[1::2])):
        Path(f"plays/{part}.csv").write_text("\n".join(["listener,track,rating,time", *few]))


@pytest.fixture
def reader(stand_ins, monkeypatch) -> Path:
    """The folder that commands are run in, one after the other."""
    monkeypatch.chdir(stand_ins)
    return stand_ins


@pytest.fixture(scope="session")
def printed() -> dict[str, str]:
    """Command -> what it has printed."""
    return {}


@pytest.fixture
def run(reader, printed, capfd):
    """Run a command once in a session, in this process, and return what it prints."""

    def run(command: str) -> str:
        command = with_stand_ins(command)
        if command not in printed:
            capfd.readouterr()
            assert not perform(shlex.split(command)), capfd.readouterr().err
            printed[command] = "".join(capfd.readouterr())
        return printed[command]

    return run


def with_stand_ins(text: str) -> str:
    """Commands, or Python, with the checkpoint and the bundle that there are for those that are named."""
    text = re.sub(r"saved/[^\s'\"]*\.pth", "saved/VAESplit-trained.pth", text)
    return re.sub(r"\b[\w-]+\.(vae|onnx)\b", r"films.\1", text)


def perform(words: list[str]) -> int | None:
    """Do what a command does, or check what it asks for where that would take long."""
    match words:
        case ["recbole-vae", "compare", *_]:
            return recbole_vae.main([*words[1:], "--results=results/new", "--dry-run"])
        case ["recbole-vae", "tune", *_]:
            return Space.read(recbole_vae.parser().parse_args(words[1:]).space).check()
        case ["recbole-vae", *arguments]:
            return recbole_vae.main(arguments)
        case ["run_recbole", "--help"]:
            return run_recbole.parser().print_help()
        case ["run_recbole", *arguments]:
            own = [
                word for word in arguments if not word.startswith(("--epochs=", "--eval_step=", "--nproc="))
            ]
            theirs = {f"--model={model}" for model in recbole_keys.builtin_models()} & {*arguments}
            return run_recbole.main([*own, *QUICK, *(["--eval_batch_size=4000000"] if theirs else [])])
        case ["torchrun", *_] | ["python", "-m", *_]:
            assert importlib.util.find_spec(words[words.index("-m") + 1])
        case ["python", script, *arguments]:
            source = (ROOT / script).read_text(encoding="utf-8")
            unknown = [word for word in arguments if word.startswith("--") and f'"{word}"' not in source]
            assert not unknown, f"{script} has no {unknown}"
        case ["pip", "install", *arguments]:
            check_requirements(arguments)
        case ["mkdir", *_] | ["echo", *_] | ["cat", *_] | ["head", *_]:
            return subprocess.run(words).returncode
        case _:
            if not words[0].startswith("("):
                pytest.fail(f"no rule here for {words[0]}: add one, or say in NOT_RUN why it is not run")
    return None


def check_requirements(arguments: list[str]) -> None:
    """Extras are those of this package, and RecBole is the version that is tested here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for argument in arguments:
        if match := re.match(r"(?:\.|recbole-vae-plugin)\[(.+)\]", argument):
            assert set(match[1].split(",")) <= set(project["optional-dependencies"])
        name, _, wanted = argument.partition("==")
        if wanted and name == "recbole":
            assert wanted == version("recbole")


@runs_of(lambda command: not command.startswith("("))
def test_commands(command, run):
    run(command)


@runs_of(lambda command: command.startswith("("))
def test_groups_of_commands(command, reader):
    Path(command.rpartition("> ")[2]).parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], check=True)


def small_file(command: str) -> None:
    """A file that is found before the shipped one that a command names, but whose runs have two epochs."""
    for name in ("experiments/ml-100k-quick", "search/vae-split"):
        if f" {Path(name).name}" not in command:
            continue
        content = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
        content["settings"] = {**content.get("settings", {}), "epochs": 2, "eval_step": 1}
        Path(Path(name).name).write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.mark.slow
@runs_of(lambda command: fits(command, LONG))
def test_long_commands(command, stand_ins):
    small_file(command)
    for name in ("dataset", "saved"):
        Path(name).symlink_to(stand_ins / name)
    words = [*shlex.split(command), *LONG[fits(command, LONG)]]
    modules = {"run_recbole": "run_recbole", "recbole-vae": "recbole_vae"}
    start = {name: [sys.executable, "-m", f"recbole_vae_plugin.cli.{file}"] for name, file in modules.items()}
    start["torchrun"] = [sys.executable, "-m", "torch.distributed.run"]
    done = subprocess.run([*start[words[0]], *words[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


PYTHON = [block for block in blocks() if block.language == "python" and not block.skip]
#: Text -> block; those that begin with the name of a file are of a package.
SCRIPTS = {block.text: block for block in PYTHON if not block.text.startswith("# ")}


@pytest.mark.parametrize("block", SCRIPTS.values(), ids=lambda block: block.place)
def test_python(block, run):
    if "films.onnx" in block.text:
        run("recbole-vae export films.vae films.onnx")
    text = with_stand_ins(re.sub(r'"epochs": \d+', '"epochs": 1', block.text))
    # what a reader has of their own
    names = {"users": torch.arange(1, 4), "ids": ["1", "50"], "matrix": csr_matrix(np.eye(2))}
    exec(compile(text, block.place, "exec"), names)


def test_files_of_another_package():
    """What docs/extending.md shows is what tests/test_extending.py installs and tests."""
    there = {ast.dump(node) for text in outside.FILES.values() if "\n" in text for node in parsed(text)}
    shown = [block for block in PYTHON if block.text.startswith("# ")]
    there_and_shown = set()
    for block in shown:
        for node in parsed(block.text):
            name = f"{block.place}: {getattr(node, 'name', '')}"
            assert ast.dump(node) in there, f"{name} is not in tests/outside.py"
            there_and_shown.add(ast.dump(node))
    assert there_and_shown == there, "a reader can write the whole package"
    (toml,) = (block.text for block in blocks() if block.text.startswith("# pyproject.toml"))
    assert tomllib.loads(toml) == tomllib.loads(outside.PYPROJECT)


def parsed(text: str) -> list[ast.stmt]:
    """The statements of a module in Python, but imports; none if it is something else."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return []
    return [node for node in body if not isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("shown", outputs(), ids=lambda pair: pair[1].place)
def test_outputs(shown, run):
    before, output = shown
    real = "".join(run(command) for command in commands_of(before) if command in commands())
    shapes = iter([shape(line) for line in real.splitlines()])
    for line in output.text.splitlines():
        if line.strip() and line.strip() not in ("...", "…"):
            assert shape(line) in shapes, f"{output.place}: {line!r} is not, or not here, in:\n{real}"


NUMBER = re.compile(r"[-+±]?\b\d[\d,.:]*(?:e[-+]?\d+)?(?![\w])")


def shape(line: str) -> list[str]:
    """The cells of a line with numbers and paths masked; in rows of figures, also the words."""
    line = re.sub(r"\x1b\[[\d;]*m|\*\*|</?u>", "", line)
    cells = re.split(r"\s{2,}", re.sub(r"\S*/\S+", "PATH", line).strip())
    masked = [NUMBER.sub("0", cell) for cell in cells]
    return [cell if cell == "0" or masked[0] != "0" else "words" for cell in masked]


def test_the_shape_of_a_line():
    assert shape("   1  100     0.25  Fargo") == shape(" 12  7   1.5e-3  Liar Liar")
    assert shape("rank  item  score") != shape("rank  item  title")
    assert shape("written to results/quick") == shape("written to /tmp/a/b")
    assert shape("epoch 3 training") != shape("epoch 3 evaluating")


class TestNames:
    """README.md and docs/ name no file, option, command, key or module that is not there."""

    @pytest.fixture(params=PAGES, ids=lambda page: page.name)
    def page(self, request) -> Path:
        return request.param

    def test_links(self, page):
        for link in links(page):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), link
            if anchor and target.suffix == ".md":
                assert anchor in anchors(target), link

    def test_files(self, page):
        for code in quoted(page):
            if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", code) and not re.search(r"[A-Z]{3}", code):
                assert not is_missing(code), f"{code}: no such file"

    def test_options(self, page):
        for code in quoted(page):
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", code):
                assert option in options(), f"{code}: no command has {option}"

    def test_commands(self, page):
        for code in quoted(page):
            match code.split():
                case ["recbole-vae", command, *_] if re.fullmatch(r"[a-z]+", command):
                    assert command in subcommands(), code
                case ["python", script, *_] if script.endswith(".py"):
                    assert (ROOT / script).is_file(), code

    def test_keys(self, page):
        for code in quoted(page):
            if match := re.match(r"([a-z]\w+): [^ ]", code):
                assert match[1] in keys(), f"{code}: no such key"

    def test_modules(self, page):
        for code in quoted(page):
            if match := re.match(r"recbole_vae_plugin((?:\.\w+)+)", code):
                assert resolve(code[: match.end()]), f"{code}: no such name"


def test_what_is_not_there_is_seen():
    assert is_missing("nn/no_such_file.py") and is_missing("configs/models/no-such-model.yaml")
    assert is_missing("no_such_file.md") and not is_missing("results/mine") and not is_missing("best.yaml")
    assert "--no-such-option" not in options() and "no_such_key" not in keys()
    assert resolve("recbole_vae_plugin.find") is False and resolve("recbole_vae_plugin.unregister")


#: The top folders of the checkout and of the package, from which paths in the docs start.
FOLDERS = {path.name for parent in (ROOT, PACKAGE) for path in parent.iterdir() if path.is_dir()} - {"data"}
SUFFIXES = (".py", ".yaml", ".md", ".toml", ".json", ".csv", ".csv.gz", ".html", ".txt", ".db", ".pth")


def is_missing(path: str) -> bool:
    """Whether text that looks like a path of this repository, or like a file that it writes, is neither."""
    folder, _, rest = path.partition("/")
    if rest and folder in FOLDERS:
        return not any((start / path).exists() for start in (ROOT, PACKAGE)) and path not in sources()
    if not rest and path.endswith(SUFFIXES):
        return not any(ROOT.rglob(path)) and path not in sources()
    return False


@cache
def sources() -> str:
    """All code of the package, with the files that it writes; and what the docs' commands write."""
    texts = [file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")]
    texts += [block.text for block in blocks()]
    texts += [file.read_text(encoding="utf-8") for file in shipped_files(list(KINDS))]
    return "\n".join(texts)


@cache
def subcommands() -> set[str]:
    return {name for name, _ in command_table.subcommands(recbole_vae.parser())}


@cache
def options() -> set[str]:
    """The options of our commands and benchmarks, RecBole's keys, and those of tools that the docs name."""
    parsers = [recbole_vae.parser(), run_recbole.parser()]
    parsers += [parser for _, parser in command_table.subcommands(recbole_vae.parser())]
    found = {name for parser in parsers for name in parser._option_string_actions}
    found |= {f"--{key}" for key in keys()}
    for script in (ROOT / "benchmarks").glob("*.py"):
        found |= set(re.findall(r'"(--[a-z][\w-]*)"', script.read_text(encoding="utf-8")))
    of_other_tools = {"--no-deps", "--durations", "--check", "--logdir"}
    return found | of_other_tools


@cache
def keys() -> set[str]:
    """The keys of runs, experiments and search spaces, those inside others, and of entry points."""
    models = [*SHIPPED, *recbole_keys.builtin_models()]
    found = {key for model in models for key in recbole_keys.known_keys(model)} | recbole_keys.LAUNCH_KEYS
    found |= {*experiment.KEYS}
    for kind in ("experiments", "search"):
        for file in shipped_files([kind]):
            found |= set(yaml.safe_load(file.read_text()))
    in_eval_args = {"split", "group_by", "order", "mode", "fold_in"}
    in_parameters = {"uniform", "loguniform", "quniform", "integer", "logint", "when"}
    return found | in_eval_args | in_parameters


def resolve(name: str) -> bool:
    """Whether a dotted name can be imported, as a module or from one."""
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return bool(module) and hasattr(importlib.import_module(module), attribute)
    return True
