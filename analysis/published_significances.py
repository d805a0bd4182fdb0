"""Significances of injected signals that CMS published for its methods, for comparison."""

from dataclasses import dataclass

CITATION = "CMS-EXO-22-026, arXiv:2412.03747, figure 2"
"""Where the numbers were published."""


@dataclass(frozen=True)
class PublishedSignificances:
    """Local significances on mock data against the injected cross section.

    Attributes
    ----------
    title
        The signal, for a plot.
    luminosity_ifb
        To which the mock data correspond, fb⁻¹.
    cross_sections
        Injected, fb.
    z
        Selection to its significances; a p-value too small for its table is quoted as Z = 9, the least it can be.
    """

    title: str
    luminosity_ifb: float
    cross_sections: tuple[float, ...]
    z: dict[str, tuple[float, ...]]


PUBLISHED = {
    "xyy_80_170": PublishedSignificances(
        "X → YY′ (3 TeV; 170, 80 GeV)",
        26.81,
        (4.99, 7.98, 11.97, 17.95, 23.94),
        {
            "inclusive": (0.60, 0.91, 1.35, 2.01, 2.67),
            "vae_qr": (0.70, 1.15, 1.82, 2.40, 3.23),
            "cwola": (0.00, 0.10, 0.95, 0.84, 3.18),
            "tnt": (0.77, 1.82, 4.56, 7.53, 8.64),
            "cathode": (0.75, 4.20, 6.66, 9.0, 9.0),
            "cathode_b": (0.67, 2.73, 5.39, 9.0, 9.0),
            "quak": (2.87, 3.99, 5.40, 8.53, 9.48),
            "prong2": (0.74, 1.28, 1.83, 3.10, 3.89),
            "prong3": (0.36, 0.57, 0.86, 1.29, 1.73),
        },
    ),
    "wprime_bprime_400": PublishedSignificances(
        "W′ → B′t (3 TeV; B′ 400 GeV)",
        26.81,
        (22.5, 37.4, 52.4, 67.4, 82.4, 97.4),
        {
            "inclusive": (0.44, 0.73, 0.98, 1.27, 1.53, 1.81),
            "vae_qr": (0.96, 1.80, 2.32, 3.02, 3.69, 3.60),
            "cwola": (0.68, 1.40, 2.81, 4.25, 4.29, 5.28),
            "tnt": (1.20, 2.23, 4.40, 5.10, 5.36, 6.71),
            "cathode": (0.29, 0.84, 1.99, 2.24, 3.39, 4.13),
            "cathode_b": (0.87, 2.49, 3.75, 3.93, 5.08, 5.62),
            "quak": (1.42, 2.45, 3.23, 3.73, 4.03, 5.42),
            "prong2": (0.25, 0.41, 0.55, 0.71, 0.88, 1.04),
            "prong3": (1.63, 2.04, 2.78, 3.85, 4.74, 5.15),
        },
    ),
}
"""Signal to what was published of it; the names are those of the methods here."""
