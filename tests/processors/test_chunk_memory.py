"""A worker that has done many chunks holds nothing of them."""

import gc

from coffea.nanoevents import NanoEventsFactory

from processors.config import ProcessingConfig
from processors.event_options import EventOptions
from processors.run import run_skim


def readers():
    """What holds the columns of a chunk: coffea's readers that are alive."""
    # not isinstance: some libraries answer the question for their class with a warning
    return sum(type(thing) is NanoEventsFactory for thing in gc.get_objects())


def test_no_chunk_outlives_its_result(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 600)
    gc.collect()
    before, alive = readers(), []
    gc.callbacks.append(lambda phase, info: alive.append(readers()) if phase == "stop" else None)
    gc.disable()  # Python looks when it likes: at the latest when memory is full
    try:
        run_skim(make_sample([path]), ProcessingConfig(chunk_size=100), EventOptions(), tmp_path / "out")
        assert readers() == before
        assert len(alive) == 6  # one search a chunk
        assert set(alive) == {before}
        assert gc.get_freeze_count() == 0
    finally:
        gc.enable()
        gc.callbacks.pop()
