"""The words of the data room: catalogue entries, versions, columns, quality evidence, and the folder of a prepared dataset.

Data comes in forms (``forms``). A prepared dataset folder, the input of every learning task, holds ``dataset.json``
(PreparedDataset) and, of a table::

    train.parquet  validation.parquet  test.parquet    the cleaned rows, original column names, file order

of a KITTI copy::

    training/image_2|velodyne|calib|label_2/           the files of every readable frame, in KITTI's own layout
    ImageSets/train.txt  validation.txt  test.txt      frame ids, one a line; ids are those of the object layout

Models only; reading files is in ``sources``, cleaning in ``cleaning``, rules in ``quality``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from mlops_assets.data.reasons import Reason
from mlops_assets.request.schema import Frozen

ColumnKind = Literal["number", "category", "timestamp", "identifier"]
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
TABLE, KITTI = "table", "kitti"
#: What a detector predicts, where a table has the name of its target column.
OBJECTS = "objects"


class CatalogueEntry(Frozen):
    """What a person declared about a dataset when registering it; the content is in its versions."""

    dataset_id: str
    source: str = Field(description="where it was read from: a path, `s3://…` or `sklearn:breast_cancer`")
    target: str | None = None
    sensitive: tuple[str, ...] = ()
    timestamp: str | None = None
    entity: str | None = None
    description: str = ""
    positive_class: str | None = None
    important: tuple[str, ...] = Field(default=(), description="columns whose null rate raises an alert; empty: all")
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict, description="column -> allowed [low, high]")
    fresh_within_hours: float | None = None


class Column(Frozen):
    """One column of one dataset version, over all rows."""

    name: str
    kind: ColumnKind
    missing: int
    distinct: int = Field(description="distinct non-missing values; exact up to 10,000, approximate above")
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    top: dict[str, int] = Field(default_factory=dict, description="most frequent values of a category column, at most 20")


class DatasetVersion(Frozen):
    """One immutable content of a dataset; `version` is `sha256-` and the first 16 digits of the raw content's SHA-256.

    The raw content of a KITTI copy is the list of its files with their digests; a row of it is a frame.
    """

    dataset_id: str
    version: str
    form: str = Field(default=TABLE, description="table or kitti; see `mlops_assets.data.forms`")
    raw_sha256: str
    raw_bytes: int
    rows: int
    columns: tuple[Column, ...] = Field(description="empty for frames")
    duplicate_rows: int
    target_counts: dict[str, int] = Field(
        default_factory=dict,
        description="class -> rows for a category-like target (at most 50 classes); for frames class -> labelled objects",
    )
    parts: dict[str, int] = Field(
        default_factory=dict, description="of frames: image, cloud, calibration, labels -> frames that have one"
    )
    shards: int = Field(default=0, description="of frames: how many shards they are kept in")
    entry: CatalogueEntry
    newest: str | None = Field(default=None, description="largest timestamp, ISO 8601, where a timestamp column is declared")
    added_at: str = Field(description="UTC, ISO 8601")


class QualityCheck(Frozen):
    """The outcome of one quality rule with the evidence for it."""

    rule: Literal[
        "schema", "target", "null_rate", "range", "duplicates", "freshness", "leakage", "class_support", "files", "labels"
    ]
    severity: Literal["stop", "alert", "log"]
    passed: bool
    evidence: dict[str, float | int | str | None] = Field(default_factory=dict, description="column or figure -> value")
    reasons: dict[str, Reason] = Field(
        default_factory=dict, description="evidence that is a line of English -> the same for readers of other languages"
    )
    limit: str = Field(default="", description="the limit in words of the rule, e.g. `< 5 %`")


class PreparedDataset(Frozen):
    """What cleaning and splitting made of one dataset version."""

    dataset_id: str
    version: str
    form: str = TABLE
    target: str
    positive_class: str | None
    columns: tuple[Column, ...] = Field(description="feature columns only, as they enter the feature step")
    ignored: dict[str, str] = Field(description="column -> why it is no feature (identifier, drop_columns, constant …)")
    sensitive: tuple[str, ...]
    timestamp: str | None
    entity: str | None
    rows: dict[str, int] = Field(description="split -> rows")
    removed: dict[str, int] = Field(description="duplicates, missing_target, missing, outliers -> rows removed")
    split: Literal["stratified", "random", "time", "listed", "sequences"]
    seed: int
    target_counts: dict[str, dict[str, int]] = Field(description="split -> class -> rows, or objects of frames")
    checks: tuple[QualityCheck, ...]
    digest: str = Field(description="SHA-256 over the three split files' content")

    @classmethod
    def read(cls, folder: Path) -> PreparedDataset:
        """Read ``dataset.json`` of a prepared dataset folder."""
        return cls.model_validate_json((folder / "dataset.json").read_bytes())
