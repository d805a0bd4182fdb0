"""Workers that score have the libraries of trained methods before their first chunk."""

import subprocess
import sys


def test_libraries_of_trained_methods_are_there_before_the_first_chunk():
    code = (
        "import sys; from processors.scorers import import_methods; before = set(sys.modules); "
        "import_methods(); print(*sys.modules.keys() - before)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    new = set(told.stdout.split())
    assert new >= {
        "models.folded",
        "torch",
        "torch.nn.functional",
        "sklearn.ensemble",
        "models.kernels.forest",
    }
