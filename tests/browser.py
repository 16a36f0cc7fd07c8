"""The real app in a real browser: a server, a Chromium, and what waits for them. Browser tests import from here."""

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


class App:
    """A Streamlit server on a port of its own."""

    def __init__(self, runs):
        self.runs = runs
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.start()

    def start(self):
        environment = os.environ | {"SYMEQ_RUNS": str(self.runs), "SYMEQ_CACHE": str(self.runs.parent / "cache")}
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait(self.healthy, "the server is healthy")

    def healthy(self):
        try:
            return urllib.request.urlopen(self.url("/_stcore/health"), timeout=1).status == 200
        except OSError:
            return False

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def wait(done, what, seconds=180):
    end = time.time() + seconds
    while time.time() < end:
        value = done()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def pid_of(run):
    return next(e["pid"] for e in reversed(run.events()) if e["event"] in ("start", "resume"))


def settled(page):
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    assert page.locator("[data-testid=stException]").count() == 0


def iteration(page):
    text = page.locator("[data-testid=stMetric]").first.locator("[data-testid=stMetricValue]").inner_text()
    return int(text.replace(",", ""))


def press(page, name):
    """A press, as a person's, of a page that has been drawn."""
    settled(page)
    page.get_by_role("button", name=name, exact=True).click()


def shot(page):
    """The first chart in shades of grey, the pointer being elsewhere."""
    settled(page)
    chart = page.locator("[data-testid=stVegaLiteChart]").first
    chart.locator("canvas, svg").first.wait_for()
    chart.scroll_into_view_if_needed()
    page.mouse.move(400, 5)
    picture = Image.open(io.BytesIO(chart.locator("canvas, svg").first.screenshot())).convert("L")
    return np.asarray(picture, np.float32)


def alike(a, b):
    """But for a line of pixels up or down, and a few to the side where a label at the edge takes room, at most 1.4;
    other ranges differ by 6.9."""
    return a.shape == b.shape and min(abs(np.roll(a, by, 0) - b).mean() for by in (-1, 0, 1)) < 3
