"""What a run's files say of the events that were read: account and cutflow, as the report reads them."""

import pydantic


class Entry(pydantic.BaseModel):
    """A part of a run's JSON; keys that the report does not use are left alone."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")


class CutflowStep(Entry):
    """Events left after one step of the selection.

    Attributes
    ----------
    weighted
        Sum of weights of the events left.
    n_minus_1_weighted
        The same of the events that pass all other steps.
    """

    step: str
    events: int
    weighted: float
    n_minus_1_weighted: float | None = None


class AccountFile(Entry):
    """Entries of one input file."""

    sample: str
    file: str
    expected: int
    processed: int
    selected: int


class ProcessedSections(Entry):
    """Certified luminosity sections of a data sample, and their luminosity in fb⁻¹ where a table gives it.

    Attributes
    ----------
    fraction
        Of the certified sections, those processed.
    certified_ifb, luminosity_ifb
        Of all certified and of the processed ones, fb⁻¹.
    """

    sections_certified: int
    sections_processed: int
    fraction: float
    certified_ifb: float | None = None
    luminosity_ifb: float | None = None
    sections_without_luminosity: int | None = None


class Account(Entry):
    """``account.json``: entries expected and processed."""

    files: tuple[AccountFile, ...]
    expected: int
    processed: int
    complete: bool
    luminosity: dict[str, ProcessedSections] = pydantic.Field(default_factory=dict)
