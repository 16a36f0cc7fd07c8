"""The two maps: what is sent to the component, what comes back, and the numbers that say what the maps are worth."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from symeq_core.errors import SymeqError

from . import latent, latent_map, latent_url, pairs, words
from .latent import Side, View


def drawn(found: list[Side], view: View) -> tuple[list[Any], Any]:
    """(projection.Map of each side, the Fit that brought B onto A or None)."""
    from symeq_core.projection import Map, procrustes

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
    z, further = _side.z(codes), latent._prior(_side, _side.key) if prior else None
    if kind != "umap":
        return {"native": projection.native, "hamming": projection.hamming, "pca": projection.pca}[kind](z, further)
    positions = maps.found(Path(_side.pair.folder), maps.Spec(_side.layer, codes, _side.n))
    if positions is None or len(positions) != len(z):
        raise SymeqError("The UMAP of this pair is not there: choose another map, or reload the page.")
    placed = projection.among(z, positions, further) if further is not None else np.zeros((0, 2), np.float32)
    return projection.Map(positions, placed)


def payload(found: list[Side], view: View, maps: list[Any], fit: Any) -> bytes:
    """What the component draws."""
    a = found[0]
    _, numbers, classes, names, total = latent.images(a.pair, view.n)
    sheet = latent._sheet(latent.images(a.pair, view.n)[0], (a.pair.stamp(), view.n))[1]
    arrays: dict[str, np.ndarray] = {"numbers": numbers.astype(np.int32)}
    colour, values = _colour(found, view, maps, classes)
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
        "kind": f"{'umap' if view.waiting else view.kind} {a.pair.key} {view.layer}",  # another one is seen whole again
        "total": total,
        "noun": f"test images of {words.DATA[a.pair.config().data.name]}",
        "classes": list(names),
        "colour": colour,
        "sheet": sheet,
        "shape": shape,
        "k": panes and arrays["nearA"].shape[1],
        "notes": _notes(found, view, maps),
        "panes": panes,
        "start": latent_url.start(),
    }
    return latent_map.pack(header, arrays)


def _colour(found: list[Side], view: View, maps: list[Any], classes: Any) -> tuple[dict[str, Any], list[Any] | None]:
    """(how points are coloured, the numbers by side or None for labels); what can't be is replaced and told."""
    name, values = view.colour, None
    if name == "label" and classes is None:
        name = "error"
        st.caption("These images have no labels: coloured by reconstruction error.")
    if name in ("kept", "moved") and len(found) < 2:
        name = "error"
    if name == "label":
        return {"kind": "label", "title": "Label", "palette": latent_map.LABELS}, None
    if name == "kept":
        values = [100 * latent.kept(*found, view.codes)] * 2
    elif name == "moved":
        values = [moved(maps)] * 2
    else:
        got = [s.figure(name) for s in found]
        if any(v is None for v in got):
            st.caption(f"{latent.COLOURS[name]} is not defined where the prior has no density: coloured by error.")
            name, got = "error", [s.figure("error") for s in found]
        values = [v for v in got if v is not None]
    everything = np.concatenate(values)
    lo, hi = (0.0, 100.0) if name == "kept" else map(float, np.percentile(everything, [2, 98]))
    shared = name in ("kept", "moved")
    title = latent.COLOURS[name]
    return {
        "kind": "value",
        "title": title,
        "unit": latent.UNITS.get(name, "nats"),
        "lo": lo,
        "hi": hi,
        "shared": shared,
    }, values


def moved(maps: list[Any]) -> np.ndarray:
    """How far each image's two points are apart [n], in root mean square radii of A's map."""
    a, b = maps[0].positions, maps[1].positions
    radius = math.sqrt(((a - a.mean(0)) ** 2).sum(1).mean()) or 1.0
    return np.linalg.norm(a - b, axis=1) / radius


def _pane(side: Side, view: View, m: Any, fit: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    position = f"position{side.letter}"
    spec: dict[str, Any] = {
        "letter": side.letter,
        "title": f"{pairs.title(side.pair)} · {side.layer}",
        "colour": pairs.colour(side.pair),
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
        return "Hamming distances, classical scaling" + (f", {n} landmarks" if n and n < len(m.positions) else "")
    return {"umap": "UMAP, 15 neighbours", "native": "the two numbers of each code"}[view.kind]


def _notes(found: list[Side], view: View, maps: list[Any]) -> list[str]:
    """What the legend says of the prior."""
    notes = []
    if len(maps[0].further):
        notes.append(f"+ {len(maps[0].further):,} codes drawn from the prior")
    if view.kind == "native" and any(s.standard for s in found):
        notes.append("Dashed rings: 1 and 2 standard deviations of the prior, with 39 % and 86 % of its codes inside")
    return notes


def _frames(positions: list[np.ndarray], kind: str) -> list[list[float]]:
    """Centre and half side of the square that is seen at first, for each map; native ones share their units."""
    ends = [np.percentile(p, [0.5, 99.5], axis=0) for p in positions]
    if kind == "native":
        return [[0.0, 0.0, max(3.2, 1.05 * float(np.abs(ends).max()))]] * len(ends)
    return [[*((lo + hi) / 2).tolist(), 0.56 * float((hi - lo).max()) or 1.0] for lo, hi in ends]


# --- what the maps are worth -------------------------------------------------------------------------------------


@st.cache_data(max_entries=24, show_spinner=False)
def _quality(_side: Side, _m: Any, key: tuple) -> tuple[float, int, float]:
    from symeq_core.projection import faithfulness, trustworthiness

    z = _side.z(key[-2])
    return *trustworthiness(z, _m.positions), faithfulness(z, _m.positions)


@st.cache_data(max_entries=24, show_spinner=False)
def _mixing(_side: Side, key: tuple) -> tuple[float, float, int]:
    from symeq_core.projection import mixing

    z, prior = _side.codes.sample[: latent.PRIOR], latent._prior(_side, key)
    return *mixing(z, prior, K_MIX), min(len(z), len(prior))


K_MIX = 10


def numbers(found: list[Side], view: View, maps: list[Any], fit: Any) -> None:
    """Figures of the spaces and of the maps, each with its n and what chance would give."""
    columns = [c.container(gap="xxsmall") for c in st.columns(4 if len(found) > 1 else 1)]
    n = len(found[0].z(view.codes))
    if len(found) > 1:
        values = latent.kept(*found, view.codes)
        error = values.std() / math.sqrt(n)
        columns[0].metric(
            "Neighbours shared",
            f"{values.mean():.1%} ± {error:.1%}",
            help=f"Of an image's {latent.K} nearest images in A's latent space, how many are among its {latent.K} "
            f"nearest in B's: mean ± standard error over n = {n:,} test images. The same space twice gives 100 %, "
            f"unrelated spaces {min(1, latent.K / max(1, n - 1)):.1%}. Measured in the spaces, not on the maps.",
        )
        columns[0].caption(f"k = {latent.K}, n = {n:,}, chance {min(1, latent.K / max(1, n - 1)):.1%}")
        apart = moved(maps)
        columns[1].metric(
            "Median distance A–B",
            f"{np.median(apart):.2f} radii",
            help="Median distance of an image's two points, in root mean square radii of A's map"
            + (f"; after the fit {fit.disparity:.0%} of A's squared spread is left." if fit else ", unfitted."),
        )
        left = f"fit leaves {fit.disparity:.0%} of the spread" if fit else "B not fitted to A"
        columns[1].caption(f"n = {n:,}, {left}")
    for side, m, column in zip(found, maps, columns[-len(found) :], strict=True):
        trust, of, rank = _quality(side, m, (*side.key, view.kind, view.prior, view.codes, str(view.align)))
        share, error, count = _mixing(side, side.key)
        kind = "Hamming" if side.discrete else "city-block"
        column.metric(
            f"Prior among {side.letter}",
            f"{share:.1%} ± {error:.1%}",
            help=f"Of the {K_MIX} nearest neighbours of an encoding of a test image (one draw), how many are codes "
            f"drawn from the prior rather than other encodings; {count:,} of each, mean ± standard error. 50 %: "
            "encodings and prior can't be told apart this way. Less: encodings keep to themselves, and the prior draws "
            "codes unlike any encoding.",
        )
        column.caption(
            f"50 % if alike, n = {count:,} · map: trustworthiness {trust:.2f} (n = {of:,}), "
            f"rank correlation with {kind} distance {rank:.2f}",
            help="Trustworthiness: how far near neighbours on the map (15) are near in the latent space, 1 at best. "
            "Rank correlation (Spearman): of distances on the map and between codes, over 5,000 random pairs.",
        )
