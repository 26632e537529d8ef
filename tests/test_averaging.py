"""Averaged weights are what is scored and saved, and training goes on from the others."""

from __future__ import annotations

import pytest
import torch

from recbole_vae_plugin.nn.averaging import WeightAverage
from recbole_vae_plugin.testing.contract import fit, scores_of
from recbole_vae_plugin.testing.fixtures import users_of


def test_averages_are_those_of_the_formula():
    weight = torch.tensor([4.0, -1.0])
    average = WeightAverage([weight], decay=0.3)
    expected = weight.clone()
    for step in range(1, 9):
        weight.add_(1.0)
        average.update()
        decay = min(0.3, step / (9 + step))
        expected = decay * expected + (1 - decay) * weight
    with average.in_place():
        torch.testing.assert_close(weight, expected)
    assert torch.equal(weight, torch.tensor([12.0, 7.0]))


def test_the_beginning_is_soon_forgotten():
    weight = torch.tensor([1000.0])
    average = WeightAverage([weight], decay=0.99)
    for _ in range(20):
        weight.zero_()
        average.update()
    assert average.averages[0] < 0.1, "with a decay of 0.99 from the start 818 would be left"


def test_what_is_saved_and_left_in_the_model_is_the_average(prepare):
    run = prepare("VAESplit", ema_decay=0.9, epochs=3)
    after_steps = []
    run.trainer.optimizer.register_step_post_hook(
        lambda *_: after_steps.append(run.model.network.output.bias.detach().clone())
    )
    expected = run.model.network.output.bias.detach().clone()
    fit(run)
    for step, bias in enumerate(after_steps, start=1):
        decay = min(0.9, step / (9 + step))
        expected = decay * expected + (1 - decay) * bias
    saved = torch.load(run.trainer.saved_model_file, weights_only=False)["state_dict"]
    torch.testing.assert_close(saved["network.output.bias"], expected)
    torch.testing.assert_close(run.model.network.output.bias.detach(), expected)


def test_without_validation_too(prepare):
    run = prepare("DAE", ema_decay=0.9)
    fit(run, epochs=2)
    left = scores_of(run, users_of(run))
    run.trainer.model.load_state_dict(
        torch.load(run.trainer.saved_model_file, weights_only=False)["state_dict"]
    )
    assert torch.equal(scores_of(run, users_of(run)), left)


def test_training_itself_does_not_notice(prepare):
    plain, averaged = prepare("DAE"), prepare("DAE", ema_decay=0.9)
    losses = []
    for run in (plain, averaged):
        torch.manual_seed(1)
        losses.append(fit(run, epochs=4, valid=True))
    assert losses[0] == losses[1]
    assert not torch.equal(scores_of(plain, users_of(plain)), scores_of(averaged, users_of(plain)))


def test_a_second_fit_goes_on_from_the_weights_and_not_from_their_average(prepare):
    once, twice = prepare("DAE", ema_decay=0.9), prepare("DAE", ema_decay=0.9)
    torch.manual_seed(1)
    straight = fit(once, epochs=4)
    torch.manual_seed(1)
    fit(twice, epochs=2)
    twice.trainer.start_epoch = 2
    assert fit(twice, epochs=4) == pytest.approx(straight)
