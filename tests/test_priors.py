"""Priors against torch's distributions, and what an epoch trains of a network."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from recbole_vae_plugin.nn.heads import Posterior
from recbole_vae_plugin.nn.interactions import Interactions
from recbole_vae_plugin.nn.network import build_network
from recbole_vae_plugin.nn.priors import PRIORS, CompositePrior, StandardPrior, VampPrior
from recbole_vae_plugin.nn.settings import Settings
from recbole_vae_plugin.testing.contract import fit
from recbole_vae_plugin.testing.fixtures import interaction_of, users_of

ITEMS, D = 9, 4


@pytest.fixture
def network():
    torch.manual_seed(0)
    settings = Settings.from_config({"mlp_hidden_size": [6], "latent_dimension": D}, "TwinHead")
    built = build_network(settings, ITEMS).double()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter)
    return built


@pytest.fixture
def rows():
    items = torch.tensor([2, 8, 0, 4, 7, 1])
    rows = Interactions(torch.tensor([0, 0, 1, 1, 1, 2]), items, 3, ITEMS).rows(torch.arange(3))
    return rows.with_values(rows.values.double())


@pytest.fixture
def posterior():
    return Posterior(torch.randn(3, D, dtype=torch.float64), 0.3 * torch.randn(3, D, dtype=torch.float64))


def log_q(z, posterior):
    return Normal(posterior.mu, (0.5 * posterior.logvar).exp()).log_prob(z).sum(-1)


def test_composite_density_is_that_of_a_mixture_in_each_dimension(network, rows, posterior):
    prior = CompositePrior(network)
    z = posterior.sample()
    earlier = network.head(network.encoder(rows.l2_normalised()))
    means = torch.stack([torch.zeros(3, D), earlier.mu, torch.zeros(3, D)], -1)
    stds = torch.stack([torch.ones(3, D), (0.5 * earlier.logvar).exp(), torch.full((3, D), 5.0).exp()], -1)
    shares = Categorical(torch.tensor([0.15, 0.75, 0.1], dtype=torch.float64))
    mixture = MixtureSameFamily(shares, Normal(means.double(), stds.double()))
    expected = log_q(z, posterior) - mixture.log_prob(z).sum(-1)
    torch.testing.assert_close(prior.kl(z, posterior, rows, network), expected)


def test_the_earlier_encoder_stays_until_it_is_told(network, rows, posterior):
    prior = CompositePrior(network)
    z = posterior.sample()
    before = prior.kl(z, posterior, rows, network)
    with torch.no_grad():
        network.head.mu.bias += 1
    torch.testing.assert_close(prior.kl(z, posterior, rows, network), before)
    prior.end_of_encoder_updates(network)
    assert not torch.allclose(prior.kl(z, posterior, rows, network), before)
    assert not any(parameter.requires_grad for parameter in prior.parameters())


def test_vamp_density_is_that_of_a_mixture_of_posteriors(network, rows, posterior):
    prior = VampPrior(network, 5).double()
    torch.nn.init.normal_(prior.histories, 0.5, 1.0)
    z = posterior.sample()
    learnt = network.head(network.encoder(F.normalize(prior.histories.clamp(0, 1))))
    parts = Independent(Normal(learnt.mu, (0.5 * learnt.logvar).exp()), 1)
    mixture = MixtureSameFamily(Categorical(torch.ones(5, dtype=torch.float64)), parts)
    kl = prior.kl(z, posterior, rows, network)
    torch.testing.assert_close(kl, log_q(z, posterior) - mixture.log_prob(z))
    kl.sum().backward()
    assert prior.histories.grad.abs().sum() > 0 and network.head.mu.weight.grad.abs().sum() > 0


def test_vamp_density_keeps_float32_under_autocast(network, rows, posterior):
    """It is a difference of large numbers: narrow components far from nothing."""
    network, prior = network.float(), VampPrior(network, 5)
    with torch.no_grad():
        network.head.logvar.weight.zero_(), network.head.logvar.bias.fill_(-6.0)
    z = torch.randn(3, D)
    rows, posterior = rows.with_values(rows.values.float()), Posterior(*(part.float() for part in posterior))
    with torch.autocast("cpu", torch.bfloat16):
        learnt = network.head(network.encoder(F.normalize(prior.histories.clamp(0, 1))))
        found = prior.kl(z, posterior, rows, network)
    parts = Independent(Normal(learnt.mu.float(), (0.5 * learnt.logvar.float()).exp()), 1)
    mixture = MixtureSameFamily(Categorical(torch.ones(5)), parts)
    torch.testing.assert_close(found, log_q(z, posterior) - mixture.log_prob(z), rtol=1e-4, atol=1e-2)


def test_estimates_come_near_the_exact_term(network, rows, posterior):
    """A Vamp prior whose only posterior is N(0, 1) is the standard one."""
    with torch.no_grad():
        for layer in (network.head.mu, network.head.logvar):
            layer.weight.zero_(), layer.bias.zero_()
    vamp = VampPrior(network, 1).double()
    exact = StandardPrior(network).kl(posterior.mu, posterior, rows, network)
    many = Posterior(*(part.repeat(5000, 1) for part in posterior))
    samples = vamp.kl(many.sample(), many, rows, network).detach().view(5000, 3)
    torch.testing.assert_close(samples.mean(0), exact, rtol=0, atol=0.15)


@pytest.mark.parametrize("prior", PRIORS)
def test_only_training_has_a_use_for_a_prior(prepare, prior):
    run = prepare("VAESplit", prior=prior, prior_components=3)
    fit(run, epochs=1)
    run.model.eval()
    batch = interaction_of(run, users_of(run))
    scores = run.model.full_sort_predict(batch)
    for parameter in run.model.prior.parameters():
        torch.nn.init.normal_(parameter)
    assert torch.equal(run.model.full_sort_predict(batch), scores)


@pytest.mark.parametrize(
    "keys, difference",
    [
        ({"prior": "standard"}, "prior: vamp in the checkpoint, standard in this run"),
        ({"prior_components": 4}, "prior_components: 3 in the checkpoint, 4 in this run"),
        (
            {"prior": "VAMP", "prior_components": 4},
            "prior_components: 3 in the checkpoint, 4 in this run",
        ),
    ],
)
def test_resuming_with_another_prior_is_refused(prepare, keys, difference):
    vamp = {"prior": "vamp", "prior_components": 3}
    run = prepare("VAESplit", **vamp)
    fit(run, epochs=1)
    with pytest.raises(ValueError, match=f": {difference}$"):
        prepare("VAESplit", **vamp | keys).trainer.resume_checkpoint(run.trainer.saved_model_file)


@pytest.mark.parametrize("sizes", [[], [32, 16]])
def test_densely_connected_layers_of_other_widths_are_refused(prepare, sizes):
    with pytest.raises(ValueError, match="mlp_hidden_size: got .*; allowed: .* layers of equal width"):
        prepare("VAESplit", encoder="dense", mlp_hidden_size=sizes)


def parts_of(model) -> dict[str, torch.Tensor]:
    network = model.network
    parts = {"encoder": (network.encoder, network.head), "decoder": (network.decoder, network.output)}
    return {
        name: torch.cat([weight.detach().flatten() for module in modules for weight in module.parameters()])
        for name, modules in parts.items()
    }


def test_alternating_updates_train_one_part_at_a_time(prepare, monkeypatch):
    run = prepare("VAESplit", alternating_updates=[2, 1], train_batch_size=100, dropout_prob=0.5)
    seen = []
    loss = run.model.calculate_loss
    noise = run.model.network.denoising

    def watched(interaction):
        noisy = []
        hook = noise.register_forward_hook(lambda *_: noisy.append(True))
        result = loss(interaction)
        hook.remove()
        seen.append((parts_of(run.model), bool(noisy)))
        return result

    monkeypatch.setattr(run.model, "calculate_loss", watched)
    fit(run, epochs=2)
    seen.append((parts_of(run.model), None))
    changed = [
        tuple(name for name in before if not torch.equal(before[name], after[name]))
        for (before, _), (after, _) in zip(seen, seen[1:])
    ]
    assert changed == [("encoder",), ("encoder",), ("decoder",)] * 2
    assert [noisy for _, noisy in seen[:-1]] == [True, True, False] * 2
    assert run.model.network.noisy and all(weight.requires_grad for weight in run.model.parameters())


def test_the_composite_prior_remembers_the_encoder_of_the_epoch_before(prepare, monkeypatch):
    run = prepare("VAESplit", prior="composite", train_batch_size=100)
    begun = copy.deepcopy(run.model.prior.earlier.state_dict())
    fit(run, epochs=1)
    now = run.model.prior.earlier.state_dict()
    assert not torch.equal(begun["head.both.weight"], now["head.both.weight"])
    assert torch.equal(now["head.both.weight"], run.model.network.head.both.weight)
