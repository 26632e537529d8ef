"""The plain-torch parts against independent computations, in float64 where numbers are compared."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Bernoulli, Multinomial, Normal
from torch.distributions import kl_divergence as torch_kl

from recbole_vae_plugin.nn.denoising import DropoutDenoising, GaussianDenoising, NoDenoising
from recbole_vae_plugin.nn.encoders import DenselyConnected, gated
from recbole_vae_plugin.nn.heads import DeterministicHead, Posterior, SplitHead, TwinHead
from recbole_vae_plugin.nn.interactions import Interactions
from recbole_vae_plugin.nn.kl import kl_divergence, linear_annealing
from recbole_vae_plugin.nn.layers import ACTIVATIONS, InputLayer, OutputLayer, hidden_layers
from recbole_vae_plugin.nn.likelihoods import LIKELIHOODS, reconstruction_loss
from recbole_vae_plugin.nn.sampled_softmax import sampled_multinomial_loss

N_ITEMS = 9


@pytest.fixture
def interactions():
    """Four users: 0 has nothing, 2 has a pair twice, and pairs come in no order."""
    users = torch.tensor([3, 1, 2, 2, 1, 2, 3, 1])
    items = torch.tensor([8, 4, 5, 5, 0, 1, 2, 7])
    return Interactions(users, items, n_users=4, n_items=N_ITEMS)


@pytest.fixture
def rows(interactions):
    rows = interactions.rows(torch.tensor([3, 0, 1, 1, 2]))
    return rows.with_values(rows.values.double())


@pytest.fixture
def dense():
    expected = torch.zeros(5, N_ITEMS, dtype=torch.float64)
    for row, items in enumerate([[2, 8], [], [0, 4, 7], [0, 4, 7], [1, 5]]):
        expected[row, items] = 1
    return expected


def test_rows_are_the_histories(interactions, rows, dense):
    assert torch.equal(rows.to_dense(), dense)
    assert torch.equal(rows.counts, dense.sum(1).long())
    assert len(interactions.items) == 7, "a repeated pair counts once"


@pytest.mark.parametrize("users, items", [([4], [0]), ([-1], [0]), ([0], [N_ITEMS])])
def test_ids_out_of_range_are_refused(users, items):
    with pytest.raises(ValueError, match="ids must lie in"):
        Interactions(torch.tensor(users), torch.tensor(items), n_users=4, n_items=N_ITEMS)


def test_histories_are_data_and_not_weights(interactions):
    assert interactions.state_dict() == {}


def test_sparse_input_layer_is_a_linear_layer(rows, dense):
    values = torch.rand(len(rows.items), dtype=torch.float64)
    layer = InputLayer(N_ITEMS, 6).double()
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    linear = nn.Linear(N_ITEMS, 6).double()
    linear.load_state_dict({"weight": layer.weight.T, "bias": layer.bias})
    dense[rows.row_index, rows.items] = values

    sparse_out, dense_out = layer(rows.with_values(values)), linear(dense)
    torch.testing.assert_close(sparse_out, dense_out)
    torch.testing.assert_close(layer(dense), dense_out)

    towards = torch.randn_like(dense_out)
    (sparse_out * towards).sum().backward()
    (dense_out * towards).sum().backward()
    torch.testing.assert_close(layer.weight.grad, linear.weight.grad.T)
    torch.testing.assert_close(layer.bias.grad, linear.bias.grad)


def test_output_layer_scores_single_items():
    layer = OutputLayer(4, N_ITEMS)
    hidden, items = torch.randn(6, 4), torch.randint(N_ITEMS, (6,))
    torch.testing.assert_close(layer(hidden, items), layer(hidden)[torch.arange(6), items])


def test_densely_connected_layers_add_up_all_earlier_ones(rows, dense):
    encoder = DenselyConnected([N_ITEMS, 6, 6, 6], "silu").double()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter)

    def activated(number, values):
        norm = encoder.norms[number]
        return F.layer_norm(F.silu(values), (6,), norm.weight, norm.bias)

    first = activated(0, dense @ encoder.first.weight + encoder.first.bias)
    second = activated(1, encoder.others[0](first) + first)
    third = activated(2, encoder.others[1](second) + first + second)
    torch.testing.assert_close(encoder(rows), third)


def test_gated_layers_multiply_by_their_gates(rows, dense):
    encoder = gated([N_ITEMS, 6, 4], "none").double()
    for weight in encoder.parameters():  # the first layer's are not set before a network's are
        nn.init.normal_(weight)
    first, second = encoder
    hidden = (dense @ first.values.weight + first.values.bias) * torch.sigmoid(
        dense @ first.gates.weight + first.gates.bias
    )
    expected = second.values(hidden) * torch.sigmoid(second.gates(hidden))
    torch.testing.assert_close(encoder(rows), expected)
    assert len(gated([N_ITEMS], "none")) == 0


def test_hidden_layers_activate_each_layer():
    for name, activation in ACTIVATIONS.items():
        layers = hidden_layers([3, 5, 2], name)
        assert [type(layer) for layer in layers] == [nn.Linear, activation, nn.Linear, activation]
    assert len(hidden_layers([3], "tanh")) == 0


def test_denoising_normalises_first(rows, dense):
    expected = nn.functional.normalize(dense)
    for denoising in (NoDenoising(), DropoutDenoising(0.5).eval(), GaussianDenoising(0.3).eval()):
        torch.testing.assert_close(denoising(rows).to_dense(), expected)


def test_dropout_keeps_the_expectation_and_the_zeros(rows, dense):
    torch.manual_seed(0)
    denoising = DropoutDenoising(0.3)
    draws = torch.stack([denoising(rows).to_dense() for _ in range(2000)])
    normalised = nn.functional.normalize(dense)
    assert (draws[:, dense == 0] == 0).all()
    kept = draws[:, dense == 1] / normalised[dense == 1]
    torch.testing.assert_close(kept[kept != 0], torch.full_like(kept[kept != 0], 1 / 0.7))
    assert (kept == 0).double().mean().item() == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(draws.mean(0), normalised, atol=0.05, rtol=0)


def test_dropped_entries_are_gone_and_not_zeros_to_carry_along(rows, dense):
    torch.manual_seed(0)
    dropped = DropoutDenoising(0.5)(rows)
    torch.manual_seed(0)
    values = nn.functional.dropout(rows.l2_normalised().values, 0.5)
    assert 0 < len(dropped.items) == (values != 0).sum() < len(rows.items)
    torch.testing.assert_close(dropped.to_dense(), rows.with_values(values).to_dense())
    assert dropped.counts.tolist() == (dropped.to_dense() != 0).sum(1).tolist()


def test_gaussian_noise_is_added_before_normalising(rows, dense):
    torch.manual_seed(0)
    noisy = GaussianDenoising(0.2)(rows)
    torch.manual_seed(0)
    expected = nn.functional.normalize(dense + 0.2 * torch.randn_like(dense))
    torch.testing.assert_close(noisy, expected)
    assert GaussianDenoising(0.0)(rows).items is rows.items, "no noise, no dense rows"


def test_sampled_normaliser_is_unbiased(rows, output):
    """exp((loss of a user + score sum) / count) estimates the user's normaliser."""
    hidden, weight, bias = (tensor.detach() for tensor in output)
    user = rows.slice(2, 3)
    scores = hidden[2] @ weight.T + bias
    taken = scores[user.items].sum()
    torch.manual_seed(0)
    draws = torch.stack(
        [sampled_multinomial_loss(hidden[2:3], weight, bias, user, samples=6) for _ in range(4000)]
    )
    normalisers = ((draws + taken) / user.counts).exp()
    assert normalisers.std() > 0
    assert normalisers.mean().item() == pytest.approx(scores.exp().sum().item(), rel=0.02)


def test_sampling_everything_is_the_exact_loss(rows, output):
    some = rows.slice(2, 5)
    output = [output[0][2:], *output[1:]]
    torch.manual_seed(0)
    sampled = sampled_multinomial_loss(*output, some, samples=1000)
    exact = reconstruction_loss(*output, some, LIKELIHOODS["CE"])
    torch.testing.assert_close(sampled, exact)
    gradients = (torch.autograd.grad(loss, output) for loss in (sampled, exact))
    for gradient, reference in zip(*gradients):
        torch.testing.assert_close(gradient, reference)


def log_probability(scores, dense, loss_type):
    """log p(x | s) of each user by torch.distributions, without the constants."""
    if loss_type == "MSE":
        constant = Normal(0.0, 1.0).log_prob(torch.zeros((), dtype=torch.float64))
        return (Normal(scores, 1.0).log_prob(dense) - constant).sum(1)
    if loss_type == "BCE":
        return Bernoulli(logits=scores).log_prob(dense).sum(1)
    users = []
    for logits, history in zip(scores, dense):
        count = int(history.sum())
        coefficient = torch.lgamma(torch.tensor(count + 1.0, dtype=torch.float64))
        users.append(
            Multinomial(count, logits=logits).log_prob(history) - coefficient if count else 0 * logits.sum()
        )
    return torch.stack(users)


@pytest.fixture
def output():
    """Hidden states of five users and an output layer."""
    shapes = (5, 3), (N_ITEMS, 3), (N_ITEMS,)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("loss_type", LIKELIHOODS)
@pytest.mark.parametrize("budget", [10**9, 2 * N_ITEMS, 1], ids=["whole", "two users", "one user"])
def test_reconstruction_against_torch_distributions(rows, dense, output, loss_type, budget):
    loss = reconstruction_loss(*output, rows, LIKELIHOODS[loss_type], budget)
    scores = output[0] @ output[1].T + output[2]
    expected = -log_probability(scores, dense, loss_type).mean()
    torch.testing.assert_close(loss, expected)

    gradients = torch.autograd.grad(3 * loss, output)
    for gradient, reference in zip(gradients, torch.autograd.grad(3 * expected, output)):
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize("loss_type", LIKELIHOODS)
def test_reconstruction_with_parts_that_need_no_gradient(rows, output, loss_type):
    output[1].requires_grad_(False)
    reconstruction_loss(*output, rows, LIKELIHOODS[loss_type]).backward()
    assert output[1].grad is None and output[0].grad is not None
    with torch.no_grad():
        assert not reconstruction_loss(*output, rows, LIKELIHOODS[loss_type]).requires_grad


def test_reconstruction_says_that_it_can_be_differentiated_once(rows, output):
    loss = reconstruction_loss(*output, rows, LIKELIHOODS["CE"])
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        loss.backward()


@pytest.mark.parametrize("loss_type", LIKELIHOODS)
def test_reconstruction_in_bfloat16_is_near(rows, output, loss_type):
    output = [tensor.detach().float().requires_grad_() for tensor in output]
    exact = torch.autograd.grad(reconstruction_loss(*output, rows, LIKELIHOODS[loss_type]), output)
    with torch.autocast("cpu", torch.bfloat16):
        loss = reconstruction_loss(*output, rows, LIKELIHOODS[loss_type])
    assert loss.dtype == torch.float32
    for gradient, reference in zip(torch.autograd.grad(loss, output), exact):
        assert gradient.dtype == torch.float32
        torch.testing.assert_close(gradient, reference, atol=0.05, rtol=0.05)


def test_kl_against_torch_distributions():
    mu, logvar = torch.randn(7, 4, dtype=torch.float64), torch.randn(7, 4, dtype=torch.float64)
    expected = torch_kl(Normal(mu, (0.5 * logvar).exp()), Normal(torch.zeros_like(mu), 1.0)).sum(1)
    torch.testing.assert_close(kl_divergence(mu, logvar), expected)
    assert (kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3)) == 0).all()


def test_kl_keeps_its_sign_in_mixed_precision():
    layer = nn.Linear(8, 4)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    with torch.autocast("cpu", torch.bfloat16):
        mu = layer(torch.randn(100, 8))
        kl = kl_divergence(mu, 0.5 * mu)
        z = Posterior(mu, 0.5 * mu).sample()
    assert mu.dtype == torch.bfloat16 and kl.dtype == z.dtype == torch.float32
    assert (kl >= 0).all()
    torch.testing.assert_close(
        kl, kl_divergence(mu.double(), (0.5 * mu).double()).float(), rtol=1e-3, atol=1e-5
    )


def test_annealing_is_linear_up_to_its_cap():
    betas = [linear_annealing(torch.tensor(step), 100, 0.2).item() for step in (0, 5, 10, 20, 1000)]
    assert betas == pytest.approx([0, 0.05, 0.1, 0.2, 0.2])
    assert linear_annealing(torch.tensor(0), 0, 0.2).item() == pytest.approx(0.2)


def test_a_sample_has_the_moments_of_its_code():
    torch.manual_seed(0)
    mu, logvar = torch.full((200_000, 1), 3.0), torch.full((200_000, 1), 1.4)
    z = Posterior(mu, logvar).sample()
    assert z.mean().item() == pytest.approx(3.0, abs=0.02)
    assert z.var().item() == pytest.approx(torch.tensor(1.4).exp().item(), rel=0.02)
    assert Posterior(mu, None).sample() is mu


def test_heads_yield_the_stated_latent_size():
    hidden = torch.randn(3, 5)
    for head in (SplitHead, TwinHead):
        mu, logvar = head(5, 4, "tanh")(hidden)
        assert mu.shape == logvar.shape == (3, 4)
    mu, logvar = DeterministicHead(5, 4, "tanh")(hidden)
    assert mu.shape == (3, 4) and logvar is None and mu.abs().max() < 1


def test_plain_torch_parts_import_no_recbole():
    # torch loads the plugin by itself, which must not drag RecBole in either
    code = (
        "import sys, pkgutil, importlib, recbole_vae_plugin.nn as nn\n"
        "[importlib.import_module(f'{nn.__name__}.{m.name}') for m in pkgutil.iter_modules(nn.__path__)]\n"
        "sys.exit('recbole.model' in sys.modules or 'recbole' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_rows_are_compared_by_identity_and_by_entries():
    users, items = torch.tensor([0, 0, 1]), torch.tensor([1, 2, 0])
    interactions = Interactions(users, items, 2, 3)
    one, other = (interactions.rows(torch.tensor([0, 1])) for _ in range(2))
    assert one == one and one != other and one.equal(other)
    assert len({one, other, one}) == 2
    assert {one: "found"}[one] == "found"
