"""What things are called, and what they mean."""

from collections.abc import Iterable

from symeq_core.config import LATENT_UNITS, Config, Latent

LEARNERS = {"symmetric": "Symmetric game", "elbo": "ELBO", "wake_sleep": "Wake-sleep"}
SHORT = {"symmetric": "Game", "elbo": "ELBO", "wake_sleep": "Wake-sleep"}
DATA = {
    "digits": "Digits 8×8",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "celeba": "CelebA",
    "folder": "Own images",
}
DOWNLOADS = {
    "mnist": "MNIST is downloaded once (12 MB) where it is missing.",
    "fashion_mnist": "Fashion-MNIST is downloaded once (30 MB) where it is missing.",
    "celeba": "CelebA is downloaded once (1.4 GB) where it is missing, and decoded, which takes minutes.",
}
PRESETS = {
    "digits-plane-symmetric": "Digits in a plane: two real numbers as code, symmetric game",
    "digits-plane-elbo": "Digits in a plane: two real numbers as code, ELBO",
    "digits-ring-symmetric": "Digits on a ring: a prior known by samples only, symmetric game",
    "digits-labels-symmetric": "Digits, 200 of them with labels, symmetric game",
    "digits-labels-elbo": "Digits, 200 of them with labels, ELBO",
    "celeba-reverse-symmetric": "CelebA: attributes as part of the code, symmetric game",
    "paper-mnist-ladder-symmetric": "The paper's MNIST, ladder, symmetric game (wants a GPU)",
    "paper-mnist-ladder-elbo": "The paper's MNIST, ladder, ELBO (wants a GPU)",
    "paper-mnist-reverse-symmetric": "The paper's MNIST, reverse, symmetric game (wants a GPU)",
    "paper-mnist-reverse-elbo": "The paper's MNIST, reverse, ELBO (wants a GPU)",
    "paper-fmnist-ladder-symmetric": "The paper's Fashion-MNIST, ladder, symmetric game (wants a GPU)",
    "paper-fmnist-ladder-elbo": "The paper's Fashion-MNIST, ladder, ELBO (wants a GPU)",
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
ACTIVE = ("queued", "starting", "running", "paused")


def code(latents: Iterable[Latent]) -> str:
    """Layers of code from the top, as in `30 → 100 bits`."""
    sizes = [("×".join(map(str, z.event)), LATENT_UNITS[z.family]) for z in latents]
    one = len({unit for _, unit in sizes}) == 1
    return " → ".join(n if one else f"{n} {unit}" for n, unit in sizes) + (f" {sizes[0][1]}" if one else "")


def pair(c: Config) -> str:
    """What two networks are, but for their learner, as in `MNIST · Ladder 30 → 100 bits`."""
    return f"{DATA[c.data.name]} · {MODELS[c.model.kind]} {code(c.model.latents)}"


HELP = {
    "preset": "A named set of all choices, ready to start. With none, choose data, model and learner yourself.",
    "data": "What the images are. Digits come with the app; the others are downloaded once, where they are missing.",
    "batch": "Images an iteration.",
    "layers": "bernoulli:30 are 30 bits, categorical:5x10 five units of ten classes, gaussian:2 two real numbers; "
    "several layers are separated by a space.",
    "hidden": "Units of the hidden layers of each network, from x upwards; several layers are separated by a space.",
    "cooldown": "In the last iterations, this many, the step sizes fall linearly to nothing: the weights settle.",
    "lr": "Step size of the Adam optimiser, which turns gradients into steps.",
    "order": "Alternating: q moves after it has seen p's move. Simultaneous: both move from where they were. Usual: "
    "simultaneous for the ELBO, alternating for the others.",
    "prior": "What codes z0 are drawn from. An implicit prior can be sampled, but its density is not known: the "
    "symmetric game needs no more, the ELBO does.",
    "labelled": "How many training images show their label (semi-supervised learning); 0: none, unsupervised.",
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
