"""The package of one model version: a folder that the model server can serve without anything else.

::

    model.onnx            raw inputs to predictions in one graph
    signature.json        Signature (mlops_assets.tasks.interface)
    examples.json         Examples: rows of the test split with the native model's predictions
    openapi.json          generated from the signature
    Dockerfile            multi-stage, serving side only
    requirements.txt      exact versions of the serving side only
    model_metadata.json   ModelMetadata
    server/               the serving code itself, so that the Dockerfile needs nothing but this folder
    manifest.json         Manifest, written last; verified before load

Folder layout, digests and their verification only; making the files is in ``packaging``, serving them in ``server``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from pydantic import Field, JsonValue

from mlops_assets.errors import IntegrityError
from mlops_assets.request.schema import Frozen

MANIFEST = "manifest.json"


class Examples(Frozen):
    """Rows of the test split and what the native model says of them; the server's own start-up check.

    ``rows`` are request objects as a client would send them. For classification ``labels`` are class names and
    ``probabilities`` (rows x classes); for regression ``values`` holds one number a row.
    """

    rows: tuple[dict[str, JsonValue], ...]
    labels: tuple[str, ...] = ()
    probabilities: tuple[tuple[float, ...], ...] = ()
    values: tuple[float, ...] = ()


class ModelMetadata(Frozen):
    """Where a model version comes from."""

    model_id: str
    version: str
    training_id: str
    algorithm: str
    task_type: str
    hyperparameters: dict[str, JsonValue]
    metrics: dict[str, float]
    dataset_id: str
    dataset_version: str
    plan_digest: str
    code_version: str
    created_at: str


class Manifest(Frozen):
    """SHA-256 and size of every file of the folder except the manifest itself."""

    files: dict[str, str] = Field(description="relative path -> SHA-256")
    sizes: dict[str, int] = Field(description="relative path -> bytes")

    @property
    def digest(self) -> str:
        """One SHA-256 for the whole package."""
        lines = "".join(f"{self.files[name]}  {name}\n" for name in sorted(self.files))
        return hashlib.sha256(lines.encode()).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def make_manifest(folder: Path, digest_of: Callable[[Path], str] = sha256_of_file) -> Manifest:
    """Digest every file below ``folder``; ``digest_of`` may know some without reading them again."""
    paths = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != MANIFEST}
    return Manifest(
        files={name: digest_of(path) for name, path in paths.items()},
        sizes={name: path.stat().st_size for name, path in paths.items()},
    )


def verify(folder: Path, digest_of: Callable[[Path], str] = sha256_of_file) -> Manifest:
    """The manifest of ``folder`` after checking every file against it.

    Raises:
        IntegrityError: the manifest is missing or unreadable, or a file is missing, added or altered.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise IntegrityError(f"{folder} has no {MANIFEST}: it is not a complete package")
    try:
        stated = Manifest.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise IntegrityError(f"{path} is not a manifest: {error}") from error
    found = make_manifest(folder, digest_of)
    for name in sorted(stated.files.keys() | found.files.keys()):
        if stated.files.get(name) != found.files.get(name):
            raise IntegrityError(f"{folder / name}: expected SHA-256 {stated.files.get(name)}, found {found.files.get(name)}")
    return stated
