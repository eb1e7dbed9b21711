"""From an export to a package: the folder that the model server, a container and SageMaker can run.

Assembling files only; their content comes from ``openapi`` and ``container``, their digests from ``package``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from mlops_assets.errors import IntegrityError, UserError
from mlops_assets.serving.container import copy_server, dockerfile, requirements_text
from mlops_assets.serving.openapi import openapi_document
from mlops_assets.serving.package import (
    GRAPH,
    MANIFEST,
    Examples,
    Manifest,
    ModelMetadata,
    graph_names,
    input_kind,
    make_manifest,
)
from mlops_assets.tasks.interface import Signature

EXPORT_FILES = (GRAPH, "signature.json", "examples.json")


def build_package(export: Path, metadata: ModelMetadata, out: Path) -> Manifest:
    """Make the package folder ``out`` from an export folder: ``model.onnx`` and any other ``*.onnx``, ``signature.json`` and
    ``examples.json``.

    The same export, metadata and installed libraries give the same bytes, and so the same digest. The folder appears
    at once and complete: it is put together under a temporary name beside ``out``.

    Raises:
        IntegrityError: a file of the export is missing or is not what it should be.
        UserError: ``out`` exists already.
    """
    if out.exists():
        raise UserError(
            f"the package folder {out} exists already", next_step="packages are immutable: give a folder that does not exist"
        )
    missing = [name for name in EXPORT_FILES if not (export / name).is_file()]
    if missing:
        raise IntegrityError(f"the export folder {export} has no {', '.join(missing)}")
    try:
        signature = Signature.model_validate_json((export / "signature.json").read_bytes())
        examples = Examples.model_validate_json((export / "examples.json").read_bytes())
    except ValueError as error:
        raise IntegrityError(f"the export folder {export} is not readable: {error}") from error
    kind = input_kind(signature)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch) / "package"
        folder.mkdir()
        for name in sorted({*EXPORT_FILES, *graph_names(export)}):
            shutil.copyfile(export / name, folder / name)
        _write(folder / "openapi.json", _json(openapi_document(signature, metadata, examples)))
        _write(folder / "model_metadata.json", metadata.model_dump_json(indent=2) + "\n")
        _write(folder / "requirements.txt", requirements_text(kind))
        _write(folder / "Dockerfile", dockerfile())
        copy_server(folder, kind)
        manifest = make_manifest(folder)
        _write(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
        folder.replace(out)
    return manifest


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
