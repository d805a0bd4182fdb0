"""Events a CPU second and memory of pass 1 beside plain uproot reading the same branches of the same files.

Prints one JSON object; run it as ``python tests/benchmarks/bench_pass1.py [SAMPLES.yaml [JETS_ONLY PARTICLES]]``. By
default the shipped sample is read: ``mock`` for files of jets, ``qcd_particles`` for files with particles.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import uproot

from data.partials import PartialStore
from data.samples import read_samples
from processors.config import JetsConfig, ProcessingConfig
from processors.event_options import EventOptions
from processors.loop import run_loop
from processors.preflight import plan_sample
from processors.recipe import recipe_of
from processors.skim import Skim

REPEAT = 3
SAMPLES = Path(__file__).parents[2] / "data" / "mini" / "samples.yaml"


def plain_uproot(plan):
    """Read every branch that pass 1 reads, file by file, and nothing else."""
    for file in plan.files:
        with uproot.open({file.path: None}) as opened:
            opened[plan.sample.tree].arrays(sorted(file.schema.branches()), how=dict)


def pass_one(plan, options):
    """The event loop of ``oddjet skim``, its partial results written to a scratch folder."""
    with tempfile.TemporaryDirectory() as scratch:
        store = PartialStore(Path(scratch))
        result = run_loop(plan, Skim(recipe_of(plan, options)), ProcessingConfig(), store)
    return result.account.processed


def cpu(function, *arguments):
    """Least CPU seconds of a few calls; the first one, which compiles and fills caches, does not count."""
    function(*arguments)
    seconds = []
    for _ in range(REPEAT):
        start = time.process_time()
        function(*arguments)
        seconds.append(time.process_time() - start)
    return min(seconds)


def measure(sample, options):
    """Rates (events a CPU second) of pass 1 and of plain uproot, and the largest memory so far (GiB)."""
    plan = plan_sample(sample, options.demand(sample))
    events = sum(file.entries for file in plan.files)
    ours, plain = cpu(pass_one, plan, options), cpu(plain_uproot, plan)
    return {
        "events": events,
        "branches": len(plan.files[0].schema.branches()),
        "pass_1": round(events / ours),
        "plain_uproot": round(events / plain),
        "ratio": round(plain / ours, 3),
        "largest_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


if __name__ == "__main__":
    given = sys.argv[1:]
    samples = read_samples(Path(given[0]) if given else SAMPLES)
    jets_only, particles = given[1:3] if len(given) > 2 else ("mock", "qcd_particles")
    computed = EventOptions(jets=JetsConfig(substructure="particles"))
    print(
        json.dumps(
            {
                "jets_only": measure(samples[jets_only], EventOptions()),
                "particles_and_all_kernels": measure(samples[particles], computed),
            },
            indent=2,
        )
    )
