"""What a person is told: refusals in one sentence, and other people's words without a meaning in Markdown."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import streamlit as st

from symeq_core.errors import SymeqError


def plain(text: str, marks: str = r"\`*_[]<>~:$") -> str:
    """Text of a person's own in Markdown, without a meaning there."""
    return "".join("\\" + k if k in marks else k for k in text)


def quoted(what: object) -> str:
    """A refusal as Markdown. It may quote a link or a file's name, so links, pictures, HTML and formulas in it are
    shown as they are written; code and bold stay, as our own sentences have them.
    """
    return plain(str(what), "[]<$~")


def error(what: object) -> None:
    """A refusal, in red."""
    st.error(quoted(what))


def told(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Draw, or tell in one sentence why not: for fragments, which rerun without the page that would tell it."""

    @wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> Any:
        try:
            return draw(*args, **kwargs)
        except SymeqError as e:
            error(e)
            return None

    return drawn
