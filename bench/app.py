"""The app in a real browser: first paint, button to first point, the cost of watching, and memory.

    python -m bench.app [--minutes 2]

Needs Chromium and the development requirements. Training throughput watched and unwatched alternates within one run.
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.0, help="of watching")
    minutes = parser.parse_args().minutes
    runs = Path(tempfile.mkdtemp()) / "runs"
    process, address = serve(runs)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        begin = time.perf_counter()
        page.goto(address)
        page.get_by_role("button", name="Watch it learn").wait_for()
        print(f"first paint of Home on a fresh server: {time.perf_counter() - begin:.2f} s")
        while not supervisor.is_alive(runs):
            time.sleep(0.1)
        time.sleep(5)  # torch is loaded behind the page
        page.goto(address + "/Train?steps=10000000")
        page.get_by_role("button", name=re.compile("Start training")).wait_for()
        page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
        begin = time.perf_counter()
        page.get_by_role("button", name=re.compile("Start training")).click()
        page.locator("[data-testid=stVegaLiteChart]").first.wait_for()
        print(f"button to first point, digits, warm: {time.perf_counter() - begin:.2f} s")
        run = Run.open(runs / page.url.split("run=")[1].split("&")[0])
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        memory, start = resident(process.pid), time.time()
        time.sleep(3)
        work, step = busy(session), time.time()
        time.sleep(20)
        updates = (time.time() - step) / 0.9
        print(f"main thread: {1e3 * (busy(session) - work) / updates:.0f} ms an update ({updates:.0f} updates)")
        live = page.url
        pairs = []
        for _ in range(5):
            watched = throughput(run, 6, lambda: page.goto(live))
            pairs.append((watched, throughput(run, 6, lambda: page.goto("about:blank"))))
        ratio = statistics.median(a / b for a, b in pairs)
        watched, alone = (statistics.median(k) for k in zip(*pairs, strict=True))
        print(f"training watched / unwatched: {ratio:.2f} ({watched:,.0f} / {alone:,.0f} images a second)")
        page.goto(live)
        time.sleep(max(0.0, 60 * minutes - (time.time() - start)))
        spent = (time.time() - start) / 60
        print(f"server memory: {memory:.0f} MiB at the start, {resident(process.pid):.0f} MiB after {spent:.0f} min")
        browser.close()
    run.send("stop")
    process.terminate()
    while run.is_running():
        time.sleep(0.1)
    log = (runs / ".supervisor" / "log.txt").read_text()
    os.kill(int(re.findall(r"process (\d+)", log)[-1]), signal.SIGTERM)


if __name__ == "__main__":
    main()
