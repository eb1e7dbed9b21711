"""The forms that data comes in: one interface from a source that a person names to a folder that a task learns from.

A table and a KITTI copy differ in everything but these four verbs. The asset graph, the catalogue and the planner know forms by
the name in ``DatasetVersion.form`` only. What a table is made of is in ``ingest`` and ``cleaning``, frames in ``frame_form``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from mlops_assets.data.dataset import CatalogueEntry, DatasetVersion, PreparedDataset, QualityCheck
from mlops_assets.errors import IntegrityError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.request.vocabulary import Language

Told = Callable[[float, str], None]
"""Called with the fraction done (0..1) and one line of text."""
ShardFolder = Callable[[int], Path]
"""The folder of one shard of a version, made first where it has not been made yet; see ``resources.shards``."""


@dataclass(frozen=True)
class Preparation:
    """What one training wants of one version; a form takes from it what it needs.

    Attributes:
        source: folder of the version.
        target: column, or the name of what a detector predicts.
        out: empty folder for the prepared dataset.
        now: aware of its zone; freshness is judged by it.
        memory_limit: of the engine, as DuckDB writes it.
        shard: of a version that is kept in shards.
    """

    source: Path
    request: TrainingRequest
    target: str
    out: Path
    now: datetime
    memory_limit: str
    shard: ShardFolder
    told: Told


class DatasetForm(Protocol):
    """One form of data. Folders given are read-only; each verb writes only below ``out``."""

    name: str

    def recognises(self, source: str) -> bool:
        """Whether the content of ``source`` has this form; cheap, and false rather than an error."""
        ...

    def register(self, entry: CatalogueEntry, scratch: Path, out: Path, *, memory_limit: str, told: Told) -> DatasetVersion:
        """Read ``entry.source`` and write one version's folder, ``version.json`` among it.

        Raises:
            UserError: the source cannot be read, or the entry declares what is not in it.
        """
        ...

    def prepare(self, asked: Preparation) -> PreparedDataset:
        """Judge, clean and split a version; ``asked.out`` becomes a prepared dataset folder.

        Raises:
            QualityRejected: a rule that stops a training did not hold.
        """
        ...

    def report(self, version: DatasetVersion, checks: Sequence[QualityCheck], language: Language) -> str:
        """The quality report as Markdown."""
        ...


def installed_forms() -> Mapping[str, DatasetForm]:
    """Every form by its name; the one that is tried last takes whatever the others do not recognise."""
    from mlops_assets.data.frame_form import KittiForm
    from mlops_assets.data.table_form import TableForm

    return {form.name: form for form in (KittiForm(), TableForm())}


def form_of(version: DatasetVersion | PreparedDataset) -> DatasetForm:
    """The form of a version.

    Raises:
        IntegrityError: a newer release has written it.
    """
    forms = installed_forms()
    if version.form not in forms:
        raise IntegrityError(f"dataset {version.dataset_id} has the unknown form {version.form}; known: {', '.join(forms)}")
    return forms[version.form]


def form_of_source(source: str) -> DatasetForm:
    """The form of what a person wants to register."""
    return next(form for form in installed_forms().values() if form.recognises(source))
