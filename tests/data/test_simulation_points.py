"""Named signal points and ready recipes."""

import pytest

from data.errors import ConfigError
from data.samples import year
from data.sections import read_yaml
from data.simulation.config import SimulationConfig
from data.simulation.points import resolve, signal_points
from data.simulation.processes import Point, Signal
from data.simulation.ready import ready_recipes, recipe_path

# Families and daughters' masses as the CMS search lists its signals, arXiv:2412.03747.
FAMILIES = {
    "qstar": ["25", "80", "170", "400"],
    "wkk": ["170", "400"],
    "wprime_bprime_top": ["25", "80", "170", "400"],
    "zprime_tt": ["400"],
    "yhh": ["400"],
    "xyy": [
        "25_25",
        "25_80",
        "25_170",
        "25_400",
        "80_80",
        "80_170",
        "80_400",
        "170_170",
        "170_400",
        "400_400",
    ],
}


@pytest.mark.parametrize("mass", [2000, 3000, 5000])
def test_there_are_22_points_at_each_mass(mass):
    points = signal_points(mass)
    assert list(points) == [f"{family}_{mass}_{light}" for family, all_ in FAMILIES.items() for light in all_]
    assert len(points) == 22
    assert {point.mass for point in points.values()} == {mass}


def test_a_point_says_its_masses():
    process = resolve(Point(type="point", name="xyy_5000_80_170"))
    assert (process.mass, process.mass_y, process.mass_y_prime) == (5000, 80, 170)
    process = resolve(Point(type="point", name="wprime_bprime_top_2600_25", hadronic_only=True))
    assert (process.mass, process.mass_b_prime, process.hadronic_only) == (2600, 25, True)


def test_labels_leave_out_the_resonance_mass_and_differ():
    labels = [point.label() for point in signal_points(3000).values()]
    assert labels == [point.label() for point in signal_points(5000).values()]
    assert len(set(labels)) == 22


@pytest.mark.parametrize("mass", [900, 20000, 3000.5])
def test_masses_without_points_are_refused(mass):
    with pytest.raises(ConfigError, match="signal points need a whole resonance mass from 1000 to 10000 GeV"):
        signal_points(mass)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("xyy_3000_80_180", "did you mean 'xyy_3000_80_"),
        ("xyy_80_170", "did you mean 'xyy_3000_80_170'"),
        ("zz", r"points at one mass: qstar_3000_25, .*xyy_3000_400_400"),
    ],
)
def test_a_wrong_point_is_named_in_the_recipe(name, hint):
    recipe = {
        "seed": 1,
        "year": "2017",
        "processes": {"sig": {"type": "point", "name": name}},
        "samples": {
            "a": {"process": "sig", "kind": "simulation", "generate": 1, "run": 1, "cross_section_pb": 1}
        },
    }
    with pytest.raises(
        ConfigError, match=rf"r\.yaml: .*process 'sig': no signal point is named '{name}'; {hint}"
    ):
        SimulationConfig.parse(recipe, "r.yaml")


def test_the_ready_recipes_are_valid():
    names = ["backgrounds", "lhco", "mock_26ifb", "signals_2000", "signals_3000", "signals_5000"]
    ready = list(ready_recipes())
    assert ready == sorted(ready)
    assert set(names) <= set(ready)
    for name in ready:
        config = SimulationConfig.parse(read_yaml(recipe_path(name)), name)
        assert year(config.year).sqrt_s == 13000


@pytest.mark.parametrize("mass", [2000, 3000, 5000])
def test_the_ready_signals_are_all_points(mass):
    config = SimulationConfig.parse(read_yaml(recipe_path(f"signals_{mass}")), "signals")
    points = signal_points(mass)
    assert {name: config.process(name) for name in config.samples} == points


def test_the_olympics_are_set_up_as_published():
    # G. Kasieczka et al., "The LHC Olympics 2020", arXiv:2101.08320, section 2.
    config = SimulationConfig.parse(read_yaml(recipe_path("lhco")), "lhco")
    assert (config.jets.radius, config.generator.multiparton_interactions) == (1.0, False)
    assert (config.skim.leading_pt_min, config.skim.leading_eta_max) == (1200, 2.5)
    signals = [config.process(name) for name in ("two_prong", "three_prong")]
    assert all(isinstance(signal, Signal) for signal in signals)
    assert [(s.mass, s.mass_y, s.mass_y_prime, s.prongs) for s in signals] == [
        (3500, 500, 100, n) for n in (2, 3)
    ]


def test_a_file_wins_over_a_ready_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lhco").write_text("seed: 1\n")
    assert recipe_path("lhco").resolve() == tmp_path / "lhco"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lhc0", r"recipe 'lhc0' is neither .* did you mean 'lhco'\? ready recipes: backgrounds, lhco"),
        ("zz.yaml", r"recipe 'zz.yaml' is neither a file nor a ready recipe; ready recipes: backgrounds"),
    ],
)
def test_a_wrong_recipe_lists_the_ready_ones(name, message):
    with pytest.raises(ConfigError, match=message):
        recipe_path(name)
