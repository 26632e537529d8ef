"""What the models report of themselves while they train."""

from __future__ import annotations

import logging
import math

import pytest
import torch

from recbole_vae_plugin.nn.heads import Posterior
from recbole_vae_plugin.nn.monitor import Monitor, has_collapsed
from recbole_vae_plugin.testing.fixtures import interaction_of, users_of


def test_means_are_over_users_whatever_the_batches():
    monitor = Monitor()
    mu = torch.zeros(6, 3)
    mu[:, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    mu[:, 1] = 5.0  # far from zero, and the same for everyone
    mu[:, 2] = 0.05 * mu[:, 0]  # variance 0.0025
    logvar = torch.zeros_like(mu)
    monitor.add(4, Posterior(mu[:4], logvar[:4]), kl=torch.tensor(1.0))
    monitor.add(2, Posterior(mu[4:], logvar[4:]), kl=torch.tensor(4.0))
    assert monitor.flush() == {"kl": pytest.approx(2.0), "active_units": 1}
    assert monitor.flush() == {}, "each epoch starts anew"


def test_a_deterministic_code_has_no_active_units():
    monitor = Monitor()
    monitor.add(2, Posterior(torch.randn(2, 3), None), reconstruction=torch.tensor(7.0))
    assert monitor.flush() == {"reconstruction": 7.0}


@pytest.mark.parametrize(("active", "collapsed"), [(0, True), (2, True), (3, False), (40, False)])
def test_collapse_is_a_twentieth_of_the_units_or_less(active, collapsed):
    assert has_collapsed({"active_units": active}, 40) is collapsed
    assert not has_collapsed({}, 40)


def test_the_parts_add_up_to_the_loss(prepare):
    run = prepare("VAESplit", anneal_cap=0.5, total_anneal_steps=0)
    run.model.train()
    loss = run.model.calculate_loss(interaction_of(run, users_of(run)))
    parts = run.model.monitored()
    assert parts["reconstruction"] + parts["beta"] * parts["kl"] == pytest.approx(loss.item(), rel=1e-5)
    run.model.eval()
    run.model.calculate_loss(interaction_of(run, users_of(run)))
    assert set(run.model.monitored()) == {"beta"}, "only training is watched"


def test_log_and_tensorboard_show_them(prepare, caplog):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = prepare("VAETwin", epochs=2)
    with caplog.at_level(logging.INFO):
        run.trainer.fit(run.train, run.valid, saved=False)
    lines = [message for message in caplog.messages if "training" in message]
    assert len(lines) == 2
    assert all(word in lines[0] for word in ("users/s", "reconstruction", "kl", "beta", "active units"))
    folder = run.trainer.tensorboard.log_dir
    run.trainer.tensorboard.flush()
    events = EventAccumulator(folder).Reload()
    for name in ("reconstruction", "kl", "beta", "active_units"):
        values = [event.value for event in events.Scalars(f"Monitor/{name}")]
        assert len(values) == 2 and all(map(math.isfinite, values))


def test_a_collapsed_posterior_is_warned_of(prepare, caplog):
    run = prepare("VAESplit", anneal_cap=100.0, total_anneal_steps=0, epochs=40, learning_rate=0.01)
    with caplog.at_level(logging.WARNING):
        run.trainer.fit(run.train, saved=False)
    assert any(
        "posterior has collapsed" in message and "anneal_cap" in message for message in caplog.messages
    )
    assert not any("nan" in message for message in caplog.messages)
