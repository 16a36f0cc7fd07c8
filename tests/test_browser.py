"""The real app in a real browser, with real training processes."""

import os
import re
import signal

import pytest

from symeq_core import supervisor
from symeq_core.runs import Run

from .browser import App, iteration, needs_chromium, pid_of, press, settled, wait

pytestmark = needs_chromium


def started(page, app, **query):
    """A long run on digits, started by the button; the run and its page."""
    choice = "&".join(f"{k}={v}" for k, v in ({"steps": 1_000_000} | query).items())
    page.goto(app.url(f"/Train?{choice}"))
    settled(page)
    page.get_by_role("button", name=re.compile("Start training")).click()
    page.wait_for_url("**run=*")
    name = page.url.split("run=")[1].split("&")[0]
    run = Run.open(app.runs / name)
    wait(lambda: [e for e in run.events() if e["event"] == "metrics"], "the first metrics")
    page.locator("[data-testid=stVegaLiteChart]").first.wait_for()
    return run


def stopped(page, run):
    press(page, "Stop")
    wait(lambda: run.state() == "stopped", "the run has stopped")


@pytest.mark.parametrize("path", ["/", "/Train", "/Runs", "/Train?run=nothing"])
def test_a_deep_link_is_a_good_first_request(path, tmp_path, browser, page):
    """Each on a freshly started server."""
    fresh = App(tmp_path / "runs")
    try:
        page.goto(fresh.url(path))
        settled(page)
        page.get_by_role("link", name="Runs").first.wait_for()
        assert "Symmetric Equilibrium Explorer" in page.title()
    finally:
        fresh.kill()
        log = tmp_path / "runs" / ".supervisor" / "log.txt"
        if wait(lambda: supervisor.is_alive(tmp_path / "runs"), "the warm process is there"):
            os.kill(int(re.findall(r"process (\d+)", log.read_text())[-1]), signal.SIGKILL)


def test_start_watch_reload_pause_step_resume_stop(app, page):
    run = started(page, app)
    first = iteration(page)
    wait(lambda: iteration(page) > first, "the iteration grows on the page")
    page.reload()
    settled(page)
    wait(lambda: iteration(page) > first, "the run is still there after a reload")
    press(page, "Pause")
    page.get_by_role("button", name="Resume", exact=True).wait_for()
    assert run.state() == "paused"
    at = run.step()
    press(page, "Step decoder p")
    step = wait(lambda: [e for e in run.events() if e["event"] == "metrics" and e["step"] == at + 1], "one step")
    assert step[0]["moves"] == {"p": 1}
    wait(lambda: iteration(page) == at + 1, "the page shows it")
    press(page, "Resume")
    wait(lambda: iteration(page) > at + 1, "it goes on")
    stopped(page, run)
    page.get_by_text("stopped", exact=True).wait_for()


def test_the_app_may_die_and_finds_its_run_again(app, page):
    run = started(page, app, seed=1)
    app.kill()
    at = run.step()
    wait(lambda: run.step() > at, "it trains on without the app")
    app.start()
    page.goto(app.url(f"/Train?run={run.folder.name}"))
    settled(page)
    wait(lambda: iteration(page) > at, "the page shows it training")
    stopped(page, run)


def test_the_training_process_may_die_and_is_resumed(app, page):
    run = started(page, app, seed=2)
    os.kill(pid_of(run), signal.SIGKILL)
    page.get_by_text("The training process died.").wait_for()
    press(page, "Resume")
    wait(run.is_running, "it trains again")
    at = run.step()
    wait(lambda: run.step() > at, "it makes progress")
    wait(lambda: iteration(page) > at, "and the page shows it")
    stopped(page, run)


def test_zoom_survives_the_next_update(app, page):
    run = started(page, app, seed=3)
    chart = page.locator("[data-testid=stVegaLiteChart]").nth(1)
    wait(lambda: iteration(page) > 3000, "some curve to zoom into")
    canvas = chart.locator("canvas, svg").first
    axis = "() => [...document.querySelectorAll('[data-testid=stVegaLiteChart]')][1].outerHTML.length"
    before = canvas.bounding_box()
    page.mouse.move(before["x"] + before["width"] * 0.6, before["y"] + before["height"] * 0.5)
    element = canvas.element_handle()
    for _ in range(4):
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(150)
    at = iteration(page)
    wait(lambda: iteration(page) > at + 500, "updates after the zoom")
    assert element.evaluate("e => e.isConnected"), "the chart was not made anew"
    assert page.evaluate(axis)
    stopped(page, run)


def test_a_third_run_waits_in_a_queue_that_is_shown(app, page):
    runs = [started(page, app, seed=10 + k) for k in range(2)]
    page.goto(app.url("/Train?steps=1000000&seed=12"))
    settled(page)
    page.get_by_role("button", name=re.compile("Start training")).click()
    page.get_by_text("Two runs train at once").wait_for()
    third = page.url.split("run=")[1].split("&")[0]
    assert supervisor.queue(app.runs) == [third]
    runs[0].send("stop")
    wait(Run.open(app.runs / third).is_running, "the third starts")
    page.get_by_role("button", name="Pause", exact=True).wait_for()
    for run in (runs[1], Run.open(app.runs / third)):
        run.send("stop")
        wait(lambda run=run: not run.is_running(), "it stops")


def test_nothing_is_fetched_from_elsewhere(app, page):
    asked = []
    page.on("request", lambda r: asked.append(r.url))
    for path in ("/", "/Train", "/Runs"):
        page.goto(app.url(path))
        settled(page)
    assert asked
    assert not [u for u in asked if "127.0.0.1" not in u and not u.startswith(("data:", "blob:"))]
