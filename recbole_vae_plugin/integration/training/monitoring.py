"""Log what a model has monitored during an epoch, and warn about posterior collapse."""

from __future__ import annotations

from recbole.utils import set_color

from recbole_vae_plugin.nn.monitor import has_collapsed


def with_monitored(line: str, users_per_second: float, monitored: dict[str, float]) -> str:
    """Add values to RecBole's log line of an epoch, ``... [..., train loss: 1.0]``."""
    values = {"users/s": f"{users_per_second:.0f}"} | {
        name.replace("_", " "): f"{value:.4g}" for name, value in monitored.items()
    }
    entries = (f"{set_color(name, 'blue')}: {text}" for name, text in values.items())
    return ", ".join([line.removesuffix("]"), *entries]) + "]"


def collapse_warning(monitored: dict[str, float], latent_dimension: int) -> str | None:
    """A warning if the posterior has collapsed; otherwise ``None``."""
    if not has_collapsed(monitored, latent_dimension):
        return None
    return (
        f"the posterior has collapsed: {monitored['active_units']} of {latent_dimension} latent units "
        "still vary across users; a smaller anneal_cap keeps more of them active"
    )
