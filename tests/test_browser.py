"""The real app in a real browser, with real training processes."""

import io
import os
import re
import signal
import zipfile

import numpy as np
import pytest
from PIL import Image

from symeq_core import supervisor
from symeq_core.runs import Run, all_runs

from .browser import App, iteration, needs_chromium, pid_of, press, settled, wait

pytestmark = needs_chromium


@pytest.fixture(autouse=True)
def _nothing_trains_on(app):
    """A test that failed leaves no run that keeps the next one waiting."""
    yield
    for run in all_runs(app.runs):
        supervisor.cancel(app.runs, run.folder.name)
        if run.is_running() and any("pid" in e for e in run.events()):
            os.kill(pid_of(run), signal.SIGKILL)


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


EVERY = ["/", "/Train", "/Runs", "/Compare", "/Latent_space", "/Round_trip", "/Results"]


@pytest.mark.parametrize("path", [*EVERY, "/Train?run=nothing", "/Compare?a=nothing"])
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


def test_presses_in_quick_succession_are_all_carried_out_in_their_order(app, page):
    """Eleven presses, none waiting for an answer of the page to the one before."""
    run = started(page, app, seed=4)
    seen = len(run.events())
    names = [
        "Pause",
        *["Step decoder p"] * 4,
        *["Step encoder q"] * 2,
        "Step both",
        "Pause",
        "Step both",
        "Step encoder q",
    ]
    places = {name: page.get_by_role("button", name=name, exact=True) for name in set(names)}
    for name in names:
        places[name].click(no_wait_after=True)
    wanted = [{"Step decoder p": ["p"], "Step encoder q": ["q"], "Step both": ["p", "q"]}.get(k) for k in names]

    def steps():
        return [e["players"] for e in run.events()[seen:] if e["event"] == "step"]

    wait(lambda: len(steps()) >= 9, "all steps are taken")
    assert steps() == [k for k in wanted if k]
    assert run.state() == "paused"
    begin = next(e["step"] for e in run.events()[seen:] if e["event"] == "paused")
    wait(lambda: run.step() == begin + 9, "each step was an iteration")
    at = begin + 9
    wait(lambda: iteration(page) == at, "the page shows the last of them")
    before = {e["do"]: e["x"] for e in places_of(page)}
    press(page, "Resume")
    wait(lambda: run.step() > at, "it goes on")
    stopped(page, run)
    page.get_by_text("stopped", exact=True).wait_for()
    after = {e["do"]: e["x"] for e in places_of(page)}
    assert before == after, "no button moved while the run went from paused to stopped"


def places_of(page):
    return page.locator("button[data-do]").evaluate_all(
        "all => all.map(b => ({do: b.dataset.do, x: Math.round(b.getBoundingClientRect().x)}))"
    )


# The domain of x in the Vega view of the chart of this number, from the scales its marks were drawn by.
DOMAIN = """k => {
  const chart = [...document.querySelectorAll('[data-testid=stVegaLiteChart]')][k];
  for (const e of chart.querySelectorAll('svg *'))
    if (e.__data__?.context?.scales?.x) return [...e.__data__.context.scales.x.value.domain()];
}"""


def test_zoom_survives_updates_of_the_curve(app, page):
    run = started(page, app, seed=3)
    chart = page.locator("[data-testid=stVegaLiteChart]").nth(1)
    wait(lambda: iteration(page) > 1000, "some curve to zoom into")
    box = chart.locator("svg.marks").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    for _ in range(4):
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(150)
    low, high = page.evaluate(DOMAIN, 1)
    at = iteration(page)
    assert 0 < high - low < 0.7 * at, "it shows a part of the curve"
    wait(lambda: iteration(page) > at + 500, "updates after the zoom")
    page.wait_for_timeout(1500)
    assert page.evaluate(DOMAIN, 1) == pytest.approx([low, high], rel=1e-6)
    page.mouse.dblclick(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    wait(lambda: page.evaluate(DOMAIN, 1)[1] > at + 500, "a double click shows all of it, also what is new")
    stopped(page, run)


def test_the_url_of_the_form_reproduces_it(app, page):
    page.goto(app.url("/Train"))
    settled(page)
    page.get_by_role("radio", name="Reverse", exact=True).click()
    page.wait_for_url("**model=Reverse*")
    page.get_by_role("radio", name="ELBO", exact=True).click()
    page.wait_for_url("**learner=ELBO*")
    settled(page)
    for label, text in (("Iterations", "1234"), ("Seed", "7")):
        page.get_by_label(label, exact=True).fill(text)
        page.get_by_label(label, exact=True).press("Enter")
    page.wait_for_url("**seed=7*")
    page.get_by_text("More settings").click()
    layers = page.get_by_label("Layers of code, z0 first", exact=True)
    layers.fill("bernoulli:3 bernoulli:5")
    layers.press("Enter")
    page.wait_for_url("**layers=*")
    settled(page)
    page.goto(page.url)  # a new session
    settled(page)
    page.get_by_role("button", name="Start training: ELBO on Digits 8×8").click()
    page.wait_for_url("**run=*")
    run = Run.open(app.runs / page.url.split("run=")[1].split("&")[0])
    c = run.config()
    assert (c.model.kind, c.learner.name, c.train.steps, c.seed) == ("reverse", "elbo", 1234, 7)
    assert list(map(str, c.model.latents)) == ["bernoulli:3", "bernoulli:5"]


def pictures():
    """A zip of 24 images of two kinds, as a person might have it."""
    buffer, random = io.BytesIO(), np.random.default_rng(0)
    with zipfile.ZipFile(buffer, "w") as z:
        for k in range(24):
            pixels = np.zeros((20, 20, 3), dtype=np.uint8)
            pixels[5:15, 5:15] = random.integers(100, 256, 3)
            image = io.BytesIO()
            Image.fromarray(pixels if k % 2 else 255 - pixels).save(image, "PNG")
            z.writestr(f"shapes/{'dark' if k % 2 else 'light'}/{k}.png", image.getvalue())
    return buffer.getvalue()


def test_own_images_are_uploaded_and_trained_on(app, page):
    page.goto(app.url("/Train?data=Own+images&side=12&colour=Colour&steps=1000000"))
    settled(page)
    page.locator("input[type=file]").set_input_files(
        {"name": "shapes.zip", "mimeType": "application/zip", "buffer": pictures()}
    )
    page.get_by_text("24 images with 2 labels (dark, light)").wait_for()
    page.wait_for_url("**images=shapes-*")
    page.get_by_role("button", name="Start training: Symmetric game on Own images").click()
    page.wait_for_url("**run=*")
    run = Run.open(app.runs / page.url.split("run=")[1].split("&")[0])
    assert (run.config().data.channels, run.config().data.size) == (3, 12)
    page.locator("[data-testid=stVegaLiteChart]").first.wait_for()
    at = iteration(page)
    wait(lambda: iteration(page) > at, "the curve grows")
    stopped(page, run)


def test_the_list_of_runs_follows_without_disturbing_who_types(app, page):
    run = started(page, app, seed=5)
    page.goto(app.url("/Runs"))
    settled(page)
    row = page.locator("[class*='st-key-row-']").filter(has_text=run.folder.name)

    def shown():
        return int(re.search(r"([\d,]+) / 1,000,000", row.inner_text())[1].replace(",", ""))

    first = shown()
    wait(lambda: shown() > first, "the step grows on the page")
    run.send("stop")
    row.get_by_text("stopped", exact=True).wait_for()
    row.get_by_role("button").last.click()
    name = page.get_by_label("Name", exact=True)
    name.click()
    name.press("End")
    name.press_sequentially(" mine")
    page.wait_for_timeout(5000)  # some looks at the run
    other = Run.create(app.runs / "made-elsewhere", run.config())
    anew = page.get_by_role("button", name="Runs came or went: show them")
    anew.wait_for()
    assert name.input_value() == f"{run.config().name} mine"
    name.press("Enter")
    page.get_by_role("button", name="Rename", exact=True).click()
    wait(lambda: run.config().name.endswith(" mine"), "it has the new name")
    page.get_by_text("made-elsewhere", exact=True).wait_for()
    assert not other.config().name.endswith(" mine")


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
    page.locator("button[data-do=pause]:enabled").wait_for()
    for run in (runs[1], Run.open(app.runs / third)):
        run.send("stop")
        wait(lambda run=run: not run.is_running(), "it stops")


def test_nothing_is_fetched_from_elsewhere(app, page):
    asked = []
    page.on("request", lambda r: asked.append(r.url))
    for path in EVERY:
        page.goto(app.url(path))
        settled(page)
    assert asked
    assert not [u for u in asked if "127.0.0.1" not in u and not u.startswith(("data:", "blob:"))]
