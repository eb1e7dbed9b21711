"""The exported graph says what the network says; without its libraries that is told in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from yolox_cases import red_squares

from mlops_assets.errors import IntegrityError, UserError
from mlops_assets.tasks.detection2d import export
from mlops_assets.tasks.detection2d.decoding import network_input
from mlops_assets.tasks.detection2d.export import compare, export_onnx
from mlops_assets.tasks.detection2d.model import Detector, Yolox
from mlops_assets.tasks.detection2d.settings import YoloxSettings
from mlops_assets.tasks.detection2d.training import seeded_network

SIZE = (64, 96)
SETTINGS = YoloxSettings(variant="nano", input_size=SIZE)
IMAGES = [red_squares(3, side=side).sample(0).image for side in (64, 96, 120)]


@pytest.fixture(scope="module")
def network() -> Yolox:
    made = seeded_network(SETTINGS, 2)
    torch.manual_seed(2)
    for module in made.modules():  # a trained network's statistics are not those of a new one
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return made.eval()


@pytest.fixture(scope="module")
def exported(network: Yolox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "deep" / "model.onnx"
    made = export_onnx(network, ("Car", "歩行者"), SIZE, IMAGES, path)
    assert made.largest_difference <= 1e-4
    assert made.images_compared == 3
    assert made.bytes == path.stat().st_size
    assert [entry.name for entry in path.parent.iterdir()] == ["model.onnx"]
    return path


def test_the_graph_says_what_the_network_says_in_batches_of_any_size(network: Yolox, exported: Path) -> None:
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    for rows in ([1], [0, 1, 2]):
        batch = np.stack([network_input(IMAGES[row], SIZE) for row in rows])
        boxes, scores = session.run(["boxes", "scores"], {"images": batch})
        with torch.inference_mode():
            expected_boxes, expected_scores = Detector(network, SIZE).eval()(torch.from_numpy(batch))
        assert np.allclose(boxes, expected_boxes.numpy(), rtol=1e-4, atol=1e-4)
        assert np.allclose(scores, expected_scores.numpy(), rtol=0, atol=1e-4)
        assert boxes.shape == (len(rows), 126, 4)


def test_the_graph_carries_names_and_size_and_nothing_of_this_machine(exported: Path) -> None:
    graph = onnx.load(str(exported))
    noted = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(noted["class_names"]) == ["Car", "歩行者"]
    assert json.loads(noted["input_size"]) == list(SIZE)
    content = exported.read_bytes()
    assert b"site-packages" not in content
    assert str(Path(export.__file__).parent).encode() not in content
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_a_graph_of_another_network_is_noticed(exported: Path) -> None:
    other = Detector(seeded_network(SETTINGS.model_copy(update={"seed": 8}), 2), SIZE).eval()
    with pytest.raises(IntegrityError, match="differ by"):
        compare(exported.read_bytes(), other, IMAGES, SIZE)


def test_a_missing_library_is_named_with_the_way_to_get_it(
    network: Yolox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UserError, match=r"needs onnxscript, which is not installed") as refused:
        export_onnx(network, ("Car", "Van"), SIZE, IMAGES, tmp_path / "model.onnx")
    assert "pip install" in str(refused.value)


def test_names_that_do_not_fit_and_no_image_are_refused(network: Yolox, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not those of the network"):
        export_onnx(network, ("Car",), SIZE, IMAGES, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="cannot be checked"):
        export_onnx(network, ("Car", "Van"), SIZE, [], tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
