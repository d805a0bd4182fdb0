"""Checks of the options that several observables take."""

import numpy as np

from data.errors import ConfigError


def are_counts(values: object) -> bool:
    """Whether there is at least one number, and all are integers (by type, not only by value) of at least 1."""
    numbers = np.asarray(values)
    return numbers.dtype.kind in "iu" and bool(numbers.size) and bool(numbers.min() >= 1)


def check_counts(**options: object) -> None:
    """Refuse options that are not one integer of at least 1.

    Parameters
    ----------
    **options
        Name of an option to its value.

    Raises
    ------
    ConfigError
        Naming the first such option and its value.
    """
    for name, value in options.items():
        if np.ndim(value) or not are_counts(value):  # type: ignore[arg-type]
            msg = f"{name} = {value!r} must be an integer of at least 1"
            raise ConfigError(msg)


def check_positive(**options: float) -> None:
    """Refuse options that are not positive numbers.

    Parameters
    ----------
    **options
        Name of an option to its value.

    Raises
    ------
    ConfigError
        Naming the first such option and its value.
    """
    for name, value in options.items():
        if not (np.isfinite(value) and value > 0):
            msg = f"{name} = {value!r} must be a positive number"
            raise ConfigError(msg)


def check_soft_drop(z_cut: float, beta: float, R0: float) -> None:
    """Refuse options of soft drop that are out of range.

    Parameters
    ----------
    z_cut, beta
        Threshold, in [0, 0.5], and angular exponent, finite.
    R0
        Jet radius (rad), positive.

    Raises
    ------
    ConfigError
        Naming the first such option and its value.
    """
    if not 0.0 <= z_cut <= 0.5:
        msg = f"z_cut = {z_cut!r} must lie in [0, 0.5]"
        raise ConfigError(msg)
    if not np.isfinite(beta):
        msg = f"beta = {beta!r} must be a finite number"
        raise ConfigError(msg)
    check_positive(R0=R0)
