import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.luminosity import (
    merge_sections,
    processed_luminosity,
    read_golden_json,
    read_luminosity_table,
    unique_sections,
)

GOLDEN = {"297050": [[12, 137], [193, 776]], "297056": [[12, 203]]}
N_GOLDEN = 126 + 584 + 192
HEADER = "#run:fill,ls,time,beamstatus,E(GeV),delivered(/{u}),recorded(/{u}),avgpu,source"
REAL = (
    Path(os.environ.get("ODDJET_DATA", "."))
    / "cms"
    / ("Cert_294927-306462_13TeV_EOY2017ReReco_Collisions17_JSON.txt")
)
needs_data = pytest.mark.skipif("ODDJET_DATA" not in os.environ, reason="ODDJET_DATA is not set")


def golden_of(tmp_path, content):
    path = tmp_path / "golden.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_golden_json(path)


def table_of(tmp_path, rows, unit="pb", header=HEADER):
    """A table as brilcalc writes it, of (run, section, recorded)."""
    lines = ["#Data tag : 19v3 , Norm tag: None", header.format(u=unit)]
    lines += [
        f"{run}:5698,{ls}:{ls},06/14/17 20:40:32,STABLE BEAMS,6500,{2 * x},{x},22.1,PXL"
        for run, ls, x in rows
    ]
    path = tmp_path / "lumi.csv"
    path.write_text("\n".join([*lines, "#Summary:", "#nfill,nrun,nls,ncms,totdelivered,totrecorded", ""]))
    return read_luminosity_table(path)


def test_ranges_include_both_ends(tmp_path):
    golden = golden_of(tmp_path, GOLDEN)
    run = np.array([297050] * 7 + [297056, 297055, 1], dtype=np.uint32)
    block = np.array([11, 12, 137, 138, 192, 193, 777, 203, 50, 50], dtype=np.uint32)
    expected = [False, True, True, False, False, True, False, True, False, False]
    assert golden.certified(run, block).tolist() == expected
    assert golden.sections() == N_GOLDEN
    assert golden.certified(run[:0], block[:0]).shape == (0,)


@needs_data
def test_the_real_list_of_2017():
    golden = read_golden_json(REAL)
    content = json.loads(REAL.read_text())
    assert golden.sections() == sum(b - a + 1 for ranges in content.values() for a, b in ranges) == 206562
    sections = {(int(run), s) for run in content for a, b in content[run] for s in range(a, b + 1)}
    rng = np.random.default_rng(5)
    run, block = rng.choice([int(r) for r in content], 20000), rng.integers(1, 1500, 20000)
    expected = [pair in sections for pair in zip(run.tolist(), block.tolist(), strict=True)]
    assert golden.certified(run, block).tolist() == expected
    assert 0.2 < np.mean(expected) < 0.6


@pytest.mark.slow
@needs_data
def test_coffea_certifies_the_same():
    from coffea.lumi_tools import LumiMask  # compiles for seconds

    rng = np.random.default_rng(6)
    run = rng.integers(297040, 306470, 500_000).astype(np.uint32)
    block = rng.integers(1, 3100, 500_000).astype(np.uint32)
    assert np.array_equal(read_golden_json(REAL).certified(run, block), LumiMask(str(REAL))(run, block))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"297050": [[12, 137]', r"golden\.json: not valid JSON .* download it again"),
        ([[12, 137]], "expected a mapping of runs to ranges of sections, found list"),
        ({}, "certifies no section"),
        ({"297050": []}, "certifies no section"),
        ({"2017B": [[1, 2]]}, "run '2017B' is not a number"),
        ({"-5": [[1, 2]]}, "run '-5' is not a number"),
        (
            {"297050": [[137, 12]]},
            r"run '297050' has the range \[137, 12\]: write two whole numbers first ≤ last",
        ),
        ({"297050": [[1, 2, 3]]}, r"run '297050' has the range \[1, 2, 3\]"),
        ({"297050": [[1.5, 2]]}, r"has the range \[1\.5, 2\]"),
        ({"297050": [[0, 2]]}, r"has the range \[0, 2\]"),
        ({"297050": [[True, 2]]}, r"has the range \[True, 2\]"),
        ({"297050": [["1", 2]]}, "has the range"),
        ({"297050": [7]}, "has the range 7"),
        ({"297050": {"1": 2}}, "run '297050' holds no list of ranges"),
        ({"297050": [[1, 20], [20, 30]]}, "run '297050' certifies section 20 twice"),
        ({"297050": [[25, 30], [1, 28]]}, "run '297050' certifies section 25 twice"),
        ('{"297050": [[1, 2]], "297050": [[5, 6]]}', "run '297050' stands twice; merge its ranges"),
        ('{"297050": [[1, 2]], "0297050": [[2, 6]]}', "run 297050 stands twice"),
    ],
)
def test_a_damaged_list_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        golden_of(tmp_path, content)


def test_a_missing_file_is_named(tmp_path):
    for read in (read_golden_json, read_luminosity_table):
        with pytest.raises(InputError, match=r"none\.txt: cannot be read"):
            read(tmp_path / "none.txt")


def test_numbers_that_are_no_sections_are_refused(tmp_path):
    golden = golden_of(tmp_path, GOLDEN)
    for run, block, message in (
        (np.array([297050]), np.array([-1]), "luminosity block -1 is not between"),
        (np.array([2**31]), np.array([1]), "run 2147483648 is not between"),
        (np.array([297050]), np.array([2**32 + 12]), "luminosity block 4294967308 is not between"),
        (np.array([297050.0]), np.array([12]), "run numbers are of type float64: they must be integers"),
    ):
        with pytest.raises(InputError, match=message):
            golden.certified(run, block)


def test_sections_once_and_in_order():
    run = np.array([5, 4, 5, 5, 4], dtype=np.uint32)
    block = np.array([9, 7, 2, 9, 7], dtype=np.uint32)
    assert unique_sections(run, block).tolist() == [[4, 7], [5, 2], [5, 9]]
    assert merge_sections([]).shape == (0, 2)


pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**32 - 1)), max_size=30)


@given(st.lists(pairs, max_size=6), st.randoms(use_true_random=False))
def test_merging_does_not_depend_on_the_parts(chunks, random):
    events = [event for chunk in chunks for event in chunk]
    parts = [unique_sections(*np.array(chunk, dtype=np.int64).reshape(-1, 2).T) for chunk in chunks]
    random.shuffle(parts)
    merged = merge_sections(parts)
    assert [tuple(row) for row in merged.tolist()] == sorted(set(events))
    assert np.array_equal(merge_sections([merged, *parts]), merged)


def test_luminosity_of_the_processed_sections(tmp_path):
    golden = golden_of(tmp_path, GOLDEN)
    sections = np.array([[297050, 12], [297050, 13], [297050, 138], [297056, 12]])
    found = processed_luminosity(sections, golden)
    assert (found.sections_certified, found.sections_processed) == (N_GOLDEN, 3)
    assert found.fraction == pytest.approx(3 / N_GOLDEN)
    assert found.luminosity_ifb is None
    assert found.certified_ifb is None

    # 138 is not certified, 297056:12 is not in the table, 297050:14 is certified and was not processed
    table = table_of(
        tmp_path,
        [(297050, 138, 500), (297050, 13, 20), (297050, 12, 300), (297050, 14, 1000), (290000, 1, 7)],
    )
    found = processed_luminosity(sections, golden, table)
    assert found.luminosity_ifb == pytest.approx(0.32, rel=1e-15)
    assert found.certified_ifb == pytest.approx(1.32, rel=1e-15)
    assert found.sections_without_luminosity == 1
    twice = np.concatenate([sections, sections[::-1]])
    assert processed_luminosity(twice, golden, table) == found
    assert processed_luminosity(sections[:0], golden, table).luminosity_ifb == 0


@pytest.mark.parametrize(("unit", "in_fb"), [("ub", 1e-9), ("nb", 1e-6), ("pb", 1e-3), ("fb", 1.0)])
def test_the_unit_stands_in_the_header(tmp_path, unit, in_fb):
    table = table_of(tmp_path, [(297050, 12, 250)], unit=unit)
    assert table.recorded_ifb.tolist() == [pytest.approx(250 * in_fb, rel=1e-15)]


def test_the_table_as_coffea_documents_it(tmp_path):
    # brilcalc writes the section as first:last, and 0 for the last where the beam was dumped in it
    rows = [(297050, 12, 0.25)]
    table_of(tmp_path, rows)
    text = (tmp_path / "lumi.csv").read_text().replace("12:12", "12:0")
    (tmp_path / "lumi.csv").write_text(text)
    table = read_luminosity_table(tmp_path / "lumi.csv")
    assert table.recorded_ifb.tolist() == [0.25e-3]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([(1, 1, 1)], {"unit": "Hz"}, r"has no header .*recorded\(UNIT\).* run brilcalc lumi with --byls"),
        ([(1, 1, 1)], {"header": "run,ls,lumi"}, "has no header"),
        ([], {}, "holds no section"),
        ([(1, 1, "x")], {}, r"lumi\.csv: line 3 is no section with its luminosity: 1:5698,1:1"),
        ([(1, 1, 1), (1, 2, -1)], {}, "line 4 is no section"),
        ([("a", 1, 1)], {}, "line 3 is no section"),
        ([(1, 1, 1), (1, 2, 1), (1, 1, 1)], {}, "section 1 of run 1 stands twice; keep one normtag"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, rows, options, message):
    with pytest.raises(InputError, match=message):
        table_of(tmp_path, rows, **options)


def test_a_table_of_another_year_is_refused(tmp_path):
    golden, table = golden_of(tmp_path, GOLDEN), table_of(tmp_path, [(314472, 1, 5)])
    with pytest.raises(
        InputError, match="holds none of the 1 certified sections processed, it is of another year; take"
    ):
        processed_luminosity(np.array([[297050, 12]]), golden, table)
