"""Proxies and tokens: found where the tools of the grid look for them, and valid for long enough before work starts."""

import base64
import datetime as dt
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.errors import ConfigError, CredentialError
from data.samples import Sample
from data.xrootd import is_remote

_LOG = logging.getLogger("oddjet")
_REMEDIES = {
    "proxy": "make one with `voms-proxy-init --voms VO --valid 96:00`",
    "token": "get one, e.g. with `htgettoken`, and name its file in BEARER_TOKEN_FILE",
}
Kind = Literal["proxy", "token"]


@dataclass(frozen=True)
class Credential:
    """A proxy or a token; its secret is not kept.

    Attributes
    ----------
    kind, place
        What it is, and its file or variable.
    expires
        None where it does not say.
    chosen
        Whether the environment names it; else it lies where one is looked for by default.
    """

    kind: Kind
    place: str
    expires: dt.datetime | None
    chosen: bool

    def hours_left(self, now: dt.datetime) -> float:
        """Remaining lifetime in hours, negative where it is over; infinite where it does not say."""
        return float("inf") if self.expires is None else (self.expires - now) / dt.timedelta(hours=1)


def find_credentials(environment: Mapping[str, str]) -> list[Credential]:
    """The proxy and the token that XRootD would use.

    Parameters
    ----------
    environment
        Variables of the process: X509_USER_PROXY, BEARER_TOKEN, BEARER_TOKEN_FILE, XDG_RUNTIME_DIR.

    Returns
    -------
    list of Credential
        None, one, or both.

    Raises
    ------
    CredentialError
        If one that the environment names is missing or damaged.
    """
    found = [_proxy(environment), _token(environment)]
    return [credential for credential in found if credential is not None]


def check_credentials(
    addresses: Iterable[str],
    wanted: Kind | None,
    hours: float,
    environment: Mapping[str, str] | None = None,
    now: dt.datetime | None = None,
) -> None:
    """See before the work that remote files can be read, or written, until its end.

    Parameters
    ----------
    addresses
        Files that will be used; without a ``root://`` address among them nothing is asked for.
    wanted
        The kind of credential that the servers demand; None where any that is found will do, or none.
    hours
        For how long it must be valid.
    environment, now
        Variables of the process, and the time; those of this process and now unless given.

    Raises
    ------
    CredentialError
        If the kind that is wanted is missing, or what is wanted or named by the environment ends too soon. One that
        only lies where one is looked for by default is warned of: perhaps no server asks for it.
    """
    if not any(is_remote(address) for address in addresses):
        return
    moment = now or dt.datetime.now(dt.UTC)
    found = find_credentials(os.environ if environment is None else environment)
    usable = [one for one in found if wanted in {None, one.kind}]
    if wanted is not None and not usable:
        msg = f"the servers demand a {wanted} (sites.credential), and there is none; {_REMEDIES[wanted]}"
        raise CredentialError(msg)
    if not usable:
        return
    best = max(usable, key=lambda one: one.hours_left(moment))
    if best.hours_left(moment) >= hours:
        _announce(best, best.hours_left(moment))
        return
    msg = f"the {best.kind} {best.place} {_ending(best, moment, hours)}; {_REMEDIES[best.kind]}"
    if wanted is not None or best.chosen:
        raise CredentialError(msg)
    _LOG.warning("%s, where a server asks for it", msg)


def check_samples(samples: Iterable[Sample]) -> None:
    """The same for the files of samples, by the rules of their definitions.

    Raises
    ------
    CredentialError
        As `check_credentials`.
    """
    for sample in samples:
        addresses = [address for file in sample.files for address in sample.access(file).addresses]
        check_credentials(addresses, sample.sites.credential, sample.sites.hours)


def _ending(credential: Credential, now: dt.datetime, hours: float) -> str:
    left = credential.hours_left(now)
    if left < 0:
        return f"expired {-left:.1f} h ago"
    return f"is valid for {left:.1f} h more, sites.hours wants {hours:g} h"


_ANNOUNCED: set[Credential] = set()


def _announce(credential: Credential, left: float) -> None:
    if credential not in _ANNOUNCED:
        _ANNOUNCED.add(credential)
        valid = f"{left:.1f} h left" if credential.expires else "it does not say for how long"
        _LOG.info("%s %s: %s", credential.kind, credential.place, valid)


def _proxy(environment: Mapping[str, str]) -> Credential | None:
    named = environment.get("X509_USER_PROXY")
    place = Path(named or f"/tmp/x509up_u{os.getuid()}")  # noqa: S108 - where voms-proxy-init puts it
    content = _read(place, "proxy", required=named is not None)
    if content is None:
        return None
    try:
        from cryptography import x509  # noqa: PLC0415 - only the extra has it
    except ImportError:
        msg = f'{place}: the lifetime of a proxy cannot be read without cryptography: pip install "oddjet[xrootd]"'
        raise ConfigError(msg) from None
    try:
        chain = x509.load_pem_x509_certificates(content)
    except ValueError:
        msg = f"the proxy {place} holds no certificate; {_REMEDIES['proxy']}"
        raise CredentialError(msg) from None
    return Credential("proxy", str(place), min(one.not_valid_after_utc for one in chain), named is not None)


def _token(environment: Mapping[str, str]) -> Credential | None:
    if environment.get("BEARER_TOKEN", "").strip():
        return Credential("token", "BEARER_TOKEN", _expiry(environment["BEARER_TOKEN"]), chosen=True)
    named = environment.get("BEARER_TOKEN_FILE")
    name = f"bt_u{os.getuid()}"
    folders = [folder for folder in (environment.get("XDG_RUNTIME_DIR"), "/tmp") if folder]  # noqa: S108 - as WLCG says
    for place in [Path(named)] if named else [Path(folder) / name for folder in folders]:
        content = _read(place, "token", required=named is not None)
        if content:
            return Credential(
                "token", str(place), _expiry(content.decode(errors="replace")), named is not None
            )
    return None


def _read(place: Path, kind: Kind, *, required: bool) -> bytes | None:
    try:
        return place.read_bytes()
    except FileNotFoundError:
        if not required:
            return None
        msg = f"the {kind} {place}, which the environment names, does not exist; {_REMEDIES[kind]}"
        raise CredentialError(msg) from None
    except OSError as error:
        msg = f"the {kind} {place} cannot be read ({error.strerror}); {_REMEDIES[kind]}"
        raise CredentialError(msg) from None


def _expiry(token: str) -> dt.datetime | None:
    """The end of a JSON web token; None where it is none or has none."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        return None
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return dt.datetime.fromtimestamp(payload["exp"], dt.UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return None
