"""Perfectly consistent pairs, made by hand: harmoniums (restricted Boltzmann machines) and their conditionals.

p(x, z) ~ exp(b x + c z + x W z); p(x|z), q(z|x) are its conditionals and the prior is its marginal of z, a table.
"""

import itertools

import torch
from torch import nn
from torch.nn.functional import softplus

from symeq_core.factors import Chain, Factor, Implicit, Term
from symeq_core.families import Bernoulli, Categorical

SHAPE = (1, 2, 4)


class Table(Bernoulli):
    """Bits of any joint distribution; s = log-probabilities of all values, in lexicographic order."""

    def score_shape(self, event):
        return (2 ** event[0],)

    def sample(self, s):
        index = torch.multinomial(s.exp(), 1)
        return (index >> torch.arange(s.shape[1].bit_length() - 2, -1, -1) & 1).to(s)

    def log_prob(self, s, v):
        weights = 2 ** torch.arange(v.shape[1] - 1, -1, -1)
        return s.gather(1, (v.long() * weights).sum(1, keepdim=True)).squeeze(1)


class Affine(nn.Module):
    def __init__(self, weight, bias, shape):
        super().__init__()
        self.weight, self.bias, self.shape = nn.Parameter(weight), nn.Parameter(bias), shape

    def forward(self, v):
        return (v.flatten(1) @ self.weight.T + self.bias).reshape(-1, *self.shape)


def weights():
    """(W [pixels, bits], b, c): bit 0 and the left half of the image hold each other for thousands of trips."""
    w = torch.zeros(8, 3, dtype=torch.float64)
    w[:4, 0] = 10.0
    w[4:, 1] = torch.tensor([2.0, 2.0, -1.0, 1.0])
    w[4:, 2] = torch.tensor([2.0, 1.0, 2.0, 2.0])
    b = torch.tensor([-5.0] * 4 + [-1.0] * 4, dtype=torch.float64)
    c = torch.tensor([-20.0, -2.0, -1.0], dtype=torch.float64)
    return w, b, c


def table(w, b, c):
    """[2^bits] log pi(z)."""
    z = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(c))), dtype=torch.float64)
    return (z @ c + softplus(z @ w.T + b).sum(1)).log_softmax(0)


def encoder(w, c):
    """q(z|x)."""
    return Chain([Factor("z0", Bernoulli(), (len(c),), [Term(("x",), Affine(w.T.clone(), c.clone(), (len(c),)))])])


def harmonium(implicit=False):
    """(p, q) of bits; with an implicit prior it has the same samples but no density."""
    w, b, c = weights()
    log_pi = table(w, b, c)
    prior = Factor("z0", Table(), (len(c),), [], constant=log_pi[None])
    if implicit:
        explicit = prior
        prior = Implicit("z0", lambda n: explicit.family.sample(explicit.constant.expand(n, -1)), (len(c),)).double()
    p = Chain([prior, Factor("x", Bernoulli(), SHAPE, [Term(("z0",), Affine(w, b, SHAPE))])])
    return p, encoder(w, c)


def of_classes():
    """(p, q) with one hidden unit of four classes: its marginal is a prior that the built-in family holds."""
    g = torch.Generator().manual_seed(1)
    w = 2 * torch.randn(8, 4, generator=g, dtype=torch.float64)
    b = torch.randn(8, generator=g, dtype=torch.float64)
    c = torch.randn(4, generator=g, dtype=torch.float64)
    pi = (c + softplus(b + w.T).sum(1)).log_softmax(0)
    prior = Factor("z0", Categorical(), (1, 4), [], constant=pi.reshape(1, 1, 4))
    p = Chain([prior, Factor("x", Bernoulli(), SHAPE, [Term(("z0",), Affine(w, b, SHAPE))])])
    q = Chain([Factor("z0", Categorical(), (1, 4), [Term(("x",), Affine(w.T.clone(), c, (1, 4)))])])
    return p, q


def broken():
    """The harmonium with its encoder's units exchanged."""
    p, _ = harmonium()
    w, _, c = weights()
    order = [1, 2, 0]
    return p, encoder(w[:, order], c[order])


class Halves:
    """A classifier of two classes: is the left half of the image on? Features are the pixels."""

    def features(self, x):
        return x.flatten(1)

    def probabilities(self, x):
        on = x.flatten(1)[:, :4].mean(1)
        return torch.stack((1 - on, on), 1)
