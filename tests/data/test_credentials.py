"""Proxies and tokens that are missing, damaged or soon over are told before the work starts, and never shown."""

import base64
import datetime as dt
import json
import uuid
from pathlib import Path

import pytest

from data import credentials
from data.credentials import check_credentials, check_target, find_credentials
from data.errors import CredentialError
from data.samples import Sample

x509 = pytest.importorskip("cryptography.x509", reason="needs cryptography, of the extra xrootd")

NOW = dt.datetime(2026, 5, 4, 12, tzinfo=dt.UTC)
REMOTE = ["root://host//store/a.root"]


def certificate(hours):
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "user")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - dt.timedelta(days=400))
        .not_valid_after(NOW + dt.timedelta(hours=hours))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


def proxy(path, hours, *, above=9000.0):
    """A proxy as on disk: its certificate, its key, the certificate of the user who made it."""
    own, key = certificate(hours)
    path.write_bytes(own + key + certificate(above)[0])
    return {"X509_USER_PROXY": str(path)}


def token(hours, **more):
    payload = {"sub": "user", "exp": (NOW + dt.timedelta(hours=hours)).timestamp(), **more}
    parts = [json.dumps({"alg": "ES256"}), json.dumps(payload), "signature"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


def check(environment, wanted=None, hours=1.0, addresses=REMOTE):
    check_credentials(addresses, wanted, hours, environment, NOW)


@pytest.fixture(autouse=True)
def _no_other_credentials(monkeypatch, tmp_path):
    monkeypatch.setattr("os.getuid", lambda: 987654321)  # whose proxy in /tmp nobody has
    credentials._SAID.clear()


def test_local_files_need_none(tmp_path):
    check({"X509_USER_PROXY": str(tmp_path / "none")}, "proxy", addresses=["/data/a.root"])


def test_without_any_the_servers_decide():
    assert find_credentials({}) == []
    check({})


@pytest.mark.parametrize(("kind", "remedy"), [("proxy", "voms-proxy-init"), ("token", "BEARER_TOKEN_FILE")])
def test_what_is_demanded_must_be_there(kind, remedy):
    with pytest.raises(CredentialError, match=f"demand a {kind} .* there is none; .*{remedy}"):
        check({}, kind)


def test_remaining_lifetime_is_told(tmp_path, caplog):
    check(proxy(tmp_path / "proxy", 11.25))
    assert f"proxy {tmp_path / 'proxy'}: 11.2 h left" in caplog.text


@pytest.mark.parametrize(
    ("own", "above", "message"),
    [
        (-2, 9000, r"the proxy .*/proxy expired 2\.0 h ago; make one with `voms-proxy-init"),
        (0.5, 9000, r"the proxy .*/proxy is valid for 0\.5 h more, sites\.hours wants 1 h"),
        (12, 0.2, r"is valid for 0\.2 h more"),  # no longer than the certificate that it is of
    ],
)
def test_a_proxy_that_ends_too_soon(tmp_path, own, above, message):
    with pytest.raises(CredentialError, match=message):
        check(proxy(tmp_path / "proxy", own, above=above))


def test_one_that_only_lies_there_is_warned_of(tmp_path, caplog):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "bt_u987654321").write_text(token(-3))
    check({"XDG_RUNTIME_DIR": str(folder)})
    assert "expired 3.0 h ago" in caplog.text
    with pytest.raises(CredentialError, match=r"bt_u987654321 expired 3\.0 h ago"):
        check({"XDG_RUNTIME_DIR": str(folder)}, "token")


def test_tokens_are_found_in_the_order_of_the_wlcg(tmp_path):
    (tmp_path / "bt_u987654321").write_text(token(3))
    (tmp_path / "named").write_text(token(2) + "\n")
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    for more, hours in (
        ({}, 3),
        ({"BEARER_TOKEN_FILE": str(tmp_path / "named")}, 2),
        ({"BEARER_TOKEN": token(1)}, 1),
    ):
        environment |= more
        (found,) = find_credentials(environment)
        assert found.hours_left(NOW) == pytest.approx(hours, abs=1e-6)


def test_a_long_token_makes_up_for_a_short_proxy(tmp_path):
    check(proxy(tmp_path / "proxy", -1) | {"BEARER_TOKEN": token(5)})


@pytest.mark.parametrize("opaque", ["abc", "a.b.c", token(0, exp="soon"), token(0, exp=1e300)])
def test_tokens_that_do_not_say_when_they_end_are_used(opaque):
    check({"BEARER_TOKEN": opaque}, "token", hours=100)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "which the environment names, does not exist"),
        (b"", "holds no certificate"),
        (b"x" * 99, "holds no"),
    ],
)
def test_a_damaged_proxy(tmp_path, content, message):
    path = tmp_path / "proxy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CredentialError, match=message):
        check({"X509_USER_PROXY": str(path)})


def test_secrets_are_in_no_message(tmp_path, caplog):
    secret = token(-1)
    with pytest.raises(CredentialError, match=r"the token .* expired") as caught:
        check({"BEARER_TOKEN": secret}, "token")
    check({"BEARER_TOKEN": token(40)})
    shown = str(caught.value) + caplog.text + repr(find_credentials({"BEARER_TOKEN": secret}))
    assert not any(part in shown for part in secret.split("."))


@pytest.mark.parametrize("variable", ["X509_USER_PROXY", "BEARER_TOKEN", "BEARER_TOKEN_FILE"])
def test_empty_variables_name_nothing(variable):
    assert find_credentials({variable: ""}) == []
    check({variable: ""})


def test_an_empty_token_is_none(tmp_path):
    (tmp_path / "named").write_text(" \n")
    (tmp_path / "bt_u987654321").write_text("\n")
    assert find_credentials({"XDG_RUNTIME_DIR": str(tmp_path), "BEARER_TOKEN": " \n"}) == []
    with pytest.raises(CredentialError, match=r"demand a token .* there is none"):
        check({"XDG_RUNTIME_DIR": str(tmp_path)}, "token")
    with pytest.raises(CredentialError, match=r"the token .*/named is empty; get one"):
        check({"BEARER_TOKEN_FILE": str(tmp_path / "named")})


@pytest.fixture
def damaged_default(monkeypatch):
    """Something that is no proxy, where one is looked for by default."""
    user = uuid.uuid4().int % 10**12 + 10**12  # whom nobody is
    monkeypatch.setattr("os.getuid", lambda: user)
    place = Path("/") / "tmp" / f"x509up_u{user}"
    place.write_text("rubbish")
    yield place
    if place.is_dir():
        place.rmdir()
    else:
        place.unlink()


def test_a_damaged_one_that_only_lies_there_is_warned_of(damaged_default, tmp_path, caplog):
    for _ in range(3):
        check({})
    assert caplog.text.count(f"{damaged_default} holds no certificate") == 1
    assert "it is left out" in caplog.text
    check({"BEARER_TOKEN": token(5)}, "token")
    with pytest.raises(CredentialError, match=f"{damaged_default} holds no certificate"):
        check({}, "proxy")
    damaged_default.unlink()
    damaged_default.mkdir()
    check({})
    assert f"the proxy {damaged_default} cannot be read (Is a directory)" in caplog.text


def test_what_is_not_wanted_is_not_looked_at(tmp_path):
    broken = {"BEARER_TOKEN_FILE": str(tmp_path / "none")}
    check(broken | proxy(tmp_path / "proxy", 5), "proxy")
    with pytest.raises(CredentialError, match="does not exist"):
        check(broken | proxy(tmp_path / "proxy", 5))


def test_the_place_of_outputs_is_asked_for_like_the_inputs(tmp_path, monkeypatch):
    monkeypatch.setenv("BEARER_TOKEN", token(-1))
    facts = {"name": "mock", "kind": "data", "process": "data", "year": "2017", "files": {"/a.root": None}}
    samples = [Sample(**facts, sites={"credential": "token", "hours": hours}) for hours in (0, 3)]
    check_target(str(tmp_path), samples)
    with pytest.raises(
        CredentialError,
        match=r"outputs cannot be copied to root://host//out \(run\.copy_to\): the token BEARER_TOKEN expired",
    ):
        check_target("root://host//out", samples)
    monkeypatch.delenv("BEARER_TOKEN")
    with pytest.raises(CredentialError, match=r"\(run\.copy_to\): the servers demand a token"):
        check_target("root://host//out", samples)
