"""Choosing what to train: a few buttons, everything else behind them, all of it in the URL."""

from pathlib import Path
from typing import Any

import streamlit as st

from symeq_core.config import Config
from symeq_core.errors import SymeqError
from symeq_core.presets import MODELS, compose

from . import pictures, theme, uploads, words

LEARNER_KEYS = {"symmetric": "symmetric", "elbo": "elbo", "wake_sleep": "wake-sleep"}
PRIORS = {
    "usual": "as the learner wants it",
    "implicit:ring": "ring, by samples only",
    "implicit:few-hot": "few bits on, by samples only",
}


def choose(root: Path) -> Config | None:
    """The form and, beside it, the architecture and the equations; the config chosen, or None where it can't be."""
    left, right = st.columns([5, 4], gap="medium")
    with left:
        data, kind, learner = _main_choices()
        changes = uploads.own_images(root) if data == "folder" else {}
        changes |= _details(data, kind)
    try:
        config = compose(data, kind, LEARNER_KEYS[learner], changes)
    except SymeqError as e:
        left.error(str(e))
        return None
    with right:
        dark = st.context.theme.type == "dark"
        st.image(pictures.architecture(_with_shape(config), "#e8ecf4" if dark else "#1c2230"), width=430)
        equations(learner)
    return config


def _with_shape(config: Config) -> Config:
    """The config with its image shape, where that is known without looking at files."""
    from dataclasses import replace

    sides = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "fashion_mnist": (1, 28, 28)}
    side = config.data.size or (64 if config.data.name == "celeba" else 32)
    channels = 3 if config.data.name == "celeba" else config.data.channels or 1
    return replace(config, model=replace(config.model, x_shape=sides.get(config.data.name, (channels, side, side))))


def equations(learner: str) -> None:
    """What each player of this learner maximises."""
    first, second, text = words.EQUATIONS[learner]
    colour = theme.LEARNER[learner]
    st.html(f'<div style="font-weight:600;color:{colour}">{words.LEARNERS[learner]}</div>')
    st.latex(first)
    st.latex(second)
    st.caption(text)


def _main_choices() -> tuple[str, str, str]:
    def control(label: str, options: dict[str, str], key: str) -> str:
        return st.segmented_control(
            label,
            list(options),
            format_func=options.__getitem__,
            default=next(iter(options)),
            required=True,
            key=key,
            help=words.HELP[key],
            bind="query-params",
            wrap=True,
        )

    return (
        control("Data", words.DATA, "data"),
        control("Model", words.MODELS, "model"),
        control("Learner", words.LEARNERS, "learner"),
    )


def _details(data: str, kind: str) -> dict[str, Any]:
    """The further settings; only what was changed is returned."""
    found: dict[str, Any] = {}
    base = MODELS[data if (data, kind) in MODELS else "mnist", kind]
    steps = 5000 if data == "digits" else 20000
    a, b, c = st.columns(3)
    found["train.steps"] = a.number_input("Iterations", 10, 10_000_000, steps, 1000, key="steps", bind="query-params")
    found["train.batch"] = b.number_input(
        "Batch", 1, 8192, 128, key="batch", bind="query-params", help="Images an iteration."
    )
    found["seed"] = c.number_input("Seed", 0, 2**31, 0, key="seed", bind="query-params", help=words.HELP["seed"])
    with st.expander("More settings"):
        return found | _more_settings(data, kind, base)


def _more_settings(data: str, kind: str, base: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    layers = st.text_input(
        "Layers of code, z0 first",
        base["model.latents"],
        key=f"layers {kind} {data}",
        help="bernoulli:30 are 30 bits, categorical:5x10 five units of ten classes, gaussian:2 two real numbers; "
        "several layers are separated by a space.",
    )
    found["model.latents"] = layers
    a, b, c = st.columns(3)
    lr = a.number_input("Adam step of p", 1e-6, 1.0, 1e-3, format="%.1e", key="lr", bind="query-params")
    lr_q = b.number_input("Adam step of q", 1e-6, 1.0, 1e-3, format="%.1e", key="lr_q", bind="query-params")
    hidden = c.number_input("Hidden width", 1, 4096, base["model.hidden"][0], key=f"hidden {kind} {data}")
    found |= {"train.lr": lr, "train.lr_q": lr_q, "model.hidden": [int(hidden)]}
    a, b, c = st.columns(3)
    found["train.moves_p"] = a.number_input("Moves of p an iteration", 0, 20, 1, key="moves_p", bind="query-params")
    found["train.moves_q"] = b.number_input("Moves of q an iteration", 0, 20, 1, key="moves_q", bind="query-params")
    orders = ["usual", "alternating", "simultaneous"]
    order = c.selectbox("Order of moves", orders, key="order", bind="query-params")
    if order != "usual":
        found["train.schedule"] = order
    a, b = st.columns(2)
    prior = a.selectbox("Prior of z0", list(PRIORS), format_func=PRIORS.__getitem__, key="prior", bind="query-params")
    if prior != "usual":
        found["model.prior"] = prior
    found["data.labelled"] = b.number_input(
        "Images that show their label",
        0,
        1_000_000,
        0,
        key="labelled",
        bind="query-params",
        help="0: unsupervised.",
    )
    return found
