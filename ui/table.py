"""The tables of the results page."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from symeq_core import measured, overseeds, results
from symeq_core.errors import SymeqError
from symeq_core.gallery import SHIPPED, Pair
from symeq_core.measured import Figure
from symeq_core.results import DISTANCE, IDEAS, KINDS, Idea, Match, Verdict

from . import tables, theme, words

Judged = Sequence[tuple[Match, dict[str, Verdict]]]
WINNER = {"game": theme.LEARNER["symmetric"], "elbo": theme.LEARNER["elbo"], "tie": theme.NEUTRAL}
LABEL = {"game": "game", "elbo": "ELBO", "tie": "≈"}
HEAD = ("ELBO,<br>random code", "game,<br>random code", "ELBO,<br>limiting", "game,<br>limiting")


def ordered(found: Sequence[Match]) -> list[Match]:
    """Matches of one data set together, MNIST first, and of each the smallest model first."""
    return sorted(found, key=lambda m: (m.config.data.name != "mnist", m.config.data.name, len(m.config.model.latents)))


def _name(match: Match) -> str:
    return words.pair(match.config)


def _model(match: Match) -> str:
    model = match.config.model
    return f"{words.MODELS[model.kind].lower()} {words.code(model.latents)}"


def sentences(found: Judged) -> None:
    """In words, computed from the figures: where the game is better and where it is not."""
    told = [verdicts for _, verdicts in found]
    won = results.tally(told)
    st.markdown(
        f"Counting one figure for each of {sum(i.counts for i in IDEAS)} ideas and each of {len(found)} matches (the "
        f"same data, seed and networks, another learner), the game is better in **{won['game']}**, the ELBO in "
        f"**{won['elbo']}**, {won['tie']} differ by less than two standard errors, and {won['none']} have no verdict.",
        help="Figures that measure the same idea of the same images rise and fall together, so only the first of each "
        "idea that has a verdict counts. Each pair was trained once, from one seed: the errors are those of measuring, "
        "not of training; further down, some are trained from several seeds.",
    )
    named = [((words.DATA[m.config.data.name], _model(m)), verdicts) for m, verdicts in found]
    st.markdown("\n".join(f"* {results.summary(idea, named)}" for idea in IDEAS if idea.counts))


def _heads(found: Judged, first: str) -> list[str]:
    """Two lines: the data sets, and the models below them."""
    data = [words.DATA[m.config.data.name] for m, _ in found]
    above = "".join(f'<th colspan="{data.count(name)}">{escape(name)}</th>' for name in dict.fromkeys(data))
    below = "".join(
        f"<th>{words.MODELS[m.config.model.kind]}<br>{escape(words.code(m.config.model.latents))}</th>"
        for m, _ in found
    )
    return [f'<tr class="data"><th></th>{above}</tr>', f"<tr><th>{first}</th>{below}</tr>"]


def ideas(found: Judged) -> None:
    """Who is better: a line for each idea, by the figure that stands for it."""
    rows = _heads(found, "")
    for idea in IDEAS:
        if idea.counts:
            cells = "".join(_verdict(results.representative(idea, verdicts), named=True) for _, verdicts in found)
            rows.append(f'<tr><td title="{escape(idea.about)}"><b>{idea.title}</b></td>{cells}</tr>')
    st.html(tables.table(rows))
    st.caption(
        "The figure that stands for the idea, and whose is better; above the game's value, below the ELBO's. "
        "≈: within two standard errors of the difference. –: no verdict, as where only bounds are known. Point at a "
        "figure to see what it means."
    )


def _verdict(v: Verdict | None, named: bool = False) -> str:
    if v is None:
        return '<td title="Not measured for both, or not comparable">–</td>'
    colour = WINNER[v.winner]
    both = f"game: {measured.explained(v.game)} ELBO: {measured.explained(v.elbo)}"
    name = f'<br><span style="font-size:.9em">{escape(_short(v.figure))}</span>' if named else ""
    return (
        f'<td title="{escape(both)}" style="background:{colour}26"><span style="color:{colour};font-weight:600">'
        f'{LABEL[v.winner]}</span>{name}<br><span class="both">{_number(v.game)}<br>{_number(v.elbo)}</span></td>'
    )


def _short(figure: str) -> str:
    """A figure's name without the set of images, which its line tells."""
    return measured.label(next((figure.removesuffix(f", {k}") for k in KINDS if figure.endswith(k)), figure))


def _number(f: Figure | None) -> str:
    return f'<span style="white-space:nowrap">{measured.shown(f).replace("-", "−")}</span>'


def ours(found: Judged) -> None:
    """Fréchet distances in our extractors' features."""
    st.markdown("#### Our Fréchet distances to real images (lower is better)")
    head = "".join(f"<th>{h}</th>" for h in ("", *HEAD, "floor"))
    rows = [f"<tr>{head}</tr>"]
    for match, verdicts in found:
        row = results.distances(match)
        cells = f'<td class="name">{escape(_name(match))}</td>'
        for kind in KINDS:
            best = v.winner if (v := verdicts.get(f"{DISTANCE}, {kind}")) else None
            cells += _cell(row.get(f"{kind}, elbo"), theme.LEARNER["elbo"], best == "elbo")
            cells += _cell(row.get(f"{kind}, game"), theme.LEARNER["symmetric"], best == "game")
        rows.append(f"<tr>{cells}{_cell(row.get('floor'), theme.NEUTRAL)}</tr>")
    st.html(tables.table(rows))
    st.caption(
        "Features of our own classifiers, one for each data set, so comparable within one only, and not with the "
        "authors' figures. *Random code*: z from the prior, mean of x. *Limiting*: 1,000 sampled round trips from "
        "noise, then the mean of x. *Floor*: other real images, the best that can be had at this n. ± one standard "
        "error (bootstrap over images); bold: better by more than two standard errors of the difference."
    )


def _cell(f: Figure | None, colour: str, bold: bool = False) -> str:
    tip, style = escape(measured.explained(f)), f"color:{colour};font-weight:{600 if bold else 400}"
    return f'<td title="{tip}" style="{style}">{_number(f)}</td>'


def authors() -> None:
    """The published scores."""
    st.markdown("#### The authors' FID (lower is better)")
    rows = [f"<tr>{''.join(f'<th>{h}</th>' for h in ('', *HEAD))}</tr>"]
    for name, scores in results.AUTHORS.items():
        cells = f'<td class="name">{escape(name)}</td>'
        for kind in KINDS:
            elbo, game = scores[kind]
            for value, who, best in ((elbo, "elbo", elbo < game), (game, "symmetric", game < elbo)):
                cells += f'<td style="color:{theme.LEARNER[who]};font-weight:{600 if best else 400}">{value:.2f}</td>'
        rows.append(f"<tr>{cells}</tr>")
    st.html(tables.table(rows))
    st.caption(
        "Inception features, 70,000 images, convolutional networks trained for 200,000 iterations of batch 1,024: "
        "published with the paper's code, without uncertainties; bold: better."
    )


def over_seeds(rows: Sequence[overseeds.Row]) -> None:
    """The same distances over several trainings, which tells what one pair's errors can't."""
    if not rows:
        return
    st.markdown("#### From seed to seed (Fréchet distance, lower is better)")
    head = ("", "images", "ELBO", "game", "game better in", "n")
    lines = [f"<tr>{''.join(f'<th>{h}</th>' for h in head)}</tr>"]
    for r in rows:
        lead = r.better / len(r.game)
        cells = f'<td class="name">{escape(_titled(r.match))}</td><td>{r.kind}</td>'
        for values, who, best in ((r.elbo, "elbo", lead == 0), (r.game, "symmetric", lead == 1)):
            style = f"color:{theme.LEARNER[who]};font-weight:{600 if best else 400}"
            tip = ", ".join(f"{v:.2f}" for v in values)
            cells += f'<td title="Seed by seed: {tip}" style="{style}">{overseeds.spread(values)}</td>'
        lines.append(f"<tr>{cells}<td>{r.better} of {len(r.game)}</td><td>{r.n:,}</td></tr>")
    with st.container(width=660):
        st.html(tables.table(lines))
    st.caption(
        "Trained anew from several seeds, ELBO and game from the same ones. Mean ± standard deviation from one "
        "seed to the next; bold: better from every seed. Point at a figure to see the values seed by seed."
    )


def _titled(match: str) -> str:
    """A match's name as other tables have it, if its pair is there."""
    try:
        return words.pair(Pair(match, SHIPPED / f"{match}-symmetric").config())
    except SymeqError:
        return match


def every(found: Judged) -> None:
    """Every figure of every match, under the idea that it belongs to: who is better."""
    rows = _heads(found, "above: game, below: ELBO")
    known = list(dict.fromkeys(name for _, verdicts in found for name in verdicts))
    rest = tuple(name for name in known if all(name not in idea.figures for idea in IDEAS))
    for idea in (*IDEAS, Idea("Further figures", "", rest, False)):
        names = [name for name in idea.figures if name in known]
        if names:
            title = f"{idea.title}{'' if idea.counts else ' (not counted)'}"
            rows.append(
                f'<tr class="group"><td colspan="{len(found) + 1}" title="{escape(idea.about)}">{title}</td></tr>'
            )
        for name in names:
            meaning = next(verdicts[name].game.get("meaning", "") for _, verdicts in found if name in verdicts)
            cells = "".join(_verdict(verdicts.get(name)) for _, verdicts in found)
            rows.append(f'<tr><td title="{escape(measured.label(meaning))}">{escape(_short(name))}</td>{cells}</tr>')
    with st.expander("Every figure, by idea, the most telling first"):
        st.html(tables.table(rows))
