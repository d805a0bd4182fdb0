"""The shipped configurations: each follows its schema, loads, and plans on files that hold what it needs."""

import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml

import analysis
from analysis.config import load_config
from analysis.config_schema import config_schema, write_config_schemas
from analysis.json_schemas import FOLDER
from analysis.pipeline import histogram, scan, skim, train
from analysis.plan_view import plan_view
from analysis.run import Run
from analysis.summary import summary_document
from data.samples import read_samples
from data.simulation.config import SimulationConfig
from data.simulation.run import simulate

CONFIGS = Path(analysis.__file__).with_name("configs")
MINI = Path(__file__).parents[2] / "data" / "mini"
RECIPES = ("lhc_olympics_recipe",)
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in RECIPES)
OWN_FILES = {
    "cms_full_search": {
        "data_2018": ("qcd_particles", {"kind": "data", "mock": True}),
        "qcd_2018": ("qcd_particles", {"kind": "simulation"}),
        **{
            f"xyy_{mass}_80_170": (
                "signal_particles",
                {"kind": "simulation", "process": "xyy_80_170", "mass": mass},
            )
            for mass in (2000, 3000, 5000)
        },
    },
    "lhc_olympics": {
        "black_box": ("qcd_particles", {"kind": "data", "mock": True}),
        "signal_2prong": ("signal_particles", {"kind": "simulation", "mass": 3500}),
    },
    "atlas_two_body": {"data_2018": ("qcd_particles", {"kind": "data", "mock": True})},
}
"""Samples of each configuration that has none of its own: the shipped files with particles stand for them."""


@pytest.fixture(scope="module")
def schemas():
    return {name: config_schema(name) for name in ("search", "samples")}


@pytest.fixture(params=NAMES)
def ready(request, tmp_path):
    """A shipped configuration with samples, and the folder of its run."""
    path = CONFIGS / f"{request.param}.yaml"
    if request.param not in OWN_FILES:
        return path, tmp_path / "out"
    samples = {}
    for name, (source, facts) in OWN_FILES[request.param].items():
        shutil.copy(MINI / f"{source}_0.root", tmp_path / f"{name}.root")
        simulated = {"cross_section_pb": 0.001, "without_corrections": ["scale", "pdf"]}
        common = {"process": name, "year": "2018" if "2018" in path.read_text() else "2017"}
        more = simulated if facts["kind"] == "simulation" else {}
        samples[name] = {**common, **more, **facts, "files": {f"{name}.root": None}}
    (tmp_path / "samples.yaml").write_text(yaml.safe_dump({"samples": samples}))
    shutil.copy(path, tmp_path / path.name)
    return tmp_path / path.name, tmp_path / "out"


def test_it_loads_and_plans(ready):
    path, out = ready
    run = Run(*load_config(path, (f"run.output={out}",)))
    view = plan_view(run)
    assert not out.exists()
    assert all(sample.entries for sample in view.samples)
    assert not any(view.stages.values())
    assert {method.name for method in view.methods} == set(run.config.methods)
    wanted = {f"train {name} {window.name}" for name, window in run.tasks()}
    assert wanted <= set(view.stages)
    assert view.wall > 0
    json.dumps(view.to_json(), allow_nan=False)


def test_the_full_search_is_that_of_the_paper():
    config = yaml.safe_load((CONFIGS / "cms_full_search.yaml").read_text())
    assert set(config["methods"]) == {
        "vae_qr",
        "cwola",
        "tnt",
        "cathode",
        "cathode_b",
        "quak",
        "prong2",
        "prong3",
    }
    assert config["scan"]["masses"] == {"start": 1800, "stop": 5800, "step": 100}
    assert config["systematics"] == {"jes": 0.01, "jer": 0.035, "luminosity": 0.016}


@pytest.mark.parametrize("name", NAMES)
def test_it_follows_the_schema(name, schemas):
    text = (CONFIGS / f"{name}.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=../schemas/search.json\n")
    jsonschema.Draft202012Validator(schemas["search"]).validate(yaml.safe_load(text))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_one(name):
    content = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    recipe = SimulationConfig.parse(content, name)
    assert {"black_box", "signal_2prong"} <= set(recipe.samples)


@pytest.mark.slow
def test_the_olympics_run_on_a_small_sample_of_their_recipe(tmp_path):
    pytest.importorskip("pythia8mc", reason="the extra [simulation] is not installed")
    content = yaml.safe_load((CONFIGS / "lhc_olympics_recipe.yaml").read_text())
    content["samples"]["black_box"] |= {"generate": 3000}
    content["samples"]["black_box"]["plant"]["generated"] = 60
    content["samples"]["signal_2prong"]["generate"] = 300
    simulate(SimulationConfig.parse(content, "recipe"), tmp_path / "olympics", 1)
    quick = "methods={cathode: {preset: quick, features: [m_j2, delta_m, tau21_j1, tau21_j2]}, prong2: {}}"
    chosen = (f"samples={tmp_path / 'olympics' / 'samples.yaml'}", f"run.output={tmp_path / 'out'}", quick)
    run = Run(*load_config(CONFIGS / "lhc_olympics.yaml", (*chosen, "scan.calculator=asymptotic")))
    for stage in (skim, train, histogram, scan):
        stage(run)
    found = summary_document(run.root)["selections"]
    assert found.keys() == {"inclusive", "cathode", "prong2"}
    assert found["prong2"]["largest_excess"]["z"] > 1


def test_the_shipped_samples_follow_their_schema(schemas):
    content = yaml.safe_load((MINI / "samples.yaml").read_text())
    jsonschema.Draft202012Validator(schemas["samples"]).validate(content)
    assert read_samples(MINI / "samples.yaml")


def definitions_of(part, definitions):
    """Names of the definitions that a part of a schema leads to."""
    waiting, found = [part], set()
    while waiting:
        names = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(waiting.pop()))) - found
        found |= names
        waiting += [definitions[name] for name in names]
    return found


def without_later(made, shipped):
    """A schema of the search without the methods and features that are in this copy, but not in the shipped one."""
    made = json.loads(json.dumps(made))
    definitions = made["$defs"]
    if "methods" in made["properties"]:
        methods, before = (one["properties"]["methods"]["properties"] for one in (made, shipped))
        later = {name: methods.pop(name) for name in methods.keys() - before.keys()}
        kept = definitions_of({key: made[key] for key in made if key != "$defs"}, definitions)
        for name in definitions_of(later, definitions) - kept:
            del definitions[name]
        further, known = (
            one["$defs"]["FeaturesConfig"]["properties"]["further"]["items"] for one in (made, shipped)
        )
        further["enum"] = [name for name in further["enum"] if name in known["enum"]]
    return made


@pytest.mark.parametrize("name", ["search", "samples"])
def test_the_shipped_schemas_are_up_to_date(name, schemas):
    """If this fails: ``python -m analysis.config_schema``."""
    made = schemas[name]
    jsonschema.Draft202012Validator.check_schema(made)
    shipped = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert without_later(made, shipped) == shipped


def test_what_is_added_needs_no_new_schema_but_a_change_does(schemas):
    shipped = json.loads((FOLDER / "search.json").read_text(encoding="utf-8"))
    older = json.loads(json.dumps(shipped))
    del older["properties"]["methods"]["properties"]["cwola"], older["$defs"]["CwolaOptions"]
    older["$defs"]["FeaturesConfig"]["properties"]["further"]["items"]["enum"].remove("d2")
    assert without_later(schemas["search"], older) == older
    older["$defs"]["KdeOptions"]["properties"].pop("features")
    assert without_later(schemas["search"], older) != older


def test_schemas_are_written_where_asked(tmp_path):
    assert [path.name for path in write_config_schemas(tmp_path)] == ["search.json", "samples.json"]


@pytest.mark.parametrize("name", ["search", "samples"])
def test_every_key_has_a_description(name, schemas):
    made = schemas[name]
    silent = [
        f"{owner}.{key}"
        for owner, definition in {"": made, **made["$defs"]}.items()
        for key, about in definition.get("properties", {}).items()
        if not about.get("description")
    ]
    assert not silent


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"serach": {}}, []),
        ({"methods": {"cwolla": {}}}, ["methods"]),
        ({"methods": {"cwola": {"classifier": "forest"}}}, ["methods", "cwola", "classifier"]),
        ({"methods": {"cwola": {"preset": "fast"}}}, ["methods", "cwola", "preset"]),
        ({"scan": {"masses": []}}, ["scan", "masses"]),
        ({"scan": {"masses": {"start": 2000, "step": 100}}}, ["scan", "masses"]),
        ({"selection": {"region": "side"}}, ["selection", "region"]),
        ({"run": {"output": "x", "seed": -1}}, ["run", "seed"]),
    ],
)
def test_the_schema_refuses_what_the_program_refuses(changes, place, schemas):
    content = yaml.safe_load((CONFIGS / "demo.yaml").read_text()) | changes
    with pytest.raises(jsonschema.ValidationError) as refused:
        jsonschema.Draft202012Validator(schemas["search"]).validate(content)
    assert list(refused.value.absolute_path)[: len(place)] == place
