r"""Falling functions of the dijet mass, integrated over bins, in an orthogonalised parametrisation.

With x = m/√s, ``dijetK`` has K shape parameters and a free normalisation::

    dijet2   (1 − x)^p1 / x^p2
    dijet3   (1 − x)^p1 / x^(p2 + p3 ln x)
    dijet4   (1 − x)^p1 / x^(p2 + p3 ln x + p4 ln² x)
    dijet5   exp(−p5 x) · dijet4

(CMS, arXiv:1911.03947 and arXiv:2412.03747). All are log-linear: ln f = ln p0 + Σ p_k T_k(m).
"""

import math
from typing import Protocol

import numpy as np

from data.errors import FitError, InputError
from data.types import FloatArray

SQRT_S = 13000.0
"""Default centre-of-mass energy in GeV."""
MAX_SHAPE = 5
"""Shape parameters of the largest function of the family."""


class BackgroundModel(Protocol):
    """A background expectation in bins with parameters that may be fitted."""

    @property
    def n_parameters(self) -> int:
        """Number of parameters, the normalisation included."""
        ...

    def expected(self, theta: FloatArray) -> FloatArray:
        """Expected events a bin, shape (…, n), for parameters of shape (…, n_parameters)."""
        ...

    def expected_and_jacobian(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Expected events a bin, shape (…, n), and their derivatives, shape (…, n, n_parameters)."""
        ...


def function_name(n_shape: int) -> str:
    """Name of the function with ``n_shape`` shape parameters, as in the results."""
    return f"dijet{n_shape}"


def log_terms(mass: FloatArray, n_shape: int, sqrt_s: float = SQRT_S) -> FloatArray:
    """Terms T_k(m) that the published parameters p1 … pK multiply in ln f.

    Parameters
    ----------
    mass
        Dijet mass in GeV, shape (n,).
    n_shape
        K, 2 to 5.
    sqrt_s
        Centre-of-mass energy in GeV.

    Returns
    -------
    FloatArray
        Shape (n, K): ln(1 − x), −ln x, −ln² x, −ln³ x, −x.

    Raises
    ------
    FitError
        If K is not 2 to 5 or a mass is not between 0 and √s, where the functions have their zeros.
    """
    if not 2 <= n_shape <= MAX_SHAPE:
        msg = f"function dijet{n_shape}: there are dijet2 … dijet{MAX_SHAPE}"
        raise FitError(msg)
    x = np.asarray(mass, dtype=np.float64) / sqrt_s
    if x.size and (x.min() <= 0 or x.max() >= 1):
        worst = x.max() if x.max() >= 1 else x.min()
        msg = (
            f"function dijet{n_shape}: it has a zero in the fit range, at {worst * sqrt_s:g} GeV; "
            f"keep the range between 0 and √s = {sqrt_s:g} GeV"
        )
        raise FitError(msg)
    log_x = np.log(x)
    terms = [np.log1p(-x), -log_x, -(log_x**2), -(log_x**3), -x]
    return np.stack(terms[:n_shape], axis=-1)


def density(mass: FloatArray, log_norm: float, parameters: FloatArray, sqrt_s: float = SQRT_S) -> FloatArray:
    """Density f(m) in events per GeV, from the published parameters.

    Parameters
    ----------
    mass
        In GeV, shape (n,).
    log_norm
        ln p0, p0 in events per GeV.
    parameters
        p1 … pK.
    sqrt_s
        Centre-of-mass energy in GeV.
    """
    parameters = np.asarray(parameters, dtype=np.float64)
    return np.asarray(np.exp(log_norm + log_terms(mass, parameters.size, sqrt_s) @ parameters))


def gauss_nodes(edges: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gauss–Legendre nodes and weights of every bin.

    For a spectrum that falls as exp(−m/L), n nodes integrate a bin of width w to a relative error of about
    (w/L)^2n · (n!)⁴ / ((2n + 1) (2n)!³): with L = 300 GeV, 3 nodes give 3·10⁻¹⁸ for w = 4 GeV and 7·10⁻¹⁰
    for 100 GeV. Three nodes serve bins up to 2 % of the mass, five wider ones.

    Parameters
    ----------
    edges
        Bin edges in GeV, shape (n + 1,).

    Returns
    -------
    mass, weight : FloatArray
        In GeV, shape (n, nodes).
    """
    width = np.diff(edges)
    order = 3 if np.all(width < 0.02 * edges[:-1]) else 5
    node, weight = np.polynomial.legendre.leggauss(order)
    middle = 0.5 * (edges[1:] + edges[:-1])
    return middle[:, None] + 0.5 * width[:, None] * node, 0.5 * width[:, None] * weight


class DijetModel:
    """A dijet function in bins: ln f = Σ θ_k φ_k(m), φ orthonormal on the expected spectrum.

    The functions φ_0 … φ_K span 1, T_1 … T_K. They come from a QR decomposition of these terms in the bins,
    weighted with the expected counts, so that the Fisher information at the expected spectrum is the unit
    matrix. That keeps Newton's method and MIGRAD well conditioned; the published parameters are strongly
    correlated.

    Parameters
    ----------
    edges
        Bin edges in GeV, shape (n + 1,).
    n_shape
        K, 2 to 5.
    expected
        A rough expectation of the counts, shape (n,), positive: weights of the QR decomposition and start of
        the fit.
    sqrt_s
        Centre-of-mass energy in GeV.

    Attributes
    ----------
    start : FloatArray
        Parameters θ that come closest to ``expected``, shape (K + 1,).
    """

    def __init__(self, edges: FloatArray, n_shape: int, expected: FloatArray, sqrt_s: float = SQRT_S) -> None:
        self.edges = np.asarray(edges, dtype=np.float64)
        self.n_shape = n_shape
        self.sqrt_s = sqrt_s
        log_terms(self.edges, n_shape, sqrt_s)  # the edges, too, must lie inside the domain
        self._centre = 0.5 * math.log(self.edges[0] * self.edges[-1] / sqrt_s**2)
        mass, weight = gauss_nodes(self.edges)
        raw = self._raw_terms(mass.ravel()).reshape(*mass.shape, n_shape + 1)
        root = np.sqrt(expected)
        in_bins = np.einsum("iq,iqk->ik", weight, raw) / weight.sum(axis=1)[:, None]
        orthogonal, triangle = np.linalg.qr(root[:, None] * in_bins)
        diagonal = np.abs(np.diag(triangle))
        singular = not np.isfinite(triangle).all() or diagonal.min() < 1e-11 * diagonal.max()
        if singular or triangle.shape[0] <= n_shape:
            msg = f"function dijet{n_shape}: {self.edges.size - 1} bins are too few to tell its parameters apart"
            raise FitError(msg)
        self._to_raw = np.linalg.inv(triangle)
        # Nodes first: sums over them are then sums of long contiguous arrays.
        self._design = np.ascontiguousarray((raw @ self._to_raw).transpose(1, 0, 2))
        self._flat_design = np.ascontiguousarray(self._design.reshape(-1, n_shape + 1).T)
        self._weight = np.ascontiguousarray(weight.T)
        log_density = np.log(np.maximum(expected, 1e-300) / np.diff(self.edges))
        self.start = orthogonal.T @ (root * log_density)

    @property
    def n_parameters(self) -> int:
        """K + 1."""
        return self.n_shape + 1

    def _raw_terms(self, mass: FloatArray) -> FloatArray:
        """1, ln(1 − x), u, u², u³, x with u = ln x − centre: the same span, better conditioned."""
        log_terms(mass, self.n_shape, self.sqrt_s)
        x = mass / self.sqrt_s
        u = np.log(x) - self._centre
        terms = [np.ones_like(x), np.log1p(-x), u, u**2, u**3, x]
        return np.stack(terms[: self.n_shape + 1], axis=-1)

    def _at_nodes(self, theta: FloatArray) -> FloatArray:
        """Density times weight at the nodes, shape (…, nodes, n)."""
        exponent = theta @ self._flat_design
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(exponent).reshape(*theta.shape[:-1], *self._weight.shape) * self._weight)

    def expected(self, theta: FloatArray) -> FloatArray:
        """Expected events a bin.

        Parameters
        ----------
        theta
            Shape (…, K + 1).

        Returns
        -------
        FloatArray
            Shape (…, n).
        """
        return np.asarray(self._at_nodes(theta).sum(axis=-2))

    def expected_and_jacobian(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Expected events a bin, shape (…, n), and their derivatives, shape (…, n, K + 1)."""
        nodes = self._at_nodes(theta)
        return nodes.sum(axis=-2), (nodes[..., None] * self._design).sum(axis=-3)

    def design(self, mass: FloatArray) -> FloatArray:
        """Functions φ_k(m), shape (n, K + 1), at masses in GeV."""
        return np.asarray(self._raw_terms(np.asarray(mass, dtype=np.float64)) @ self._to_raw)

    def expected_in(self, edges: FloatArray, theta: FloatArray) -> FloatArray:
        """Expected events in other bins than the model's own.

        Parameters
        ----------
        edges
            In GeV, shape (m + 1,).
        theta
            Shape (K + 1,).
        """
        mass, weight = gauss_nodes(np.asarray(edges, dtype=np.float64))
        values = np.exp(self.design(mass.ravel()) @ theta).reshape(mass.shape)
        return np.asarray((values * weight).sum(axis=1))

    def max_slope(self, theta: FloatArray) -> float:
        """Largest |d ln f / d ln m| at the bin edges: how sharply the function turns."""
        mass = self.edges
        step = 1e-4
        change = (self.design(mass * (1 + step)) - self.design(mass * (1 - step))) @ theta
        return float(np.abs(change).max() / (2 * step))

    def published(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Published parameters.

        Parameters
        ----------
        theta
            Shape (K + 1,).

        Returns
        -------
        log_norm : float
            ln p0, p0 in events per GeV.
        parameters : FloatArray
            p1 … pK.
        """
        raw = self._to_raw @ theta
        powers = np.polynomial.Polynomial([0.0])
        for power, coefficient in enumerate(raw[2:5], start=1):
            powers += coefficient * np.polynomial.Polynomial([-self._centre, 1.0]) ** power
        in_log_x = np.zeros(4)
        in_log_x[: powers.coef.size] = powers.coef
        parameters = np.concatenate([raw[1:2], -in_log_x[1:], -raw[5:6]])
        return float(raw[0] + in_log_x[0]), parameters[: self.n_shape]


def rough_expectation(edges: FloatArray, counts: FloatArray, coarse: FloatArray) -> FloatArray:
    """A smooth falling expectation, good enough to start a fit and to weight its basis.

    Parameters
    ----------
    edges
        Fine bin edges in GeV, shape (n + 1,).
    counts
        Counts in the coarse bins, shape (m,), all positive.
    coarse
        Coarse bin edges in GeV, shape (m + 1,).

    Returns
    -------
    FloatArray
        Expected events a fine bin, shape (n,), positive.

    Raises
    ------
    InputError
        If there are fewer than two coarse bins.
    """
    if counts.size < 2:
        msg = (
            f"spectrum: {counts.sum():g} events between {edges[0]:g} and {edges[-1]:g} GeV are too few for a fit; "
            "at least two coarse bins must be filled: widen the range or loosen the selection"
        )
        raise InputError(msg)
    centre = math.log(edges[0])
    log_density = np.log(counts / np.diff(coarse))
    at = np.log(0.5 * (coarse[1:] + coarse[:-1])) - centre
    # The last bin is widened by merging; its centre says little, so it is used only where it must be.
    use = slice(None, -1) if counts.size > 3 else slice(None)
    degree = 2 if counts.size > 5 else 1
    fine = np.log(0.5 * (edges[1:] + edges[:-1])) - centre
    for order in range(degree, 0, -1):
        curve = np.polynomial.Polynomial.fit(at[use], log_density[use], order, w=np.sqrt(counts[use]))
        slope = curve.deriv()(fine)
        if order == 1 or slope.max() < 0:
            break
    values = np.exp(np.clip(curve(fine), -60.0, 60.0)) * np.diff(edges)
    return np.asarray(values * counts.sum() / values.sum())
