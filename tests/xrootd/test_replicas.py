"""Wrong lists of replicas are told before the work begins; replicas that only cannot serve now are not in its way."""

import pytest

from data.errors import InputError
from processors.config import ProcessingConfig
from processors.event_options import EventOptions
from processors.look import look_at
from processors.run import run_skim

FILES = 4
ENTRIES = 60
PATIENCE = 30


@pytest.fixture(scope="module")
def files(tmp_path_factory, make_nano_file):
    folder = tmp_path_factory.mktemp("files")
    return [make_nano_file(folder / f"{number}.root", ENTRIES, number) for number in range(FILES)]


@pytest.fixture
def sample(serve, files, make_sample):
    """Data on one server with replicas on another, and that other one."""

    def make(timeout=PATIENCE, **sites):
        one, two = serve(), serve()
        first, second = ([server.put(path) for path in files] for server in (one, two))
        replicas = {address: (other,) for address, other in zip(first, second, strict=True)}
        return make_sample(first, replicas=replicas, sites={"timeout": timeout, **sites}), two

    return make


def opened(sample, monkeypatch):
    """The replicas that are opened before the work."""
    from processors import preflight

    seen = []
    look = preflight.trouble_of
    monkeypatch.setattr(
        preflight, "trouble_of", lambda address, *args: seen.append(address) or look(address, *args)
    )
    look_at(sample, EventOptions())
    return sorted(seen)


@pytest.mark.parametrize(("how", "number"), [("folders", 1), ("all", FILES)])
def test_one_replica_of_each_folder_or_every_one_is_opened(sample, monkeypatch, how, number):
    given, two = sample(check_replicas=how)
    assert opened(given, monkeypatch) == [two.address(f"{i}.root") for i in range(number)]


def test_the_wrong_folder_is_told_before_the_work(sample, files, tmp_path):
    given, two = sample()
    for number, path in enumerate(files):
        two.put(path, f"{(number + 1) % FILES}.root")
    first = next(iter(given.files))
    message = (
        rf"(?s)sample 'mock': replica '{two.address('0.root')}' of file '{first}': it holds another file "
        r"\(UUID \w{32} instead of \w{32}\).*Correct the replicas in the sample definition"
    )
    with pytest.raises(InputError, match=message):
        run_skim(given, ProcessingConfig(), EventOptions(), tmp_path)


def test_all_wrong_replicas_are_told_where_all_are_opened(sample, files):
    given, two = sample(check_replicas="all")
    for number in (1, 3):
        two.put(files[0], f"{number}.root")
    with pytest.raises(
        InputError, match=rf"(?s){two.address('1.root')}' of.*{two.address('3.root')}' of"
    ) as raised:
        look_at(given, EventOptions())
    assert two.address("2.root") not in str(raised.value)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda two: two.stop(), "Connection error"),
        (lambda two: two.on_disk("0.root").unlink(), "no such file"),
        (lambda two: two.put(two.config, "0.root"), "not a ROOT file"),
        pytest.param(lambda two: two.freeze(), "no answer within 3 s", marks=pytest.mark.slow),
    ],
)
def test_replicas_that_cannot_serve_are_warned_of(sample, caplog, fault, reason):
    given, two = sample(timeout=3)
    fault(two)
    assert len(look_at(given, EventOptions()).files) == FILES
    assert (
        f"sample 'mock': replica '{two.address('0.root')}' of file '{next(iter(given.files))}': "
        in caplog.text
    )
    assert reason in caplog.text
