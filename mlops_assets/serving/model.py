"""One model version in memory: verified, loaded, checked against its own examples, and answering.

How a request becomes an answer is in the reader of its kind (``tables``, ``images``, ``clouds``). Which version is active is in
``rotation``, HTTP in ``application``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mlops_assets.errors import IntegrityError
from mlops_assets.serving.answering import Reader
from mlops_assets.serving.documentation import documentation_page
from mlops_assets.serving.monitoring import DriftMonitor
from mlops_assets.serving.package import GRAPH, Examples, ModelMetadata, graph_names, input_kind, verify
from mlops_assets.tasks.interface import Signature


class LoadedModel:
    """A package's graphs, ready to answer. Safe to use from several threads at once."""

    def __init__(self, folder: Path) -> None:
        """Verify, load and check the package in ``folder``.

        Raises:
            IntegrityError: a file differs from the manifest, a graph from the signature, or a prediction from its example.
        """
        manifest = verify(folder)
        self.digest = manifest.digest
        try:
            self.metadata = ModelMetadata.model_validate_json((folder / "model_metadata.json").read_bytes())
            self.signature = Signature.model_validate_json((folder / "signature.json").read_bytes())
            examples = Examples.model_validate_json((folder / "examples.json").read_bytes())
            self.openapi = (folder / "openapi.json").read_bytes()
            self.documentation = documentation_page(msgspec.json.decode(self.openapi)).encode()
        except (OSError, ValueError) as error:
            raise IntegrityError(f"{folder} is not a model package: {error}") from error
        graphs = {}
        for name in graph_names(folder):
            graphs[name] = (folder / name).read_bytes()
            # The bytes that run are the bytes that were verified, also if the file is changed between the two reads.
            if hashlib.sha256(graphs[name]).hexdigest() != manifest.files.get(name):
                raise IntegrityError(f"{folder / name} changed while it was being loaded")
        if GRAPH not in graphs:
            raise IntegrityError(f"{folder} has no {GRAPH}")
        self.reader = _reader(self.signature, graphs, self.metadata.version)
        self.answer = self.reader.answer
        self.classes = self.signature.classes
        self.drift = DriftMonitor(self.signature.reference)
        if not examples.rows:
            raise IntegrityError("the package has no examples to check the graph with")
        self.reader.check(examples)

    @property
    def version(self) -> str:
        """The semantic version of the model."""
        return self.metadata.version


def _reader(signature: Signature, graphs: Mapping[str, bytes], version: str) -> Reader:
    """The reader of the signature's kind of input; a package holds the modules of its own kind only."""
    kind = input_kind(signature)
    if kind == "image":
        from mlops_assets.serving.images import ImageReader

        return ImageReader(signature, graphs, version)
    if kind == "points":
        from mlops_assets.serving.clouds import CloudReader

        return CloudReader(signature, graphs, version)
    from mlops_assets.serving.tables import TableReader

    return TableReader(signature, graphs, version)
