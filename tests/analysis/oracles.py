"""What tests of fits compare with: backgrounds without parameters, and errors by iminuit."""

import iminuit
import numpy as np

from analysis.profile_likelihood import SignalTest
from analysis.signal_template import SignalTemplate


class Known:
    """A background without parameters."""

    n_parameters = 0

    def __init__(self, counts):
        self.counts = np.asarray(counts, dtype=float)

    def expected(self, theta):
        return np.broadcast_to(self.counts, (*theta.shape[:-1], self.counts.size))

    def expected_and_jacobian(self, theta):
        return self.expected(theta), np.empty((*theta.shape[:-1], self.counts.size, 0))


def counting(n, background):
    """A test in one bin on top of a known background."""
    return SignalTest(np.array([float(n)]), Known([background]), SignalTemplate(np.ones(1)), np.empty(0))


def minuit_errors(test):
    """Errors of the yield by HESSE and MINOS (below, above) in events, from numerical derivatives."""
    likelihood, size = test.likelihood, test.null.theta.size

    def cost(z):
        known = z[size + 1 :] if likelihood.n_nuisances else None
        return likelihood.value(z[:size], z[size] * test.yield_error, known)

    start = np.concatenate([test.null.theta, np.zeros(1 + likelihood.n_nuisances)])
    minuit = iminuit.Minuit(cost, start)
    minuit.errordef = iminuit.Minuit.LIKELIHOOD
    minuit.migrad()
    minuit.hesse()
    name = minuit.parameters[size]
    minuit.minos(name)
    both = minuit.merrors[name]
    return np.array([minuit.errors[name], both.lower, both.upper]) * test.yield_error
