"""The catalogue of datasets: what is registered, in which immutable versions.

Reading what a person registers is ``mlops_assets.data``, in one form or the other; this keeps the results under
``datasets/{dataset_id}/``.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from mlops_assets.data.dataset import CatalogueEntry, DatasetVersion
from mlops_assets.data.forms import Told
from mlops_assets.errors import NotFound, UserError
from mlops_assets.request.digest import sha256_of
from resources.store import ObjectStore
from resources.workshop import passing

DATASET_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"

#: Registered on first use, so that the demo and a first look need no file.
BUNDLED: dict[str, CatalogueEntry] = {
    "breast-cancer": CatalogueEntry(
        dataset_id="breast-cancer",
        source="sklearn:breast_cancer",
        target="diagnosis",
        positive_class="malignant",
        description="Wisconsin diagnostic breast cancer, 569 rows, ships with scikit-learn",
    ),
}


class Catalogue:
    """Datasets by id. A pointer names the current version; versions themselves never change."""

    def __init__(self, store: ObjectStore, scratch: Path, memory_limit: str) -> None:
        self._store = store
        self._scratch = scratch
        self._memory_limit = memory_limit

    def add(self, entry: CatalogueEntry, told: Told | None = None) -> DatasetVersion:
        """Read ``entry.source``, keep its content as a version and make it the current one.

        The same content registered twice is one version; declared otherwise (another target, say) it is another one,
        because a version tells what a training learns from, and what was approved must not change. ``told`` hears of the
        progress of forms that take long.

        Raises:
            UserError: the id is not usable, the source cannot be read, or a declared column is not in it.
        """
        from mlops_assets.data.forms import form_of_source

        if not re.fullmatch(DATASET_ID_PATTERN, entry.dataset_id) or ".." in entry.dataset_id:
            raise UserError(
                "this dataset name cannot be used",
                field="NAME",
                given=entry.dataset_id,
                allowed=["letters, digits, '.', '_' and '-', starting with a letter or digit, at most 128"],
            )
        with passing(self._scratch, "ingest") as work:
            version_folder = work / "version"
            version_folder.mkdir()
            version = form_of_source(entry.source).register(
                entry, work, version_folder, memory_limit=self._memory_limit, told=told or (lambda fraction, text: None)
            )
            version = self._distinct(version, version_folder)
            self._store.publish(f"datasets/{entry.dataset_id}/versions/{version.version}", version_folder)
        self._store.put(f"datasets/{entry.dataset_id}/current.json", version.model_dump_json(indent=1).encode())
        return version

    def _distinct(self, version: DatasetVersion, folder: Path) -> DatasetVersion:
        """``version``, under a name of its own if its content is published with other declarations."""
        prefix = f"datasets/{version.dataset_id}/versions/{version.version}"
        if self._store.manifest(prefix) is None:
            return version
        known = DatasetVersion.model_validate_json(self._store.get(f"{prefix}/version.json"))
        declared = _declarations(version.entry)
        if _declarations(known.entry) == declared:
            return version
        named = version.model_copy(update={"version": f"{version.version}-{sha256_of(declared)[:8]}"})
        (folder / "version.json").write_text(named.model_dump_json(indent=1), encoding="utf-8")
        return named

    def names(self) -> list[str]:
        """Ids of all registered datasets, the bundled ones included."""
        return sorted({*self._store.children("datasets"), *BUNDLED})

    def registered(self, dataset_id: str) -> DatasetVersion:
        """The current version of a dataset as it stands; nothing is registered to find it.

        Raises:
            NotFound: nothing of that name has been registered yet.
        """
        return DatasetVersion.model_validate_json(self._store.get(f"datasets/{dataset_id}/current.json"))

    def current(self, dataset_id: str) -> DatasetVersion:
        """The current version of a dataset; a bundled one is registered on first use.

        Raises:
            NotFound: nothing of that name is registered; the message names the nearest ones.
        """
        if re.fullmatch(DATASET_ID_PATTERN, dataset_id):
            try:
                return self.registered(dataset_id)
            except NotFound:
                if dataset_id in BUNDLED:
                    return self.add(BUNDLED[dataset_id])
        near = difflib.get_close_matches(dataset_id, self.names(), n=3, cutoff=0.5)
        raise NotFound(
            "this dataset is not registered",
            field="dataset_id",
            given=dataset_id,
            allowed=near or self.names(),
            next_step=f"mlops dataset add {dataset_id} PATH --target COLUMN",
        )

    def folder(self, dataset_id: str, version: str) -> Path:
        """A local view of one version's folder (``version.json`` and ``data.parquet`` or ``frames.json``).

        Raises:
            NotFound: there is no such version.
            IntegrityError: its files differ from their digests.
        """
        return self._store.checkout(f"datasets/{dataset_id}/versions/{version}")

    def version(self, dataset_id: str, version: str) -> DatasetVersion:
        """What is known of one version. Raises as ``folder``."""
        return DatasetVersion.model_validate_json((self.folder(dataset_id, version) / "version.json").read_bytes())

    def versions(self, dataset_id: str) -> list[str]:
        """Versions of a dataset, in no particular order of age."""
        return self._store.children(f"datasets/{dataset_id}/versions")


def _declarations(entry: CatalogueEntry) -> dict[str, object]:
    """What a person declared that changes what is learned from the same rows."""
    return entry.model_dump(mode="json", exclude={"source", "description"})
