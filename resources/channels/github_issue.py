"""An issue of its own for grave problems, where the trainings' issues live; works with every tracker.

For everything else the training's own thread is the notification. A hidden marker in the body names the notification: it is
looked up before an issue is opened, so that a repeat opens none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mlops_assets.errors import MlopsError, UserError
from mlops_assets.reports.notifications import Notification, one_line
from resources.notifier import Undelivered

if TYPE_CHECKING:
    from mlops_assets.reports.notifications import Event
    from resources.settings import Settings
    from resources.tracker import Tracker

ALERT_LABEL: Final = "mlops:alert"
GRAVE: Final[frozenset[str]] = frozenset({"failed", "retries_exhausted", "test"})


class GitHubIssueChannel:
    """Opens one issue labelled ``mlops:alert`` for each grave problem."""

    def __init__(self, settings: Settings, tracker: Callable[[], Tracker]) -> None:
        self._tracker = tracker

    @classmethod
    def lacking(cls, settings: Settings) -> tuple[str, ...]:
        """Nothing: wherever issues are read, they can be opened."""
        return ()

    @classmethod
    def takes(cls, event: Event) -> bool:
        """Whether the problem is grave."""
        return event in GRAVE

    def send(self, notification: Notification, attempt: int) -> None:
        """Open the issue unless it is there, open or closed.

        Raises:
            Undelivered: the tracker could not be read or written; always retryable, a person may mend it meanwhile.
        """
        try:
            tracker = self._tracker()
            known = tracker.issues(label=ALERT_LABEL, state="all")
            if not any(marker(notification) in issue.body.splitlines() for issue in known):
                body = f"{notification.markdown}\n{marker(notification)}\n"
                tracker.open_issue(one_line(notification.title, 200), body, [ALERT_LABEL])
            return
        except UserError as error:
            reason = one_line(error.headline, 200)
        except (MlopsError, OSError) as error:
            reason = type(error).__name__
        raise Undelivered(True, f"the alert issue could not be opened ({reason})")


def marker(notification: Notification) -> str:
    """The hidden line that identifies the issue of a notification."""
    return f"<!-- mlops-alert:{notification.id} -->"
