"""Home: what this is, something alive, and the gallery of pairs."""

import streamlit as st

from symeq_core import shelf
from ui import gallery, home, runlist
from ui.setup import page, warm

root = page("Home")
left, right = st.columns([5, 2], gap="large", vertical_alignment="center")
with left:
    st.markdown("# See two networks teach each other")
    st.markdown(
        "An **encoder** turns images into codes, a **decoder** turns codes into images: together they are a "
        "*variational autoencoder*. The usual objective, the ELBO, favours the decoder, and the encoder merely helps. "
        "Here the two are **players of a game**: each learns from what the other makes, by plain gradient steps, with "
        "codes of any kind. Watch them learn within seconds, and compare what the game learned with what the ELBO "
        "learned from the same images."
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Watch it learn", type="primary", icon=":material/play_arrow:", key="watch"):
            name = home.demo(root)
            if name:
                st.switch_page("pages/1_Train.py", query_params={"run": name})
        st.page_link("pages/1_Train.py", label="Choose what to train", icon=":material/tune:")
        st.page_link("pages/6_Results.py", label="See who wins", icon=":material/table_chart:")
    st.caption(
        "After Flach, Schlesinger, Shekhovtsov: *Symmetric Equilibrium Learning of VAEs*, AISTATS 2024 "
        "([arXiv 2307.09883](https://arxiv.org/abs/2307.09883))."
    )
with right:
    home.picture(root)
gallery.show(root)
gallery.bring(root)
shelf.empty_trash(root, runlist.KEEP_SECONDS)
warm(root)
