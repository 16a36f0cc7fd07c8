"""Latent space: choose two pairs, look at the codes of the same images in both."""

import streamlit as st

from symeq_core.errors import SymeqError
from ui import (
    address,
    latent,
    latent_choose,
    latent_map,
    latent_numbers,
    latent_panels,
    latent_url,
    latent_view,
    latent_wait,
    pairs,
    say,
)
from ui.setup import page, warm

root = page(address.LATENT)
st.markdown("### Latent space")


@st.fragment
def explore(root, a, b, view):
    """The maps, their numbers, and what is selected on them."""
    try:
        with st.container():  # what is to be told has a place of its own, so that the maps keep theirs
            found = latent.sides(root, a, b, view)
            view, waiting = latent_wait.ready(found, view)
            maps, fit = latent_view.drawn(found, view)
            latent_url.begin()
            data = latent_view.payload(found, view, maps, fit)
        result = latent_map.maps(data, lambda: None)
        with st.container() if waiting else st.empty():
            if waiting:
                latent_wait.progress(waiting)
        latent_map.send_sheet(latent.sheet(found[0])[0])
        selected = latent_url.heard(result)
        latent_numbers.show(found, view, maps, fit)
        latent_panels.show(found, view, maps, selected)
    except SymeqError as e:
        say.error(e)


try:
    a, b = pairs.choose(root)
    explore(root, a, b, latent_choose.choose(a, b))
except SymeqError as e:
    say.error(e)
warm(root)
