"""What toys say of a p-value where none of them is as extreme as the data: it is below a limit at 95 % CL."""

from analysis.scan_config import P0_IS_BOUND
from models.intervals import clopper_pearson

CONFIDENCE = 0.95


def limit_of_none(toys: int) -> float:
    """Upper limit at 95 % CL on a p-value that none of so many toys reaches: 1 − 0.05^(1/n), for many toys 3/n.

    Parameters
    ----------
    toys
        Toys, at least one.

    Returns
    -------
    float
        The p-value that leaves all toys below with a probability of 5 %.

    References
    ----------
    C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404; PDG Review of Particle Physics, section Statistics,
    intervals for binomial parameters; "the rule of three": B. D. Jovanovic, P. S. Levy, Am. Stat. 51 (1997) 137.
    """
    # One-sided: the upper end of the central interval that leaves as much out on either side.
    return float(clopper_pearson(0, toys, 2 * CONFIDENCE - 1)[1])


def local_limit(p0: float | None, message: str | None) -> float | None:
    """Upper limit at 95 % CL on the local p-value of a mass where no toy was as extreme as the data; else None.

    Parameters
    ----------
    p0
        (0 + 1)/(toys + 1), as the scan writes it; None where no fit is valid.
    message
        The scan's remark on the mass, which says whether a toy was as extreme.

    Returns
    -------
    float or None
        None where p0 is a p-value and no bound.
    """
    if p0 is None or message is None or P0_IS_BOUND not in message:
        return None
    return limit_of_none(round(1 / p0) - 1)
