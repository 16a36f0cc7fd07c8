"""Compare."""

import streamlit as st

from ui import pairs
from ui.setup import page, warm

root = page("Compare")
st.markdown("### Compare")
a, b = pairs.choose(root)
warm(root)
