"""The trainer of our models: fast steps, and exact resuming."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from recbole.config import Config
from recbole.trainer import Trainer
from recbole.utils import set_color

from recbole_vae_plugin.integration.distributed.ranks import is_first_rank
from recbole_vae_plugin.integration.evaluation.collector import UserCollector
from recbole_vae_plugin.integration.recommender import AutoEncoderRecommender
from recbole_vae_plugin.integration.training.checkpoints import (
    checkpoint_of,
    load_checkpoint,
    restore,
    save_checkpoint,
)
from recbole_vae_plugin.integration.training.compatibility import check_compatible
from recbole_vae_plugin.integration.training.data_parallel import (
    Loss,
    check_phases,
    gather_batches,
    joint_loss,
    loss_of_shards,
)
from recbole_vae_plugin.integration.training.linear_weight import (
    Validate,
    set_given_weight,
    validate_with_linear_branch,
)
from recbole_vae_plugin.integration.training.memory import keep_freed_memory
from recbole_vae_plugin.integration.training.monitoring import collapse_warning, with_monitored
from recbole_vae_plugin.integration.training.patience import Patience
from recbole_vae_plugin.integration.training.precision import set_mixed_precision
from recbole_vae_plugin.integration.training.random_state import (
    RandomState,
    random_states,
    restore_random_state,
)
from recbole_vae_plugin.integration.training.resuming import resume_if_configured
from recbole_vae_plugin.integration.training.row_updates import update_rows_of_input
from recbole_vae_plugin.nn.averaging import WeightAverage
from recbole_vae_plugin.nn.finite import check_weights
from recbole_vae_plugin.nn.linear import LinearBranch

if TYPE_CHECKING:
    from recbole.data.dataloader import AbstractDataLoader


class AutoEncoderTrainer(Trainer):
    """Trains and evaluates the models of this package.

    The details are in the other modules of this folder:

    - ``precision``, ``memory``: fast steps;
    - ``data_parallel``: the ranks of a data-parallel run take the same steps as a single process. The logged
      loss is that of all users; reconstruction, kl and active_units are those of rank 0's users;
    - ``row_updates``: with a decoder in closed form, a step passes over the items that occur in it only;
    - ``nn/averaging``: with `ema_decay`, the averages of the weights are evaluated, saved, and finally left
      in the model;
    - ``linear_weight``, ``patience``: a `linear_branch` is fitted before training, its weight is optimised at
      each validation, and early stopping watches the deep model alone;
    - ``checkpoints``, ``random_state``, ``compatibility``: a resumed run equals an uninterrupted one;
    - ``monitoring``: logging of what the model monitors.
    """

    # narrower types than those of RecBole
    model: AutoEncoderRecommender
    tot_item_num: int

    def __init__(self, config: Config, model: AutoEncoderRecommender) -> None:
        super().__init__(config, model)
        if self.device.type == "cpu":
            keep_freed_memory()
        check_phases(model, config)
        if model.closed_form is not None and not config["single_spec"]:
            model.closed_form.gather = gather_batches
        self._train_data: AbstractDataLoader | None = None
        #: from a checkpoint, until training starts
        self.resumed_random_states: list[RandomState] | None = None
        #: of the last validation
        self.valid_result: dict[str, float] | None = None
        self.patience = Patience()
        #: what the model monitored in the last epoch
        self.monitored: dict[str, float] = {}
        self.eval_collector = UserCollector(config)
        trained = (weight for weight in self.model.parameters() if weight.requires_grad)
        by_row = self.row_adam.weights if self.row_adam else ()
        self.average = WeightAverage(
            trained if config["ema_decay"] else (), config["ema_decay"] or 0.0, by_row
        )
        if self.row_adam:
            self.row_adam.before_update = self.average.catch_up
        self.optimizer.register_step_post_hook(lambda *_: self.average.update())
        dtype = set_mixed_precision(self.device, config["enable_amp"])
        self.enable_amp = dtype is not None
        if self.enable_amp:
            self.logger.info(set_color("mixed precision", "blue") + f": {dtype}")

    def _build_optimizer(self, **kwargs: Any) -> torch.optim.Optimizer:
        optimizer = super()._build_optimizer(**kwargs)
        if isinstance(optimizer, (torch.optim.Adam, torch.optim.SGD)):
            # the same steps in one pass over the weights; AdamW is a subclass of Adam
            for group in optimizer.param_groups:
                group["fused"], group["foreach"] = True, False
        self.row_adam = update_rows_of_input(optimizer, self.model, self.config)
        return optimizer

    def fit(self, train_data: AbstractDataLoader, *args: Any, **kwargs: Any) -> Any:
        """Train the model; see RecBole's ``Trainer.fit``."""
        self._train_data = train_data
        resume_if_configured(self)
        if self.resumed_random_states is not None:
            restore_random_state(self.resumed_random_states, self.config, train_data)
            self.resumed_random_states = None
        linear = self.model.network.linear
        if linear is not None and self.start_epoch == 0:
            self._fit_linear_branch(linear)
        self.average.restore_weights()
        result = super().fit(train_data, *args, **kwargs)
        self.average.swap()
        if warning := collapse_warning(self.monitored, self.config["latent_dimension"]):
            self.logger.warning(warning)
        return result

    def _fit_linear_branch(self, linear: LinearBranch) -> None:
        start = perf_counter()
        self.model.fit_linear_branch()
        seconds = perf_counter() - start
        self.logger.info(set_color("linear branch", "blue") + f": {linear.extra_repr()}, in {seconds:.1f}s")

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Loss | None = None, **kwargs: Any
    ) -> float:
        distributed = not self.config["single_spec"]
        if distributed:
            loss_func = loss_of_shards(loss_func or self.model.calculate_loss, self.model, train_data.shards)
        # RecBole logs the loss of the last pass as that of the epoch
        loss: Any = 0.0
        for part, passes in self.model.phases:
            self.model.network.train_only(part)
            for _ in range(passes):
                loss = super()._train_epoch(train_data, epoch_idx, loss_func, **kwargs)
            self.model.end_phase(part)
        self.model.network.train_only(None)
        check_weights(self.model)
        self.monitored = self.model.monitored()
        return joint_loss(loss) if distributed else loss

    def sync_grad_loss(self) -> Any:
        """RecBole adds all weights to the loss so that each has a gradient; all of ours have one."""
        return 0.0

    def _generate_train_loss_output(self, epoch_idx: int, s_time: float, e_time: float, losses: Any) -> str:
        users = 0 if self._train_data is None else self._train_data.sample_size
        users_per_second = users / max(e_time - s_time, 1e-9)
        line = super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses)
        return with_monitored(line, users_per_second, self.monitored)

    def _add_train_loss_to_tensorboard(self, epoch_idx: int, *args: Any, **kwargs: Any) -> None:
        super()._add_train_loss_to_tensorboard(epoch_idx, *args, **kwargs)
        for name, value in self.monitored.items():
            self.tensorboard.add_scalar(f"Monitor/{name}", value, epoch_idx)

    def _neg_sample_batch_eval(self, batched_data: Any) -> Any:
        """Score each distinct user once, and rank only the candidates."""
        interaction, candidates, positive_u, positive_i = batched_data
        if self.model.ITEM_ID in interaction:  # from RecBole's loader, with a row per candidate
            return super()._neg_sample_batch_eval(batched_data)
        all_scores = self.model.full_sort_predict(interaction.to(self.device))
        candidates = candidates.to(self.device)
        scores = torch.full_like(all_scores, -torch.inf)
        scores[candidates] = all_scores[candidates]
        return interaction, scores.view(-1, self.tot_item_num), positive_u, positive_i

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> tuple[float, dict[str, float]]:
        validate: Any = partial(super()._valid_epoch, *args, **kwargs)
        with self.average.in_place():
            linear = self.model.network.linear
            if linear is not None:
                validate = partial(self._validate_with_linear_branch, linear, validate)
            score, result = validate()
        # RecBole only stores the best result after it has saved that checkpoint
        self.valid_result = result
        return score, result

    def _validate_with_linear_branch(
        self, linear: LinearBranch, validate: Validate
    ) -> tuple[float, dict[str, float]]:
        choose = self.model.linear_settings.weight is None
        validation = validate_with_linear_branch(linear, choose, validate, self.valid_metric_bigger)
        if choose:
            self.logger.info(set_color("linear weight", "blue") + f": {validation.weight:.3g}")
        may_stop = self.patience.runs_out(validation.deep_quality, self.config["stopping_step"])
        self.stopping_step = self.config["stopping_step"] if may_stop else math.inf
        return validation.score, validation.result

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        states = random_states(self.config, self._train_data)
        if not is_first_rank(self.config):
            return
        file = Path(kwargs.pop("saved_model_file", self.saved_model_file))
        with self.average.in_place():
            save_checkpoint(checkpoint_of(self, epoch, states), file)
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {file}")

    def resume_checkpoint(self, resume_file: str | Path) -> None:
        """Resume from a checkpoint; see RecBole's ``Trainer.resume_checkpoint``.

        Raises:
            ValueError: the checkpoint has another model, prior, linear branch or other layer sizes, or
                contains NaN or infinite weights.
        """
        checkpoint: Any = load_checkpoint(resume_file)
        # a Config has the methods that are needed of a mapping
        current: Any = self.config
        check_compatible(resume_file, checkpoint["config"], current)
        super().resume_checkpoint(resume_file)
        restore(self, checkpoint)
        set_given_weight(self.model)
        check_weights(self.model)
