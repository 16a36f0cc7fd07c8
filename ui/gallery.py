"""The gallery: shipped pairs side by side by data and model, own ones below, and what one can do with each."""

import shutil
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TypeVar

import streamlit as st

from symeq_core import gallery, measured, shelf
from symeq_core.errors import SymeqError
from symeq_core.gallery import Pair
from symeq_core.runs import Run, new_folder

from . import badges, pairs, pictures, say, theme, words

ORDER = ("symmetric", "elbo", "wake_sleep")
PAGES = {
    "pages/3_Compare.py": "Compare",
    "pages/4_Latent_space.py": "Latent space",
    "pages/5_Round_trip.py": "Round trip",
}
WIDTH, OWN_WIDTH = 345, 220  # least of a box in pixels: three in a row at 1440, two at 1024
GRID = (
    "<style>.st-key-cards{w} {{display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax({w}px, 1fr))}}"
    ".st-key-cards{w} > * {{width: 100% !important; height: 100%}}</style>"
)
T = TypeVar("T")


def show(root: Path) -> None:
    """All pairs; A and B of every link are the two that stand side by side."""
    _cards(_groups(gallery.shipped()), WIDTH, _group)
    _any_two(root)
    mine = gallery.own(root)
    if mine:
        st.markdown("### Your own pairs")
        _cards(mine, OWN_WIDTH, lambda pair: _own(root, pair))


def _cards(items: list[T], width: int, draw: Callable[[T], None]) -> None:
    """Items in bordered boxes of at least this width, as many in a row as there is room for."""
    st.html(GRID.format(w=width))
    with st.container(key=f"cards{width}"):
        for item in items:
            with st.container(border=True, height="stretch"):
                draw(item)


def _any_two(root: Path) -> None:
    """A and B of one's own choice, for the other pages."""
    with st.container(border=True):
        st.markdown("**Any two**, side by side:")
        chosen = pairs.choose(root)
        _links(chosen)


def _groups(every: list[Pair]) -> list[list[Pair]]:
    """Pairs of one data set and model together, in the order of the learners."""
    found: dict[tuple, list[Pair]] = {}
    for pair in every:
        try:
            c = pair.config()
        except SymeqError as e:
            say.error(e)
            continue
        found.setdefault((c.data.name, c.model.kind, c.model.latents), []).append(pair)
    ranked = sorted(found.items(), key=lambda item: (item[0][0] != "mnist", len(item[0][2]), str(item[0])))
    return [sorted(group, key=lambda p: ORDER.index(p.config().learner.name)) for _, group in ranked]


def _group(group: list[Pair]) -> None:
    c = group[0].config()
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{say.plain(_name(group[0]))}**", width="content")
        _exports(group)
    st.html(theme.row(badges.of(c)[1:]))
    for column, pair in zip(st.columns(len(group), gap="small"), group, strict=True):
        with column:
            learner = pair.config().learner.name
            st.html(theme.badge(words.SHORT[learner], theme.LEARNER[learner]))
            _picture(pair)
    figures(group)
    _links(group)


def _name(pair: Pair) -> str:
    """What the shipped pairs of one data set and model are called together."""
    return pair.folder.name.removesuffix(f"-{pair.config().learner.name.replace('_', '-')}")


def _picture(pair: Pair) -> None:
    picture = pair.thumbnail()
    if picture:
        pictures.stored(picture, width="stretch", alt=f"Random codes decoded by {pair.folder.name}")


def figures(group: list[Pair]) -> None:
    """The headline figures of pairs in a small table, a column each; what a figure means is told at the pointer."""
    found, wrong = [], []
    for pair in group:
        try:
            found.append(measured.on_card(measured.found(pair) or {}))
        except SymeqError as e:
            found.append({})
            wrong.append(say.quoted(e))
    for sentence in wrong:
        st.caption(sentence)
    names = dict.fromkeys(name for known in found for name in known)
    if not names and not wrong:
        st.caption("Not evaluated yet.")
    if not names:
        return
    rows = ""
    for name in names:
        cells = "".join(_cell(known.get(name), pairs.colour(pair)) for pair, known in zip(group, found, strict=True))
        meaning = measured.label(next(known[name].get("meaning", "") for known in found if name in known))
        rows += f'<tr><td title="{escape(meaning)}" style="opacity:.75">{escape(name)}</td>{cells}</tr>'
    style = "width:100%;font-size:.75rem;cursor:help;font-variant-numeric:tabular-nums"
    st.html(f'<table style="{style}">{rows}</table>')


def _cell(figure: measured.Figure | None, colour: str) -> str:
    """A value, and its uncertainty below where there is no room beside it."""
    value, _, error = measured.shown(figure).partition(" ± ")
    error = error and f' <span style="display:inline-block;opacity:.8">± {error}</span>'
    tip = escape(measured.explained(figure))
    return f'<td title="{tip}" style="text-align:right;color:{colour}">{value.replace("-", "−")}{error}</td>'


def _links(chosen: list[Pair]) -> None:
    query = {letter: pair.key for letter, pair in zip("ab", chosen, strict=False)}
    with st.container(horizontal=True, gap="xsmall"):
        for path, label in PAGES.items():
            st.page_link(path, label=f"**{label}**", query_params=query)


def _exports(group: list[Pair]) -> None:
    with st.popover("", icon=":material/download:", help="Export as a zip", type="tertiary"):
        for pair in group:
            _export(pair)


def _export(pair: Pair) -> None:
    """A download that is packed only when it is asked for."""
    st.download_button(
        f"{pair.folder.name}.zip",
        lambda: shelf.export_zip(Run(pair.folder)),
        f"{pair.folder.name}.zip",
        "application/zip",
        key=f"export {pair.key}",
        on_click="ignore",
        icon=":material/download:",
    )


def _own(root: Path, pair: Pair) -> None:
    try:
        c = pair.config()
        other = gallery.counterpart(pair, [*gallery.shipped(), *gallery.own(root)])
    except SymeqError as e:
        st.markdown(f"**{say.plain(pair.folder.name)}**")
        st.caption(say.quoted(e))
        return
    _picture(pair)
    st.markdown(f"**{say.plain(c.name)}** :small[:gray[{say.plain(pair.folder.name)}]]")
    st.html(theme.row(badges.of(c)))
    figures([pair])
    _links([pair, other] if other else [pair])
    _exports([pair])


def bring(root: Path) -> None:
    """Import of a pair: a zip exported by this app, or a state dict saved by the paper's authors."""
    with st.expander("Import a pair", icon=":material/upload:"):
        given = st.file_uploader(
            "A zip exported by this app, or a model saved by the paper's authors (.pt, .pth)",
            type=["zip", "pt", "pth", "bin"],
            key="bring",
        )
        if given is None or not st.button("Import", type="primary", key="bring it"):
            return
        try:
            folder = _imported(root, given)
        except SymeqError as e:
            say.error(e)
            return
        st.success(f"{say.plain(given.name)} is now the pair {say.plain(folder.name)}.")
        st.page_link(
            "pages/3_Compare.py",
            label="Compare it",
            icon=":material/compare:",
            query_params={"a": gallery.OWN + folder.name},
        )


def _imported(root: Path, given: st.runtime.uploaded_file_manager.UploadedFile) -> Path:
    if given.name.lower().endswith(".zip"):
        return shelf.import_pair(given, root).folder
    import tempfile

    from symeq_core.authors import import_authors

    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "upload"  # a name may be longer than a disk takes
        file.write_bytes(given.getvalue())
        folder = new_folder(root, Path(given.name).stem)
        try:
            import_authors(file, None, folder)
        except BaseException as e:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(e, SymeqError):  # a person gave a file, not this path
                raise SymeqError(str(e).replace(str(file), given.name)) from e
            raise
    return folder
