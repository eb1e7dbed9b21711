"""The one implementation of every tabular transformation: fitted numbers in, an ONNX graph out.

Training, evaluation and serving all run this graph, so a feature cannot mean two things. Finding the numbers is in
``statistics``; choosing and writing files is in ``features``. Nothing here looks at data.

Arithmetic on numbers is in float64 inside the graph and rounded to float32 once, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from mlops_assets.tasks.interface import InputField
from mlops_assets.tasks.tabular.definition import FeatureEntry
from mlops_assets.tasks.tabular.raw_inputs import MISSING_TIMESTAMP

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, np.dtype[Any]]

TimePart = Literal["hour", "day_of_week", "day_of_month", "month", "is_weekend"]
TIME_PARTS: Final[tuple[TimePart, ...]] = get_args(TimePart)

#: Versions that the exporters of the models can be held to as well, so that the graphs can be joined.
OPSET: Final = 17
ML_OPSET: Final = 3
IR_VERSION: Final = 8
OUTPUT: Final = "features"
LARGEST_FLOAT32: Final = 3.4028234663852886e38


@dataclass(frozen=True)
class LookUp:
    """A table read by the value of one string column.

    Attributes:
        column: the raw column.
        keys: values with a row of their own; every other value reads the last row of ``table``.
        rows: (len(keys),) row of each key; two keys may share one.
        table: (R, W) float32, one column a feature.
        entries: W descriptions.
    """

    column: str
    keys: tuple[str, ...]
    rows: tuple[int, ...]
    table: Array
    entries: tuple[FeatureEntry, ...]

    def keep(self, columns: Sequence[int]) -> LookUp:
        """The same table with only ``columns``."""
        return replace(self, table=self.table[:, list(columns)], entries=tuple(self.entries[c] for c in columns))


@dataclass(frozen=True)
class Imputation:
    """What a missing number becomes, and the linear map after it: ``(value - offset) / scale``. Each (K,) float64."""

    fill: Array
    offset: Array
    scale: Array


@dataclass(frozen=True)
class FittedFeatures:
    """Everything that the graph needs. Features stand in the order numbers, time parts, entity table, categories.

    The first three make one block of K numbers that is imputed and scaled together; ``imputation`` None leaves it raw
    with NaN for missing, which is how the statistics of derived numbers are fitted.
    """

    numbers: tuple[str, ...] = ()
    time_parts: tuple[tuple[str, TimePart], ...] = ()
    entity: LookUp | None = None
    number_entries: tuple[FeatureEntry, ...] = ()
    imputation: Imputation | None = None
    categories: tuple[LookUp, ...] = ()

    @property
    def entries(self) -> tuple[FeatureEntry, ...]:
        """One description a feature, in matrix order."""
        return self.number_entries + tuple(entry for table in self.categories for entry in table.entries)

    @property
    def columns(self) -> frozenset[str]:
        """Every raw column that the graph reads."""
        tables = (*self.categories, *((self.entity,) if self.entity is not None else ()))
        return frozenset([*self.numbers, *(column for column, _ in self.time_parts), *(table.column for table in tables)])

    def keep(self, features: Sequence[int]) -> FittedFeatures:
        """Only the features at these positions, in their present order; what feeds no other feature goes too."""
        import numpy as np

        wanted = set(features)
        position = 0

        def block(width: int) -> list[int]:
            nonlocal position
            kept = [i for i in range(width) if position + i in wanted]
            position += width
            return kept

        numbers, parts = block(len(self.numbers)), block(len(self.time_parts))
        entity = self.entity
        if entity is not None:
            columns = block(len(entity.entries))
            entity = entity.keep(columns) if columns else None
        count = position
        categories = [(table, block(len(table.entries))) for table in self.categories]
        chosen = np.array(sorted(i for i in wanted if i < count), dtype=np.int64)
        fitted = self.imputation
        if fitted is not None:
            fitted = Imputation(fill=fitted.fill[chosen], offset=fitted.offset[chosen], scale=fitted.scale[chosen])
        return FittedFeatures(
            numbers=tuple(self.numbers[i] for i in numbers),
            time_parts=tuple(self.time_parts[i] for i in parts),
            entity=entity,
            number_entries=tuple(self.number_entries[i] for i in chosen),
            imputation=fitted,
            categories=tuple(table.keep(columns) for table, columns in categories if columns),
        )


class _Nodes:
    """Nodes and constants under names that no column can have."""

    def __init__(self, taken: Sequence[str]) -> None:
        self.prefix = "f:"
        while any(name.startswith(self.prefix) for name in taken):
            self.prefix = "f" + self.prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Array) -> str:
        from onnx import numpy_helper

        name = f"{self.prefix}c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def integer(self, value: int) -> str:
        import numpy as np

        return self.constant(np.array(value, dtype=np.int64))

    def add(self, operator: str, *inputs: str, output: str | None = None, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = f"{self.prefix}{len(self.nodes)}_{operator}"
        output = output or name
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=name, domain=domain, **attributes))
        return output


def build_graph(fitted: FittedFeatures, inputs: Sequence[InputField]) -> bytes:
    """The serialized graph: one (N, 1) input for each of ``inputs``, one output ``features`` (N, F) float32.

    The same arguments give the same bytes.

    Raises:
        KeyError: a column that ``fitted`` reads is not among ``inputs``.
    """
    from onnx import TensorProto, helper

    types = {"number": TensorProto.FLOAT, "string": TensorProto.STRING, "timestamp": TensorProto.INT64}
    tensors = {field.name: field.tensor_name for field in inputs}
    nodes = _Nodes([*tensors.values(), OUTPUT])
    blocks = _number_block(nodes, fitted, tensors)
    blocks += [_look_up(nodes, table, tensors[table.column]) for table in fitted.categories]
    nodes.add("Concat", *blocks, output=OUTPUT, axis=1)
    graph = helper.make_graph(
        nodes.nodes,
        "features",
        [helper.make_tensor_value_info(field.tensor_name, types[field.kind], ["N", 1]) for field in inputs],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", len(fitted.entries)])],
        nodes.constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="issue-mlops")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _number_block(nodes: _Nodes, fitted: FittedFeatures, tensors: dict[str, str]) -> list[str]:
    """The imputed and scaled numbers as float32, in a list of one; empty where there are none."""
    import numpy as np
    from onnx import TensorProto

    parts: list[str] = []
    if fitted.numbers:
        raw = nodes.add("Concat", *(tensors[name] for name in fitted.numbers), axis=1)
        # An infinite cell is a broken or overflown number; read as missing, it cannot poison a whole row.
        finite = nodes.add("Where", nodes.add("IsInf", raw), nodes.constant(np.array(np.nan, dtype=np.float32)), raw)
        parts.append(nodes.add("Cast", finite, to=TensorProto.DOUBLE))
    for column in dict.fromkeys(column for column, _ in fitted.time_parts):
        parts.append(_calendar(nodes, tensors[column], [part for name, part in fitted.time_parts if name == column]))
    if fitted.entity is not None:
        parts.append(nodes.add("Cast", _look_up(nodes, fitted.entity, tensors[fitted.entity.column]), to=TensorProto.DOUBLE))
    if not parts:
        return []
    values = nodes.add("Concat", *parts, axis=1)
    if fitted.imputation is not None:
        values = _impute_and_scale(nodes, values, fitted.imputation)
    return [nodes.add("Cast", values, to=TensorProto.FLOAT)]


def _impute_and_scale(nodes: _Nodes, values: str, imputation: Imputation) -> str:
    import numpy as np

    values = nodes.add("Where", nodes.add("IsNaN", values), nodes.constant(imputation.fill.reshape(1, -1)), values)
    if not (imputation.offset.any() or (imputation.scale != 1.0).any()):
        return values
    centred = nodes.add("Sub", values, nodes.constant(imputation.offset.reshape(1, -1)))
    values = nodes.add("Div", centred, nodes.constant(imputation.scale.reshape(1, -1)))
    low, high = (nodes.constant(np.array(limit, dtype=np.float64)) for limit in (-LARGEST_FLOAT32, LARGEST_FLOAT32))
    return nodes.add("Clip", values, low, high)


def _look_up(nodes: _Nodes, table: LookUp, tensor: str) -> str:
    """(N, W) float32: the row of ``table`` for each string of ``tensor`` (N, 1)."""
    import numpy as np

    index = nodes.add(
        "LabelEncoder",
        tensor,
        domain="ai.onnx.ml",
        keys_strings=list(table.keys),
        values_int64s=list(table.rows),
        default_int64=len(table.table) - 1,
    )
    flat = nodes.add("Squeeze", index, nodes.constant(np.array([1], dtype=np.int64)))
    return nodes.add("Gather", nodes.constant(np.ascontiguousarray(table.table)), flat, axis=0)


def _calendar(nodes: _Nodes, tensor: str, wanted: Sequence[TimePart]) -> str:
    """(N, len(wanted)) float64 calendar parts, in UTC, of epoch seconds (N, 1) int64; NaN where missing.

    Monday is day of week 0; hours 0-23, days 1-31, months 1-12. Proleptic Gregorian calendar. ``Mod`` takes the sign
    of the divisor, so ``(x - Mod(x, d)) / d`` rounds down before 1970 too, where ``Div`` alone rounds towards zero.

    Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", ``civil_from_days``,
    https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    """
    import numpy as np
    from onnx import TensorProto

    def op(operator: str, left: str, right: str | int) -> str:
        return nodes.add(operator, left, nodes.integer(right) if isinstance(right, int) else right)

    missing = op("Equal", tensor, MISSING_TIMESTAMP)
    seconds = nodes.add("Where", missing, nodes.integer(0), tensor)
    second_of_day = op("Mod", seconds, 86_400)
    days = op("Div", op("Sub", seconds, second_of_day), 86_400)
    parts: dict[TimePart, str] = {}
    if "hour" in wanted:
        parts["hour"] = op("Div", second_of_day, 3_600)
    if "day_of_week" in wanted or "is_weekend" in wanted:
        parts["day_of_week"] = op("Mod", op("Add", days, 3), 7)  # 1970-01-01 was a Thursday
    if "is_weekend" in wanted:
        parts["is_weekend"] = op("Div", parts["day_of_week"], 5)  # 0..4 -> 0, 5 and 6 -> 1
    if "day_of_month" in wanted or "month" in wanted:
        # Years start in March, so that the leap day is the last of its year; an era is 400 years.
        day_of_era = op("Mod", op("Add", days, 719_468), 146_097)
        leap_free = op("Sub", day_of_era, op("Div", day_of_era, 1_460))
        leap_free = op("Add", leap_free, op("Div", day_of_era, 36_524))
        leap_free = op("Sub", leap_free, op("Div", day_of_era, 146_096))
        year = op("Div", leap_free, 365)
        first_day = op("Sub", op("Add", op("Mul", year, 365), op("Div", year, 4)), op("Div", year, 100))
        day_of_year = op("Sub", day_of_era, first_day)
        month_from_march = op("Div", op("Add", op("Mul", day_of_year, 5), 2), 153)
        if "day_of_month" in wanted:
            month_start = op("Div", op("Add", op("Mul", month_from_march, 153), 2), 5)
            parts["day_of_month"] = op("Add", op("Sub", day_of_year, month_start), 1)
        if "month" in wanted:
            parts["month"] = op("Add", op("Mod", op("Add", month_from_march, 2), 12), 1)
    joined = nodes.add("Cast", nodes.add("Concat", *(parts[part] for part in wanted), axis=1), to=TensorProto.DOUBLE)
    return nodes.add("Where", missing, nodes.constant(np.array(np.nan)), joined)
