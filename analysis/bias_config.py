"""Configuration of the study of biases."""

import pydantic

from data.sections import Section


class BiasConfig(Section):
    """How biases are looked for.

    Parameters
    ----------
    alternatives
        Functions that toys are drawn from.
    injections
        Signals injected, in units of the expected error of the yield without signal.
    toys, seed
        Toys for each function, mass and injection, and their seed.
    max_pull
        Pulls beyond are left out of mean and width, and counted.
    max_mean_pull
        Mean pull that passes.
    max_spurious
        Spurious signal, relative to its error, that passes.
    """

    alternatives: tuple[str, ...] = pydantic.Field(
        default=("alternative1", "alternative2", "alternative3", "alternative4"), min_length=1
    )
    injections: tuple[float, ...] = pydantic.Field(default=(0.0, 2.0, 5.0), min_length=1)
    toys: int = pydantic.Field(default=200, ge=10)
    seed: int = pydantic.Field(default=0, ge=0)
    max_pull: float = pydantic.Field(default=5.0, gt=0)
    max_mean_pull: float = pydantic.Field(default=0.5, gt=0)
    max_spurious: float = pydantic.Field(default=0.2, gt=0)
