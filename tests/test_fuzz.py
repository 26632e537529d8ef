"""Every door, knocked at with whatever comes to mind: it works, or there is one clear error.

Bounded and the same each time; ``python -m pytest tests/test_fuzz.py --hypothesis-profile=long`` knocks for
longer, with other inputs each time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from bundles import small_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_vae_plugin.cli import run_recbole
from recbole_vae_plugin.compare.experiment import KEYS as OF_EXPERIMENTS
from recbole_vae_plugin.compare.experiment import Experiment
from recbole_vae_plugin.integration.config import checks
from recbole_vae_plugin.integration.config.types import types_of_keys
from recbole_vae_plugin.runs.machine import peak_memory
from recbole_vae_plugin.serving.bundle import BundleError, read_bundle, write_bundle
from recbole_vae_plugin.serving.recommender import Recommender
from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.tune.space import KEYS as OF_SPACES
from recbole_vae_plugin.tune.space import KINDS, Space

QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
#: Of one example, in milliseconds: generous, since machines are shared, and far below a hang.
DEADLINE = 10_000
#: MiB by which the peak of memory may grow in a test, for whatever is typed.
MOST_MEMORY = 512
COMMON = {"deadline": DEADLINE, "suppress_health_check": QUIET}
settings.register_profile("usual", derandomize=True, max_examples=150, **COMMON)
settings.register_profile("long", max_examples=5000, **COMMON)
if "--hypothesis-profile=long" not in sys.argv:
    settings.load_profile("usual")

NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20), st.floats(), st.sampled_from([0, 1, 1e-310, 1e308, 2**63])
)
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["yes", "no", "None", "~", "", "[1,2]", "1e-3", "os.x", "1/0", "[3,inf)", "RS", "full", "uni5"]
    ),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


@pytest.fixture(autouse=True)
def no_gigabytes():
    before = peak_memory()
    yield
    assert peak_memory() - before < MOST_MEMORY


def test_the_usual_profile_is_the_same_each_time():
    assert settings.default.derandomize or "--hypothesis-profile=long" in sys.argv


@given(st.dictionaries(st.sampled_from(sorted(types_of_keys("VAESplit"))), VALUES, min_size=1, max_size=2))
def test_values_of_a_config(given_keys):
    from recbole.config import Config

    # what would change where this test looks for files
    for key in (
        "data_path",
        "checkpoint_dir",
        "USER_ID_FIELD",
        "ITEM_ID_FIELD",
        "encoding",
        "field_separator",
    ):
        given_keys.pop(key, None)
    try:
        checks.check_evaluation(given_keys)
        config = Config(model="VAESplit", dataset="ml-100k", config_dict=given_keys)
        checks.check_config(config)
    except Refused as problem:
        assert str(problem)


@given(st.lists(st.one_of(TEXTS, st.tuples(TEXTS, TEXTS).map("=".join)), max_size=4))
def test_what_is_typed(arguments):
    typed = [argument for argument in arguments if argument not in ("-h", "--help") and "-m" not in argument]
    assert run_recbole.main(
        ["--model=VAESplit", "--dataset=blocks-that-are-not-there", "--", *typed][:2] + typed
    ) in (
        1,
        2,
    )


@pytest.mark.parametrize(
    "kind, keys", [(Experiment, OF_EXPERIMENTS), (Space, OF_SPACES)], ids=["experiment", "space"]
)
def test_files_of_experiments_and_spaces(kind, keys, tmp_path):
    base = {
        "experiment": {
            "datasets": ["ml-100k"],
            "methods": ["Pop", "VAESplit"],
            "baseline": "Pop",
            "seeds": {"split": 1, "model": 1},
        },
        "space": {"model": "VAESplit", "dataset": "ml-100k", "parameters": {"learning_rate": [0.1, 0.2]}},
    }["experiment" if kind is Experiment else "space"]

    @given(st.dictionaries(st.sampled_from(sorted(keys)), VALUES, max_size=2), st.booleans())
    def read(changes, whole):
        content = {**base, **changes} if whole else changes
        file = tmp_path / "fuzzed.yaml"
        file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        try:
            kind.read(str(file)).check()
        except Refused as problem:
            assert str(problem)

    read()


OF_CONFIGS = sorted({*types_of_keys("VAESplit"), "model", "config", "seeds", "dataset", "eval_args"})
#: Wrong values further down, where a file is right at its top.
WITHIN = st.dictionaries(st.sampled_from(OF_CONFIGS) | SCALARS, VALUES, max_size=2)
SOMEWHERE = {
    Experiment: st.fixed_dictionaries(
        {
            "datasets": st.just(["ml-100k"]) | st.dictionaries(st.just("ml-100k") | SCALARS, WITHIN | VALUES),
            "methods": st.dictionaries(st.just("Pop") | SCALARS, WITHIN | VALUES, max_size=2),
            "baseline": st.just("Pop") | SCALARS,
            "seeds": st.dictionaries(st.sampled_from(["split", "model"]), VALUES),
        },
        optional={"settings": WITHIN},
    ),
    Space: st.fixed_dictionaries(
        {
            "model": st.just("VAESplit") | VALUES,
            "dataset": st.just("ml-100k") | WITHIN.map(lambda keys: {"dataset": "ml-100k"} | keys),
            "parameters": st.dictionaries(
                st.sampled_from(["learning_rate", "dropout_prob", "mlp_hidden_size"]) | SCALARS,
                VALUES | st.dictionaries(st.sampled_from([*KINDS, "when"]), VALUES, max_size=2),
                max_size=2,
            ),
        },
        optional={"settings": WITHIN, "seeds": st.dictionaries(st.sampled_from(["split", "model"]), VALUES)},
    ),
}


@pytest.mark.parametrize("kind", SOMEWHERE, ids=lambda kind: kind.__name__)
def test_values_further_down_in_files(kind, tmp_path):
    file = tmp_path / "fuzzed.yaml"

    @given(SOMEWHERE[kind])
    def read(content):
        file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        try:
            kind.read(str(file)).check()
        except Refused as problem:
            assert ": " in str(problem)

    read()


@given(st.binary(max_size=300))
def test_files_that_are_no_yaml(content):
    Path("noise.yaml").write_bytes(content)
    for kind in (Experiment, Space):
        try:
            kind.read("noise.yaml")
        except Refused as problem:
            assert "noise.yaml" in str(problem) or ": " in str(problem)


def test_bundles_with_changed_bytes(tmp_path):
    file = tmp_path / "small.vae"
    write_bundle(small_bundle(), file)
    whole = file.read_bytes()

    @given(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=3),
        st.integers(0, len(whole)),
    )
    def read(changes, length):
        content = bytearray(whole)
        for place, value in changes:
            content[place] = value
        file.write_bytes(content[: max(length, 1)] if length % 3 == 0 else content)
        try:
            found = read_bundle(file)
        except BundleError as problem:
            assert str(file) in str(problem)
        else:
            assert Recommender(found).recommend(["i1"], k=2)

    read()


@given(VALUES, VALUES)
def test_histories(items, k):
    recommender = Recommender(small_bundle())
    try:
        found = recommender.recommend(items, k=k)
    except Refused as problem:
        assert str(problem)
    else:
        assert isinstance(found, list)


LINES = st.lists(
    st.lists(st.one_of(TEXTS, st.sampled_from(["u1", "i1", "i2", '"', "1.5", "nan"])), max_size=4).map(
        "\t".join
    ),
    max_size=12,
)


@given(
    st.sampled_from(["user_id:token\titem_id:token\trating:float", "user_id:token\titem_id:token", "x", ""]),
    LINES,
)
def test_data_files(header, lines):
    from recbole.config import Config
    from recbole.data import create_dataset

    folder = Path("fuzzed")
    folder.mkdir(exist_ok=True)
    (folder / "fuzzed.inter").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    columns = ["user_id", "item_id", "rating"]
    keys = {"data_path": ".", "load_col": {"inter": columns}, "state": "ERROR"}
    try:
        config = Config(model="VAESplit", dataset="fuzzed", config_dict=keys)
        checks.check_config(config)
        dataset = create_dataset(config)
    except ValueError as problem:
        assert str(problem)
    else:
        assert dataset.inter_num <= sum(map(bool, lines))
