import base64
import hashlib
import html
import html.parser
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from analysis.report import page as pages
from analysis.report import write_report
from analysis.report.histograms import mass_spectrum, score_shapes
from analysis.report.look_elsewhere import global_significance, largest_of_all
from analysis.report.record import Scan, read_record
from data.errors import InputError
from processors.histogram_io import write_histograms
from processors.histograms import empty_histograms, fill_mjj
from tests.analysis.report_folder import CONFIG, PROVENANCE, make_run_folder
from tests.analysis.svg_reading import tips_of


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A run folder with a method, its report's text and the paths that were written."""
    folder = make_run_folder(tmp_path_factory.mktemp("full"))
    written = write_report(folder, "Search <b>&</b> report", CONFIG, PROVENANCE)
    return folder, written[0].read_text(encoding="utf-8"), written


@pytest.fixture
def unsaved(monkeypatch):
    """Only the page is written: saving plots takes most of a report's time."""
    monkeypatch.setattr(pages, "save_figure", lambda figure, folder, name: [])


@pytest.fixture
def small(tmp_path):
    """A run folder with the inclusive search only, without limits in fb."""
    folder = make_run_folder(tmp_path / "run", with_fb=False)
    for name, key in (("scan", "selections"), ("fits", None), ("systematics", "selections")):
        path = folder / f"{name}.json"
        content = json.loads(path.read_text())
        part = content[key] if key else content
        for label in [label for label in part if label != "inclusive"]:
            del part[label]
        path.write_text(json.dumps(content))
    for name, empty in (("studies", {"windows": {}, "simulation": {}}), ("events", {"events": {}})):
        (folder / f"{name}.json").write_text(json.dumps(empty))
    only = {"mjj": empty_histograms(["data"], [])["mjj"]}
    write_histograms(folder / "histograms" / "mock.h5", only)
    cutflow = json.loads((folder / "cutflow.json").read_text())
    (folder / "cutflow.json").write_text(json.dumps({"mock": cutflow["mock"]}))
    return folder


class Page(html.parser.HTMLParser):
    """Collects what the checks need, and that every element is closed."""

    VOID = frozenset({"meta", "img", "br", "hr", "link", "input"})

    def __init__(self, text):
        super().__init__()
        self.sections, self.images, self.links, self.open, self.text, self.tags = [], [], [], [], "", set()
        self.ids, self.charts, self.attributes = set(), [], set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.add(tag)
        self.attributes |= values.keys()
        if "id" in values:
            assert values["id"] not in self.ids
            self.ids.add(values["id"])
        if tag == "svg" and "chart" in values.get("class", "").split():
            self.charts.append(values)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "section":
            self.sections.append(values["id"])
        if tag == "img":
            self.images.append(values)
        self.links += [values[key] for key in ("href", "src", "srcset") if key in values]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if not {"style", "script", "svg"} & set(self.open) else ""


def squeezed(text):
    return re.sub(r"\s+", " ", text)


def test_sections_in_order_and_linked(full):
    page = Page(full[1])
    assert page.open == []
    assert page.sections == [
        *("summary", "data", "windows", "features", "selection-inclusive", "selection-cwola", "comparison"),
        *("limits", "systematics", "events", "provenance"),
    ]
    links = [link for link in page.links if link.startswith("#")]
    assert links[: len(page.sections) + 1] == ["#summary", *(f"#{name}" for name in page.sections)]
    assert {link.removeprefix("#") for link in links} <= page.ids


def test_nothing_is_loaded_from_outside(full):
    page = Page(full[1])
    assert all(link.startswith("#") for link in page.links)
    assert not page.tags & {"link", "iframe", "object", "embed", "img", "base", "form"}
    assert "url(" not in full[1]
    assert "@import" not in full[1]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', full[1]).group(1)
    script = re.search(r"<script>(.*)</script>", full[1], re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert html.unescape(policy).split("; ") == [
        *(
            "default-src 'none'",
            "style-src 'unsafe-inline'",
            f"script-src 'sha256-{digest}'",
            "base-uri 'none'",
            "form-action 'none'",
        ),
    ]


def test_every_picture_has_words(full):
    page = Page(full[1])
    assert page.images == []
    assert len(page.charts) == 43
    for chart in page.charts:
        assert len(chart["aria-label"]) > 40
        assert chart["role"] == "img"


def test_bars_are_as_long_as_the_changes(full):
    chart = re.search(r'<figure id="plot-systematics_cwola">.*?</figure>', full[1], re.DOTALL).group()
    rows = re.findall(r'class="bar-of (\w+)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', chart)
    names = re.findall(r'<text class="end"[^>]*>([^<]*)<', chart)
    assert names == ["Total", "Lund plane, prongs", "Jet energy scale", "μR, μF"]
    widths = {(colour, k // 2): float(width) for k, (colour, _, width) in enumerate(rows)}
    assert widths["blue", 1] / widths["orange", 2] == pytest.approx(10.0 / 3.0, rel=0.01)
    assert widths["blue", 3] == 0.0
    assert "<title>Jet energy scale: +2.00 / −3.00 %</title>" in chart


def test_plots_are_written_as_pdf_and_png(full):
    folder, _, written = full
    assert written[0] == folder / "report" / "index.html"
    names = {path.name for path in written[1:]}
    assert {f"limits_{s}_{u}" for s in ("inclusive", "cwola") for u in ("events", "fb")} <= {
        name.partition(".")[0] for name in names
    }
    assert names == {path.name for path in (folder / "plots").iterdir()}
    assert all(path.stat().st_size > 8000 for path in written)
    assert plt.get_fignums() == []


def test_summary_says_where_how_much_and_that_it_is_local(full):
    text = squeezed(Page(full[1]).text)
    assert "Largest excess, inclusive 1.01σ local, at 3000 GeV" in text
    assert "Largest excess, cwola 4.31σ local, at 3000 GeV Local p₀ 8.3 × 10⁻⁶ Window B3" in text
    assert "Significances on the cards are local" in text
    assert "10 masses tested, 2 without a valid fit" in text
    assert "37.0 fb (expected 11.7)" in text


def test_tables_hold_the_numbers(full):
    text = squeezed(Page(full[1]).text)
    assert "Complete: 250 000 of 250 000 expected entries processed, 90 000 selected, 2 files." in text
    assert "two jets" in text
    assert "2465 – 3013" in text
    assert "mock_1.root" in text
    assert "versions.numpy" in text
    assert "cwola 3200 no mass 3200 GeV: the fit did not converge" in text
    assert "classifier: trees" in text
    assert "cwola: upper limits at 95 % confidence level on the cross section × B, fb." in text
    assert "Lund plane, prongs +9.3 / −9.3 % +10.0 / −10.0 %" in text
    assert "μR, μF 0.0 / −1.2 %" in text
    # 2800 GeV: 2 and 9.33 % up; 3, 9.33 and 1.2 % down.
    assert "Total +9.5 / −9.9 %" in text
    assert "the limits of this run do not contain it" in text


def test_headline_says_the_largest_excess_and_the_sensitivity(full):
    text = squeezed(Page(full[1]).text)
    assert (
        "The largest excess is that of cwola at 3000 GeV in window B3: local significance 4.31σ (p₀ = 8.3 × 10⁻⁶), "
        "global significance at least 3.5σ (p at most 1.7 × 10⁻⁴: the local one times the 20 places looked at). "
        "Without signal, the median expected 95 % CL upper limit there is 28.6 fb (inclusive), 11.7 fb (cwola)."
    ) in text


def test_anomalous_events_are_listed_explained_and_displayed_once(full):
    page = Page(full[1])
    text = squeezed(page.text)
    assert page.links.count("#event-300001-8-11") == 3
    assert {f"event-300001-8-{number}" for number in (11, 22, 23, 24)} <= page.ids
    assert "soft-drop mass (j1) +2.00, τ₂₁ (j1) +1.80" in text
    assert "cwola B3: place 1, score 0.99994; cwola A4: place 1" in text
    assert "not explained: rmm is an array" in text
    assert "j2: primary Lund plane, 3 splittings, the hardest of kT 55 GeV." in text
    assert "the file has no particles" in text


def test_particles_across_the_end_of_the_azimuth_stay_with_their_jet(full):
    zooms = re.findall(r'aria-label="Inside of j2:[^"]*40 particles.*?</svg>', full[1])
    assert len(zooms) == 1
    told = len(re.findall(r"<circle cx", zooms[0]))
    soft = sum(path.count("M") for path in re.findall(r'<path class="soft \w+" d="([^"]*)"', zooms[0]))
    assert told + soft > 35


def test_studies_are_said_in_words(full):
    text = squeezed(Page(full[1]).text)
    assert "Events of the signal region that are selected: 263 of 17 525 in B3" in text
    assert (
        "χ²/ndf = 11.5/12, p = 0.49; slope 0.21 ± 0.15, p = 0.16; of the smaller of both, p = 0.32. "
        "The fraction is compatible with flat."
    ) in text
    assert "B4 – – – – –" in text
    assert (
        "Window B3: significance improvement of signal_3000 over data of the side bands (20 000 events). "
        "Largest: cwola 3.98 ± 0.40 at 0.10 %."
    ) in text
    assert "3 is one event in a thousand of the window." in text
    assert "3 is one event in a thousand of the simulated background in the signal region." in text
    assert "Dashed: their median training loss, in the mean over each epoch;" in text
    assert "The fraction is compatible with flat." in text
    assert "losses of the boosted ensembles of all folds, in number j1: 20, j2: 20" in text
    assert "losses of the networks (spline flow) of all folds, in number 4" in text
    assert "Simulated background is scaled to the" in text
    assert "cwola 1.00 0.31" in text
    assert "100 % (263) – " in text


def test_title_is_escaped(full):
    assert "<h1>Search &lt;b&gt;&amp;&lt;/b&gt; report</h1>" in full[1]


EVIL = "</script><script>alert('x')</script><img src=x onerror=alert(1)>&\""


def test_what_others_wrote_is_shown_and_never_run(tmp_path, unsaved):
    """Titles, samples, files, messages, configuration: all of it may hold HTML."""
    folder = make_run_folder(tmp_path / "run")
    for name in ("scan", "account", "cutflow", "events", "systematics", "studies"):
        path = folder / f"{name}.json"
        content = json.loads(path.read_text())
        if name == "scan":
            content["selections"]["cwola"][3]["message"] = EVIL
            content["selections"]["cwola"][1]["function"] = EVIL
        elif name == "account":
            content["files"][0] |= {"file": EVIL, "sample": EVIL}
        elif name == "cutflow":
            content["mock"][1]["step"] = EVIL
        elif name == "events":
            next(iter(content["events"].values()))["file"] = EVIL
        elif name == "systematics":
            content["selections"]["cwola_B3"]["masses"][1]["sources"][0]["name"] = EVIL
        else:
            window = content["windows"]["B3"]
            shape = window["features"]["m_j1"]
            window["features"][EVIL] = shape | {
                "signals": {EVIL: shape["signal_region"]},
                "selected": {EVIL: shape["signal_region"]},
            }
            window["alike"][EVIL] = window["alike"].pop("mock")
            window["methods"]["cwola"]["improvement"][EVIL] = window["methods"]["cwola"]["improvement"][
                "signal_3000"
            ]
            window["methods"]["cwola"]["training"][EVIL] = {
                EVIL: window["methods"]["cwola"]["training"]["trees"]["j1"]
            }
            window["methods"]["cwola"]["anomalous"][1]["message"] = EVIL
            content["simulation"][EVIL] = content["simulation"]["m_j1"]
        path.write_text(json.dumps(content))
    text = write_report(folder, EVIL, {EVIL: EVIL}, {EVIL: {EVIL: EVIL}})[0].read_text(encoding="utf-8")
    found = Page(text)
    assert found.open == []
    assert text.count("<script>") == text.count("</script>") == 1
    assert "img" not in found.tags
    assert not [name for name in found.attributes if name.startswith("on")]
    assert found.text.count("<script>alert('x')") > 10


def test_inclusive_search_without_fb_shows_neither_methods_nor_fb(small):
    written = write_report(small, "Inclusive", {}, {}, status="data")
    page = Page(written[0].read_text(encoding="utf-8"))
    names = {path.name for path in written[1:] if path.suffix == ".png"}
    assert names == {
        "mjj_inclusive.png",
        "p_values.png",
        "systematics_inclusive.png",
        "limits_inclusive_events.png",
    }
    assert not {"windows", "features", "comparison", "events", "selection-cwola"} & set(page.sections)
    assert "level, fb." not in page.text
    assert "Efficiency" not in page.text


def test_page_written_twice_is_the_same_to_the_byte(full, unsaved):
    again = write_report(full[0], "Search <b>&</b> report", CONFIG, PROVENANCE)
    assert again[0].read_text(encoding="utf-8") == full[1]


def test_plots_written_twice_are_the_same_to_the_byte(small):
    first = {path: path.read_bytes() for path in write_report(small, "Twice", {}, {})}
    assert {path: path.read_bytes() for path in write_report(small, "Twice", {}, {})} == first


def test_no_valid_fit_at_all_is_said(small, unsaved):
    path = small / "scan.json"
    scan = json.loads(path.read_text())
    for point in scan["selections"]["inclusive"]:
        point.update(dict.fromkeys(point.keys() - {"mass", "valid"}), valid=False)
    path.write_text(json.dumps(scan))
    (small / "fits.json").write_text(json.dumps({"inclusive": None}))
    assert (
        'id="plot-'
        not in write_report(small, "No event", {}, {})[0]
        .read_text(encoding="utf-8")
        .split('id="systematics"')[0]
    )
    masses = np.array([2510.0, 2700, 2770, 2820, 3050, 3210, 3220, 3280, 3390])
    filled = {"mjj": empty_histograms(["data"], [])["mjj"]}
    table = {"mjj": masses, "region": np.zeros(9), "weight": np.ones(9)}
    fill_mjj(filled["mjj"], table, "data", "inclusive", np.ones(9, dtype=np.int64))
    write_histograms(small / "histograms" / "mock.h5", filled)
    written = write_report(small, "Nothing", {}, {})
    assert largest_of_all(read_record(small).scan) is None
    text = squeezed(Page(written[0].read_text(encoding="utf-8")).text)
    assert "Largest excess, inclusive No valid fit 10 masses tested, 10 without a valid fit" in text
    drawn = written[0].read_text(encoding="utf-8")
    assert not re.search(r'id="plot-(limits|p_values)', drawn)
    assert "Background-only fits." not in text
    # The data are shown all the same.
    assert "Dijet mass before selection: 9 events, without a fit" in text
    words = "\n\n".join(told for _, _, told in tips_of(drawn))
    told = dict(re.findall(r"^(\d+) – \d+ GeV\n(\d+) observed$", words, re.MULTILINE))
    assert (told["2500"], told["2600"], told["2700"], told["3200"]) == ("1", "0", "2", "3")
    assert sum(map(int, told.values())) == 9


def test_one_mass_and_one_file_are_in_the_singular(small, unsaved):
    for name, key in (("scan", "masses"), ("account", "files")):
        content = json.loads((small / f"{name}.json").read_text())
        content[key] = content[key][:1]
        if name == "scan":
            content["selections"] = {used: points[:1] for used, points in content["selections"].items()}
        (small / f"{name}.json").write_text(json.dumps(content))
    text = squeezed(Page(write_report(small, "One", {}, {})[0].read_text(encoding="utf-8")).text)
    assert "1 mass at 2900 GeV" in text
    assert "45 000 selected, 1 file." in text
    assert "Entries of the file." in text


def test_global_p_values_replace_the_warning(small, unsaved):
    path = small / "scan.json"
    found = {"p_global": 0.042, "p_global_error": 0.003, "n_toys": 5000, "gross_vitells": 0.05}
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"global": {"selections": {"inclusive": found}}})
    )
    text = squeezed(Page(write_report(small, "Global", {}, {})[0].read_text(encoding="utf-8")).text)
    assert "Global p 0.0420 ± 0.0030 (5000 toys; Gross–Vitells 0.050)" in text
    assert "global significance over the masses of inclusive 1.7σ (p = 0.0420 ± 0.0030" in text
    assert "places looked at" not in text


def scan_of(p0, masses=4, **more):
    points = [{"mass": 3000 + 100 * k, "valid": True, "z": 3.0 - k, "p0": p0 * 10**k} for k in range(masses)]
    plain = {
        "masses": [3000],
        "selections": {"inclusive": points},
        "sqrt_s": 13000,
        "sample": "x",
        "region": "signal",
    }
    return Scan.model_validate(plain | more)


@pytest.mark.parametrize(
    ("scan", "words"),
    [
        (
            scan_of(1e-4),
            "global significance at least 3.3σ (p at most 4.0 × 10⁻⁴: the local one times the 4 places looked at)",
        ),
        (
            scan_of(0.2),
            (
                "which may well be chance after a look at 4 places: the local p₀ times their number bounds the global one by "
                "0.80 only"
            ),
        ),
        (
            scan_of(1e-4, masses=1),
            "the only place looked at, so that the global significance is the local one",
        ),
        (
            scan_of(1e-4, **{"global": {"selections": {"inclusive": {"p_global": 0.0, "n_toys": 500}}}}),
            (
                "global significance over the masses of inclusive above 2.5σ at 95 % CL "
                "(p below 0.0060 at 95 % CL (none of 500 toys is as extreme; Gross–Vitells –))"
            ),
        ),
        (
            scan_of(
                0.5,
                **{
                    "global": {
                        "selections": {"inclusive": {"p_global": 1.0, "p_global_error": 0.002, "n_toys": 500}}
                    }
                },
            ),
            "which is no excess over the masses of inclusive (global p = 1.0000 ± 0.0020 (500 toys; Gross–Vitells –))",
        ),
        (
            scan_of(0.6, masses=1),
            "the only place looked at, so that the global significance is the local one",
        ),
    ],
)
def test_global_significance_is_said_with_and_without_toys(scan, words):
    assert global_significance(scan) == words


def test_a_p_value_that_is_a_bound_is_shown_as_one(small, unsaved):
    path = small / "scan.json"
    scan = json.loads(path.read_text())
    # 1 − 0.05^(1/20000) = 1.4977e-4, which is Z = 3.616.
    scan["selections"]["inclusive"][1] |= {
        "p0": 1 / 20001,
        "z": 3.89,
        "message": "p0 is an upper bound: none of 20000 toys reaches the observed q0",
    }
    path.write_text(json.dumps(scan))
    page = write_report(small, "Bound", {}, {})[0].read_text(encoding="utf-8")
    holes = re.findall(r'<path class="holes" d="([^"]*)"', page)
    assert holes
    assert {path.count("M") for path in holes} == {1}
    assert '<i class="key dot hollow ink"></i>inclusive: 95 % CL limit' in page
    text = squeezed(Page(page).text)
    mass = f"{scan['masses'][1]:g}"
    assert f"limits at 95 % CL, where no toy is as extreme as the data: inclusive at {mass} GeV." in text
    assert "local significance > 3.61σ (p₀ < 1.5 × 10⁻⁴) at 95 % CL" in text
    assert "p at most 0.0015 at 95 % CL: the local one times the 10 places" in text
    assert "Largest excess, inclusive > 3.61σ local" in text
    assert "Local p₀ < 1.5 × 10⁻⁴ at 95 % CL" in text
    assert "> 3.61 < 1.5 × 10⁻⁴" in text
    assert "Behind < and >: limits at 95 % CL" in text


def test_a_page_of_many_charts_is_laid_out_bit_by_bit(small, unsaved, monkeypatch):
    assert "<main>" in write_report(small, "Few", {}, {})[0].read_text(encoding="utf-8")
    monkeypatch.setattr(pages, "_MANY_CHARTS", 0)
    assert '<main class="long">' in write_report(small, "Many", {}, {})[0].read_text(encoding="utf-8")


def test_incomplete_account_is_said(small, unsaved):
    path = small / "account.json"
    account = json.loads(path.read_text()) | {"processed": 249000, "complete": False}
    path.write_text(json.dumps(account))
    text = squeezed(Page(write_report(small, "Gap", {}, {})[0].read_text(encoding="utf-8")).text)
    assert "Incomplete: 249 000 of 250 000 expected entries" in text


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("scan.json", "scan"),
        ("fits.json", "scan"),
        ("systematics.json", "scan"),
        ("studies.json", "report"),
        ("events.json", "report"),
        ("cutflow.json", "hist"),
        ("account.json", "hist"),
        ("histograms/mock.h5", "hist"),
    ],
)
def test_missing_file_names_its_stage(small, name, stage):
    (small / name).unlink()
    with pytest.raises(
        InputError, match=rf"{name} is missing; stage '{stage}' makes it: run `oddjet {stage}"
    ):
        write_report(small, "Missing", {}, {})


def test_wrong_content_names_file_key_and_stage(small):
    path = small / "scan.json"
    scan = json.loads(path.read_text())
    del scan["selections"]["inclusive"][2]["valid"]
    path.write_text(json.dumps(scan))
    with pytest.raises(
        InputError,
        match=r"scan\.json: key 'selections\.inclusive\.2\.valid': missing, and it has no default; .*scan",
    ):
        write_report(small, "Wrong", {}, {})


def test_selection_without_histogram_is_named(full):
    record = read_record(full[0])
    with pytest.raises(InputError, match=r"no selection 'cwola_A1' \(it has inclusive, cwola_B3"):
        mass_spectrum(record.searched["mjj"], "signal", "cwola_A1", 2232, 6800, 100)


def test_mass_spectrum_keeps_every_event_of_its_bins(full):
    histogram = read_record(full[0]).searched["mjj"]
    edges, events = mass_spectrum(histogram, "signal", "inclusive", 2232, 6800, 100)
    assert edges[0] == 2232
    assert edges[-1] <= 6800
    assert set(np.diff(edges)) == {100.0}
    fine = histogram[{"process": 0, "region": 0, "selection": 0, "variation": 0}].values()
    axis = histogram.axes["mjj"].edges[:-1]
    assert events.sum() == fine[(axis >= 2232) & (axis < edges[-1])].sum()


def test_score_shapes_separate_bands_and_signal(full):
    record = read_record(full[0])
    histograms = {name: found["score"] for name, found in record.histograms.items()}
    shapes = score_shapes(histograms, "mock", "cwola_B3")
    whole = record.searched["score"][{"process": 0, "selection": 0}]
    assert shapes.signal_region.values.sum() == whole[{"band": 1}].sum().value
    assert shapes.side_bands.values.sum() == whole[{"band": 0}].sum().value + whole[{"band": 2}].sum().value
    assert list(shapes.signals) == ["signal_3000"]
    assert shapes.signals["signal_3000"].values.sum() == 0.8 * 375
    assert score_shapes(histograms, "mock", "cwola_B4").signals == {}
