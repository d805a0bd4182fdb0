"""Background functions integrated over bins, in an orthogonalised parametrisation."""

import math
from typing import Protocol

import numpy as np

from analysis.expectation_floor import TINY
from analysis.function_kinds import Function
from analysis.functions import SQRT_S
from analysis.log_linear import LogLinear
from data.errors import FitError
from data.types import FloatArray


class BackgroundModel(Protocol):
    """A background expectation in bins with parameters that may be fitted."""

    @property
    def n_parameters(self) -> int:
        """Number of parameters, the normalisation included."""
        ...

    def expected(self, theta: FloatArray) -> FloatArray:
        """Expected events a bin.

        Parameters
        ----------
        theta
            Parameters, shape (…, n_parameters).

        Returns
        -------
        array (…, n)
            Events.
        """
        ...

    def expected_and_jacobian(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Expected events a bin and their derivatives.

        Parameters
        ----------
        theta
            Parameters, shape (…, n_parameters).

        Returns
        -------
        expected
            Events, shape (…, n).
        jacobian
            Derivatives with respect to the parameters, shape (…, n, n_parameters).
        """
        ...


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


class FunctionModel:
    """A background function in bins, with parameters θ in which the Fisher information is the unit matrix.

    The published parameters are strongly correlated. So p = p_ref + T θ, with T from a QR decomposition of
    ∂ ln f/∂p in the bins, weighted with the expected counts: Newton's method and MIGRAD are then well
    conditioned. A log-linear function is ln f = Σ θ_k φ_k(m), φ orthonormal on the expected spectrum; other
    functions are exact too, and orthonormal at their reference.

    Parameters
    ----------
    edges
        Bin edges in GeV, shape (n + 1,).
    function
        What to integrate.
    expected
        A rough expectation of the counts, shape (n,), positive: weights of the QR decomposition. None takes the
        function's own at the reference.
    sqrt_s
        Centre-of-mass energy in GeV.
    reference
        ln p0, p1 … pK to start from; a function that is not log-linear is orthogonalised about it. Log-linear
        functions need none: they start as close to ``expected`` as they can.

    Attributes
    ----------
    start : FloatArray
        Parameters θ that come closest to ``expected``, or those of the reference; shape (K + 1,).

    Raises
    ------
    FitError
        If the function has a zero in the range, or the bins cannot tell its parameters apart.
    """

    def __init__(
        self,
        edges: FloatArray,
        function: Function,
        expected: FloatArray | None = None,
        *,
        sqrt_s: float = SQRT_S,
        reference: FloatArray | None = None,
    ) -> None:
        self.edges = np.asarray(edges, dtype=np.float64)
        self.function = function
        self.sqrt_s = sqrt_s
        function.check(self.edges, sqrt_s)  # the edges, too, must lie inside the domain
        self._linear = function if isinstance(function, LogLinear) else None
        self._centre = math.sqrt(self.edges[0] * self.edges[-1])
        origin = np.zeros(self.n_parameters) if reference is None else np.asarray(reference, dtype=np.float64)
        self._origin = np.zeros(self.n_parameters) if self._linear is not None else origin
        mass, weight = gauss_nodes(self.edges)
        self._mass = np.ascontiguousarray(mass.T).ravel()
        # Nodes first: sums over them are then sums of long contiguous arrays.
        self._weight = np.ascontiguousarray(weight.T)
        raw = self._raw_design(self._mass, self._origin).reshape(*self._weight.shape, self.n_parameters)
        if expected is None:
            values = function.log_density(self._mass, origin, sqrt_s)
            expected = np.asarray((np.exp(values).reshape(self._weight.shape) * self._weight).sum(axis=0))
        root = np.sqrt(expected)
        in_bins = np.einsum("qi,qik->ik", self._weight, raw) / self._weight.sum(axis=0)[:, None]
        orthogonal, triangle = np.linalg.qr(root[:, None] * in_bins)
        diagonal = np.abs(np.diag(triangle))
        singular = not np.isfinite(triangle).all() or diagonal.min() < 1e-11 * diagonal.max()
        if singular or triangle.shape[0] <= self.n_shape:
            msg = (
                f"function {function.name}: {self.edges.size - 1} bins do not tell its parameters apart; "
                "use fewer shape parameters or a wider range"
            )
            raise FitError(msg)
        self._to_raw = np.linalg.inv(triangle)
        self._design = raw @ self._to_raw
        self._flat_design = np.ascontiguousarray(self._design.reshape(-1, self.n_parameters).T)
        self.start = np.zeros(self.n_parameters)
        if self._linear is not None and reference is not None:
            self.start = triangle @ np.linalg.solve(self._linear.uncentre(sqrt_s, self._centre), origin)
        elif self._linear is not None:
            log_density = np.log(np.maximum(expected, 1e-300) / np.diff(self.edges))
            self.start = orthogonal.T @ (root * log_density)

    @property
    def n_shape(self) -> int:
        """Number of shape parameters K."""
        return self.function.n_shape

    @property
    def n_parameters(self) -> int:
        """K + 1."""
        return self.function.n_shape + 1

    @property
    def log_linear(self) -> bool:
        """Whether ln f is linear in θ."""
        return self._linear is not None

    def _raw_design(self, mass: FloatArray, raw: FloatArray) -> FloatArray:
        """∂ ln f/∂(parameters before T): published ones, or those of the centred terms."""
        if self._linear is not None:
            self.function.check(mass, self.sqrt_s)
            return self._linear.centred(mass, self.sqrt_s, self._centre)
        return self.function.gradient(mass, raw, self.sqrt_s)

    def _raw(self, theta: FloatArray) -> FloatArray:
        return np.asarray(self._origin + theta @ self._to_raw.T)

    def log_density(self, mass: FloatArray, theta: FloatArray) -> FloatArray:
        """Logarithm of the density in events per GeV.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        theta
            Parameters, shape (…, K + 1).

        Returns
        -------
        array (…, n)
            −∞ or NaN where the function is not defined.
        """
        if self._linear is not None:
            return np.asarray(theta @ self.design(mass).T)
        return self.function.log_density(mass, self._raw(theta), self.sqrt_s)

    def design(self, mass: FloatArray, theta: FloatArray | None = None) -> FloatArray:
        """Derivatives ∂ ln f/∂θ.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        theta
            Where, shape (K + 1,); the start if None. Log-linear functions have the same everywhere.

        Returns
        -------
        array (n, K + 1)
            At each mass.
        """
        raw = self._raw(self.start if theta is None else theta)
        return np.asarray(self._raw_design(np.asarray(mass, dtype=np.float64), raw) @ self._to_raw)

    def _at_nodes(self, theta: FloatArray) -> FloatArray:
        """Density times weight at the nodes, shape (…, nodes, n)."""
        exponent = (
            theta @ self._flat_design if self._linear is not None else self.log_density(self._mass, theta)
        )
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(exponent).reshape(*theta.shape[:-1], *self._weight.shape) * self._weight)

    def _design_at_nodes(self, theta: FloatArray) -> FloatArray:
        """∂ ln f/∂θ at the nodes, shape (…, nodes, n, K + 1)."""
        if self._linear is not None:
            return self._design
        gradient = self.function.gradient(self._mass, self._raw(theta), self.sqrt_s) @ self._to_raw
        return np.asarray(gradient.reshape(*theta.shape[:-1], *self._weight.shape, self.n_parameters))

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
        nodes = self._at_nodes(theta)
        with np.errstate(over="ignore"):
            return np.asarray(nodes.sum(axis=-2))

    def expected_and_jacobian(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Expected events a bin and their derivatives.

        Parameters
        ----------
        theta
            Parameters, shape (…, K + 1).

        Returns
        -------
        expected
            Events, shape (…, n).
        jacobian
            Derivatives with respect to the parameters, shape (…, n, K + 1).
        """
        nodes = self._at_nodes(theta)
        return nodes.sum(axis=-2), (nodes[..., None] * self._design_at_nodes(theta)).sum(axis=-3)

    def expected_in(self, edges: FloatArray, theta: FloatArray) -> FloatArray:
        """Expected events in other bins than the model's own.

        Parameters
        ----------
        edges
            In GeV, shape (m + 1,).
        theta
            Shape (K + 1,).

        Returns
        -------
        array (m,)
            Events.
        """
        mass, weight = gauss_nodes(np.asarray(edges, dtype=np.float64))
        values = np.exp(self.log_density(mass.ravel(), theta)).reshape(mass.shape)
        return np.asarray((values * weight).sum(axis=1))

    def rebinned(self, edges: FloatArray, theta: FloatArray) -> "FunctionModel":
        """The function in other bins, orthogonalised at θ, where it starts.

        Parameters
        ----------
        edges
            In GeV, shape (m + 1,).
        theta
            Parameters of this model, shape (K + 1,).

        Returns
        -------
        FunctionModel
            In the bins of ``edges``.
        """
        expected = np.maximum(self.expected_in(edges, theta), TINY)
        log_norm, parameters = self.published(theta)
        reference = np.append(log_norm, parameters)
        return FunctionModel(edges, self.function, expected, sqrt_s=self.sqrt_s, reference=reference)

    def max_slope(self, theta: FloatArray) -> float:
        """Largest |d ln f / d ln m| between neighbouring bin edges above which at least one event is expected.

        How sharply the function turns where there is something to fit; in the empty tail beyond, a good fit may be as
        steep as it likes.

        Parameters
        ----------
        theta
            Shape (K + 1,).

        Returns
        -------
        float
            0 where no edge has an event expected above it.
        """
        change = np.abs(np.diff(self.log_density(self.edges, theta)) / np.diff(np.log(self.edges)))
        above = np.cumsum(self.expected(theta)[::-1])[::-1]
        return float(change[above >= 1].max(initial=0.0))

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
        raw = self._raw(theta)
        if self._linear is not None:
            raw = self._linear.uncentre(self.sqrt_s, self._centre) @ raw
        return float(raw[0]), raw[1:]
