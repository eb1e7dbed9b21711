"""Blue/green inside the server process: follow the pointer, load the candidate beside the active model, switch one reference.

The decisions of a server process; HTTP is in ``application``, the pointer is moved by ``deployment``.
"""

from __future__ import annotations

import logging
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

from mlops_assets.errors import IntegrityError
from mlops_assets.serving.application import ActiveModel
from mlops_assets.serving.endpoint_state import (
    POINTER,
    STATUS,
    Candidate,
    Deployed,
    EndpointState,
    ServerStatus,
    Trial,
    read_state,
    write_atomically,
)
from mlops_assets.serving.metrics import ServingMetrics
from mlops_assets.serving.model import LoadedModel

POLL_SECONDS = 0.1
log = logging.getLogger(__name__)


class Rotation:
    """Keeps the active, the candidate and the previous version loaded, and the active one answering.

    A version that cannot be loaded never becomes active while another one answers: what answers goes on answering,
    and the status says why.
    """

    def __init__(self, folder: Path, active: ActiveModel, metrics: ServingMetrics) -> None:
        self._folder = folder
        self._active = active
        self._metrics = metrics
        self._loaded: dict[str, LoadedModel] = {}
        self._refused: dict[str, str] = {}
        self._seen: tuple[int, int, int] | None = None
        self._unsaid: ServerStatus | None = None
        self._complaint = ""
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")

    def follow(self, stopped: threading.Event) -> None:
        """Follow the pointer until ``stopped``; run in a thread of its own."""
        while not stopped.wait(POLL_SECONDS):
            self.look()

    def look(self) -> None:
        """Act on the pointer if it is another file than at the last look."""
        try:
            found = (self._folder / POINTER).stat()
            identity = (found.st_ino, found.st_mtime_ns, found.st_size)
            if identity != self._seen:
                state = read_state(self._folder)
                if state is not None:
                    self._unsaid = self._apply(state)
                self._seen = identity
            if self._unsaid is not None:
                write_atomically(self._folder / STATUS, self._unsaid)
                self._unsaid = None
        except (OSError, IntegrityError) as error:
            # A full disk or a pointer edited by hand must not stop what answers; the next look tries again.
            if str(error) != self._complaint:
                log.error("cannot follow the pointer: %s", error)
            self._complaint = str(error)

    def _apply(self, state: EndpointState) -> ServerStatus:
        # What was refused may have been repaired: whoever repairs it writes the pointer anew.
        self._refused.clear()
        reason = self._activate(state.active)
        trial = self._try_candidate(state.candidate)
        if state.previous is not None:
            self._load(state.previous)
        wanted = {d.digest for d in (state.active, state.candidate, state.previous) if d is not None}
        answering = self._active.model
        for digest in [d for d in self._loaded if d not in wanted and (answering is None or d != answering.digest)]:
            del self._loaded[digest]
        return ServerStatus(
            pid=os.getpid(),
            started_at=self._started_at,
            generation=state.generation,
            active=state.active if state.active and answering and answering.digest == state.active.digest else None,
            trial=trial,
            loaded=tuple(sorted(model.version for model in self._loaded.values())),
            reason=reason,
        )

    def _activate(self, wanted: Deployed | None) -> str:
        """Make ``wanted`` answer; the reason if it cannot."""
        if wanted is None:
            self._active.reason = "no model version is deployed yet"
            return self._active.reason
        answering = self._active.model
        if answering is not None and answering.digest == wanted.digest:
            return ""
        model = self._load(wanted)
        if model is None:
            self._active.reason = self._refused[wanted.digest]
            return self._active.reason
        self._active.model = model
        self._metrics.active(model)
        log.info("active: %s (before: %s)", model.version, answering.version if answering else None)
        return ""

    def _try_candidate(self, candidate: Candidate | None) -> Trial | None:
        if candidate is None:
            return None
        healthy = self._load(candidate) is not None
        reason = "" if healthy else self._refused[candidate.digest]
        return Trial(attempt=candidate.attempt, version=candidate.version, healthy=healthy, reason=reason)

    def _load(self, deployed: Deployed) -> LoadedModel | None:
        """The loaded model; None if it was refused, with the reason in ``_refused``."""
        model = self._loaded.get(deployed.digest)
        if model is not None:
            return model
        if deployed.digest in self._refused:
            return None
        try:
            model = LoadedModel(self._folder / deployed.package)
            if model.digest != deployed.digest or model.version != deployed.version:
                raise IntegrityError(f"{deployed.package} is {model.version} {model.digest[:12]}, not {deployed.digest[:12]}")
        except (IntegrityError, OSError) as error:
            self._refused[deployed.digest] = str(error)
            log.error("refused %s: %s", deployed.version, error)
            return None
        self._loaded[deployed.digest] = model
        log.info("loaded %s (%s)", model.version, model.digest[:12])
        return model
