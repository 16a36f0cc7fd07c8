"""What components write into the address: said again by each writer, and found again when the session comes back."""

from types import SimpleNamespace

import pytest

from ui import address, zooms
from ui.setup import VISIT


@pytest.fixture
def st(monkeypatch):
    """A session, and its address; no page."""
    found = SimpleNamespace(session_state={}, query_params={})
    monkeypatch.setattr(address, "st", found)
    monkeypatch.setattr(zooms, "st", found)
    return found


def test_a_writer_whose_address_is_older_says_what_another_one_wrote(st):
    address.say(address.TRIP, {"zoom": "frechet,1,2,3,4"})
    st.query_params = {"a": "one"}  # as it was when the second was asked for
    address.say(address.TRIP, {"k": "30"})
    assert st.query_params == {"a": "one", "zoom": "frechet,1,2,3,4", "k": "30"}


def test_a_browser_that_may_have_an_older_address_is_sent_the_present_one(st):
    sent = []

    class Told(dict):
        def update(self, values):
            sent.append(dict(self) | values)

    st.query_params = Told(curves="p")
    address.say(address.COMPARE, {"zoom": ""})
    st.query_params = Told(zoom="L_p,1,2,3,4")  # other curves were asked for before the browser got this
    for _ in range(2):
        address.say(address.COMPARE, {"zoom": "L_p,1,2,3,4"})
        assert sent == [{"zoom": "L_p,1,2,3,4"}], "once"


def test_what_is_as_usual_is_left_out(st):
    address.say(address.TRIP, {"k": "30", "speed": "2"})
    address.say(address.TRIP, {"speed": ""})
    assert st.query_params == {"k": "30"}


def test_each_time_a_session_comes_back_it_finds_all(st):
    address.say(address.TRIP, {"ink": "AAA", "k": "30", "speed": ""})
    for _ in range(2):
        st.query_params = {}
        address.back(address.TRIP)
        assert st.query_params == {"ink": "AAA", "k": "30"}
    st.query_params = {"k": "5"}
    address.back(address.TRIP)
    assert st.query_params == {"ink": "AAA", "k": "5"}, "what the link says counts"


@pytest.mark.parametrize("link", [{"a": "X", "b": "Y"}, {"b": "Y"}])
def test_a_link_to_other_pairs_brings_nothing_of_the_old_ones(st, link):
    st.session_state[address.KEPT] = {"a": "A", "b": "B"}
    address.say(address.COMPARE, {"c": "C", "t": "100"})
    st.query_params = dict(link)
    address.back(address.COMPARE)
    assert st.query_params == link


def test_nor_do_pairs_chosen_on_another_page(st):
    address.say(address.COMPARE, {"t": "100"})
    st.session_state[address.KEPT] = {"a": "A", "b": "B"}
    st.query_params = {}
    address.back(address.COMPARE)
    assert st.query_params == {}


ENDS = {"x": [1.0, 2.0], "y": [3.0, 4.0]}


def test_a_chart_begins_as_the_link_says_then_as_it_was_left(st):
    st.query_params = {"zoom": "one,1,2,3,4"}
    assert [c.start for c in zooms.charts("page", "here", ("one", "two")).values()] == [ENDS, None]
    for one in (None, ENDS | {"x": [5.0, 6.0]}, None):  # nothing is heard, it is moved, and moved back to its start
        known = zooms.charts("page", "here", ("one", "two"))
        assert known["one"].start == ENDS, "the same while it is shown"
        known["one"].moved(one)
        assert known["one"].now == (one or ENDS)
    known["one"].moved(ENDS)
    st.session_state[VISIT] = 2  # back from another page
    assert zooms.charts("page", "here", ("one",))["one"].start == ENDS


def test_a_chart_that_was_folded_away_comes_back_as_it_was(st):
    zooms.charts("page", "here", ("one", "two"))["one"].moved(ENDS)
    assert zooms.charts("page", "here", ("one", "two"))["one"].start is None
    assert zooms.charts("page", "here", ("one", "two"))["one"].start == ENDS, "not drawn the last time"


def test_charts_of_others_are_none_of_these(st):
    zooms.charts("page", "here", ("one", "z1"))["z1"].moved(ENDS)
    assert list(zooms.charts("page", "here", ("one",))) == ["one"]
    assert zooms.charts("page", "there", ("z1",))["z1"].now is None
