"""Pairs beside one another: how their settings differ, in words; their figures and which is better; their curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from . import measured
from .config import Config, Latent, differences, to_dict
from .follow import thinned
from .presets import LEARNERS

Event = dict[str, Any]
LEARNER_WORDS = {"symmetric": "symmetric game", "elbo": "ELBO", "wake_sleep": "wake-sleep"}
DATA_WORDS = {"digits": "digits", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "celeba": "CelebA"}
# Fields that say how training was looked at or where it ran, not what was learned.
ASIDE = {"name", "format", "train.device", "train.threads", "train.snapshot_chain", "learner.name"} | {
    f"train.{k}" for k in ("log_every", "probe_every", "snapshot_every", "save_seconds")
}
FIELDS = {
    "seed": "seed",
    "data.name": "data set",
    "data.split": "images used",
    "data.path": "folder of images",
    "data.size": "side of an image in pixels",
    "data.channels": "channels of an image",
    "data.binarize": "binarisation threshold",
    "data.flip": "flip probability of a pixel",
    "data.noise": "pixel noise",
    "data.labelled": "images that show their label",
    "model.kind": "model kind",
    "model.latents": "layers of code",
    "model.x_family": "pixel distribution",
    "model.x_shape": "image shape",
    "model.label": "label",
    "model.prior": "prior",
    "model.label_prior": "prior of the label",
    "model.nets": "kind of networks",
    "model.hidden": "hidden widths",
    "model.width": "width of the encoder",
    "model.middle": "width between layers of code",
    "model.activation": "activation",
    "model.decoder_activation": "activation of the decoder",
    "learner.estimator": "gradient estimator",
    "learner.samples": "samples of z an image",
    "learner.labelled_weight": "weight of labelled images",
    "train.steps": "iterations",
    "train.batch": "batch size",
    "train.labelled_batch": "labelled batch size",
    "train.lr": "Adam step of p",
    "train.lr_q": "Adam step of q",
    "train.cooldown": "cooldown of the Adam steps",
    "train.schedule": "order of moves",
    "train.moves_p": "moves of p an iteration",
    "train.moves_q": "moves of q an iteration",
}


# --- settings ---


@dataclass(frozen=True)
class Contrast:
    """How two pairs differ: one or two sentences, and whether more than the learner (or one setting) differs."""

    text: str
    confounded: bool = False
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict, compare=False)


def contrast(a: Config, b: Config, letters: Sequence[str] = "AB", trained: tuple[int, int] | None = None) -> Contrast:
    """How b differs from a. trained: the iterations each has made, where that is known.

    What comes with a learner (its usual order of moves, its usual prior) counts as the learner's.
    """
    x, y = letters[0], letters[1]
    found = {k: v for k, v in differences(a, b).items() if k not in ASIDE}
    if trained:
        found.pop("train.steps", None)
        if trained[0] != trained[1]:
            found["train.steps"] = trained
    learners = a.learner.name, b.learner.name
    names = " against ".join(LEARNER_WORDS[k] for k in learners)
    usual = [
        k for k in ("train.schedule", "model.prior") if k in found and found[k] == tuple(_usual(n, k) for n in learners)
    ]
    with_it = {k: found.pop(k) for k in usual} if learners[0] != learners[1] else {}
    listed = ", ".join(f"{FIELDS.get(k, k)} ({_say(k, u)} against {_say(k, v)})" for k, (u, v) in found.items())
    everything = found | with_it
    if "data.name" in found:
        text = f"{x} and {y} learned from different images: {_say('data.name', a.data.name)} against "
        text += f"{_say('data.name', b.data.name)}. Their figures and pictures can't be compared one to one."
        return Contrast(text, True, everything)
    if learners[0] == learners[1]:
        same = f"{x} and {y} have the same learner, the {names.partition(' against ')[0]}"
        if not found:
            return Contrast(f"{same}, and all their settings are the same.", False, everything)
        if len(found) == 1:
            return Contrast(f"{same}, and differ in one setting only: {listed}.", False, everything)
        text = (
            f"{same}, and differ in {len(found)} settings, so no difference can be put down to one of them: {listed}."
        )
        return Contrast(text, True, everything)
    if found:
        text = (
            f"{x} and {y} differ in more than the learner ({names}), so what differs need not come from it: {listed}."
        )
        return Contrast(text, True, everything)
    text = f"{x} and {y} differ in the learner only: {names}."
    if with_it:
        parts = [f"{FIELDS[k]} ({_say(k, u)} against {_say(k, v)})" for k, (u, v) in with_it.items()]
        text += f" With it comes its usual {' and its usual '.join(parts)}."
    return Contrast(text, False, everything)


def _usual(learner: str, name: str) -> Any:
    key = learner.replace("_", "-")
    section, _, leaf = name.partition(".")
    return LEARNERS[key].get(name, to_dict(Config())[section][leaf])


def _say(name: str, value: Any) -> str:
    """A setting's value as one would write it."""
    if value is None:
        return {"train.lr_q": "that of p", "model.decoder_activation": "that of the encoder"}.get(name, "none")
    if name == "data.name":
        return DATA_WORDS.get(value, "own images" if value == "folder" else value)
    if name in ("model.latents", "model.label"):
        layers = value if isinstance(value, list) else [value]
        return " → ".join(Latent(**z).said for z in layers)
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, list):
        return "×".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


# --- figures ---

HIGHER = {"L_p": True, "L_q": True, "ELBO": True, "label accuracy": True}


@dataclass(frozen=True)
class Row:
    """One figure of several pairs: cells hold what `evaluate` (or the last probe) stored, None where there is none."""

    group: str
    name: str
    unit: str
    cells: list[dict[str, Any] | None]
    best: int | None
    verdict: str


def last_probe(events: Sequence[Event]) -> dict[str, dict[str, Any]]:
    """L_p, L_q and ELBO of the last probe, and at which step it was taken."""
    found = next((e for e in reversed(events) if e.get("event") == "probe"), None)
    return {} if found is None else {k: v | {"step": found["step"]} for k, v in found["figures"].items()}


def rows(
    stored: Sequence[Mapping[str, Any] | None],
    events: Sequence[Sequence[Event]],
    letters: Sequence[str] = "ABCD",
    configs: Sequence[Config] = (),
) -> list[Row]:
    """The figures of several pairs: what `evaluate` stored, where it did for all of them, else their last probes.

    configs: of the pairs, where known. L_p and L_q of pairs with other codes are not ranked, as they count the codes'
    probability, or density, too.
    """
    tables: list[dict[tuple[str, str], dict[str, Any]]] = []
    if all(s and s.get("figures") for s in stored):
        tables = [{(g, n): f for g, of in s["figures"].items() for n, f in of.items()} for s in stored if s]
    else:
        tables = [{("last probe", n): f for n, f in last_probe(e).items()} for e in events]
    keys = list(dict.fromkeys(k for t in tables for k in t))
    groups = list(dict.fromkeys(g for g, _ in keys))
    found = [
        row(g, n, [t.get((g, n)) for t in tables], letters, [t.get((g, measured.at_least(n))) for t in tables])
        for g, n in sorted(keys, key=lambda k: groups.index(k[0]))
    ]
    if len({tuple(c.model.latents) for c in configs}) > 1:
        why = "not comparable: other codes"
        found = [replace(r, best=None, verdict=why) if r.name in ("L_p", "L_q") else r for r in found]
    return found


def headlines(rows: Sequence[Row]) -> list[Row]:
    """The few rows that say most; of those that say the same, the first that can be compared, else the
    first that is known of all pairs, or of any.
    """
    known = {(r.group, r.name): r for r in rows if any(map(_is_known, r.cells))}
    whole = {key for key, r in known.items() if all(map(_is_known, r.cells))}
    fair = {key for key in whole if not measured.unranked(known[key].cells)}
    shared = dict(measured.headlines(whole)) | dict(measured.headlines(fair))
    return [known[shared.get(h, key)] for h, key in measured.headlines(known)]


def _is_known(cell: dict[str, Any] | None) -> bool:
    return cell is not None and cell.get("value") is not None


def row(
    group: str,
    name: str,
    cells: list[dict[str, Any] | None],
    letters: Sequence[str] = "ABCD",
    least: Sequence[dict[str, Any] | None] = (),
) -> Row:
    """One figure, and which pair is better than all others, as `measured.best` has it. least: its lower bounds, where
    it is an upper one.
    """
    known = [c for c in cells if c]
    unit = str(known[0].get("unit", "")) if known else ""
    sides = [c["better"] for c in known if c.get("better")] or ["higher" if HIGHER.get(name) else None]
    ranked = [c and c | {"better": sides[0]} for c in cells]
    if why := measured.unranked(ranked):
        return Row(group, name, unit, cells, None, why)
    if sides[0] is None or "floor" in name:
        return Row(group, name, unit, cells, None, "")
    best = measured.best(ranked, least)
    return Row(group, name, unit, cells, best, _said(ranked, best, sides[0] == "higher", letters))


def _said(cells: Sequence[dict[str, Any] | None], best: int | None, higher: bool, letters: Sequence[str]) -> str:
    """How far the first is ahead of the next or, where none is the best, of the next that it doesn't clearly beat."""
    known = [(c, letter) for c, letter in zip(cells, letters, strict=False) if c and c.get("value") is not None]
    if len(known) < 2:
        return ""
    (first, a), *others = sorted(known, key=lambda k: k[0]["value"], reverse=higher)
    close = others if best is not None else [k for k in others if measured.winner(first, k[0]) != "game"]
    if not close:
        return f"no verdict: {a}'s upper bound isn't below the lower bound of every other"
    second, b = close[0]
    gap = abs(first["value"] - second["value"])
    error = measured.error_of_difference(first, second)
    if error is None:
        return f"{a} by {gap:.3g}, of unknown error"
    told = measured.shown({"value": gap, "stderr": error})
    if best is None:
        return f"no clear difference{f' between {a} and {b}' if len(known) > 2 else ''} ({told})"
    return f"{a} better by {told}" + (f" than {b}" if len(known) > 2 else "")


# --- curves ---


def probe_curves(events: Sequence[Sequence[Event]], letters: Sequence[str] = "ABCD") -> pd.DataFrame:
    """L_p, L_q and ELBO of the probe sets: pair, step, seconds, series, value, stderr (nats per image)."""
    found = [
        (letter, e["step"], e["seconds"], name, f["value"], f["stderr"])
        for letter, own in zip(letters, events, strict=False)
        for e in thinned([e for e in own if e["event"] == "probe"])
        for name, f in e["figures"].items()
        if f["value"] is not None and f["unit"] == "nats per image"
    ]
    return pd.DataFrame(found, columns=["pair", "step", "seconds", "series", "value", "stderr"])


def term_curves(events: Sequence[Sequence[Event]], player: str, letters: Sequence[str] = "ABCD") -> pd.DataFrame:
    """A player's utility in training and its terms: pair, step, seconds, series (sum, x, z0, ...), value (nats)."""
    found = []
    for letter, own in zip(letters, events, strict=False):
        for e in thinned([e for e in own if e["event"] == "metrics"]):
            terms = e.get("terms", {}).get(player)
            if terms:
                for name, value in (("sum", sum(terms.values())), *terms.items()):
                    found.append((letter, e["step"], e["seconds"], name, value))
    return pd.DataFrame(found, columns=["pair", "step", "seconds", "series", "value"])
