"""What is asked for, and what would run for it here and now: from an issue to a request, and from a request to its plan.

Gathers what the pure functions of ``mlops_assets.request`` need to know of this installation: its algorithms, data, machine and
limits. What becomes of a plan is ``front_desk``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import JsonValue

from mlops_assets.code_version import code_version
from mlops_assets.data.dataset import DatasetVersion
from mlops_assets.errors import NotFound, Problem, RequestInvalid
from mlops_assets.request.parser import parse_issue
from mlops_assets.request.plan import Plan
from mlops_assets.request.planner import make_plan, unsuitable_form
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.interface import Algorithm, installed_tasks, task_for
from resources.installed import gpu_is_there, install_command, missing_extras
from resources.tracker import Issue

if TYPE_CHECKING:
    from resources.platform import Platform

#: Problems that only a request without any other shows.
FOUND_LATE = (
    "dataset_not_registered",
    "algorithm_not_available",
    "algorithm_needs_extra",
    "wrong_form",
    "missing_parts",
    "unlabelled_class",
)


class Planning:
    """Requests and plans of one installation."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def read(self, issue: Issue) -> TrainingRequest:
        """The request that an issue makes.

        Raises:
            RequestInvalid: with every problem that the text shows, and with those that would still stand in the way of the
                corrected one.
        """
        try:
            request = parse_issue(issue.title, issue.body, offered=offered_algorithms())
        except RequestInvalid as invalid:
            further = self._further(issue, invalid)
            corrected = invalid.corrected
            for problem in further:
                if corrected is not None and problem.suggestion is not None:
                    corrected = corrected.replace(f": {problem.given}\n", f": {problem.suggestion}\n", 1)
            raise RequestInvalid([*invalid.problems, *further], corrected=corrected) from invalid
        if self._platform.settings.language != "auto":
            request = request.model_copy(update={"language": self._platform.settings.language})
        return request

    def _further(self, issue: Issue, invalid: RequestInvalid) -> tuple[Problem, ...]:
        """What would still stand in the way with the corrected block in place, so that people mend everything at once."""
        known = {problem.field for problem in invalid.problems}
        try:
            self.make_plan(parse_issue(issue.title, f"```yaml\n{invalid.corrected or ''}\n```", offered=offered_algorithms()))
        except RequestInvalid as further:
            return tuple(p for p in further.problems if p.code in FOUND_LATE and p.field not in known)
        return ()

    def make_plan(self, request: TrainingRequest, version: DatasetVersion | None = None) -> Plan:
        """The plan of a request with the present code, on ``version`` or the current version of its dataset.

        Raises:
            RequestInvalid: the dataset is not registered, no installed task offers the algorithm, or columns are missing.
        """
        problems = []
        found = task_for(request.algorithm)
        if found is None:
            names = tuple(algorithm.name for algorithm in offered_algorithms())
            problems.append(Problem("algorithm", "algorithm_not_available", request.algorithm, names))
        if version is None:
            try:
                version = self._platform.catalogue.current(request.dataset.dataset_id)
            except NotFound as error:
                near = error.allowed[0] if len(error.allowed) <= 3 and error.allowed else None
                problems.append(
                    Problem("dataset_id", "dataset_not_registered", request.dataset.dataset_id, tuple(error.allowed), near)
                )
        if found is not None and version is not None and found[1].form != version.form:
            raise self._unsuitable(request, version, found[1])
        needed = missing_extras(found[1]) if found is not None else ()
        if needed:
            problems.append(Problem("algorithm", "algorithm_needs_extra", request.algorithm, (install_command(needed),)))
        if found is None or version is None or problems:
            raise RequestInvalid(problems)
        return make_plan(
            request,
            version,
            code_version(),
            task=found[0],
            algorithm=found[1],
            resources={"compute": "local", "processors": _processors(), **_gpu(found[1])},
            cost_cap_usd=self._cost_cap(request),
        )

    def _unsuitable(self, request: TrainingRequest, version: DatasetVersion, algorithm: Algorithm) -> RequestInvalid:
        """The refusal of an algorithm on data of another form, with the datasets and algorithms that would go together."""
        datasets = []
        for name in self._platform.catalogue.names():
            try:
                known = self._platform.catalogue.registered(name)
            except NotFound:
                continue
            if known.form == algorithm.form:
                datasets.append(name)
        algorithms = [offered.name for offered in offered_algorithms() if offered.form == version.form]
        return unsuitable_form(request, version, algorithm, algorithms=algorithms, datasets=datasets)

    def _cost_cap(self, request: TrainingRequest) -> float | None:
        caps = [cap for cap in (request.max_cost_usd, self._platform.settings.cost_cap_usd) if cap is not None]
        return min(caps) if caps else None


def offered_algorithms() -> list[Algorithm]:
    """Algorithms of every installed task."""
    return [algorithm for task in installed_tasks().values() for algorithm in task.algorithms]


def _gpu(algorithm: Algorithm) -> dict[str, JsonValue]:
    """Whether a GPU is there, of those algorithms that would use one: plans of the others are the same with and without it."""
    return {"gpu": True} if any(extra == "deep" for _, extra in algorithm.requires) and gpu_is_there() else {}


def _processors() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
