"""Model versions of every line in the store: allotted once, published once, listed by semantic version.

The truth about versions is here, so that rollback needs neither Dagster nor MLflow; MLflow's registry mirrors it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from mlops_assets.serving.package import ModelMetadata
from mlops_assets.serving.versions import SemanticVersion, VersionChoice, next_version
from resources.store import ObjectStore


@dataclass(frozen=True)
class AllottedVersion:
    """The version that a training was given, and why it is not the one that was asked for, if so."""

    version: str
    note: str | None


class ModelShelf:
    """Versions under ``models/{model_id}/{version}/``; ``models/{model_id}/claims/`` says whose each is."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def versions(self, model_id: str) -> list[str]:
        """Versions of a line that are allotted or published, oldest first."""
        names = (key.rsplit("/", 1)[-1].removesuffix(".json") for key in self._store.keys(f"models/{model_id}/claims"))
        return sorted(names, key=SemanticVersion.parse)

    def published(self, model_id: str) -> list[str]:
        """Versions of a line whose package is complete, oldest first."""
        return [v for v in self.versions(model_id) if self._store.manifest(self.prefix(model_id, v)) is not None]

    def metadata(self, model_id: str, version: str) -> ModelMetadata:
        """Where a published version comes from."""
        return ModelMetadata.model_validate_json(self._store.get(f"{self.prefix(model_id, version)}/model_metadata.json"))

    def allot(self, model_id: str, training_id: str, requested: str | None, inputs_digest: str) -> AllottedVersion:
        """The semantic version of a training: the same one however often it is asked for.

        A version is claimed by an atomic create, so two trainings never share one. A changed signature
        (``inputs_digest``) is a major change, everything else a minor one.
        """
        while True:
            claims = {v: self._claim(model_id, v) for v in self.versions(model_id)}
            own = next((v for v, claim in claims.items() if claim.get("training_id") == training_id), None)
            if own is not None:
                return AllottedVersion(own, claims[own].get("note"))
            newest = claims[list(claims)[-1]] if claims else {}
            changed = bool(newest) and newest.get("inputs_digest") != inputs_digest
            choice: VersionChoice = next_version(list(claims), requested, "major" if changed else "minor")
            claim = {"training_id": training_id, "inputs_digest": inputs_digest, "note": choice.note}
            data = json.dumps({k: v for k, v in claim.items() if v is not None}, indent=1).encode()
            if self._store.create(f"models/{model_id}/claims/{choice.version}.json", data):
                return AllottedVersion(choice.version, choice.note)

    @staticmethod
    def prefix(model_id: str, version: str) -> str:
        """Key prefix of a version's package."""
        return f"models/{model_id}/{version}"

    def _claim(self, model_id: str, version: str) -> dict[str, str]:
        found: dict[str, str] = json.loads(self._store.get(f"models/{model_id}/claims/{version}.json"))
        return found
