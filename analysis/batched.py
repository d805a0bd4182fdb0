"""Profile likelihood fits of many sets of counts with many signal templates."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

from analysis.batched_results import BatchedSignal, TestedYields
from analysis.bin_blocks import BinBlocks, SignalBlocks
from analysis.expectation_floor import TINY
from analysis.fit import BackgroundFit
from analysis.function_model import BackgroundModel, FunctionModel
from analysis.kernels.batch import fit_best, fit_nulls, fit_tested
from analysis.likelihood import Likelihood
from analysis.minimiser import minimise
from analysis.profile_likelihood import SignalTest
from analysis.signal_template import SignalTemplate
from data.errors import FitError, InputError
from data.types import FloatArray, IntArray

__all__ = ["BatchedFits", "BatchedSignal", "TestedYields", "q0_scan"]

_SETS_AT_ONCE = 32
_AT_BOUND = 2
_MISFIT = 1e-4
"""Difference of −ln L between the expansion and the model itself from which a fit is made again with the model."""


class BatchedFits:
    """Profile likelihoods of many sets of counts, all with the same background model.

    In every bin the background is expanded as b · exp(D·δ) about one point, which is exact for log-linear functions
    up to the change of D inside a bin. The background-only fits are made at once; fits with signal start from them.
    The fit farthest from the point of expansion is compared with the model itself; where the expansion does not hold
    (functions that are not log-linear, bins as wide as the scale on which the function falls), each fit is compared, and
    those that differ by 10⁻⁴ in −ln L are made again one at a time.

    Parameters
    ----------
    counts
        Shape (sets, n), ≥ 0; observed or Asimov.
    model
        Background model.
    theta
        Parameters about which it is expanded, best those of the fit to the data from which toys were drawn; shape (p,).
    workers
        Threads; results do not depend on them.
    settle
        For toys and for the data that are compared with them: where −ln L has no minimum but falls towards a limit
        (`newton.minimise`), take the lowest value found as the minimum, and for log-linear functions take the expansion
        as the model. A test statistic may be defined so, as long as it is the same for data and toys; then hardly a
        fit fails.

    Attributes
    ----------
    theta : FloatArray
        Background-only fits, shape (sets, p).
    value : FloatArray
        Their −ln L relative to the saturated model, shape (sets,).
    converged : BoolArray
        Shape (sets,).

    Raises
    ------
    InputError
        If the counts do not fit the bins or are negative.
    """

    def __init__(
        self,
        counts: npt.NDArray[np.generic],
        model: BackgroundModel,
        theta: FloatArray,
        *,
        workers: int = 1,
        settle: bool = False,
    ) -> None:
        self.counts = np.asarray(counts)
        expected, jacobian = model.expected_and_jacobian(theta)
        expected = np.maximum(expected, TINY)
        if self.counts.ndim != 2 or self.counts.shape[1] != expected.size:
            msg = f"batched fits: counts of shape {self.counts.shape} do not fit {expected.size} bins; give (sets, bins)"
            raise InputError(msg)
        if not (np.isfinite(self.counts).all() and (self.counts >= 0).all()):
            msg = "batched fits: a count is negative or not finite; give counts ≥ 0"
            raise InputError(msg)
        self._model, self._origin, self._workers, self._settle = model, theta, workers, settle
        self._exact = not settle or (isinstance(model, FunctionModel) and not model.log_linear)
        self._blocks = BinBlocks(expected.size)
        self._log_expected = np.log(expected)
        self._base = self._blocks.split(expected[None])[0]
        self._design = self._blocks.rows((jacobian / expected[:, None]).T)
        sets = len(self.counts)
        self._delta = np.zeros((sets, theta.size))
        self._null = np.empty(sets)
        self._offset = np.empty(sets)
        self.converged = np.zeros(sets, dtype=np.bool_)
        self._over_chunks(self._fit_nulls)
        # The kernels work relative to their own background-only fits, also where the model itself is fitted again.
        self._usable = self.converged.copy()
        self.theta = theta + self._delta
        self.value = self._null + self._offset
        self._repair_nulls()

    def _over_chunks(self, task: Callable[[slice, FloatArray], None]) -> None:
        """Run a task on the sets, some at a time, by as many threads as there are workers."""
        sets = len(self.counts)
        # Not by the number of workers: whether fits are made again depends on the others of a chunk.
        chunks = [slice(first, min(first + _SETS_AT_ONCE, sets)) for first in range(0, sets, _SETS_AT_ONCE)]

        def run(chunk: slice) -> None:
            task(chunk, self._blocks.split(self.counts[chunk]))

        if self._workers == 1 or len(chunks) == 1:
            for chunk in chunks:
                run(chunk)
            return
        with ThreadPoolExecutor(self._workers) as pool:
            list(pool.map(run, chunks))

    def _fit_nulls(self, chunk: slice, counts: FloatArray) -> None:
        raw = self.counts[chunk].astype(np.float64)
        saturated = (xlogy(raw, raw) - raw - raw * self._log_expected).sum(axis=1)
        self._offset[chunk] = self._base.sum() + saturated
        fit_nulls(
            counts, self._base, self._design, self._delta[chunk], self._null[chunk], self.converged[chunk],
            self._settle,
        )  # fmt: skip

    def _counts_of(self, row: int) -> FloatArray:
        return np.asarray(self.counts[row], dtype=np.float64)

    def _repair_nulls(self) -> None:
        """Fit again with the model itself where the expansion does not hold."""

        def misfit(row: int) -> float:
            exact = Likelihood(self._counts_of(row), self._model).value(self.theta[row])
            return abs(exact - float(self.value[row]))

        rows = np.flatnonzero(self.converged)
        if not self._exact or not rows.size or misfit(_farthest(rows, self._delta[rows])) < _MISFIT:
            return
        wrong = [row for row in range(len(self.counts)) if not self.converged[row] or misfit(row) >= _MISFIT]
        for row in wrong:
            likelihood = Likelihood(self._counts_of(row), self._model)
            start = self.theta[row] if self.converged[row] else self._origin
            try:
                found = minimise(likelihood, start, free_yield=False, exact_errors=False)
            except FitError:
                self.converged[row] = False
                continue
            self.converged[row] = True
            self.theta[row], self.value[row] = found.theta, found.value

    def best(self, templates: Sequence[SignalTemplate]) -> BatchedSignal:
        """Fit every set with every signal, the yield free and shape nuisances profiled.

        Parameters
        ----------
        templates
            One a mass.

        Returns
        -------
        BatchedSignal
            Arrays of shape (sets, masses).
        """
        signals = [self._blocks.signal(template) for template in templates]
        shape = (len(self.counts), len(signals))
        best, value, error = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
        status = np.zeros(shape, dtype=np.int64)
        for shapes in {signal.shapes for signal in signals}:
            masses = [number for number, signal in enumerate(signals) if signal.shapes == shapes]
            found = self._best(
                [templates[number] for number in masses], [signals[number] for number in masses]
            )
            best[:, masses], value[:, masses], error[:, masses], status[:, masses] = found
        good = status > 0
        q0 = np.where(best > 0, np.maximum(2 * (self.value[:, None] - value), 0.0), 0.0)
        for array in (best, error, q0, value):
            array[~good] = np.nan
        return BatchedSignal(best, error, q0, value, good, status == _AT_BOUND)

    def _best(
        self, templates: Sequence[SignalTemplate], signals: Sequence[SignalBlocks]
    ) -> tuple[FloatArray, FloatArray, FloatArray, IntArray]:
        """Yields, values, errors, states of signals with the same number of shape nuisances."""
        rows, cores = np.stack([signal.rows for signal in signals]), np.stack([s.core for s in signals])
        shape, p = (len(self.counts), len(signals)), self._delta.shape[1]
        best, value, error = np.empty(shape), np.empty(shape), np.empty(shape)
        status = np.zeros(shape, dtype=np.int64)
        # The uncertainty of the normalisation does not move the minimum, but is part of the error of the nominal yield.
        kappas = np.array([signal.kappa for signal in signals])

        def task(chunk: slice, counts: FloatArray) -> None:
            points = np.zeros((len(counts), len(signals), p + 1 + signals[0].shapes))
            fit_best(
                counts, self._base, self._design, rows, cores,
                self._delta[chunk], self._null[chunk], self._usable[chunk], self._settle,
                points, value[chunk], error[chunk], status[chunk],
            )  # fmt: skip
            best[chunk] = points[:, :, p]
            error[chunk] = np.hypot(error[chunk], kappas * best[chunk])
            value[chunk] += self._offset[chunk, None]
            self._repair_best(chunk, templates, points, (best, value, error, status))

        self._over_chunks(task)
        return best, value, error, status

    def _repair_best(
        self,
        chunk: slice,
        templates: Sequence[SignalTemplate],
        points: FloatArray,
        arrays: tuple[FloatArray, FloatArray, FloatArray, IntArray],
    ) -> None:
        """Fit again with the model itself where the expansion does not hold."""
        best, value, error, status = arrays
        p = self._origin.size

        def misfit(row: int, mass: int) -> float:
            z = points[row - chunk.start, mass]
            known = np.append(z[p + 1 :], [0.0] * (templates[mass].norm_uncertainty > 0))
            likelihood = Likelihood(self._counts_of(row), self._model, templates[mass])
            return abs(likelihood.value(self._origin + z[:p], float(z[p]), known) - float(value[row, mass]))

        def wrong(row: int, mass: int) -> bool:
            return status[row, mass] == 0 or misfit(row, mass) >= _MISFIT

        good = np.argwhere(status[chunk] > 0)
        if not self._exact or not len(good):
            return
        far = good[_farthest(np.arange(len(good)), points[good[:, 0], good[:, 1], :p])]
        if misfit(chunk.start + int(far[0]), int(far[1])) < _MISFIT:
            return
        for row in range(chunk.start, chunk.stop):
            for mass, template in enumerate(templates):
                if not self.converged[row] or not wrong(row, mass):
                    continue
                try:
                    test = SignalTest(self._counts_of(row), self._model, template, self.theta[row])
                    found = test.best
                except FitError:
                    status[row, mass] = 0
                    continue
                status[row, mass] = _AT_BOUND if found.at_bound else 1
                best[row, mass], value[row, mass] = found.signal_yield, found.value
                error[row, mass] = np.nan if found.at_bound else test.yield_error

    def tested(
        self, template: SignalTemplate, signal_yield: npt.ArrayLike, centres: FloatArray | None = None
    ) -> TestedYields:
        """Fit every set with fixed yields, all nuisances profiled: what the test statistic q̃_μ needs.

        Parameters
        ----------
        template
            The signal.
        signal_yield
            Nominal signal events > 0; one number, or shape (tested,), or (sets, tested).
        centres
            Auxiliary measurements of the signal's nuisances, shape (sets, nuisances), in the order of
            `SignalTemplate.nuisances`: random in toys. All 0 if None.

        Returns
        -------
        TestedYields
            Arrays of shape (sets, tested).

        """
        signal = self._blocks.signal(template)
        sets, p = self._delta.shape
        wanted = np.atleast_1d(np.asarray(signal_yield, dtype=np.float64))
        wanted = np.array(np.broadcast_to(wanted, (sets, wanted.shape[-1])))
        order = np.argsort(wanted, axis=1)
        ascending = np.take_along_axis(wanted, order, axis=1)
        middle = np.zeros((sets, 1 + signal.shapes))
        if centres is not None:
            middle[:, 1:] = centres[:, : signal.shapes]
            middle[:, 0] = centres[:, signal.shapes :].sum(axis=1)
        best, reference, value = np.empty(sets), np.empty(sets), np.empty(wanted.shape)

        def task(chunk: slice, counts: FloatArray) -> None:
            points = np.zeros((len(counts), 1 + wanted.shape[1], p + 1 + signal.shapes))
            fit_tested(
                counts, self._base, self._design, signal.rows, signal.core, signal.kappa,
                self._delta[chunk], self._null[chunk], self._usable[chunk], self._settle, middle[chunk],
                ascending[chunk], best[chunk], reference[chunk], value[chunk], points,
            )  # fmt: skip
            reference[chunk] += self._offset[chunk]
            value[chunk] += self._offset[chunk, None]
            self._repair_tested(chunk, template, (ascending, middle), points, (best, reference, value))

        self._over_chunks(task)
        unsorted = np.empty_like(value)
        np.put_along_axis(unsorted, order, value, axis=1)
        q_tilde = np.where(best[:, None] > wanted, 0.0, np.maximum(2 * (unsorted - reference[:, None]), 0.0))
        q0 = np.maximum(2 * (self.value - reference), 0.0)
        return TestedYields(best, q0, unsorted, q_tilde, np.isfinite(q_tilde))

    def _repair_tested(
        self,
        chunk: slice,
        template: SignalTemplate,
        hypotheses: tuple[FloatArray, FloatArray],
        points: FloatArray,
        arrays: tuple[FloatArray, FloatArray, FloatArray],
    ) -> None:
        """Fit again with the model itself where the expansion does not hold, or mark as failed."""
        (tested, centres), (best, reference, value) = hypotheses, arrays
        p, with_norm = self._origin.size, template.norm_uncertainty > 0

        def misfit(row: int, number: int) -> float:
            """Of the best fit (number 0) or that of a fixed yield."""
            z, centre = points[row - chunk.start, number], centres[row]
            known = np.append(z[p + 1 :], [z[p] if number else centre[0]] * with_norm)
            middle = np.append(centre[1:], [centre[0]] * with_norm)
            likelihood = Likelihood(self._counts_of(row), self._model, template, middle)
            signal_yield = float(tested[row, number - 1] if number else best[row])
            exact = likelihood.value(self._origin + z[:p], signal_yield, known)
            return abs(exact - float(value[row, number - 1] if number else reference[row]))

        last = points.shape[1] - 1
        good = np.flatnonzero(np.isfinite(reference[chunk]) & np.isfinite(value[chunk]).all(axis=1))
        if not self._exact or not good.size:
            return
        far = chunk.start + _farthest(good, points[good, last, :p])
        if (last == 0 or tested[far, -1] >= best[far]) and misfit(far, last) < _MISFIT:
            return
        for row in range(chunk.start, chunk.stop):
            fine = np.isfinite(reference[row]) and np.isfinite(value[row]).all()
            wrong = not fine or any(
                misfit(row, number) >= _MISFIT
                for number in range(last + 1)
                if number == 0 or tested[row, number - 1] >= best[row]
            )
            if self.converged[row] and wrong:
                self._fit_tested_again(row, template, tested[row], centres[row], arrays)

    def _fit_tested_again(
        self,
        row: int,
        template: SignalTemplate,
        tested: FloatArray,
        centre: FloatArray,
        arrays: tuple[FloatArray, FloatArray, FloatArray],
    ) -> None:
        best, reference, value = arrays
        reference[row] = value[row] = np.nan
        middle = np.append(centre[1:], [centre[0]] * (template.norm_uncertainty > 0))
        try:
            test = SignalTest(self._counts_of(row), self._model, template, self.theta[row], middle)
            found = test.best if test.best.signal_yield > 0 else test.null
            values = [found.value if mu < found.signal_yield else test.at(float(mu)).value for mu in tested]
        except FitError:
            return
        best[row], reference[row], value[row] = found.signal_yield, found.value, values


def _farthest(rows: IntArray, delta: FloatArray) -> int:
    """The entry of ``rows`` whose distance from the point of expansion, in ``delta``, is largest."""
    return int(rows[np.argmax((delta**2).sum(axis=1))])


def q0_scan(
    counts: npt.NDArray[np.generic],
    background: BackgroundFit,
    templates: Sequence[SignalTemplate],
    *,
    workers: int = 1,
) -> BatchedSignal:
    """Fit many sets of counts with many signals on top of one background function, which is refitted each time.

    Parameters
    ----------
    counts
        Counts in the bins of the fit range, shape (sets, n).
    background
        Fit of the function to the data from which the sets were drawn: where the fits start.
    templates
        One a mass, in the same bins.
    workers
        Threads; results do not depend on them.

    Returns
    -------
    BatchedSignal
        Arrays of shape (sets, masses).

    Raises
    ------
    InputError
        If the counts do not fit the bins or are negative.
    """
    return BatchedFits(counts, background.model, background.minimum.theta, workers=workers).best(templates)
