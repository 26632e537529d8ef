"""The prior p(z) of a variational model: the `prior` axis.

The KL term is exact for N(0, 1); for the others it is the estimate log q(z|x) - log p(z) from the sample z
that is decoded. Priors are only used in training.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_vae_plugin.nn.autoencoder import AutoEncoder
from recbole_vae_plugin.nn.heads import Posterior
from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.nn.kl import at_least_float32, kl_divergence
from recbole_vae_plugin.settings.declaration import setting
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import Integer

#: Name -> subclass of :class:`Prior`, constructed with the network and its own settings.
PRIORS: Registry[type[Prior]] = Registry("prior", key="prior")
register_prior = PRIORS.register


def log_normal(z: Tensor, mu: Tensor | float, logvar: Tensor | float) -> Tensor:
    """The log-density of N(mu, exp(logvar)) in each dimension; the arguments are broadcast."""
    logvar = torch.as_tensor(logvar, dtype=z.dtype, device=z.device)
    return -0.5 * (math.log(2 * math.pi) + logvar + (z - mu).square() * torch.exp(-logvar))


class Prior(nn.Module):
    """The base class of priors.

    Args:
        network: the network to be trained; it must not be stored as a submodule.
    """

    def __init__(self, network: AutoEncoder) -> None:
        super().__init__()

    def kl(self, z: Tensor, posterior: Posterior, rows: Rows, network: AutoEncoder) -> Tensor:
        """KL(q(z|x) || p(z)) of each user, in nats: float ``[B]``.

        Args:
            z: ``[B, d]``, the sample that is decoded.
            posterior: q(z|x), with tensors ``[B, d]``.
            rows: the B histories.
            network: the network being trained.
        """
        raise NotImplementedError

    def end_of_encoder_updates(self, network: AutoEncoder) -> None:
        """Called after each pass over all users that trains the encoder."""


@register_prior("standard")
class StandardPrior(Prior):
    """N(0, 1) in each dimension (Kingma & Welling 2014)."""

    def kl(self, z: Tensor, posterior: Posterior, rows: Rows, network: AutoEncoder) -> Tensor:
        return kl_divergence(*posterior.moments())


@register_prior("composite")
class CompositePrior(Prior):
    """In each dimension a mixture of N(0, 1), the posterior of an earlier encoder, and a wide normal.

    From RecVAE (Shenbin et al., WSDM 2020), with the constants of the authors' code.
    """

    WEIGHTS = (3 / 20, 3 / 4, 1 / 10)
    WIDE_LOGVAR = 10.0

    def __init__(self, network: AutoEncoder) -> None:
        super().__init__(network)
        modules = nn.ModuleDict({"encoder": network.encoder, "head": network.head})
        self.earlier = copy.deepcopy(modules).requires_grad_(False)

    def kl(self, z: Tensor, posterior: Posterior, rows: Rows, network: AutoEncoder) -> Tensor:
        z, (mu, logvar) = at_least_float32(z), posterior.moments()
        with torch.no_grad():
            earlier: Posterior = self.earlier["head"](self.earlier["encoder"](rows.l2_normalised()))
        components: list[tuple[Tensor | float, Tensor | float]]
        components = [(0.0, 0.0), earlier.moments(), (0.0, self.WIDE_LOGVAR)]
        logs = [
            math.log(weight) + log_normal(z, *moments) for weight, moments in zip(self.WEIGHTS, components)
        ]
        return (log_normal(z, mu, logvar) - torch.stack(logs).logsumexp(0)).sum(-1)

    @torch.no_grad()
    def end_of_encoder_updates(self, network: AutoEncoder) -> None:
        """Replace the earlier encoder by the current one."""
        for name, module in self.earlier.items():
            module.load_state_dict(getattr(network, name).state_dict())


@register_prior("vamp")
class VampPrior(Prior):
    """A mixture of the posteriors of K learnt pseudo-inputs.

    From Tomczak & Welling (AISTATS 2018); applied to recommendation by Kim & Suh (RecSys 2019).

    Args:
        network: its output has the width of a pseudo-input.
        components: K.

    Attributes:
        histories: the pseudo-inputs, ``[K, n_items]``.
    """

    @dataclass(frozen=True)
    class Settings:
        """The keys of this prior."""

        components: int = setting(
            500, Integer(1), "With 'vamp': the number of learnt pseudo-inputs.", key="prior_components"
        )

    #: Mean and standard deviation of the initial entries of the pseudo-inputs.
    MEAN, STD = 0.05, 0.01

    def __init__(self, network: AutoEncoder, components: int) -> None:
        super().__init__(network)
        self.histories = nn.Parameter(torch.empty(components, network.output.out_features))
        nn.init.normal_(self.histories, self.MEAN, self.STD)

    def kl(self, z: Tensor, posterior: Posterior, rows: Rows, network: AutoEncoder) -> Tensor:
        z, (mu, logvar) = at_least_float32(z), posterior.moments()
        learnt: Posterior = network.head(network.encoder(F.normalize(self.histories.clamp(0, 1))))
        means, logvars = learnt.moments()
        # the sum over d of (z - mean)^2 / var without an array of users x components x d; a difference of
        # large numbers, so not in half precision
        precisions = torch.exp(-logvars)
        with torch.autocast(z.device.type, enabled=False):
            products = z.square() @ precisions.T - 2 * z @ (means * precisions).T
        squares = products + (means.square() * precisions).sum(-1)
        constants = z.shape[-1] * math.log(2 * math.pi) + logvars.sum(-1)
        logs = -0.5 * (constants + squares)
        log_prior = logs.logsumexp(-1) - math.log(len(self.histories))
        return log_normal(z, mu, logvar).sum(-1) - log_prior
