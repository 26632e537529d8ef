"""The decoder in closed form against dense computations in float64, and row-wise Adam against a dense one."""

from __future__ import annotations

import math

import pytest
import torch

from recbole_vae_plugin.nn.averaging import WeightAverage
from recbole_vae_plugin.nn.closed_form import ClosedForm
from recbole_vae_plugin.nn.heads import Posterior
from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.nn.layers import InputLayer, OutputLayer
from recbole_vae_plugin.nn.row_adam import RowAdam
from recbole_vae_plugin.testing.contract import assert_same_weights, fit

ITEMS, USERS, D, RIDGE, MEMORY = 30, 50, 4, 7.0, 0.5
CLOSED = {
    "loss_type": "MSE",
    "decoder": "closed_form",
    "decoder_hidden_size": [],
    "decoder_ridge": 1.0,
    "anneal_cap": 0.01,
}


def rows_of(dense: torch.Tensor) -> Rows:
    offsets = torch.cat([torch.zeros(1), dense.sum(1).cumsum(0)]).long()
    items = dense.nonzero()[:, 1]
    return Rows(items, offsets, torch.ones(len(items)), dense.shape[1])


def drawn_batches(sizes, variational=True):
    """Dense histories, float64, with a posterior for each user."""
    generator = torch.Generator().manual_seed(0)
    for size in sizes:
        x = (torch.rand(size, ITEMS, generator=generator) < 0.2).double()
        mu, logvar = torch.randn(2, size, D, generator=generator)
        yield x, Posterior(mu, logvar - 1 if variational else None)


def closed_form(ridge=RIDGE, interval=1) -> ClosedForm:
    return ClosedForm(ITEMS, USERS, D, ridge, MEMORY, interval)


def fed(decoder: ClosedForm, batches) -> ClosedForm:
    for x, posterior in batches:
        decoder.add(decoder.encoded(posterior, rows_of(x)))
    return decoder


def decoder_for(sizes, variational=True, **settings) -> ClosedForm:
    return fed(closed_form(**settings), drawn_batches(sizes, variational))


def weights_of(decoder: ClosedForm) -> tuple[torch.Tensor, torch.Tensor]:
    output = OutputLayer(D, ITEMS).requires_grad_(False).to(decoder.histories.dtype)
    decoder.write_to(output)
    return output.weight.double(), output.bias.double()


@pytest.mark.parametrize("variational", [True, False])
@pytest.mark.parametrize("interval", [1, 3])
def test_the_decoder_is_the_ridge_regression_of_histories_on_latents(variational, interval):
    sizes = [20, 5, 30, 11, 8, 20, 3]
    weight, bias = weights_of(decoder_for(sizes, variational, interval=interval))

    # as least squares: a row for each user, for each standard deviation of a code, and for each ridge
    newer, coefficients, targets = 0, [], []
    total = 0.0
    for x, posterior in reversed(list(drawn_batches(sizes, variational))):
        newer += len(x)
        root = math.exp(-newer / (MEMORY * USERS)) ** 0.5
        total += len(x) * root**2
        ones = torch.ones(len(x), 1)
        coefficients.append(root * torch.cat([posterior.mu, ones], 1).double())
        targets.append(root * x)
        if variational:
            deviations = torch.diag_embed((0.5 * posterior.logvar).exp()).flatten(0, 1).double()
            deviations = torch.cat([deviations, torch.zeros(len(deviations), 1)], 1)
            coefficients.append(root * deviations)
            targets.append(torch.zeros(len(deviations), ITEMS, dtype=torch.float64))
    coefficients.append((RIDGE / USERS * total) ** 0.5 * torch.eye(D + 1, dtype=torch.float64))
    targets.append(torch.zeros(D + 1, ITEMS, dtype=torch.float64))
    expected = torch.linalg.lstsq(torch.cat(coefficients), torch.cat(targets)).solution.T
    torch.testing.assert_close(weight, expected[:, :-1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(bias, expected[:, -1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variational", [True, False])
def test_the_loss_is_the_expected_squared_error_of_all_items(variational):
    decoder = decoder_for([20, 30], variational).double()
    weight, bias = weights_of(decoder)
    ((x, posterior),) = drawn_batches([6], variational)
    mu = posterior.mu.double().requires_grad_()
    logvar = posterior.logvar.double().requires_grad_() if variational else None
    inputs = [mu] if logvar is None else [mu, logvar]

    errors = (x - mu @ weight.T - bias).square().sum(1)
    if logvar is not None:
        # the variance of a score is the sum of w_j^2 sigma_j^2
        errors = errors + logvar.exp() @ weight.square().sum(0)
    expected = 0.5 * errors.mean()
    loss = decoder.loss(decoder.encoded(Posterior(mu, logvar), rows_of(x)))
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)
    gradients = torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs)
    for here, there in zip(*gradients, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-9, atol=1e-12)

    def of(mu, logvar=None):
        return decoder.loss(decoder.encoded(Posterior(mu, logvar), rows_of(x)))

    assert torch.autograd.gradcheck(of, inputs)


def test_the_expectation_is_the_mean_over_samples():
    decoder = decoder_for([20, 30])
    weight, bias = weights_of(decoder)
    ((x, posterior),) = drawn_batches([6])
    samples = torch.stack(
        [(x - posterior.sample().double() @ weight.T - bias).square().sum(1).mean() / 2 for _ in range(4000)]
    )
    loss = decoder.loss(decoder.encoded(posterior, rows_of(x)))
    assert abs(loss - samples.mean()) < 4 * samples.std() / 4000**0.5


def test_weights_of_users_only_matter_relative_to_each_other():
    """After thousands of steps the sums are rescaled; the solution is that of the last users."""
    long, short = decoder_for([25] * 2000), decoder_for([25] * 2000)
    assert long.unit <= 1e6 * math.exp(1) and long.mass.isfinite()
    for here, there in zip(weights_of(long), weights_of(short), strict=True):
        torch.testing.assert_close(here, there)
    forgetful = closed_form()
    fed(forgetful, list(drawn_batches([25] * 2000))[-40:])  # what came before weighs exp(-40)
    for here, there in zip(weights_of(long), weights_of(forgetful), strict=True):
        torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-4)


def test_the_gram_matrix_is_kept_up_without_a_pass_over_the_items():
    decoder = decoder_for([20, 5, 30, 11] * 10, interval=4)
    kept = decoder.gram.clone()
    histories = decoder.histories.double()
    torch.testing.assert_close(kept, histories.T @ histories, rtol=1e-5, atol=1e-5)
    weights_of(decoder)
    torch.testing.assert_close(decoder.gram, histories.T @ histories, rtol=1e-5, atol=1e-5)


def test_half_precision_reaches_neither_the_sums_nor_the_loss():
    plain, mixed = decoder_for([20, 30]), closed_form()
    ((x, posterior),) = drawn_batches([6])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fed(mixed, drawn_batches([20, 30]))
        loss = mixed.loss(mixed.encoded(posterior, rows_of(x)))
    for (name, here), there in zip(mixed.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(here, there), name
    assert loss == plain.loss(plain.encoded(posterior, rows_of(x)))


def test_a_loaded_state_is_the_decoder_of_the_next_loss():
    first, second = decoder_for([20, 30]), decoder_for([7])
    ((x, posterior),) = drawn_batches([6])
    losses = [each.loss(each.encoded(posterior, rows_of(x))) for each in (first, second)]
    second.load_state_dict(first.state_dict())
    assert losses[1] != losses[0] == second.loss(second.encoded(posterior, rows_of(x)))


def test_without_a_ridge_codes_that_span_too_little_are_refused():
    with pytest.raises(ValueError, match="decoder_ridge is too small"):
        decoder_for([2], variational=False, ridge=0.0)


def dense_row_adam(weights, gradients, lr, beta2, eps):
    """The same by its definition, over all rows, in float64."""
    moments = torch.zeros(len(weights), dtype=torch.float64)
    weights = weights.double()
    for step, gradient in enumerate(gradients, start=1):
        gradient = gradient.double()
        moments = beta2 * moments + (1 - beta2) * gradient.square().mean(1)
        scale = (moments / (1 - beta2**step)).sqrt() + eps
        weights = weights - lr * gradient / scale[:, None]
    return weights


@pytest.mark.parametrize("sparse", [True, False])
def test_row_adam_equals_its_dense_definition(sparse):
    torch.manual_seed(0)
    layer = InputLayer(ITEMS, 5)
    torch.nn.init.normal_(layer.weight), torch.nn.init.zeros_(layer.bias)
    layer.sparse_gradient = sparse
    start = layer.weight.detach().clone()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, betas=(0.9, 0.9))
    RowAdam(optimizer, [layer.weight])
    targets, gradients = torch.randn(9, 6, 5), []
    for target, (x, _) in zip(targets, drawn_batches([6] * 9)):
        before = layer.weight.detach().clone().requires_grad_()
        loss = (layer(rows_of(x)) - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        dense = (x.float() @ before + layer.bias.detach() - target).square().sum()
        gradients.append(torch.autograd.grad(dense, before)[0])
        assert layer.weight.grad.is_sparse == sparse
        optimizer.step()
        untouched = x.sum(0) == 0
        assert untouched.any() and torch.equal(layer.weight[untouched], before[untouched])
    expected = dense_row_adam(start, gradients, 0.1, 0.9, 1e-8)
    torch.testing.assert_close(layer.weight.double(), expected, rtol=1e-4, atol=1e-5)


def test_row_adam_steps_over_a_weight_nobody_has():
    layer = InputLayer(ITEMS, 5)
    torch.nn.init.normal_(layer.weight), torch.nn.init.zeros_(layer.bias)
    layer.sparse_gradient = True
    optimizer = torch.optim.Adam(layer.parameters())
    RowAdam(optimizer, [layer.weight])
    before = layer.weight.detach().clone()
    layer(rows_of(torch.zeros(2, ITEMS))).sum().backward()
    optimizer.step()
    assert torch.equal(layer.weight, before)


def test_averages_by_row_are_those_of_every_step():
    torch.manual_seed(0)
    layer = InputLayer(ITEMS, 5)
    torch.nn.init.normal_(layer.weight), torch.nn.init.zeros_(layer.bias)
    layer.sparse_gradient = True
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    row_adam = RowAdam(optimizer, [layer.weight])
    weights = list(layer.parameters())
    lazy, dense = WeightAverage(weights, 0.8, [layer.weight]), WeightAverage(weights, 0.8)
    row_adam.before_update = lazy.catch_up
    for step, (x, _) in enumerate(drawn_batches([2] * 40)):
        optimizer.zero_grad()
        layer(rows_of(x)).square().sum().backward()
        optimizer.step()
        lazy.update(), dense.update()
        if step % 15 == 0:
            with lazy.in_place():
                pass
    lazy.swap(), lazy.swap()
    for here, there in zip(lazy.averages, dense.averages):
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-6)


def test_only_the_encoder_is_trained_by_the_optimizer(prepare):
    run = prepare("VAESplit", **CLOSED)
    assert not run.model.network.output.weight.requires_grad
    fit(run, epochs=1)
    assert not run.model.network.output.weight.requires_grad
    assert run.model.network.output.weight not in run.trainer.optimizer.state
    assert run.model.closed_form.steps == len(run.train)


@pytest.mark.parametrize(
    "more",
    [{"learner": "adamw"}, {"learner": "sgd"}, {"weight_decay": 0.01}, {"clip_grad_norm": {"max_norm": 1}}],
)
def test_other_optimizers_and_clipping_work(prepare, more):
    losses = fit(prepare("DAE", **{**CLOSED, "anneal_cap": 0}, **more), epochs=8)
    assert losses[-1] < losses[0]


def test_resuming_in_the_middle_of_averages_and_forgetting(prepare):
    variant = {**CLOSED, "ema_decay": 0.8, "decoder_interval": 3, "decoder_memory": 0.3}
    straight = prepare("VAETwin", **variant)
    torch.manual_seed(3)
    fit(straight, epochs=4)
    stopped = prepare("VAETwin", **variant)
    torch.manual_seed(3)
    fit(stopped, epochs=2)
    resumed = prepare("VAETwin", **variant)
    resumed.trainer.resume_checkpoint(stopped.trainer.saved_model_file)
    fit(resumed, epochs=4)
    assert_same_weights(resumed.model, straight.model)


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("decoder", "gradient", "decoder: closed_form in the checkpoint, gradient in this run"),
        ("learner", "adamw", "learner: adam in the checkpoint, adamw in this run"),
        ("weight_decay", 0.1, "weight_decay: 0.0 in the checkpoint, 0.1 in this run"),
    ],
)
def test_resuming_with_another_decoder_or_optimizer_is_refused(prepare, key, value, message):
    run = prepare("VAESplit", **CLOSED)
    fit(run, epochs=1)
    other = prepare("VAESplit", **{**CLOSED, key: value})
    with pytest.raises(ValueError, match=message):
        other.trainer.resume_checkpoint(run.trainer.saved_model_file)


@pytest.mark.parametrize(
    "key, value, allowed",
    [
        ("loss_type", "CE", "MSE with decoder closed_form"),
        ("decoder_hidden_size", [16], r"\[\] with decoder closed_form"),
        ("decoder_hidden_size", None, r"\[\] with decoder closed_form"),
        ("alternating_updates", [3, 1], "~ with decoder closed_form"),
        ("decoder", "newton", "gradient, closed_form"),
        ("decoder_ridge", -1, "at least 0"),
        ("decoder_memory", 0, "at least 0.1"),
        ("decoder_interval", 0, "at least 1"),
    ],
)
def test_what_has_no_closed_form_is_refused_by_name(prepare, key, value, allowed):
    with pytest.raises(ValueError, match=rf"{key}: got .*; allowed: .*{allowed}"):
        prepare("VAESplit", **{**CLOSED, key: value})
