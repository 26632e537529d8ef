"""What a model notes of an epoch, for people: in the log's line, and in a warning."""

from __future__ import annotations

from recbole.utils import set_color

from recbole_vae_plugin.nn.monitor import has_collapsed


def with_monitored(line: str, users_per_second: float, monitored: dict[str, float]) -> str:
    """RecBole's line of an epoch, ``... [..., train loss: 1.0]``, with more between the brackets."""
    noted = {"users/s": f"{users_per_second:.0f}"} | {
        name.replace("_", " "): f"{value:.4g}" for name, value in monitored.items()
    }
    more = (f"{set_color(name, 'blue')}: {text}" for name, text in noted.items())
    return ", ".join([line.removesuffix("]"), *more]) + "]"


def collapse_warning(monitored: dict[str, float], latent_dimension: int) -> str | None:
    """What to say of a posterior that has collapsed; ``None`` where it has not."""
    if not has_collapsed(monitored, latent_dimension):
        return None
    return (
        f"the posterior has collapsed: {monitored['active_units']} of {latent_dimension} latent units "
        "still vary over users; a smaller anneal_cap leaves more of them"
    )
