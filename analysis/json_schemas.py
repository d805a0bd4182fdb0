"""JSON schemas of the files that ``oddjet`` exchanges with other programs, kept beside the code.

``python -m analysis.json_schemas`` writes them again after a change of the sections that they come from.
"""

from pathlib import Path
from typing import Any

from analysis.config_schema import FOLDER
from analysis.limit_record import LimitRecord
from analysis.result_document import BiasDocument, ResultDocument
from analysis.retraining_limits import EfficiencyTable, TableLimits
from analysis.spectrum_document import SpectrumDocument
from data.files import write_json
from data.sections import Section

DOCUMENTS: dict[str, type[Section]] = {
    "spectrum": SpectrumDocument,
    "result": ResultDocument,
    "efficiency_table": EfficiencyTable,
    "efficiency_limits": TableLimits,
    "bias": BiasDocument,
    "limits": LimitRecord,
}
"""Name of each schema to the section that it comes from."""


def schema(name: str) -> dict[str, Any]:
    """The schema of a document, as draft 2020-12.

    Parameters
    ----------
    name
        A key of `DOCUMENTS`.
    """
    found = DOCUMENTS[name].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def write_schemas(folder: Path = FOLDER) -> list[Path]:
    """Write all schemas.

    Parameters
    ----------
    folder
        Where to.

    Returns
    -------
    list of Path
        The files.
    """
    paths = []
    for name in DOCUMENTS:
        paths.append(folder / f"{name}.json")
        write_json(paths[-1], schema(name))
    return paths


if __name__ == "__main__":
    write_schemas()
