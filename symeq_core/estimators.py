"""How a gradient passes a sample that was drawn from the distribution being learned.

Only the ELBO needs this; the moves of the game never differentiate through a sample.
The pathwise estimator of a Gaussian is torch.distributions' own `rsample`.
"""

from torch import Tensor


def zgr(sample: Tensor, mean: Tensor, log_prob: Tensor) -> Tensor:
    """ZGR: the value is `sample`, the derivative that of (mean + (sample - mean) log_prob) / 2.

    The average of the straight-through and the DARN estimator; for a bit it is dv/ds = (v (1-p) + (1-v) p) / 2.
    It replaces differences f(v) - f(w) by the trapezoid rule, hence is unbiased for f quadratic in each unit and
    biased otherwise.

    sample, mean: [B, *event]; log_prob: of each unit's sampled value, broadcast against them.
    Source: Shekhovtsov, Cold Analysis of Rao-Blackwellized Straight-Through Gumbel-Softmax, ICML 2023.
    """
    smooth = (mean + (sample - mean).detach() * log_prob) / 2
    return sample + (smooth - smooth.detach())


def score_function(reward: Tensor, log_q: Tensor, samples: int) -> Tensor:
    """A [B] tensor worth 0 whose gradient is (reward - baseline) d log_q, the baseline being leave-one-out.

    reward, log_q: [samples * B] in nats, the samples of one x being B apart. The baseline of a sample is the mean
    reward of the other samples of the same x, independent of it, so the estimator stays unbiased.
    Source: Williams 1992 (REINFORCE); Kool et al. 2019 (leave-one-out).
    """
    r = reward.detach().unflatten(0, (samples, -1))
    advantage = (r - (r.sum(0) - r) / (samples - 1)).flatten() if samples > 1 else r.flatten()
    surrogate = advantage * log_q
    return surrogate - surrogate.detach()


def repeat(values: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
    """Every value [B, ...] repeated to [samples * B, ...], the layout `score_function` expects."""
    return {k: v.repeat(samples, *[1] * (v.dim() - 1)) for k, v in values.items()}
