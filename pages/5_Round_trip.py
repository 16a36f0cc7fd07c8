"""Round trip: what a chain image -> code -> image -> ... keeps, and where it goes."""

import streamlit as st

from ui import address, pairs, trip, tripfigures
from ui.setup import page, pictures_first, warm

root = page(address.TRIP)
st.markdown(
    "### Round trip",
    help="The encoder turns an image into a code, the decoder turns the code into an image, and so on. The chain "
    "always goes on from sampled codes and pixels; what is shown is the sample, or the mean it was drawn from.",
)
a, b = pairs.choose(root, first=trip.FIRST)
start = trip.choose((a, b))
begin = tripfigures.start_of(start.kind)
with st.container():  # each part has its place, so that what is below stays there while what is above comes and goes
    known = tripfigures.found((a, b), begin)
    tripfigures.sentence((a, b), known, start.kind)
with st.container():
    trip.films((a, b), start, known)
pictures_first()
with st.container():
    tripfigures.show((a, b), begin, known)
tripfigures.limiting((a, b))
warm(root)
