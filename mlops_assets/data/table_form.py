"""A table as a form of data: the wiring of ``sources``, ``ingest``, ``cleaning`` and ``quality_report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlops_assets.data.dataset import TABLE, CatalogueEntry, DatasetVersion, PreparedDataset, QualityCheck
from mlops_assets.data.forms import Preparation, Told
from mlops_assets.request.vocabulary import Language


class TableForm:
    """CSV, TSV or Parquet, and whatever a source plug-in brings as one of these."""

    name = TABLE

    def recognises(self, source: str) -> bool:
        """Always: what is no table after all is told when it is read."""
        return True

    def register(self, entry: CatalogueEntry, scratch: Path, out: Path, *, memory_limit: str, told: Told) -> DatasetVersion:
        """Fetch the raw file and type it; see ``ingest``."""
        from mlops_assets.data.ingest import ingest
        from mlops_assets.data.sources import fetch

        raw = scratch / "raw"
        raw.mkdir()
        return ingest(fetch(entry.source, raw), entry, out, memory_limit=memory_limit)

    def prepare(self, asked: Preparation) -> PreparedDataset:
        """Clean and split the rows; see ``cleaning``. A table has no shards and tells no progress."""
        from mlops_assets.data.cleaning import prepare_dataset

        return prepare_dataset(
            asked.source, asked.request, asked.target, asked.out, now=asked.now, memory_limit=asked.memory_limit
        )

    def report(self, version: DatasetVersion, checks: Sequence[QualityCheck], language: Language) -> str:
        """See ``quality_report``."""
        from mlops_assets.data.quality_report import quality_report_markdown

        return quality_report_markdown(version, checks, language)
