"""The tables of the results page."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from symeq_core import results
from symeq_core.results import DISTANCE, KINDS, Figure, Match, Verdict

from . import theme

WINNER = {"game": theme.LEARNER["symmetric"], "elbo": theme.LEARNER["elbo"], "tie": theme.NEUTRAL}
LABEL = {"game": "game", "elbo": "ELBO", "tie": "≈"}
STYLE = (
    "<style>.results {border-collapse: collapse; width: 100%; font-size: .86rem; font-variant-numeric: tabular-nums}"
    ".results th {text-align: right; font-weight: 600; padding: .3rem .5rem; vertical-align: bottom}"
    ".results td {text-align: right; padding: .3rem .5rem; border-top: 1px solid rgba(128,128,128,.25)}"
    ".results td[title], .results th[title] {cursor: help}"
    ".results td:first-child, .results th:first-child {text-align: left; white-space: nowrap}</style>"
)


def sentences(found: Sequence[tuple[Match, list[Verdict]]]) -> None:
    """In words, computed from the figures: where the game is better and where it is not."""
    for kind in KINDS:
        st.markdown(results.summary(found, f"{DISTANCE}, {kind}"))
    won = sum(v.winner == "game" for _, vs in found for v in vs)
    lost = sum(v.winner == "elbo" for _, vs in found for v in vs)
    total = sum(len(vs) for _, vs in found)
    st.markdown(
        f"Of all {total} comparisons below (one figure of two pairs that differ in their learner only) the game is "
        f"better in **{won}**, the ELBO in **{lost}**, and {total - won - lost} are within two standard errors of the "
        "difference. Each pair was trained once, from one seed: the errors are those of measuring, not of training."
    )


def _table(head: Sequence[str], rows: Sequence[str]) -> None:
    titles = "".join(f"<th>{h}</th>" for h in head)
    st.html(f'{STYLE}<table class="results"><tr>{titles}</tr>{"".join(f"<tr>{r}</tr>" for r in rows)}</table>')


def _tip(f: Figure | None) -> str:
    if not f or f.get("value") is None:
        return escape((f or {}).get("reason") or "not measured")
    extractor = f" Extractor: {f['extractor']}." if f.get("extractor") else ""
    return escape(f"{f.get('meaning', '')} n = {f['n']:,}, seed {f.get('seed', 0)}, unit: {f['unit']}.{extractor}")


def _cell(f: Figure | None, colour: str | None = None, bold: bool = False) -> str:
    style = f"color:{colour};" if colour else ""
    return f'<td title="{_tip(f)}" style="{style}font-weight:{600 if bold else 400}">{results.shown(f)}</td>'


def ours(found: Sequence[Match]) -> None:
    """Frechet distances in our extractors' features."""
    st.markdown("#### Our figures: Frechet distance to real images (lower is better)")
    rows = []
    for match in found:
        row = results.distances(match)
        cells = f"<td>{escape(match.name)}</td>"
        for kind in KINDS:
            elbo, game = row.get(f"{kind}, elbo"), row.get(f"{kind}, game")
            best = results.winner(game, elbo) if game and elbo else None
            cells += _cell(elbo, theme.LEARNER["elbo"], best == "elbo")
            cells += _cell(game, theme.LEARNER["symmetric"], best == "game")
        rows.append(cells + _cell(row.get("floor"), theme.NEUTRAL))
    head = ("pair", "ELBO,<br>random code", "game,<br>random code", "ELBO,<br>limiting", "game,<br>limiting", "floor")
    _table(head, rows)
    st.caption(
        "Features of our own classifiers, so comparable within a row only, not with the table on the right. *Random "
        "code*: z from the prior, mean of x. *Limiting*: 1,000 sampled round trips from noise, then the mean of x. "
        "*Floor*: other real images, the best that can be had at this n. ± one standard error (bootstrap over images); "
        "bold: better by more than two standard errors of the difference."
    )


def authors() -> None:
    """The published scores."""
    st.markdown("#### The authors' figures: FID (lower is better)")
    rows = []
    for name, scores in results.AUTHORS.items():
        cells = f"<td>{escape(name)}</td>"
        for kind in KINDS:
            elbo, game = scores[kind]
            for value, who, best in ((elbo, "elbo", elbo < game), (game, "symmetric", game < elbo)):
                cells += f'<td style="color:{theme.LEARNER[who]};font-weight:{600 if best else 400}">{value:.2f}</td>'
        rows.append(cells)
    _table(("", "ELBO,<br>random code", "game,<br>random code", "ELBO,<br>limiting", "game,<br>limiting"), rows)
    st.caption(
        "Inception features, 70,000 images, convolutional networks trained for 200,000 iterations of batch 1,024: "
        "published with the paper's code, without uncertainties. The game loses on random codes of Fashion-MNIST."
    )


def wins(found: Sequence[tuple[Match, list[Verdict]]]) -> None:
    """Every figure of every match: who is better."""
    st.markdown("#### Every figure: who is better")
    names = list(dict.fromkeys((v.group, v.figure) for _, vs in found for v in vs))
    rows = []
    for group, figure in names:
        cells = f"<td>{escape(figure)}</td>"
        for _, vs in found:
            v = next((v for v in vs if (v.group, v.figure) == (group, figure)), None)
            if v is None:
                cells += "<td>–</td>"
                continue
            both = f"game {results.shown(v.game)}, ELBO {results.shown(v.elbo)} {v.game['unit']}."
            cells += (
                f'<td title="{escape(both)} {_tip(v.game)}" style="background:{WINNER[v.winner]}26">'
                f'<span style="color:{WINNER[v.winner]};font-weight:600">{LABEL[v.winner]}</span><br>'
                f'<span style="opacity:.75">{results.shown(v.game)}<br>{results.shown(v.elbo)}</span></td>'
            )
        rows.append(cells)
    _table(("figure (above: game, below: ELBO)", *(escape(m.name) for m, _ in found)), rows)
    st.caption("≈: within two standard errors of the difference. Point at a figure to see what it means.")
