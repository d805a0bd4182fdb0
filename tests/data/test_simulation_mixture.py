"""Mock data of a luminosity as a mixture of backgrounds, with a signal put in by its cross section."""

import numpy as np
import pytest
import uproot

from data.errors import ConfigError
from data.samples import read_samples
from data.simulation import generator, run
from data.simulation.config import SimulationConfig
from data.simulation.run import plan, simulate

pytest.importorskip("pythia8mc", reason="the extra [simulation] is not installed")

LUMINOSITY = 0.4
RECIPE = {
    "seed": 8,
    "year": "2017",
    "generator": {"multiparton_interactions": False, "block": 20},
    "processes": {
        "qcd": {
            "type": "qcd",
            "mhat_edges": [3900, 4500],
            "early_veto": {"mjj_min": 3000, "delta_eta_max": 1.8},
        },
        "ttbar": {"type": "ttbar", "mhat_edges": [2300]},
        "vjets": {"type": "vjets", "mhat_edges": [2300]},
        "single_top": {"type": "single_top", "mhat_edges": [1500]},
        "signal": {"type": "point", "name": "wkk_3000_400", "hadronic_only": True},
    },
    "samples": {
        "mock": {
            "kind": "data",
            "mixture": ["qcd", "ttbar", "vjets", "single_top"],
            "luminosity_ifb": LUMINOSITY,
            "inject": {"process": "signal", "cross_section_pb": 0.03},
            "run": 9,
            "files": 2,
        },
        "signal": {
            "process": "signal",
            "kind": "simulation",
            "generate": 60,
            "run": 3,
            "cross_section_pb": 0.001,
        },
    },
}


def parse(**changes):
    return SimulationConfig.parse({**RECIPE, **changes}, "recipe")


@pytest.fixture(scope="module", autouse=True)
def _short_surveys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "_SURVEY_EVENTS", 1500)
        patch.setattr(generator, "_SURVEY_PASSED", 200)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("mixture")
    simulate(parse(), out)
    return out


def read(out, name, *fields):
    parts = []
    for path in sorted(out.glob(f"{name}_*.root")):
        with uproot.open(path) as file:
            parts.append(file["Events"].arrays(fields))
    return parts


def test_each_background_has_the_events_of_its_cross_section():
    config = parse()
    planned = dict.fromkeys(RECIPE["processes"], 0)
    for block in plan(config)["mock"]:
        planned[block.process] += block.n_events
    for name in ("qcd", "ttbar", "vjets", "single_top"):
        process = config.process(name)
        cross_section = sum(run._surveyed(process, 13000.0, config.generator))
        assert planned[name] == round(1000 * cross_section * LUMINOSITY)
    assert planned["signal"] == 20  # 12 events, in whole blocks


def test_slices_behind_an_early_veto_are_mixed_by_what_passes_it():
    # A veto far above the first slice leaves hardly anything of it, although it has ten times the partons.
    process = {
        "type": "qcd",
        "mhat_edges": [2000, 3000],
        "early_veto": {"mjj_min": 2950, "delta_eta_max": 1.8},
    }
    sample = {"process": "qcd", "kind": "data", "generate": 1000, "run": 1}
    blocks = plan(parse(processes={"qcd": process}, samples={"mock": sample}))["mock"]
    first, second = (sum(b.n_events for b in blocks if b.slice_index == i) for i in (0, 1))
    assert first + second == 1000
    assert first < 0.5 * second


def test_the_file_holds_the_mixture(made):
    label = np.concatenate(
        [part["Generator_label"].to_numpy() for part in read(made, "mock", "Generator_label")]
    )
    planned = dict.fromkeys((0, -1, -2, -3), 0)
    config = parse()
    for block in plan(config)["mock"]:
        if block.role == "main":
            planned[config.process(block.process).number] += block.n_events
    for number, total in planned.items():
        # The skim, 200 GeV for both jets, lets nearly all of these hard events pass.
        assert 0.8 * total <= np.sum(label == number) <= total
        assert total >= 8
    assert 9 <= np.sum(label == 1) <= 12
    assert len(set(label[: len(label) // 3].tolist())) >= 3


def test_mock_data_look_like_data(made):
    sample = read_samples(made / "samples.yaml")["mock"]
    assert (sample.kind, sample.process, sample.luminosity()) == ("data", "data", LUMINOSITY)
    for path in sample.files:
        with uproot.open(path) as file:
            assert not {"genWeight", "Generator_lepton"} & set(file["Events"].keys())


def test_the_light_jet_of_w_kk_is_a_w(made):
    (found,) = read(made, "signal", "FatJet_msoftdrop", "Generator_lepton", "Generator_label")
    assert set(found["Generator_label"].to_list()) == {1}
    assert not any(found["Generator_lepton"].to_list())
    mass = found["FatJet_msoftdrop"][:, :2].to_numpy()
    # W and R of 3 TeV stand back to back; soft drop loses a prong of some, most peak at what they come from.
    assert np.mean((mass.min(axis=1) > 60) & (mass.min(axis=1) < 95)) > 0.45
    assert np.mean((mass.max(axis=1) > 300) & (mass.max(axis=1) < 430)) > 0.4


def test_two_workers_give_the_same_bytes(made, tmp_path):
    simulate(parse(samples={"signal": RECIPE["samples"]["signal"]}), tmp_path, workers=2)
    assert (tmp_path / "signal_0.root").read_bytes() == (made / "signal_0.root").read_bytes()


def test_too_little_luminosity_is_refused():
    sample = {"kind": "data", "mixture": ["ttbar"], "luminosity_ifb": 1e-9, "run": 1}
    with pytest.raises(ConfigError, match="sample 'mock': no event in 1e-09 fb⁻¹; raise 'luminosity_ifb'"):
        plan(parse(samples={"mock": sample}))


MOCK = {k: v for k, v in RECIPE["samples"]["mock"].items() if k != "inject"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"luminosity_ifb": None}, "give either 'process' and 'generate', or 'mixture' and 'luminosity_ifb'"),
        ({"process": "qcd"}, "give either 'process' and 'generate'"),
        ({"kind": "simulation"}, "a mixture is mock data: set 'kind: data'"),
        ({"mixture": ["qcd", "signal"]}, "'mixture' takes different backgrounds; put a signal into 'inject'"),
        ({"mixture": ["qcd", "qcd"]}, "'mixture' takes different backgrounds"),
        ({"mixture": ["qdc"]}, "sample 'mock' needs process 'qdc', which is not in 'processes'"),
        ({"inject": {"process": "none", "cross_section_pb": 1}}, "needs process 'none'"),
        ({"inject": {"process": "signal", "cross_section_pb": 1e-6}}, "'inject' gives less than one event"),
        (
            {
                "inject": {"process": "signal", "cross_section_pb": 1},
                "plant": {"process": "signal", "generated": 3},
            },
            "'inject' needs a mixture and no 'plant'",
        ),
    ],
)
def test_inconsistent_mixtures_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        parse(samples={"mock": {**MOCK, **changes}})
