"""Weights & Biases and MLflow: one of their runs for each training, with a name by which it is found."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import extension, repair

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.utils import WandbLogger

#: The most parameters that MLflow takes at once.
MAX_PARAMETERS = 100
#: The most characters of a tag of Weights & Biases.
MAX_TAG_LENGTH = 64


@dataclass(frozen=True)
class TrackedRun:
    """How a run is called in a tracker.

    Attributes:
        name: of the run.
        group: what it belongs to, such as the experiment.
        labels: further names, such as the data set and the method.
        folder: for the trackers' local files, absolute.
    """

    name: str
    group: str
    labels: dict[str, str]
    folder: Path


@dataclass
class Tracking:
    """The run that is tracked, and how to end the trackers' runs that this process has started."""

    run: TrackedRun | None = None
    #: tracker -> called with whether the training succeeded
    end: dict[str, Callable[[bool], None]] = field(default_factory=dict)

    def end_run(self, tracker: str, succeeded: bool = True) -> None:
        """End the run that this process has started with a tracker, if any."""
        end = self.end.pop(tracker, None)
        if end:
            end(succeeded)


tracking = Tracking()


@contextmanager
def tracked_as(run: TrackedRun) -> Iterator[None]:
    """Trainings within this are tracked under the names of ``run``, and end with it."""
    tracking.run, succeeded = run, False
    try:
        yield
        succeeded = True
    finally:
        for tracker in list(tracking.end):
            tracking.end_run(tracker, succeeded)
        tracking.run = None


def plain_keys(config: Config) -> dict[str, Any]:
    """Every key as it was resolved; what JSON and YAML have no notation for as text."""
    return json.loads(json.dumps(config.final_config_dict, default=str, sort_keys=True))


@repair("recbole.utils.wandblogger", replaces={"WandbLogger.setup": "6791c107"})
def start_a_wandb_run_for_each_training(patch: Patch, wandblogger: ModuleType) -> None:
    """RecBole logs all trainings of a process to one run of Weights & Biases, and instead of the keys it
    sends the internals of the `Config`."""

    def setup(self: WandbLogger) -> None:
        if not self.log_wandb:
            return
        import wandb

        self._wandb = wandb
        tracking.end_run("wandb")
        if wandb.run is None:  # else the caller's, as in a sweep
            wandb.init(
                project=self.config["wandb_project"], config=plain_keys(self.config), **wandb_names(wandb)
            )
            tracking.end["wandb"] = lambda succeeded: wandb.finish(exit_code=0 if succeeded else 1)
        self._set_steps()

    patch.replace("WandbLogger.setup", setup)


def wandb_names(wandb: ModuleType) -> dict[str, Any]:
    """Arguments of ``wandb.init`` for the tracked run."""
    run = tracking.run
    if run is None:
        return {}
    folder = run.folder / os.environ.get("WANDB_DIR", "")
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "name": run.name,
        "group": run.group,
        "tags": [f"{key}: {label}"[:MAX_TAG_LENGTH] for key, label in run.labels.items()],
        "dir": str(folder),
        # the output of the process is its log already
        "settings": wandb.Settings(console="off"),
    }


@extension(
    "recbole.utils.wandblogger",
    replaces={
        "WandbLogger.setup": "6791c107",
        "WandbLogger.log_metrics": "c1084300",
        "WandbLogger.log_eval_metrics": "5bf26514",
    },
    after=("start_a_wandb_run_for_each_training",),
)
def log_to_mlflow(patch: Patch, wandblogger: ModuleType) -> None:
    """With `log_mlflow`, MLflow gets what RecBole logs to Weights & Biases."""

    @patch.wrap("WandbLogger.setup")
    def setup_both(setup: Callable[..., None], self: WandbLogger) -> None:
        setup(self)
        if self.config["log_mlflow"]:
            start_mlflow_run(plain_keys(self.config))

    @patch.wrap("WandbLogger.log_metrics")
    def log_metrics_to_both(
        log_metrics: Callable[..., None],
        self: WandbLogger,
        metrics: dict[str, Any],
        head: str = "train",
        commit: bool = True,
    ) -> None:
        log_metrics(self, metrics, head, commit)
        if self.config["log_mlflow"]:
            log_numbers(head, metrics)

    @patch.wrap("WandbLogger.log_eval_metrics")
    def log_eval_metrics_to_both(
        log_eval_metrics: Callable[..., None], self: WandbLogger, metrics: dict[str, Any], head: str = "eval"
    ) -> None:
        log_eval_metrics(self, metrics, head)
        if self.config["log_mlflow"]:
            log_numbers(head, metrics)


def start_mlflow_run(keys: dict[str, Any]) -> None:
    """Start a run of MLflow with the keys as its parameters, unless the caller has one open."""
    import mlflow

    tracking.end_run("mlflow")
    if mlflow.active_run() is None:
        if tracking.run is None:
            mlflow.start_run()
        else:
            _start_named_run(mlflow, tracking.run)
        tracking.end["mlflow"] = lambda succeeded: mlflow.end_run("FINISHED" if succeeded else "FAILED")
    entries = list(keys.items())
    for begin in range(0, len(entries), MAX_PARAMETERS):
        mlflow.log_params(dict(entries[begin : begin + MAX_PARAMETERS]))


def _start_named_run(mlflow: ModuleType, run: TrackedRun) -> None:
    from filelock import FileLock

    given = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    scheme, _, path = given.partition("sqlite:///")
    is_local = not scheme and path != given
    uri = f"sqlite:///{run.folder / path}" if is_local else given
    mlflow.set_tracking_uri(uri)
    # MLflow creates the tables, and an experiment, without regard to other processes
    with FileLock(run.folder / ".mlflow.lock"):
        if is_local and mlflow.get_experiment_by_name(run.group) is None:
            mlflow.create_experiment(run.group, (run.folder / "mlruns").as_uri())
        mlflow.set_experiment(run.group)
    mlflow.start_run(run_name=run.name, tags=run.labels)


def log_numbers(head: str, metrics: dict[str, Any]) -> None:
    """Log metrics under ``head/``; those with a ``_step`` give the step. MLflow has no @ in names."""
    import mlflow

    steps = [int(value) for name, value in metrics.items() if name.endswith("_step")]
    numbers = {
        f"{head}/{name.replace('@', '_at_')}": float(sum(value) if isinstance(value, tuple) else value)
        for name, value in metrics.items()
        if not name.endswith("_step")
    }
    mlflow.log_metrics(numbers, step=steps[0] if steps else None)
