"""A few figures of pairs beside one another: a card for each, as HTML."""

from collections.abc import Sequence
from html import escape
from typing import Any

from symeq_core.compare import Row
from symeq_core.measured import label, shown

from . import words

Columns = Sequence[tuple[str, str]]  # letter and colour
STYLE = (
    "<style>.figs{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:.6rem}"
    ".fig{border:1px solid #8884;border-radius:.5rem;padding:.35rem .75rem;font-variant-numeric:tabular-nums;"
    "line-height:1.45;font-size:.95rem}.fig small{font-size:.82rem;opacity:.75}.fig div{white-space:nowrap}</style>"
)


def cards(rows: Sequence[Row], columns: Columns, comparable: bool) -> str:
    """A card for each figure."""
    return f"<div class=figs>{''.join(_card(r, columns, comparable) for r in rows)}</div>"


def _card(row: Row, columns: Columns, comparable: bool) -> str:
    lines = [
        f'<div title="{escape(_counted(cell))}"><b style="color:{colour}">{letter}</b> {_value(cell, bold)}</div>'
        for (letter, colour), cell, bold in zip(columns, row.cells, _bold(row, comparable), strict=True)
    ]
    better = next((str(c.get("better")) for c in row.cells if c), "")
    name, told = escape(label(row.name)), escape(label(meaning(row)))
    name += {"lower": "\u00a0↓", "higher": "\u00a0↑"}.get(better, "")
    return (
        f'<div class=fig title="{told}"><small>{name}<br>{escape(row.unit)}</small>'
        f"{''.join(lines)}<small>{_verdict(row, comparable)}</small></div>"
    )


def meaning(row: Row) -> str:
    """What the figure is, in a sentence or two."""
    known: dict[str, Any] = next((c for c in row.cells if c), {})
    return str(known.get("meaning") or words.HELP.get(row.name, ""))


def _bold(row: Row, comparable: bool) -> list[bool]:
    return [comparable and row.best == k for k in range(len(row.cells))]


def _verdict(row: Row, comparable: bool) -> str:
    return escape(row.verdict.replace(" ± ", "\u00a0±\u00a0")) if comparable else "different images: not comparable"


def _counted(cell: dict[str, Any] | None) -> str:
    if cell is None or cell.get("value") is None:
        return str((cell or {}).get("reason") or "not measured")
    return f"n = {cell.get('n') or 0:,}"


def _value(cell: dict[str, Any] | None, bold: bool) -> str:
    if cell is None or cell.get("value") is None:
        return "–"
    value, _, error = shown(cell).partition(" ± ")
    text = value.replace("-", "−") + (f' <span style="opacity:.65">± {error}</span>' if error else "")
    return f"<b>{text}</b>" if bold else text
