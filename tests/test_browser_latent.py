"""The latent space in a real browser: hover, click, lasso, zoom, and decoding at the pointer without the server."""

import json

import numpy as np
import pytest
import torch

from symeq_core.checkpoints import load, save_pair
from symeq_core.config import override
from symeq_core.datasets import complete, load_data
from symeq_core.models import build
from symeq_core.presets import preset
from symeq_core.sources import clean

from .browser import needs_chromium, settled, wait

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def plane(app):
    """Two untrained pairs whose codes lie in a plane."""
    for seed, name in enumerate(("plane-a", "plane-b")):
        config = complete(override(preset("digits-plane-symmetric"), {"model.hidden": [16]}))
        p, q = build(config.model, seed)
        with torch.no_grad():
            for w in (*p.parameters(), *q.parameters()):
                w.mul_(2)
        save_pair(app.runs / name, p, q, config)
    return "a=own:plane-a&b=own:plane-b"


def opened(page, app, query):
    page.set_default_timeout(90_000)
    page.goto(app.url(f"/Latent_space?{query}"))
    page.wait_for_selector(".latent[data-ready]")
    settled(page)
    return page.locator(".latent")


def point(maps, letter, number):
    return maps.evaluate("(e, [letter, n]) => e.place(letter, n)", [letter, number])


def url(page):
    return page.evaluate("location.href")


def count(page):
    return page.locator(".count").inner_text()


def test_the_image_at_the_pointer_and_its_point_on_the_other_map(page, app):
    maps = opened(page, app, "a=digits-bits-symmetric&b=digits-bits-elbo&map=PCA")
    assert "360 of 360 test images" in count(page)
    wait(lambda: page.evaluate("window.symeqSheets?.size"), "the images are there")
    data = preset("digits-flat-symmetric").data
    images = clean(load_data(data).test.images, data)
    page.mouse.move(*point(maps, "A", 17))
    card = page.locator(".card")
    wait(lambda: card.get_attribute("data-image"), "an image is shown")
    number = int(card.get_attribute("data-image"))
    pixels = card.locator(".head canvas").first.evaluate(
        "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).filter((v, i) => i % 4 == 0)"
    )
    np.testing.assert_array_equal(np.array(pixels).reshape(8, 8) > 127, images[number, 0].numpy() > 0.5)
    assert card.locator(".near").count() == 2


def test_click_lasso_zoom_and_the_link_that_reproduces_them(page, app):
    maps = opened(page, app, "a=digits-bits-symmetric&b=digits-bits-elbo&map=PCA")
    x, y = point(maps, "B", 40)
    page.mouse.click(x, y)
    wait(lambda: "1 selected" in count(page), "a point is selected")
    wait(lambda: "sel=" in url(page), "the URL says so")
    number = url(page).partition("sel=")[2].partition("&")[0]
    wait(lambda: f"{number} · " in page.locator("table.lt").inner_text(), "its image is shown")
    assert page.locator("table.lt tr").count() == 2

    page.get_by_role("button", name="Lasso").click()
    box = page.locator(".over").first.bounding_box()
    corners = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.25)]
    steps = [(box["x"] + box["width"] * u, box["y"] + box["height"] * v) for u, v in corners]
    page.mouse.move(*steps[0])
    page.mouse.down()
    for step in steps[1:]:
        page.mouse.move(*step, steps=6)
    page.mouse.up()
    wait(lambda: "sel=~" in url(page), "the URL has what is inside")
    picked = count(page).split(" selected")[0]
    assert int(picked) > 20
    wait(
        lambda: f"{picked} images selected, 1 to 8 shown" in page.locator("[data-testid=stApp]").inner_text(),
        "told below",
    )
    first = page.locator("table.lt").inner_text()
    page.get_by_role("button", name="Next page").click()
    told = f"{picked} images selected, 9 to 16 shown"
    wait(lambda: told in page.locator("[data-testid=stApp]").inner_text(), "the next ones are shown")
    wait(lambda: page.locator("table.lt").inner_text() != first, "in the table")
    wait(lambda: "page=2" in url(page), "the URL has the page")

    page.get_by_role("button", name="Move").click()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.wheel(0, -600)
    wait(lambda: "in sight" in count(page), "zoomed in")
    wait(lambda: "view=" in url(page), "the URL has the view")
    page.get_by_role("button", name="Images").click()
    wait(lambda: "images=true" in url(page), "the URL has what is drawn")
    settled(page)
    shown = count(page)

    page.goto(url(page))
    page.wait_for_selector(".latent[data-ready]")
    wait(lambda: count(page) == shown, f"the link shows {shown!r} again")
    assert page.locator(".tool.on[data-tool=images]").count() == 1
    wait(lambda: told in page.locator("[data-testid=stApp]").inner_text(), "and the same page of the images")

    page.get_by_test_id("stMain").get_by_text("Hamming", exact=True).first.click()
    wait(lambda: "view=" not in url(page), "another map is seen whole, and the URL says so")
    settled(page)
    assert count(page).startswith(f"{picked} selected")
    page.goto(url(page))
    page.wait_for_selector(".latent[data-ready]")
    wait(lambda: count(page).startswith(f"{picked} selected, 360 of"), "the same images are selected on another map")


def test_escape_clears_the_selection_unless_it_is_meant_for_something_else(page, app):
    maps = opened(page, app, "a=digits-bits-symmetric&b=digits-bits-elbo&map=PCA&sel=7,12")
    assert "2 selected" in count(page)
    page.get_by_role("combobox", name="Colour").focus()
    page.keyboard.press("Escape")
    settled(page)
    assert "2 selected" in count(page)
    page.mouse.click(*point(maps, "A", 40))
    wait(lambda: "1 selected" in count(page), "the focus is in the maps, and a point is selected")
    page.keyboard.press("Escape")
    wait(lambda: "selected" not in count(page), "nothing is selected")
    wait(lambda: "sel=" not in url(page), "the URL says so")


def test_another_colour_keeps_the_zoom_and_sends_no_new_component(page, app):
    maps = opened(page, app, "a=digits-bits-symmetric&b=digits-bits-elbo&map=PCA")
    box = page.locator(".over").first.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.wheel(0, -600)
    wait(lambda: "in sight" in count(page), "zoomed in")
    shown = count(page)
    maps.evaluate("e => e.mine = true")
    page.mouse.move(5, 5)
    page.get_by_role("combobox", name="Colour").click()
    page.get_by_role("option", name="Reconstruction error").click()
    wait(lambda: "Reconstruction error" in page.locator(".legend").inner_text(), "the legend has changed")
    assert count(page) == shown
    assert maps.evaluate("e => e.mine")


def test_decoding_at_the_pointer_is_the_decoders_own(page, app, plane):
    maps = opened(page, app, plane)
    at = [[0.3, -1.1], [2.0, 0.4], [-0.7, 0.0]]
    for letter, name in (("A", "plane-a"), ("B", "plane-b")):
        p, _ = load(app.runs / name)
        with torch.no_grad():
            exact = p.mean({"z0": torch.tensor(at)}, "x").flatten(1).numpy()
        for z, x in zip(at, exact, strict=True):
            found = maps.evaluate("(e, [letter, z]) => e.decode(letter, z)", [letter, z])
            np.testing.assert_allclose(found, x, atol=2e-6)


def test_it_decodes_while_the_pointer_moves_with_the_server_away(page, app, plane):
    opened(page, app, plane + "&turn=true")
    page.context.set_offline(True)
    box = page.locator(".over").nth(1).bounding_box()
    seen = set()
    p, _ = load(app.runs / "plane-b")
    for k in range(4):
        page.mouse.move(box["x"] + 80 + 60 * k, box["y"] + 90 + 40 * k)
        shown = page.locator(".card canvas[data-letter=B]")
        z = json.loads(shown.get_attribute("data-z"))
        pixels = shown.evaluate(
            "c => Array.from(c.getContext('2d').getImageData(0, 0, 8, 8).data).filter((v, i) => i % 4 == 0)"
        )
        with torch.no_grad():
            exact = p.mean({"z0": torch.tensor([z])}, "x").flatten().numpy()
        np.testing.assert_allclose(np.array(pixels) / 255, exact, atol=1.5 / 255)
        seen.add(tuple(z))
    assert len(seen) == 4
    page.context.set_offline(False)
