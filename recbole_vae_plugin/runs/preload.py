"""What a run imports; the fork server of the workers imports this module once, for all of them."""

import contextlib

# a worker imports them again, and reports what is wrong
with contextlib.suppress(Exception):
    import torch._dynamo  # noqa: F401  which the first optimizer of a process imports

    import recbole_vae_plugin  # registers the models
    import recbole_vae_plugin.integration.data.prepared
    import recbole_vae_plugin.runs.execution  # noqa: F401
