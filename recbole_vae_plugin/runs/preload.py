"""What a run imports; the fork server of the workers imports this module once, for all of them."""

import contextlib

# what is wrong with them the workers say, which import them too
with contextlib.suppress(Exception):
    import recbole_vae_plugin  # registers the models
    import recbole_vae_plugin.integration.data.prepared
    import recbole_vae_plugin.runs.execution  # noqa: F401
