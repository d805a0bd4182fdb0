"""The report as a reader has it: a real Chromium, offline, at three widths, in light and in dark."""

import itertools
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


CONTRAST = """
(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((x) => x / 255)
    .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
    .reduce((sum, x, k) => sum + x * [0.2126, 0.7152, 0.0722][k], 0);
  const over = (top, below, share) => top.map((x, k) => x * share + below[k] * (1 - share));
  window.ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  window.ground = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const found = parts(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found.slice(0, 3);
    }
    return [255, 255, 255];
  };
  window.inkOf = (node, kind) => {
    const style = getComputedStyle(node), found = parts(style[kind]);
    let share = (found[3] ?? 1) * Number(style[kind + "Opacity"] ?? 1);
    for (let one = node; one; one = one.parentElement) share *= Number(getComputedStyle(one).opacity);
    return over(found.slice(0, 3), window.ground(node), share);
  };
})()
"""
"""Contrast as the Web Content Accessibility Guidelines (2.1) define it."""


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
        """[...document.querySelectorAll("svg.chart text")].filter(t => t.checkVisibility()).map(t => {
             const m = t.getScreenCTM();
             return parseFloat(getComputedStyle(t).fontSize) * Math.hypot(m.b, m.d); })"""
    )
    assert min(sizes) > 7.5


@pytest.mark.parametrize("scheme", [*SCHEMES, "print"])
def test_every_letter_can_be_read(visit, scheme):
    """4.5 is asked of letters, 3 of large ones."""
    page = visit(scheme="dark" if scheme == "print" else scheme)
    if scheme == "print":
        page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.evaluate(CONTRAST)
    seen, faint = page.evaluate(
        """(() => {
             const faint = []; let seen = 0;
             const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
             while (walker.nextNode()) {
               const text = walker.currentNode, node = text.parentElement;
               if (!text.data.trim() || !node.checkVisibility() || node.closest("script, title")) continue;
               seen += 1;
               const size = parseFloat(getComputedStyle(node).fontSize);
               const found = ratio(inkOf(node, node.closest("svg") ? "fill" : "color"), ground(node));
               if (found < (size >= 24 ? 3 : 4.5)) faint.push([text.data.trim().slice(0, 40), found]);
             }
             return [seen, faint];
           })()"""
    )
    assert seen > 1000
    assert faint == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_mark_stands_out_from_what_is_behind_it(visit, scheme):
    """3 is asked of marks, by their edge at least: of lines and dots on a card, of jets and particles on shaded ground."""
    page = visit(scheme=scheme)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.evaluate(CONTRAST)
    seen, faint = page.evaluate(
        """(() => {
             const faint = [], seen = {};
             const root = getComputedStyle(document.documentElement);
             const hex = (name) => root.getPropertyValue(name).match(/\\w\\w/g).map((x) => parseInt(x, 16));
             const shade = hex("--shade");
             const kinds = {
               ".line": ["stroke"], ".dots": ["stroke"], ".bar-of": ["fill"], ".area.inner": ["stroke"], ".arrow": ["fill"],
               ".area.outer": ["stroke"], ".jet": ["stroke", shade], "g.hadron > circle": ["stroke", shade],
               "g.neutral > circle": ["stroke", shade], "g.photon > circle": ["stroke", shade],
               "g.lepton > circle": ["stroke", shade], "path.soft": ["stroke", shade], ".subjet": ["stroke", shade],
               ".split": ["fill"], ".key": ["borderTopColor"],
             };
             for (const [kind, [how, behind]] of Object.entries(kinds))
               for (const node of document.querySelectorAll(`${kind === ".key" ? ".legend" : "svg.chart"} ${kind}`)) {
                 if (kind === ".key" && /inner|outer|dot/.test(node.className)) continue;
                 seen[kind] = (seen[kind] ?? 0) + 1;
                 const found = Math.min(
                   ...[behind, ground(node)].filter(Boolean).map((one) => ratio(inkOf(node, how), one)));
                 if (found < 3) faint.push([kind, node.getAttribute("class"), found]);
               }
             return [seen, faint];
           })()"""
    )
    assert {".line", ".dots", ".jet", "path.soft", ".split", ".area.inner", ".key"} <= seen.keys()
    assert faint == []


def test_every_picture_tells_what_it_shows(visit):
    page = visit()
    untold = page.evaluate(
        """[...document.querySelectorAll("img, svg.chart")].filter(one =>
             ((one.alt ?? one.getAttribute("aria-label")) || "").length < 40).length"""
    )
    assert untold == 0
    assert page.locator("svg.chart:not([role=img])").count() == 0


def hidden_by_scrolling(page):
    """Whether nothing is told any more once the page has been scrolled."""
    return page.evaluate(
        "() => { dispatchEvent(new Event('scroll')); return document.querySelector('.tip').hidden; }"
    )


def test_pointing_at_a_mass_tells_its_numbers(visit):
    page = visit()
    chart = page.locator("#plot-p_values svg")
    chart.scroll_into_view_if_needed()
    chart.hover()
    chart.locator(".hits path").nth(1).hover()
    tip = page.locator(".tip")
    assert tip.is_visible()
    lines = tip.inner_text().splitlines()
    assert lines[0] == "3000 GeV"
    assert lines[2] == "cwola in B3: Z = 4.31, p₀ = 8.3 × 10⁻⁶"
    box, room = tip.bounding_box(), page.viewport_size
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= room["width"]
    assert hidden_by_scrolling(page)
    chart.locator(".hits path").nth(2).hover()
    assert tip.is_visible()
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
    assert not hidden_by_scrolling(page)
    page.keyboard.press("ArrowRight")
    assert page.locator(".tip").inner_text() == told[2]
    page.keyboard.press("Escape")
    assert page.locator(".tip").is_hidden()


def test_arrow_keys_walk_through_particles_and_splittings(visit):
    page = visit()
    assert page.locator("svg.chart:not([tabindex='0'])").count() == 0
    for words, told in (("Inside of j1", r"pT [\d.]+ GeV"), ("j1: primary Lund plane", "splitting 1: ")):
        page.locator(f'[aria-label^="{words}"]').first.focus()
        page.keyboard.press("ArrowRight")
        assert page.locator(".tip").is_visible()
        assert re.match(told, page.locator(".tip").inner_text())


def test_a_finger_is_told_what_a_pointer_is(visit):
    page = visit(390, has_touch=True, is_mobile=True)
    tip = page.locator(".tip")
    bars = page.locator("#plot-p_values .hits path")
    # The first touch of a chart is answered too: what is told there is made only then.
    page.locator("#plot-p_values svg").tap()
    told = [tip.inner_text().splitlines()[0]]
    for k in (1, 2):
        bars.nth(k).tap()
        assert tip.is_visible()
        told.append(tip.inner_text().splitlines()[0])
    assert told == ["3300 GeV", "3000 GeV", "3100 GeV"]
    page.locator("h1").tap()
    assert tip.is_hidden()


def test_the_first_key_leads_past_the_links(visit):
    page = visit()
    page.keyboard.press("Tab")
    skip = page.locator("a.skip")
    assert skip.evaluate("one => one === document.activeElement")
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('section')?.id") == "summary"


def test_remarks_can_be_read_on_a_telephone(visit):
    page = visit(390)
    table = page.locator("table.stacked")
    table.locator("td.long").first.evaluate(
        "one => { one.textContent = 'why this mass has no fit, '.repeat(8); }"
    )
    row, remark = (
        table.locator("tbody tr").first.bounding_box(),
        table.locator("td.long").first.bounding_box(),
    )
    assert remark["x"] >= 0
    assert remark["x"] + remark["width"] <= 390
    assert row["height"] < 220


def test_rows_have_headings(visit):
    page = visit()
    assert (
        page.locator("tbody tr").count() == page.locator("tbody tr > th[scope=row]:first-child").count() > 50
    )
    link = page.locator("td a").first
    assert "underline" in link.evaluate("one => getComputedStyle(one).textDecorationLine")


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
    event = page.locator("#event-300001-8-24")
    assert event.get_attribute("open") is None
    assert not event.locator("svg.chart").first.is_visible()
    page.locator('a[href="#event-300001-8-24"]').first.click()
    shown = event.locator("svg.chart").first
    shown.wait_for(state="visible")
    assert 0 <= shown.bounding_box()["y"] < 900


def test_pointing_at_a_particle_tells_its_momentum(visit):
    page = visit()
    page.locator('[aria-label^="Inside of j1"] .hadron circle').first.hover(force=True)
    assert re.match(r"pT [\d.]+ GeV", page.locator(".tip").inner_text())


def test_charts_of_a_long_page_work_where_they_are_laid_out_late(visit):
    """They take no time until they come near the window; then, and on paper, they are there as on a short page."""
    page = visit()
    assert page.locator("main.long").count() == 0
    page.evaluate("document.querySelector('main').classList.add('long')")
    chart = page.locator("#plot-mjj_cwola_B4 svg")
    shown = "one => one.checkVisibility({ contentVisibilityAuto: true })"
    assert not chart.locator(".frame").first.evaluate(shown)
    chart.scroll_into_view_if_needed()
    assert comes_true(chart.locator(".frame").first, shown)
    chart.hover()
    page.mouse.move(*centre_of(chart))
    assert "observed" in page.locator(".tip").inner_text()
    page.emulate_media(media="print")
    assert page.locator(".limits, #limits table").first.evaluate(shown)
    page.emulate_media(media="screen")
    page.locator('nav a[href="#provenance"]').click()
    assert comes_true(
        page.locator("#provenance h2"),
        "one => one.getBoundingClientRect().top >= 0 && one.getBoundingClientRect().top < 900",
    )


def comes_true(locator, condition):
    """Whether what the page has yet to draw fulfils a condition within ten seconds.

    Playwright's own waiting evaluates strings, which the page's security policy forbids.
    """
    return locator.evaluate(
        f"""one => new Promise((resolve) => {{
              const late = performance.now() + 10000;
              const look = () => {{
                if (({condition})(one)) resolve(true);
                else if (performance.now() > late) resolve(false);
                else requestAnimationFrame(look);
              }};
              look(); }})"""
    )


def centre_of(chart):
    box = chart.bounding_box()
    return box["x"] + 0.4 * box["width"], box["y"] + box["height"] / 2


def test_headings_leave_out_no_level_and_every_table_is_named(visit):
    page = visit()
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    unnamed = page.evaluate(
        """[...document.querySelectorAll("table")].filter((one) =>
             (one.closest("[role=region]")?.getAttribute("aria-label") ?? "").length < 10
             || [...one.tHead.rows[0].cells].some((cell) => cell.scope !== "col")).length"""
    )
    assert unnamed == 0


def test_letters_of_charts_are_larger_on_a_telephone(visit):
    size = """[...document.querySelectorAll("#plot-p_values svg text")].map((one) => {
                const m = one.getScreenCTM();
                return parseFloat(getComputedStyle(one).fontSize) * Math.hypot(m.b, m.d); })"""
    assert min(visit(390).evaluate(size)) > 9


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
    assert page.locator("#plot-p_values svg path.line").count() == 2
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
