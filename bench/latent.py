"""The latent space page in a real browser: first map, switches, redrawing, hover, and how much is sent.

    python -m bench.latent [--a mnist-reverse-symmetric] [--b mnist-reverse-elbo] [--n 10000]

Needs Chromium and the development requirements. What else the machine does counts: the load (processes that want to
run, mean of a minute) is told at both ends.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from .app import FLAGS, serve

CHROMIUM = "/usr/bin/chromium"


def opened(browser, address, query):
    """(page, milliseconds to the map, bytes received by then over the websocket)."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(300_000)
    received = []
    page.on("websocket", lambda ws: ws.on("framereceived", lambda f: received.append(len(f))))
    began = time.perf_counter()
    page.goto(f"{address}/Latent_space?{query}")
    page.wait_for_selector(".latent[data-ready]")
    took = 1000 * (time.perf_counter() - began)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    page.wait_for_function("window.symeqSheets?.size")
    return page, took, received


def switched(page, received, press):
    """(milliseconds until the maps show it, bytes) of one choice."""
    before, count = page.locator(".latent").get_attribute("data-ready"), len(received)
    began = time.perf_counter()
    press()
    locator = page.locator(".latent")
    while locator.get_attribute("data-ready") == before:
        time.sleep(0.005)
    took = 1000 * (time.perf_counter() - began)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    return took, sum(received[count:])


def hovered(page, times=30):
    """Milliseconds from the pointer's move to its image being drawn, median."""
    maps, box, found = page.locator(".latent"), page.locator(".over").first.bounding_box(), []
    for k in range(times):
        page.mouse.move(box["x"] + 60 + 12 * k, box["y"] + box["height"] / 2)
        found.append(float(maps.get_attribute("data-hover-ms")))
    return statistics.median(found)


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--a", default="digits-bits-symmetric")
    parser.add_argument("--b", default="digits-bits-elbo")
    parser.add_argument("--n", type=int, help="images, where there is a choice")
    o = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}")
    query = f"a={o.a}&b={o.b}&map=PCA" + (f"&n={o.n:,}" if o.n else "")
    with tempfile.TemporaryDirectory() as runs, sync_playwright() as p:
        server, address = serve(os.environ.get("SYMEQ_RUNS") or Path(runs))
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        try:
            for what in ("fresh server", "again"):
                page, took, received = opened(browser, address, query)
                print(f"{what}: map after {took:,.0f} ms, {sum(received):,} bytes")
            print(page.locator(".count").inner_text())
            for name in ("Hamming", "PCA", "Hamming", "PCA"):
                button = page.get_by_test_id("stMain").get_by_text(name, exact=True).first
                took, size = switched(page, received, button.click)
                print(f"to {name}: {took:,.0f} ms, {size:,} bytes")
            for name in ("Neighbours shared by A and B", "Label", "Neighbours shared by A and B"):
                page.get_by_role("combobox", name="Colour").click()
                took, size = switched(page, received, page.get_by_role("option", name=name, exact=True).click)
                print(f"colour {name}: {took:,.0f} ms, {size:,} bytes")
            frame = page.locator(".latent").evaluate("e => e.frameTime()")
            print(f"one redrawing of both maps: {frame:.1f} ms; hover: {hovered(page):.2f} ms")
        finally:
            browser.close()
            server.kill()
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
