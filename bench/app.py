"""The app in a real browser: first paint, button to first point, the cost of watching, and memory.

    python -m bench.app [--minutes 2]

Needs Chromium and the development requirements. Training throughput watched and unwatched alternates within one run.
What else the machine does counts: the load (processes that want to run, mean of a minute) is told with each figure.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

from symeq_core import supervisor
from symeq_core.runs import Run

ROOT = Path(__file__).parent.parent
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


def serve(runs):
    """(process, address) of a fresh server that is healthy."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"SYMEQ_RUNS": str(runs)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            urllib.request.urlopen(address + "/_stcore/health", timeout=1)
            return process, address
        except OSError:
            time.sleep(0.05)


def resident(pid):
    """Resident memory of a process in MiB (Linux)."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def busy(session):
    """Seconds of work the page's main thread has done."""
    return next(m["value"] for m in session.send("Performance.getMetrics")["metrics"] if m["name"] == "TaskDuration")


def throughput(run, seconds, before=lambda: None):
    """Median images per second of the metrics of the next `seconds`."""
    before()
    time.sleep(1)
    begin = time.time()
    time.sleep(seconds)
    return statistics.median(
        e["images_per_s"] for e in run.events() if e["event"] == "metrics" and begin < e["time"] < begin + seconds
    )


PAGES = ("", "Train", "Compare", "Latent_space", "Round_trip", "Results", "Runs")
DONE = "[data-testid=stApp][data-test-script-state=notRunning]"


def tell(what):
    """A figure, with the load it was measured under."""
    print(f"{what}  [load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores]", flush=True)


def painted(page, address):
    """(seconds until the page's main part shows something, until its script has ended)."""
    begin = time.perf_counter()
    page.goto(address)
    page.locator("[data-testid=stMain] [data-testid=stElementContainer]").nth(1).wait_for()
    first = time.perf_counter() - begin
    page.wait_for_selector(DONE)
    return first, time.perf_counter() - begin


def first_paints(browser, runs):
    """Each page as the first request to a fresh server, and once more when the server is warm."""
    for name in PAGES:
        process, address = serve(runs)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        fresh = painted(page, f"{address}/{name}")
        again = painted(page, f"{address}/{name}")
        page.close()
        process.terminate()
        process.wait()
        tell(
            f"{name or 'Home'}: first paint {fresh[0]:.2f} s on a fresh server (complete {fresh[1]:.2f}), "
            f"{again[0]:.2f} s after that (complete {again[1]:.2f})"
        )


def started(page, address):
    """A long run on digits, started by the button; tells how long its first point took."""
    page.goto(address + "/Train?steps=10000000")
    page.get_by_role("button", name=re.compile("Start training")).wait_for()
    page.wait_for_selector(DONE)
    begin = time.perf_counter()
    page.get_by_role("button", name=re.compile("Start training")).click()
    page.locator("[data-testid=stVegaLiteChart]").first.wait_for()
    tell(f"button to first point, digits, warm: {time.perf_counter() - begin:.2f} s")
    return page.url.split("run=")[1].split("&")[0]


def cost_of_an_update(page):
    """Main-thread time of the page while it is live."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    time.sleep(3)
    work, begin = busy(session), time.time()
    time.sleep(20)
    updates = (time.time() - begin) / 0.9
    tell(f"main thread: {1e3 * (busy(session) - work) / updates:.0f} ms an update ({updates:.0f} updates)")


def cost_of_watching(page, run):
    """Throughput watched and not, in turns."""
    live, pairs = page.url, []
    for _ in range(5):
        watched = throughput(run, 6, lambda: page.goto(live))
        pairs.append((watched, throughput(run, 6, lambda: page.goto("about:blank"))))
    ratio = statistics.median(a / b for a, b in pairs)
    watched, alone = (statistics.median(k) for k in zip(*pairs, strict=True))
    tell(f"training watched / unwatched: {ratio:.2f} ({watched:,.0f} / {alone:,.0f} images a second, 5 turns of 6 s)")
    page.goto(live)


def memory(process, minutes):
    """Resident memory of the server while one page watches one run."""
    begin, seen = time.time(), [resident(process.pid)]
    while time.time() - begin < 60 * minutes:
        time.sleep(min(300.0, 60 * minutes))
        seen.append(resident(process.pid))
        tell(f"server memory: {seen[0]:.0f} MiB at first, {seen[-1]:.0f} after {(time.time() - begin) / 60:.0f} min")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.0, help="of watching")
    minutes = parser.parse_args().minutes
    runs = Path(tempfile.mkdtemp()) / "runs"
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS.split())
        first_paints(browser, runs)
        process, address = serve(runs)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        while not supervisor.is_alive(runs):
            time.sleep(0.1)
        time.sleep(5)  # torch is loaded behind the page
        run = Run.open(runs / started(page, address))
        cost_of_an_update(page)
        cost_of_watching(page, run)
        memory(process, minutes)
        browser.close()
    run.send("stop")
    process.terminate()
    while run.is_running():
        time.sleep(0.1)
    log = (runs / ".supervisor" / "log.txt").read_text()
    os.kill(int(re.findall(r"process (\d+)", log)[-1]), signal.SIGTERM)


if __name__ == "__main__":
    main()
