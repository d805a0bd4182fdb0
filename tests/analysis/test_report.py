import base64
import html.parser
import json
import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from analysis.report import write_report
from analysis.report.histograms import mass_spectrum, score_shapes
from analysis.report.record import read_record
from analysis.windows import window, window_of
from data.errors import InputError
from processors.histogram_io import write_histograms
from processors.histograms import empty_histograms, fill_mjj, fill_score

MASSES = tuple(range(2900, 3900, 100))
METHODS = ("cwola_B3", "cwola_A4", "cwola_B4")
PROVENANCE = {
    "versions": {"oddjet": "0.1.0+0123456789abcdef", "numpy": "2.0.0"},
    "seed": 1,
    "inputs": {"mock_0.root": "ab" * 32},
}
CONFIG = {
    "run": {"title": "x", "seed": 1, "output": "output/demo"},
    "search": {"data": "mock", "signals": ["signal_3000"]},
    "methods": {"cwola": {"classifier": "trees"}},
}


def spectrum(generator, events, low=2232.0, high=6800.0, slope=9.5):
    """Falling masses in GeV, and coarse edges of growing width."""
    x = generator.pareto(slope, size=events) + 1
    masses = 2232.0 * x
    edges = [low]
    while edges[-1] < high:
        edges.append(min(edges[-1] * 1.032, high))
    return masses[masses < high], np.round(np.array(edges))


def fit_entry(generator, events, signal):
    masses, edges = spectrum(generator, events)
    cumulative = 1 - (edges / 2232.0) ** -9.5
    background = np.diff(cumulative) * events
    observed = np.histogram(masses, edges)[0].astype(float)
    shape = np.diff(stats.norm.cdf(edges, 2980, 110))
    observed += generator.poisson(signal * shape)
    error = background * 0.02 + 0.3
    pull = (observed - background) / np.sqrt(background)
    chi2 = float((pull**2).sum())
    return {
        "range": [2232.0, 6800.0],
        "function": "dijet3",
        "parameters": [1.0, 2.0, 3.0],
        "f_test": [
            {"n": 2, "chi2": chi2 + 12, "ndf": len(pull) - 2, "p": 0.3, "p_f": None},
            {"n": 3, "chi2": chi2, "ndf": len(pull) - 3, "p": 0.3, "p_f": 0.0011},
            {"n": 4, "chi2": chi2 - 0.3, "ndf": len(pull) - 4, "p": 0.3, "p_f": 0.61},
        ],
        "chi2": chi2,
        "ndf": len(pull) - 3,
        "fit_p": float(stats.chi2.sf(chi2, len(pull) - 3)),
        "edges": edges.tolist(),
        "observed": observed.tolist(),
        "background": background.tolist(),
        "background_error": error.tolist(),
        "pull": [*pull.tolist()[:-1], None],
        "signal_fits": {
            "3000": {"signal": (signal * shape).tolist(), "background": (background * 0.99).tolist()}
        },
    }


def scan_points(name, invalid=()):
    points = []
    for mass in MASSES:
        point = {"mass": mass, "function": "dijet3", "fit_p": 0.42, "valid": mass not in invalid}
        point["window"] = None if name == "inclusive" else window_of(mass).name
        keys = ("z", "p0", "signal_yield", "signal_yield_error", "limit_observed", "limit_observed_fb")
        if not point["valid"]:
            point |= dict.fromkeys((*keys, "limit_expected", "limit_expected_fb", "efficiency", "fit_p"))
            point["message"] = f"mass {mass} GeV: the fit did not converge"
            points.append(point)
            continue
        peak = 1.3 if name == "inclusive" else 4.6
        z = peak * np.exp(-0.5 * ((mass - 3000) / 90) ** 2) + 0.3 * np.cos(mass)
        scale = 260 * (3000 / mass) ** 6 * (1 if name == "inclusive" else 0.2)
        expected = [scale * factor for factor in (0.55, 0.73, 1.0, 1.4, 1.9)]
        efficiency = 0.74 if name == "inclusive" else 0.36
        point |= {"z": z, "p0": float(stats.norm.sf(z)), "signal_yield": z * scale / 2}
        point |= {"signal_yield_error": scale / 2, "limit_observed": scale * (1 + max(z, -0.4) / 2)}
        point |= {"limit_expected": expected, "efficiency": efficiency}
        point |= {"limit_observed_fb": point["limit_observed"] / efficiency / 12.3}
        point |= {"limit_expected_fb": [value / efficiency / 12.3 for value in expected]}
        points.append(point)
    return points


def systematics(labels):
    """Uncertainties of three sources; window B4 knows none."""

    def at(mass, size):
        sources = [("jes", 0.02, -0.03), ("lund_prongs", size, -size), ("scales", 0.0, -0.012)]
        down, up = (
            math.hypot(*(max(0.0, sign * one[k]) for one in sources)) for k, sign in ((2, -1), (1, 1))
        )
        named = [{"name": name, "up": high, "down": low, "kind": "up_down"} for name, high, low in sources]
        return {"mass": mass, "down": down, "up": up, "sources": named}

    found = {}
    for label in labels:
        tested = [] if label == "cwola_B4" else [at(mass, mass / 3e4) for mass in MASSES]
        found[label] = {
            "masses": tested,
            "signals": [at(mass, mass / 3e4) for mass in (2800, 3000)] if tested else [],
        }
    return {"in_limits": False, "jes": 0.01, "jer": 0.035, "selections": found}


def histograms(generator):
    """Histograms of the searched sample and of a signal sample."""
    masses, _ = spectrum(generator, 90000)
    weights = np.ones(len(masses))
    searched, signal = empty_histograms(["data"], METHODS), empty_histograms(["xyy_400_400"], METHODS)
    table = {"mjj": masses, "region": np.zeros(len(masses)), "weight": weights}
    fill_mjj(searched["mjj"], table, "data", "inclusive", np.ones(len(masses), dtype=np.int64))
    for name in METHODS:
        here = window(name.removeprefix("cwola_"))
        rank = np.maximum(generator.random(len(masses)), generator.random(len(masses)))
        passing = rank > 1 - here.working_point / 2
        fill_mjj(searched["mjj"], table, "data", name, passing.astype(np.int64))
        band = np.digitize(masses, [here.low_band[0], *here.signal_region, here.high_band[1]]) - 1
        band = np.where((band < 0) | (band > 2), 3, band)
        fill_score(searched["score"], (rank, band), "data", name, weights)
        anomalous = np.maximum(generator.beta(6, 1, 3000), generator.beta(6, 1, 3000))
        # Four fifths of the 3 TeV signal lie in B3; in B4 it is a tail only.
        band = np.where(np.arange(3000) % 5 < (4 if name == "cwola_B3" else 1), 1, 0)
        fill_score(signal["score"], (anomalous, band), "xyy_400_400", name, np.full(3000, 0.125))
    return searched, signal


def make_run_folder(folder, *, invalid=(3200, 3500), with_fb=True):
    generator = np.random.default_rng(5)
    scan = {
        "masses": list(MASSES),
        "selections": {"inclusive": scan_points("inclusive"), "cwola": scan_points("cwola", invalid)},
        "sqrt_s": 13000,
        "luminosity_ifb": 12.3,
        "sample": "mock",
        "region": "signal",
    }
    if not with_fb:
        for point in (point for points in scan["selections"].values() for point in points):
            point.update(dict.fromkeys(("limit_observed_fb", "limit_expected_fb", "efficiency")))
    fits = {"inclusive": fit_entry(generator, 90000, 320)}
    fits |= {name: fit_entry(generator, 900, 75 if name == "cwola_B3" else 10) for name in METHODS}
    steps = (
        ("all", 250000),
        ("trigger", 240000),
        ("two_jets", 180000),
        ("delta_eta", 120000),
        ("mjj", 90000),
    )
    cutflow = {"mock": [{"step": s, "events": n, "weighted": float(n)} for s, n in steps]}
    cutflow["signal_3000"] = [{"step": s, "events": n // 10, "weighted": n * 0.00123} for s, n in steps]
    files = [
        {
            "sample": "mock",
            "file": f"mock_{i}.root",
            "expected": 125000,
            "processed": 125000,
            "selected": 45000,
        }
        for i in range(2)
    ]
    account = {"files": files, "expected": 250000, "processed": 250000, "complete": True}
    folder.mkdir(parents=True, exist_ok=True)
    content = {"scan": scan, "fits": fits, "cutflow": cutflow, "account": account}
    content["systematics"] = systematics(fits)
    for name, value in content.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    searched, signal = histograms(generator)
    write_histograms(folder / "histograms" / "mock.h5", searched)
    write_histograms(folder / "histograms" / "signal_3000.h5", signal)
    return folder


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A run folder with a method, its report's text and the paths that were written."""
    folder = make_run_folder(tmp_path_factory.mktemp("full"))
    written = write_report(folder, "Search <b>&</b> report", CONFIG, PROVENANCE)
    return folder, written[0].read_text(encoding="utf-8"), written


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
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.add(tag)
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
        self.text += data if "style" not in self.open else ""


def squeezed(text):
    return re.sub(r"\s+", " ", text)


def test_sections_in_order_and_linked(full):
    page = Page(full[1])
    assert page.open == []
    assert page.sections == [
        *("summary", "data", "cutflow", "windows", "spectra", "scores", "scan", "systematics", "limits"),
        "provenance",
    ]
    assert [link for link in page.links if link.startswith("#")] == [f"#{name}" for name in page.sections]


def test_nothing_is_loaded_from_outside(full):
    page = Page(full[1])
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert not page.tags & {"script", "link", "iframe", "object", "embed"}
    assert "url(" not in full[1]
    assert "@import" not in full[1]
    assert "default-src 'none'" in full[1]


def test_every_image_has_words_and_size_and_equals_its_file(full):
    folder, text, _ = full
    page = Page(text)
    assert len(page.images) == 15
    for image in page.images:
        assert len(image["alt"]) > 40
        assert int(image["width"]) >= 1000
        assert int(image["height"]) >= 800
    content = [base64.b64decode(image["src"].partition(",")[2]) for image in page.images]
    assert sorted(content) == sorted(path.read_bytes() for path in (folder / "plots").glob("*.png"))


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
    assert "no look-elsewhere correction is applied" in text
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
    assert "cwola: upper limits at 95 % confidence level, fb." in text
    assert "Lund plane, prongs +9.3 / −9.3 % +10.0 / −10.0 %" in text
    assert "μR, μF 0.0 / −1.2 %" in text
    # 2800 GeV: 2 and 9.33 % up; 3, 9.33 and 1.2 % down.
    assert "Total +9.5 / −9.9 %" in text
    assert "the limits of this run do not contain it" in text


def test_title_is_escaped(full):
    assert "<h1>Search &lt;b&gt;&amp;&lt;/b&gt; report</h1>" in full[1]


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
    assert "windows" not in page.sections
    assert "scores" not in page.sections
    assert "level, fb." not in page.text
    assert "Efficiency" not in page.text


def test_report_written_twice_is_the_same_to_the_byte(small):
    first = {path: path.read_bytes() for path in write_report(small, "Twice", {}, {})}
    assert {path: path.read_bytes() for path in write_report(small, "Twice", {}, {})} == first


def test_no_valid_fit_at_all_is_said(small):
    path = small / "scan.json"
    scan = json.loads(path.read_text())
    for point in scan["selections"]["inclusive"]:
        point.update(dict.fromkeys(point.keys() - {"mass", "valid"}), valid=False)
    path.write_text(json.dumps(scan))
    (small / "fits.json").write_text(json.dumps({"inclusive": None}))
    written = write_report(small, "Nothing", {}, {})
    text = squeezed(Page(written[0].read_text(encoding="utf-8")).text)
    assert "Largest excess, inclusive No valid fit 10 masses tested, 10 without a valid fit" in text
    assert not any("limits" in path.name for path in written)


def test_global_p_values_replace_the_warning(small):
    path = small / "scan.json"
    found = {"p_global": 0.042, "p_global_error": 0.003, "n_toys": 5000, "gross_vitells": 0.05}
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"global": {"selections": {"inclusive": found}}})
    )
    text = squeezed(Page(write_report(small, "Global", {}, {})[0].read_text(encoding="utf-8")).text)
    assert "Global p 0.0420 ± 0.0030 (5000 toys; Gross–Vitells 0.050)" in text
    assert "no look-elsewhere correction is applied" not in text


def test_incomplete_account_is_said(small):
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
        InputError, match=r"scan\.json: key 'selections\.inclusive\.2\.valid': Field required; .*scan"
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
