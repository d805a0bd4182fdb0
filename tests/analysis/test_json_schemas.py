"""The schemas beside the code are those of the code, the examples follow them, and so do results."""

import json
from pathlib import Path

import jsonschema
import pytest

import analysis
from analysis.bias import bias_study
from analysis.bias_config import BiasConfig
from analysis.json_schemas import DOCUMENTS, FOLDER, schema, write_schemas
from analysis.retraining_limits import table_limits
from analysis.scan_inputs import document_inputs
from analysis.spectrum_document import FitOptions, SpectrumDocument
from analysis.spectrum_scan import run_document

EXAMPLES = Path(analysis.__file__).with_name("examples")


def validate(name, content):
    jsonschema.Draft202012Validator(schema(name)).validate(content)


@pytest.fixture(scope="module")
def document():
    return SpectrumDocument.read(EXAMPLES / "spectrum.json")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_schemas_are_up_to_date(name):
    """If this fails: ``python -m analysis.json_schemas``."""
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) == schema(name)


def test_schemas_are_written_where_asked(tmp_path):
    paths = write_schemas(tmp_path)
    assert sorted(path.name for path in paths) == sorted(f"{name}.json" for name in DOCUMENTS)
    assert json.loads(paths[0].read_text()) == schema("spectrum")


@pytest.mark.parametrize("name", ["spectrum", "efficiency_table", "result", "efficiency_limits"])
def test_examples_follow_their_schemas(name):
    content = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    validate(name, content)
    DOCUMENTS[name].parse(content, name)


def test_the_example_result_is_that_of_the_example_spectrum(document):
    result = json.loads(json.dumps(run_document(document), allow_nan=False))
    validate("result", result)
    shipped = json.loads((EXAMPLES / "result.json").read_text(encoding="utf-8"))
    assert_close(result, shipped)


def test_the_example_limits_are_those_of_the_example_table():
    result = table_limits(EXAMPLES / "efficiency_table.json")
    validate("efficiency_limits", result)
    assert_close(result, json.loads((EXAMPLES / "efficiency_limits.json").read_text(encoding="utf-8")))


def test_bias_results_follow_their_schema(document):
    result = bias_study(document_inputs(document, limits=False), BiasConfig(toys=10))
    validate("bias", json.loads(json.dumps(result, allow_nan=False)))


def test_invalid_masses_follow_the_schema(document):
    ending = {"own": {"expression": "(1 - 3*x)**a / x**b", "start": {"a": 5, "b": 5}}}
    fit = FitOptions.parse({"candidates": ["own"], "own_functions": ending}, "fit")
    bad = document.model_copy(update={"fit": fit, "look_elsewhere": None})
    result = json.loads(json.dumps(run_document(bad), allow_nan=False))
    assert not any(row["valid"] for row in result["masses"].values())
    assert result["bumphunter"]["message"]
    validate("result", result)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"counts": [1.5]}, ["counts", 0]),
        ({"counts": [-1]}, ["counts", 0]),
        ({"masses": [0]}, ["masses", 0]),
        ({"maases": [2000]}, []),
        ({"signal": {"shape": "gauss"}}, ["signal"]),
        ({"signal": {"2000": {"mean": 2000}}}, ["signal"]),
        ({"edges": {"lo": 1460, "width": 0, "n": 3}}, ["edges"]),
        ({"fit": {"range": [1460]}}, ["fit", "range"]),
        ({"calculator": "exact"}, ["calculator"]),
    ],
)
def test_the_schema_refuses_what_the_program_refuses(changes, path):
    content = json.loads((EXAMPLES / "spectrum.json").read_text(encoding="utf-8")) | changes
    with pytest.raises(jsonschema.ValidationError) as refused:
        validate("spectrum", content)
    assert list(refused.value.absolute_path)[: len(path)] == path


@pytest.mark.parametrize(
    "signal",
    [
        {"shape": "double_crystal_ball", "sigma_over_mass": 0.03},
        {"template": {"edges": [2000, 2500, 3000], "values": [1, 2]}},
        {"2000": {"template": {"edges": {"lo": 1500, "width": 500, "n": 2}, "values": [1, 2]}}},
        {"2000": {"mean": 1990, "sigma": 95, "alpha_low": 1.2, "n_low": 5, "alpha_high": 1.5, "n_high": 10}},
    ],
)
def test_the_schema_takes_every_form_of_a_signal(signal):
    content = json.loads((EXAMPLES / "spectrum.json").read_text(encoding="utf-8")) | {"signal": signal}
    validate("spectrum", content)
    SpectrumDocument.parse(content, "spectrum.json")


def assert_close(found, shipped):
    """Equal up to rounding on other processors; a fraction of pseudo-experiments may change by one of them."""
    assert type(found) is type(shipped)
    if isinstance(found, dict):
        assert found.keys() == shipped.keys()
        for key in found:
            assert_close(found[key], shipped[key])
    elif isinstance(found, list):
        assert len(found) == len(shipped)
        for one, other in zip(found, shipped, strict=True):
            assert_close(one, other)
    elif isinstance(found, float):
        assert found == pytest.approx(shipped, rel=1e-3, abs=3e-3)
    else:
        assert found == shipped
