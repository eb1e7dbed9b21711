"""The two ONNX graphs: equal to PyTorch on any cloud, refused when they are not, used without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mlops_assets.errors import IntegrityError, UserError
from mlops_assets.tasks.detection3d import pillar_export
from mlops_assets.tasks.detection3d.pillar_export import build_graphs, export_pointpillars
from mlops_assets.tasks.detection3d.pillar_inference import CANVAS_GRAPH, PILLAR_GRAPH, SETTINGS, OnnxPillars
from mlops_assets.tasks.detection3d.pillar_samples import PillarMaker
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings
from mlops_assets.tasks.detection3d.pointpillars import PointPillars, build_pointpillars
from tests.unit.tasks.detection3d.pillar_worlds import TINY, street


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def shaken(settings: PillarSettings) -> PointPillars:
    """A network whose every number, normalisation statistics included, is something that a training could leave."""
    model = build_pointpillars(settings)
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.copy_(torch.randn(module.num_features, generator=random) * 0.2)
                module.running_var.copy_(torch.rand(module.num_features, generator=random) + 0.3)
                module.weight.copy_(torch.randn(module.num_features, generator=random))  # negative ones too
                module.bias.copy_(torch.randn(module.num_features, generator=random) * 0.3)
    return model


@pytest.mark.parametrize(
    "settings",
    [
        TINY,
        TINY.model_copy(update={"block_strides": (2, 2, 2), "block_layers": (0, 2, 1)}),
        TINY.model_copy(update={"max_points": 5}),
    ],
    ids=["first stage not strided", "all strided", "few points"],
)
def test_both_graphs_give_what_the_network_gives_and_an_empty_cloud_works(settings: PillarSettings, tmp_path: Path) -> None:
    model = shaken(settings).train()
    exported = export_pointpillars(model, settings, tmp_path, [street(0).points, street(1).points])
    assert exported.clouds_compared == 3
    assert exported.largest_difference < 1e-4
    assert model.training, "the mode is left as it was"
    detector = OnnxPillars.load(tmp_path)
    pillars = PillarMaker(settings).pillars(street(2).points)
    model.eval()
    with torch.inference_mode():
        expected = model(torch.from_numpy(pillars.features), torch.from_numpy(pillars.places), 1)
    for wanted, given in zip(expected, detector.outputs(pillars), strict=True):
        assert np.abs(wanted[0].numpy() - given).max() < 1e-4
    # A canvas that is used again must not keep pillars of the cloud before.
    nothing = detector.outputs(detector.pillars(np.empty((0, 4))))
    assert np.array_equal(nothing[0], OnnxPillars.load(tmp_path).outputs(detector.pillars(np.empty((0, 4))))[0])


def test_the_graphs_have_the_stated_inputs_and_outputs() -> None:
    graphs = build_graphs(shaken(TINY), TINY)

    def shapes(values: object) -> dict[str, list[str | int]]:
        return {
            value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in values  # type: ignore[attr-defined]
        }

    assert shapes(graphs[0].graph.input) == {"features": ["pillars", "points", 10]}
    assert shapes(graphs[0].graph.output) == {"pillars": ["pillars", 16]}
    assert shapes(graphs[1].graph.input) == {"canvas": ["frames", 16, 32, 80]}
    assert shapes(graphs[1].graph.output) == {
        "class_logits": ["frames", 18, 32, 80],
        "box_residuals": ["frames", 42, 32, 80],
        "direction_logits": ["frames", 12, 32, 80],
    }
    assert {node.op_type for graph in graphs for node in graph.graph.node}.isdisjoint({"BatchNormalization"})
    assert graphs[1].SerializeToString() == build_graphs(shaken(TINY), TINY)[1].SerializeToString()


def test_graphs_that_differ_from_the_network_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = build_graphs(build_pointpillars(TINY), TINY)
    monkeypatch.setattr(pillar_export, "build_graphs", lambda model, settings: other)
    with pytest.raises(IntegrityError, match="differ by"):
        export_pointpillars(shaken(TINY), TINY, tmp_path, [street(0).points])
    assert not list(tmp_path.iterdir())


def test_a_network_that_gives_nan_is_not_written(tmp_path: Path) -> None:
    model = shaken(TINY)
    with torch.no_grad():
        model.head.classes.weight.fill_(float("nan"))
    with pytest.raises(IntegrityError, match="differ by inf"):
        export_pointpillars(model, TINY, tmp_path, [street(0).points])


def test_a_detector_answers_clouds_of_any_kind_of_number_and_refuses_what_is_no_cloud(tmp_path: Path) -> None:
    export_pointpillars(shaken(TINY), TINY, tmp_path, [])
    detector = OnnxPillars.load(tmp_path)
    cloud = street(0).points
    one, other = detector.detect(cloud), detector.detect(cloud.astype(np.float64).tolist())
    assert np.array_equal(one.boxes, other.boxes) and one.names == other.names
    with_hole = np.concatenate([cloud, [[np.nan, 0, 0, 0], [1e9, 0, 0, 0]]]).astype(np.float32)
    assert np.array_equal(detector.detect(with_hole).boxes, one.boxes)
    with pytest.raises(UserError):
        detector.detect(np.zeros((3, 2)))


def test_damaged_or_mixed_up_files_are_refused_by_name(tmp_path: Path) -> None:
    export_pointpillars(shaken(TINY), TINY, tmp_path, [])
    wider = TINY.model_copy(update={"range_max": (25.6, 10.24, 1.0)})
    kept = {name: (tmp_path / name).read_bytes() for name in (PILLAR_GRAPH, CANVAS_GRAPH, SETTINGS)}
    for name, content in (
        (PILLAR_GRAPH, b""),
        (CANVAS_GRAPH, kept[CANVAS_GRAPH][:1000]),
        (PILLAR_GRAPH, b"no graph"),
        (SETTINGS, b"{}x"),
        (SETTINGS, wider.model_dump_json().encode()),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(IntegrityError, match=CANVAS_GRAPH if content.startswith(b'{"') else name):
            OnnxPillars.load(tmp_path)
        (tmp_path / name).write_bytes(kept[name])
    assert onnx.load_from_string(kept[CANVAS_GRAPH]).producer_name == "issue-mlops"
