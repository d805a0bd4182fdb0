"""Ratio maps of the Lund plane, data over simulation, and their JSON document (CMS, arXiv:2507.07775)."""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pydantic

from data.errors import ConfigError, InputError
from data.files import atomic_path, read_json
from data.sections import Number, Section
from data.types import FloatArray, IntArray
from processors.lund import LN_KT_RANGE, LN_R0_DELTA_RANGE

History = Literal["cambridge", "kt"]
Edges = tuple[float, ...]
PT_EDGES: Edges = (10.0, 65.0, 110.0, 175.0, 240.0, 300.0)
"""Lower edges (GeV) of the bins in the subjets' pT; the last bin has no upper end."""
PT_RANGE = (15.0, 350.0)
"""Subjets beyond this range in pT (GeV) take the extrapolation in 1/pT."""
LN_R0_DELTA_EDGES: Edges = tuple(np.linspace(*LN_R0_DELTA_RANGE, 21).tolist())
LN_KT_EDGES: Edges = tuple(np.linspace(*LN_KT_RANGE, 21).tolist())
R0 = 0.8
DELTA_MIN, KT_MIN = 0.005, 0.02
"""Splittings of a smaller angle (rad) or transverse momentum (GeV) are not reweighted."""
FACTOR_LIMITS = (0.2, 5.0)
"""The factor of one splitting is clipped to this range."""
FORMAT = "oddjet Lund-plane ratio maps 1"

_Number = Annotated[Number, pydantic.Field(ge=0)]
_Plane = list[list[_Number | None]]
_Coefficients = Annotated[list[Number], pydantic.Field(min_length=3, max_length=3)]
_Covariance = Annotated[list[_Coefficients], pydantic.Field(min_length=3, max_length=3)]


@dataclass(frozen=True)
class Binning:
    """Bins of the subjets' pT and of the plane; the default is CMS's.

    Attributes
    ----------
    pt_edges
        Lower edges (GeV) of the bins in pT; the last has no upper end.
    ln_r0_delta, ln_kt
        Edges in ln(0.8/Δ) and ln(kT/GeV).
    pt_range
        Range of pT (GeV) in which the bins hold; beyond it factors are extrapolated.
    """

    pt_edges: Edges = PT_EDGES
    ln_r0_delta: Edges = LN_R0_DELTA_EDGES
    ln_kt: Edges = LN_KT_EDGES
    pt_range: tuple[float, float] = PT_RANGE

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of bins in pT, ln(0.8/Δ) and ln kT."""
        return len(self.pt_edges), len(self.ln_r0_delta) - 1, len(self.ln_kt) - 1

    def cells(self, delta: FloatArray, kt: FloatArray) -> IntArray:
        """Cell of each splitting in the flattened plane.

        Parameters
        ----------
        delta, kt
            Angle (rad) and transverse momentum (GeV), shape (n,).

        Returns
        -------
        array (n,) of int64
            −1 for one that is too soft, too narrow or outside.
        """
        kept = (delta >= DELTA_MIN) & (kt >= KT_MIN)
        x = np.log(R0 / np.where(kept, delta, R0))
        y = np.log(np.where(kept, kt, 1.0))
        i = np.searchsorted(self.ln_r0_delta, x, side="right") - 1
        j = np.searchsorted(self.ln_kt, y, side="right") - 1
        _, n_x, n_y = self.shape
        inside = kept & (i >= 0) & (i < n_x) & (j >= 0) & (j < n_y)
        return np.where(inside, i * n_y + j, -1).astype(np.int64)

    def planes(self, pt: FloatArray) -> IntArray:
        """Bin of each subjet's transverse momentum.

        Parameters
        ----------
        pt
            GeV, shape (n,).

        Returns
        -------
        array (n,) of int64
            0 below the first edge.
        """
        return np.maximum(np.searchsorted(self.pt_edges, pt, side="right") - 1, 0).astype(np.int64)

    def measured_planes(self, pt: FloatArray) -> IntArray:
        """Bin of each subjet's transverse momentum within ``pt_range``.

        Parameters
        ----------
        pt
            GeV, shape (n,).

        Returns
        -------
        array (n,) of int64
            −1 below the range and −2 above.
        """
        low, high = self.pt_range
        return np.where(pt < low, -1, np.where(pt > high, -2, self.planes(pt)))


@dataclass(frozen=True)
class RatioMaps:
    """Ratios of the Lund planes of data and simulation, each per subjet.

    Attributes
    ----------
    binning
        Bins of subjet pT, ln(0.8/Δ), ln kT: shape (P, X, Y).
    history
        Clustering whose history gives the splittings of a subjet.
    ratio, error : array (P, X, Y)
        Ratio and its statistical error; 1 ± 1 in empty bins.
    up, down : array (P, X, Y)
        Ratio with all systematic uncertainties together.
    coefficients, covariance : array (X, Y, 3), (X, Y, 3, 3)
        c0 + c1/pT + c2/pT² of the ratio in each bin of the plane (powers of GeV), and their covariance.
    mean_weight : array (P,)
        Mean product of ratios over the simulated subjets that the maps are made of, by which subjets' weights are
        divided; 1 leaves them as they are.
    b_to_light : array (P, X, Y) or None
        Ratio of the planes of b and light subjets in simulation; 1 in empty bins.
    simulated : array (P, X, Y) or None
        Splittings a subjet of the simulation that the maps are made of.
    description : str
        What they are made of.
    """

    binning: Binning
    history: History
    ratio: FloatArray
    error: FloatArray
    up: FloatArray
    down: FloatArray
    coefficients: FloatArray
    covariance: FloatArray
    mean_weight: FloatArray
    b_to_light: FloatArray | None = None
    simulated: FloatArray | None = None
    description: str = ""


class ExtrapolationSection(Section):
    """Polynomials in 1/pT for subjets beyond a range in pT."""

    pt_range: tuple[float, float]
    """Range (GeV) in which the bins hold."""
    coefficients: list[list[_Coefficients]]
    """For each bin in ln(0.8/Δ) and ln kT: c0, c1, c2 of c0 + c1/pT + c2/pT²; 0 beyond the order of the fit."""
    covariance: list[list[_Covariance]]
    """For each bin their covariance, 3 × 3."""

    @pydantic.model_validator(mode="after")
    def _ascending(self) -> Self:
        if not 0 < self.pt_range[0] < self.pt_range[1]:
            msg = f"pt_range {list(self.pt_range)} must be two ascending numbers above 0"
            raise ValueError(msg)
        return self


class MapsSection(Section):
    """The JSON document of ratio maps; tables are pT bin × ln(0.8/Δ) bin × ln kT bin, null in empty bins."""

    format: Literal["oddjet Lund-plane ratio maps 1"]
    description: str = ""
    history: History = "cambridge"
    """Clustering whose history gives the splittings of a subjet: Cambridge/Aachen or kT."""
    pt_edges: Edges = PT_EDGES
    """Lower edges (GeV) of the bins in the subjets' pT; the last has no upper end."""
    ln_r0_delta: Edges
    ln_kt: Edges
    ratio: list[_Plane]
    """Data over simulation, each per subjet."""
    error: list[_Plane]
    """Statistical error of ``ratio``."""
    up: list[_Plane]
    """``ratio`` with all systematic uncertainties up."""
    down: list[_Plane]
    extrapolation: ExtrapolationSection
    mean_weight: list[Annotated[Number, pydantic.Field(gt=0)]] | None = None
    """Mean weight of simulated subjets in each bin of pT, by which weights are divided; absent: 1."""
    b_to_light: list[_Plane] | None = None
    """Planes of b over light subjets in simulation; absent: no uncertainty of b quarks can be had."""
    simulated: list[_Plane] | None = None
    """Splittings a subjet in simulation; absent: no uncertainty of distortion can be had."""

    @pydantic.field_validator("pt_edges", "ln_r0_delta", "ln_kt")
    @classmethod
    def _ascending(cls, edges: Edges) -> Edges:
        if len(edges) < 1 or any(not low < high for low, high in itertools.pairwise(edges)):
            msg = f"edges must ascend, found {list(edges)}"
            raise ValueError(msg)
        return edges

    def maps(self) -> RatioMaps:
        """The maps as arrays.

        Raises
        ------
        InputError
            If a table has not the shape of the edges, or a covariance is none.
        """
        binning = Binning(self.pt_edges, self.ln_r0_delta, self.ln_kt, self.extrapolation.pt_range)
        shape = binning.shape
        ratio = _table("ratio", self.ratio, shape, 1.0)
        covariance = _array("extrapolation.covariance", self.extrapolation.covariance, (*shape[1:], 3, 3))
        _check_covariance(covariance)
        mean = self.mean_weight
        return RatioMaps(
            binning,
            self.history,
            ratio,
            _table("error", self.error, shape, 1.0),
            _table("up", self.up, shape, 1.0),
            _table("down", self.down, shape, 1.0),
            _array("extrapolation.coefficients", self.extrapolation.coefficients, (*shape[1:], 3)),
            covariance,
            np.ones(shape[0]) if mean is None else _array("mean_weight", mean, shape[:1]),
            None if self.b_to_light is None else _table("b_to_light", self.b_to_light, shape, 1.0),
            None if self.simulated is None else _table("simulated", self.simulated, shape, 0.0),
            self.description,
        )


def read_ratio_maps(path: Path) -> RatioMaps:
    """Read ratio maps.

    Parameters
    ----------
    path
        JSON document as of `write_ratio_maps`; its keys are those of `MapsSection`.

    Returns
    -------
    RatioMaps

    Raises
    ------
    InputError
        If the file cannot be read or is no such document; the message names file, key and remedy.
    """
    content = read_json(path)
    if isinstance(content, dict) and content.get("format") != FORMAT:
        msg = f"{path}: key 'format' is {content.get('format')!r}, not '{FORMAT}'; give ratio maps as oddjet writes them"
        raise InputError(msg)
    try:
        return MapsSection.parse(content, str(path)).maps()
    except ConfigError as error:
        raise InputError(str(error)) from None
    except InputError as error:
        msg = f"{path}: {error}"
        raise InputError(msg) from None


def write_ratio_maps(path: Path, maps: RatioMaps) -> None:
    """Write ratio maps as a JSON document; equal maps give equal bytes."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "description": maps.description,
        "history": maps.history,
        "pt_edges": maps.binning.pt_edges,
        "ln_r0_delta": maps.binning.ln_r0_delta,
        "ln_kt": maps.binning.ln_kt,
        "extrapolation": {
            "pt_range": maps.binning.pt_range,
            "coefficients": maps.coefficients.tolist(),
            "covariance": maps.covariance.tolist(),
        },
        "mean_weight": maps.mean_weight.tolist(),
    }
    tables = ("ratio", "error", "up", "down", "b_to_light", "simulated")
    content |= {name: table.tolist() for name in tables if (table := getattr(maps, name)) is not None}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")


def _table(key: str, values: list[_Plane], shape: tuple[int, ...], empty: float) -> FloatArray:
    """A table with numbers instead of null."""
    filled = [[[empty if x is None else x for x in row] for row in plane] for plane in values]
    return _array(key, filled, shape)


def _array(key: str, values: object, shape: tuple[int, ...]) -> FloatArray:
    try:
        array: FloatArray | None = np.asarray(values, dtype=np.float64)
    except ValueError:
        array = None
    if array is None or array.shape != shape:
        wanted = " × ".join(map(str, shape))
        found = (
            "rows of different lengths" if array is None else " × ".join(map(str, array.shape)) + " numbers"
        )
        msg = (
            f"key '{key}' holds {found} where the edges make {wanted} numbers; correct the table or the edges"
        )
        raise InputError(msg)
    return array


def _check_covariance(covariance: FloatArray) -> None:
    """Refuse matrices that are not symmetric with no negative eigenvalue, rounding aside."""
    size = np.sqrt(np.abs(np.diagonal(covariance, axis1=-2, axis2=-1)))
    scale = np.where(size > 0, size, 1.0)
    unit = covariance / (scale[..., :, None] * scale[..., None, :])
    bad = np.abs(unit - np.swapaxes(unit, -1, -2)).max(axis=(-1, -2)) > 1e-6
    bad |= np.linalg.eigvalsh(unit).min(axis=-1) <= -1e-6
    if bad.any():
        i, j = np.argwhere(bad)[0]
        msg = (
            f"key 'extrapolation.covariance' is no covariance in bin [{i}][{j}]: not symmetric, or a negative variance; "
            "make the maps again"
        )
        raise InputError(msg)
