"""Whatever foreign values are, both databases take them and give them back unchanged; faults of ours are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import StoreError
from monitor.model.finding import Severity
from monitor.store import meta, roots
from monitor.store.tables import counters, metadata, trusted_roots
from monitor.store.types import Blob, Choice, Foreign, Json, Key, Moment, bounded_key

if TYPE_CHECKING:
    from monitor.store.engine import Store

every_example = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
any_text = st.text(
    st.characters(codec=None, exclude_categories=()) | st.sampled_from("\x00\ud800\udfff\U000f0000%_\\'")
)
_WIDE = (datetime(2, 1, 1, tzinfo=UTC).replace(tzinfo=None), datetime(9998, 1, 1, tzinfo=UTC).replace(tzinfo=None))
aware = st.datetimes(*_WIDE, timezones=st.sampled_from([UTC, timezone(timedelta(hours=9))]))


@every_example
@given(value=any_text)
async def test_any_string_comes_back_unchanged(store: Store, value: str) -> None:
    async with store.write() as tx:
        await meta.set(tx, "string", value)
        assert await meta.get(tx, "string") == value


@every_example
@given(moment=aware)
async def test_any_moment_comes_back_the_same_in_utc(store: Store, moment: datetime) -> None:
    async with store.write() as tx:
        await roots.keep_root(tx, "d", b"", "s", moment)
        kept = await roots.newest_root(tx)
        await tx.execute(sa.delete(trusted_roots))
    assert kept is not None
    assert kept.first_seen == moment
    assert kept.first_seen.utcoffset() == timedelta(0)


@every_example
@given(one=aware, other=aware)
async def test_moments_sort_in_the_database_as_they_do_here(store: Store, one: datetime, other: datetime) -> None:
    compared = sa.select(sa.literal(one, Moment()) < sa.literal(other, Moment()))
    async with store.read() as tx:
        assert bool(await tx.scalar(compared)) == (one < other)


@every_example
@given(one=any_text, other=any_text, times=st.sampled_from([1, 50, 3000]))
async def test_a_key_of_any_length_fits_an_index_and_tells_strings_apart(
    store: Store, one: str, other: str, times: int
) -> None:
    one, other = one * times, other * times
    async with store.write() as tx:
        await tx.execute(sa.delete(counters))
        await tx.execute(sa.insert(counters).values(log=one, name="n", value=1))
        found = await tx.scalar(sa.select(counters.c.value).where(counters.c.log == one))
        assert found == 1
        found = await tx.scalar(sa.select(counters.c.value).where(counters.c.log == other))
        assert (found == 1) == (one == other)
        assert await tx.scalar(sa.select(counters.c.log)) == bounded_key(one)


async def test_a_moment_without_a_time_zone_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match=r"^a moment without a time zone"):
        async with store.write() as tx:
            await roots.keep_root(tx, "d", b"", "s", datetime(2026, 1, 1))  # noqa: DTZ001 - naive on purpose


async def test_bytes_beyond_every_edge_are_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="at most"):
        async with store.write() as tx:
            await roots.keep_root(tx, "d", bytes(33 * 1024 * 1024), "s", datetime(2026, 1, 1, tzinfo=UTC))


async def test_a_choice_that_is_none_is_refused(store: Store) -> None:
    with pytest.raises(StoreError):
        async with store.read() as tx:
            await tx.scalar(sa.select(sa.literal("worse", Choice(Severity))))


async def test_json_comes_back_with_every_string(store: Store) -> None:
    value = {"a": ["\x00", "\ud800", "ü", None, 1], "b": {}}
    async with store.read() as tx:
        assert await tx.scalar(sa.select(sa.literal(value, Json()))) == value


def test_no_index_holds_an_unbounded_string() -> None:
    for table in metadata.tables.values():
        indexed = {column for index in table.indexes for column in index.columns}
        keyed = {
            column
            for constraint in table.constraints
            if isinstance(constraint, (sa.PrimaryKeyConstraint, sa.UniqueConstraint))
            for column in constraint.columns
        }
        for column in indexed | keyed:
            unbounded = isinstance(column.type, (Foreign, Json, sa.Text)) and not isinstance(column.type, Key)
            assert not unbounded, column
            if isinstance(column.type, Blob):
                assert column.name in ("root", "leaf_hash"), column
