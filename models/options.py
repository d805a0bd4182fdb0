"""Options that every trained method has."""

import abc
from typing import Literal

import pydantic

from data.sections import Section
from models.quantile_regression import QuantileSettings
from models.stack import Device, Precision

NOT_INPUTS = frozenset({"mjj", "label", "weight", "region", "prior", "run", "luminosity_block", "event"})


class MethodOptions(Section):
    """Options of every trained method."""

    device: Device = "cpu"
    """Where networks train; scoring is on the CPU."""
    precision: Precision = "float32"
    """``bfloat16``: mixed precision on a GPU."""
    decorrelate: Literal["none", "quantile"] = "none"
    """``quantile``: the cut follows the score's quantile as a function of mjj, so that it keeps the same fraction of
    the background at every mass."""
    quantile: QuantileSettings = QuantileSettings()

    @property
    @abc.abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """Columns that scoring reads, ``mjj`` not among them."""


class FeatureOptions(MethodOptions):
    """Options of methods whose inputs are free."""

    features: tuple[str, ...]
    """Input columns, one number an event each."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features."""
        return self.features

    @pydantic.field_validator("features")
    @classmethod
    def _features_are_inputs(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        forbidden = sorted(NOT_INPUTS.intersection(features))
        if forbidden or not features or len(set(features)) != len(features):
            reason = (
                f"{', '.join(forbidden)} may not be used; leave this out"
                if forbidden
                else "name each input once, at least one"
            )
            msg = f"features: {reason}"
            raise ValueError(msg)
        return features
