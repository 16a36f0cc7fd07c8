"""How alike the two spaces are, how well encodings fit the prior, and how far the maps can be trusted."""

import math
from typing import Any

import numpy as np
import streamlit as st

from . import latent
from .latent import Side, View
from .latent_colour import moved

K_MIX = 10  # nearest codes looked at for random ones


@st.cache_data(max_entries=24, show_spinner=False)
def _quality(_side: Side, _m: Any, key: tuple) -> tuple[float, int, float]:
    from symeq_core.neighbours import trustworthiness
    from symeq_core.projection import faithfulness

    z = _side.z(key[-2])
    return *trustworthiness(z, _m.positions), faithfulness(z, _m.positions)


@st.cache_data(max_entries=24, show_spinner=False)
def _mixing(_side: Side, key: tuple) -> tuple[float, float, int]:
    from symeq_core.neighbours import mixing

    z, prior = _side.codes.sample[: latent.PRIOR], latent.prior(_side)
    return *mixing(z, prior, K_MIX), min(len(z), len(prior))


def _brought(view: View, fit: Any) -> str:
    if view.kind == "joint":
        return "laid out with"
    return "fitted to" if fit else "not fitted to"


def show(found: list[Side], view: View, maps: list[Any], fit: Any) -> None:
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
            f"nearest in B's: mean ± standard error over n = {n:,} test images. The same space twice gives 100%, "
            f"unrelated spaces {min(1, latent.K / max(1, n - 1)):.1%}. Measured in the spaces, not on the maps.",
        )
        columns[0].caption(f"of the {latent.K} nearest, n = {n:,}, chance {min(1, latent.K / max(1, n - 1)):.1%}")
        apart = moved(maps)
        columns[1].metric(
            "Median distance A to B",
            f"{np.median(apart):.2f} radii",
            help="How far an image's two points are apart, the median over the images. One radius is the root mean "
            "square distance of A's points from their centre"
            + (f". After B was fitted to A, {fit.disparity:.0%} of A's squared spread is left." if fit else "."),
        )
        columns[1].caption(f"of A's map, n = {n:,}, B {_brought(view, fit)} A")
    for side, m, column in zip(found, maps, columns[-len(found) :], strict=True):
        share, error, count = _mixing(side, side.key)
        column.metric(
            f"Random codes near {side.letter}'s",
            f"{share:.1%} ± {error:.1%}",
            help=f"Of the {K_MIX} codes nearest to the code of a test image (one draw), how many were drawn from the "
            f"prior and are not those of other images; {count:,} of each, mean ± standard error. 50%: random codes "
            "and those of images can't be told apart this way. Less: images keep to themselves, and a random code is "
            "unlike that of any image.",
        )
        column.caption(f"50% if they are alike, n = {count:,}")
        if view.kind == "native":  # the codes themselves: nothing was lost on the way to a map
            continue
        of_these = [s.key for s in found] if view.kind == "joint" else []
        key = (side.key, *of_these, view.kind, view.prior, view.codes, view.align)
        trust, of, rank = _quality(side, m, key)
        column.caption(
            f"Trust in this map, 1 at best: near points {trust:.2f}, distances {rank:.2f}",
            help="Near points: how far the 15 nearest on the map are near in the latent space (trustworthiness, over "
            f"{of:,} images). Distances: rank correlation (Spearman) of distances on the map with "
            f"{'Hamming' if side.discrete else 'city-block'} distances of codes, over 5,000 random pairs.",
        )
