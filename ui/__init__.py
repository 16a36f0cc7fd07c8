"""What pages share and Streamlit draws; no mathematics here."""
