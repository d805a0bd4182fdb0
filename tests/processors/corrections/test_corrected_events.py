"""Corrections on the whole way from files to features and histograms."""

import bisect
import math
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

import models
from data.errors import ConfigError, InputError
from processors import scorers
from processors.config import JetsConfig, ProcessingConfig
from processors.corrections.config import CorrectionsConfig
from processors.event_options import EventOptions
from processors.histogram_io import merge_histograms
from processors.look import CORRECTIONS_HEADROOM
from processors.preflight import plan_sample
from processors.run import run_histograms, run_skim
from processors.skim import read_features

LUMINOSITY, CROSS_SECTION = 41.5, 0.37
MINI = Path(__file__).parents[3] / "data" / "mini" / "qcd_particles_0.root"


class Method:
    """Stands in for a trained method; what it selects changes with the order and the features of the jets."""

    inputs = ("m_j1", "pt_j1", "pt_j2", "rho_j2", "delta_m")
    signal_region = (2000.0, 2500.0)
    low_band = (1600.0, 2000.0)
    high_band = (2500.0, 3000.0)

    def evaluate(self, table, *, trained_on=None):
        votes = np.where(table["pt_j1"] > table["pt_j2"], 5, np.where(table["delta_m"] > 60, 3, 0))
        return np.clip(table["rho_j2"].astype(np.float64), 0, 1), votes


@pytest.fixture
def method(tmp_path, monkeypatch):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    monkeypatch.setattr(models, "load", lambda folder: Method(), raising=False)
    scorers.load.cache_clear()
    yield {"fake_B3": folder}
    scorers.load.cache_clear()


def corrected(**section):
    return EventOptions(corrections={"2017": CorrectionsConfig.parse(section, "corrections.2017")}, seed=5)


def fill(sample, options, out, method=None, **processing):
    return run_histograms(
        sample,
        ProcessingConfig(**{"chunk_size": 700, **processing}),
        options,
        method or {},
        trained_on=(),
        out_root=out,
    )


def skim(sample, options, out, **processing):
    result = run_skim(sample, ProcessingConfig(**{"chunk_size": 700, **processing}), options, out)
    return result, read_features(out / "features" / sample.name)


@pytest.fixture(scope="module")
def simulation_file(tmp_path_factory, make_nano_file, add_correction_branches):
    path = tmp_path_factory.mktemp("corrected") / "a.root"
    return make_nano_file(path, 1000, 21, simulation=True, change=add_correction_branches)


@pytest.fixture(scope="module")
def simulated(simulation_file, make_sample):
    return make_sample([simulation_file], kind="simulation")


def short_numbers(columns):
    """Momenta and masses of few bits, so that 5/4 and 3/4 of them are float32 numbers too."""
    for name in ("pt", "msoftdrop"):
        columns["FatJet"] = ak.with_field(columns["FatJet"], np.round(columns["FatJet"][name] * 8) / 8, name)


SCALED = {
    "jes_up": {"pt": 1.25, "msoftdrop": 1.25},
    "jes_down": {"pt": 0.75, "msoftdrop": 0.75},
    "jms_up": {"msoftdrop": 1.25},
    "jms_down": {"msoftdrop": 0.75},
}


def test_kinematic_variations_are_those_of_scaled_files(tmp_path, make_nano_file, make_sample, method):
    """Order, features, cuts, scores and histograms of each variation: bit for bit those of a file scaled by hand."""
    plain = make_nano_file(tmp_path / "a.root", 1000, 31, simulation=True, change=short_numbers)
    options = corrected(jes={"relative_uncertainty": 0.25}, jms={"scale": 1.0, "uncertainty": 0.25})
    whole = fill(make_sample([plain], kind="simulation"), options, tmp_path, method).histograms["mjj"]
    assert list(whole.axes["variation"]) == ["nominal", *SCALED]
    seen = {whole[{"variation": "nominal"}].view(flow=True).tobytes()}
    for variation, factors in SCALED.items():

        def change(columns, factors=factors):
            short_numbers(columns)
            for name, factor in factors.items():
                columns["FatJet"] = ak.with_field(columns["FatJet"], columns["FatJet"][name] * factor, name)

        path = make_nano_file(tmp_path / f"{variation}.root", 1000, 31, simulation=True, change=change)
        sample = make_sample([path], kind="simulation", name=variation)
        neutral = corrected(jms={"scale": 1.0, "uncertainty": 0.5})
        by_hand = fill(sample, neutral, tmp_path, method).histograms["mjj"][{"variation": "nominal"}]
        ours = whole[{"variation": variation}].view(flow=True).tobytes()
        assert ours == by_hand.view(flow=True).tobytes(), variation
        assert by_hand[{"selection": "fake_B3"}].sum(flow=True).value > 0
        assert ours not in seen
        seen.add(ours)


def test_order_of_the_jets_follows_the_varied_masses(
    tmp_path, make_nano_file, make_sample, write_corrections, nodes, method
):
    """J1 becomes j2 where the mass scale of one hemisphere goes up: the method sees the new order."""

    def change(columns):
        n = len(columns["event"])
        values = {
            "pt": [900, 850], "eta": [0.5, -0.5], "phi": [0.0, math.pi], "msoftdrop": [50, 48], "jetId": [6, 6],
            "subJetIdx1": [-1, -1], "subJetIdx2": [-1, -1],
        }  # fmt: skip
        columns["FatJet"] = ak.zip(
            {
                name: ak.unflatten(np.tile(values.get(name, [0.1, 0.1]), n).astype(float), np.full(n, 2))
                for name in columns["FatJet"].fields
            }
        )

    def backward(value):
        return nodes["binning"]("JetEta", [-5.0, 0.0, 5.0], [value, 1.0])

    content = nodes["category"]("systematic", {"nom": 1.0, "up": backward(1.1), "down": backward(0.9)})
    file = write_corrections({"JMS": (["JetEta", "systematic"], content)})
    path = make_nano_file(tmp_path / "a.root", 200, simulation=True, change=change)
    options = corrected(jms={"file": str(file), "scale": "JMS"})
    mjj = fill(make_sample([path], kind="simulation"), options, tmp_path, method).histograms["mjj"]
    sums = {
        (selection, variation): mjj[{"selection": selection, "variation": variation}].sum(flow=True).value
        for selection in ("inclusive", "fake_B3")
        for variation in ("nominal", "jms_up", "jms_down")
    }
    everything = sums["inclusive", "nominal"]
    assert everything > 0
    assert sums["inclusive", "jms_up"] == sums["inclusive", "jms_down"] == everything
    # Selected where the heavier jet is also the harder one.
    assert sums["fake_B3", "nominal"] == sums["fake_B3", "jms_down"] == everything
    assert sums["fake_B3", "jms_up"] == 0


PILEUP = {"nominal": [0.8, 1.2, 0.9], "up": [0.7, 1.3, 1.0], "down": [0.9, 1.1, 0.8]}
BTAG = {"central": 0.95, "up": 1.02, "down": 0.9}
LIGHT = {"central": 1.1, "up": 1.3, "down": 0.9}
EFFICIENCY = {5: 0.7, 4: 0.2, 0: 0.05}
TRIGGER = {"nominal": 0.97, "up": 0.99, "down": 0.95}
THRESHOLD = 0.6


@pytest.fixture
def weights_section(write_corrections, nodes):
    category, binning = nodes["category"], nodes["binning"]
    flavours = category("flavor", EFFICIENCY)
    turn_on = {name: binning("HT", [0.0, 1800.0, 20000.0], [value, 1.0]) for name, value in TRIGGER.items()}
    pileup = {
        name: binning("NumTrueInteractions", [0.0, 20.0, 40.0, 100.0], values)
        for name, values in PILEUP.items()
    }
    file = write_corrections(
        {
            "PU": (["NumTrueInteractions", "weights"], category("weights", pileup)),
            "heavy": (["systematic", "flavor"], category("systematic", BTAG)),
            "light": (["systematic", "flavor"], category("systematic", LIGHT)),
            "efficiency": (["flavor"], flavours),
            "HLT": (["HT", "systematic"], category("systematic", turn_on)),
        }
    )
    return {
        "pileup": {"file": str(file), "name": "PU"},
        "prefiring": True,
        "scale": True,
        "pdf": {"kind": "hessian", "alpha_s": 0.75},
        "parton_shower": True,
        "btag": {
            "file": str(file), "heavy": {"name": "heavy"}, "light": {"name": "light"},
            "efficiency": {"name": "efficiency"}, "threshold": THRESHOLD,
        },
        "trigger": {"file": str(file), "name": "HLT", "inputs": {"HT": "mjj"}},
    }  # fmt: skip


def hand_btag(event, jets, heavy, light):
    """Π SF over tagged subjets, Π (1 − SF ε)/(1 − ε) over the others."""
    factor = 1.0
    for jet in jets:
        for name in ("FatJet_subJetIdx1", "FatJet_subJetIdx2"):
            subjet = event[name][jet]
            if subjet < 0:
                continue
            flavour = event["SubJet_hadronFlavour"][subjet]
            scale = BTAG[heavy] if flavour in (4, 5) else LIGHT[light]
            efficiency = EFFICIENCY[flavour]
            tagged = event["SubJet_btagDeepB"][subjet] > THRESHOLD
            factor *= scale if tagged else (1 - scale * efficiency) / (1 - efficiency)
    return factor


def hand_factors(event, jets, mjj):
    """The factor of every variation on one event's weight."""
    pileup = bisect.bisect_right([20.0, 40.0], event["Pileup_nTrueInt"])
    prefiring = {side: event[f"L1PreFiringWeight_{name}"] for side, name in
                 (("nominal", "Nom"), ("up", "Up"), ("down", "Dn"))}  # fmt: skip
    trigger = {side: value if mjj < 1800 else 1.0 for side, value in TRIGGER.items()}
    # Order of LHEScaleWeight in NanoAOD: μR = ½, 1, 2, and in each of them μF = ½, 1, 2.
    scale, shower, pdf = event["LHEScaleWeight"], event["PSWeight"], event["LHEPdfWeight"]
    members = math.sqrt(sum((w - 1) ** 2 for w in pdf[1:101]) + (0.75 * (pdf[102] - pdf[101]) / 2) ** 2)
    parts = {
        "pileup": {side: PILEUP[side][pileup] for side in PILEUP},
        "prefiring": prefiring,
        "btag": {
            "nominal": hand_btag(event, jets, "central", "central"),
            "heavy_up": hand_btag(event, jets, "up", "central"),
            "heavy_down": hand_btag(event, jets, "down", "central"),
            "light_up": hand_btag(event, jets, "central", "up"),
            "light_down": hand_btag(event, jets, "central", "down"),
        },
        "trigger": trigger,
    }
    nominal = math.prod(part["nominal"] for part in parts.values())
    factors = {"nominal": nominal}
    for name, part in parts.items():
        factors |= {
            f"{name}_{side}": nominal / part["nominal"] * value
            for side, value in part.items()
            if side != "nominal"
        }
    ratios = {
        "mur_up": scale[7], "mur_down": scale[1], "muf_up": scale[5], "muf_down": scale[3],
        "murf_up": scale[8], "murf_down": scale[0], "pdf_up": 1 + members, "pdf_down": 1 - members,
        "isr_up": shower[0], "isr_down": shower[2], "fsr_up": shower[1], "fsr_down": shower[3],
    }  # fmt: skip
    return factors | {name: nominal * ratio for name, ratio in ratios.items()}


def events_of(path):
    return {event["event"]: event for event in ak.to_list(uproot.open({path: None})["Events"].arrays())}


def test_weight_variations_change_the_weight_only(
    tmp_path, simulation_file, simulated, weights_section, method
):
    options = corrected(**weights_section)
    result, table = skim(simulated, options, tmp_path)
    plain, plain_table = skim(simulated, EventOptions(), tmp_path / "plain")
    assert all(np.array_equal(table[name], plain_table[name]) for name in table if name != "weight")
    spectra = fill(simulated, options, tmp_path, method)
    scale = plan_sample(simulated, options.demand(simulated), CORRECTIONS_HEADROOM).scale
    events = events_of(simulation_file)
    per_event = CROSS_SECTION * 1000 * LUMINOSITY / (2 * sum(event["genWeight"] for event in events.values()))
    sums, selected, nominal = {}, {}, []
    for row in range(len(table["mjj"])):
        event = events[int(table["event"][row])]
        pts = np.array(event["FatJet_pt"], dtype=np.float32)
        jets = [int(np.flatnonzero(pts == table[f"pt_{name}"][row])[0]) for name in ("j1", "j2")]
        share = 1.0 if table["pt_j1"][row] > table["pt_j2"][row] else 0.6 * (table["delta_m"][row] > 60)
        for name, factor in hand_factors(event, jets, table["mjj"][row]).items():
            weight = round(event["genWeight"] * factor * per_event / scale.unit) * scale.unit
            sums[name] = sums.get(name, 0.0) + weight
            selected[name] = selected.get(name, 0.0) + weight * share
            if name == "nominal":
                nominal.append(weight)
    mjj = spectra.histograms["mjj"]
    assert set(mjj.axes["variation"]) == set(sums)
    assert len(sums) == 1 + 2 * 11
    for name, expected in sums.items():
        ours = mjj[{"selection": "inclusive", "variation": name}].sum(flow=True).value
        assert ours == pytest.approx(expected, abs=3 * scale.unit), name
        assert ours % scale.unit == 0
        chosen = mjj[{"selection": "fake_B3", "variation": name}].sum(flow=True).value
        assert chosen == pytest.approx(selected[name], rel=1e-9, abs=3 * scale.unit), name
    assert len(set(sums.values())) == len(sums)
    assert table["weight"] == pytest.approx(nominal, abs=scale.unit)
    # The cutflow before corrections stays; the step "corrections" has the corrected weights.
    assert [step["step"] for step in result.cutflow] == [
        *[step["step"] for step in plain.cutflow],
        "corrections",
    ]
    assert result.cutflow[-1]["events"] == len(table["mjj"])
    assert result.cutflow[-1]["weighted"] == table["weight"].sum()
    for ours, without in zip(result.cutflow, plain.cutflow, strict=False):
        assert {**ours, "step": 0} == pytest.approx({**without, "step": 0}, rel=1e-4)
    assert spectra.cutflow == result.cutflow


def smeared(section):
    return corrected(
        jes={"relative_uncertainty": 0.02},
        jer={"resolution": 0.08, "scale_factor": 1.2, "uncertainty": 0.1},
        jms={"scale": 1.01, "uncertainty": 0.02},
        jmr={"resolution": 0.1, "scale_factor": 1.1, "uncertainty": 0.05},
        **section,
    )


def test_smearing_does_not_depend_on_chunks_and_workers(
    tmp_path, make_nano_file, make_sample, add_correction_branches, weights_section
):
    files = [
        make_nano_file(
            tmp_path / f"{n}.root",
            350,
            n,
            simulation=True,
            first_event=1 + 1000 * n,
            change=add_correction_branches,
        )
        for n in (0, 1)
    ]
    sample = make_sample(files, kind="simulation")
    options = smeared(weights_section)
    tables, spectra = [], []
    for chunk_size in (100_000, 300):
        result, table = skim(sample, options, tmp_path, chunk_size=chunk_size)
        tables.append((result.outputs[0].read_bytes(), result.cutflow))
    assert tables[0] == tables[1]
    two = {"executor": "futures", "workers": 2}
    for processing in ({"chunk_size": 100_000}, {"chunk_size": 300}, {"chunk_size": 300, **two}):
        result = fill(sample, options, tmp_path, **processing)
        spectra.append((result.outputs[0].read_bytes(), result.cutflow))
    assert spectra[0] == spectra[1] == spectra[2]
    mjj = result.histograms["mjj"]
    sums = {name: mjj[{"variation": name}].view(flow=True).tobytes() for name in mjj.axes["variation"]}
    assert len(sums) == 1 + 2 * (4 + 11) == len(set(sums.values()))
    _, other = skim(sample, EventOptions(corrections=options.corrections, seed=6), tmp_path / "seed")
    assert not np.array_equal(other["mjj"], table["mjj"])


def test_smearing_of_clustered_jets_does_not_depend_on_chunks(tmp_path, make_sample):
    sample = make_sample([MINI], kind="simulation")
    smearing = {"resolution": 0.08, "scale_factor": 1.2, "uncertainty": 0.1}
    section = CorrectionsConfig.parse({"jer": {**smearing, "method": "stochastic"}, "jmr": smearing}, "2017")
    options = EventOptions(jets=JetsConfig(source="particles"), corrections={"2017": section})
    written = []
    for particle_chunk_size in (610, 10_000):
        result, table = skim(sample, options, tmp_path, particle_chunk_size=particle_chunk_size)
        written.append(result.outputs[0].read_bytes())
    assert written[0] == written[1]
    _, plain = skim(sample, EventOptions(jets=options.jets), tmp_path)
    shift = table["pt_j1"] / plain["pt_j1"] - 1
    # Nearly all pairs keep their order; smearing by σ √(s² − 1).
    assert np.std(shift[np.abs(shift) < 0.3]) == pytest.approx(0.08 * math.sqrt(1.2**2 - 1), rel=0.15)


def test_no_event_selected(tmp_path, make_nano_file, make_sample, add_correction_branches, weights_section):
    def change(columns):
        add_correction_branches(columns)
        columns["HLT_PFHT1050"][:] = columns["HLT_AK8PFJet500"][:] = False

    path = make_nano_file(tmp_path / "a.root", 60, simulation=True, change=change)
    sample = make_sample([path], kind="simulation")
    result, table = skim(sample, smeared(weights_section), tmp_path)
    assert len(table["mjj"]) == 0
    spectra = fill(sample, smeared(weights_section), tmp_path)
    assert spectra.histograms["mjj"].sum(flow=True).value == 0
    assert spectra.cutflow == result.cutflow


def test_energy_scale_from_a_file(
    tmp_path,
    make_nano_file,
    make_sample,
    add_correction_branches,
    simulation_file,
    simulated,
    write_corrections,
    nodes,
):
    """Stored corrections are undone by rawFactor; simulation and data get each its own, data without variations."""
    eta = nodes["formula"]("1.0+0.02*x*x", "JetEta")
    residual = nodes["formula"]("1.1-0.01*x", "JetEta")
    file = write_corrections({"L2": (["JetEta"], eta), "L2Residual": (["JetEta"], residual)})
    options = corrected(
        jes={"file": str(file), "correction": "L2", "data_correction": "L2Residual"},
        jms={"scale": 1.5, "uncertainty": 0.1},
    )

    def branches_of_data(columns):
        add_correction_branches(columns, simulation=False)

    data_file = make_nano_file(tmp_path / "data.root", 900, 22, change=branches_of_data)
    data = make_sample([data_file], name="data")
    for sample, path, factor, mass in (
        (simulated, simulation_file, lambda eta: 1 + 0.02 * eta**2, 1.5),
        (data, data_file, lambda eta: 1.1 - 0.01 * eta, 1.0),
    ):
        result, table = skim(sample, options, tmp_path)
        events = events_of(path)
        assert len(table["mjj"]) > 100
        for row, number in enumerate(table["event"].tolist()):
            event = events[number]
            for name in ("j1", "j2"):
                jet = int(
                    np.flatnonzero(
                        np.array(event["FatJet_eta"], dtype=np.float32) == table[f"eta_{name}"][row]
                    )[0]
                )
                scale = (1 - event["FatJet_rawFactor"][jet]) * factor(event["FatJet_eta"][jet])
                assert table[f"pt_{name}"][row] == pytest.approx(event["FatJet_pt"][jet] * scale, rel=1e-5)
                soft = max(event["FatJet_msoftdrop"][jet], 0)
                assert table[f"m_{name}"][row] == pytest.approx(soft * scale * mass, rel=1e-5)
        axis = list(fill(sample, options, tmp_path).histograms["mjj"].axes["variation"])
        assert axis == (["nominal"] if sample is data else ["nominal", "jms_up", "jms_down"])
        assert ("corrections" in [step["step"] for step in result.cutflow]) == (sample is simulated)


def test_data_are_never_varied(tmp_path, make_nano_file, make_sample, weights_section):
    """Nothing but a correction of the jets of data changes data; its files need no branch of simulation."""
    sample = make_sample([make_nano_file(tmp_path / "a.root", 600, 3)])
    plain, with_corrections = EventOptions(), smeared(weights_section)
    one, other = (
        fill(sample, options, tmp_path / str(k)) for k, options in enumerate((plain, with_corrections))
    )
    assert list(other.histograms["mjj"].axes["variation"]) == ["nominal"]
    assert one.outputs[0].read_bytes() == other.outputs[0].read_bytes()
    assert one.cutflow == other.cutflow


def test_merging_samples_with_other_variations(
    tmp_path, simulation_file, simulated, make_nano_file, make_sample
):
    """Where a sample does not vary, its nominal contents stand: all of data, and simulation without scale weights."""
    data = make_sample([make_nano_file(tmp_path / "a.root", 600, 3)], name="data")
    other = make_sample(
        [simulation_file], kind="simulation", name="other", process="other", without_corrections=("scale",)
    )
    options = corrected(jms={"scale": 1.0, "uncertainty": 0.1}, scale=True)
    parts = {
        sample.process: fill(sample, options, tmp_path).histograms for sample in (data, other, simulated)
    }
    merged = merge_histograms(parts.values())["mjj"]
    scales = [f"{name}_{side}" for name in ("mur", "muf", "murf") for side in ("up", "down")]
    assert set(merged.axes["variation"]) == {"nominal", "jms_up", "jms_down", *scales}
    known = {
        "data": ["nominal"],
        "other": ["nominal", "jms_up", "jms_down"],
        "qcd": list(merged.axes["variation"]),
    }
    for process, part in parts.items():
        assert list(part["mjj"].axes["variation"]) == known[process]
        for name in merged.axes["variation"]:
            own = part["mjj"][
                {"process": process, "variation": name if name in known[process] else "nominal"}
            ]
            whole = merged[{"process": process, "variation": name}]
            assert np.array_equal(whole.view(flow=True), own.view(flow=True)), (process, name)
    backward = merge_histograms(list(parts.values())[::-1])["mjj"]
    for name in merged.axes["variation"]:
        assert backward[{"variation": name}] == merged[{"variation": name}]


def test_sample_without_some_corrections(tmp_path, make_nano_file, make_sample, add_correction_branches):
    """A sample without matrix-element weights leaves those out and keeps the others."""

    def change(columns):
        add_correction_branches(columns)
        del columns["LHEScaleWeight"], columns["LHEPdfWeight"]

    path = make_nano_file(tmp_path / "a.root", 400, simulation=True, change=change)
    options = corrected(scale=True, pdf={"kind": "hessian"}, parton_shower=True)
    message = (
        r"no branch LHEScaleWeight \(needed for the μR and μF weights\); no branch LHEPdfWeight \(needed for the "
        r"PDF weights\)"
    )
    with pytest.raises(InputError, match=message):
        fill(make_sample([path], kind="simulation"), options, tmp_path)
    sample = make_sample([path], kind="simulation", without_corrections=("scale", "pdf"))
    axis = fill(sample, options, tmp_path).histograms["mjj"].axes["variation"]
    assert list(axis) == ["nominal", "isr_up", "isr_down", "fsr_up", "fsr_down"]
    wrong = make_sample([path], kind="simulation", without_corrections=("scales",))
    with pytest.raises(
        ConfigError,
        match="sample 'mock': without_corrections names 'scales', which is none; choose among jes,",
    ):
        fill(wrong, options, tmp_path)


def test_corrections_of_stored_jets_need_stored_jets(make_sample, write_corrections, nodes, tmp_path):
    file = write_corrections({"L2": (["JetEta"], nodes["formula"]("1.0", "JetEta"))})
    section = {
        "jes": {"file": str(file), "correction": "L2"},
        "jer": {"resolution": 0.08, "scale_factor": 1.2, "uncertainty": 0.1},
    }
    parsed = CorrectionsConfig.parse(section, "corrections.2017")
    options = EventOptions(jets=JetsConfig(source="particles"), corrections={"2017": parsed})
    sample = make_sample([tmp_path / "a.root"], kind="simulation")
    message = r"corrections\.2017: clustered jets have no raw_factor, gen_jet, .*jets\.source: stored"
    with pytest.raises(ConfigError, match=message):
        run_skim(sample, ProcessingConfig(), options, tmp_path)


def test_missing_generator_jet_is_named(tmp_path, make_nano_file, make_sample, add_correction_branches):
    def change(columns):
        add_correction_branches(columns)
        jets = columns["FatJet"]
        index = ak.to_numpy(ak.flatten(jets["genJetAK8Idx"])).copy()
        index[0] = 99
        columns["FatJet"] = ak.with_field(jets, ak.unflatten(index, ak.num(jets)), "genJetAK8Idx")

    path = make_nano_file(tmp_path / "a.root", 400, simulation=True, change=change)
    options = corrected(jer={"resolution": 0.08, "scale_factor": 1.2, "uncertainty": 0.1})
    message = r"branch FatJet_genJetAK8Idx points to generator jet 99, which is not there in entry \d;"
    with pytest.raises(InputError, match=message):
        skim(make_sample([path], kind="simulation"), options, tmp_path)


def test_wrong_inputs_of_the_trigger_show_before_the_loop(write_corrections, nodes, make_sample, tmp_path):
    content = nodes["category"]("systematic", dict.fromkeys(("nominal", "up", "down"), 1.0))
    file = write_corrections({"trigger": (("HT", "systematic"), content)})
    sample = make_sample([tmp_path / "none.root"], kind="simulation")
    for inputs, message in (
        ({}, "needs the input 'HT', which is not available here; available: .*mjj"),
        ({"HT": "mjj", "pt": "pt_j1"}, r"has no input 'pt' \(key trigger.inputs\)"),
        ({"HT": "mJJ"}, "needs the input 'HT'"),
    ):
        section = CorrectionsConfig.parse(
            {"trigger": {"file": str(file), "name": "trigger", "inputs": inputs}}, "test.yaml"
        )
        with pytest.raises(InputError, match=message):
            EventOptions(corrections={"2017": section}).demand(sample)
    right = {"file": str(file), "name": "trigger", "inputs": {"HT": "mjj"}}
    EventOptions(corrections={"2017": CorrectionsConfig.parse({"trigger": right}, "test.yaml")}).demand(
        sample
    )
