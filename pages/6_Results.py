"""Results: our figures, the authors' published ones, who wins and who loses."""

import streamlit as st

from symeq_core import gallery, overseeds, results
from ui import say, table
from ui.setup import page, warm

root = page("Results")
st.markdown("### Who wins, the game or the ELBO?")
matches = table.ordered(results.matches(gallery.shipped(), say.error))
found = [(match, results.verdicts(match)) for match in matches]
if any(verdicts for _, verdicts in found):
    table.sentences(found)
    table.ideas(found)
    with st.container(horizontal=True, gap="large"):
        with st.container(width=660):
            table.ours(found)
        with st.container(width=430):
            table.authors()
    table.over_seeds(overseeds.known())
    table.every(found)
else:
    st.info("No shipped pair has been evaluated: `python -m symeq_core evaluate --write checkpoints/*-*` does it.")
warm(root)
