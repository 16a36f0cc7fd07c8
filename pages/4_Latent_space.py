"""Latent space."""

import streamlit as st

from ui import pairs
from ui.setup import page, warm

root = page("Latent space")
st.markdown("### Latent space")
a, b = pairs.choose(root)
warm(root)
