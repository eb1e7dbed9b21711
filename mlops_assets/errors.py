"""The one exception tree of the platform; nothing here imports anything of ours.

MlopsError
├── UserError            the person can mend it: the command line answers with exit code 2
│   ├── RequestInvalid   an issue body with one or more problems
│   ├── NotFound         a name that is not registered
│   └── DataRejected     data that a blocking quality rule refuses
├── IntegrityError       stored bytes, a digest or a comparison does not hold
├── TrainingStopped      somebody ended the training while it ran
├── NotApproved          a plan without a matching approval was about to run
├── Unavailable          a service outside did not answer; trying again later may succeed
│   └── RateLimited          it asks to be left alone until a moment that it names
└── ComputeError         a training process failed
    └── ComputeInterrupted   it was stopped from outside; trying again may succeed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


class MlopsError(Exception):
    """Root of every error that the platform raises on purpose."""


class UserError(MlopsError):
    """A mistake that the person who gave the input can mend.

    The text says what was given, what is allowed and what to do next.
    """

    def __init__(
        self,
        headline: str,
        *,
        field: str | None = None,
        given: object = None,
        allowed: Sequence[str] = (),
        next_step: str | None = None,
    ) -> None:
        self.headline = headline
        self.field = field
        self.given = given
        self.allowed = tuple(allowed)
        self.next_step = next_step
        lines = [headline]
        if field is not None:
            lines.append(f"  field: {field}")
        if given is not None:
            lines.append(f"  given: {given}")
        if self.allowed:
            lines.append(f"  allowed: {', '.join(self.allowed)}")
        if next_step:
            lines.append(f"  next: {next_step}")
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a request, independent of the language it is told in.

    Attributes:
        field: dotted path of the YAML key, e.g. ``hyperparameters.max_depth``; empty for the whole body.
        code: key of the sentence in the language catalogue (``problem.<code>``).
        given: the value as written, shortened; empty where a key is missing.
        allowed: the values or ranges that would be accepted.
        suggestion: the nearest accepted value ("did you mean"), if there is one.
    """

    field: str
    code: str
    given: str = ""
    allowed: tuple[str, ...] = ()
    suggestion: str | None = None


class RequestInvalid(UserError):
    """An issue body that cannot become a training request; carries every problem at once."""

    def __init__(self, problems: Sequence[Problem], *, corrected: str | None = None) -> None:
        self.problems = tuple(problems)
        self.corrected = corrected
        super().__init__(
            f"the request has {len(self.problems)} problem(s): " + ", ".join(p.field or p.code for p in self.problems)
        )


class NotFound(UserError):
    """A dataset, line, issue, training or endpoint of that name does not exist."""


class DataRejected(UserError):
    """A blocking data-quality rule does not hold."""


class IntegrityError(MlopsError):
    """Stored bytes do not match their digest, or two things that must be equal differ."""


class NotApproved(MlopsError):
    """The plan about to run is not the plan that was approved."""


class TrainingStopped(MlopsError):
    """The training is not wanted any more: cancelled, rejected, or replaced by another."""


class Unavailable(MlopsError):
    """A service outside did not answer, or not in a way that can be understood; trying again later may succeed."""


class RateLimited(Unavailable):
    """A service asks to be left alone; until ``retry_at`` nothing is sent to it."""

    def __init__(self, service: str, retry_at: datetime) -> None:
        self.retry_at = retry_at
        super().__init__(f"{service} limits our requests; it is asked again after {retry_at.isoformat(timespec='seconds')}")


class ComputeError(MlopsError):
    """A training process ended in failure that repeating would not mend."""


class ComputeInterrupted(ComputeError):
    """A training process was ended from outside (signal, lost machine); repeating may succeed."""
