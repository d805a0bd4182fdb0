"""Further lines for Pythia in a recipe."""

import numpy as np
import pytest

from data.errors import ConfigError
from data.simulation.config import Generator
from data.simulation.generator import generate
from data.simulation.processes import Signal
from data.simulation.pythia_settings import process_settings
from data.simulation.signals.xyy import Xyy

PROCESS = Xyy(type="xyy", mass=900.0, mass_y=80.4, mass_y_prime=80.4)


def multiplicity(*lines):
    pytest.importorskip("pythia8mc")
    options = Generator(multiparton_interactions=False, settings=lines)
    made = generate(PROCESS, (0.0, -1.0), 40, 3, 13000.0, options)
    return np.bincount(made.stable.event, minlength=40)


def test_lines_reach_pythia_after_all_others():
    plain, strong, none = (multiplicity(*lines) for lines in ((), ("TimeShower:alphaSvalue = 0.25",), ("HadronLevel:all = off",)))  # fmt: skip
    assert strong.mean() > 1.2 * plain.mean()
    assert none.mean() < 0.5 * plain.mean()


@pytest.mark.parametrize("line", ["Random:seed = 7", " random:setSeed = off"])
def test_blocks_keep_their_own_seeds(line):
    with pytest.raises(ConfigError, match="would give every block the same events"):
        Generator.parse({"settings": [line]}, "recipe.yaml")


def test_a_line_that_pythia_does_not_know():
    with pytest.raises(
        ConfigError, match="pythia8 refuses the setting 'TimeShower:alphaSvalu = 1'; correct the recipe"
    ):
        multiplicity("TimeShower:alphaSvalu = 1")


def test_a_process_without_settings_is_refused():
    class Forgotten(Signal):
        def label(self):
            return "forgotten"

    with pytest.raises(
        ConfigError,
        match=r"process Forgotten has no settings for Pythia; give them in its file, by a function",
    ):
        process_settings(Forgotten(mass=3000), (0.0, -1.0))
