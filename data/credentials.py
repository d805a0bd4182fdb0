"""Proxies and tokens: found where the tools of the grid look for them, and valid for long enough before work starts."""

import base64
import dataclasses
import datetime as dt
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
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
        """Remaining lifetime.

        Parameters
        ----------
        now
            Present time, with its time zone.

        Returns
        -------
        float
            Hours, negative where it is over; infinite where the credential does not say.
        """
        return float("inf") if self.expires is None else (self.expires - now) / dt.timedelta(hours=1)


def find_credentials(environment: Mapping[str, str], wanted: Kind | None = None) -> list[Credential]:
    """The proxy and the token that XRootD would use.

    Parameters
    ----------
    environment
        Variables of the process: X509_USER_PROXY, BEARER_TOKEN, BEARER_TOKEN_FILE, XDG_RUNTIME_DIR; empty ones count
        as not set.
    wanted
        The kind that the servers demand: nothing else is looked for then. None: both are.

    Returns
    -------
    list of Credential
        None, one, or both.

    Raises
    ------
    CredentialError
        If one that the environment names, or that is wanted, is missing or damaged. One that only lies where one is
        looked for by default is warned of and left out: perhaps no server asks for it.
    """
    found: list[Credential] = []
    for kind, look in _LOOKS.items():
        if wanted not in {None, kind}:
            continue
        for place in look(environment):
            try:
                credential = place.credential()
            except (CredentialError, ConfigError) as error:
                if place.chosen or wanted is not None:
                    raise
                _say_once(logging.WARNING, str(error), f"{error}; it is left out")
                continue
            if credential is not None:
                found.append(credential)
                break
    return found


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
    ConfigError
        If a proxy is there and nothing is installed that reads it.
    """
    if not any(is_remote(address) for address in addresses):
        return
    moment = now or dt.datetime.now(dt.UTC)
    usable = find_credentials(os.environ if environment is None else environment, wanted)
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
    _say_once(logging.WARNING, str(best), f"{msg}, where a server asks for it")


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


def check_target(target: str, samples: Iterable[Sample]) -> None:
    """The same for the place that outputs are copied to, by the rules of the samples' definitions.

    Raises
    ------
    CredentialError
        As `check_credentials`, naming the place.
    """
    for sites in dict.fromkeys(sample.sites for sample in samples):
        try:
            check_credentials([target], sites.credential, sites.hours)
        except CredentialError as error:
            msg = f"outputs cannot be copied to {target} (run.copy_to): {error}"
            raise CredentialError(msg) from None


def _ending(credential: Credential, now: dt.datetime, hours: float) -> str:
    left = credential.hours_left(now)
    if left < 0:
        return f"expired {-left:.1f} h ago"
    return f"is valid for {left:.1f} h more, sites.hours wants {hours:g} h"


_SAID: set[str] = set()


def _say_once(level: int, key: str, text: str) -> None:
    """Log what would be repeated at every stage and for every sample."""
    if key not in _SAID:
        _SAID.add(key)
        _LOG.log(level, "%s", text)


def _announce(credential: Credential, left: float) -> None:
    valid = f"{left:.1f} h left" if credential.expires else "it does not say for how long"
    _say_once(logging.INFO, str(credential), f"{credential.kind} {credential.place}: {valid}")


@dataclass(frozen=True)
class _Place:
    """Where a credential may be: a file, or the text of a variable."""

    kind: Kind
    name: str
    chosen: bool
    text: str = dataclasses.field(default="", repr=False)

    def credential(self) -> Credential | None:
        """What is there; None where nothing is and nothing need be."""
        content = self.text.encode(errors="replace") or self._content()
        if content is None:
            return None
        if self.kind == "token" and not content.strip():
            if not self.chosen:
                return None
            msg = f"the token {self.name} is empty; {_REMEDIES['token']}"
            raise CredentialError(msg)
        if self.kind == "token":
            return Credential(
                "token", self.name, _end_of_token(content.decode(errors="replace")), self.chosen
            )
        return Credential("proxy", self.name, _end_of_proxy(self.name, content), self.chosen)

    def _content(self) -> bytes | None:
        try:
            return Path(self.name).read_bytes()
        except FileNotFoundError:
            if not self.chosen:
                return None
            msg = (
                f"the {self.kind} {self.name}, which the environment names, does not exist; "
                f"{_REMEDIES[self.kind]}"
            )
            raise CredentialError(msg) from None
        except OSError as error:
            msg = f"the {self.kind} {self.name} cannot be read ({error.strerror}); {_REMEDIES[self.kind]}"
            raise CredentialError(msg) from None


def _proxy_places(environment: Mapping[str, str]) -> list[_Place]:
    if named := environment.get("X509_USER_PROXY"):
        return [_Place("proxy", named, chosen=True)]
    default = f"/tmp/x509up_u{os.getuid()}"  # noqa: S108 - where voms-proxy-init puts it
    return [_Place("proxy", default, chosen=False)]


def _token_places(environment: Mapping[str, str]) -> list[_Place]:
    if text := environment.get("BEARER_TOKEN", "").strip():
        return [_Place("token", "BEARER_TOKEN", chosen=True, text=text)]
    if named := environment.get("BEARER_TOKEN_FILE"):
        return [_Place("token", named, chosen=True)]
    folders = [folder for folder in (environment.get("XDG_RUNTIME_DIR"), "/tmp") if folder]  # noqa: S108 - as WLCG says
    return [_Place("token", str(Path(folder) / f"bt_u{os.getuid()}"), chosen=False) for folder in folders]


_LOOKS: dict[Kind, Callable[[Mapping[str, str]], list[_Place]]] = {
    "proxy": _proxy_places,
    "token": _token_places,
}


def _end_of_proxy(place: str, content: bytes) -> dt.datetime:
    """When the first certificate of its chain ends."""
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
    return min(one.not_valid_after_utc for one in chain)


def _end_of_token(token: str) -> dt.datetime | None:
    """The end of a JSON web token; None where it is none or has none."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        return None
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return dt.datetime.fromtimestamp(payload["exp"], dt.UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return None
