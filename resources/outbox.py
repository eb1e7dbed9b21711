"""The outbox: notifications on their way, kept in the object store until each channel has taken them or will not.

::

    outbox/pending/{notification id}@{channel}.json    to be sent; replaced before and after each attempt
    outbox/settled/{notification id}@{channel}.json    delivered, given up or not configured; created once

Promise: at least once. An attempt is written down before it is made, and its success afterwards; a process that is killed in
between makes one repeat, after the waiting time of that attempt, and the notification's id makes the repeat recognisable.
Nothing is lost: what is not settled is pending, and what was enqueued twice is there once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from mlops_assets.errors import MlopsError, NotFound, UserError
from mlops_assets.reports.notifications import Notification
from mlops_assets.request.schema import Frozen
from resources.notifier import Undelivered, installed_channels

if TYPE_CHECKING:
    from resources.notifier import Notifier
    from resources.store import ObjectStore

PENDING: Final = "outbox/pending"
SETTLED: Final = "outbox/settled"
MOST_ATTEMPTS: Final = 8
FIRST_WAIT: Final = timedelta(seconds=10)
WAIT_FACTOR: Final = 3
LONGEST_WAIT: Final = timedelta(hours=1)
_CHANNEL: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Delivery(Frozen):
    """One notification on its way through one channel."""

    notification: Notification
    channel: str
    enqueued_at: datetime
    due_at: datetime
    attempts: int = Field(default=0, ge=0, description="attempts begun")
    reason: str | None = Field(default=None, description="why the last attempt failed")

    @property
    def name(self) -> str:
        """Identity of this delivery."""
        return f"{self.notification.id}@{self.channel}"

    def is_due(self, now: datetime) -> bool:
        """Whether it may be sent; a moment further away than the longest wait was written by a clock that was wrong."""
        return not timedelta(0) < self.due_at - now <= LONGEST_WAIT

    @property
    def lane(self) -> tuple[str, str]:
        """What keeps its order: a resolved incident must not be opened again by an older event that was held up."""
        return self.channel, self.notification.model_id


class Settlement(Frozen):
    """How a delivery ended."""

    notification_id: str
    training_id: str
    channel: str
    state: Literal["delivered", "gave_up", "not_configured"]
    attempts: int
    at: datetime
    reason: str | None = None


@dataclass(frozen=True)
class DeliveryReport:
    """What one round did. ``waiting`` counts what is still pending, ``held_up`` included."""

    delivered: tuple[Settlement, ...] = ()
    held_up: tuple[Delivery, ...] = ()
    ended: tuple[Settlement, ...] = ()
    waiting: int = 0

    def __str__(self) -> str:
        parts = [f"delivered {len(self.delivered)}"]
        parts += [f"{one.channel} will be tried again at {one.due_at:%H:%M:%S} UTC: {one.reason}" for one in self.held_up]
        parts += [f"{one.channel} did not get {one.notification_id}: {one.reason}" for one in self.ended]
        return "; ".join([*parts, f"{self.waiting} waiting"])


def waiting_time(attempts: int) -> timedelta:
    """Time between the begin of attempt number ``attempts`` and the next: 10 s, 30 s, 90 s … at most an hour, 2 h in all."""
    wait = FIRST_WAIT
    for _ in range(attempts - 1):
        wait = min(wait * WAIT_FACTOR, LONGEST_WAIT)
    return wait


class Outbox:
    """Keeps and delivers. One process of a machine delivers at a time; a second one finds nothing to do."""

    def __init__(self, store: ObjectStore, notifier: Notifier, locks: Path) -> None:
        self._store = store
        self._notifier = notifier
        self._locks = locks

    def enqueue(self, notification: Notification, channels: Iterable[str], now: datetime | None = None) -> None:
        """Put a notification on its way through each of ``channels`` that has anything to do about it.

        Repeating it changes nothing, also after delivery. A channel that is not set up is recorded as not configured, for
        good: setting it up later sends no old news.

        Raises:
            UserError: a channel's name is not one.
        """
        moment = now or datetime.now(UTC)
        for channel in dict.fromkeys(channels):
            if not _CHANNEL.fullmatch(channel):
                raise UserError("not the name of a channel", field="channel", given=channel, allowed=installed_channels())
            delivery = Delivery(notification=notification, channel=channel, enqueued_at=moment, due_at=moment)
            if self.settlement(notification.id, channel) is not None or not self._notifier.takes(channel, notification.event):
                continue
            if self._notifier.can_send(channel):
                self._store.create(f"{PENDING}/{delivery.name}.json", _json(delivery))
            else:
                self._settle(delivery, "not_configured", moment, "not set up in this installation")

    def deliver(self, limit: int = 20, now: datetime | None = None, seconds: float = 10.0) -> DeliveryReport:
        """Send what is due, oldest first, at most ``limit`` messages; after ``seconds`` no further one is begun.

        Within a channel and model line the order is kept. A channel that fails is left alone for the rest of the round.
        Where nothing is pending this costs one listing.
        """
        end = time.monotonic() + seconds
        if not self._store.keys(PENDING):
            return DeliveryReport()
        with self._only_one() as is_ours:
            if not is_ours:
                return DeliveryReport()
            return self._round(limit, now or datetime.now(UTC), end)

    def flush(self, seconds: float = 5.0) -> str:
        """Deliver at the end of a command; one line on what was not delivered, empty where nothing is left to say.

        Never fails: what could not be sent now is sent by the daemon or by the next command.
        """
        try:
            report = self.deliver(seconds=seconds)
        except (MlopsError, OSError) as error:
            return f"notifications not delivered ({type(error).__name__}); the daemon or the next command tries again"
        said = [f"{one.channel}: {one.reason} (will be tried again)" for one in report.held_up]
        said += [f"{one.channel}: {one.reason} (given up)" for one in report.ended]
        if report.waiting > len(report.held_up):
            said.append(f"{report.waiting - len(report.held_up)} more waiting")
        return f"notifications not delivered: {'; '.join(said)}" if said else ""

    def pending(self) -> tuple[Delivery, ...]:
        """Everything on its way, oldest first."""
        return tuple(sorted(self._read_pending(None), key=lambda one: (one.enqueued_at, one.name)))

    def settlement(self, notification_id: str, channel: str) -> Settlement | None:
        """How a delivery ended; None while it is on its way or was never begun."""
        try:
            return Settlement.model_validate_json(self._store.get(f"{SETTLED}/{notification_id}@{channel}.json"))
        except NotFound:
            return None

    def settlements(self, latest: int = 50) -> tuple[Settlement, ...]:
        """How the ``latest`` deliveries ended, in the order of their names, which begin with the training's time."""
        keys = self._store.keys(SETTLED)[-latest:]
        return tuple(Settlement.model_validate_json(self._store.get(key)) for key in keys)

    # --- one round --------------------------------------------------------------------------------------------------

    def _round(self, limit: int, now: datetime, end: float) -> DeliveryReport:
        pending = sorted(self._read_pending(end), key=lambda one: (one.enqueued_at, one.name))
        held_lanes: set[tuple[str, str]] = set()
        silent: set[str] = set()
        held_up: list[Delivery] = []
        delivered: list[Settlement] = []
        ended: list[Settlement] = []
        sent = 0
        for delivery in pending:
            if sent >= limit or time.monotonic() >= end:
                break
            if not delivery.is_due(now) or delivery.lane in held_lanes or delivery.channel in silent:
                held_lanes.add(delivery.lane)
                continue
            if self.settlement(delivery.notification.id, delivery.channel) is not None:
                self._store.remove(f"{PENDING}/{delivery.name}.json")  # of a process killed between settling and removing
                continue
            sent += 1
            result = self._attempt(delivery, now)
            if isinstance(result, Delivery):
                held_up.append(result)
                held_lanes.add(delivery.lane)
                silent.add(delivery.channel)
            else:
                (delivered if result.state == "delivered" else ended).append(result)
        return DeliveryReport(tuple(delivered), tuple(held_up), tuple(ended), len(self._store.keys(PENDING)))

    def _attempt(self, delivery: Delivery, now: datetime) -> Delivery | Settlement:
        if not self._notifier.can_send(delivery.channel):
            return self._settle(delivery, "not_configured", now, "no longer set up in this installation")
        if delivery.attempts >= MOST_ATTEMPTS:
            return self._settle(delivery, "gave_up", now, "the last attempt was interrupted; whether it arrived is not known")
        number = delivery.attempts + 1
        begun = delivery.model_copy(update={
            "attempts": number, "due_at": now + waiting_time(number), "reason": "the attempt was interrupted",
        })  # fmt: skip
        self._store.put(f"{PENDING}/{delivery.name}.json", _json(begun))  # before sending: a kill cannot make a loop of repeats
        try:
            self._notifier.send(delivery.channel, delivery.notification, number)
        except Undelivered as failure:
            if not failure.retryable or number >= MOST_ATTEMPTS:
                return self._settle(begun, "gave_up", now, failure.reason)
            wait = max(waiting_time(number), timedelta(seconds=min(failure.retry_after or 0.0, LONGEST_WAIT.total_seconds())))
            failed = begun.model_copy(update={"due_at": now + wait, "reason": failure.reason})
            self._store.put(f"{PENDING}/{delivery.name}.json", _json(failed))
            return failed
        return self._settle(begun, "delivered", now, None)

    def _settle(
        self, delivery: Delivery, state: Literal["delivered", "gave_up", "not_configured"], at: datetime, reason: str | None
    ) -> Settlement:
        settlement = Settlement(
            notification_id=delivery.notification.id,
            training_id=delivery.notification.training_id,
            channel=delivery.channel,
            state=state,
            attempts=delivery.attempts,
            at=at,
            reason=reason,
        )
        self._store.create(f"{SETTLED}/{delivery.name}.json", _json(settlement))
        self._store.remove(f"{PENDING}/{delivery.name}.json")
        return settlement

    def _read_pending(self, end: float | None) -> Iterator[Delivery]:
        for key in self._store.keys(PENDING):
            if end is not None and time.monotonic() >= end:
                return
            try:
                yield Delivery.model_validate_json(self._store.get(key))
            except (NotFound, ValidationError):
                continue  # settled a moment ago, or written by a newer release: that one will deliver it

    @contextmanager
    def _only_one(self) -> Iterator[bool]:
        """Whether this process is the one that delivers; the operating system frees the place when its holder dies."""
        self._locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._locks / "outbox.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


def _json(content: Frozen) -> bytes:
    return content.model_dump_json(indent=1).encode()
