"""Scrubbing, playing, alternating, subtracting on the Compare page in a real browser: what is drawn, to the pixel."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from symeq_core import boards, gallery

from .browser import alike, needs_chromium, settled, shot, wait

pytestmark = needs_chromium

A, B = "digits-bits-symmetric", "digits-bits-elbo"
PAGE = f"/Compare?a={A}&b={B}"
SIDE, FIRST = 56, 24  # pixels of an image; where the first one begins, from the left and from above
COLUMN = {"data": FIRST, "A": FIRST + SIDE + 6, "B": FIRST + 2 * (SIDE + 6), "B − A": FIRST + 3 * (SIDE + 6)}
PIXELS = """(canvas, [left, top, side, n]) => {
    const scale = canvas.width / canvas.clientWidth, ctx = canvas.getContext("2d"), found = [];
    for (let r = 0; r < n; r++) for (let c = 0; c < n; c++) {
        const at = (k) => (k + 0.5) * side / n;
        found.push([...ctx.getImageData((left + at(c)) * scale, (top + at(r)) * scale, 1, 1).data].slice(0, 3));
    }
    return found;
}"""


def snapshots(key):
    return gallery.find(Path("none"), key).snapshots()


def opened(page, app, query=""):
    page.goto(app.url(PAGE + query))
    settled(page)
    page.locator(".scrub[data-ready]").wait_for()


def drawn(page, column, row=0):
    """[8, 8, 3] what is seen of image `row` in a column."""
    where = [COLUMN[column], FIRST + row * (SIDE + 2), SIDE, 8]
    return np.array(page.locator(".scrub .board").evaluate(PIXELS, where)).reshape(8, 8, 3)


def stored(key, step, i=0, kind="reconstructions"):
    """[8, 8] the same image in the snapshot."""
    board = Image.open(snapshots(key)[step] / boards.KINDS[kind].file)
    layout = boards.layout(kind, board, (1, 8, 8))
    return boards.tiles(board, layout.model[i])[0][2::4, 2::4].astype(int)


def step_of(page):
    return int(page.locator(".scrub").get_attribute("data-step"))


def press(page, key):
    before = step_of(page)
    page.locator(".scrub .time").press(key)
    wait(lambda: step_of(page) != before, "another step is drawn")


def test_scrubbing_shows_the_snapshots_of_both_to_the_pixel_and_keeps_the_size(app, page):
    opened(page, app)
    steps = sorted(snapshots(A))
    assert step_of(page) == steps[-1]
    page.get_by_role("button", name="Smaller images").click()
    page.get_by_role("button", name="Larger images").click()
    canvas = page.locator(".scrub .board").element_handle()
    size = canvas.bounding_box()
    for step in reversed(steps[-4:-1]):
        press(page, "ArrowLeft")
        assert step_of(page) == step
        for row in (0, 5):
            for letter, key in (("A", A), ("B", B)):
                np.testing.assert_array_equal(drawn(page, letter, row)[..., 0], stored(key, step, row))
    assert canvas.evaluate("e => e.isConnected"), "it was not made anew"
    assert canvas.bounding_box()["width"] == size["width"]
    press(page, "Home")
    assert step_of(page) == 0
    np.testing.assert_array_equal(drawn(page, "B")[..., 0], stored(B, 0))


def test_the_difference_is_signed_and_in_the_colours_of_its_scale(app, page):
    opened(page, app, "&view=difference")
    step = sorted(snapshots(A))[-1]
    difference = (stored(B, step) - stored(A, step)) / 255
    seen = drawn(page, "B − A").astype(float)
    ground = np.array([255, 255, 255])
    poles = {-1: np.array([0x2F, 0x6F, 0xDE]), 1: np.array([0xD9, 0x8A, 0x00])}  # A brighter: A's colour
    expected = np.array([[ground + (poles[1 if v > 0 else -1] - ground) * abs(v) for v in line] for line in difference])
    assert abs(seen - expected).max() <= 1, "but for rounding"
    assert abs(difference).max() > 0.2, "there is something to see"
    assert page.locator(".scrub .scale").inner_text().split("\n") == ["A brighter −1", "+1 B"]


def test_flicker_alternates_in_place_and_holds(app, page):
    opened(page, app, "&view=flicker")
    step, scrub = step_of(page), page.locator(".scrub")
    seen = {}
    for letter in "AB":
        wait(lambda letter=letter: scrub.get_attribute("data-front") == letter, f"{letter} comes to the front")
    page.get_by_role("button", name="Hold").click()
    for _ in range(2):
        letter = scrub.get_attribute("data-front")
        seen[letter] = drawn(page, "A")[..., 0]
        page.wait_for_timeout(900)
        assert scrub.get_attribute("data-front") == letter, "it holds"
        page.get_by_role("button", name="Next").click()
    np.testing.assert_array_equal(seen["A"], stored(A, step))
    np.testing.assert_array_equal(seen["B"], stored(B, step))


def test_space_plays_and_a_link_comes_back_to_the_same_view(app, page):
    opened(page, app, "&show=Random+codes")
    press(page, "Home")
    press(page, "ArrowRight")
    page.keyboard.press("Space")
    wait(lambda: step_of(page) > 20, "it plays")
    page.keyboard.press("Space")
    held = step_of(page)
    page.get_by_role("radio", name="Difference").click()
    page.wait_for_url(re.compile(rf"t={held}(&|$)"))
    page.wait_for_url(re.compile("view=difference"))
    assert step_of(page) == held, "it paused"
    page.reload()
    settled(page)
    page.locator(f".scrub[data-ready][data-step='{held}'][data-view=difference]").wait_for()
    np.testing.assert_array_equal(drawn(page, "A")[..., 0], stored(A, held, kind="codes"))


def test_other_pictures_and_the_swap_keep_step_and_view(app, page):
    opened(page, app)
    press(page, "ArrowLeft")
    step, stamp = step_of(page), page.locator(".scrub").get_attribute("data-stamp")
    page.get_by_text("Interpolations", exact=True).click()
    wait(lambda: page.locator(".scrub").get_attribute("data-stamp") != stamp, "other pictures")
    assert step_of(page) == step
    page.get_by_text("Reconstructions", exact=True).click()
    wait(lambda: page.locator(".scrub").get_attribute("data-stamp") == stamp, "the first ones again")
    page.get_by_role("button", name="⇄").click()
    wait(lambda: page.locator(".scrub").get_attribute("data-stamp") != stamp, "A and B are swapped")
    assert step_of(page) == step
    np.testing.assert_array_equal(drawn(page, "A")[..., 0], stored(B, step))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pointer_magnifies_and_a_click_follows_an_image(app, browser, scheme):
    page = browser.new_context(viewport={"width": 1024, "height": 900}, color_scheme=scheme).new_page()
    page.set_default_timeout(60_000)
    opened(page, app)
    board = page.locator(".scrub .board")
    board.hover(position={"x": COLUMN["B"] + 20, "y": FIRST + 3 * (SIDE + 2) + 20})
    page.get_by_text("index 3; mean over pixels").wait_for()
    board.click(position={"x": COLUMN["B"] + 20, "y": FIRST + 3 * (SIDE + 2) + 20})
    page.get_by_text("Index 3 along training").wait_for()
    page.wait_for_url(re.compile("pin=3"))
    ground = board.evaluate("c => [...c.getContext('2d').getImageData(0, c.height - 1, 1, 1).data].slice(0, 3)")
    assert ground == ([255, 255, 255] if scheme == "light" else [0x10, 0x14, 0x1C])
    page.context.close()


def test_nonsense_in_the_link_is_told_in_a_sentence_each_until_the_view_is_changed(app, page):
    opened(page, app, "&t=zzz&view=foo&size=-5&gain=7&pin=-1&all=maybe")
    note = page.locator(".scrub .note")
    assert note.inner_text().split(". ") == [
        "t=zzz in the link is not a number, so it is passed over",
        "view=foo in the link is none of side, flicker, difference: side is shown",
        "gain=7 in the link is none of 1, 0.5, 0.25: 1 is shown",
        "size=-5 in the link is outside 8 to 280, so 8 is shown",
        "all=maybe in the link is none of 1, 0: 0 is shown",
        "pin=-1 in the link is not the index of an image, so the first one is followed.",
    ]
    assert step_of(page) == max(snapshots(A))
    press(page, "ArrowLeft")
    assert note.inner_text() == ""
    page.wait_for_url(lambda url: "view=foo" not in url and "pin=-1" not in url)


def test_a_zoom_of_the_curves_survives_other_controls_and_reruns(app, page):
    opened(page, app)
    first = shot(page)
    box = page.locator("[data-testid=stVegaLiteChart]").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.4)
    page.mouse.wheel(0, -600)
    wait(lambda: not alike(shot(page), first), "it is zoomed")
    page.wait_for_timeout(1500)  # the server is told of it
    zoomed = shot(page)
    page.get_by_text("Random codes", exact=True).click()  # another part of the page
    page.get_by_text("Drawn with the same seed").wait_for()
    wait(lambda: alike(shot(page), zoomed), "it is as it was", 60)
    for _ in range(2):  # the charts go, and come back, the second time without having been touched
        page.get_by_text("Decoder p, term by term", exact=True).click()
        page.get_by_text("the whole utility", exact=True).wait_for()
        settled(page)
        page.get_by_text("Test set", exact=True).click()
        page.get_by_text("Probe set:").wait_for()
        wait(lambda: alike(shot(page), zoomed), "it is as it was", 60)
    page.wait_for_url("**zoom=L_p*")
    page.get_by_test_id("stSidebar").get_by_text("Results", exact=True).click()
    page.wait_for_url("**/Results*")
    settled(page)
    page.get_by_test_id("stSidebar").get_by_text("Compare", exact=True).click()
    page.get_by_text("Probe set:").wait_for()
    wait(lambda: alike(shot(page), zoomed), "another page and back, and it is as it was left", 60)
    page.goto(page.url)
    page.get_by_text("Probe set:").wait_for()
    wait(lambda: alike(shot(page), zoomed), "the link brings it", 60)
    zoom = re.search("zoom=[^&]*", page.url)[0]
    for a in (B, A):  # A and B change places, and back
        page.get_by_role("button", name="⇄").click()
        page.wait_for_url(f"**a={a}*")
        settled(page)
    wait(lambda: alike(shot(page), zoomed), "and it is zoomed still", 60)
    page.wait_for_timeout(1500)
    assert zoom in page.url
