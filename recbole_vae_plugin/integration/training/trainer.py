"""RecBole's trainer for the models of this package: fast steps, exact resumption."""

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

from recbole_vae_plugin.integration.distributed.ranks import place
from recbole_vae_plugin.integration.evaluation.collector import UserCollector
from recbole_vae_plugin.integration.training.checkpoints import (
    checkpoint_of,
    load_checkpoint,
    restore,
    save_checkpoint,
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
from recbole_vae_plugin.integration.training.resuming import resume_if_asked
from recbole_vae_plugin.integration.training.same_model import check_same_model
from recbole_vae_plugin.integration.training.shares import Loss, check_phases, joint_loss, loss_of_shares
from recbole_vae_plugin.models.base import AutoEncoderRecommender
from recbole_vae_plugin.nn.averaging import WeightAverage
from recbole_vae_plugin.nn.finite import check_weights

if TYPE_CHECKING:
    from recbole.data.dataloader import AbstractDataLoader


class AutoEncoderTrainer(Trainer):
    """Trains and evaluates the models of this package.

    Each concern has a file beside this one:

    - ``precision``, ``memory``: fast steps;
    - ``shares``: the ranks of a data-parallel run take the steps that one process would take. The loss in
      the log is that of all users; reconstruction, kl and active_units there are those of rank 0's users;
    - ``nn/averaging``: with `ema_decay` the averages of the weights are what is evaluated, saved, and left
      in the model;
    - ``linear_weight``, ``patience``: with `linear_branch` a training begins by computing it, each
      validation finds its weight, and early stopping waits for the deep model alone;
    - ``checkpoints``, ``random_state``, ``same_model``: resuming a checkpoint equals never having stopped;
    - ``monitoring``: what the model notes of an epoch.
    """

    def __init__(self, config: Config, model: AutoEncoderRecommender) -> None:
        super().__init__(config, model)
        if self.device.type == "cpu":
            keep_freed_memory()
        check_phases(model, config)
        self._train_data = None
        #: of a checkpoint, until training goes on
        self.resumed_random_states: list[RandomState] | None = None
        #: of the last validation
        self.valid_result: dict[str, float] | None = None
        self.patience = Patience()
        #: what the model noted of the last epoch
        self.monitored = {}
        self.eval_collector = UserCollector(config)
        trained = (weight for weight in self.model.parameters() if weight.requires_grad)
        self.average = WeightAverage(trained if config["ema_decay"] else (), config["ema_decay"])
        self.optimizer.register_step_post_hook(lambda *_: self.average.update())
        dtype = set_mixed_precision(self.device, config["enable_amp"])
        self.enable_amp = dtype is not None
        if self.enable_amp:
            self.logger.info(set_color("mixed precision", "blue") + f": {dtype}")

    def _build_optimizer(self, **kwargs: Any) -> Any:
        optimizer = super()._build_optimizer(**kwargs)
        if isinstance(optimizer, (torch.optim.Adam, torch.optim.SGD)):
            # the same steps in one pass over the weights; AdamW is an Adam
            for group in optimizer.param_groups:
                group["fused"], group["foreach"] = True, False
        return optimizer

    def fit(self, train_data: AbstractDataLoader, *args: Any, **kwargs: Any) -> Any:
        """See RecBole's ``Trainer.fit``."""
        self._train_data = train_data
        resume_if_asked(self)
        if self.resumed_random_states is not None:
            restore_random_state(self.resumed_random_states, self.config, train_data)
            self.resumed_random_states = None
        if self.model.network.linear is not None and self.start_epoch == 0:
            self._fit_linear_branch()
        self.average.restore_weights()
        result = super().fit(train_data, *args, **kwargs)
        self.average.swap()
        if warning := collapse_warning(self.monitored, self.config["latent_dimension"]):
            self.logger.warning(warning)
        return result

    def _fit_linear_branch(self) -> None:
        begin = perf_counter()
        self.model.fit_linear_branch()
        seconds = perf_counter() - begin
        size = self.model.network.linear.extra_repr()
        self.logger.info(set_color("linear branch", "blue") + f": {size}, in {seconds:.1f}s")

    def _train_epoch(
        self, train_data: AbstractDataLoader, epoch_idx: int, loss_func: Loss | None = None, **kwargs: Any
    ) -> float:
        shared = not self.config["single_spec"]
        if shared:
            loss_func = loss_of_shares(loss_func or self.model.calculate_loss, self.model, train_data.shares)
        # what RecBole logs as the loss of the epoch is that of the last time
        for part, times in self.model.phases:
            self.model.network.train_only(part)
            for _ in range(times):
                loss = super()._train_epoch(train_data, epoch_idx, loss_func, **kwargs)
            self.model.end_phase(part)
        self.model.network.train_only(None)
        check_weights(self.model)
        self.monitored = self.model.monitored()
        return joint_loss(loss) if shared else loss

    def sync_grad_loss(self) -> Any:
        """RecBole adds up all weights at each step so that each of them has a gradient; ours have."""
        return 0.0

    def _generate_train_loss_output(self, epoch_idx: int, s_time: Any, e_time: Any, losses: Any) -> Any:
        users_per_second = self._train_data.sample_size / max(e_time - s_time, 1e-9)
        line = super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses)
        return with_monitored(line, users_per_second, self.monitored)

    def _add_train_loss_to_tensorboard(self, epoch_idx: int, *args: Any, **kwargs: Any) -> None:
        super()._add_train_loss_to_tensorboard(epoch_idx, *args, **kwargs)
        for name, value in self.monitored.items():
            self.tensorboard.add_scalar(f"Monitor/{name}", value, epoch_idx)

    def _neg_sample_batch_eval(self, batched_data: Any) -> Any:
        """Score each distinct user once, and rank the candidates only."""
        interaction, candidates, positive_u, positive_i = batched_data
        if self.model.ITEM_ID in interaction:  # RecBole's loader: a row for each candidate
            return super()._neg_sample_batch_eval(batched_data)
        every = self.model.full_sort_predict(interaction.to(self.device))
        candidates = candidates.to(self.device)
        scores = torch.full_like(every, -torch.inf)
        scores[candidates] = every[candidates]
        return interaction, scores.view(-1, self.tot_item_num), positive_u, positive_i

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> Any:
        validate = partial(super()._valid_epoch, *args, **kwargs)
        with self.average.in_place():
            if self.model.network.linear is not None:
                validate = partial(self._validate_with_linear_branch, validate)
            score, result = validate()
        # RecBole saves the best checkpoint before it notes the result that made it the best
        self.valid_result = result
        return score, result

    def _validate_with_linear_branch(self, validate: Validate) -> tuple[float, dict[str, float]]:
        choose = self.model.linear_settings.weight is None
        found = validate_with_linear_branch(
            self.model.network.linear, choose, validate, self.valid_metric_bigger
        )
        if choose:
            self.logger.info(set_color("linear weight", "blue") + f": {found.weight:.3g}")
        may_stop = self.patience.runs_out(found.deep_quality, self.config["stopping_step"])
        self.stopping_step = self.config["stopping_step"] if may_stop else math.inf
        return found.score, found.result

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        states = random_states(self.config, self._train_data)
        if place(self.config)[0] != 0:
            return
        file = Path(kwargs.pop("saved_model_file", self.saved_model_file))
        with self.average.in_place():
            save_checkpoint(checkpoint_of(self, epoch, states), file)
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {file}")

    def resume_checkpoint(self, resume_file: str | Path) -> None:
        """See RecBole's ``Trainer.resume_checkpoint``.

        Raises:
            ValueError: the checkpoint is of another model, prior or linear branch, or of other layer sizes,
                or holds weights that are NaN or infinite.
        """
        checkpoint = load_checkpoint(resume_file)
        check_same_model(resume_file, checkpoint["config"], self.config)
        super().resume_checkpoint(resume_file)
        restore(self, checkpoint)
        set_given_weight(self.model)
        check_weights(self.model)
