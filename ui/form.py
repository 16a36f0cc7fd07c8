"""Choosing what to train: a few buttons, everything else behind them, all of it in the URL."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from symeq_core.config import Config, override
from symeq_core.errors import SymeqError
from symeq_core.presets import EXTRA, PAPER, compose, preset

from . import pictures, say, theme, uploads, words
from .choice import segments

LEARNER_KEYS = {"symmetric": "symmetric", "elbo": "elbo", "wake_sleep": "wake-sleep"}
PRESETS = (*EXTRA, *(f"{name}-{learner}" for name in PAPER for learner in ("symmetric", "elbo")))
PRIORS = {
    "usual": "as the learner wants it",
    "implicit:ring": "ring, by samples only",
    "implicit:few-hot": "few bits on, by samples only",
}
OF_MODEL = ("steps", "batch", "layers", "hidden")  # start anew with other data or another model
OF_PRESET = (*OF_MODEL, "lr", "lr_q", "cooldown", "moves_p", "moves_q", "order", "prior", "labelled")


def choose(root: Path) -> tuple[Config | None, Any]:
    """The form and, beside it, the architecture and the equations: (the config chosen, or None where it can't be, the
    column where a button that starts it belongs).
    """
    left, right = st.columns([5, 4], gap="medium")
    with left:
        try:
            base, ready = _base(root)
            config = override(base, _details(base))
        except SymeqError as e:
            say.error(e)
            return None, left
    with right:
        dark = st.context.theme.type == "dark"
        st.image(pictures.architecture(_with_shape(config), "#e8ecf4" if dark else "#1c2230"), width=430)
        equations(config.learner.name)
    if config.learner.name == "elbo" and config.model.prior.startswith("implicit"):
        left.error(
            "The ELBO needs the density of its prior, and an implicit prior has none: choose the symmetric game or "
            "another prior."
        )
        ready = False
    return (config if ready else None), left


def _base(root: Path) -> tuple[Config, bool]:
    """The preset, or the usual settings of the data, model and learner; and whether no own images are missing."""
    name = st.selectbox(
        "Preset",
        PRESETS,
        index=None,
        placeholder="None: choose below",
        help=words.HELP["preset"],
        key="preset",
        bind="query-params",
        on_change=_forget,
        args=(OF_PRESET,),
    )
    if name:
        st.caption(words.PRESETS.get(name, ""))
        return preset(name), True
    data = _choice("Data", words.DATA, "data", *OF_MODEL)
    own = uploads.own_images(root) if data == "folder" else {}
    kind = _choice("Model", words.MODELS, "model", *OF_MODEL)
    learner = _choice("Learner", words.LEARNERS, "learner")
    if data in words.DOWNLOADS:
        st.caption(words.DOWNLOADS[data])
    return compose(data, kind, LEARNER_KEYS[learner], own or {}), own is not None


def _choice(label: str, options: dict[str, str], key: str, *forgets: str) -> str:
    return segments(label, options, key, help=words.HELP[key], on_change=_forget, args=(forgets,))


def _forget(keys: tuple[str, ...]) -> None:
    """Take settings out of the URL that belonged to another choice."""
    for key in keys:
        st.query_params.pop(key, None)


def _with_shape(config: Config) -> Config:
    """The config with its image shape, where that is known without looking at files."""
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


# --- settings whose usual value follows from the choices above ---
# The URL holds what differs from it. Bound widgets won't do, as they keep a value when what is usual changes.


def _kept(key: str, usual: Any, base: Config, draw: Callable[[Any, str], Any]) -> Any:
    """The setting that `draw(value, key)` shows, starting from what the URL says, else from what is usual."""
    text, value = st.query_params.get(key), usual
    if text is not None:
        try:
            value = type(usual)(text)
        except ValueError:
            value = usual
    of = base.name if base.name in PRESETS else f"{base.data.name} {base.model.kind}"
    value = draw(value, f"{key} of {of} {usual}")
    if value != usual:
        if st.query_params.get(key) != str(value):
            st.query_params[key] = str(value)
    elif text is not None:
        st.query_params.pop(key, None)
    return value


def _number(key: str, label: str, usual: float, base: Config, low: float, high: float, **how: Any) -> Any:
    def draw(value: Any, widget: str) -> Any:
        start = value if low <= value <= high else usual
        return st.number_input(label, low, high, start, key=widget, **how)

    return _kept(key, usual, base, draw)


def _text(key: str, label: str, usual: str, base: Config, help: str) -> str:
    return _kept(
        key, usual, base, lambda value, widget: st.text_input(label, value, key=widget, help=help, max_chars=300)
    )


def _details(base: Config) -> dict[str, Any]:
    """The further settings; only what differs from the base is returned."""
    t, found = base.train, {}
    a, b, c = st.columns(3)
    with a:
        found["train.steps"] = _number("steps", "Iterations", t.steps, base, 10, 10_000_000, step=1000)
    with b:
        found["train.batch"] = _number("batch", "Batch", t.batch, base, 1, 8192, help=words.HELP["batch"])
    seed = c.number_input("Seed", 0, 2**31, 0, key="seed", bind="query-params", help=words.HELP["seed"])
    usual = {"train.steps": t.steps, "train.batch": t.batch}
    changed = {k: v for k, v in found.items() if v != usual[k]} | ({"seed": seed} if seed != base.seed else {})
    with st.expander("More settings"):
        return changed | _networks(base) | _moves(base) | _game(base)


def _networks(base: Config) -> dict[str, Any]:
    found, m = {}, base.model
    a, b = st.columns([2, 1])
    with a:
        usual = " ".join(map(str, m.latents))
        layers = _text("layers", "Layers of code, z0 first", usual, base, words.HELP["layers"])
        if layers != usual:
            found["model.latents"] = layers
    if m.nets == "mlp":
        with b:
            usual = " ".join(map(str, m.hidden))
            hidden = _text("hidden", "Hidden widths", usual, base, words.HELP["hidden"])
            if hidden != usual:
                found["model.hidden"] = hidden
    return found


def _moves(base: Config) -> dict[str, Any]:
    t = base.train
    a, b = st.columns(2)
    with a:
        lr = _number("lr", "Adam step of p", t.lr, base, 1e-6, 1.0, format="%.1e", help=words.HELP["lr"])
        p = _number("moves_p", "Moves of p an iteration", t.moves_p, base, 0, 20)
    with b:
        lr_q = _number("lr_q", "Adam step of q", t.lr_q or t.lr, base, 1e-6, 1.0, format="%.1e", help=words.HELP["lr"])
        q = _number("moves_q", "Moves of q an iteration", t.moves_q, base, 0, 20)
    cooldown = _number("cooldown", "Cooldown, iterations", t.cooldown, base, 0, 10_000_000, help=words.HELP["cooldown"])
    found = {}
    if (lr, lr_q) != (t.lr, t.lr_q or t.lr):
        found |= {"train.lr": lr, "train.lr_q": lr_q}
    if cooldown != t.cooldown:
        found["train.cooldown"] = cooldown
    if (p, q) != (t.moves_p, t.moves_q):
        found |= {"train.moves_p": p, "train.moves_q": q}
    return found


def _game(base: Config) -> dict[str, Any]:
    found = {}
    a, b, c = st.columns(3)
    orders = ["usual", "alternating", "simultaneous"]
    order = a.selectbox("Order of moves", orders, key="order", bind="query-params", help=words.HELP["order"])
    if order != "usual":
        found["train.schedule"] = order
    prior = b.selectbox(
        "Prior of z0",
        list(PRIORS),
        format_func=PRIORS.__getitem__,
        key="prior",
        bind="query-params",
        help=words.HELP["prior"],
    )
    if prior != "usual":
        found["model.prior"] = prior
    with c:
        usual = base.data.labelled
        labelled = _number("labelled", "Labels shown", usual, base, 0, 1_000_000, help=words.HELP["labelled"])
        if labelled != usual:
            found["data.labelled"] = labelled
    return found
