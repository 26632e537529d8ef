"""The shortlist never misses one of the best, whatever the weights, and changes no answer."""

from __future__ import annotations

import pytest
import torch
from bundles import small_bundle

from recbole_vae_plugin import Recommender
from recbole_vae_plugin.nn.interactions import Interactions
from recbole_vae_plugin.nn.linear import LINEAR_BRANCHES
from recbole_vae_plugin.serving import shortlist as shortlist_module
from recbole_vae_plugin.serving.shortlist import Shortlist

SHAPES = [(1, 1), (7, 5), (300, 64), (1000, 200), (3001, 601)]


def weights(n_items: int, width: int, kind: str) -> torch.Tensor:
    random = torch.Generator().manual_seed(n_items)
    drawn = torch.randn(n_items, width, generator=random)
    if kind == "heavy tails":
        return drawn.pow(5) * torch.logspace(-8, 3, n_items)[:, None]
    if kind == "zeros":
        drawn[::3] = 0
    if kind == "alike":
        drawn = drawn[:1] + 1e-3 * drawn
    return drawn


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "zeros", "alike"])
@pytest.mark.parametrize("shape", SHAPES)
def test_bounds_hold_and_the_best_are_among_the_candidates(shape, kind):
    weight = weights(*shape, kind)
    hidden = torch.randn(1, shape[1], generator=torch.Generator().manual_seed(1))
    offset = torch.linspace(0, weight.std(correction=0).item(), shape[0])
    offset[::4] = -torch.inf
    exact = (weight.double() @ hidden[0].double()).float()
    shortlist = Shortlist(weight)
    scores, error = shortlist.bounds(hidden)
    assert ((scores - exact).abs() <= error).all()
    for k in (1, 10, shape[0]):
        k = min(k, shape[0])
        candidates = shortlist.candidates(hidden, offset, k)
        kth_best = (exact + offset).topk(k).values[-1]
        wanted = (exact + offset > kth_best).nonzero().flatten()
        assert torch.isin(wanted, candidates).all()
        assert len(candidates) >= k


def test_few_candidates_are_left():
    hidden = torch.randn(1, 601, generator=torch.Generator().manual_seed(1))
    candidates = Shortlist(weights(3001, 601, "normal")).candidates(hidden, torch.zeros(3001), 10)
    assert len(candidates) < 100


@pytest.mark.parametrize(
    "settings",
    [{}, {"linear_branch": "ease"}, {"linear_branch": "sparse_ease"}],
    ids=["plain", "linear", "sparse"],
)
def test_no_answer_changes(settings, monkeypatch):
    bundle = small_bundle(items=500, **settings)
    if settings:
        generator = torch.Generator().manual_seed(2)
        pairs = (
            torch.randint(100, (2000,), generator=generator),
            torch.randint(501, (2000,), generator=generator),
        )
        linear, keys = bundle.network.linear, {"linear_reg_weight": 1.0}
        linear.fit(Interactions(*pairs, 100, 501), LINEAR_BRANCHES.read(settings["linear_branch"], keys))
    histories = [[f"i{user}", f"i{2 * user + 1}", "i7"] for user in range(40)]
    options = {"with_scores": True, "exclude": ["i3"], "allow": [f"i{item}" for item in range(400)]}
    expected = Recommender(bundle).recommend(histories, **options)
    monkeypatch.setattr(shortlist_module, "MIN_WEIGHTS", 0)
    by_shortlist = Recommender(bundle)
    for history, wanted in zip(histories, expected):
        found = by_shortlist.recommend(history, **options)
        assert [item for item, _ in found] == [item for item, _ in wanted]
        assert [score for _, score in found] == pytest.approx([score for _, score in wanted], abs=1e-6)
    assert len(by_shortlist.recommend(["i1"], k=10_000)) == 499
    assert "_shortlist" in vars(by_shortlist)


def test_small_layers_go_without():
    assert Shortlist.of(torch.zeros(10, 10)) is None
