"""The rooms of the package: which stands above which, and that no import runs upwards or in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import recbole_vae_plugin

PACKAGE = "recbole_vae_plugin"
ROOT = Path(recbole_vae_plugin.__file__).parent

#: From the ground up; rooms of one floor do not know each other.
FLOORS = [
    ["settings"],
    ["system"],
    ["nn", "datafiles"],
    ["serving", "integration.patching"],
    ["integration.config", "integration.repairs"],
    ["integration.distributed"],
    ["integration.data", "integration.evaluation"],
    ["integration.recommender"],
    ["integration.training"],
    ["integration"],
    ["models", "autoload"],
    ["", "conversion", "extending"],
    ["runs"],
    ["tune"],
    ["compare"],
    ["cli", "testing"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
#: The RecBole room, and what is built on its classes.
KNOW_RECBOLE = ("integration", "models", "testing")
PURE = ("system", "settings", "nn", "datafiles", "serving")


def modules() -> dict[str, Path]:
    """Module, without the package's name, -> file."""
    found = {}
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix("__init__").removesuffix(".")] = file
    return found


MODULES = modules()


def room_of(module: str) -> str:
    """The innermost room that a module stands in."""
    while module not in FLOOR_OF:
        module = module.rpartition(".")[0]
    return module


def imports(file: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it, by their full names."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports are not used"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                inner = full.removeprefix(f"{PACKAGE}.")
                yield full if inner in MODULES and full != inner else node.module


def own_imports(module: str) -> set[str]:
    """The modules of the package that a module imports, without the package's name."""
    found = {name for name in imports(MODULES[module]) if name.split(".")[0] == PACKAGE}
    return {name.removeprefix(PACKAGE).removeprefix(".") for name in found}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module):
    here = room_of(module)
    for other in own_imports(module):
        there = room_of(other)
        assert here == there or FLOOR_OF[there] < FLOOR_OF[here], (
            f"{module} imports {other}, which is not below"
        )


def test_no_two_files_import_each_other(monkeypatch):
    class WithoutTypes(ast.NodeTransformer):
        """What only annotations need is never run."""

        def visit_If(self, node):
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    parse = ast.parse
    monkeypatch.setattr(ast, "parse", lambda text: WithoutTypes().visit(parse(text)))
    graph = {module: own_imports(module) - {module} for module in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the files


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_recbole_room_imports_recbole(module):
    outside = {name.split(".")[0] for name in imports(MODULES[module])}
    if room_of(module).split(".")[0] not in KNOW_RECBOLE:
        assert "recbole" not in outside
    if room_of(module) == "settings":
        assert "torch" not in outside


def test_an_upward_arrow_would_be_seen(tmp_path, monkeypatch):
    file = tmp_path / "rows.py"
    file.write_text("def f():\n    from recbole_vae_plugin.compare import experiment\n")
    monkeypatch.setitem(MODULES, "nn.rows", file)
    with pytest.raises(AssertionError, match="nn.rows imports compare.experiment"):
        test_imports_go_down("nn.rows")
