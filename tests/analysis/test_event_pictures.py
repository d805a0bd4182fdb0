"""Pictures of an event: kinds of particles, jets across the end of the azimuth, numbers of splittings."""

import math
import re

import pytest

from analysis.report.event_pictures import draw_event, particle_kind
from analysis.study_record import DisplayEvent, DisplayJet


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ((211, -211, 321, 2212, -2212, 3112, 3222, 411), "hadron"),
        ((130, 310, 111, 311, 421, 2112, -2112, 3122, 3322, 1, 2, 0), "neutral"),
        ((22,), "photon"),
        ((11, -11, 13, -13), "lepton"),
    ],
)
def test_kinds_of_particles_follow_their_charge(codes, kind):
    assert {particle_kind(code) for code in codes} == {kind}


def jet(role, eta, phi, lund=()):
    return DisplayJet(
        role=role, pt=900.0, eta=eta, phi=phi, mass=80.0, subjets=(), particles=(), lund=lund
    )  # fmt: skip


def pictures(*others, lund=()):
    jets = (jet("j1", 0.0, 0.0, lund), jet("j2", 0.5, 3.0), *others)
    return draw_event(DisplayEvent(file="a.root", entry=1, has_particles=False, radius=0.8, jets=jets))


def test_a_jet_across_the_end_of_the_azimuth_goes_on_at_the_other():
    drawn, _ = pictures()[0]
    low, high = (
        sorted(float(y) for y in re.findall(rf'class="jet {role}" cx="\d+" cy="(-?\d+)"', drawn))
        for role in ("j1", "j2")
    )
    assert len(low) == 1
    assert len(high) == 2
    # 320 wide less 58 for six units of η, in the same scale one turn.
    turn = (320 - 58) / 6 * 2 * math.pi
    assert high[1] - high[0] == pytest.approx(turn, abs=1.0)
    name = float(re.search(r'<text class="name" [^>]*y="([\d.]+)">j2<', drawn).group(1))
    assert 10 + 12 < name < 10 + turn


def test_jets_beyond_the_picture_are_said_not_to_be_drawn():
    drawn, words = pictures(jet(None, 3.4, 1.0), jet(None, -1.0, 1.0))[0]
    assert drawn.count('class="jet other"') == 1
    assert "2 other jets, 1 of them beyond |η| = 3 and not drawn" in words
    assert "1 other jet)." in pictures(jet(None, -1.0, 1.0))[0][1]
    assert "; no other jet)." in pictures()[0][1]


def test_splittings_keep_their_number_where_one_lies_beyond_the_picture():
    told = re.findall(r"splitting (\d):", pictures(lund=((0.4, 4.0), (99.0, 2.5), (3.0, 0.5)))[2][0])
    assert told == ["1", "3"]
