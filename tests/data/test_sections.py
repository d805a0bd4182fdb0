from typing import Annotated, Literal

import pydantic
import pytest

from data.errors import ConfigError
from data.sections import Section, read_yaml


class Inner(Section):
    chunk_size: int = pydantic.Field(default=1, gt=0)


class Outer(Section):
    processing: Inner = Inner()
    samples: dict[str, Inner] = pydantic.Field(default_factory=dict)
    name: str


def test_unknown_keys_are_named_with_the_nearest_known_one():
    with pytest.raises(ConfigError, match=r"run\.yaml: unknown key 'nam'; did you mean 'name'\?"):
        Outer.parse({"nam": "x", "name": "y"}, "run.yaml")
    with pytest.raises(
        ConfigError, match=r"unknown key 'processing\.chunksize'; did you mean 'chunk_size'\?"
    ):
        Outer.parse({"name": "x", "processing": {"chunksize": 3}}, "run.yaml")
    with pytest.raises(ConfigError, match=r"unknown key 'samples\.mock\.zzz'; known keys: chunk_size"):
        Outer.parse({"name": "x", "samples": {"mock": {"zzz": 3}}}, "run.yaml")


class Round(Section):
    shape: Literal["round"]
    radius: float = 1.0


class Square(Section):
    shape: Literal["square"]
    side: float = 1.0


class Drawing(Section):
    shapes: dict[str, Annotated[Round | Square, pydantic.Field(discriminator="shape")]]


def test_known_keys_are_those_of_the_chosen_alternative_each_once():
    with pytest.raises(ConfigError, match=r"unknown key 'shapes\.mine\.zzz'; known keys: shape, side$"):
        Drawing.parse({"shapes": {"mine": {"shape": "square", "zzz": 3}}}, "run.yaml")
    with pytest.raises(ConfigError, match=r"unknown key 'shapes\.round\.zzz'; known keys: radius, shape$"):
        Drawing.parse({"shapes": {"round": {"shape": "round", "zzz": 3}}}, "run.yaml")


def test_every_problem_is_listed():
    with pytest.raises(
        ConfigError, match=r"(?s)key 'processing.chunk_size': .*greater than 0.*key 'name': missing"
    ):
        Outer.parse({"processing": {"chunk_size": 0}}, "run.yaml")


def test_a_section_must_be_a_mapping():
    with pytest.raises(ConfigError, match=r"run\.yaml: expected a mapping of keys to values, found list"):
        Outer.parse([], "run.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "found list"),
        ("a: 1\na: 2\n", "key 'a' stands twice"),
        ("a:\n  b: 1\n  b: 2\n", "key 'b' stands twice"),
        ("a: [1\n", "not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_bad_yaml_is_named_and_never_runs(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"(?s)run\.yaml: .*{message}"):
        read_yaml(path)


def test_a_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / "events.root").write_bytes(b"root\x00\xff\xfe")
    with pytest.raises(
        ConfigError, match=r"events\.root: not text in UTF-8; give a file of YAML \(`oddjet init`"
    ):
        read_yaml(tmp_path / "events.root")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        read_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: x\nsamples: {2017: {}}\n",
            "key 'samples.2017': YAML reads 2017 as int, .* put it in quotes: \"2017\"",
        ),
        ("name: 2017\n", "key 'name': YAML reads 2017 as int, .* put it in quotes: \"2017\""),
        ("name: 1.5\n", "key 'name': YAML reads 1.5 as float, .* put it in quotes: \"1.5\""),
        ("name: on\n", "key 'name': YAML reads True as bool, not as text; put it in quotes$"),
        (
            "name: x\nprocessing:\n",
            "key 'processing': expected a mapping of keys to values, found nothing; fill it",
        ),
        ("name: x\nsamples: [1]\n", "key 'samples': expected a mapping of keys to values, found list"),
    ],
)
def test_what_yaml_makes_of_unquoted_and_empty_values(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Outer.parse(read_yaml(path), "run.yaml")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "expected a number greater than 0, found 0"),
        ("many", "expected a whole number, found many"),
        (None, "expected a whole number, found nothing"),
        ([1], "expected a whole number, found a list"),
    ],
)
def test_what_is_wanted_and_what_stands_there(value, message):
    with pytest.raises(ConfigError, match=f"run.yaml: key 'processing.chunk_size': {message}$"):
        Outer.parse({"name": "x", "processing": {"chunk_size": value}}, "run.yaml")
