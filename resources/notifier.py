"""Notification channels: what one is, which are installed, which are set up, and sending one notification through one of them.

A channel is a plug-in: a class named in the entry point group ``mlops.notification_channels`` of any installed distribution; the
entry point's name is the channel's name. Keeping a notification until it has been sent belongs to ``outbox``; what it says, to
``mlops_assets.reports.notifications``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final, Protocol

from mlops_assets.errors import MlopsError, UserError

if TYPE_CHECKING:
    from mlops_assets.reports.notifications import Event, Notification
    from resources.settings import Settings
    from resources.tracker import Tracker

ENTRY_POINTS: Final = "mlops.notification_channels"
ATTEMPT_SECONDS: Final = 8.0
"""One attempt may take this long; the sensor's tick, which makes at most one more after its own limit, has to end in 20 s."""


class Undelivered(MlopsError):
    """A channel did not take a notification.

    Attributes:
        retryable: whether the same notification may be taken later; False for a mistake in it or in the settings.
        reason: one line for people, without any secret.
        retry_after: seconds that the other side asked to wait, if it did.
    """

    def __init__(self, retryable: bool, reason: str, retry_after: float | None = None) -> None:
        self.retryable = retryable
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


class Channel(Protocol):
    """One way to reach people. Made anew for each attempt; it opens nothing before ``send``."""

    def __init__(self, settings: Settings, tracker: Callable[[], Tracker]) -> None: ...

    @classmethod
    def lacking(cls, settings: Settings) -> tuple[str, ...]:
        """Names of settings that have to be set before this channel can send."""
        ...

    @classmethod
    def takes(cls, event: Event) -> bool:
        """Whether this channel has anything to do about an event."""
        ...

    def send(self, notification: Notification, attempt: int) -> None:
        """Send it; returning means that the other side has taken it. Network calls have time limits of their own.

        ``attempt`` counts from 1. An earlier attempt may have arrived without this side hearing of it: where the medium
        allows, the notification's id is used so that a repeat changes nothing.

        Raises:
            Undelivered: it was not taken.
        """
        ...


@cache
def _points() -> dict[str, EntryPoint]:
    """Entry points by channel name; an installation changes only with a restart of its processes."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def installed_channels() -> tuple[str, ...]:
    """Names of the channels that installed distributions offer."""
    return tuple(sorted(_points()))


@cache
def channel_class(name: str) -> type[Channel] | None:
    """The channel of that name; None if no installed distribution offers it or its module cannot be imported."""
    point = _points().get(name)
    if point is None:
        return None
    try:
        found: type[Channel] = point.load()
    except (ImportError, AttributeError):  # a broken plug-in must not take the other channels with it
        return None
    return found


def require_channel(name: str) -> type[Channel]:
    """The channel of that name.

    Raises:
        UserError: there is no such channel.
    """
    found = channel_class(name)
    if found is None:
        raise UserError(
            "no installed package offers this notification channel",
            field="CHANNEL",
            given=name,
            allowed=installed_channels(),
            next_step="name one of these; after an upgrade of an editable installation run `pip install -e .` once",
        )
    return found


def unconfigured(channels: Iterable[str], settings: Settings) -> tuple[str, ...]:
    """Those of ``channels`` that cannot send in this installation: not installed, or without a setting that they need."""
    return tuple(name for name in dict.fromkeys(channels) if _cannot_send(name, settings))


def _cannot_send(name: str, settings: Settings) -> bool:
    found = channel_class(name)
    return found is None or bool(found.lacking(settings))


class Notifier:
    """Sends through the installed channels; never longer than ``seconds`` for one attempt."""

    def __init__(self, settings: Settings, tracker: Callable[[], Tracker], seconds: float = ATTEMPT_SECONDS) -> None:
        self._settings = settings
        self._tracker = tracker
        self._seconds = seconds

    def can_send(self, channel: str) -> bool:
        """Whether the channel is installed and set up."""
        return not _cannot_send(channel, self._settings)

    def takes(self, channel: str, event: Event) -> bool:
        """Whether the channel has anything to do about an event; a channel that is not installed is not asked."""
        found = channel_class(channel)
        return found is None or found.takes(event)

    def send(self, channel: str, notification: Notification, attempt: int) -> None:
        """Make one attempt, in a thread of its own so that neither a silent server nor a plug-in's mistake holds up the rest.

        Raises:
            Undelivered: the channel did not take it, or did not answer in time; it may then still arrive.
            UserError: there is no such channel.
        """
        made = require_channel(channel)(self._settings, self._tracker)
        work = _Attempt(made, notification, attempt)
        work.start()
        work.join(self._seconds)
        if work.is_alive():
            raise Undelivered(True, f"no answer within {self._seconds:g} s")
        if work.failure is not None:
            raise work.failure
        if not work.sent:
            raise Undelivered(True, "the channel ended with an error of its own; see the log of this process")


class _Attempt(threading.Thread):
    """One call of ``Channel.send``. An error that the protocol does not know ends this thread only, with Python's traceback."""

    def __init__(self, channel: Channel, notification: Notification, attempt: int) -> None:
        super().__init__(name=f"notify-{notification.id}", daemon=True)
        self._channel = channel
        self._notification = notification
        self._number = attempt
        self.sent = False
        self.failure: Undelivered | None = None

    def run(self) -> None:
        try:
            self._channel.send(self._notification, self._number)
            self.sent = True
        except Undelivered as failure:
            self.failure = failure
