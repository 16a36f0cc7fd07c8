"""One colour per idea, in both themes."""

from collections.abc import Iterable
from html import escape

LEARNER = {"symmetric": "#2f6fde", "elbo": "#d98a00", "wake_sleep": "#6f8f7f"}
SPARE = ("#7b52c7", "#2e9e5b", "#c25b2f")  # of further pairs of one learner
PLAYER = {"p": "#c2477f", "q": "#0e9aa7"}  # decoder, encoder
SERIES = {"L_p": PLAYER["p"], "L_q": PLAYER["q"], "ELBO": LEARNER["elbo"], **PLAYER}
STATE = {
    "running": "#2e9e5b",
    "starting": "#2e9e5b",
    "queued": "#8a93a6",
    "new": "#8a93a6",
    "paused": "#d98a00",
    "stopped": "#8a93a6",
    "finished": "#2f6fde",
    "failed": "#d0453b",
    "interrupted": "#d0453b",
}


NEUTRAL = "#7a8599"

# For pages that look again and again: what waits for its next state doesn't fade, as that flickers on a busy machine.
STEADY = '<style>[data-stale="true"] {opacity: 1 !important; transition: none !important}</style>'


def row(badges: Iterable[str]) -> str:
    """HTML of several badges, side by side while there is room."""
    return f'<div style="display:flex;gap:.4rem;flex-wrap:wrap;align-items:center">{"".join(badges)}</div>'


def badge(text: str, colour: str) -> str:
    """HTML of a small coloured label."""
    return (
        f'<span style="background:{colour}22;color:{colour};border:1px solid {colour}66;border-radius:999px;'
        f'padding:.1rem .6rem;font-size:.8rem;font-weight:600;white-space:nowrap">{escape(text)}</span>'
    )
