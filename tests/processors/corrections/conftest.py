"""Small correction files, written with correctionlib's own schema."""

import os
from pathlib import Path

import correctionlib.schemav2 as schema
import pytest

JERC = "jet_jerc_Summer22_V3.json.gz"


def variable(name):
    kind = {"systematic": "string", "weights": "string", "working_point": "string", "flavor": "int"}
    return schema.Variable(name=name, type=kind.get(name, "real"))


def binning(name, edges, content, flow="error"):
    return schema.Binning(nodetype="binning", input=name, edges=edges, content=content, flow=flow)


def category(name, content):
    items = [{"key": key, "value": value} for key, value in content.items()]
    return schema.Category(nodetype="category", input=name, content=items)


def formula(expression, *variables):
    return schema.Formula(nodetype="formula", expression=expression, parser="TFormula", variables=variables)


@pytest.fixture
def write_corrections(tmp_path):
    """Writes name -> (inputs, content) to a correction file."""

    def write(corrections, file="corrections.json"):
        entries = [
            schema.Correction(
                name=name,
                version=1,
                inputs=[variable(key) for key in inputs],
                output=schema.Variable(name="factor", type="real"),
                data=content,
            )
            for name, (inputs, content) in corrections.items()
        ]
        path = tmp_path / file
        whole = schema.CorrectionSet(schema_version=2, corrections=entries)
        path.write_text(whole.model_dump_json(exclude_unset=True))
        return path

    return write


@pytest.fixture
def nodes():
    """Builders of the nodes of a correction."""
    return {"binning": binning, "category": category, "formula": formula}


@pytest.fixture
def jerc_file():
    """AK4 jet energy corrections of CMS for 2022 as the experiment published them."""
    folder = os.environ.get("ODDJET_DATA")
    if folder is None:
        pytest.skip("ODDJET_DATA is not set: no correction file of CMS")
    return Path(folder) / "cms" / JERC
