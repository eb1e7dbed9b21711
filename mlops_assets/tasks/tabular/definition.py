"""The feature definition: what every column of the feature matrix is, as data and as a Markdown document in ja or en.

A feature folder, the output of ``prepare`` and the input of training, evaluation and export, holds::

    features.onnx                            raw columns -> `features` (N, F) float32
    train.npz  validation.npz  test.npz      X (N, F) float32; y (N,) int64 class index, or float64 value
    inputs.json                              list of InputField, the inputs of features.onnx in their order
    definition.md                            the columns of X for people
    definition.json                          FeatureDefinition, the same in their order
    summary.json                             FeatureSummary, written last: a folder that has it is a whole one

Models, reading and wording only; fitting is in ``statistics``, making the folder in ``features``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, JsonValue

from mlops_assets.request.schema import Frozen
from mlops_assets.request.vocabulary import Language, TaskType
from mlops_assets.tasks.interface import InputField

Transformation = Literal["number", "time_part", "entity_count", "entity_mean", "one_hot", "label", "target_mean"]

FEATURE_GRAPH: Final = "features.onnx"
INPUTS: Final = "inputs.json"
DEFINITION: Final = "definition.json"
DEFINITION_DOCUMENT: Final = "definition.md"
SUMMARY: Final = "summary.json"


class FeatureEntry(Frozen):
    """One column of the feature matrix."""

    name: str
    inputs: tuple[str, ...] = Field(description="raw columns that the serving graph reads for it")
    transformation: Transformation
    parameters: dict[str, JsonValue] = Field(default_factory=dict, description="fitted numbers: fill, offset, scale, category …")
    unit: Literal["source", "unit_interval", "standard_deviations", "rows", "calendar", "flag", "code", "target"]


class FeatureDefinition(Frozen):
    """Every feature with its fitted transformation, and the classes in model order."""

    target: str
    task_type: TaskType
    classes: tuple[str, ...] = ()
    features: tuple[FeatureEntry, ...]
    dropped: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    train_rows: int
    dataset_digest: str

    @classmethod
    def read(cls, folder: Path) -> FeatureDefinition:
        """Read ``definition.json`` of a feature folder."""
        return cls.model_validate_json((folder / DEFINITION).read_bytes())


def read_inputs(folder: Path) -> tuple[InputField, ...]:
    """The inputs of ``features.onnx`` of a feature folder, in graph order."""
    from pydantic import TypeAdapter

    return TypeAdapter(tuple[InputField, ...]).validate_json((folder / INPUTS).read_bytes())


def distinct_names(entries: Sequence[FeatureEntry]) -> tuple[FeatureEntry, ...]:
    """The same entries; the second and later of one name become ``name#2``, ``name#3`` …"""
    taken: set[str] = set()
    named = []
    for entry in entries:
        name, number = entry.name, 1
        while name in taken:
            number += 1
            name = f"{entry.name}#{number}"
        taken.add(name)
        named.append(entry if name == entry.name else entry.model_copy(update={"name": name}))
    return tuple(named)


#: Sentences of the definition document; ``FeatureSummary.dropped`` and ``warnings`` hold keys of it.
SENTENCES: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "title": "Feature definition",
        "intro": "Target: {target} ({task}). {features} features from {inputs} input columns; every number is fitted on the "
        "{rows} rows of the training split. Dataset digest: {digest}.",
        "classes": "Classes in model order: {classes}",
        "inputs": "Input columns",
        "inputs_head": "| column | kind | required | range or values in training | example |",
        "features": "Features",
        "features_head": "| # | feature | from | type | transformation | unit |",
        "dropped": "Left out",
        "dropped_head": "| column or feature | reason |",
        "notes": "Notes",
        "yes": "yes",
        "no": "no",
        "more": "{count} values and more",
        "number": "missing → {fill}{scaling}",
        "scaling": ", then (value − {offset}) / {scale}",
        "time_part": "{part} of the time in UTC; missing → {fill}{scaling}",
        "entity_count": "training rows of the entity ({entities} entities); unseen → {unseen}{scaling}",
        "entity_mean": "mean of {of} over the training rows of the entity; unseen → {unseen}{scaling}",
        "one_hot": "1 where the value is {category} ({train_rows} training rows), else 0",
        "label": "index among {categories} categories in code point order; unseen → {unseen}",
        "target_mean": "mean target of the category {class}, smoothed with {smoothing} rows of the overall mean {overall}; "
        "unseen → overall mean; training rows are cross-fitted",
        "unit.source": "as in the source column",
        "unit.unit_interval": "0–1 of the training range",
        "unit.standard_deviations": "standard deviations",
        "unit.rows": "rows",
        "unit.calendar": "hour 0–23, weekday 0 = Monday, day 1–31, month 1–12, flag 0/1",
        "unit.flag": "0 or 1",
        "unit.code": "code",
        "unit.target": "unit of the target, or share of the class",
        "all_missing": "no value in the training split",
        "identifier": "an identifier",
        "entity": "the entity: used to look up aggregates, not as a quantity",
        "timestamp_without_time_features": "a timestamp is used through time_features only",
        "correlation": "correlates above 0.95 with an earlier feature",
        "importance": "not important enough in a small random forest",
        "time_features_without_timestamp": "time_features was asked for, but there is no timestamp column.",
        "aggregate_without_entity": "aggregate_by_user was asked for, but no entity column is declared.",
        "standardize_supersedes_normalize": "normalize and standardize were both asked for; values are standardized.",
    },
    "ja": {
        "title": "特徴量定義書",
        "intro": "目的変数: {target}（{task}）。入力列 {inputs} 個から特徴量 {features} 個を作成。"
        "数値はすべて学習用データ {rows} 行から求めたものです。データセットのダイジェスト: {digest}。",
        "classes": "クラス（モデルの順）: {classes}",
        "inputs": "入力列",
        "inputs_head": "| 列 | 種類 | 必須 | 学習時の範囲または値 | 例 |",
        "features": "特徴量",
        "features_head": "| # | 特徴量 | 元の列 | 型 | 変換 | 単位 |",
        "dropped": "使わなかったもの",
        "dropped_head": "| 列または特徴量 | 理由 |",
        "notes": "注意",
        "yes": "はい",
        "no": "いいえ",
        "more": "{count} 種類以上",
        "number": "欠損 → {fill}{scaling}",
        "scaling": "、その後 (値 − {offset}) / {scale}",
        "time_part": "時刻 (UTC) の {part}。欠損 → {fill}{scaling}",
        "entity_count": "エンティティごとの学習データの行数（{entities} 件）。未知 → {unseen}{scaling}",
        "entity_mean": "エンティティごとの {of} の平均（学習データ）。未知 → {unseen}{scaling}",
        "one_hot": "値が {category}（学習データ {train_rows} 行）なら 1、それ以外は 0",
        "label": "{categories} 種類のカテゴリを文字コード順に並べた番号。未知 → {unseen}",
        "target_mean": "カテゴリごとの目的変数の平均 {class}（全体平均 {overall} を {smoothing} 行分加えて平滑化）。"
        "未知 → 全体平均。学習用の行は交差適合した値",
        "unit.source": "元の列と同じ",
        "unit.unit_interval": "学習時の範囲を 0–1 とした値",
        "unit.standard_deviations": "標準偏差",
        "unit.rows": "行",
        "unit.calendar": "時 0–23、曜日 0 = 月曜、日 1–31、月 1–12、フラグ 0/1",
        "unit.flag": "0 または 1",
        "unit.code": "番号",
        "unit.target": "目的変数の単位、またはクラスの割合",
        "all_missing": "学習用データに値がない",
        "identifier": "識別子",
        "entity": "エンティティ（集計の参照にだけ使い、数量としては使わない）",
        "timestamp_without_time_features": "タイムスタンプは time_features を通してだけ使う",
        "correlation": "前にある特徴量との相関が 0.95 を超える",
        "importance": "小さなランダムフォレストでの重要度が低い",
        "time_features_without_timestamp": "time_features が指定されましたが、タイムスタンプ列がありません。",
        "aggregate_without_entity": "aggregate_by_user が指定されましたが、エンティティ列が宣言されていません。",
        "standardize_supersedes_normalize": "normalize と standardize の両方が指定されました。結果は標準化した値です。",
    },
}


def definition_document(definition: FeatureDefinition, inputs: Sequence[InputField], language: Language) -> str:
    """The definition as Markdown. Names and values from the data stand in code spans, so that none of them is markup."""
    say = SENTENCES[language]
    lines = [f"# {say['title']}", ""]
    lines += [
        say["intro"].format(
            target=_code(definition.target),
            task=definition.task_type,
            features=len(definition.features),
            inputs=len(inputs),
            rows=definition.train_rows,
            digest=_code(definition.dataset_digest),
        ),
        "",
    ]
    if definition.classes:
        lines += [say["classes"].format(classes=", ".join(_code(name) for name in definition.classes)), ""]
    if definition.warnings:
        lines += [f"## {say['notes']}", "", *(f"- {say[key]}" for key in definition.warnings), ""]
    lines += [f"## {say['inputs']}", "", say["inputs_head"], "| --- | --- | --- | --- | --- |"]
    lines += [_input_row(field, say) for field in inputs]
    lines += ["", f"## {say['features']}", "", say["features_head"], "| ---: | --- | --- | --- | --- | --- |"]
    for number, entry in enumerate(definition.features, 1):
        origin = ", ".join(_code(name) for name in entry.inputs)
        unit = say[f"unit.{entry.unit}"]
        lines.append(f"| {number} | {_code(entry.name)} | {origin} | float32 | {_transformation(entry, say)} | {unit} |")
    if definition.dropped:
        lines += ["", f"## {say['dropped']}", "", say["dropped_head"], "| --- | --- |"]
        lines += [f"| {_code(name)} | {say[why]} |" for name, why in definition.dropped.items()]
    return "\n".join(lines) + "\n"


def _input_row(field: InputField, say: dict[str, str]) -> str:
    seen = ""
    if field.minimum is not None and field.maximum is not None:
        seen = f"{_code(field.minimum)} – {_code(field.maximum)}"
    elif field.categories:
        seen = ", ".join(_code(value) for value in field.categories[:10])
        if len(field.categories) > 10:
            seen += " … " + say["more"].format(count=len(field.categories))
    example = "" if field.example is None else _code(field.example)
    return f"| {_code(field.name)} | {field.kind} | {say['yes' if field.required else 'no']} | {seen} | {example} |"


def _transformation(entry: FeatureEntry, say: dict[str, str]) -> str:
    values = {key: _code(value) if value != "" else "" for key, value in entry.parameters.items()}
    scaled = "offset" in values
    values["scaling"] = say["scaling"].format(offset=values["offset"], scale=values["scale"]) if scaled else ""
    return say[entry.transformation].format(**values)


def _code(value: object) -> str:
    """A value as a code span in a table cell: one line, at most 80 characters, no mention, markup or cell border."""
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
    if len(text) > 80:
        text = text[:79] + "…"
    return "`" + text.replace("`", "'").replace("|", "¦") + "`"
