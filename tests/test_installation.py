"""A wheel in a fresh environment outside the checkout: with everything, and for serving alone."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from bundles import small_bundle
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from recbole_vae_plugin.serving.bundle import write_bundle
from recbole_vae_plugin.serving.recommender import Recommender
from recbole_vae_plugin.system.installation import INSTALL_RECBOLE, PACKAGE

ROOT = Path(__file__).resolve().parent.parent


class Environment:
    """A virtual environment with the wheel, and with whatever ``sees`` puts on its path.

    Args:
        folder: where it is made.
        wheel: is installed as pip does it.
        sees: lines of a ``.pth`` file.
    """

    def __init__(self, folder: Path, wheel: Path, sees: str):
        self.folder = folder
        venv.create(folder, with_pip=False, symlinks=os.name != "nt")
        self.scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        pip = [sys.executable, "-m", "pip", "--python", str(self.scripts / "python"), "install", "-q"]
        subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
        (package,) = folder.rglob("recbole_vae_plugin")
        (package.parent / "dependencies.pth").write_text(sees)

    def run(self, command: str, cwd: Path, **environment) -> subprocess.CompletedProcess:
        program, *arguments = shlex.split(command)
        names = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        return subprocess.run(
            [str(self.scripts / program), *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            env={**names, **environment},
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


@cache
def required_by(name: str, extras: frozenset[str] = frozenset()) -> frozenset[str]:
    """Names of all distributions that an installation of ``name[extras]`` brings."""
    found = {canonicalize_name(name)}
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        contexts = [{"extra": extra} for extra in extras or {""}]
        if requirement.marker is None or any(map(requirement.marker.evaluate, contexts)):
            found |= required_by(requirement.name, frozenset(requirement.extras))
    return frozenset(found)


def linked(folder: Path, distributions: frozenset[str]) -> str:
    """A folder with these distributions alone, as a line of a ``.pth`` file."""
    folder.mkdir()
    for name in distributions - {PACKAGE}:
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files if file.parts[0] != ".."}:
            source = Path(distribution.locate_file(top))
            if source.exists() and not (folder / top).exists():
                (folder / top).symlink_to(source)
    return f"import site; site.addsitedir({str(folder)!r})\n"


@pytest.fixture(scope="module")
def complete(wheel, tmp_path_factory) -> Environment:
    """Sees every package of the environment that runs the tests."""
    sees = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    return Environment(tmp_path_factory.mktemp("complete") / "env", wheel, sees)


@pytest.fixture(scope="module")
def serving(wheel, tmp_path_factory) -> Environment:
    """Sees what ``pip install recbole-vae-plugin`` brings, and nothing else."""
    folder = tmp_path_factory.mktemp("serving")
    return Environment(folder / "env", wheel, linked(folder / "packages", required_by(PACKAGE)))


@pytest.fixture(scope="module")
def without_recbole(wheel, tmp_path_factory) -> Environment:
    """Sees what ``pip install recbole-vae-plugin[train]`` brings, and not RecBole."""
    folder = tmp_path_factory.mktemp("train")
    brought = required_by(PACKAGE, frozenset({"train"}))
    return Environment(folder / "env", wheel, linked(folder / "packages", brought))


class TestWheel:
    def test_it_is_the_wheel_that_is_tried(self, complete, tmp_path):
        code = "import recbole_vae_plugin as plugin; print(plugin.__file__)"
        done = complete.run(f'python -c "{code}"', tmp_path)
        assert Path(done.stdout.strip()).is_relative_to(complete.folder), done.stderr

    def test_it_holds_the_config_files_that_the_checkout_holds(self, complete, tmp_path):
        (inside,) = complete.folder.rglob("recbole_vae_plugin/configs")
        names = {str(file.relative_to(inside)) for file in inside.rglob("*.yaml")}
        assert names == {
            str(file.relative_to(ROOT / "configs")) for file in (ROOT / "configs").rglob("*.yaml")
        }
        assert (inside.parent / "py.typed").is_file()
        assert "multi-vae-twin" in complete.run("recbole-vae configs", tmp_path).stdout

    def test_the_main_job_runs_by_names_alone(self, complete, tmp_path):
        done = complete.run('run_recbole --config_files="ml-100k vae-split" --epochs=1', tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "test result" in done.stderr and "MovieLens" not in done.stderr
        assert "resolver" not in done.stderr

    def test_an_experiment_is_planned_by_its_name(self, complete, tmp_path):
        done = complete.run("recbole-vae compare ml-100k-quick --dry-run", tmp_path)
        assert done.returncode == 0, done.stderr
        assert "0 done, 21 to run" in done.stdout


def commands_of_readme() -> list[str]:
    """The lines of its shell blocks that call the installed scripts."""
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.partition(" # ")[0].strip() for block in blocks for line in block.splitlines()]
    called = [line.rpartition("&& ")[2] for line in lines]
    return [line for line in called if line.startswith(("run_recbole ", "recbole-vae "))]


def shortened(command: str, folder: Path) -> str | None:
    """A command that does the same in less time; ``None`` where data is needed that is not here."""
    if "untuned" in command:
        return None
    if "ml-1m" in command:
        return f"{command} --dry-run" if " compare " in command else None
    if command.startswith("run_recbole"):
        return f"{command} --epochs=1"
    if "fair" in command:
        return f"{command} --dry-run"
    if " compare " in command:
        return f"{command} --only Pop EASE"
    if " tune " in command:
        return f"{command} --trials 1"
    newest = max((folder / "saved").glob("VAESplit-*.pth"), key=os.path.getmtime, default=Path())
    return re.sub(r"saved/VAESplit-\S+", f"saved/{newest.name}", command)


@pytest.mark.slow
def test_the_commands_of_the_readme_run_one_after_the_other(complete, tmp_path):
    """From the wheel, in a folder of their own."""
    commands = commands_of_readme()
    ran = [short for command in commands if (short := shortened(command, tmp_path))]
    assert len(ran) >= 8 and len(ran) > len(commands) / 2
    rows = [f"{user},{1 + (user * 7 + step) % 200}" for user in range(50) for step in range(0, 60, 5)]
    (tmp_path / "ratings.csv").write_text("\n".join(["user,item", *rows]))
    for command in commands:
        short = shortened(command, tmp_path)
        if short:
            done = complete.run(short, tmp_path)
            assert done.returncode == 0, (short, done.stderr[-2000:])
            assert "Traceback" not in done.stderr
    assert {"films.vae", "dataset", "results"} <= {file.name for file in tmp_path.iterdir()}


class TestServing:
    def test_serving_brings_neither_recbole_nor_what_it_needs(self):
        brought = required_by(PACKAGE)
        assert {"torch", "safetensors", PACKAGE} <= brought
        assert not brought & {"recbole", "ray", "pandas", "scipy", "scikit-learn", "optuna", "tensorboard"}

    def test_a_bundle_is_served(self, serving, tmp_path):
        bundle = small_bundle()
        write_bundle(bundle, tmp_path / "small.vae")
        code = "from recbole_vae_plugin import Recommender; import json; "
        code += "print(json.dumps(Recommender.load('small.vae').recommend(['i1', 'i2'], k=3)))"
        done = serving.run(f'python -W error -c "{code}"', tmp_path)
        assert done.stderr == ""
        assert json.loads(done.stdout) == Recommender(bundle).recommend(["i1", "i2"], k=3)
        done = serving.run("recbole-vae recommend small.vae --items i1,i2 -k 3", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) == 6

    @pytest.mark.parametrize(
        "command, program",
        [
            ("run_recbole --model=VAESplit --dataset=ml-100k", "run_recbole"),
            ("recbole-vae compare ml-100k-quick", "recbole-vae"),
            ("recbole-vae tune vae-split", "recbole-vae"),
            ("recbole-vae bundle x.pth x.vae", "recbole-vae"),
            ("recbole-vae table results", "recbole-vae"),
        ],
    )
    def test_training_says_in_one_line_what_to_type(self, serving, tmp_path, command, program):
        done = serving.run(command, tmp_path)
        first, *more = done.stderr.splitlines()
        assert done.returncode in (1, 2) and done.stdout == ""
        assert first.startswith(
            f"{program}: error: training needs packages that are not installed: recbole, "
        )
        assert first.endswith(f'run: pip install "{PACKAGE}[train]" && {INSTALL_RECBOLE}')
        assert len(more) == (done.returncode == 1), "that line, and where the traceback is"

    def test_a_model_says_so_too(self, serving, tmp_path):
        done = serving.run('python -c "from recbole_vae_plugin import VAESplit"', tmp_path)
        last = done.stderr.splitlines()[-1]
        assert last.startswith("ImportError: recbole_vae_plugin.VAESplit: training needs packages that are")
        assert INSTALL_RECBOLE in last

    def test_the_doctor_says_so_too(self, serving, tmp_path):
        done = serving.run("recbole-vae doctor", tmp_path)
        assert done.returncode == 0, "serving alone is nothing wrong"
        assert "for serving only: training needs packages that are not installed: recbole, " in done.stdout
        assert INSTALL_RECBOLE in done.stdout


class TestWithoutRecBole:
    """All that training needs is there, but RecBole, which is installed by itself."""

    def test_importing_the_package_says_what_to_type(self, without_recbole, tmp_path):
        done = without_recbole.run('python -c "import recbole_vae_plugin"', tmp_path)
        assert done.returncode == 0
        assert f"training needs recbole, which is not installed; run: {INSTALL_RECBOLE}" in done.stderr

    def test_run_recbole_says_what_to_type(self, without_recbole, tmp_path):
        done = without_recbole.run("run_recbole --model=VAESplit", tmp_path)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1] == (
            f"run_recbole: error: training needs recbole, which is not installed; run: {INSTALL_RECBOLE}"
        )

    def test_the_doctor_says_what_to_type(self, without_recbole, tmp_path):
        done = without_recbole.run("recbole-vae doctor", tmp_path)
        assert done.returncode == 1
        assert INSTALL_RECBOLE in done.stdout.splitlines()[-1]

    def test_importing_torch_says_nothing(self, without_recbole, tmp_path):
        done = without_recbole.run('python -W error -c "import torch"', tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


def test_every_requirement_of_recbole_but_ray_is_one_of_ours():
    """RecBole is installed without its requirements, so the extra must list them, within its bounds."""
    ours = {}
    for line in metadata.requires(PACKAGE):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": "train"}):
            ours[canonicalize_name(requirement.name)] = requirement
    for line in metadata.requires("recbole"):
        theirs = Requirement(line)
        name = canonicalize_name(theirs.name)
        if theirs.marker is None and name != "ray":
            assert name in ours, name
            assert metadata.version(name) in theirs.specifier, name


def test_what_the_package_imports_is_a_requirement():
    """Every import that is not the standard library's, RecBole's or ours, in any module."""
    names = set()
    for file in (ROOT / "recbole_vae_plugin").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                names.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
    names -= sys.stdlib_module_names | {"recbole", "recbole_vae_plugin"}
    # of an extra that need not be installed here, and that is imported by another name
    distributions = {"mlflow": ["mlflow-skinny"], **metadata.packages_distributions()}
    stated = {canonicalize_name(Requirement(line).name) for line in metadata.requires(PACKAGE)}
    unstated = {
        name for name in names if not {canonicalize_name(d) for d in distributions.get(name, [name])} & stated
    }
    assert unstated == set()


def test_every_module_is_imported_where_unix_has_not_been():
    """Windows has none of these modules, nor fork, nor a C library that is asked to keep its memory."""
    code = (
        "import importlib, os, pkgutil, sys\n"
        "import psutil, recbole_vae_plugin, torch  # which have modules of their own for each system\n"
        "sys.modules.update(dict.fromkeys(['resource', 'fcntl', 'pwd', 'grp']))\n"
        "for name in ('fork', 'getppid', 'sched_getaffinity'):\n"
        "    delattr(os, name)\n"
        "for module in pkgutil.walk_packages(recbole_vae_plugin.__path__, 'recbole_vae_plugin.'):\n"
        "    importlib.import_module(module.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
