"""Arrays that no training could have made, and samples that none can learn from, are refused with their place."""

import numpy as np
import pytest
import torch

import models
from data.errors import ConfigError, TrainingError
from data.eventid import fold_of
from models.checks import check_background, check_splits
from models.folds import KnownRows, TrainingSample, training_sample
from models.networks.convolution import ConvolutionalAutoencoder
from models.regions import regions

WINDOW = regions((3000.0, 3600.0), (2500.0, 3000.0), (3600.0, 4400.0))


def sample_of(mjj, batch):
    rows = len(mjj)
    return TrainingSample(
        {"mjj": np.asarray(mjj, dtype=np.float64)},
        np.arange(rows, dtype=np.uint64),
        np.asarray(batch, dtype=np.int64),
        "event id",
        np.ones(rows),
    )


def test_a_background_too_small_for_a_threshold_is_named():
    # Folds follow from batches: 32 events in each fold but one, which has four.
    every = np.repeat(np.arange(40), 4)
    few = np.flatnonzero(fold_of(every) == 4)
    batch = np.delete(every, few[4:])
    background = sample_of(np.full(len(batch), 3300.0), batch)
    check_background(background, WINDOW, 0.25)
    wanted = r"table 'background': fold 4 holds 4 events .* working point 0.05 needs 20: raise working_point"
    with pytest.raises(TrainingError, match=wanted):
        check_background(background, WINDOW, 0.05)


def test_an_inner_split_without_a_class_is_named():
    every = np.tile(np.arange(40), 2)
    sample = sample_of(np.repeat([3300.0, 2700.0], 40), every)
    region = WINDOW.of(sample.columns["mjj"])
    check_splits(region, sample, WINDOW)
    of_one_batch = sample_of(sample.columns["mjj"], np.zeros(80))
    wanted = r"window 2500-3000-3600-4400 GeV: inner split \d of fold 0 holds 0 signal-region and 0 side-band"
    with pytest.raises(TrainingError, match=wanted):
        check_splits(region, of_one_batch, WINDOW)


@pytest.mark.parametrize(("weight", "negative"), [([-1.0, 2.0, 1.0], 1), ([0.0, 0.0, 0.0], 0)])
def test_weights_that_no_training_can_use_are_named(weight, negative):
    table = {"mjj": np.array([3000.0, 3300.0, 3400.0]), "weight": np.array(weight)}
    wanted = rf"column 'weight': the table 'signal' holds {negative} negative weights of 3; .*use a sample"
    with pytest.raises(TrainingError, match=wanted):
        training_sample(table, ("mjj",), ("mjj",), what="the table 'signal'", weighted=True)


@pytest.mark.parametrize(
    ("hashes", "folds"), [([], []), ([2, 1], [0, 1]), ([1, 1], [0, 1]), ([1, 2], [0, 5]), ([1, 2], [-1, 0])]
)
def test_rows_that_no_training_remembers_are_refused(hashes, folds):
    arrays = {"trained/hashes": np.array(hashes, np.uint64), "trained/folds": np.array(folds, np.int8)}
    with pytest.raises(ValueError, match="not ascending, or their folds not 0 … 4"):
        KnownRows.checked(arrays)


def test_kernels_that_are_not_finite_are_named():
    network = ConvolutionalAutoencoder(8, (2, 2), (4,), 2)
    generator = torch.Generator().manual_seed(0)
    arrays = {name: value[None].numpy() for name, value in network.initial(generator).items()}
    network.check(arrays)
    with pytest.raises(ValueError, match="the kernel 'kernel1' is not that of a trained network"):
        network.check(arrays | {"kernel1": np.nan * arrays["kernel1"]})


def test_directions_that_are_not_orthonormal_are_refused():
    names = ("m_j1", "m_j2", "tau21_j1", "tau21_j2")
    method = models.create("linear_autoencoder", signal_region=(3000.0, 3600.0), features=names)
    directions = np.eye(4, 2, dtype=np.float32)
    arrays = {"mean": np.zeros(4, np.float32), "directions": directions}
    method.check_network(arrays)
    with pytest.raises(ValueError, match="directions of the linear autoencoder are not orthonormal"):
        method.check_network(arrays | {"directions": 1.1 * directions})


def test_methods_trained_together_share_a_device():
    methods = [
        models.create("anode", signal_region=(3000.0, 3600.0), precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    wanted = "need one device and one precision, found cpu, bfloat16 and cpu, float32; give all the same"
    with pytest.raises(ConfigError, match=wanted):
        models.fit_together(methods, [{}, {}])
