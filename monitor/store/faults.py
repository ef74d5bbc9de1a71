"""Turns what the drivers raise into our own errors, so that nobody above this room knows a driver.

No statement, parameter or password travels in a message.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from monitor.errors import LostRaceError, MonitorError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_RACES = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
_FULL = frozenset({"53100"})
_RACE_CURE = "nothing: the pass is begun again"
_CURES = (
    ("disk is full", "make room on the disk; nothing that was committed is lost"),
    ("database is locked", "end the other program that holds the database"),
    ("readonly", "check the owner and mode of the database file and its directory"),
    ("unable to open", "check the path of the database and its permissions"),
    ("not a database", "this file is something else: check the URL"),
    ("malformed", "restore the database from a backup"),
    ("onnection refused", "start PostgreSQL, or correct host and port in the database URL"),
    ("No such file or directory", "start PostgreSQL, or correct the host (a socket's directory) in the database URL"),
    ("could not translate host name", "correct the host in the database URL, or mend the name service"),
    ("failed to resolve host", "correct the host in the database URL, or mend the name service"),
    ("timeout expired", "check host and port in the database URL, and the firewall between"),
    ("authentication failed", "correct user and password in the database URL (TRUSTACKS_MONITOR_DATABASE or …_FILE)"),
    ("no password supplied", "give the password with the URL in TRUSTACKS_MONITOR_DATABASE or …_FILE"),
    ("no pg_hba.conf entry", "let this user in from this host, in the server's pg_hba.conf"),
    ("FATAL:  database", "create the database, or correct its name in the URL"),
    ("FATAL:  role", "create the role, or correct the user in the URL"),
    ("permission denied", "grant this user the rights to the database's schema and tables"),
)


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise what the database `name` refuses as LostRaceError or StoreError; let all else through."""
    try:
        yield
    except PoolTimeoutError as error:
        raise StoreError(f"{name}: another transaction of this program took too long", cure="report this") from error
    except DBAPIError as error:
        raise _fault(name, error) from error
    except StatementError as error:
        if isinstance(error.orig, MonitorError):  # a type of ours refused a value
            raise error.orig from error
        raise StoreError(f"{name}: {_first_line(error.orig or error)}") from error
    except SQLAlchemyError as error:
        raise StoreError(f"{name}: {type(error).__name__}: {_first_line(error)}") from error
    except sqlite3.Error as error:
        raise StoreError(f"{name}: {error}", cure=_cure(str(error))) from error


def _fault(name: str, error: DBAPIError) -> StoreError:
    state = getattr(error.orig, "sqlstate", None)
    if state in _RACES:
        return LostRaceError(f"{name}: another transaction changed what this one had read", cure=_RACE_CURE)
    text = _first_line(error.orig) if error.orig else type(error).__name__
    return StoreError(f"{name}: {text}", cure=_cure("disk is full" if state in _FULL else text))


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _cure(text: str) -> str:
    return next((cure for words, cure in _CURES if words in text), "")
