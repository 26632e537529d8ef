"""The files of a search: the best configuration, the trials, a page with plots, RecBole's page."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import yaml
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState
from plotly.offline import get_plotlyjs

from recbole_vae_plugin.runs.files import Result, result_of
from recbole_vae_plugin.runs.pool import Pool
from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.system.atomic import write_text
from recbole_vae_plugin.tune.search import LOCK
from recbole_vae_plugin.tune.space import Space
from recbole_vae_plugin.tune.trial import DEFAULTS, best_of, is_finished

STYLE = """body { font: 16px/1.5 system-ui, sans-serif; margin: auto; max-width: 68rem; padding: 1rem }
table { border-collapse: collapse; display: block; overflow-x: auto } td, th { padding: .2rem .6rem }"""
RECORDED = ("seconds", "startup_seconds", "epochs", "failed", "repeats")
TABLE, BEST, PAGE, HYPER = "trials.csv", "best.yaml", "search.html", "hyperparameters.md"


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """One row per trial: number, state, score, seconds (in all and before the first training step), epochs,
    reason of a failure, and its values."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        recorded = {key: trial.user_attrs.get(key) for key in RECORDED}
        tried = {**trial.user_attrs.get(DEFAULTS, {}), **trial.user_attrs.get("values", {})}
        values = {f"value_{key}": value for key, value in tried.items()}
        rows.append(
            {"trial": trial.number, "state": trial.state.name, "valid": trial.value, **recorded, **values}
        )
    return pd.DataFrame(rows)


def best_trial(study: optuna.Study) -> FrozenTrial:
    """The best complete trial.

    Raises:
        ValueError: there is none.
    """
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    best = best_of(trial for trial in done if "values" in trial.user_attrs)
    if best is None:
        raise Refused(
            f"{study.study_name}: no trial has finished; trials.csv has the reasons of the failed ones"
        )
    return best


def best_config(space: Space, values: dict) -> dict[str, Any]:
    """The keys of ``best.yaml``: a complete config of RecBole."""
    settings = space.run(values, "best", space.model_seeds[0]).settings
    return {**settings, "seed": space.split_seed}


def write_outcome(space: Space, study: optuna.Study, folder: Path) -> Result:
    """Write all files, and run the best configuration, which is the first use of test data.

    Returns:
        The result of that run.

    Raises:
        ValueError: no trial has finished.
    """
    # of the processes that share a search, the first one here runs the best configuration for all
    with FileLock(folder / LOCK):
        return _write_outcome(space, study, folder)


def write_winner(space: Space, study: optuna.Study, folder: Path) -> FrozenTrial:
    """Write the table of the trials and the best configuration; returns the best trial.

    Raises:
        ValueError: no trial has finished.
    """
    write_text(folder / TABLE, trials_table(study).to_csv(index=False))
    best = best_trial(study)
    config = best_config(space, best.user_attrs["values"])
    tried = sum(map(is_finished, study.trials))
    text = f"# the best of {tried} trials: validation {space.valid_metric} {best.value:.4f}\n"
    write_text(folder / BEST, text + yaml.safe_dump(config, sort_keys=False))
    return best


def _write_outcome(space: Space, study: optuna.Study, folder: Path) -> Result:
    best = write_winner(space, study, folder)
    write_text(folder / PAGE, page(space, study))
    result = run_best(space, best.user_attrs["values"], folder)
    write_text(folder / HYPER, hyper_page(space, study, best, result))
    return result


def run_best(space: Space, values: dict, folder: Path) -> Result:
    """Train and test the best configuration as ``run_recbole`` will: one seed for split and model."""
    run = space.run(values, "best", space.split_seed)
    result = result_of(run, folder / "best")
    if result and "failed" not in result:
        return result
    with Pool(folder / "best", jobs=1, keep_checkpoint=True, group=space.name) as pool:
        pool.submit(run)
        ((_, tested),) = pool.results()
    return tested


def page(space: Space, study: optuna.Study) -> str:
    """A page with those of Optuna's plots that the trials allow; it works offline."""
    from optuna import visualization

    plots: dict[str, Callable] = {
        "History": visualization.plot_optimization_history,
        "Importance of the parameters": visualization.plot_param_importances,
        "Learning curves": visualization.plot_intermediate_values,
        "Slices": visualization.plot_slice,
    }
    parts = []
    for title, plot in plots.items():
        try:
            figure = plot(study)
        except (RuntimeError, ValueError, ImportError) as problem:
            parts.append(f"<h2>{title}</h2><p>Not shown: {escape(str(problem))}</p>")
            continue
        parts.append(f"<h2>{title}</h2>{figure.to_html(full_html=False, include_plotlyjs=False)}")
    trials = trials_table(study).sort_values("valid", ascending=False)
    table = trials.to_html(index=False, na_rep="")
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<title>{escape(space.name)}</title><script>{get_plotlyjs()}</script>
<style>{STYLE}</style>
</head><body><h1>{escape(space.name)}</h1><p>Validation {escape(space.valid_metric)} of
{escape(str(space.settings["model"]))} on {escape(space.label)}.</p>{"".join(parts)}<h2>Trials</h2>{table}
</body></html>"""


def hyper_page(space: Space, study: optuna.Study, best: FrozenTrial, result: Result) -> str:
    """The hyper-parameter page, in the format of RecBole's public ones."""
    seconds = [trial.user_attrs["seconds"] for trial in study.trials if "seconds" in trial.user_attrs]
    of_data = {key: value for key, value in space.dataset.items() if key != "data_path"}
    fixed = {key: value for key, value in space.settings.items() if key != "model"}
    tested: dict[str, Any] = {**result.get("test", {"failed": result.get("failed")})}
    lines = [f"# {space.settings['model']} on {space.label}", "", "- **Data set**", "", "```yaml"]
    lines += [yaml.safe_dump(of_data, sort_keys=False).strip(), "```", ""]
    lines += [f"- **Time cost**: {sum(seconds) / len(seconds):.1f} s per trial, {len(seconds)} trials", ""]
    lines += [
        "- **Search space**",
        "",
        "```",
        *(each.hyper_test_line for each in space.parameters),
        "```",
        "",
    ]
    if fixed:
        lines += ["- **Fixed**", "", "```yaml", yaml.safe_dump(fixed, sort_keys=False).strip(), "```", ""]
    values = best.user_attrs["values"]
    lines += [
        "- **Best parameters**",
        "",
        "```yaml",
        yaml.safe_dump(values, sort_keys=False).strip(),
        "```",
        "",
    ]
    lines += ["- **Logged results**", "", "```", f"valid {space.valid_metric}: {best.value:.4f}"]
    lines += [f"test {metric}: {value}" for metric, value in tested.items()]
    return "\n".join([*lines, "```"]) + "\n"
