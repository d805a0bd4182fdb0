"""How small an expectation may become: one place for the likelihood, its kernels and the exports."""

FLOOR = 1e-3
"""Least expectation of a bin, in units of its background. Only a negative signal can touch it, in the
far tail of the signal where the background is smaller still."""
TINY = 1e-200
"""Background that stands for one that underflows, so that derivatives stay finite in empty bins."""
LOWEST_SHARE = 0.99
"""Share of the background in the core of a signal that a negative yield may take away. All of it would put a bin on its
floor, where −ln L has a kink at which Newton's method need not converge."""
