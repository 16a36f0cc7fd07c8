"""Tables of figures, as HTML."""

from collections.abc import Iterable

STYLE = (
    "<style>.figures {border-collapse: collapse; width: 100%; font-size: .86rem; font-variant-numeric: tabular-nums}"
    ".figures th {text-align: right; font-weight: 600; padding: .3rem .5rem; vertical-align: bottom}"
    ".figures td {text-align: right; padding: .25rem .5rem; border-top: 1px solid rgba(128,128,128,.22)}"
    ".figures td.n {white-space: nowrap} .figures td.best {font-weight: 700}"
    ".figures td:first-child, .figures th:first-child, .figures .text {text-align: left}"
    ".figures .data th:not(:first-child) {text-align: center; border-bottom: 1px solid rgba(128,128,128,.4)}"
    ".figures .name {white-space: nowrap}"
    ".figures td[title], .figures th[title] {cursor: help}"
    ".figures .group td {border-top: none; padding-top: .8rem; font-weight: 600}</style>"
)


def table(rows: Iterable[str]) -> str:
    """A table of these rows, each <tr>...</tr>; it scrolls by itself where it is wider than the page."""
    return f'{STYLE}<div style="overflow-x:auto"><table class="figures">{"".join(rows)}</table></div>'
