"""The patches of RecBole: declared, in an order that follows from them, and undone without a trace."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import warnings
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

import recbole_vae_plugin
from recbole_vae_plugin.cli import patch_table
from recbole_vae_plugin.integration import registration
from recbole_vae_plugin.integration.patching import applying as patching
from recbole_vae_plugin.integration.patching.patch import APPLIED, WAITING, Patch
from recbole_vae_plugin.integration.patching.registry import PATCHES, extension, in_order

PACKAGE = Path(recbole_vae_plugin.__file__).parent
HOLDERS = sorted(
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
    for file in PACKAGE.rglob("*.py")
    if any(line.startswith(("@repair(", "@extension(")) for line in file.read_text("utf-8").splitlines())
)


#: Has the package be imported as at the end of torch's import, which registers nothing.
NOT_REGISTERED = """
import json, sys
sys.modules["torch"] = type(sys)("torch")
sys.modules["torch"].__spec__ = type("", (), {"_initializing": True})
"""


def result_of(code: str, **environment):
    """What a fresh interpreter prints last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def in_full(patch: Patch, path: str) -> str:
    return path if ":" in path else f"{patch.target}:{path}"


class TestDeclarations:
    def test_every_module_that_holds_patches_is_registered(self):
        assert {patch.function.__module__ for patch in PATCHES.values()} == set(HOLDERS)

    @pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES.keys())
    def test_recbole_is_what_each_was_read_against(self, patch):
        if metadata.version("recbole") != "1.2.1":
            pytest.skip("another RecBole")
        assert patch.differences() == []

    def test_what_recbole_defines_and_is_replaced_has_a_fingerprint(self):
        """What has none is of another library, or imported by RecBole's module."""
        from recbole_vae_plugin.integration.patching.sources import fingerprint

        for patch in PATCHES.values():
            for path, expected in patch.replaces.items():
                module, _, attributes = in_full(patch, path).partition(":")
                if expected is None and module.startswith("recbole"):
                    assert fingerprint(module, attributes) is None, (patch.name, path)
            assert all(patch.reads.values()), patch.name

    def test_two_that_change_one_thing_say_which_is_first(self):
        order = in_order()
        before = {}
        for patch in order:
            before[patch] = {PATCHES[name] for name in patch.after}
            before[patch].update(*(before[other] for other in list(before[patch])))
        for first, second in itertools.combinations(order, 2):
            shared = {in_full(first, path) for path in (*first.replaces, *first.adds)} & {
                in_full(second, path) for path in (*second.replaces, *second.adds)
            }
            assert not shared or first in before[second], (first.name, second.name, shared)

    def test_names_are_not_sentences_and_purposes_are(self):
        for patch in PATCHES.values():
            assert "_is_" not in patch.name and "_are_" not in patch.name.replace("that_are", "")
            assert patch_table.first_sentence(patch.function.__doc__).endswith("."), patch.name

    def test_a_change_that_is_not_declared_is_refused(self):
        patch = Patch("repair", "colorsys", lambda patch, module: patch.replace("rgb_to_hsv", None))
        with pytest.raises(LookupError, match="does not declare that it changes rgb_to_hsv"):
            patch.apply(ModuleType("colorsys"))
        with pytest.raises(LookupError, match="does not declare that it extends entries"):
            patch.put("entries", "key", "value")

    def test_a_name_is_used_once(self):
        with pytest.raises(ValueError, match="two patches are called add_capped_recall"):

            @extension("colorsys")
            def add_capped_recall(patch, module):
                pass

    def test_the_table_in_the_docs_is_current(self):
        file = PACKAGE.parent / "docs/patches.md"
        if not file.is_file():
            pytest.skip("not a checkout")
        assert file.read_text(encoding="utf-8") == patch_table.table(), patch_table.HEAD.splitlines()[-1]


class TestOrder:
    @pytest.mark.parametrize("seed", range(4))
    def test_it_does_not_depend_on_the_order_of_imports(self, seed):
        modules = random.Random(seed).sample(HOLDERS, len(HOLDERS))
        code = (
            f"{NOT_REGISTERED}from importlib import import_module\n"
            f"for name in {modules}: import_module(name)\n"
            "from recbole_vae_plugin.integration.patching.registry import in_order\n"
            "print(json.dumps([patch.name for patch in in_order()]))"
        )
        assert result_of(code) == [patch.name for patch in in_order()]

    @pytest.mark.parametrize(
        "first", [None, "evaluate_each_user_once"], ids=["no such patch", "a patch of another module"]
    )
    def test_who_comes_after_what_cannot_be_first_is_refused(self, first):
        late = Patch("repair", "colorsys", len, after=(first or "no_such",))
        with pytest.raises(ValueError, match="len comes after .*, which is not a patch of colorsys"):
            in_order([*PATCHES.values(), late])

    def test_two_that_wait_for_each_other_are_refused(self):
        with pytest.raises(ValueError, match="cycle"):
            in_order(
                [Patch("repair", "sys", len, after=("abs",)), Patch("repair", "sys", abs, after=("len",))]
            )


class TestSources:
    @pytest.fixture
    def changed(self, monkeypatch):
        """A patch of what is not what it was read against."""
        target = "recbole.utils.no_such_module"
        patch = Patch("repair", target, len, reads={"recbole.utils.utils:get_model": "00000000"})
        monkeypatch.setattr(patching, "in_order", lambda: [patch])
        yield patch
        patching._scheduled.discard(patch)

    def test_what_differs_is_a_warning_with_patch_target_and_version(self, changed):
        with pytest.warns(UserWarning) as caught:
            patching.apply_patches(compare_sources=True)
            patching.apply_patches(compare_sources=True)
        (said,) = {str(warning.message) for warning in caught}
        assert len(caught) == 1, "once"
        for part in (changed.name, changed.target, "RecBole 1.2.1", "recbole.utils.utils:get_model (is "):
            assert part in said

    def test_a_version_that_was_tested_is_not_compared(self, changed):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            patching.apply_patches()

    def test_registering_compares_where_the_version_was_not_tested(self, monkeypatch):
        compared = []
        monkeypatch.setattr(
            registration, "apply_patches", lambda compare_sources: compared.append(compare_sources)
        )
        registration.register()
        monkeypatch.setattr(registration, "version", lambda name: "1.2.2")
        with pytest.warns(UserWarning, match="not with 1.2.2"):
            registration.register()
        assert compared == [False, True]


class TestChanges:
    @pytest.fixture
    def module(self):
        module = ModuleType("colorsys")
        module.entries, module.value = {"old": 1}, "former"
        return module

    def patch_of(self, function) -> Patch:
        return Patch("repair", "colorsys", function, {"value": None}, adds=("new",), extends=("entries",))

    def test_one_that_fails_changes_nothing(self, module):
        def fail(patch, module):
            patch.replace("value", "ours")
            patch.put("entries", "old", 2)
            patch.put("entries", "new", 3)
            raise OSError("half way")

        patch = self.patch_of(fail)
        with pytest.raises(OSError):
            patch.apply(module)
        assert (module.value, module.entries) == ("former", {"old": 1})
        assert patch.state == "failed: OSError: half way"

    def test_what_others_put_on_top_stays(self, module):
        def change(patch, module):
            patch.replace("value", "ours")
            patch.replace("new", "ours")

        patch = self.patch_of(change)
        patch.apply(module)
        assert patch.state == APPLIED
        module.value = "theirs"
        with pytest.warns(UserWarning, match="cannot undo the patch of value in colorsys"):
            patch.undo()
        assert module.value == "theirs" and not hasattr(module, "new") and patch.state == WAITING


#: What is there to be patched, by its path, and whatever RecBole's modules hold.
PRELUDE = """
import json, sys, warnings
from importlib import import_module
from types import ModuleType
from recbole_vae_plugin.integration.patching.registry import PATCHES

def everything():
    for patch in list(PATCHES.values()):
        import_module(patch.target)
    import recbole.quick_start, scipy.sparse

def paths():
    for patch in PATCHES.values():
        for path in (*patch.replaces, *patch.adds, *patch.extends):
            yield path if ":" in path else f"{patch.target}:{path}"

def seen():
    found = {}
    for path in paths():
        module, _, attributes = path.partition(":")
        owner = import_module(module)
        *outer, name = attributes.split(".")
        for part in outer:
            owner = getattr(owner, part)
        value = vars(owner).get(name)
        if isinstance(value, (dict, list)) and path != "sys:modules":
            value = dict(value) if isinstance(value, dict) else list(value)
        found[path] = value
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "recbole":
            found.update({f"{name}:{key}": value for key, value in vars(module).items()})
    return found

def differing(one, other):
    def same(a, b):
        return a is b or (type(a) is type(b) and type(a) in (dict, list) and a == b)
    return sorted(key for key in one.keys() | other.keys() if not same(one.get(key), other.get(key)))
"""


class TestUndo:
    def test_recbole_is_as_it_was(self):
        """RecBole is imported first, patched, and unpatched, twice."""
        code = (
            f"{NOT_REGISTERED}from recbole_vae_plugin.integration import registration\n"
            "import recbole_vae_plugin as plugin\n"
            "del sys.modules['torch']\n" + PRELUDE + "sys.modules['ray'] = ray = ModuleType('ray')\n"
            "ray.tune = ModuleType('ray.tune')\n"
            "everything()\n"
            "import wrapt; wrapt.register_post_import_hook(len, 'no_such_module')\n"  # its finder stays
            "before, modules = seen(), set(sys.modules)\n"
            "results = []\n"
            "for again in range(2):\n"
            "    plugin.register()\n"
            "    changed = differing(before, seen())\n"
            "    states = sorted({patch.state for patch in PATCHES.values()})\n"
            "    import recbole.quick_start.quick_start as quick\n"
            "    reached = quick.create_dataset is sys.modules['recbole.data.utils'].create_dataset\n"
            "    stack = sys.modules['recbole.data.utils'].get_dataloader.__wrapped__.__wrapped__.__name__\n"
            "    plugin.unregister()\n"
            "    placed = [n for n in sys.modules if n.endswith(('vaesplit', 'vaetwin'))]\n"
            "    results.append([len(changed), states, reached, stack, differing(before, seen()), placed])\n"
            "print(json.dumps(results))"
        )
        results = result_of(code, RECBOLE_VAE_PLUGIN_AUTOLOAD="0")
        for changed, states, reached, stack, left, placed in results:
            assert changed > 40
            assert set(states) <= {"applied", "not needed"}
            assert reached, "also where it was imported by name before"
            assert stack == "get_dataloader"
            assert left == [] and placed == []
        assert results[0] == results[1]

    def test_what_was_imported_while_it_was_patched_is_as_without_us(self):
        code = (
            "import recbole_vae_plugin as plugin\n" + PRELUDE + "everything()\n"
            "import torch\n"
            "plugin.unregister()\n"
            "functions = {k: v.__code__ for k, v in seen().items() if type(v) is type(seen)}\n"
            "ours = [key for key, of in functions.items() if 'recbole_vae_plugin' in of.co_filename]\n"
            "assert len(functions) > 100\n"
            "print(json.dumps([ours, torch.load.__module__, hasattr(torch.load, '__wrapped__')]))"
        )
        assert result_of(code) == [[], "torch.serialization", False]

    def test_nothing_is_patched_by_an_import_that_comes_later(self):
        code = (
            "import json, sys\nimport recbole_vae_plugin as plugin\nplugin.unregister()\n"
            "from recbole.trainer import Trainer\nfrom recbole.utils import get_model\n"
            "try: found = str(get_model('VAESplit'))\n"
            "except (ValueError, ModuleNotFoundError): found = 'none'\n"  # lightgbm's
            "print(json.dumps([found, hasattr(Trainer.fit, '__wrapped__')]))"
        )
        assert result_of(code) == ["none", False]
