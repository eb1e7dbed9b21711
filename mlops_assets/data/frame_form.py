"""A KITTI copy as a form of data: the wiring of ``frame_registration``, ``frame_preparation`` and ``frame_report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlops_assets.data.dataset import KITTI, CatalogueEntry, DatasetVersion, PreparedDataset, QualityCheck
from mlops_assets.data.forms import Preparation, Told
from mlops_assets.request.vocabulary import Language


class KittiForm:
    """Images, clouds and labels in a folder of KITTI's object or tracking layout."""

    name = KITTI

    def recognises(self, source: str) -> bool:
        """A local folder in one of the layouts; also one without labels, so that its registration can say what is wrong."""
        from mlops_assets.data.frame_registration import is_copy

        return is_copy(source)

    def register(self, entry: CatalogueEntry, scratch: Path, out: Path, *, memory_limit: str, told: Told) -> DatasetVersion:
        """List the frames and digest their files; see ``frame_registration``. Nothing is copied and little memory needed."""
        from mlops_assets.data.frame_registration import register_copy

        return register_copy(entry, out, told)

    def prepare(self, asked: Preparation) -> PreparedDataset:
        """Judge, link and split the frames; see ``frame_preparation``."""
        from mlops_assets.data.frame_preparation import prepare_frames

        return prepare_frames(asked.source, asked.request, asked.target, asked.out, shard=asked.shard, told=asked.told)

    def report(self, version: DatasetVersion, checks: Sequence[QualityCheck], language: Language) -> str:
        """See ``frame_report``."""
        from mlops_assets.data.frame_report import frame_report_markdown

        return frame_report_markdown(version, checks, language)
