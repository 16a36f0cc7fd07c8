"""One thread, as with as many as cores torch slows down tenfold when anything else runs; the app and the browser."""

import os
import re
import signal

import pytest

from symeq_core import supervisor
from symeq_core.runs import all_runs
from symeq_core.trainer import set_threads

from .browser import CHROMIUM, FLAGS, App, pid_of


def pytest_collection_modifyitems(items):
    """For several processes: each file goes to one, those with a browser first and all to the same, so that no two
    browsers compete for the cores.
    """
    browsers = {item.path for item in items if "app" in item.fixturenames}
    items.sort(key=lambda item: item.path not in browsers)
    for item in items:
        item.add_marker(pytest.mark.xdist_group("browsers" if item.path in browsers else item.path.name))


@pytest.fixture(autouse=True)
def _one_thread():
    set_threads(1)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    app = App(tmp_path_factory.mktemp("app") / "runs")
    yield app
    app.kill()
    for run in all_runs(app.runs):
        if run.is_running():
            os.kill(pid_of(run), signal.SIGKILL)
    if supervisor.is_alive(app.runs):  # pages that were only looked at may not have started it yet
        log = (app.runs / ".supervisor" / "log.txt").read_text()
        os.kill(int(re.findall(r"process (\d+)", log)[-1]), signal.SIGKILL)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)  # patience costs nothing where all is well
    yield page
    page.close()
