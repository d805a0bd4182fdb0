"""What a curve of efficiency against cross section can say of a limit."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "all_excluded", "not_excluded", "not_excluded_at_top"]


@dataclass(frozen=True)
class Crossing:
    """Where a cross section becomes excluded for good.

    Attributes
    ----------
    status
        ``ok``; ``all_excluded``: already the smallest injection and all others are excluded; ``not_excluded``: none
        is; ``not_excluded_at_top``: some are but not the largest.
    value
        fb; None where the curve is nowhere crossed upwards. A limit only with the status ``ok``.
    """

    status: Status
    value: float | None = None
