"""The stage ``studies``, and what it is made from."""

from functools import partial

from analysis.run import Run
from analysis.stages import Product, run_stage


def study(run: Run) -> None:
    """Features, methods and most anomalous events of a run, in ``studies.json`` and ``events.json``."""
    trained = {f"models/{m}/{w.name}": run.identity(f"train {m} {w.name}") for m, w in run.tasks()}
    tables = {f"features/{name}": run.identity(f"skim {name}") for name in run.samples}
    filled = {f"hist {run.data.name}": run.identity(f"hist {run.data.name}")}
    run_stage(
        run,
        "studies",
        inputs=trained | tables | filled | run.identities[run.data.name],
        options={
            "report": run.config.report.model_dump(),
            "jets": run.config.jets.model_dump(),
            "region": run.config.selection.region,
            "search": run.config.search.model_dump(),
            "fit_start": run.config.scan.fit_start,
            "windows": [window.name for window in run.config.windows()],
            "trained_on": {name: run.trained_on(name) for name in run.filled},
        },
        work=partial(_work, run),
    )


def _work(run: Run) -> Product:
    from analysis.run_studies import make_studies  # noqa: PLC0415 - networks and plots take seconds to import

    return make_studies(run)
