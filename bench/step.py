"""One symmetric iteration by the library against a bare hand-written loop of the same networks.

    python -m bench.step [--quick]

Both run in this process, in alternating blocks, on one thread, from the same bytes; what counts is the ratio. The
bare loop is what a person would write for this one model and nothing else: no config, no events, no names.
"""

import argparse
import statistics
import time
from dataclasses import replace

import torch
import torch.nn.functional as F

from symeq_core.config import override
from symeq_core.datasets import Images, complete
from symeq_core.learners import moves
from symeq_core.models import build
from symeq_core.presets import preset
from symeq_core.sources import Source
from symeq_core.trainer import Trainer

IMAGES = 20_000
#        preset                         fields changed        batch  iterations a block, blocks
CASES = [
    ("mnist-reverse-symmetric", {}, 64, 50, 20),
    ("mnist-reverse-symmetric", {}, 1024, 10, 12),
    ("mnist-ladder-symmetric", {}, 64, 50, 20),
    ("mnist-ladder-symmetric", {}, 1024, 10, 12),
    ("paper-mnist-reverse-symmetric", {}, 64, 3, 10),
    ("paper-mnist-reverse-symmetric", {}, 1024, 1, 6),
    ("paper-mnist-ladder-symmetric", {}, 64, 3, 10),
    ("paper-mnist-ladder-symmetric", {}, 1024, 1, 6),
]


def bernoulli(scores):
    return torch.bernoulli(scores.sigmoid())


def cross_entropy(scores, v):
    return F.binary_cross_entropy_with_logits(scores, v, reduction="none").flatten(1).sum(1)


class Bare:
    """The hand-written loop; it borrows the modules of a built pair, so that both run the same networks."""

    def __init__(self, config, pixels):
        p, q = build(config.model, config.seed)
        nets = [t.net for t in p["z1"].terms], p["x"].terms[0].net, q.features["h"].net
        self.dec1, self.dec_x, self.trunk = nets
        self.ladder = config.model.kind == "ladder"
        if self.ladder:
            self.x1, self.x0 = q.features["z1|x"].net, q.features["z0|x"].net
            self.skip0 = [t.net for t in q["z0"].terms][1:]
        else:
            self.enc1, self.enc0 = q["z1"].terms[0].net, [t.net for t in q["z0"].terms]
        lr = config.train.lr
        self.theta = torch.optim.Adam(p.parameters(), lr=lr, fused=True)
        self.phi = torch.optim.Adam(q.parameters(), lr=lr, fused=True)
        self.pixels, self.batch, self.n0 = pixels, config.train.batch, config.model.latents[0].units
        self.order, self.at = torch.randperm(len(pixels)), 0

    def data(self):
        if self.at + self.batch > len(self.order):
            self.order, self.at = torch.randperm(len(self.pixels)), 0
        x = (self.pixels[self.order[self.at : self.at + self.batch]] > 111).float()
        self.at += self.batch
        return (x - (torch.rand(x.shape) < 0.001).float()).abs()

    def down(self, z0):
        return sum(net(z0) for net in self.dec1)

    def encode(self, x, z0=None, z1=None):
        """Scores of z1 and z0; samples what isn't given."""
        h = self.trunk(x)
        if self.ladder:
            from_x = self.x1(h)
            s0 = self.x0(h) + sum(net(from_x) for net in self.skip0)
            z0 = bernoulli(s0) if z0 is None else z0
            s1 = self.down(z0).detach() + from_x
            return s1, s0, bernoulli(s1) if z1 is None else z1, z0
        s1 = self.enc1(h)
        z1 = bernoulli(s1) if z1 is None else z1
        s0 = sum(net(z1) for net in self.enc0)
        return s1, s0, z1, bernoulli(s0) if z0 is None else z0

    def step(self):
        x = self.data()
        with torch.no_grad():
            _, _, z1, z0 = self.encode(x)
        loss = (cross_entropy(self.dec_x(z1), x) + cross_entropy(self.down(z0), z1)).mean()
        self.theta.zero_grad()
        loss.backward()
        self.theta.step()
        with torch.no_grad():
            z0 = torch.bernoulli(torch.full((len(x), self.n0), 0.5))
            z1 = bernoulli(self.down(z0))
            x = bernoulli(self.dec_x(z1))
        s1, s0, _, _ = self.encode(x, z0, z1)
        loss = (cross_entropy(s1, z1) + cross_entropy(s0, z0)).mean()
        self.phi.zero_grad()
        loss.backward()
        self.phi.step()


def ours(config, pixels):
    """The library's loop, with its metrics every `log_every` iterations."""
    p, q = build(config.model, config.seed)
    source = Source(Images(pixels, None), config.data, config.seed, config.train.batch)
    trainer = Trainer(moves(p, q, config.learner), source, config.train, config.seed)

    def run(n):
        for _ in range(n):
            due = (trainer.iteration + 1) % config.train.log_every == 0
            trainer.step(measure=due)
            if due:
                trainer.metrics()

    return run


def bare(config, pixels):
    """The hand-written loop, as a function of the number of iterations."""
    loop = Bare(config, pixels)

    def run(n):
        for _ in range(n):
            loop.step()

    return run


def seconds(run, n):
    begin = time.perf_counter()
    run(n)
    return (time.perf_counter() - begin) / n


def compare(config, pixels, iterations, blocks):
    """Alternating blocks -> (bare ms, ours ms, ratio, ratio of two bare loops as the noise floor): medians."""
    runs = [bare(config, pixels), ours(config, pixels), bare(config, pixels)]
    for run in runs:
        run(max(1, iterations // 2))  # warm up
    rows = []
    for k in range(blocks):  # there and back, so that a drift of the machine favours nobody
        took = {i: seconds(runs[i], iterations) for i in ((0, 1, 2) if k % 2 else (2, 1, 0))}
        rows.append([took[i] for i in range(3)])
    a, b = (statistics.median(r[i] for r in rows) * 1e3 for i in (0, 1))
    ratio = statistics.median(2 * r[1] / (r[0] + r[2]) for r in rows)
    return a, b, ratio, statistics.median(r[2] / r[0] for r in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer blocks")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pixels = torch.randint(0, 256, (IMAGES, 1, 28, 28), dtype=torch.uint8, generator=torch.manual_seed(0))
    print(f"torch {torch.__version__}, {options.threads} thread(s); medians of alternating blocks")
    print(f"{'':32}{'batch':>6}{'bare ms':>10}{'ours ms':>10}{'ours/bare':>11}{'bare/bare':>11}")
    for name, changes, batch, iterations, blocks in CASES:
        config = complete(override(preset(name), changes | {"train.batch": batch}))
        config = replace(config, data=replace(config.data, split="train"))
        a, b, ratio, floor = compare(config, pixels, iterations, max(3, blocks // 3) if options.quick else blocks)
        print(f"{name:32}{batch:6}{a:10.2f}{b:10.2f}{ratio:11.3f}{floor:11.3f}", flush=True)


if __name__ == "__main__":
    main()
