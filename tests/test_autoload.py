"""What runs at the end of every ``import torch``: it never fails, and it hardly does anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

#: What is broken -> code that breaks it, run before anything else is imported.
BROKEN = {
    "a module that is called recbole": "sys.modules['recbole'] = types.ModuleType('recbole')",
    "an object that is called recbole": "sys.modules['recbole'] = types.SimpleNamespace()",
    "recbole without metadata": "breaks('importlib.metadata', 'version', metadata.PackageNotFoundError)",
    "metadata that cannot be read": "breaks('importlib.metadata', 'version', KeyError)",
    "a requirement that is not installed": "sys.modules['wrapt'] = None",
    "a requirement that is too old": "sys.modules['wrapt'] = types.ModuleType('wrapt')",
    "our own module with a mistake": "sys.modules['recbole_vae_plugin.integration.patching.applying'] = None",
    "a module that ends the process": "breaks('importlib.util', 'find_spec', SystemExit)",
    "a module that runs out of memory": "breaks('importlib.util', 'find_spec', MemoryError)",
    "a disk that cannot be read": "breaks('importlib.util', 'find_spec', OSError)",
}

PRELUDE = """
import importlib.util, importlib.metadata as metadata, json, sys, types, warnings

def breaks(module, name, kind):
    real = getattr(sys.modules[module], name)
    def broken(*args):
        if "recbole" in args:
            raise kind("broken on purpose")
        return real(*args)
    setattr(sys.modules[module], name, broken)
"""


def run(code: str, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("breakage", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("before", ["", "sys.modules.setdefault('recbole', types.SimpleNamespace())"])
def test_torch_imports_whatever_is_broken(breakage, before):
    """With RecBole not imported yet, and in the middle of its import."""
    done = run(
        f"{breakage}\n{before}\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    import torch\n"
        "said = [str(w.message) for w in caught if 'recbole' in str(w.message)]\n"
        "print(json.dumps([said, torch.ones(2).sum().item()]))"
    )
    assert done.returncode == 0, done.stderr
    said, total = json.loads(done.stdout.splitlines()[-1])
    assert total == 2
    assert len(said) <= 1 and all("not registered with RecBole" in message for message in said)


@pytest.mark.parametrize("breakage", list(BROKEN.values())[3:7], ids=list(BROKEN)[3:7])
def test_recbole_imports_whatever_is_broken(breakage):
    done = run(f"{breakage}\nimport torch\nimport recbole\nimport torch, recbole\nprint(recbole.__version__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()
    assert done.stderr.count("recbole-vae-plugin is not registered with RecBole") == 1
    assert "recbole-vae doctor" in done.stderr


def test_a_recbole_that_is_not_supported_is_a_warning_when_it_is_imported():
    done = run(
        "found = metadata.version\n"
        "metadata.version = lambda name: '9.9' if name == 'recbole' else found(name)\n"
        "import torch\nprint('imported')\nimport recbole"
    )
    assert done.returncode == 0, done.stderr
    assert "found 9.9" in done.stderr


def test_importing_torch_imports_the_standard_library_alone():
    # as torch does it: the package is imported while torch is loading
    code = (
        "sys.modules['torch'] = types.ModuleType('torch')\n"
        "sys.modules['torch'].__spec__ = types.SimpleNamespace(_initializing=True)\n"
        "before = set(sys.modules)\n"
        "from recbole_vae_plugin.autoload import after_torch\n"
        "after_torch()\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    loaded = json.loads(run(code).stdout)
    ours = {name for name in loaded if name.partition(".")[0] == "recbole_vae_plugin"}
    assert ours == {
        "recbole_vae_plugin",
        "recbole_vae_plugin.autoload",
        "recbole_vae_plugin.system",
        "recbole_vae_plugin.system.installation",
        "recbole_vae_plugin.settings",
        "recbole_vae_plugin.settings.model_registry",
    }
    assert {name.partition(".")[0] for name in loaded} - {"recbole_vae_plugin"} <= sys.stdlib_module_names


@pytest.mark.parametrize("switch", ["1", "0", "no", "OFF"])
def test_it_can_be_turned_off(switch):
    code = (
        "import torch\nimport recbole.utils\n"
        "print(json.dumps('recbole_vae_plugin.integration' in sys.modules))"
    )
    assert json.loads(run(code, RECBOLE_VAE_PLUGIN_AUTOLOAD=switch).stdout) is (switch == "1")


def test_looking_for_a_recbole_that_is_not_there_is_quiet():
    done = run(
        "import torch\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'recbole':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "try:\n    import recbole\nexcept ImportError:\n    print('none')"
    )
    assert (done.stdout, done.stderr) == ("none\n", "")
