"""The two maps: where the points are, and what is sent to the component."""

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from symeq_core.errors import SymeqError

from . import latent, latent_colour, latent_map, latent_url, pairs, words
from .latent import Side, View


def drawn(found: list[Side], view: View) -> tuple[list[Any], Any]:
    """(projection.Map of each side, the Fit that brought B onto A or None)."""
    from symeq_core.projection import Map, procrustes

    if view.kind == "joint":
        return _jointly(found, view), None
    maps = [_map(s, view.codes, view.kind, view.prior) for s in found]
    if len(maps) < 2 or not view.align:
        return maps, None
    fit = procrustes(maps[0].positions, maps[1].positions, scaled=view.kind != "native")
    maps[1] = Map(fit(maps[1].positions), fit(maps[1].further), maps[1].facts)
    return maps, fit


def _map(side: Side, codes: str, kind: str, prior: bool) -> Any:
    return _placed(side, (*side.key, codes, kind, prior))


@st.cache_resource(max_entries=16, show_spinner="Placing the points …")
def _placed(_side: Side, key: tuple) -> Any:
    from symeq_core import maps, projection

    codes, kind, prior = key[-3:]
    z, further = _side.z(codes), latent.prior(_side) if prior else None
    if kind != "umap":
        return {"native": projection.native, "hamming": projection.hamming, "pca": projection.pca}[kind](z, further)
    positions = maps.found(Path(_side.pair.folder), maps.Spec(_side.layer, codes, _side.n))
    if positions is None or len(positions) != len(z):
        raise SymeqError("The UMAP of this pair is not there: choose another map, or reload the page.")
    placed = projection.among(z, positions, further) if further is not None else np.zeros((0, 2), np.float32)
    return projection.Map(positions, placed)


def _jointly(found: list[Side], view: View) -> list[Any]:
    """Both maps, laid out together."""
    return _joined(found, (found[0].key, found[1].key, view.codes, view.prior))


@st.cache_resource(max_entries=8, show_spinner="Placing the points …")
def _joined(_found: list[Side], key: tuple) -> list[Any]:
    from symeq_core import maps, projection

    codes, prior = key[-2:]
    positions = maps.joint_found(latent.two(_found, codes))
    if positions is None or len(positions[0]) != len(_found[0].z(codes)):
        raise SymeqError("The joint map of these pairs is not there: choose another map, or reload the page.")
    made = []
    for side, own in zip(_found, positions, strict=True):
        further = projection.among(side.z(codes), own, latent.prior(side)) if prior else np.zeros((0, 2), np.float32)
        made.append(projection.Map(own, further))
    return made


def payload(found: list[Side], view: View, maps: list[Any], fit: Any) -> bytes:
    """What the component draws."""
    a = found[0]
    _, numbers, classes, names, total = latent.images(a.pair, view.n)
    sheet = latent.sheet(a)[1]
    arrays: dict[str, np.ndarray] = {"numbers": numbers.astype(np.int32)}
    colour, values = latent_colour.chosen(found, view, maps, classes)
    if classes is not None:
        arrays["labels"] = classes.astype(np.uint16)
    panes: list[dict[str, Any]] = []
    frames = _frames([m.positions for m in maps], view.kind)
    for k, (side, m) in enumerate(zip(found, maps, strict=True)):
        spec, more = _pane(side, view, m, fit if k else None)
        spec["frame"] = frames[k]
        more |= {f"near{side.letter}": latent.near(side, view.codes)}
        spec["near"] = f"near{side.letter}"
        if values is not None:
            more[f"value{side.letter}"] = values[k].astype(np.float32)
            spec["value"] = f"value{side.letter}"
        panes.append(spec)
        arrays |= more
    shape = list(a.p["x"].event)
    header = {
        "kind": _kind(a, view),
        "waiting": view.waiting,
        "total": total,
        "noun": f"test images of {words.DATA[a.pair.config().data.name]}",
        "classes": list(names),
        "colour": colour,
        "sheet": sheet,
        "shape": shape,
        "k": arrays["nearA"].shape[1],
        "notes": _notes(found, view, maps),
        "panes": panes,
        "start": latent_url.start(),
    }
    return latent_map.pack(header, arrays)


def _kind(a: Side, view: View) -> str:
    """What map it is: another one is seen whole again, while the zoom stays for all that is drawn on this one."""
    codes = "" if view.kind == "native" else view.codes
    return f"{view.kind} {'for another' * view.waiting} {a.pair.key} {view.layer} {codes}"


def _pane(side: Side, view: View, m: Any, fit: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    position = f"position{side.letter}"
    spec: dict[str, Any] = {
        "letter": side.letter,
        "title": f"{pairs.title(side.pair)} · {side.layer}",
        "colour": side.colour,
        "facts": _facts(view, m)
        + ("" if fit is None else ", turned onto A" if view.kind == "native" else ", fitted to A"),
        "position": position,
        "native": view.kind == "native",
    }
    arrays: dict[str, np.ndarray] = {position: m.positions}
    if len(m.further):
        spec["further"] = f"further{side.letter}"
        arrays[spec["further"]] = m.further
    if view.kind != "native":
        return spec, arrays
    if side.standard:
        spec["prior"] = [0.0, 0.0] if fit is None else fit(np.zeros((1, 2))).ravel().tolist()
    if fit is not None:
        r, inverse = fit.rotation, fit.rotation.T / fit.scale
        origin = -fit.shift @ inverse
        spec["turn"] = [r[0, 0], r[0, 1], r[1, 0], r[1, 1]]
        spec["back"] = [inverse[0, 0], inverse[1, 0], origin[0], inverse[0, 1], inverse[1, 1], origin[1]]
    if side.codes.sd is not None and view.codes == "mean":
        spec["sd"] = f"sd{side.letter}"
        arrays[spec["sd"]] = side.codes.sd
    decoder, more = _decoder(side)
    return spec | decoder, arrays | more


def _decoder(side: Side) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The decoder's weights, so that the browser decodes by itself; nothing where it is no plain perceptron."""
    from symeq_core.latents import mlp

    model, net = side.pair.config().model, mlp(side.p)
    activation = model.decoder_activation or model.activation
    output = {"bernoulli": "sigmoid", "gaussian-scale": "none"}.get(model.x_family)
    if net is None or output is None or activation == "gelu":
        return {}, {}
    name = f"decoder{side.letter}"
    arrays = {f"{name}{part}{i}": v for i, layer in enumerate(net) for part, v in zip("wb", layer, strict=True)}
    return {"decoder": name, "layers": len(net), "activation": activation, "output": output}, arrays


def _facts(view: View, m: Any) -> str:
    if view.kind == "pca":
        return f"PCA, {m.facts['variance shown']:.0%} of the variance shown"
    if view.kind == "hamming":
        n = int(m.facts.get("landmarks", 0))
        return "Hamming distances" + (f", {n} landmarks" if n and n < len(m.positions) else "")
    return {
        "umap": "UMAP, 15 neighbours",
        "joint": "UMAP of both, 15 neighbours",
        "native": "the two numbers of each code",
    }[view.kind]


def _notes(found: list[Side], view: View, maps: list[Any]) -> list[str]:
    """What the legend says of the prior."""
    from symeq_core.projection import NEAREST

    notes = []
    if len(maps[0].further):
        umap = view.kind in ("umap", "joint")
        where = f", each at the mean place of its {NEAREST} nearest encodings, as UMAP itself can't place new points"
        notes.append(f"+ {len(maps[0].further):,} random codes, drawn from the prior{where if umap else ''}")
    if view.kind == "native" and any(s.standard for s in found):
        notes.append("Dashed rings: 1 and 2 standard deviations of the prior, with 39% and 86% of its codes inside")
    return notes


def _frames(positions: list[np.ndarray], kind: str) -> list[list[float]]:
    """Centre and half side of the square that is seen at first, for each map. Native ones share their units, joint
    ones all."""
    if kind == "joint":  # one map, so one frame
        positions = [np.concatenate(positions)] * len(positions)
    ends = [np.stack((p.min(0), p.max(0))) for p in positions]
    if kind == "native":
        return [[0.0, 0.0, max(3.2, 1.05 * float(np.abs(ends).max()))]] * len(ends)
    return [[*((lo + hi) / 2).tolist(), 0.53 * float((hi - lo).max()) or 1.0] for lo, hi in ends]
