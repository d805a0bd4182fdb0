"""Proxies and tokens that are missing, damaged or soon over are told before the work starts, and never shown."""

import base64
import datetime as dt
import json

import pytest

from data.credentials import check_credentials, find_credentials
from data.errors import CredentialError

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
    with pytest.raises(CredentialError) as caught:
        check({"BEARER_TOKEN": secret}, "token")
    check({"BEARER_TOKEN": token(40)})
    shown = str(caught.value) + caplog.text + repr(find_credentials({"BEARER_TOKEN": secret}))
    assert not any(part in shown for part in secret.split("."))
