"""RecBole's trainer, with checkpoints from which a run goes on exactly as it would have."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from recbole.trainer import Trainer
from recbole.utils import set_color


class AutoEncoderTrainer(Trainer):
    """Trains the models of this package.

    Beside RecBole's entries a checkpoint holds the best validation result and the state of
    the random generators: resuming it equals never having stopped. It is written to a
    second file first, so that a run that is killed leaves the last good one.
    """

    _train_data = None
    _random_state = None

    def fit(self, train_data, *args, **kwargs):
        """See RecBole's ``Trainer.fit``."""
        self._train_data = train_data
        if self._random_state is not None:
            self._set_random_state(self._random_state)
            self._random_state = None
        return super().fit(train_data, *args, **kwargs)

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        if not self.config["single_spec"] and self.config["local_rank"] != 0:
            return
        file = Path(kwargs.pop("saved_model_file", self.saved_model_file))
        partial = file.with_name(f"{file.name}.partial")
        state = {
            "config": self.config,
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best_valid_score": self.best_valid_score,
            "best_valid_result": self.best_valid_result,
            "state_dict": self.model.state_dict(),
            "other_parameter": self.model.other_parameter(),
            "optimizer": self.optimizer.state_dict(),
            "random_state": self._get_random_state(),
        }
        torch.save(state, partial, pickle_protocol=4)
        os.replace(partial, file)
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {file}")

    def resume_checkpoint(self, resume_file):
        """See RecBole's ``Trainer.resume_checkpoint``.

        Raises:
            ValueError: the checkpoint is of another model, or of other layer sizes.
        """
        checkpoint = torch.load(resume_file, map_location="cpu", weights_only=False)
        self._check_same_model(resume_file, checkpoint)
        super().resume_checkpoint(resume_file)
        self.best_valid_result = checkpoint.get("best_valid_result")
        self._random_state = checkpoint.get("random_state")

    def _check_same_model(self, resume_file, checkpoint):
        differing = [
            f"{key}: {checkpoint['config'][key]} there, {self.config[key]} here"
            for key in ("model", "dataset", "mlp_hidden_size", "latent_dimension", "decoder_hidden_size")
            if checkpoint["config"][key] != self.config[key]
        ]
        if differing:
            raise ValueError(f"cannot resume {resume_file}: {'; '.join(differing)}")

    def _get_random_state(self):
        generator = getattr(self._train_data, "generator", None)
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "train_data": generator and generator.get_state(),
        }

    def _set_random_state(self, state):
        torch.set_rng_state(state["torch"])
        if len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])
        if state["train_data"] is not None:
            self._train_data.generator.set_state(state["train_data"])
