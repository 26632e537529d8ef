"""RecBole's trainer for the models of this package: fast steps, exact resumption."""

from __future__ import annotations

import ctypes
import math
import sys
from contextlib import nullcontext
from pathlib import Path
from statistics import mean
from time import perf_counter

import numpy as np
import torch
from recbole.trainer import Trainer
from recbole.utils import early_stopping, set_color

from recbole_vae_plugin.integration.distributed.ranks import as_single_process, from_every_rank, place
from recbole_vae_plugin.integration.evaluation.collector import UserCollector
from recbole_vae_plugin.integration.training.archives import load_whole
from recbole_vae_plugin.integration.training.line_search import climb
from recbole_vae_plugin.integration.training.resuming import resume_if_asked
from recbole_vae_plugin.nn.averaging import WeightAverage
from recbole_vae_plugin.nn.finite import check_quality, check_weights
from recbole_vae_plugin.nn.monitor import has_collapsed
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.validation import Refused, refuse
from recbole_vae_plugin.system.atomic import replacing


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster there than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def keep_freed_memory() -> None:
    """Ask glibc to reuse large blocks instead of handing them back to the system.

    A training step allocates the same tens of megabytes (scores, gradients) again and again;
    fresh pages from the system would have to be zeroed each time. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, mmap_threshold, most = -1, -3, 2**31 - 1
        mallopt(trim_threshold, most)
        mallopt(mmap_threshold, most)


def fixed(config) -> dict:
    """The keys of the model that a run cannot change when it goes on, each where it has a meaning."""
    settings = MODELS[config["model"]].settings_of(config).as_dict()
    layers = ("encoder", "mlp_hidden_size", "latent_dimension", "decoder_hidden_size", "linear_branch")
    others = ["prior"]
    if config["prior"] == "vamp":
        others.append("prior_components")
    if settings["linear_branch"] == "ease":
        others += ["linear_reg_weight", "linear_dropout_prob", "linear_user_power"]
    return {key: settings[key] for key in layers} | {key: config[key] for key in others}


class AutoEncoderTrainer(Trainer):
    """Trains and evaluates the models of this package.

    Beside RecBole's entries a checkpoint holds the best validation result and the state of
    the random generators: resuming it equals never having stopped. It is written to a
    second file first, so that a run that is killed leaves the last good one.

    The ranks of a data-parallel run take the steps that one process would take: each works on its
    share of the batch, and the gradient is that of the whole batch. The loss in the log is that of all
    users; reconstruction, kl and active_units there are those of rank 0's users.

    With `ema_decay` the averages of the weights are what is evaluated, saved, and left in the model.
    With `linear_branch` a training begins by computing it, and `linear_weight: ~` chooses its weight
    at each validation, so that the best checkpoint holds the weight that made it the best. Early stopping
    waits until it would stop the deep model, scored alone, too: at first the sum is the linear branch
    and hardly moves.

    `enable_amp: ~` means bfloat16 where the processor computes in it.
    """

    def __init__(self, config, model):
        super().__init__(config, model)
        if self.device.type == "cpu":
            keep_freed_memory()
        if len(self.model.phases) > 1 and not config["single_spec"]:
            refuse("alternating_updates", config["alternating_updates"], "~ where several processes train")
        self._train_data = None
        self._random_states = None
        self._valid_result = None
        #: of the deep model beside a linear branch: best quality, validations since then
        self.deep_alone = -math.inf, 0
        #: what the model noted of the last epoch
        self.monitored = {}
        self.eval_collector = UserCollector(config)
        self.average = None
        if config["ema_decay"]:
            trained = (weight for weight in self.model.parameters() if weight.requires_grad)
            self.average = WeightAverage(trained, config["ema_decay"])
            self.optimizer.register_step_post_hook(lambda *_: self.average.update())
        bfloat16 = computes_in_bfloat16(self.device)
        if self.enable_amp is None:
            self.enable_amp = bfloat16
        if self.enable_amp:
            # RecBole's autocast names no type, and on a GPU that would be float16
            dtype = torch.bfloat16 if bfloat16 or self.device.type == "cpu" else torch.float16
            torch.set_autocast_dtype(self.device.type, dtype)
            self.logger.info(set_color("mixed precision", "blue") + f": {dtype}")

    def _build_optimizer(self, **kwargs):
        optimizer = super()._build_optimizer(**kwargs)
        if isinstance(optimizer, (torch.optim.Adam, torch.optim.SGD)):
            # the same steps in one pass over the weights; AdamW is an Adam
            for group in optimizer.param_groups:
                group["fused"], group["foreach"] = True, False
        return optimizer

    def fit(self, train_data, *args, **kwargs):
        """See RecBole's ``Trainer.fit``."""
        self._train_data = train_data
        resume_if_asked(self)
        if self._random_states is not None:
            self._set_random_state(self._random_states)
            self._random_states = None
        if self.model.network.linear is not None and self.start_epoch == 0:
            self._fit_linear_branch()
        if self.average and self.average.swapped:
            self.average.swap()
        result = super().fit(train_data, *args, **kwargs)
        if self.average:
            self.average.swap()
        if has_collapsed(self.monitored, self.config["latent_dimension"]):
            active = self.monitored["active_units"]
            self.logger.warning(
                f"the posterior has collapsed: {active} of {self.config['latent_dimension']} latent units "
                "still vary over users; a smaller anneal_cap leaves more of them"
            )
        return result

    def _fit_linear_branch(self):
        begin = perf_counter()
        self.model.fit_linear_branch()
        items, seconds = len(self.model.network.linear.B), perf_counter() - begin
        self.logger.info(set_color("linear branch", "blue") + f": {items} x {items} in {seconds:.1f}s")

    def _averages_in_place(self):
        return self.average.in_place() if self.average else nullcontext()

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, **kwargs):
        shared = not self.config["single_spec"]
        if shared:
            loss_func = self._loss_of_share(train_data.shares, loss_func or self.model.calculate_loss)
        # what RecBole logs as the loss of the epoch is that of the last time
        for part, times in self.model.phases:
            self.model.network.train_only(part)
            for _ in range(times):
                loss = super()._train_epoch(train_data, epoch_idx, loss_func, **kwargs)
            self.model.end_phase(part)
        self.model.network.train_only(None)
        check_weights(self.model)
        self.monitored = self.model.monitored()
        return mean(from_every_rank(loss)) if shared else loss

    def _loss_of_share(self, shares, loss_func):
        steps = shares.weights()

        def loss_of_share(interaction):
            self.model.joint_users, weight = next(steps)
            return loss_func(interaction) * weight

        return loss_of_share

    def sync_grad_loss(self):
        """RecBole adds up all weights at each step so that each of them has a gradient; ours have."""
        return 0.0

    def _generate_train_loss_output(self, epoch_idx, s_time, e_time, losses):
        speed = self._train_data.sample_size / max(e_time - s_time, 1e-9)
        output = super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses)
        noted = {"users/s": f"{speed:.0f}"} | {
            name.replace("_", " "): f"{value:.4g}" for name, value in self.monitored.items()
        }
        parts = [output.removesuffix("]"), *(f"{set_color(name, 'blue')}: {noted[name]}" for name in noted)]
        return ", ".join(parts) + "]"

    def _add_train_loss_to_tensorboard(self, epoch_idx, *args, **kwargs):
        super()._add_train_loss_to_tensorboard(epoch_idx, *args, **kwargs)
        for name, value in self.monitored.items():
            self.tensorboard.add_scalar(f"Monitor/{name}", value, epoch_idx)

    def _neg_sample_batch_eval(self, batched_data):
        """Score each distinct user once, and rank the candidates only."""
        interaction, candidates, positive_u, positive_i = batched_data
        if self.model.ITEM_ID in interaction:  # RecBole's loader: a row for each candidate
            return super()._neg_sample_batch_eval(batched_data)
        every = self.model.full_sort_predict(interaction.to(self.device))
        candidates = candidates.to(self.device)
        scores = torch.full_like(every, -torch.inf)
        scores[candidates] = every[candidates]
        return interaction, scores.view(-1, self.tot_item_num), positive_u, positive_i

    def _valid_epoch(self, *args, **kwargs):
        with self._averages_in_place():
            score, result = self._valid_with_best_weight(*args, **kwargs)
        # RecBole saves the best checkpoint before it notes the result that made it the best
        self._valid_result = result
        return score, result

    def _valid_with_best_weight(self, *args, **kwargs):
        """The validation score and result, with the weight of the linear branch that makes them best
        or that was given."""
        linear, validate = self.model.network.linear, super()._valid_epoch
        if linear is None:
            return validate(*args, **kwargs)

        results = {}
        # each weight is judged by the same negatives where evaluation samples them
        random_state = np.random.get_state()

        def quality(weight):
            np.random.set_state(random_state)
            linear.weight.fill_(weight)
            results[weight] = score, _ = validate(*args, **kwargs)
            check_quality(score, f"linear_weight {weight:.3g}")
            return score if self.valid_metric_bigger else -score

        with linear.keeping_products():
            weight = linear.weight.item()
            self._wait_for_deep_model(quality(0.0))
            if self.model.linear_settings.weight is None:
                weight = climb(quality, weight)
                self.logger.info(set_color("linear weight", "blue") + f": {weight:.3g}")
            else:
                quality(weight)
        linear.weight.fill_(weight)
        return results[weight]

    def _wait_for_deep_model(self, quality: float):
        patience = self.config["stopping_step"]
        best, since, is_done, _ = early_stopping(quality, *self.deep_alone, patience)
        self.deep_alone = best, since
        self.stopping_step = patience if is_done else math.inf

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        random_state = self._get_random_state()
        random_states = [random_state] if self.config["single_spec"] else from_every_rank(random_state)
        if place(self.config)[0] != 0:
            return
        file = Path(kwargs.pop("saved_model_file", self.saved_model_file))
        with self._averages_in_place(), replacing(file, self._size_of_checkpoint()) as partial:
            state = {
                "config": as_single_process(self.config),
                # RecBole gives -1 where a resumed run has nothing left to do
                "epoch": max(epoch, self.start_epoch - 1),
                "cur_step": self.cur_step,
                "best_valid_score": self.best_valid_score,
                "best_valid_result": self._valid_result,
                "deep_alone": self.deep_alone,
                "state_dict": self.model.state_dict(),
                "other_parameter": self.model.other_parameter(),
                "optimizer": self.optimizer.state_dict(),
                "random_states": random_states,
                "average": self.average and self.average.state_while_swapped(),
                "items": self.model.items,
                "popularity": self.model.interactions.popularity().tolist(),
            }
            torch.save(state, partial, pickle_protocol=4)
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {file}")

    def _size_of_checkpoint(self) -> int:
        """Bytes of a checkpoint, nearly: weights, and what the optimizer keeps of them."""
        optimizer = (
            value
            for state in self.optimizer.state.values()
            for value in state.values()
            if torch.is_tensor(value)
        )
        return sum(tensor.nbytes for tensor in (*self.model.state_dict().values(), *optimizer))

    def resume_checkpoint(self, resume_file):
        """See RecBole's ``Trainer.resume_checkpoint``.

        Raises:
            ValueError: the checkpoint is of another model, prior or linear branch, or of other layer sizes.
        """
        checkpoint = load_whole(
            resume_file, lambda: torch.load(resume_file, map_location="cpu", weights_only=False)
        )
        self._check_same_model(resume_file, checkpoint)
        super().resume_checkpoint(resume_file)
        self.best_valid_result = self._valid_result = checkpoint.get("best_valid_result")
        self.deep_alone = checkpoint.get("deep_alone", self.deep_alone)
        self._random_states = checkpoint.get("random_states")
        if self.average:
            self.average.resume(checkpoint.get("average"))
        linear, settings = self.model.network.linear, self.model.linear_settings
        if linear is not None and settings.weight is not None:
            linear.weight.fill_(settings.weight)
        check_weights(self.model)

    def _check_same_model(self, resume_file, checkpoint):
        of = checkpoint["config"], self.config
        there, here = ({key: config[key] for key in ("model", "dataset")} for config in of)
        if there["model"] == here["model"]:
            there, here = (names | fixed(config) for names, config in zip((there, here), of))
        differing = [
            f"{key}: {value} there, {here[key]} here"
            for key, value in there.items()
            if key in here and value != here[key]
        ]
        if differing:
            raise Refused(f"cannot resume {resume_file}: {'; '.join(differing)}")

    def _get_random_state(self):
        generator = getattr(self._train_data, "generator", None)
        return {
            "torch": torch.get_rng_state(),
            "numpy": np.random.get_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "train_data": generator and generator.get_state(),
        }

    def _set_random_state(self, states):
        rank, ranks = place(self.config)
        if states[0]["train_data"] is not None:
            self._train_data.generator.set_state(states[0]["train_data"])
        if len(states) != ranks:  # resumed by another number of processes
            return
        state = states[rank]
        torch.set_rng_state(state["torch"])
        np.random.set_state(state["numpy"])
        if len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])
