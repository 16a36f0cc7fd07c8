"""Results: our figures, the authors' published ones, who wins and who loses."""

import streamlit as st

from symeq_core import gallery, results
from symeq_core.errors import SymeqError
from ui import say, table
from ui.setup import page, warm

root = page("Results")
st.markdown("### Who wins, the game or the ELBO?")
try:
    found = [(m, results.verdicts(m)) for m in results.matches(gallery.shipped())]
except SymeqError as e:
    say.error(e)
    st.stop()
if not any(verdicts for _, verdicts in found):
    st.info("No shipped pair has been evaluated: `python -m symeq_core evaluate --write checkpoints/*-*` does it.")
    st.stop()
table.sentences(found)
left, right = st.columns([3, 2], gap="large")
with left:
    table.ours([m for m, _ in found])
with right:
    table.authors()
table.wins(found)
warm(root)
