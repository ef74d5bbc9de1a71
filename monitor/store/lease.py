"""One daemon leads a PostgreSQL database: a row with a fencing number, which every writing transaction of the leader checks.

A number is given once. Who finds another number in the row has been succeeded, and nothing of his is committed. A leader's session
holds an advisory lock beside the row, so that a dead leader is succeeded at once and a living one only when his time has run out.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.errors import NotLeaderError
from monitor.model.text import rfc3339
from monitor.store.faults import translated
from monitor.store.tables import lease

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from monitor.store.connect import Tx

_ROW = 1
_LOCK = 0x4C45415345
_CURE = "stop the other daemon, or give this one its own database"


async def acquire(tx: Tx, holder: str, now: datetime, ttl: timedelta, *, dead: bool = False) -> int:
    """Take the lease until `now + ttl` and return its fencing number.

    `dead` says that the last holder is known to have ended. NotLeaderError when somebody has it still.
    """
    row = (await tx.execute(sa.select(lease).where(lease.c.id == _ROW).with_for_update())).one_or_none()
    if row is None:
        values = {"id": _ROW, "holder": holder, "fence": 1, "acquired_at": now, "expires_at": now + ttl}
        await tx.execute(sa.insert(lease).values(values))
        return 1
    if row.expires_at > now and not dead:
        raise NotLeaderError(
            f"{row.holder} leads this database since {rfc3339(row.acquired_at)} and at least until {rfc3339(row.expires_at)}",
            cure=_CURE,
        )
    fence = int(row.fence) + 1
    change = sa.update(lease).where(lease.c.id == _ROW)
    await tx.execute(change.values(holder=holder, fence=fence, acquired_at=now, expires_at=now + ttl))
    return fence


async def held(tx: Tx, now: datetime) -> str | None:
    """Who has the lease, and until when at least, for people to read; None when it is free."""
    row = (await tx.execute(sa.select(lease).where(lease.c.id == _ROW))).one_or_none()
    return f"{row.holder}, at least until {rfc3339(row.expires_at)}" if row and row.expires_at > now else None


async def check(tx: Tx, fence: int) -> None:
    """Hold the row until the transaction ends, so that nobody succeeds us within it. NotLeaderError when somebody has."""
    row = (await tx.execute(sa.select(lease).where(lease.c.id == _ROW).with_for_update(read=True))).one_or_none()
    if row is None or row.fence != fence:
        holder = row.holder if row else "nobody"
        raise NotLeaderError(f"{holder} leads this database now; our fencing number {fence} is over", cure=_CURE)


async def renew(tx: Tx, fence: int, now: datetime, ttl: timedelta) -> None:
    """Hold the lease until `now + ttl`. NotLeaderError when somebody else has it."""
    await check(tx, fence)
    await tx.execute(sa.update(lease).where(lease.c.id == _ROW, lease.c.fence == fence).values(expires_at=now + ttl))


async def release(tx: Tx, fence: int) -> None:
    """Let the next one lead at once; nothing when it is no longer ours."""
    await tx.execute(
        sa.update(lease).where(lease.c.id == _ROW, lease.c.fence == fence).values(expires_at=lease.c.acquired_at)
    )


@dataclass(slots=True)
class Leader:
    """What one process claims: the session that holds the advisory lock (None: another living one does) and, once taken, the number."""

    name: str
    engine: AsyncEngine
    session: AsyncConnection | None
    fence: int | None = None

    @classmethod
    async def elect(cls, name: str, engine: AsyncEngine) -> Leader:
        """Try the advisory lock of the database `name`; whether we lead is decided by `take`. StoreError."""
        session = None
        try:
            with translated(name):
                session = await engine.connect()
                session = await session.execution_options(isolation_level="AUTOCOMMIT")
                held = await session.scalar(sa.select(sa.func.pg_try_advisory_lock(_LOCK)))
                if not held:
                    await session.close()
                    session = None
        except BaseException:
            if session:
                await session.close()
            await engine.dispose()
            raise
        return cls(name, engine, session)

    async def take(self, tx: Tx, now: datetime, ttl: timedelta) -> None:
        """Acquire the lease; with the advisory lock in hand its last holder is dead. NotLeaderError."""
        holder = f"{socket.gethostname()} process {os.getpid()}"
        self.fence = await acquire(tx, holder, now, ttl, dead=self.session is not None)

    async def close(self) -> None:
        """End the session, and with it the advisory lock."""
        if self.session:
            await self.session.invalidate()
            await self.session.close()
            self.session = None
        await self.engine.dispose()
