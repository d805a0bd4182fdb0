"""Minor backgrounds: cross sections against published and own numbers, labels, decays, vetoes."""

import numpy as np
import pytest

from data.errors import OddjetError
from data.simulation import generator
from data.simulation.config import Generator
from data.simulation.detector import charge_of
from data.simulation.generator import generate, survey_cross_section
from data.simulation.particles import has_lepton
from data.simulation.processes import EarlyVeto, Qcd, SingleTop, TopPair, VectorBoson

pythia8mc = pytest.importorskip("pythia8mc", reason="the extra [simulation] is not installed")

OPTIONS = Generator(multiparton_interactions=False)
SQRT_S, M_TOP, M_Z = 13000.0, 171.0, 91.188  # Pythia's default top mass
ANY_ANGLE = 18.0


@pytest.fixture(autouse=True)
def _short_surveys(monkeypatch):
    """To 1 % or 2 %: enough for the comparisons here."""
    monkeypatch.setattr(generator, "_SURVEY_EVENTS", 3000)
    monkeypatch.setattr(generator, "_SURVEY_PASSED", 500)


def survey(process, seed=2):
    return sum(survey_cross_section(process, mhat, seed, SQRT_S, OPTIONS) for mhat in process.slices())


def top_pair(low, **options):
    return TopPair(type="ttbar", mhat_edges=(low,), **options)


def strong_coupling(scale):
    """One loop from α_s(m_Z) = 0.13, that of NNPDF2.3 LO [arXiv:1308.0598], with six flavours above the top mass."""

    def run(start, low, high, flavours):
        return start / (1 + start * (33 - 2 * flavours) / (6 * np.pi) * np.log(high / low))

    below = run(0.13, M_Z, np.minimum(scale, M_TOP), 5)
    return run(below, M_TOP, np.maximum(scale, M_TOP), 6)


def top_pair_by_hand(low, n=40_000):
    """σ(tt̄) in pb at leading order by Monte Carlo integration [B. L. Combridge, Nucl. Phys. B151 (1979) 429]."""
    pythia = pythia8mc.Pythia("", printBanner=False)
    assert pythia.readString("Print:quiet = on")
    assert pythia.readString("Top:gg2ttbar = on")
    assert pythia.init()
    pdf = pythia.getPDFPtr(2212)
    u = np.random.default_rng(1).random((3, n))
    tau_low = low**2 / SQRT_S**2
    tau = tau_low ** u[0]
    rapidity = (2 * u[1] - 1) * -np.log(tau) / 2
    cosine = 2 * u[2] - 1
    s = tau * SQRT_S**2
    beta = np.sqrt(1 - 4 * M_TOP**2 / s)
    t1, t2, rho = (1 - beta * cosine) / 2, (1 + beta * cosine) / 2, 4 * M_TOP**2 / s
    quarks = 4 / 9 * (t1**2 + t2**2 + rho / 2)
    gluons = (1 / (6 * t1 * t2) - 3 / 8) * (t1**2 + t2**2 + rho - rho**2 / (4 * t1 * t2))
    q2 = M_TOP**2 + s / 4 * beta**2 * (1 - cosine**2)
    flux = np.zeros((2, n))
    for i, (root, y, scale) in enumerate(zip(np.sqrt(tau), rapidity, q2, strict=True)):
        x1, x2 = root * np.exp(y), root * np.exp(-y)
        one = {f: pdf.xf(f, x1, scale) for f in (21, *range(-5, 0), *range(1, 6))}
        two = {f: pdf.xf(f, x2, scale) for f in one}
        flux[0, i] = sum(one[f] * two[-f] for f in one if f != 21)
        flux[1, i] = one[21] * two[21]
    weight = -np.log(tau_low) * -np.log(tau) * 2  # of τ (logarithmic), rapidity, cosine
    partonic = (
        np.pi * strong_coupling(np.sqrt(q2)) ** 2 * beta / (2 * s) * (flux[0] * quarks + flux[1] * gluons)
    )
    return float(np.mean(weight * partonic) * 0.3894e9)  # GeV⁻² to pb


def test_top_pairs_have_the_cross_section_of_the_textbook():
    own = top_pair_by_hand(1400)  # 2.5 pb; near threshold the width of the top, left out here, matters
    assert survey(top_pair(1400, delta_eta_max=ANY_ANGLE)) == pytest.approx(own, rel=0.04)


# Leading order at 13 TeV from J. Alwall et al., arXiv:1405.0301, tables of section 4 (MSTW2008, scale HT/2; jets above
# 30 GeV): other parton densities, scale and coupling, hence the tolerance. Without Wt, which is not in Pythia.
@pytest.mark.parametrize(
    ("process", "published"),
    [
        (top_pair(347, delta_eta_max=ANY_ANGLE), 458.4),
        (
            VectorBoson(
                type="vjets", mhat_edges=(100,), delta_eta_max=ANY_ANGLE, pt_hat_min=30, hadronic_only=False
            ),
            2.045e4 + 7.209e3,
        ),
        (SingleTop(type="single_top", mhat_edges=(174,), delta_eta_max=ANY_ANGLE), 152.0 + 7.489),
    ],
    ids=["ttbar", "vjets", "single_top"],
)
def test_cross_sections_are_those_of_another_generator(process, published):
    assert survey(process) == pytest.approx(published, rel=0.2)


@pytest.mark.parametrize(("power", "process"), [(2, "ttbar"), (1, "single_top")])
def test_hadronic_decays_take_their_part_of_the_cross_section(power, process):
    kind = {"ttbar": TopPair, "single_top": SingleTop}[process]
    # Particle Data Group 2024: B(W → q q̄′) = 67.41 %.
    both = [survey(kind(type=process, mhat_edges=(1000,), hadronic_only=only)) for only in (True, False)]
    assert both[0] / both[1] == pytest.approx(0.6741**power, rel=0.06)


@pytest.mark.parametrize(
    ("process", "wanted", "number"),
    [
        (top_pair(1500, hadronic_only=True), {6: 2, 24: 2}, -2),
        (VectorBoson(type="vjets", mhat_edges=(1500,)), {}, -3),
        (SingleTop(type="single_top", mhat_edges=(1500,), hadronic_only=True), {6: 1, 24: 1}, -1),
        (Qcd(type="qcd", mhat_edges=(1500,)), {}, 0),
    ],
    ids=["ttbar", "vjets", "single_top", "qcd"],
)
def test_events_hold_what_they_are_named_after(process, wanted, number):
    n = 25
    made = generate(process, process.slices()[0], n, 3, SQRT_S, OPTIONS)
    hard = made.hard
    resonance = np.abs(made.hard_status) == 22
    for identity, copies in wanted.items():
        rows = resonance & (np.abs(hard.pdg_id) == identity)
        assert np.bincount(hard.event[rows], minlength=n).tolist() == [copies] * n
    if process.label() == "vjets":
        boson = resonance & np.isin(np.abs(hard.pdg_id), (23, 24))
        assert np.bincount(hard.event[boson], minlength=n).tolist() == [1] * n
        mass2 = (hard.e**2 - hard.px**2 - hard.py**2 - hard.pz**2)[boson]
        assert np.all((mass2 > 48**2) & (mass2 < 130**2))
    assert process.number == number
    assert not has_lepton(made).any()
    incoming = np.abs(made.hard_status) == 21
    mhat = np.bincount(hard.event[incoming], weights=hard.e[incoming], minlength=n) ** 2
    mhat -= np.bincount(hard.event[incoming], weights=hard.pz[incoming], minlength=n) ** 2
    assert np.all(np.sqrt(mhat) > 1499)
    charge = np.bincount(made.stable.event, weights=charge_of(made.stable.pdg_id), minlength=n)
    assert charge.tolist() == [2.0] * n


def test_leptons_of_top_pairs_are_flagged():
    made = generate(top_pair(1500), (1500.0, -1.0), 100, 3, SQRT_S, OPTIONS)
    # 1 − 0.6741² of the events hold a charged lepton; Particle Data Group 2024.
    assert has_lepton(made).mean() == pytest.approx(0.5456, abs=4 * 0.05)


def test_no_event_is_lost_below_the_transverse_momentum_that_the_veto_implies(monkeypatch):
    process = top_pair(1200, delta_eta_max=2.0)
    with_limit = survey(process)
    genuine = generator.process_settings
    monkeypatch.setattr(
        generator, "process_settings", lambda *args: [*genuine(*args), "PhaseSpace:pTHatMin = 0."]
    )
    assert survey(process) == pytest.approx(with_limit, rel=0.06)


def test_the_survey_of_an_early_veto_is_what_generation_finds():
    veto = EarlyVeto(mjj_min=2300, delta_eta_max=1.6)
    process = Qcd(type="qcd", mhat_edges=(2000,), early_veto=veto)
    surveyed = survey(process)
    made = generate(process, (2000.0, -1.0), 120, 5, SQRT_S, OPTIONS)
    without = survey(process.model_copy(update={"early_veto": None}))
    assert surveyed < 0.7 * without
    assert surveyed == pytest.approx(
        made.cross_section_pb, rel=0.3
    )  # 120 events: 9 % at one standard deviation


def test_vetoes_that_nothing_passes_are_named(monkeypatch):
    monkeypatch.setattr(generator, "_SURVEY_SHOWERS", 50)
    process = Qcd(type="qcd", mhat_edges=(2000,), early_veto=EarlyVeto(mjj_min=12000, delta_eta_max=0.5))
    with pytest.raises(OddjetError, match="no qcd event above a parton mass of 2000 GeV passes the vetoes"):
        survey(process)
