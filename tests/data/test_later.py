"""Modules that are imported at their first use."""

import pickle
import subprocess
import sys

from data.later import later


def test_one_is_sent_to_another_process_by_its_name():
    sent = pickle.dumps(later("colorsys"))
    code = (
        f"import pickle, sys; module = pickle.loads({sent!r}); print('colorsys' in sys.modules); "
        "print(module.rgb_to_hsv(0, 0, 1))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["False", str((2 / 3, 1.0, 1))]
