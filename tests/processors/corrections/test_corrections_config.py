import pytest

from data.errors import ConfigError, InputError
from processors.corrections.config import (
    CorrectionsConfig,
    correction_files,
    required_roles,
    variation_names,
)


def parse(**sections):
    return CorrectionsConfig.parse(sections, "search.yaml")


FLAT = {
    "jes": {"relative_uncertainty": 0.01},
    "jer": {"resolution": 0.05, "scale_factor": 1.1, "uncertainty": 0.05},
    "jms": {"uncertainty": 0.01},
    "jmr": {"resolution": 0.1, "scale_factor": 1.1, "uncertainty": 0.05},
}


def test_names_come_in_a_fixed_order():
    config = parse(**dict(reversed(FLAT.items())), parton_shower=True, scale=True, prefiring=True)
    kinematic, weights = variation_names(config, "simulation")
    sides = [f"{stem}_{side}" for stem in ("jes", "jer", "jms", "jmr") for side in ("up", "down")]
    assert kinematic == ("nominal", *sides)
    stems = ("prefiring", "mur", "muf", "murf", "isr", "fsr")
    assert weights == tuple(f"{stem}_{side}" for stem in stems for side in ("up", "down"))


def test_data_are_never_varied():
    config = parse(**FLAT, scale=True, pdf={"kind": "hessian"})
    assert variation_names(config, "data") == (("nominal",), ())
    assert required_roles(config, "data") == ()


def test_nothing_configured_is_nothing_varied():
    for config in (None, parse()):
        assert variation_names(config, "simulation") == (("nominal",), ())
        assert required_roles(config) == correction_files(config) == ()


def test_sources_have_labels():
    config = parse(jes={"file": "a.json", "uncertainties": {"Total": "X_Total", "flavour": "X_FlavorQCD"}})
    kinematic, _ = variation_names(config, "simulation")
    assert kinematic[1:] == ("jes_Total_up", "jes_Total_down", "jes_flavour_up", "jes_flavour_down")


def test_roles_of_stored_weights_and_generator_jets():
    config = parse(jer=FLAT["jer"], prefiring=True, scale=True, pdf={"kind": "replicas"}, parton_shower=True)
    generator = ("gen_jet", "gen_pt", "gen_eta", "gen_phi")
    stored = ("prefiring_nominal", "prefiring_up", "prefiring_down", "scale_weights", "pdf_weights")
    assert required_roles(config) == (*generator, *stored, "shower_weights")
    stochastic = parse(jer=FLAT["jer"] | {"method": "stochastic"})
    assert required_roles(stochastic) == ()


def test_roles_are_what_the_files_need(jerc_file):
    jes = {
        "file": str(jerc_file),
        "correction": "Summer22_22Sep2023_V3_MC_L1L2L3Res_AK4PFPuppi",
        "data_correction": "Summer22_22Sep2023_RunCD_V3_DATA_L2L3Residual_AK4PFPuppi",
        "uncertainty": "Summer22_22Sep2023_V3_MC_Total_AK4PFPuppi",
    }
    config = parse(jes=jes)
    assert required_roles(config) == ("raw_factor", "area", "rho")
    assert required_roles(config, "data") == ("raw_factor",)
    assert required_roles(parse(jes=jes | {"undo_stored": False}), "data") == ()
    jmr = {"file": str(jerc_file), "resolution": "Summer22_22Sep2023_JRV1_MC_PtResolution_AK4PFPuppi"}
    assert required_roles(parse(jmr=jmr | {"scale_factor": 1.1, "uncertainty": 0.05})) == ("rho",)
    assert correction_files(parse(jes=jes, jmr=jmr | {"scale_factor": 1.1, "uncertainty": 0.05})) == (
        jerc_file,
    )


@pytest.mark.parametrize(
    ("section", "match"),
    [
        (
            {"jes": {"correction": "X"}},
            r"key 'jes': 'X' is the name of a correction in a file; give .* 'file'",
        ),
        ({"jes": {"file": "a.json"}}, "file a.json is given, but no name of a correction"),
        ({"jes": {}}, "gives neither a correction nor an uncertainty"),
        (
            {"jes": {"file": "a.json", "uncertainty": "X", "relative_uncertainty": 0.1}},
            "give only one of uncertainty, uncertainties and relative_uncertainty",
        ),
        ({"jes": {"file": "a.json", "uncertainties": {"a b": "X"}}}, "should match pattern"),
        ({"jer": {"resolution": 0.1, "scale_factor": 1.1}}, "scale_factor is a number: give its uncertainty"),
        (
            {"jer": {"resolution": 0.1, "scale_factor": "X", "file": "a", "uncertainty": 0.1}},
            "file holds the var",
        ),
        ({"jms": {"scale": 0.1, "uncertainty": 0.2}}, "uncertainty 0.2 is not smaller than the scale 0.1"),
        ({"pdf": {}}, "key 'pdf.kind'"),
        ({"jec": {}}, "unknown key 'jec'; did you mean 'jes'"),
        ({"btag": {"file": "a"}}, "key 'btag.heavy'"),
    ],
)
def test_what_makes_no_sense_is_refused(section, match):
    with pytest.raises(ConfigError, match=match):
        parse(**section)


def test_every_table_of_weights_is_opened_before_the_loop(write_corrections, nodes):
    """A wrong name or file is said once, with the nearest names, and not by each chunk."""
    file = str(write_corrections({"here": (("pt",), nodes["formula"]("0.9", "pt"))}))
    btag = {
        "file": file,
        "threshold": 0.5,
        **{key: {"name": "here"} for key in ("heavy", "light", "efficiency")},
    }
    right = {
        "pileup": {"file": file, "name": "here"},
        "trigger": {"file": file, "name": "here"},
        "btag": btag,
    }
    assert required_roles(parse(**right)) == (
        "n_true_interactions",
        "subjet_pt",
        "subjet_eta",
        "subjet_flavour",
    )
    wrong = [{key: right[key] | {"name": "hree"}} for key in ("pileup", "trigger")]
    wrong += [{"btag": btag | {key: {"name": "hree"}}} for key in ("heavy", "light", "efficiency")]
    for section in wrong:
        with pytest.raises(InputError, match=r"corrections\.json: holds no correction 'hree'; .*: here"):
            required_roles(parse(**section))
        assert required_roles(parse(**section), "data") == ()
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        required_roles(parse(btag=btag | {"efficiency_file": "none.json"}))
