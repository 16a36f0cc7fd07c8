"""Round trip: what a chain image -> code -> image -> ... keeps, and where it goes."""

import streamlit as st

from ui import pairs, trip
from ui.setup import page, warm

root = page("Round trip")
st.markdown("### Round trip")
st.caption(
    "The encoder turns an image into a code, the decoder turns the code into an image, and so on, up to 1,000 times. "
    "Do the two agree, it goes on among images of its kind; do they not, it wanders off."
)
a, b = pairs.choose(root)
start = trip.choose((a, b))
trip.films((a, b), start)
warm(root)
