"""How long a switch of pair, image, step or map takes until the page shows it, in a real browser.

    python -m bench.switch [--data digits mnist] [--times 6] [--pages Compare Latent_space Round_trip]

From the press in the browser to the frame after the component has drawn what was asked for. Everything is visited once
before it is measured, as once loaded is what counts, but images and seeds of a round trip are new ones. Needs Chromium
and the development requirements. What else the machine does counts: the load (processes that want to run, mean of a
minute) is told with each figure. MNIST needs SYMEQ_DATA or a download. A press that changes nothing for a minute fails.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from .app import DONE, FLAGS, serve

WATCH = """([selector, attribute]) => {
  const now = () => { // components live in shadow roots
    for (const host of document.querySelectorAll("[data-testid=stMain] *"))
      if (host.shadowRoot?.querySelector(selector)) return host.shadowRoot.querySelector(selector).dataset[attribute];
  };
  window.symeqBefore = now();
  window.symeqTook = new Promise((done, fail) => {
    setTimeout(() => fail(new Error(`nothing changed for a minute: ${selector} still shows ${now()}`)), 60000);
    let pressed = null;
    for (const kind of ["pointerdown", "keydown"])
      addEventListener(kind, () => { pressed = performance.now(); }, { capture: true, once: true });
    const look = () => {
      if (pressed !== null && now() !== undefined && now() !== window.symeqBefore)
        requestAnimationFrame(() => done(performance.now() - pressed));
      else setTimeout(look, 5);
    };
    look();
  });
}"""
MARK = {"Compare": (".scrub", "stamp"), "Latent_space": (".latent", "ready"), "Round_trip": (".film", "id")}
PAIRS = {
    "digits": ("digits-reverse-symmetric", "digits-reverse-elbo", "digits-ladder-elbo"),
    "mnist": ("mnist-reverse-symmetric", "mnist-reverse-elbo", "mnist-ladder-elbo"),
}


def settle(page):
    """Wait until the script has ended and nothing more comes for half a second."""
    page.wait_for_selector(DONE)
    page.wait_for_timeout(500)
    page.wait_for_selector(DONE)


def took(page, mark, press):
    """Milliseconds from the press to the picture."""
    settle(page)
    page.evaluate(WATCH, list(mark))
    press()
    return page.evaluate("window.symeqTook")


def option(page, box, name):
    """A press of an option of a selectbox, which is opened before."""
    page.get_by_role("combobox", name=box).click()
    found = page.get_by_role("option", name=name, exact=True)
    found.wait_for()
    return found.click


def text(page, name):
    """A press of a segment of a control."""
    return page.get_by_test_id("stMain").get_by_role("radio", name=name, exact=True).first.click


def typed(page, label, value):
    """A press of Enter behind a number, which is typed when the page is at rest."""
    settle(page)
    box = page.get_by_label(label, exact=True)
    box.fill(str(value))
    return lambda: box.press("Enter")


def measure(page, mark, what, presses, times, new=False):
    """Presses in turn, each seen once before unless they are to be new; tells median and largest."""
    for press in presses if not new else ():
        took(page, mark, press())
    found = [took(page, mark, press()) for _ in range(times) for press in presses]
    load = os.getloadavg()[0]
    print(
        f"  {what}: median {statistics.median(found):,.0f} ms, most {max(found):,.0f} ms "
        f"({len(found)} switches)  [load {load:.1f}]",
        flush=True,
    )


def words_of(key):
    """How a shipped pair is called in the boxes."""
    from symeq_core import gallery
    from ui.pairs import title

    return next(title(p) for p in gallery.shipped() if p.key == key)


def pages(page, address, name, data, times):
    """Every kind of switch of a page."""
    a, b, c = PAIRS[data]
    mark = MARK[name]
    page.goto(f"{address}/{name}?a={a}&b={b}" + ("&start=One+image" if name == "Round_trip" else ""))
    page.wait_for_selector(f"{mark[0]}[data-{mark[1]}]", timeout=300_000)
    settle(page)
    print(f"{name}, {data}", flush=True)
    either = [lambda n=n: option(page, "Pair B", words_of(n)) for n in (c, b)]
    measure(page, mark, "pair B", either, times)
    if name == "Compare":
        kinds = ("Random codes", "Limiting images", "Reconstructions")
        measure(page, mark, "kind of pictures", [lambda k=k: text(page, k) for k in kinds], times)
        slider = page.locator(".scrub .time")
        steps = [lambda k=k: lambda: slider.press(k) for k in ("ArrowLeft", "ArrowRight")]
        measure(page, (".scrub", "step"), "step", steps, times)
    if name == "Latent_space":
        measure(page, mark, "map", [lambda k=k: text(page, k) for k in ("PCA", "UMAP")], times)
        measure(page, mark, "layer", [lambda k=k: text(page, k) for k in ("z1", "z0")], times)
        colours = ("Neighbours shared", "Reconstruction error", "Label")
        measure(page, mark, "colour", [lambda k=k: option(page, "Colour", k) for k in colours], times)
    if name == "Round_trip":
        measure(page, mark, "new image", [lambda k=k: image(page, k) for k in range(1, 3 * times)], 1, new=True)
        seeds = [lambda k=k: typed(page, "Seed", k) for k in range(1, 3 * times)]
        measure(page, mark, "new seed", seeds, 1, new=True)
        starts = [lambda k=k: text(page, k) for k in ("Every class", "Noise", "One image")]
        measure(page, mark, "start", starts, times)
        settle(page)
        page.locator(".film input[type=range]").fill("500")  # from either end there is no step one way
        steps = [lambda k=k: page.locator(f".film .{k}").click for k in ("back", "forth")]
        measure(page, (".film", "k"), "step", steps, times)


def image(page, k):
    """A press of the k-th picture in the picker."""
    canvas = page.get_by_label("Test images to choose from")
    box = canvas.bounding_box()
    column, row = k % 30, k // 30
    at = {"x": (column + 0.5) * box["width"] / 30, "y": (row + 0.5) * box["height"] / 2}
    return lambda: canvas.click(position=at)


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=list(PAIRS), default=["digits"])
    parser.add_argument("--pages", nargs="+", choices=list(MARK), default=list(MARK))
    parser.add_argument("--times", type=int, default=6, help="rounds of each kind of switch")
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs, sync_playwright() as p:
        server, address = serve(os.environ.get("SYMEQ_RUNS") or Path(runs))
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(60_000)
        try:
            for data in o.data:
                for name in o.pages:
                    pages(page, address, name, data, o.times)
        finally:
            browser.close()
            server.kill()


if __name__ == "__main__":
    main()
