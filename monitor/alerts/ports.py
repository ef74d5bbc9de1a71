"""The port to wherever people read: what the outbox needs of a sink, and how a sink says that it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from monitor.errors import DeliveryError

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.alerts.message import Message


class OutcomeUnknownError(DeliveryError):
    """The sink was asked and did not answer: the message may or may not have been taken."""


class Sink(Protocol):
    """Takes messages to people.

    `send`, `edit` and `find` raise DeliveryError when the sink certainly did not take the message (`permanent`: it never will;
    `retry_after`: seconds it asked us to wait), and OutcomeUnknownError when nobody knows.
    """

    @property
    def name(self) -> str:
        """What deliveries are addressed to; unique among the sinks and stable over restarts."""

    @property
    def edits(self) -> bool:
        """Whether a sent message can be changed; without it, states are told as new messages."""

    @property
    def threads(self) -> bool:
        """Whether a message can answer another one."""

    async def send(
        self, message: Message, *, thread: str | None, broadcast: bool, marker: str, repeat: bool
    ) -> str | None:
        """Say `message`, in the thread of the message `thread`, and return its id, or None where the sink has no ids.

        `broadcast` shows a threaded message to the whole channel, `marker` lets `find` know it again, `repeat` says on its
        face that it may have been said before.
        """

    async def edit(self, message_id: str, message: Message) -> None:
        """Replace a sent message."""

    async def find(self, marker: str, *, thread: str | None, since: datetime) -> str | None:
        """The id of the message that was sent with `marker` after `since`; None when there is none, or it cannot be known."""
