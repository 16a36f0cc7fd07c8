"""Numbers about a pair, each with its n, its standard error and its seed."""

from collections.abc import Callable

import torch
from torch import Tensor

from .factors import Chain
from .learners import elbo_terms
from .seeds import seeded

Figure = dict[str, float | int | str | None]


def _figure(values: Tensor, unit: str = "nats per image") -> Figure:
    """Mean of [n] values, with its standard error."""
    error = (values.std() / len(values) ** 0.5).item() if len(values) > 1 else None
    return {"value": values.mean().item(), "stderr": error, "n": len(values), "unit": unit}


@torch.no_grad()
def utilities(
    p: Chain,
    q: Chain,
    x: Tensor,
    labels: Tensor | None = None,
    seed: int = 0,
    batch: int = 1000,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Figure]:
    """L_p, L_q and the ELBO on images x [N, C, H, W], one sample of z for each x (and N dreams for L_q).

    With labels [N, *event of y] also the encoder's label accuracy. The ELBO is left out, with a reason, where the
    prior is implicit. The caller's random state is left as it was.
    """
    found: dict[str, list[Tensor]] = {"L_p": [], "L_q": [], "ELBO": [], "label accuracy": []}
    reason = None
    device = next(p.parameters()).device
    with seeded(seed, device):
        for start in range(0, len(x), batch):
            part = {"x": x[start : start + batch].to(device)}
            n = len(part["x"])
            found["L_p"].append(_total(p.log_probs(q.sample(part)), n))
            found["L_q"].append(_total(q.log_probs(p.sample(n=n)), n))
            if len(p.explicit()) < len(p.names):
                reason = "not defined: the prior is implicit and has no density"
            else:
                found["ELBO"].append(_total(elbo_terms(p, q, part)[0], n))
            if labels is not None and "y" in q.names:
                guess = q.mean(part, "y")
                truth = labels[start : start + batch].to(device)
                found["label accuracy"].append(_correct(guess, truth).float())
            if progress:
                progress(n)
    figures = {k: _figure(torch.cat(v)) for k, v in found.items() if v}
    if "label accuracy" in figures:
        figures["label accuracy"]["unit"] = "fraction"
    if reason:
        figures["ELBO"] = {"value": None, "stderr": None, "n": 0, "unit": "nats per image", "reason": reason}
    return figures


def _total(terms: dict[str, Tensor], n: int) -> Tensor:
    total = torch.zeros(n)
    for t in terms.values():
        total = total + t.cpu()
    return total


def _correct(guess: Tensor, truth: Tensor) -> Tensor:
    """[B] whether (classes) or how often (attributes) the likeliest label is the true one."""
    if guess.dim() == 3:
        return (guess.argmax(2) == truth.argmax(2)).all(1)
    return ((guess > 0.5) == (truth > 0.5)).float().mean(1)
