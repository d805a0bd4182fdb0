import pytest
import yaml

from data.errors import ConfigError
from data.samples import read_samples, year, years


def write(tmp_path, **samples):
    for name in ("a.root", "b.root"):
        (tmp_path / name).write_bytes(b"")
    path = tmp_path / "samples.yaml"
    path.write_text(yaml.safe_dump({"samples": samples}))
    return path


DATA = {"kind": "data", "process": "data", "year": "2017", "files": {"a.root": 10}}


def test_files_become_absolute_and_luminosity_falls_back_to_the_year(tmp_path):
    path = write(
        tmp_path, mock=DATA, small={**DATA, "files": {"root://host//b.root": None}, "luminosity_ifb": 2.5}
    )
    samples = read_samples(path)
    assert samples["mock"].files == {str(tmp_path / "a.root"): 10}
    assert samples["mock"].luminosity() == year("2017").luminosity_ifb == 41.5
    assert samples["small"].files == {"root://host//b.root": None}
    assert samples["small"].luminosity() == 2.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"year": "1999"}, "year '1999' is unknown; known years: 2016, 2017, 2018"),
        ({"files": {}}, "sample 'mock' lists no files"),
        ({"files": {"none.root": 1}}, "sample 'mock': file 'none.root' does not exist"),
        ({"kind": "simulation"}, "sample 'mock' is simulation without 'cross_section_pb'"),
        ({"cross_section": 1.0}, "unknown key 'samples.mock.cross_section'; did you mean 'cross_section_pb'"),
        ({"kind": "date"}, "key 'samples.mock.kind'"),
        ({"process": "a b"}, "key 'samples.mock.process'"),
        ({"luminosity_ifb": -1}, "greater than 0"),
    ],
)
def test_a_wrong_definition_is_named(tmp_path, change, message):
    path = write(tmp_path, mock={**DATA, **change})
    with pytest.raises(ConfigError, match=message):
        read_samples(path)


def test_a_file_belongs_to_one_sample(tmp_path):
    path = write(tmp_path, one=DATA, two=DATA)
    with pytest.raises(
        ConfigError, match=r"a\.root' stands in samples 'one' and 'two'; an event counts once"
    ):
        read_samples(path)


def test_years_hold_the_published_luminosity():
    # CMS EXO-22-026 (arXiv:2412.03747): 138 fb⁻¹ in 2016–2018.
    assert sum(years()[name].luminosity_ifb for name in ("2016", "2017", "2018")) == pytest.approx(
        138, abs=0.5
    )
