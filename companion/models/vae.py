r"""A hierarchical variational autoencoder in the manner of NVAE, for binary images.

Its latent variables come in groups, from coarse to fine. From the top down, a group has a prior
that looks at the groups before it, and a posterior that looks at the image as well.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.arguments import whole
from companion.models.cells import Up, halve, stack


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of a `VAE`.

    Attributes
    ----------
    size : int
        Side of the images, in pixels; inside, they have a margin where halving needs one.
    width : int
        Channels at the first resolution; twice as many after each halving.
    latent : int
        Latent channels of a group.
    groups : tuple of int
        Groups at each resolution, the coarsest first; each resolution is half the next.
    stem : int, default 0
        Halvings between the first resolution and the finest latents.
    patch : int, default 1
        The first resolution has a place for each ``patch`` × ``patch`` pixels: cheap where the
        image is large, instead of halvings.
    cells : int, default 1
        Residual cells before each group, in the encoder and in the decoder, and at each
        resolution of the stem.
    channels : int, default 1
        Of the images.
    zero_heads : bool, default True
        Whether the layers that give means and log-scales start at zero.
    """

    size: int
    width: int
    latent: int
    groups: tuple
    stem: int = 0
    patch: int = 1
    cells: int = 1
    channels: int = 1
    zero_heads: bool = True

    def __post_init__(self):
        for name in ("size", "width", "latent", "patch", "cells", "channels"):
            whole(name, getattr(self, name), least=1)
        whole("stem", self.stem, least=0)
        if not self.groups:
            raise ValueError(f"groups: expected one number a resolution, got {self.groups!r}")
        for count in self.groups:
            whole("groups", count, least=1)

    @property
    def padded(self) -> int:
        """Side of the images with their margin: a multiple of what the halvings divide by."""
        unit = self.patch * 2 ** (self.stem + len(self.groups) - 1)
        return -(-self.size // unit) * unit


class Parts(NamedTuple):
    """What a `VAE` says of n images, in nats: −ELBO is ``reconstruction + kl.sum(1)``.

    Attributes
    ----------
    reconstruction : Tensor
        −log p(x|z) at one sample z ~ q(z|x), shape (n,).
    kl : Tensor
        KL(q ‖ p) of each group, at the groups sampled before it, shape (n, groups).
    log_ratio : Tensor
        log p(z) − log q(z|x) at that sample, shape (n,).
    """

    reconstruction: Tensor
    kl: Tensor
    log_ratio: Tensor


def residual_kl(shift: Tensor, log_scale: Tensor, log_std: Tensor) -> Tensor:
    r"""Return the divergence of a posterior that is given relative to its prior, entry by entry.

    .. math::

        \mathrm{KL}\big(\mathcal N(\mu + \Delta\mu, \sigma^2 \Delta\sigma^2) \,\big\|\,
        \mathcal N(\mu, \sigma^2)\big)
        = \tfrac12 \Big( \frac{\Delta\mu^2}{\sigma^2} + \Delta\sigma^2 - 1 \Big) - \log \Delta\sigma

    Parameters
    ----------
    shift, log_scale : Tensor
        Δμ and log Δσ: the posterior relative to the prior.
    log_std : Tensor
        log σ of the prior. Its mean does not matter.

    Notes
    -----
    Source: Vahdat and Kautz (2020), Section 3.2.

    Examples
    --------
    >>> residual_kl(torch.tensor(2.0), torch.tensor(0.0), torch.tensor(0.0)).item()
    2.0
    """
    square = (shift * torch.exp(-log_std)).square()
    return (square + torch.exp(2 * log_scale) - 1) / 2 - log_scale


class Group(nn.Module):
    """A group of latents: its prior, its posterior relative to it, and what it adds to h."""

    def __init__(self, width: int, config: VAEConfig, first: bool) -> None:
        super().__init__()
        self.latent = config.latent
        self.cells = None if first else stack(width, config.cells)
        self.prior = None if first else nn.Conv2d(width, 2 * config.latent, 1)
        self.posterior = nn.Conv2d(width, 2 * config.latent, 3, padding=1)
        self.merge = nn.Conv2d(width + config.latent, width, 1)
        for head in (self.prior, self.posterior):
            if head is not None and config.zero_heads:
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)

    def forward(self, h: Tensor, features: Tensor | None = None, temperature: float = 1.0):
        """Return the next h (n, width, r, r), and KL and log p − log q of the sample, each (n,).

        Without features of an image the sample is the prior's, its scale times the temperature.
        """
        if self.cells is not None:
            h = self.cells(h)
        n, _, r, _ = h.shape
        noise = torch.randn(n, self.latent, r, r, device=h.device)
        mean = log_std = shift = log_scale = torch.zeros_like(noise)
        if self.prior is not None:  # else N(0, 1)
            mean, log_std = self.prior(F.silu(h)).chunk(2, 1)  # each (n, latent, r, r)
        if features is None:
            noise = noise * temperature
        else:
            shift, log_scale = self.posterior(F.silu(features + h)).chunk(2, 1)
        z = mean + shift + torch.exp(log_std + log_scale) * noise
        kl = residual_kl(shift, log_scale, log_std)
        ratio = shift * torch.exp(-log_std) + torch.exp(log_scale) * noise  # (z − mean) / std
        log_ratio = (noise.square() - ratio.square()) / 2 + log_scale
        return self.merge(torch.cat((h, z), 1)), kl.sum((1, 2, 3)), log_ratio.sum((1, 2, 3))


class VAE(nn.Module):
    r"""A hierarchical VAE with a Bernoulli likelihood.

    .. math::

        p(x, z) = p(x|z) \prod_l p(z_l | z_{<l}), \qquad
        q(z|x) = \prod_l q(z_l | z_{<l}, x)

    Parameters
    ----------
    config : VAEConfig

    Notes
    -----
    As in NVAE: a bottom-up encoder; a top-down decoder that starts from a learned constant; a prior
    and a posterior a group, the posterior relative to the prior; residual cells scaled by 1/10.
    Left out: batch norm, squeeze-and-excitation, depthwise convolutions and the regularisation of
    spectral norms. Zero-initialised heads are ours: posterior and prior start equal, KL at zero.
    Source: Vahdat and Kautz (2020).

    Examples
    --------
    >>> model = VAE(VAEConfig(size=8, width=4, latent=2, groups=(1, 2)))
    >>> parts = model(torch.zeros(5, 1, 8, 8))
    >>> parts.kl.shape, parts.kl.abs().max().item()  # three groups; posterior = prior
    (torch.Size([5, 3]), 0.0)
    >>> model.sample(2).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        pixels = config.channels * config.patch**2
        self.inlet = nn.Conv2d(pixels, width, 3, padding=1)
        self.outlet = nn.Conv2d(width, pixels, 3, padding=1)
        down, up = [], []
        for _ in range(config.stem):
            down.append(nn.Sequential(stack(width, config.cells), halve(width)))
            up.append(nn.Sequential(Up(2 * width, width), stack(width, config.cells)))
            width *= 2
        encoder, decoder, finest = [], [], len(config.groups) - 1
        for level in reversed(range(len(config.groups))):  # from fine to coarse
            count = config.groups[level]
            encoder.append(nn.ModuleList(stack(width, config.cells) for _ in range(count)))
            groups = [Group(width, config, first=level == i == 0) for i in range(count)]
            decoder.append(nn.ModuleList(groups))
            if level:
                down.append(halve(width))
                up.append(Up(2 * width, width))
                width *= 2
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(reversed(up))
        self.encoder, self.decoder = nn.ModuleList(encoder), nn.ModuleList(reversed(decoder))
        side = config.padded // config.patch // 2 ** (config.stem + finest)
        self.start = nn.Parameter(torch.randn(width, side, side))

    def forward(self, x: Tensor) -> Parts:
        """Return the parts of −ELBO for binary images (n, channels, size, size), one sample each.

        Cost: one pass through encoder and decoder.
        """
        logits, kl, log_ratio = self._decode(len(x), self._encode(x))
        nats = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        return Parts(nats.sum((1, 2, 3)), kl, log_ratio)

    def log_likelihood(self, x: Tensor, samples: int) -> Tensor:
        r"""Return an estimate of log p(x) from importance samples, shape (n,).

        :math:`\log \frac1K \sum_k p(x, z_k) / q(z_k|x)` with :math:`z_k \sim q(\cdot|x)`: in the
        mean at most log p(x), and for K = 1 the ELBO. Cost: K passes.
        """
        weights = []
        for _ in range(whole("samples", samples, least=1)):
            parts = self(x)
            weights.append(parts.log_ratio - parts.reconstruction)
        return torch.stack(weights).logsumexp(0) - math.log(samples)

    def sample(self, n: int, temperature: float = 1.0) -> Tensor:
        """Return the probabilities that pixels are one, for n draws of the prior.

        Parameters
        ----------
        n : int
        temperature : float
            Factor on the standard deviations of all priors.

        Returns
        -------
        Tensor
            (n, channels, size, size), in [0, 1].
        """
        return self._decode(n, None, temperature)[0].sigmoid()

    def _encode(self, x: Tensor) -> list:
        """Return the features of each resolution from fine to coarse, a list of one a group."""
        margin = self.config.padded - self.config.size
        h = F.pad(2 * x - 1, (margin // 2, margin - margin // 2) * 2, value=-1.0)
        h, features = self.inlet(F.pixel_unshuffle(h, self.config.patch)), []
        for i, step in enumerate((*self.down, None)):
            if i >= self.config.stem:
                features.append([])
                for cells in self.encoder[i - self.config.stem]:
                    h = cells(h)
                    features[-1].append(h)
            if step is not None:
                h = step(h)
        return features

    def _decode(self, n: int, features: list | None, temperature: float = 1.0):
        """Return logits (n, channels, size, size), KL (n, groups) and log p − log q (n,)."""
        h, kls, log_ratio = self.start.expand(n, -1, -1, -1), [], 0.0
        for i, step in enumerate((*self.up, None)):
            for j, group in enumerate(self.decoder[i] if i < len(self.decoder) else ()):
                given = None if features is None else features[-1 - i][-1 - j]
                h, kl, ratio = group(h, given, temperature)
                kls.append(kl)
                log_ratio = log_ratio + ratio
            if step is not None:
                h = step(h)
        logits = F.pixel_shuffle(self.outlet(F.silu(h)), self.config.patch)
        margin = (self.config.padded - self.config.size) // 2
        inside = slice(margin, margin + self.config.size)
        return logits[..., inside, inside], torch.stack(kls, 1), log_ratio
