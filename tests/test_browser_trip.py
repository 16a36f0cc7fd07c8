"""Round trips in a real browser: draw a digit and play its chain, scrub, follow a link."""

import pytest

from .browser import alike, needs_chromium, settled, shot, wait

pytestmark = needs_chromium
PAIRS = "a=digits-bits-symmetric&b=digits-bits-elbo"
THREE = [(0.3, 0.2), (0.5, 0.13), (0.68, 0.25), (0.48, 0.48), (0.7, 0.7), (0.55, 0.86), (0.3, 0.8)]


@pytest.fixture(autouse=True)
def _patience(page):
    page.set_default_timeout(120_000)


def film(page):
    """The film's element, once something is painted."""
    page.locator(".film[data-k]").wait_for()
    return page.locator(".film")


def k_of(page):
    return int(film(page).get_attribute("data-k"))


def address(page):
    return page.evaluate("() => Object.fromEntries(new URLSearchParams(location.search))")


def pictures(page, which="now"):
    """What is painted of A and of B."""
    found = page.locator(f"canvas.{which}")
    return [found.nth(i).evaluate("c => c.toDataURL()") for i in range(found.count())]


def scrub(page, permille):
    """A drag of the slider's handle, by the pointer."""
    page.locator(".scrub input").scroll_into_view_if_needed()
    box = page.locator(".scrub input").bounding_box()
    y, inside = box["y"] + box["height"] / 2, box["width"] - 16
    page.mouse.click(box["x"] + 8 + inside * permille / 1000, y)


def stroke(page, points):
    pad = page.locator("canvas.draw")
    pad.wait_for()
    box = pad.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=3)
    page.mouse.up()


def test_draw_a_digit_and_play_its_chain(app, page):
    page.goto(app.url(f"/Round_trip?{PAIRS}&start=Drawing"))
    stroke(page, THREE)
    film(page)
    page.wait_for_url("**ink=*")
    assert page.locator(".seen canvas").count() == 1
    ink = page.locator(".seen canvas").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, 8, 8).data].filter((v, i) => i % 4 === 0 && v > 128).length"
    )
    assert 8 < ink < 40, "a digit of 8 x 8 pixels"
    wait(lambda: k_of(page) > 0, "it plays by itself", 120)
    wait(lambda: int(film(page).get_attribute("data-frames")) > 17, "frames after k = 20 come", 240)
    scrub(page, 0)
    wait(lambda: k_of(page) == 0, "the beginning")
    first = pictures(page)
    page.get_by_role("button", name="Play", exact=True).click()
    wait(lambda: k_of(page) > 2, "it plays", 120)
    page.get_by_role("button", name="Pause", exact=True).click()
    later = pictures(page)
    assert len(first) == 2
    assert all(a != b for a, b in zip(first, later, strict=True)), "the chains of A and of B have moved"
    assert later[0] != later[1], "and differ"
    before = address(page)
    stroke(page, [(0.2, 0.5), (0.8, 0.5)])
    wait(lambda: address(page).get("ink") != before["ink"], "another stroke, another drawing", 120)
    page.get_by_role("button", name="Clear", exact=True).click()
    page.locator(".film").wait_for(state="detached")


def test_scrub_step_and_show_samples_and_the_link_reproduces_it(app, page):
    page.goto(app.url(f"/Round_trip?{PAIRS}&seed=2"))
    film(page)
    scrub(page, 347)
    wait(lambda: 8 <= k_of(page) <= 12, "k = 10 is a third of the way")
    k = k_of(page)
    page.get_by_role("button", name="One frame on").click()
    wait(lambda: k_of(page) > k, "a frame further")
    mean = pictures(page)
    page.get_by_role("button", name="Sample", exact=True).click()
    wait(lambda: pictures(page) != mean, "samples look otherwise")
    k, shown = k_of(page), pictures(page)
    page.wait_for_url(f"**k={k}*")
    page.wait_for_url("**frames=sample*")
    wait(lambda: int(film(page).get_attribute("data-frames")) > 50, "all frames are there", 240)
    page.goto(page.url)
    film(page)
    wait(lambda: k_of(page) == k, "the step of the link")
    wait(lambda: pictures(page) == shown, "the pictures of the link")
    settled(page)
    page.get_by_test_id("stSidebar").get_by_text("Results", exact=True).click()
    page.wait_for_url("**/Results*")
    settled(page)
    page.get_by_test_id("stSidebar").get_by_text("Round trip", exact=True).click()
    film(page)
    wait(lambda: k_of(page) == k and pictures(page) == shown, "another page and back, and it is as it was left")
    page.wait_for_url(f"**k={k}*")
    settled(page)
    page.locator("canvas.strip").first.click(position={"x": 10, "y": 60})
    wait(lambda: k_of(page) == 0, "a press on the film goes there")


def test_a_zoom_of_the_curves_survives_other_starts_pairs_and_pages_and_is_in_the_link(app, page):
    page.goto(app.url(f"/Round_trip?{PAIRS}"))
    film(page)
    wait(lambda: int(film(page).get_attribute("data-frames")) > 50, "all frames are there", 240)
    first = shot(page)
    box = page.locator("[data-testid=stVegaLiteChart]").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.4)
    page.mouse.wheel(0, -600)
    page.wait_for_url("**zoom=frechet*")
    page.wait_for_timeout(4000)  # a turn of the wheel is told in parts
    zoomed = shot(page)
    assert not alike(zoomed, first)
    zoom = address(page)["zoom"]
    page.get_by_text("One image", exact=True).click()
    page.get_by_label("Test images to choose from").wait_for()
    wait(lambda: alike(shot(page), zoomed), "another start of the same chains")
    page.get_by_text("Noise", exact=True).click()
    page.get_by_text("What becomes of noise").wait_for()
    wait(lambda: "zoom" not in address(page), "other curves are not zoomed")
    page.get_by_text("Every class", exact=True).click()
    page.get_by_text("What becomes of test images").wait_for()
    wait(lambda: alike(shot(page), zoomed) and address(page).get("zoom") == zoom, "those from before are")
    for a in ("digits-bits-elbo", "digits-bits-symmetric"):  # A and B change places, and back
        page.get_by_role("button", name="⇄").click()
        wait(lambda a=a: address(page)["a"] == a, f"A is {a}")
        settled(page)
    wait(lambda: alike(shot(page), zoomed), "and it is zoomed still")
    page.wait_for_timeout(1500)
    assert address(page)["zoom"] == zoom
    page.get_by_text("Two more curves").click()
    more = page.locator("[data-testid=stExpander] [data-testid=stVegaLiteChart]").first
    more.hover(position={"x": 150, "y": 100})
    page.mouse.wheel(0, -600)
    page.wait_for_url("**effective_classes*")
    for _ in range(2):  # folded and unfolded, it is zoomed still
        page.get_by_text("Two more curves").click()
        settled(page)
    more.wait_for()
    page.wait_for_timeout(1500)
    assert "effective_classes" in address(page)["zoom"]
    page.get_by_text("Two more curves").click()
    zoom = address(page)["zoom"]
    page.get_by_test_id("stSidebar").get_by_text("Results", exact=True).click()
    page.wait_for_url("**/Results*")
    settled(page)
    page.get_by_test_id("stSidebar").get_by_text("Round trip", exact=True).click()
    film(page)
    wait(lambda: alike(shot(page), zoomed), "another page and back, and it is as it was left")
    assert address(page)["zoom"] == zoom
    page.goto(page.url)
    film(page)
    wait(lambda: alike(shot(page), zoomed), "the link brings it")
    page.get_by_role("button", name="Reset zoom").click()
    wait(lambda: "zoom" not in address(page) and alike(shot(page), first), "a press shows all again")
    page.locator("[data-testid=stVegaLiteChart]").first.hover(position={"x": 150, "y": 100})
    page.mouse.wheel(0, -600)
    page.wait_for_url("**zoom=frechet*")
    page.locator("[data-testid=stVegaLiteChart]").first.dblclick(position={"x": 150, "y": 100})
    wait(lambda: "zoom" not in address(page) and alike(shot(page), first), "as does a double click")
