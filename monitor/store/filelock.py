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
            holder = os.pread(descriptor, _SHOWN, 0).decode("ascii", "replace").strip() if hasattr(os, "pread") else ""
            os.close(descriptor)
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise NotLeaderError(
                f"{database} is in use by another daemon ({who} holds {path.name})",
                cure="stop the other daemon, or give this one its own database",
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        return cls(path, descriptor)

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self.descriptor)
