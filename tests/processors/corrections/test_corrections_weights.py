import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from processors.corrections.config import CorrectionsConfig, PdfConfig, variation_names
from processors.corrections.weights import Subjets, WeightInputs, pdf_uncertainty, weight_factors

# As NanoAOD orders them, (μR, μF): the branch's title says "[0] is renscfact=0.5d0 facscfact=0.5d0 ;
# [1] is renscfact=0.5d0 facscfact=1d0 ; …".
NINE = [(r, f) for r in (0.5, 1.0, 2.0) for f in (0.5, 1.0, 2.0)]
# Its title says "[0] is ISR=2 FSR=1; [1] is ISR=1 FSR=2; [2] is ISR=0.5 FSR=1; …" (ISR, FSR).
SHOWER = [(2.0, 1.0), (1.0, 2.0), (0.5, 1.0), (1.0, 0.5)]


def parse(**sections):
    return CorrectionsConfig.parse(sections, "search.yaml")


def events(n=1, **columns):
    return WeightInputs(
        run=np.full(n, 1, dtype=np.uint32),
        luminosity_block=np.full(n, 2, dtype=np.uint32),
        event=np.arange(10, 10 + n, dtype=np.uint64),
        **columns,
    )


def jagged(table):
    return np.concatenate([np.asarray(row, dtype=np.float32) for row in table]), np.array(
        [len(row) for row in table]
    )


def code(pair):
    """A number that tells the scales of an entry."""
    return 10 * pair[0] + pair[1]


@pytest.mark.parametrize("entries", [NINE, [pair for pair in NINE if pair != (1.0, 1.0)]], ids=["9", "8"])
def test_scale_weights(entries):
    row = [code(pair) for pair in entries]
    nominal, varied = weight_factors(events(2, scale_weights=jagged([row, row])), parse(scale=True))
    np.testing.assert_array_equal(nominal, 1)
    expected = {
        "mur_up": (2.0, 1.0),
        "mur_down": (0.5, 1.0),
        "muf_up": (1.0, 2.0),
        "muf_down": (1.0, 0.5),
        "murf_up": (2.0, 2.0),
        "murf_down": (0.5, 0.5),
    }
    assert {name: factor.tolist() for name, factor in varied.items()} == {
        name: [code(pair)] * 2 for name, pair in expected.items()
    }


def test_shower_weights():
    inputs = events(shower_weights=jagged([[code(pair) for pair in SHOWER]]))
    _, varied = weight_factors(inputs, parse(parton_shower=True))
    expected = {"isr_up": (2.0, 1.0), "isr_down": (0.5, 1.0), "fsr_up": (1.0, 2.0), "fsr_down": (1.0, 0.5)}
    assert {name: factor[0] for name, factor in varied.items()} == {
        name: code(pair) for name, pair in expected.items()
    }


def test_pdf_formulas_by_hand():
    # arXiv:1510.03865: Hessian √(0.3² + 0.4²) = 0.5; replicas 1.3, 0.6, 1.1 have mean 1 and variance 0.13.
    hessian = PdfConfig(kind="hessian", members=2)
    assert pdf_uncertainty(np.array([[1.0, 1.3, 0.6]]), hessian) == pytest.approx(0.5)
    replicas = PdfConfig(kind="replicas", members=3, central=False)
    assert pdf_uncertainty(np.array([[1.3, 0.6, 1.1]]), replicas) == pytest.approx(np.sqrt(0.13))
    # α_s: 0.75·(1.9 − 0.7)/2 = 0.45; √(0.5² + 0.45²).
    with_alpha = PdfConfig(kind="hessian", members=2, alpha_s=0.75)
    weights = np.array([[1.0, 1.3, 0.6, 0.7, 1.9]])
    assert pdf_uncertainty(weights, with_alpha) == pytest.approx(np.hypot(0.5, 0.45))


def test_pdf_weights_are_symmetric():
    inputs = events(2, pdf_weights=jagged([[1, 1.25, 1], [1, 1, 0.5]]))
    nominal, varied = weight_factors(inputs, parse(pdf={"kind": "hessian", "members": 2}))
    np.testing.assert_array_equal(nominal, 1)
    np.testing.assert_array_equal(varied["pdf_up"], [1.25, 1.5])
    np.testing.assert_array_equal(varied["pdf_down"], [0.75, 0.5])


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_event_by_event_pdf_is_never_below_the_histogram_s(seed, members):
    rng = np.random.default_rng(seed)
    weights = 1 + 0.1 * rng.normal(size=(8, members))
    by_event = pdf_uncertainty(weights, PdfConfig(kind="hessian", members=members, central=False)).sum()
    by_bin = np.sqrt(np.square((weights - 1).sum(axis=0)).sum())
    assert by_event >= by_bin * (1 - 1e-12)


def pileup_file(write_corrections, nodes):
    edges = [0.0, 20.0, 40.0, 100.0]
    content = nodes["category"](
        "weights",
        {
            side: nodes["binning"]("NumTrueInteractions", edges, [0.5 * k, 1.0 * k, 2.0 * k])
            for side, k in (("nominal", 1.0), ("up", 1.5), ("down", 0.5))
        },
    )
    return {"pileup": (("NumTrueInteractions", "weights"), content)}


def test_pileup_and_prefiring_multiply(write_corrections, nodes):
    file = str(write_corrections(pileup_file(write_corrections, nodes)))
    config = parse(pileup={"file": file, "name": "pileup"}, prefiring=True)
    inputs = events(
        3,
        n_true_interactions=np.array([10.0, 30.0, 50.0], dtype=np.float32),
        prefiring_nominal=np.array([0.5, 1.0, 0.0], dtype=np.float32),
        prefiring_up=np.array([0.75, 1.0, 0.25], dtype=np.float32),
        prefiring_down=np.array([0.25, 1.0, 0.0], dtype=np.float32),
    )
    nominal, varied = weight_factors(inputs, config)
    assert tuple(varied) == variation_names(config, "simulation")[1]
    np.testing.assert_array_equal(nominal, [0.25, 1.0, 0.0])
    np.testing.assert_array_equal(varied["pileup_up"], [0.375, 1.5, 0.0])
    np.testing.assert_array_equal(varied["pileup_down"], [0.125, 0.5, 0.0])
    # The varied factor replaces its own nominal one, also where that is 0.
    np.testing.assert_array_equal(varied["prefiring_up"], [0.375, 1.0, 0.5])
    np.testing.assert_array_equal(varied["prefiring_down"], [0.125, 1.0, 0.0])


def test_pileup_out_of_range_names_file_and_correction(write_corrections, nodes):
    file = str(write_corrections(pileup_file(write_corrections, nodes)))
    config = parse(pileup={"file": file, "name": "pileup"})
    with pytest.raises(
        InputError,
        match=r"corrections\.json: correction 'pileup' cannot be evaluated for event 1:2:11 .*: Index above",
    ):
        weight_factors(events(3, n_true_interactions=np.array([50.0, 200.0, 300.0])), config)
    with pytest.raises(InputError, match="correction 'pileup' needs the input 'NumTrueInteractions'"):
        weight_factors(events(), config)


BTAG_SIDES = {"central": 0.9, "up": 1.0, "down": 0.8}
LIGHT_SIDES = {"central": 1.2, "up": 1.5, "down": 0.9}


def btag_config(write_corrections, nodes, **options):
    point = nodes["category"]("working_point", {"M": nodes["category"]("systematic", BTAG_SIDES)})
    heavy = nodes["category"]("flavor", {5: point, 4: 1.0})
    light = nodes["category"]("systematic", LIGHT_SIDES)
    efficiency = nodes["category"](
        "flavor",
        {5: nodes["binning"]("abseta", [0.0, 1.0, 2.5], [0.6, 0.5]), 4: 0.25, 0: 0.1},
    )
    corrections = {
        "mujets": (("systematic", "working_point", "flavor", "abseta", "pt"), heavy),
        "incl": (("systematic", "flavor", "abseta", "pt"), light),
        "efficiency": (("flavor", "abseta", "pt"), efficiency),
    }
    btag = {
        "file": str(write_corrections(corrections)),
        "heavy": {"name": "mujets", "fixed": {"working_point": "M"}},
        "light": {"name": "incl"},
        "efficiency": {"name": "efficiency"},
        "threshold": 0.5,
    }
    return parse(btag=btag | options)


def subjets(event, eta, flavour, score):
    n = len(event)
    return Subjets(
        np.array(event),
        np.full(n, 100.0, dtype=np.float32),
        np.array(eta),
        np.array(flavour),
        np.array(score),
    )


def test_btag_by_hand(write_corrections, nodes):
    config = btag_config(write_corrections, nodes)
    # Event 0: b tagged, b at |η| = 1.5 not tagged, light not tagged. Event 1: light tagged, c (SF 1) not.
    # Event 2 has no subjet.
    chosen = subjets([0, 1, 0, 1, 0], [0.0, 0.0, -1.5, 0.2, 0.3], [5, 0, 5, 4, 0], [0.9, 0.8, 0.2, 0.1, -1.0])
    nominal, varied = weight_factors(events(3, subjets=chosen), config)

    def first(b, light):
        return b * (1 - b * 0.5) / (1 - 0.5) * (1 - light * 0.1) / (1 - 0.1)

    np.testing.assert_allclose(nominal, [first(0.9, 1.2), 1.2, 1.0], rtol=1e-14)
    assert list(varied) == ["btag_heavy_up", "btag_heavy_down", "btag_light_up", "btag_light_down"]
    np.testing.assert_allclose(varied["btag_heavy_up"], [first(1.0, 1.2), 1.2, 1.0], rtol=1e-14)
    np.testing.assert_allclose(varied["btag_heavy_down"], [first(0.8, 1.2), 1.2, 1.0], rtol=1e-14)
    np.testing.assert_allclose(varied["btag_light_up"], [first(0.9, 1.5), 1.5, 1.0], rtol=1e-14)
    np.testing.assert_allclose(varied["btag_light_down"], [first(0.9, 0.9), 0.9, 1.0], rtol=1e-14)


def test_btag_weights_give_the_efficiency_of_data(write_corrections, nodes):
    """Tags drawn with ε: the weighted fraction is SF·ε and the weights average to 1."""
    n = 100_000
    rng = np.random.default_rng(5)
    score = np.where(rng.random(n) < 0.6, 0.9, 0.1)
    chosen = subjets(np.arange(n), np.zeros(n), np.full(n, 5), score)
    nominal, _ = weight_factors(events(n, subjets=chosen), btag_config(write_corrections, nodes))
    assert nominal.mean() == pytest.approx(1, abs=4 * nominal.std() / np.sqrt(n))
    assert np.sum(nominal * (score > 0.5)) / n == pytest.approx(0.54, abs=4 * 0.9 * 0.5 / np.sqrt(n))


def test_btag_problems_are_named(write_corrections, nodes):
    config = btag_config(write_corrections, nodes)
    with pytest.raises(InputError, match=r"a subjet of event 1:2:11 .* has hadron flavour 21, not 0, 4 or 5"):
        weight_factors(events(2, subjets=subjets([1], [0.0], [21], [0.9])), config)
    with pytest.raises(InputError, match="correction 'btag': these events have no flavour of subjets"):
        weight_factors(events(2), config)
    certain = btag_config(
        write_corrections, nodes, efficiency={"name": "incl", "fixed": {"systematic": "central"}}
    )
    with pytest.raises(
        InputError, match=r"efficiency of the untagged subjet of event 1:2:11 .* is 1.2, which"
    ):
        weight_factors(events(2, subjets=subjets([1], [0.0], [0], [0.1])), certain)
    file = str(write_corrections({"one": (("pt",), nodes["formula"]("0.9", "pt"))}, "eff.json"))
    high = btag_config(write_corrections, nodes, efficiency={"name": "one"}, efficiency_file=file)
    with pytest.raises(
        InputError, match=r"correction 'btag': the factor of event 1:2:11 .* is -0.8; it must"
    ):
        weight_factors(events(2, subjets=subjets([1], [0.0], [0], [0.1])), high)


def trigger_config(write_corrections, nodes, sides, **options):
    content = nodes["category"](
        "systematic",
        {
            side: nodes["binning"]("HT", [1200.0, 1500.0, 2000.0], [value, 1.0], flow="clamp")
            for side, value in sides.items()
        },
    )
    file = write_corrections({"trigger": (("HT", "systematic"), content)})
    return parse(trigger={"file": str(file), "name": "trigger", **options})


def test_trigger_efficiency(write_corrections, nodes):
    sides = {"nominal": 0.75, "up": 1.0, "down": 0.5}
    config = trigger_config(write_corrections, nodes, sides, inputs={"HT": "mjj"})
    inputs = events(2, features={"mjj": np.array([1300.0, 1800.0])})
    nominal, varied = weight_factors(inputs, config)
    np.testing.assert_array_equal(nominal, [0.75, 1.0])
    np.testing.assert_array_equal(varied["trigger_up"], [1.0, 1.0])
    np.testing.assert_array_equal(varied["trigger_down"], [0.5, 1.0])
    with pytest.raises(
        InputError, match=r"correction 'trigger' needs the input 'HT', .* available: mjj, sys"
    ):
        weight_factors(inputs, trigger_config(write_corrections, nodes, sides))
    wrong = trigger_config(write_corrections, nodes, sides, inputs={"Ht": "mjj"})
    with pytest.raises(InputError, match=r"no input 'Ht' \(key trigger.inputs\); it has HT, systematic"):
        weight_factors(inputs, wrong)
    negative = trigger_config(write_corrections, nodes, sides | {"down": -0.5}, inputs={"HT": "mjj"})
    with pytest.raises(
        InputError, match=r"correction 'trigger': the factor of event 1:2:10 .* is -0.5; it must"
    ):
        weight_factors(inputs, negative)


def test_generator_ratios_may_be_negative_but_must_be_numbers():
    row = [1.0] * 9
    ratios = jagged([row, [*row[:8], -0.5]])
    _, varied = weight_factors(events(2, scale_weights=ratios), parse(scale=True))
    np.testing.assert_array_equal(varied["murf_up"], [1.0, -0.5])
    ratios = jagged([row, [*row[:8], np.nan]])
    with pytest.raises(
        InputError, match=r"correction 'scale': LHEScaleWeight of event 1:2:11 .* is not finite"
    ):
        weight_factors(events(2, scale_weights=ratios), parse(scale=True))


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_impossible_probabilities_are_refused(value):
    ones = np.ones(2)
    inputs = events(2, prefiring_nominal=ones, prefiring_up=np.array([1.0, value]), prefiring_down=ones)
    with pytest.raises(
        InputError, match=r"correction 'prefiring': the factor of event 1:2:11 .* must be finite"
    ):
        weight_factors(inputs, parse(prefiring=True))


@pytest.mark.parametrize(
    ("section", "columns", "match"),
    [
        ({"scale": True}, {}, "correction 'scale': these events have no LHEScaleWeight; leave"),
        ({"prefiring": True}, {"prefiring_nominal": np.ones(2)}, "these events have no L1PreFiringWeight"),
        (
            {"scale": True},
            {"scale_weights": jagged([[1.0] * 9, [1.0] * 8])},
            r"event 1:2:11 .* has 8 entries of LHEScaleWeight, where 9 or \(in every event\) 8 are expected",
        ),
        (
            {"parton_shower": True},
            {"shower_weights": jagged([[1.0], [1.0]])},
            "correction 'parton_shower': event 1:2:10 .* has 1 entries of PSWeight, where 4 are expected",
        ),
        (
            {"pdf": {"kind": "hessian"}},
            {"pdf_weights": jagged([[1.0] * 103] * 2)},
            "has 103 entries of LHEPdfWeight, where 101 are expected; correct the options",
        ),
    ],
)
def test_missing_or_short_weights_are_named(section, columns, match):
    with pytest.raises(InputError, match=match):
        weight_factors(events(2, **columns), parse(**section))


def test_no_correction_and_no_event():
    nominal, varied = weight_factors(events(3), None)
    np.testing.assert_array_equal(nominal, 1)
    assert varied == {}
    none = (np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64))
    config = parse(scale=True, pdf={"kind": "replicas"}, parton_shower=True)
    nominal, varied = weight_factors(
        events(0, scale_weights=none, pdf_weights=none, shower_weights=none), config
    )
    assert tuple(varied) == variation_names(config, "simulation")[1]
    assert all(factor.shape == (0,) for factor in (nominal, *varied.values()))


def test_cms_events_have_the_layout_that_is_read(jerc_file):
    """NanoAOD v15 of the experiment, tt̄ → NNPDF 3.1 Hessian with α_s: ratios about 1."""
    uproot = pytest.importorskip("uproot")
    with uproot.open(jerc_file.parent / "nano_tt_v15.root") as file:
        tree = file["Events"]
        columns = {}
        for name, branch in (("scale", "LHEScaleWeight"), ("pdf", "LHEPdfWeight"), ("shower", "PSWeight")):
            array = tree[branch].array()
            counts = np.array([len(row) for row in array])
            columns[f"{name}_weights"] = (np.concatenate([np.asarray(row) for row in array]), counts)
    config = parse(scale=True, parton_shower=True, pdf={"kind": "hessian", "alpha_s": 0.75})
    _, varied = weight_factors(events(len(counts), **columns), config)
    mean = {name: factor.mean() for name, factor in varied.items()}
    # A smaller μR means a larger α_s and a larger cross section of tt̄ (≈ 10 % at next-to-leading order).
    assert 1.02 < mean["mur_down"] < 1.3
    assert 0.7 < mean["mur_up"] < 0.98
    assert 1.001 < mean["pdf_up"] < 1.1
    assert mean["pdf_up"] + mean["pdf_down"] == pytest.approx(2)


def test_messages_name_file_and_sample():
    source = "file 'a.root' of sample 'qcd'"
    with pytest.raises(
        InputError, match=r"these events of file 'a\.root' of sample 'qcd' have no LHEScaleWeight"
    ):
        weight_factors(events(2, source=source), parse(scale=True))
    ratios = jagged([[1.0] * 9, [np.nan] * 9])
    with pytest.raises(
        InputError, match=r"of event 1:2:11 \(.*\) of file 'a\.root' of sample 'qcd' is not finite"
    ):
        weight_factors(events(2, scale_weights=ratios, source=source), parse(scale=True))
