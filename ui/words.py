"""What things are called, and what they mean."""

from collections.abc import Iterable

from symeq_core.config import Latent

LEARNERS = {"symmetric": "Symmetric game", "elbo": "ELBO", "wake_sleep": "Wake-sleep"}
DATA = {
    "digits": "Digits 8×8",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "celeba": "CelebA",
    "folder": "Own images",
}
MODELS = {"flat": "Flat", "ladder": "Ladder", "reverse": "Reverse"}
STATES = {
    "new": "not started",
    "queued": "waiting in the queue",
    "starting": "starting",
    "running": "training",
    "paused": "paused",
    "stopped": "stopped",
    "finished": "finished",
    "failed": "failed",
    "interrupted": "interrupted",
}

UNITS = {"bernoulli": "bits", "gaussian": "reals", "categorical": "classes"}


def code(latents: Iterable[Latent]) -> str:
    """Layers of code from the top, as in `30 → 100 bits`."""
    sizes = [("×".join(map(str, z.event)), UNITS[z.family]) for z in latents]
    one = len({unit for _, unit in sizes}) == 1
    return " → ".join(n if one else f"{n} {unit}" for n, unit in sizes) + (f" {sizes[0][1]}" if one else "")


HELP = {
    "data": "What the images are. Digits come with the app; the others are downloaded once, where they are missing.",
    "model": "How codes z and image x depend on each other. Flat: one layer of code. Reverse: two layers, the encoder "
    "works upwards, x → z1 → z0. Ladder: two layers, the encoder works downwards like the decoder and shares its "
    "z0 → z1 block.",
    "learner": "What the two players maximise. Symmetric game: each its own utility. ELBO: both the same bound on "
    "log p(x). Wake-sleep: as the game, but the prior is learned and dreams come from it.",
    "L_p": "The decoder's utility: log p(x, z) of data x with codes z drawn by the encoder. Higher is better.",
    "L_q": "The encoder's utility: log q(z | x) of codes z from the prior, given the images the decoder dreams of "
    "them. Higher is better; at most 0 for bits.",
    "ELBO": "A lower bound on log p(x), the usual objective of VAEs. Measured for every learner, so that they can be "
    "compared.",
    "seed": "Runs of one seed start from the same weights and see the same images, whichever learner trains them.",
    "gradient": "Length of each player's gradient at its last measured move. It shrinks as the game settles.",
    "probe": "Up to 500 test images, always the same ones; the band is ± 2 standard errors.",
    "montage": "Left: codes drawn from the prior, decoded. Middle: test images, each beside its reconstruction. "
    "Right: round trips x → z → x′ …; each column is one test image, each row is further along the chain.",
}

EQUATIONS = {
    "symmetric": (
        r"\theta:\;\; \max\; \mathbb{E}_{\pi(x)}\,\mathbb{E}_{q_\phi(z|x)}\,\log p_\theta(x,z)",
        r"\phi:\;\; \max\; \mathbb{E}_{\pi(z)}\,\mathbb{E}_{p_\theta(x|z)}\,\log q_\phi(z|x)",
        "Two players, two utilities. Each takes plain gradient steps in its own parameters; no gradient ever passes a "
        "sample.",
    ),
    "elbo": (
        r"\theta, \phi:\;\; \max\; \mathbb{E}_{\pi(x)}\,\mathbb{E}_{q_\phi(z|x)}",
        r"\left[\log p_\theta(x,z) - \log q_\phi(z|x)\right]",
        "One objective for both. The encoder's gradient has to pass the sampled code, which discrete codes allow only "
        "approximately (ZGR) or noisily (score function).",
    ),
    "wake_sleep": (
        r"\theta:\;\; \max\; \mathbb{E}_{\pi(x)}\,\mathbb{E}_{q_\phi(z|x)}\,\log p_\theta(x,z) \quad\text{(wake)}",
        r"\phi:\;\; \max\; \mathbb{E}_{p_\theta(x,z)}\,\log q_\phi(z|x) \quad\text{(sleep)}",
        "The moves of the game, but the prior belongs to the decoder: it is learned while awake, and dreams come from "
        "it.",
    ),
}
