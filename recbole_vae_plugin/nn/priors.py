"""What codes are expected to look like: the `prior` axis.

The KL term is exact for N(0, 1), and for the others the estimate log q(z|x) - log p(z) from the sample z
that is decoded. Only training has a use for a prior.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_vae_plugin.nn.autoencoder import AutoEncoder
from recbole_vae_plugin.nn.heads import Code
from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.nn.kl import at_least_float32, kl_divergence
from recbole_vae_plugin.settings.keys import setting
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import Integer

#: Name -> class of a :class:`Prior`, built with the network and its own settings.
PRIORS: Registry[type[Prior]] = Registry("prior", key="prior")
register_prior = PRIORS.register


def log_normal(z: Tensor, mu: Tensor | float, logvar: Tensor | float) -> Tensor:
    """The log-density of N(mu, exp(logvar)) in each dimension, broadcast like its arguments."""
    logvar = torch.as_tensor(logvar, dtype=z.dtype, device=z.device)
    return -0.5 * (math.log(2 * math.pi) + logvar + (z - mu).square() * torch.exp(-logvar))


class Prior(nn.Module):
    """What codes are expected to look like.

    Args:
        network: the one whose codes are judged; it is read, not kept.
    """

    def __init__(self, network: AutoEncoder):
        super().__init__()

    def kl(self, z: Tensor, code: Code, rows: Rows, network: AutoEncoder) -> Tensor:
        """KL(q(z|x) || p(z)) of each user, in nats: float ``[B]``.

        Args:
            z: ``[B, d]``, the sample that is decoded.
            code: q(z|x), with tensors ``[B, d]``.
            rows: the B histories.
        """
        raise NotImplementedError

    def end_of_encoder_updates(self, network: AutoEncoder) -> None:
        """Called whenever all users have come by to train the encoder."""


@register_prior("standard")
class StandardPrior(Prior):
    """N(0, 1) in each dimension (Kingma & Welling 2014)."""

    def kl(self, z: Tensor, code: Code, rows: Rows, network: AutoEncoder) -> Tensor:
        return kl_divergence(code.mu, code.logvar)


@register_prior("composite")
class CompositePrior(Prior):
    """In each dimension a mixture of N(0, 1), of the code that an earlier encoder gave the user, and of
    a wide normal (RecVAE, Shenbin et al., WSDM 2020, with the constants of its authors' code)."""

    WEIGHTS = (3 / 20, 3 / 4, 1 / 10)
    WIDE_LOGVAR = 10.0

    def __init__(self, network: AutoEncoder):
        super().__init__(network)
        self.earlier = nn.ModuleDict({"encoder": network.encoder, "head": network.head})
        self.earlier = copy.deepcopy(self.earlier).requires_grad_(False)

    def kl(self, z: Tensor, code: Code, rows: Rows, network: AutoEncoder) -> Tensor:
        z, mu, logvar = map(at_least_float32, (z, *code))
        with torch.no_grad():
            earlier = self.earlier["head"](self.earlier["encoder"](rows.l2_normalised()))
        parts = ((0.0, 0.0), map(at_least_float32, earlier), (0.0, self.WIDE_LOGVAR))
        logs = [math.log(share) + log_normal(z, *part) for share, part in zip(self.WEIGHTS, parts)]
        return (log_normal(z, mu, logvar) - torch.stack(logs).logsumexp(0)).sum(-1)

    @torch.no_grad()
    def end_of_encoder_updates(self, network: AutoEncoder) -> None:
        """From now on the earlier encoder is what the network's encoder is now."""
        for name, module in self.earlier.items():
            module.load_state_dict(getattr(network, name).state_dict())


@register_prior("vamp")
class VampPrior(Prior):
    """A mixture of the codes of K histories that are learnt (Tomczak & Welling, AISTATS 2018; for
    recommendation Kim & Suh, RecSys 2019).

    Args:
        network: tells the width of a history; its encoder codes the learnt ones.
        components: K.
    """

    @dataclass(frozen=True)
    class Settings:
        components: int = setting(
            500, Integer(1), "With 'vamp': how many histories are learnt.", key="prior_components"
        )

    #: Where the entries of the histories begin, and how far they scatter.
    MEAN, STD = 0.05, 0.01

    def __init__(self, network: AutoEncoder, components: int):
        super().__init__(network)
        self.histories = nn.Parameter(torch.empty(components, network.output.out_features))
        nn.init.normal_(self.histories, self.MEAN, self.STD)

    def kl(self, z: Tensor, code: Code, rows: Rows, network: AutoEncoder) -> Tensor:
        z, mu, logvar = map(at_least_float32, (z, *code))
        learnt = network.head(network.encoder(F.normalize(self.histories.clamp(0, 1))))
        means, logvars = map(at_least_float32, learnt)
        # the sum over d of (z - mean)^2 / var, without an array of users x components x d: a difference of
        # large numbers, so not in half precision
        precisions = torch.exp(-logvars)
        with torch.autocast(z.device.type, enabled=False):
            products = z.square() @ precisions.T - 2 * z @ (means * precisions).T
        squares = products + (means.square() * precisions).sum(-1)
        constants = z.shape[-1] * math.log(2 * math.pi) + logvars.sum(-1)
        logs = -0.5 * (constants + squares)
        log_prior = logs.logsumexp(-1) - math.log(len(self.histories))
        return log_normal(z, mu, logvar).sum(-1) - log_prior
