"""Round trip."""

import streamlit as st

from ui import pairs
from ui.setup import page, warm

root = page("Round trip")
st.markdown("### Round trip")
a, b = pairs.choose(root)
warm(root)
