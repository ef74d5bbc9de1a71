"""What is to be followed: the logs of the trusted root under the settings' word on each. Pure.

It must leave no log of the root out in silence: what cannot be followed as asked is said, and followed as it can be.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.errors import FormatError
from monitor.model.log import MODES, FollowedLog, LogState, Mode, Protocol
from monitor.watch.keys import LogKey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from monitor.trust.root import CtKey, TrustedLog, TrustRoot
    from monitor.watch.options import LogOverride, WatchOptions


_ALIKE = 0.6


@dataclass(frozen=True, slots=True)
class Trusted:
    """One log (of Rekor v1: one server) to follow. `keys` are all that the root lists for it, `begins` when the first may sign.

    `refused` says what of the settings cannot be done; an `origin` in it names the log all the same.
    """

    origin: str
    protocol: Protocol
    url: str
    mode: Mode
    keys: tuple[LogKey, ...]
    ended: bool
    begins: datetime
    override: LogOverride | None = None
    refused: str = ""

    @property
    def followed(self) -> FollowedLog:
        """A log that is one by itself, as it is followed; a Rekor v1 server lists its own."""
        state = LogState.ENDED if self.ended else LogState.ACTIVE
        return FollowedLog(self.origin, self.protocol, self.url, self.mode, state)


@dataclass(frozen=True, slots=True)
class Followable:
    """The logs to follow, of those that cannot be (by a name of theirs) the reason, and the origins that are left out now."""

    logs: tuple[Trusted, ...]
    unfollowable: tuple[tuple[str, str], ...] = ()
    left: frozenset[str] = frozenset()


def followable(root: TrustRoot, options: WatchOptions, now: datetime) -> Followable:
    """Every log of the root that the settings do not leave out.

    Rekor v1 runs in mode `certificates` unless told otherwise; where no certificate log can be followed it can only be searched.
    """
    unfollowable: list[tuple[str, str]] = []
    certificate_logs: list[TrustedLog] = []
    for key in root.ct_keys:
        override = options.override(*_names(key))
        if override is not None and override.ignore:
            continue
        try:
            certificate_logs.append(key.log(static=override is not None and override.protocol is Protocol.STATIC_CT))
        except FormatError as error:
            unfollowable.append((key.base_url or key.log_id.hex(), str(error)))
    by_origin: dict[str, list[TrustedLog]] = {}
    for log in (*root.logs, *certificate_logs):
        by_origin.setdefault(log.origin, []).append(log)
    every = [_trusted(same, options, now) for same in by_origin.values()]
    logs = [each for each in every if each.override is None or not each.override.ignore]
    superseded = _superseded(logs, now)
    unfollowable += [(each.origin, f"another log of the trusted root is read at {each.url}") for each in superseded]
    logs = [each for each in logs if each not in superseded]
    issued = any(each.protocol.certificates for each in logs)
    known = {log.origin for log in root.logs}.union(*(_names(key) for key in root.ct_keys))
    unfollowable += [
        (each.origin, _unknown(each.origin, known))
        for each in options.logs
        if not (each.ignore or each.origin in known)
    ]
    return Followable(
        tuple(_runnable(each, issued=issued) for each in logs),
        tuple(unfollowable),
        frozenset(known) - {each.origin for each in logs},
    )


def _unknown(origin: str, known: Iterable[str]) -> str:
    """Why a table of the settings is about no log: a name that is not quite right would be obeyed by none, in silence."""
    near = difflib.get_close_matches(origin, sorted(known), 1, _ALIKE)
    meant = f"; is {near[0]!r} meant?" if near else ""
    return f"the trust root has no log of this origin, so its table under [[watch.logs]] does nothing{meant}"


def _bare(key: CtKey) -> str:
    return key.base_url.partition("://")[2].rstrip("/")


def _names(key: CtKey) -> tuple[str, ...]:
    """What a certificate log may be called in the settings, and its origin in either protocol."""
    return (key.log_id.hex(), *filter(None, (_bare(key),)))


def _superseded(logs: Iterable[Trusted], now: datetime) -> list[Trusted]:
    """RFC 6962 logs in whose place another one is read.

    A tree head names no key: one that another log signed would be taken for a bad signature of theirs. Of several that share an
    address, the one whose key began last is there.
    """
    by_url: dict[str, list[Trusted]] = {}
    for log in logs:
        if log.protocol is Protocol.RFC6962:
            by_url.setdefault(log.url.rstrip("/"), []).append(log)
    found = []
    for same in by_url.values():
        there = max(same, key=lambda log: (log.begins <= now, log.begins))
        found += [log for log in same if log is not there]
    return found


def _trusted(same: list[TrustedLog], options: WatchOptions, now: datetime) -> Trusted:
    newest = max(same, key=lambda log: log.start)
    bare = newest.base_url.partition("://")[2].rstrip("/")
    names = (newest.origin, newest.log_id.hex(), bare) if newest.protocol.certificates else (newest.origin,)
    override = options.override(*names)
    protocol = (override and override.protocol) or newest.protocol
    return Trusted(
        newest.origin,
        protocol,
        (override and override.read_url) or newest.base_url,
        (override and override.mode) or (Mode.CERTIFICATES if protocol is Protocol.REKOR_V1 else Mode.COMPLETE),
        tuple(LogKey(log.key, log.start, log.end) for log in same),
        newest.end is not None and newest.end <= now,
        min(log.start for log in same),
        override,
    )


def _runnable(log: Trusted, *, issued: bool) -> Trusted:
    """The log in a mode that it can run. A refusal of what the settings ask is said; a default gives way."""
    asked = log.override is not None and log.override.mode is not None
    if log.mode not in MODES[log.protocol]:
        modes = _listed(sorted(MODES[log.protocol]))
        refused = (
            f"mode {log.mode.value!r} is none that a {log.protocol.value} log can run ({modes}): it is followed complete; "
            "take `mode` out of its table"
        )
        return replace(log, mode=Mode.COMPLETE, refused=refused)
    if log.mode is Mode.CERTIFICATES and not issued:
        refused = "no certificate log is followed, which mode 'certificates' needs: it is searched only"
        return replace(log, mode=Mode.SEARCH, refused=refused if asked else "")
    return log


def _listed(modes: Iterable[Mode]) -> str:
    return ", ".join(mode.value for mode in modes)
