"""Every error this program raises on purpose, in one tree.

    MonitorError
    ├── SettingsError            a setting, option or file that an operator wrote is wrong (exit 2)
    ├── FormatError              foreign bytes break the format they claim
    ├── ProofError               a proof does not prove what it is shown for
    ├── NoteError
    │   ├── UnknownKeyError      no signature line by a key we know
    │   └── BadSignatureError    a known key's signature does not verify
    ├── FetchError               a server could not be asked, or did not answer as it should
    │   ├── NotFoundError        it answered that it does not have it
    │   ├── RateLimitedError     it asked us to come back later
    │   ├── OversizeError        the answer is larger than its bound
    │   └── RegistryError        an OCI registry's answer contradicts itself or the specification
    ├── TrustRootError           trusted_root.json cannot be had or read
    ├── StoreError
    │   ├── NoDatabaseError      there is none yet, and asking makes none (exit 5)
    │   ├── SchemaError          database and code do not fit each other
    │   ├── LostRaceError        somebody else moved the row we had read
    │   └── NotLeaderError       another daemon holds this database
    └── DeliveryError            a sink did not take a message

A message says what was tried and what came back; `cure` says what the operator can do about it.
"""

from __future__ import annotations


class MonitorError(Exception):
    """Base of all errors raised here; `cure` is a sentence for the operator, or empty."""

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.cure = cure


class SettingsError(MonitorError):
    """A setting, an option or a file that an operator wrote is wrong."""


class FormatError(MonitorError):
    """Foreign bytes break the format they claim to be in."""


class ProofError(MonitorError):
    """A Merkle proof does not prove what it is shown for."""


class NoteError(MonitorError):
    """The signatures of a signed note are not what they should be."""


class UnknownKeyError(NoteError):
    """No signature line of the note is by a key we know."""


class BadSignatureError(NoteError):
    """A signature line by a key we know does not verify."""


class FetchError(MonitorError):
    """A server could not be asked, or did not answer as it should. `status` is the HTTP status, if any."""

    def __init__(self, message: str, *, cure: str = "", status: int | None = None) -> None:
        super().__init__(message, cure=cure)
        self.status = status


class NotFoundError(FetchError):
    """The server answered that it does not have what was asked for."""


class RateLimitedError(FetchError):
    """The server asked us to come back later; `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float, status: int | None = None) -> None:
        super().__init__(message, cure="nothing: it is retried after the time the server asked for", status=status)
        self.retry_after = retry_after


class OversizeError(FetchError):
    """The answer is larger than the bound set for it."""


class RegistryError(FetchError):
    """An OCI registry refused us, or its answer contradicts itself, its digest or the specification."""


class TrustRootError(MonitorError):
    """trusted_root.json cannot be had or cannot be read."""


class StoreError(MonitorError):
    """The database refused, or is not in the state it should be in."""


class NoDatabaseError(StoreError):
    """The database was not made yet: nothing was ever watched by these settings."""


class SchemaError(StoreError):
    """The database's schema and this code do not fit each other."""


class LostRaceError(StoreError):
    """A compare-and-swap found the row already moved by somebody else: begin the pass again."""


class NotLeaderError(StoreError):
    """Another daemon holds this database."""


class DeliveryError(MonitorError):
    """A sink did not take a message. `permanent` says that trying again cannot help."""

    def __init__(
        self, message: str, *, cure: str = "", permanent: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message, cure=cure)
        self.permanent = permanent
        self.retry_after = retry_after
