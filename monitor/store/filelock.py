"""A lock beside a SQLite file that one daemon holds for as long as it lives; the operating system frees it, however the process ends."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import NotLeaderError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

_SHOWN = 20

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _SHOWN, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(descriptor: int) -> str:
    said = os.pread(descriptor, _SHOWN, 0).decode("ascii", "replace").strip() if hasattr(os, "pread") else ""
    return f"process {said}" if said.isdigit() else "another process"


@dataclass(frozen=True, slots=True)
class FileLock:
    """A held lock. The file stays when it is released: removing it would let two processes hold two files of one name."""

    path: Path
    descriptor: int

    @classmethod
    def acquire(cls, database: Path) -> FileLock:
        """Hold `<database>.lock`. NotLeaderError naming the process that has it, StoreError when it cannot be made."""
        path = database.with_name(database.name + ".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise StoreError(
                f"cannot make the lock {path}: {error.strerror}", cure="check the directory's owner"
            ) from error
        try:
            _lock(descriptor)
        except OSError as error:
            who = _holder(descriptor)
            os.close(descriptor)
            raise NotLeaderError(
                f"{database} is in use by another daemon ({who} holds {path.name})",
                cure="stop the other daemon, or give this one its own database",
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        return cls(path, descriptor)

    @staticmethod
    def held(database: Path) -> str | None:
        """Who holds the lock, for people to read; None when nobody does. It is tried for an instant, and never made. StoreError."""
        path = database.with_name(database.name + ".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f"cannot open the lock {path}: {error.strerror}", cure="check the owner and mode of the file"
            ) from error
        try:
            _lock(descriptor)
        except OSError:
            return _holder(descriptor)
        finally:
            os.close(descriptor)
        return None

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self.descriptor)
