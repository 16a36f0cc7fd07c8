"""Exponential families on natural parameters ("scores"), so that scores of several parents add.

A score tensor is [B, *score_shape(event)], a value [B, *event]. Bernoulli values are 0/1 floats of any event shape;
Categorical values are one-hot, event (units, classes); Gaussian scores carry both natural parameters in dimension 1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch import distributions as D

from .estimators import zgr

Shape = tuple[int, ...]
MIN_PRECISION = 1e-6  # keeps a Gaussian proper when softplus underflows


class Family(nn.Module):
    """A family of distributions of one variable; log-probabilities are [B] in nats, summed over the event."""

    discrete = True

    def score_shape(self, event: Shape) -> Shape:
        """Shape of the scores (and of the raw network output) of one variable with this event shape."""
        return event

    def natural(self, raw: Tensor) -> Tensor:
        """Network output -> valid scores; valid scores are closed under addition."""
        return raw

    def distribution(self, s: Tensor) -> D.Distribution:
        """The torch.distributions object with scores s."""
        raise NotImplementedError

    def sample(self, s: Tensor) -> Tensor:
        """One value, never differentiable."""
        return self.distribution(s).sample()

    def at(self, s: Tensor, u: Tensor) -> Tensor:
        """The value that uniforms u [B, *event] in (0, 1) pick: of other scores, with the same u, a coupled one."""
        raise NotImplementedError

    def rsample(self, s: Tensor) -> Tensor:
        """One value that passes a gradient: pathwise (Gaussian) or ZGR (Bernoulli, Categorical)."""
        raise NotImplementedError

    def unit_log_prob(self, s: Tensor, v: Tensor) -> Tensor:
        """Log-probability of every unit, [B, *units] in nats; differentiable in v too."""
        return self.distribution(s).log_prob(v)

    def log_prob(self, s: Tensor, v: Tensor) -> Tensor:
        """Log-probability [B] in nats."""
        return self.unit_log_prob(s, v).flatten(1).sum(1)

    def mean(self, s: Tensor) -> Tensor:
        """E[v], [B, *event]."""
        return self.distribution(s).mean

    def kl(self, s: Tensor, t: Tensor) -> Tensor:
        """KL(s || t), [B] in nats, in closed form."""
        return D.kl_divergence(self.distribution(s), self.distribution(t)).flatten(1).sum(1)


class Bernoulli(Family):
    """Independent bits; s = log-odds."""

    def distribution(self, s: Tensor) -> D.Distribution:
        return D.Bernoulli(logits=s, validate_args=False)

    # The paper's case, so the hot path: without the distribution objects an iteration takes a twentieth less.

    def sample(self, s: Tensor) -> Tensor:
        return torch.bernoulli(s.detach().sigmoid())

    def at(self, s: Tensor, u: Tensor) -> Tensor:
        return (u < s.sigmoid()).to(s)

    def unit_log_prob(self, s: Tensor, v: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(s, v, reduction="none")

    def log_prob(self, s: Tensor, v: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(s, v, reduction="none").flatten(1).sum(1)

    def rsample(self, s: Tensor) -> Tensor:
        v = self.sample(s)
        return zgr(v, s.sigmoid(), self.unit_log_prob(s, v))

    def kl(self, s: Tensor, t: Tensor) -> Tensor:
        # in scores, as torch.distributions' is infinite where a probability rounds to 1 (scores above 17 in float32)
        return (s.sigmoid() * (s - t) + F.softplus(t) - F.softplus(s)).flatten(1).sum(1)


class Categorical(Family):
    """Independent one-hot units, event (units, classes); s = unnormalised log-probabilities."""

    def distribution(self, s: Tensor) -> D.Distribution:
        return D.OneHotCategorical(logits=s, validate_args=False)

    def at(self, s: Tensor, u: Tensor) -> Tensor:
        return F.one_hot((s - (-u.log()).log()).argmax(-1), s.shape[-1]).to(s)  # Gumbel's trick

    def rsample(self, s: Tensor) -> Tensor:
        v = self.sample(s)
        return zgr(v, s.softmax(-1), self.unit_log_prob(s, v).unsqueeze(-1))

    def unit_log_prob(self, s: Tensor, v: Tensor) -> Tensor:
        # torch.distributions takes the arg-max of v, which would cut ZGR's gradient
        return (s.log_softmax(-1) * v).sum(-1)

    def kl(self, s: Tensor, t: Tensor) -> Tensor:
        # in log-probabilities: torch.distributions' is infinite where a probability rounds to 0
        return (s.softmax(-1) * (s.log_softmax(-1) - t.log_softmax(-1))).flatten(1).sum(1)


class Gaussian(Family):
    """Independent normals; s[:, 0] = mean / variance, s[:, 1] = -1 / (2 variance)."""

    discrete = False

    def score_shape(self, event: Shape) -> Shape:
        return (2, *event)

    def natural(self, raw: Tensor) -> Tensor:
        return torch.stack((raw[:, 0], -F.softplus(raw[:, 1]) - MIN_PRECISION), 1)

    def distribution(self, s: Tensor) -> D.Distribution:
        variance = -0.5 / s[:, 1]
        return D.Normal(s[:, 0] * variance, variance.sqrt(), validate_args=False)

    def at(self, s: Tensor, u: Tensor) -> Tensor:
        return self.distribution(s).icdf(u)

    def rsample(self, s: Tensor) -> Tensor:
        return self.distribution(s).rsample()


class GaussianScale(Gaussian):
    """Independent normals that share one learned log-sigma; the network gives the means."""

    def __init__(self) -> None:
        super().__init__()
        self.log_sigma = nn.Parameter(torch.zeros(()))

    def score_shape(self, event: Shape) -> Shape:
        return event

    def natural(self, raw: Tensor) -> Tensor:
        precision = (-2 * self.log_sigma).exp()
        return torch.stack((raw * precision, (-0.5 * precision).expand_as(raw)), 1)


FAMILIES: dict[str, type[Family]] = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "gaussian": Gaussian,
    "gaussian-scale": GaussianScale,
}
