"""The report as a reader has it: a real Chromium, offline, at three widths, in light and in dark."""

import re
import shutil

import pytest

from analysis.report import page as pages
from analysis.report import write_report
from tests.analysis.report_folder import CONFIG, PROVENANCE, make_run_folder

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS, SCHEMES = (390, 820, 1400), ("light", "dark")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = make_run_folder(tmp_path_factory.mktemp("page"))
    with pytest.MonkeyPatch.context() as patch:  # the page alone: saving plots takes most of the time
        patch.setattr(pages, "save_figure", lambda figure, folder, name: [])
        return write_report(folder, "A search", CONFIG, PROVENANCE)[0].as_uri()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Open the page; whatever it complains of or asks the network for fails the test."""
    contexts, troubles = [], []

    def opened(width=1400, scheme="light", **options):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(("file:", "data:")) else troubles.append(request.url)
            ),
        )
        page.goto(address)
        return page

    opened.troubles = troubles
    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def luminance(colour):
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / (3 * 255)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_page_fits_and_has_its_colours(visit, width, scheme):
    page = visit(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ground, ink = page.evaluate(
        "(() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]; })()"
    )
    assert abs(luminance(ground) - luminance(ink)) > 0.7
    assert (luminance(ground) > 0.5) == (scheme == "light")
    # Letters of a chart can be read even where it is narrow.
    sizes = page.evaluate(
        """[...document.querySelectorAll("svg.chart text")].filter(t => t.checkVisibility()).map(t =>
             parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().d || 99)"""
    )
    assert min(sizes) > 7.5


def test_every_picture_tells_what_it_shows(visit):
    page = visit()
    untold = page.evaluate(
        """[...document.querySelectorAll("img, svg.chart")].filter(one =>
             ((one.alt ?? one.getAttribute("aria-label")) || "").length < 40).length"""
    )
    assert untold == 0
    assert page.locator("svg.chart:not([role=img])").count() == 0


def test_pointing_at_a_mass_tells_its_numbers(visit):
    page = visit()
    chart = page.locator("#plot-p_values svg")
    chart.scroll_into_view_if_needed()
    chart.locator(".hits path").nth(1).hover()
    tip = page.locator(".tip")
    assert tip.is_visible()
    lines = tip.inner_text().splitlines()
    assert lines[0] == "3000 GeV"
    assert lines[2] == "cwola in B3: Z = 4.31, p₀ = 8.3 × 10⁻⁶"
    box, room = tip.bounding_box(), page.viewport_size
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= room["width"]
    page.mouse.move(5, 5)
    assert tip.is_hidden()


def test_arrow_keys_walk_through_a_spectrum(visit):
    page = visit(390)
    page.locator("#plot-mjj_cwola_B3 svg").focus()
    told = []
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        told.append(page.locator(".tip").inner_text())
    assert len(set(told)) == 3
    assert all("observed" in text and "pull" in text for text in told)
    page.keyboard.press("ArrowLeft")
    assert page.locator(".tip").inner_text() == told[1]
    page.keyboard.press("Escape")
    assert page.locator(".tip").is_hidden()


def column(table, number):
    return table.locator(f"tbody tr td:nth-child({number})").all_inner_texts()


def test_tables_sort_by_number_both_ways_and_keep_gaps_last(visit):
    page = visit()
    table = page.locator("#selection-cwola table").first
    head = table.locator("th", has_text="Local p₀")
    before = column(table, 4)
    assert before.count("–") == 2
    orders = []
    for wanted in ("ascending", "descending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == wanted
        values = column(table, 4)
        assert sorted(values) == sorted(before)
        assert values[-2:] == ["–", "–"]
        orders.append([numeric(text) for text in values[:-2]])
    assert orders[0] == sorted(orders[0])
    assert orders[1] == sorted(orders[1], reverse=True)
    assert orders[0][0] == 8.3e-6


def numeric(text):
    plain = text.replace("\u202f", "").replace("−", "-").replace(" × 10", "e")
    return float(plain.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))


def test_a_link_to_a_folded_event_opens_it(visit):
    page = visit()
    event = page.locator("#event-300001-8-22")
    assert event.get_attribute("open") is not None or not event.locator("svg").first.is_visible()
    page.locator('a[href="#event-300001-8-24"]').first.click()
    shown = page.locator("#event-300001-8-24 svg").first
    shown.wait_for(state="visible")
    assert 0 <= shown.bounding_box()["y"] < 900


def test_pointing_at_a_particle_tells_its_momentum(visit):
    page = visit()
    page.locator('[aria-label^="Inside of j1"] .hadron circle').first.hover(force=True)
    assert re.match(r"pT [\d.]+ GeV", page.locator(".tip").inner_text())


def test_no_script_but_the_page_s_own_runs(visit):
    page = visit()
    ran = page.evaluate(
        """() => { const one = document.createElement("script"); one.textContent = "window.ran = true";
             document.body.append(one); return window.ran === true; }"""
    )
    assert not ran
    assert any(
        "Content Security Policy" in text or "Content-Security-Policy" in text for text in visit.troubles
    )
    visit.troubles.clear()


def test_plain_page_without_script(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("section").count() == 11
    assert page.locator("#plot-p_values .hits title").count() == 10
    assert page.locator("th button").count() == 0
    assert page.locator("#selection-cwola table").first.is_visible()


def test_print_opens_what_is_folded_and_is_light(visit, tmp_path):
    page = visit(scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) == 1
    assert page.locator("nav").is_hidden()
    content = page.pdf(format="A4")
    assert content.startswith(b"%PDF")
    closed = page.evaluate(
        "(() => { dispatchEvent(new Event('beforeprint')); return document.querySelectorAll('details:not([open])').length; })()"
    )
    assert closed == 0
