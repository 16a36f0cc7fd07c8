"""Named starting points; a preset lists only what differs from the defaults of `config`."""

from collections.abc import Mapping
from typing import Any

from .config import Config, from_dict, override
from .errors import UsageError

DATA: dict[str, dict[str, Any]] = {
    "digits": {"data.name": "digits", "train.steps": 5000, "train.batch": 128},
    "mnist": {"data.name": "mnist", "train.steps": 20000, "train.batch": 128},
}
# Compact MLPs. Layers are listed from the top, z0.
MODELS: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "flat"): {"model.latents": "bernoulli:16", "model.hidden": [128]},
    ("digits", "ladder"): {"model.latents": "bernoulli:8 bernoulli:24", "model.hidden": [128]},
    ("digits", "reverse"): {"model.latents": "bernoulli:8 bernoulli:24", "model.hidden": [128]},
    ("mnist", "flat"): {"model.latents": "bernoulli:50", "model.hidden": [400]},
    ("mnist", "ladder"): {"model.latents": "bernoulli:30 bernoulli:100", "model.hidden": [400]},
    ("mnist", "reverse"): {"model.latents": "bernoulli:30 bernoulli:100", "model.hidden": [400]},
}
LEARNERS: dict[str, dict[str, Any]] = {
    "symmetric": {"learner.name": "symmetric"},
    "elbo": {"learner.name": "elbo", "train.schedule": "simultaneous"},
    "wake-sleep": {"learner.name": "wake_sleep", "model.prior": "learned"},
}
# The authors' settings (reference: the paper's published experiments).
PAPER: dict[str, dict[str, Any]] = {
    "paper-mnist-ladder": {"data.name": "mnist", "model.kind": "ladder"},
    "paper-mnist-reverse": {"data.name": "mnist", "model.kind": "reverse"},
    "paper-fmnist-ladder": {
        "data.name": "fashion_mnist",
        "data.binarize": None,
        "data.flip": 0.0,
        "data.noise": 0.01,
        "model.kind": "ladder",
        "model.x_family": "gaussian-scale",
        "model.width": 1000,
        "model.decoder_activation": "relu",
    },
}
PAPER_COMMON: dict[str, Any] = {
    "data.split": "all",
    "model.latents": "bernoulli:30 bernoulli:100",
    "model.nets": "conv",
    "train.steps": 200_000,
    "train.batch": 1024,
    "train.lr": 1e-4,
    "train.probe_every": 2000,
    "train.snapshot_every": 5000,
    "train.save_seconds": 60.0,
}
# What the grid of data x model x learner does not reach.
PLANE: dict[str, Any] = {"model.latents": "gaussian:2", "model.hidden": [128, 64]}
EXTRA: dict[str, dict[str, Any]] = {
    "digits-plane-symmetric": PLANE,
    "digits-plane-elbo": PLANE | LEARNERS["elbo"],
    "digits-ring-symmetric": PLANE | {"model.prior": "implicit:ring"},
    "digits-labels-symmetric": {"data.labelled": 200, "model.hidden": [128]},
    "digits-labels-elbo": {"data.labelled": 200, "model.hidden": [128]} | LEARNERS["elbo"],
    "celeba-reverse-symmetric": {
        "data.name": "celeba",
        "data.labelled": 20_000,
        "data.binarize": None,
        "data.flip": 0.0,
        "data.noise": 0.01,
        "model.kind": "reverse",
        "model.label_prior": "empirical",
        "model.latents": "bernoulli:50 bernoulli:200",
        "model.x_family": "gaussian-scale",
        "model.hidden": [1000, 1000],
        "model.activation": "relu",
        "train.steps": 50_000,
    },
}


# The pairs shipped in checkpoints/: a preset's settings, trained until the curves are flat.
GALLERY: dict[str, dict[str, Any]] = {
    "digits-bits": {"model.kind": "flat", "model.latents": "bernoulli:10", "model.hidden": [128]},
    "digits-plane": PLANE,
    "digits-ladder": {"model.kind": "ladder", **MODELS["digits", "ladder"]},
    "digits-reverse": {"model.kind": "reverse", **MODELS["digits", "reverse"]},
    "mnist-ladder": {"model.kind": "ladder", **MODELS["mnist", "ladder"], "train.steps": 200_000},
    "mnist-reverse": {"model.kind": "reverse", **MODELS["mnist", "reverse"]},
}
GALLERY_TRAIN: dict[str, dict[str, Any]] = {
    "digits": {
        "train.steps": 25_000,
        "train.cooldown": 5_000,
        "train.snapshot_every": 1000,
        "train.probe_every": 500,
    },
    "mnist": {
        "train.steps": 230_000,
        "train.cooldown": 30_000,
        "train.snapshot_every": 4000,
        "train.probe_every": 1000,
    },
}
GALLERY_COMMON: dict[str, Any] = {"train.log_every": 100, "train.snapshot_chain": 1000, "train.threads": 1}


# Images that are not binary.
GREY: dict[str, Any] = {
    "data.binarize": None,
    "data.flip": 0.0,
    "data.noise": 0.01,
    "model.x_family": "gaussian-scale",
}


def compose(data: str, kind: str, learner: str, changes: Mapping[str, Any] | None = None) -> Config:
    """Compact settings for any data set, model and learner (as in the names of presets), then `changes`.

    For digits and MNIST it is the preset of that name; other data take MNIST's networks and grey or colour pixels.
    """
    name = f"{data}-{kind}-{learner}"
    if name in PRESETS:
        return override(preset(name), changes or {})
    base = DATA["mnist"] | {"data.name": data, "model.kind": kind} | MODELS["mnist", kind] | GREY | LEARNERS[learner]
    return override(from_dict({"name": name}), base | dict(changes or {}))


def _all() -> dict[str, dict[str, Any]]:
    found = {}
    for (data, kind), model in MODELS.items():
        for learner, moves in LEARNERS.items():
            found[f"{data}-{kind}-{learner}"] = DATA[data] | {"model.kind": kind} | model | moves
    for name, setting in PAPER.items():
        for learner in ("symmetric", "elbo"):
            found[f"{name}-{learner}"] = PAPER_COMMON | setting | LEARNERS[learner]
    for name, setting in GALLERY.items():
        data = name.partition("-")[0]
        common = DATA[data] | GALLERY_COMMON | GALLERY_TRAIN[data]
        for learner in ("symmetric", "elbo", *(("wake-sleep",) if name == "digits-bits" else ())):
            found[f"gallery-{name}-{learner}"] = common | setting | LEARNERS[learner]
    return found | EXTRA


PRESETS: dict[str, dict[str, Any]] = _all()


def gallery_presets() -> list[str]:
    """The presets of the shipped pairs."""
    return [name for name in PRESETS if name.startswith("gallery-")]


def preset(name: str) -> Config:
    """The config of a preset; UsageError where there is none of this name."""
    if name not in PRESETS:
        import difflib

        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]}?" if near else "`python -m symeq_core presets` lists them."
        raise UsageError(f"There is no preset '{name}'; {hint}")
    return override(from_dict({"name": name}), PRESETS[name])
