"""Results."""

import streamlit as st

from ui import pairs
from ui.setup import page, warm

root = page("Results")
st.markdown("### Results")
a, b = pairs.choose(root)
warm(root)
