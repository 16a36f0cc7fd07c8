"""What each unit of a code knows about image and label, and how it fits the prior."""

import math
from html import escape
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from . import latent, pairs
from .latent import Side, View


def what_units_know(found: list[Side], view: View, maps: list[Any], chosen: list[int]) -> None:
    """Mutual information of every unit with image and label, and its aggregated posterior against the prior."""
    tables = [_units(s, (*s.key, view.codes)) for s in found]
    top = max([0.7, *(float(t["image"].max()) for t in tables if "image" in t)])
    for column, side, t in zip(st.columns(len(found), gap="large"), found, tables, strict=True):
        with column:
            st.html(f'<b style="color:{side.colour}">{side.letter}</b> {escape(pairs.title(side.pair))}')
            if side.discrete:
                _discrete(side, t, top)
            else:
                _real(side, t)


@st.cache_data(max_entries=16, show_spinner="Measuring the units …")
def _units(_side: Side, key: tuple) -> pd.DataFrame:
    from symeq_core import latents

    _, _, classes, _, _ = latent.images(_side.pair, _side.n)
    if not _side.discrete:
        mean, sd, kl = latents.gaussian_divergence(_side.codes)
        return pd.DataFrame({"unit": range(len(mean)), "mean": mean, "sd": sd, "kl": kl})
    prob = latents.units(_side.p, _side.layer, _side.codes.mean)
    prior = latents.units(_side.p, _side.layer, latents.prior_draws(_side.p, _side.layer, 10 * latent.PRIOR)[1])
    t = pd.DataFrame({"unit": range(prob.shape[1]), "image": latents.information(prob)})
    if classes is not None:
        t["label"] = latents.label_information(prob, classes)
    t["posterior"], t["prior"] = prob[..., -1].mean(0), prior[..., -1].mean(0)
    t["error"] = 2 * prob[..., -1].std(0) / math.sqrt(len(prob))
    t["kl"] = latents.divergence(prob, prior)
    t = t.sort_values("image", ascending=False, kind="stable").reset_index(drop=True)
    return t.assign(rank=range(1, len(t) + 1), low=t["posterior"] - t["error"], high=t["posterior"] + t["error"])


def _discrete(side: Side, t: pd.DataFrame, top: float) -> None:
    n, bits = len(side.codes.mean), side.latent.family == "bernoulli"
    colour, most = side.colour, len(t) * math.log(2 if bits else side.latent.classes)
    silent = int((t["image"] < 0.01).sum())
    st.markdown(
        f"**{len(t) - silent} of {len(t)}** {'bits' if bits else 'units'} know more than 0.01 nats about the image; "
        f"all together **{t['image'].sum():.1f} of at most {most:.1f} nats**. Distance from the prior, unit by unit: "
        f"**{t['kl'].sum():.3f} nats** (n = {n:,}).",
        help="Sum over units, as if they were independent: joint information is at most this where units repeat each "
        "other less than they complement each other, so read it as a sum, not as a joint number.",
    )
    x = alt.X("rank:O", title="units, most informative first", axis=alt.Axis(labels=False, ticks=False))
    tip = [alt.Tooltip("unit:O", title=f"unit of {side.layer}")]
    tip += [alt.Tooltip(f"{k}:Q", title=v, format=".3f") for k, v in _TITLES.items() if k in t]
    base = alt.Chart(t).encode(x=x, tooltip=tip)
    scale = alt.Scale(domain=[0, top])
    bars = base.mark_bar(color=colour).encode(y=alt.Y("image:Q", title="information, nats", scale=scale))
    layers = [bars]
    if "label" in t:
        layers.append(base.mark_tick(color="#e0457b", thickness=3).encode(y=alt.Y("label:Q", scale=scale)))
    st.altair_chart(alt.layer(*layers).properties(height=170), key=f"information {side.letter}")
    st.caption(
        "Bars: what a unit tells about the image, I(z_j; x), at most ln 2 = 0.69 nats for a bit."
        + (" Pink: what it tells about the class, I(z_j; label)." if "label" in t else ""),
        help="Mutual information: by how many nats the image, or its class, narrows down what the unit will be.",
    )
    if not bits:
        return
    unit = alt.Scale(domain=[0, 1])
    rule = base.mark_rule(color=colour).encode(y=alt.Y("low:Q", title="P(z = 1)", scale=unit), y2="high:Q")
    dot = base.mark_circle(color=colour, size=45, opacity=1).encode(y=alt.Y("posterior:Q", scale=unit))
    prior = base.mark_tick(color="#7a8599", thickness=2).encode(y=alt.Y("prior:Q", scale=unit))
    st.altair_chart(alt.layer(prior, rule, dot).properties(height=170), key=f"match {side.letter}")
    worst = t.loc[t["kl"].idxmax()]
    st.caption(
        f"Dots: how often a unit is 1 over the encodings, ± 2 s.e.; grey: among random codes (prior). Furthest apart: "
        f"{side.layer}[{int(worst['unit'])}], {worst['posterior']:.2f} against {worst['prior']:.2f}, "
        f"KL = {worst['kl']:.3f} nats.",
        help="The encodings of all images together, as one distribution of codes, are called the aggregated posterior. "
        "KL: its divergence from the prior, 0 where both agree.",
    )


_TITLES = {
    "image": "I(z; x), nats",
    "label": "I(z; label), nats",
    "posterior": "P(z = 1), encodings",
    "prior": "P(z = 1), prior",
    "kl": "KL from the prior, nats",
}


def _real(side: Side, t: pd.DataFrame) -> None:
    n = len(side.codes.mean)
    lines = "".join(
        f"| {side.layer}[{r.unit}] | {r.mean:+.3f} | {r.sd:.3f} | {r.kl:.4f} |\n" for r in t.head(30).itertuples()
    )
    st.markdown(f"| unit | mean | s.d. | KL from N(0, 1), nats |\n| --- | --- | --- | --- |\n{lines}")
    st.caption(
        f"Over the encodings of n = {n:,} test images (aggregated posterior, the mean of q(z|x)); KL as if it were "
        f"normal. The prior {'has mean 0 and s.d. 1' if side.standard else 'is another one here'}."
    )
