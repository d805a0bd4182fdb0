"""Signal shape at any mass: double Crystal Balls fitted to simulation, interpolated with their errors."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy.interpolate import make_interp_spline

from analysis.crystal_ball import SHAPE_NAMES, DoubleCrystalBall
from analysis.signal_fit import ShapeFit
from analysis.signal_template import JER, JES, SignalTemplate, shift_sizes, template_of
from data.errors import InputError
from data.types import FloatArray


class SignalModel:
    """Shape of the signal at any mass, from fits at one or several simulated masses.

    With one shape the mean and σ scale with the mass and the tails stay. With several, mean/mass and
    σ/mass follow a spline through the points (cubic from four points on, of degree points − 1 below) and the
    tail parameters a straight line fitted to them (arXiv:2412.03747); outside the simulated masses they keep
    their values at the nearest end.

    Parameters
    ----------
    shapes
        Shape by simulated mass in GeV.
    errors
        Standard errors of each shape by mass and parameter, as `fit_signal_shape` gives them; none if left out.
    scales
        The shape is meant for all masses, not for those given only (`extrapolated`).

    Raises
    ------
    InputError
        If there is no shape, a mass is not positive, or there are errors of a mass without shape.
    """

    def __init__(
        self,
        shapes: Mapping[float, DoubleCrystalBall],
        errors: Mapping[float, Mapping[str, float]] | None = None,
        *,
        scales: bool = False,
    ) -> None:
        if not shapes or min(shapes) <= 0:
            given = ", ".join(f"{mass:g} GeV" for mass in shapes) or "no mass"
            msg = f"signal model: there are shapes at {given}; give one at least, all at positive masses"
            raise InputError(msg)
        self.shapes = dict(sorted((float(mass), shape) for mass, shape in shapes.items()))
        self._scales = scales
        self._masses = np.asarray(list(self.shapes))
        table = np.asarray([dataclasses.astuple(shape) for shape in self.shapes.values()])
        table[:, :2] /= self._masses[:, None]
        self._table = table
        self.errors = _checked_errors(self.shapes, errors or {})
        self._error_table = np.asarray(
            [[self.errors[mass].get(name, 0.0) for name in SHAPE_NAMES] for mass in self.shapes]
        )
        self._error_table[:, :2] /= self._masses[:, None]

    @classmethod
    def generic(
        cls,
        mean_over_mass: float = 1.0,
        sigma_over_mass: float = 0.05,
        alpha_low: float = 1.2,
        n_low: float = 5.0,
        alpha_high: float = 1.5,
        n_high: float = 10.0,
    ) -> "SignalModel":
        """Narrow resonance without simulation: a core of 5 % width with tails as of gluon radiation.

        Parameters
        ----------
        mean_over_mass, sigma_over_mass
            Mean and width σ of the core, over the mass.
        alpha_low, alpha_high
            Distances in σ from the mean at which the tails begin.
        n_low, n_high
            Exponents of the tails.

        Returns
        -------
        SignalModel
            For all masses.
        """
        mass = 1000.0
        core = (mean_over_mass * mass, sigma_over_mass * mass)
        return cls({mass: DoubleCrystalBall(*core, alpha_low, n_low, alpha_high, n_high)}, scales=True)

    @classmethod
    def fitted(cls, fits: Iterable[ShapeFit]) -> "SignalModel":
        """Model of shapes fitted to simulation, with their errors."""
        fits = list(fits)
        return cls({fit.mass: fit.shape for fit in fits}, {fit.mass: fit.errors for fit in fits})

    def at(self, mass: float) -> DoubleCrystalBall:
        """Shape at a mass.

        Tails stay between the smallest and the largest of the simulated masses: where some have next to none, their
        exponent is only known to be large, and the straight line through all would turn negative.

        Parameters
        ----------
        mass
            In GeV.

        Returns
        -------
        DoubleCrystalBall
            Mean and σ in GeV.
        """
        core, tails = self._shares(mass)
        mean, sigma = (float(value) * mass for value in core @ self._table[:, :2])
        known = self._table[:, 2:]
        kept = np.clip(tails @ known, known.min(axis=0), known.max(axis=0))
        return DoubleCrystalBall(mean, sigma, *(float(value) for value in kept))

    def errors_at(self, mass: float) -> dict[str, float]:
        """Standard errors of the shape at a mass, those of the simulated masses propagated.

        Every parameter is a linear function of those at the simulated masses, which are independent samples.

        Parameters
        ----------
        mass
            In GeV.

        Returns
        -------
        dict of str to float
            By parameter; those of mean and σ in GeV.
        """
        core, tails = self._shares(mass)
        scaled = mass * np.hypot.reduce(core[:, None] * self._error_table[:, :2], axis=0)
        plain = np.hypot.reduce(tails[:, None] * self._error_table[:, 2:], axis=0)
        return dict(zip(SHAPE_NAMES, [float(value) for value in (*scaled, *plain)], strict=True))

    def _shares(self, mass: float) -> tuple[FloatArray, FloatArray]:
        """Shares of the simulated masses in mean/mass and σ/mass, and in the tail parameters, at a mass."""
        known = self._masses
        if known.size == 1:
            return np.ones(1), np.ones(1)
        inside = float(np.clip(mass, known[0], known[-1]))
        unit = np.eye(known.size)
        core = make_interp_spline(known, unit, k=min(3, known.size - 1))(inside)
        slope, offset = np.polyfit(known, unit, 1)
        return np.asarray(core), np.asarray(slope * inside + offset)

    def extrapolated(self, mass: float) -> str | None:
        """What to know of the shape at a mass outside those that have one.

        Parameters
        ----------
        mass
            In GeV.

        Returns
        -------
        str or None
            None inside.
        """
        first, last = self._masses[[0, -1]]
        if self._scales or first * (1 - 1e-9) <= mass <= last * (1 + 1e-9):
            return None
        known = f"{first:g} GeV" if first == last else f"{first:g} to {last:g} GeV"
        return f"the signal shape is extrapolated: shapes are given at {known} only"

    def width(self, mass: float) -> float:
        """Width σ of the core.

        Parameters
        ----------
        mass
            In GeV.

        Returns
        -------
        float
            In GeV.
        """
        return self.at(mass).sigma

    def template(
        self,
        mass: float,
        edges: FloatArray,
        *,
        nuisances: bool = False,
        jes: float = JES,
        jer: float = JER,
        norm_uncertainty: float = 0.0,
    ) -> SignalTemplate:
        """Fractions of the signal in bins, with its uncertainties.

        The jet energy scale moves the mean, the resolution scales σ (arXiv:2412.03747), each in quadrature with the
        statistical error that the fits to simulation have of that parameter; the errors of the tails are left out, as
        the core's are those of a fit in which the tails were free.

        Parameters
        ----------
        mass
            In GeV.
        edges
            In GeV, shape (n + 1,).
        nuisances
            Whether the uncertainties of the shape, ``jes`` and ``jer``, are in it.
        jes, jer
            Relative uncertainties of the mean and of σ.
        norm_uncertainty
            Relative uncertainty of the normalisation.

        Returns
        -------
        SignalTemplate
            Its nominal fractions have unit sum inside the edges; the varied ones keep the nominal's normalisation (see
            `template_of`).

        Raises
        ------
        FitError
            If less than a tenth of the signal lies inside the edges.
        InputError
            If an uncertainty is outside its range.
        """
        shape = self.at(mass)
        shifted = {}
        if nuisances:
            errors = self.errors_at(mass)
            sizes = shift_sizes(jes, jer, errors["mean"] / shape.mean, errors["sigma"] / shape.sigma)
            for name, size in sizes.items():
                key = "mean" if name == "jes" else "sigma"
                moved = [
                    dataclasses.replace(shape, **{key: getattr(shape, key) * (1 + sign * size)})
                    for sign in (1, -1)
                ]
                shifted[name] = (moved[0].cdf, moved[1].cdf)
        what = f"signal of mean {shape.mean:g} GeV"
        return template_of(shape.cdf, edges, shifted, norm_uncertainty=norm_uncertainty, what=what)

    def to_dict(self) -> dict[str, Any]:
        """Shapes by mass, as plain values for JSON, each with its ``errors`` where it has any."""
        return {
            f"{mass:g}": {
                **dataclasses.asdict(shape),
                **({"errors": dict(self.errors[mass])} if self.errors[mass] else {}),
            }
            for mass, shape in self.shapes.items()
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], source: str = "signal") -> "SignalModel":
        """Read what `to_dict` gave, or the one-shape form with ``mean_over_mass`` and ``sigma_over_mass``.

        Parameters
        ----------
        mapping
            ``{"2000": {"mean": …, "sigma": …, "alpha_low": …, …, "errors": {"mean": …, …}}, …}`` in GeV, the errors as
            wanted, or ``{"shape": "double_crystal_ball", "mean_over_mass": 1.0, "sigma_over_mass": 0.05, …}``.
        source
            Where the mapping comes from, for messages.

        Raises
        ------
        InputError
            If a key is missing, unknown or not a number, or a mass stands twice.
        """
        try:
            if "shape" in mapping:
                if mapping["shape"] != "double_crystal_ball":
                    msg = f"{source}: shape '{mapping['shape']}' is unknown; give 'double_crystal_ball'"
                    raise InputError(msg)
                return cls.generic(**{key: float(value) for key, value in mapping.items() if key != "shape"})
            shapes, errors = {}, {}
            for text, row in mapping.items():
                mass = float(text)
                if not math.isfinite(mass) or mass in shapes:
                    msg = f"{source}: mass '{text}' is not finite or stands twice; give each mass (GeV) once"
                    raise InputError(msg)
                numbers = {key: float(value) for key, value in row.items() if key != "errors"}
                shapes[mass] = DoubleCrystalBall(**numbers)
                errors[mass] = {key: float(value) for key, value in dict(row.get("errors", {})).items()}
        except (TypeError, ValueError, AttributeError) as error:
            msg = f"{source}: not a signal shape ({error}); give {', '.join(SHAPE_NAMES)} for every mass"
            raise InputError(msg) from None
        return cls(shapes, errors)


def _checked_errors(
    shapes: Mapping[float, DoubleCrystalBall], errors: Mapping[float, Mapping[str, float]]
) -> dict[float, dict[str, float]]:
    """Errors of every shape, empty where there are none."""
    found = {float(mass): dict(row) for mass, row in errors.items()}
    without = sorted(set(found) - set(shapes))
    if without:
        msg = f"signal model: errors of {without[0]:g} GeV, where there is no shape; give the shape too"
        raise InputError(msg)
    for mass, row in found.items():
        for name, value in row.items():
            if name not in SHAPE_NAMES or not (math.isfinite(value) and value >= 0):
                msg = (
                    f"signal model, {mass:g} GeV: the error {name} = {value:g} is none; give errors of "
                    f"{', '.join(SHAPE_NAMES)}, finite and not negative"
                )
                raise InputError(msg)
    return {mass: found.get(mass, {}) for mass in shapes}
