"""A share of the chunks of a pass, for a batch job: its results go into a store, and another process merges them.

The results are named by their contents, so the stores of jobs are merged by putting their files into one folder.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from data.partials import PartialStore
from data.samples import Sample
from processors.account import Account
from processors.config import ProcessingConfig
from processors.event_options import EventOptions
from processors.loop import Part, Report, fill_store
from processors.lund_reweighting_survey import survey_of, with_lund_weights
from processors.preflight import SamplePlan
from processors.run import fill_of, prepared
from processors.scorers import import_methods
from processors.skim import Skim
from processors.varied_skim import VariedSkim


def survey_part(
    sample: Sample,
    processing: ProcessingConfig,
    options: EventOptions,
    *,
    store: PartialStore,
    part: Part,
    plan: SamplePlan | None = None,
    report: Report | None = None,
) -> Account | None:
    """Look through a share of a sample for its Lund-plane weights; every pass needs the whole sample looked through.

    Parameters
    ----------
    sample
        The sample.
    processing
        Chunk size and executor.
    options
        Cuts, jets, columns and corrections.
    store
        Where the results of chunks are kept; those that are there already are not made again.
    part
        Number and count of the shares: (0, 3) is the first of three.
    plan
        What is known of the sample's files; None to look at them.
    report
        Called with the account, also where an error ends it.

    Returns
    -------
    Account
        Of this share; None where the sample has no such weights.

    Raises
    ------
    InputError
        If a file or a value in it is wrong.
    IncompleteError
        If a worker died again and again.
    """
    plan, recipe = prepared(sample, options, plan)
    survey = survey_of(recipe)
    if survey is None:
        return None
    return fill_store(plan, survey, processing, store, part=part, report=report)


def skim_part(
    sample: Sample,
    processing: ProcessingConfig,
    options: EventOptions,
    *,
    store: PartialStore,
    part: Part,
    plan: SamplePlan | None = None,
    report: Report | None = None,
    varied: bool = False,
) -> Account:
    """Pass 1 of a share of a sample, or the pass that makes its tables with all variations.

    Parameters
    ----------
    sample, processing, options, store, part, plan, report
        As for `survey_part`. What the survey has not found yet of a sample with Lund-plane weights, this does first.
    varied
        Whether it is the pass with all variations, of a simulated sample.

    Returns
    -------
    Account
        Of this share.

    Raises
    ------
    InputError
        If a file or a value in it is wrong.
    IncompleteError
        If a worker died again and again.
    """
    plan, recipe = prepared(sample, options, plan)
    recipe, before = with_lund_weights(plan, recipe, processing, store, report=report)
    work = VariedSkim(recipe) if varied else Skim(recipe)
    return fill_store(plan, work, processing, store, part=part, before=before, report=report)


def histogram_part(
    sample: Sample,
    processing: ProcessingConfig,
    options: EventOptions,
    scorers: Mapping[str, Path],
    *,
    trained_on: Collection[str],
    store: PartialStore,
    part: Part,
    plan: SamplePlan | None = None,
    report: Report | None = None,
) -> Account:
    """Pass 2 of a share of a sample.

    Parameters
    ----------
    sample, processing, options, store, part, plan, report
        As for `survey_part`.
    scorers, trained_on
        As for `processors.run.run_histograms`.

    Returns
    -------
    Account
        Of this share.

    Raises
    ------
    InputError
        If a file, a value in it or a trained method is wrong.
    IncompleteError
        If a worker died again and again.
    """
    plan, recipe = prepared(sample, options, plan)
    prepare = import_methods if scorers else None
    recipe, before = with_lund_weights(plan, recipe, processing, store, prepare=prepare, report=report)
    work = fill_of(sample, options, recipe, scorers, trained_on)
    return fill_store(plan, work, processing, store, part=part, before=before, prepare=prepare, report=report)
