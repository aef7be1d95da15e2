"""The report's page in a real browser: nothing fails, nothing is fetched, choosing and sorting work, all can read it.

FROWN_JAX_REPORT=FILE checks that page as well. It takes Chromium with its driver, Selenium, and axe-core as
FROWN_JAX_AXE=node_modules/axe-core/axe.min.js; in CI nothing of this may be lacking.
"""

import json
import os
import pathlib
import shutil

import pytest

from frown_jax import schema
from frown_jax.report import build, stored
from tests.needs import need
from tests.pages import HOSTILE
from tests.runs import drawn, finished

pytestmark = pytest.mark.slow
WIDTHS = {"desktop": 1200, "phone": 375}
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser():
    try:
        from selenium import webdriver
    except ImportError:
        webdriver = None
    need(webdriver, "selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    need(chromium and driver, "Chromium or its driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    started.set_script_timeout(120)
    yield started
    started.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages")
    grid = finished(path / "grid", ("baseline", "b", "c"), seeds=3, attributes=("race", "gender"), crossed=2)
    runs = {"grid": [grid], "units": [drawn(path / "units")], "both": [grid, path / "units"]}
    called = dict(zip((*schema.GENDERS, "Fear", "Anger"), HOSTILE[2:], strict=False))
    runs["hostile"] = [finished(path / "hostile", HOSTILE[:2], called=called)]
    runs["one"] = [finished(path / "one", ("only",), seeds=1, attributes=())]
    out = {k: build.build([stored.read(r) for r in v], path / f"report-{k}", stills=False) for k, v in runs.items()}
    if os.environ.get("FROWN_JAX_REPORT"):
        out["given"] = pathlib.Path(os.environ["FROWN_JAX_REPORT"])
    return out


def opened(browser, page, width):
    size = {"width": WIDTHS[width], "height": 900, "deviceScaleFactor": 1, "mobile": width == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.resolve().as_uri())
    until(browser, lambda: browser.execute_script("return document.documentElement.dataset.ready === 'yes'"))


def until(browser, condition):
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(browser, 120).until(lambda _: condition())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["grid", "units", "both", "one", "hostile", "given"])
def test_a_page_opens_without_errors_or_requests_and_fits(browser, pages, name, width):
    if name not in pages:
        pytest.skip("no page is given")
    opened(browser, pages[name], width)
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {e["params"]["request"]["url"] for e in sent if e["method"] == "Network.requestWillBeSent"}
    assert {u for u in urls if not u.startswith(("file:", "data:"))} == set()
    headings = [h.text for h in browser.find_elements("css selector", "section > h2")]
    for section in build.SECTIONS:
        assert any(h == section or h.endswith(f": {section}") for h in headings)
    for figure in browser.find_elements("css selector", "figure.chart"):
        marks = "return arguments[0].querySelectorAll('.drawing svg path, .drawing svg line').length"
        assert browser.execute_script(marks, figure) > 3, figure.get_attribute("id")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= WIDTHS[width]


@pytest.mark.parametrize("name", ["grid", "units", "one", "given"])
def test_everybody_can_read_it(browser, pages, name):
    if name not in pages:
        pytest.skip("no page is given")
    axe = pathlib.Path(os.environ.get("FROWN_JAX_AXE", "node_modules/axe-core/axe.min.js"))
    need(axe.is_file(), "axe-core (FROWN_JAX_AXE)")
    opened(browser, pages[name], "desktop")
    for details in browser.find_elements("css selector", "details.numbers > summary"):
        browser.execute_script("arguments[0].click()", details)
    browser.execute_script(axe.read_text())
    found = browser.execute_async_script("const done = arguments[0]; axe.run().then(done)")
    bad = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in bad] == []
    assert len(found["passes"]) > 10


def test_tables_sort_by_number_and_back(browser, pages):
    opened(browser, pages["grid"], "desktop")
    table = browser.find_element("css selector", "section table")
    button = table.find_elements("css selector", "thead button")[1]

    def column():
        return [
            row.find_elements("css selector", "td")[1].text for row in table.find_elements("css selector", "tbody tr")
        ]

    before = column()
    button.click()
    up = column()
    assert up == sorted(before, key=lambda cell: float(cell.split()[0])) and set(up) == set(before)
    button.send_keys("\ue007")  # the Enter key: no mouse is needed
    assert column() == up[::-1]
    head = button.find_element("xpath", "..")
    assert head.get_attribute("aria-sort") == "descending"


def test_choosing_changes_the_drawing_and_its_numbers(browser, pages):
    from selenium.webdriver.support.select import Select

    opened(browser, pages["grid"], "desktop")
    figure = browser.find_element("id", "grid-groups")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", figure)
    figure.find_element("css selector", "details.numbers > summary").click()

    def rows():
        return [
            [cell.text for cell in row.find_elements("css selector", "td")]
            for row in figure.find_elements("css selector", "details tbody tr")
        ]

    def labels():
        script = "return [...arguments[0].querySelectorAll('.drawing .role-axis-label text')].map(t => t.textContent)"
        return browser.execute_script(script, figure)

    until(browser, rows)
    first, drawn_first = rows(), labels()
    assert len(first) == 2 * 3 and any(label.startswith("Asian (n = ") for label in drawn_first)
    attribute = figure.find_elements("css selector", ".choices select")[1]
    Select(attribute).select_by_visible_text("gender")
    assert len(rows()) == 2 * 3 and any(label.startswith("Female (n = ") for label in labels())
    assert not any(label.startswith("Asian") for label in labels())
    method = figure.find_elements("css selector", ".choices select")[2]
    Select(method).select_by_visible_text("c")
    shown = {row[0] for row in rows()}
    assert shown == {"baseline", "c"}


def test_hovering_tells_n_and_the_interval(browser, pages):
    from selenium.webdriver.common.action_chains import ActionChains

    opened(browser, pages["grid"], "desktop")
    figure = browser.find_element("id", "grid-difference-performance")
    mark = figure.find_elements("css selector", ".drawing .mark-symbol.role-mark path")[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", mark)
    ActionChains(browser).move_to_element(mark).perform()
    tip = browser.find_element("id", "vg-tooltip-element").text
    for part in ("method", "difference", "interval from", "to", "p (Holm)", "n images"):
        assert part in tip
