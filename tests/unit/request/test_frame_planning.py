"""Detectors are planned on frames: the user's two YOLOX examples as they stand, and what is refused before anybody approves."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from mlops_assets.errors import RequestInvalid
from mlops_assets.request.adjustment import adjusted
from mlops_assets.request.optimiser.estimate import similar
from mlops_assets.request.plan import Characteristics
from mlops_assets.request.planner import make_plan, unsuitable_form
from tests.unit import frame_cases
from tests.unit.frame_cases import CLOUDS, LONG, OFFERED, SHORT, kitti, plan_of, request_of, trained
from tests.unit.request.optimisation_cases import body, version
from tests.unit.request.optimisation_cases import plan_of as plan_of_table

YOLOX = "dataset_id: kitti_object_detection\nalgorithm: yolox\n"


def refused(text: str, *args: Any, **changes: Any) -> dict[str, tuple[str, str | None]]:
    """field -> (code, suggestion) of a body that must not be planned."""
    with pytest.raises(RequestInvalid) as caught:
        plan_of(text, *args, **changes)
    return {problem.field: (problem.code, problem.suggestion) for problem in caught.value.problems}


@pytest.mark.parametrize("text", [LONG, SHORT])
def test_both_ways_to_write_the_yolox_example_are_planned_alike(text: str) -> None:
    plan = plan_of(text)
    request = plan.request
    assert (plan.task, plan.target, request.variant) == ("detection_2d", "objects", "yolox-m")
    assert request.preprocessing.input_size == (640, 640)
    assert request.preprocessing.augmentation == ("mosaic", "mixup", "hsv_jitter", "random_horizontal_flip")
    assert request.dataset.classes == ("Car", "Pedestrian", "Cyclist")
    assert plan.gate_metric == "mAP@0.5"
    assert "inference_latency_ms" in plan.metrics
    assert plan.hyperparameters["learning_rate"] == 0.01 and plan.hyperparameters["epochs"] == 300
    assert plan.characteristics.parts["labels"] == 7_481
    left = [(item.field, item.key) for item in plan.not_done]
    assert ("dataset.train_size", "rest_of_frames") in left
    assert ("dataset.val_size", "more_than_labelled") in left, "KITTI's 7,518 frames have no labels"
    assert {"registered_copy", "deployment_target", "auto_scaling"} <= {key for _, key in left}
    assert "augmentation" not in {key for _, key in left}


@pytest.mark.parametrize("name", ["yolox_kitti.yaml", "yolox_kitti_short.yaml"])
def test_the_users_own_examples_are_planned_as_they_stand(example, name: str) -> None:
    plan = plan_of(example(name))
    twin = plan_of(LONG if name == "yolox_kitti.yaml" else SHORT)
    same = {"dataset": plan.request.dataset, "language": plan.request.language}
    assert twin.request.model_copy(update=same) == plan.request
    assert [item.key for item in plan.not_done] == [item.key for item in twin.not_done]


def test_what_is_left_open_is_filled_in_and_settling_it_again_changes_nothing() -> None:
    plan = plan_of(YOLOX)
    assert (plan.request.variant, plan.request.dataset.classes) == ("yolox-s", ("Car", "Pedestrian", "Cyclist"))
    assert plan.request.preprocessing.augmentation == ()
    assert plan.metrics == ("mAP@0.5", "mAP@0.5:0.95", "recall", "precision", "inference_latency_ms")
    assert plan_of(plan.request).digest == plan.digest
    only_cars = plan_of(YOLOX, kitti(objects={"Car": 5, "Van": 2}))
    assert only_cars.request.dataset.classes == ("Car",) and only_cars.characteristics.minority_share is None


@pytest.mark.parametrize("written", ["yolox-m", "YOLOX_M", "m", "M"])
def test_a_variant_is_known_however_it_is_written(written: str) -> None:
    assert request_of(f"{YOLOX}variant: {written}\n").variant == "yolox-m"
    assert plan_of(f"{YOLOX}variant: n\n".replace(" n\n", " nano\n")).hyperparameters["mosaic_probability"] == 0.5


@pytest.mark.parametrize(("written", "size"), [("640", (640, 640)), ("[192, 640]", (192, 640)), ("192x640", (192, 640))])
def test_one_number_is_a_square_and_sides_may_be_written_with_a_cross(written: str, size: tuple[int, int]) -> None:
    assert request_of(f"{YOLOX}input_size: {written}\n").preprocessing.input_size == size
    assert request_of(f"{YOLOX}hyperparameters: {{input_size: {written}}}\n").preprocessing.input_size == size


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("variant: yolox-n", {"variant": ("not_allowed", "yolox-nano")}),
        ("input_size: [600, 640]", {"input_size[0]": ("not_allowed", "608")}),
        ("input_size: [96, 96, 96]", {"input_size": ("not_allowed", None)}),
        ("input_size: 100000", {"input_size[0]": ("not_allowed", "4096")}),
        ("augmentation: [mosaik, random_flip]", {"augmentation[0]": ("not_allowed", "mosaic")}),
        ("augmentation: [rotate_hue]", {"augmentation[0]": ("not_allowed", None)}),
        ("classes: [Car]", {"classes": ("unknown_key", "dataset.classes")}),
        ("target: Car", {"target": ("not_allowed", "objects")}),
        ("threshold_metric: accuracy", {"threshold_metric": ("not_allowed", None)}),
        ("threshold_metric: car_3d_ap_moderate_r40", {"threshold_metric": ("not_allowed", None)}),
        ("evaluation_threshold: 50", {"evaluation_threshold": ("out_of_range", "0.5")}),
    ],
)
def test_what_yolox_does_not_offer_is_refused_with_the_nearest(extra: str, expected: dict[str, Any]) -> None:
    assert refused(f"{YOLOX}{extra}\n") == expected


def test_an_unknown_setting_is_mended_in_the_block_to_paste() -> None:
    with pytest.raises(RequestInvalid) as caught:
        request_of(f"{YOLOX}variant: yolox-n\ninput_size: [600, 640]\naugmentation: [mosaik, zzz]\n")
    corrected = caught.value.corrected or ""
    assert "variant: yolox-nano" in corrected and "- 608" in corrected and "- mosaic" in corrected and "# - zzz" in corrected
    assert request_of(corrected).preprocessing.augmentation == ("mosaic",)


def test_pointpillars_has_no_input_size_and_its_own_metrics() -> None:
    assert refused(f"{CLOUDS}input_size: 640\n") == {"input_size": ("not_offered", None)}
    plan = plan_of(f"{CLOUDS}variant: slim\nthreshold_metric: car_3d_ap_moderate_r40\nevaluation_threshold: 0.7\n")
    assert (plan.gate_metric, plan.request.variant, plan.task) == ("car_3d_ap_moderate_r40", "slim", "detection_3d")
    assert plan.gate_metric in plan.metrics


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ("[Carr]", {"dataset.classes[0]": ("unlabelled_class", "Car")}),
        ("[Car, Bus]", {"dataset.classes[1]": ("unlabelled_class", None)}),
    ],
)
def test_classes_must_be_among_the_labels(classes: str, expected: dict[str, Any]) -> None:
    text = f"dataset: {{name: kitti_object_detection, classes: {classes}}}\nalgorithm: yolox\n"
    assert refused(text) == expected
    assert plan_of(text.replace(classes, "[car, VAN]")).request.dataset.classes == ("Car", "Van")


@pytest.mark.parametrize(
    ("text", "part"), [(YOLOX, "image"), (YOLOX, "labels"), (CLOUDS, "cloud"), (CLOUDS, "calibration"), (CLOUDS, "labels")]
)
def test_frames_without_a_needed_part_are_refused(text: str, part: str) -> None:
    whole = kitti()
    assert refused(text, kitti(parts={**whole.parts, part: 0})) == {"dataset_id": ("missing_parts", None)}


def test_an_algorithm_on_data_of_another_form_is_refused_naming_both_and_what_would_go_together() -> None:
    task = frame_cases.TASKS[0]
    request, algorithm = request_of(YOLOX), task.algorithms[0]
    with pytest.raises(RequestInvalid) as caught:
        make_plan(request, version(), "c", task=task, algorithm=algorithm, resources={}, cost_cap_usd=None)
    (problem,) = caught.value.problems
    assert (problem.field, problem.code) == ("algorithm", "wrong_form")
    assert "yolox (kitti)" in problem.given and "telco-churn (table)" in problem.given
    (told,) = unsuitable_form(request, version(), algorithm, algorithms=["xgboost"], datasets=["a-world"]).problems
    assert told.allowed == ("dataset_id: a-world", "algorithm: xgboost")


def test_settings_of_tables_have_no_effect_on_frames_and_the_plan_says_so() -> None:
    plan = plan_of(f"{YOLOX}data_preprocessing: {{normalize: true, drop_columns: [a], split: stratified}}\n")
    assert [item.key for item in plan.not_done] == ["table_settings"] * 3


class TestReplies:
    def test_a_reply_changes_variant_size_augmentation_and_epochs(self) -> None:
        asked = request_of(LONG)
        changes = {"variant": "s", "input_size": "416x416", "augmentation": ["flip"], "epochs": 50}
        made = adjusted(asked, MappingProxyType(changes), offered=OFFERED)
        assert (made.variant, made.preprocessing.input_size) == ("yolox-s", (416, 416))
        assert (made.preprocessing.augmentation, made.hyperparameters["epochs"]) == (("random_horizontal_flip",), 50)
        assert made.dataset == asked.dataset

    def test_a_reply_with_an_unknown_variant_is_refused(self) -> None:
        with pytest.raises(RequestInvalid) as caught:
            adjusted(request_of(LONG), {"variant": "yolox-huge"}, offered=OFFERED)
        assert caught.value.problems[0].field == "variant"

    def test_another_algorithm_leaves_the_settings_of_the_first_behind(self) -> None:
        made = adjusted(request_of(LONG), {"algorithm": "pointpillars"}, offered=OFFERED)
        assert (made.algorithm, made.variant, made.task_type) == ("pointpillars", None, "detection_3d")
        assert (made.preprocessing.input_size, made.preprocessing.augmentation) == ((), ())


class TestOptimiser:
    def rules(self, text: str, **changes: Any) -> dict[str, Any]:
        return {o.rule: o for o in plan_of(text, **changes).optimizations}

    def test_rare_classes_are_shown_and_never_resampled(self) -> None:
        plan = plan_of(LONG)
        assert plan.characteristics.imbalanced
        assert "class_imbalance" not in {o.rule for o in plan.optimizations}
        assert plan.request.preprocessing.resample == "none"
        assert "hyperparameter_search" not in self.rules(LONG)

    def test_a_gpu_that_is_there_is_used_in_mixed_precision_and_else_one_is_recommended_with_its_price(self) -> None:
        without, there = self.rules(YOLOX), self.rules(YOLOX, resources=frame_cases.WITH_GPU)
        assert without["compute_type"].action.key == "gpu_instance" and not without["compute_type"].carried_out
        assert "mixed_precision" not in without
        assert there["compute_type"].carried_out and there["mixed_precision"].carried_out
        full = self.rules(f"{YOLOX}hyperparameters: {{precision: fp32}}\n", resources=frame_cases.WITH_GPU)
        assert "mixed_precision" not in full

    @pytest.mark.parametrize(("profile", "epochs"), [("speed", 150), ("cost", 150), ("accuracy", 300), ("balanced", 300)])
    def test_a_profile_only_saves_epochs(self, profile: str, epochs: int) -> None:
        plan = plan_of(f"{YOLOX}workflow_optimization: {{performance_profile: {profile}}}\n")
        assert plan.hyperparameters["epochs"] == epochs

    def test_the_smallest_variant_is_advised_only_where_time_matters_and_it_was_measured_to_keep_the_budget(self) -> None:
        assert self.rules(SHORT)["latency_budget"].reason.values["budget_ms"] == 50
        assert self.rules(LONG)["latency_budget"].action.values["variant"] == "yolox-nano"
        assert "latency_budget" not in self.rules(YOLOX)
        assert "latency_budget" not in self.rules(LONG.replace("yolox-m", "yolox-nano"))
        impossible = "deployment: {auto_scaling: {max_instances: 2, target_latency_ms: 5}}\n"
        assert "latency_budget" not in self.rules(YOLOX + impossible)

    def test_similar_trainings_have_the_same_network(self) -> None:
        plan, past = plan_of(LONG), trained(LONG)
        assert [s.iterations for s in similar(plan.characteristics, plan.request, [past])] == [300]
        for other in ("variant: yolox-s", "variant: yolox-m\ninput_size: 320"):
            asked = plan_of(LONG.replace("variant: yolox-m", other).replace("  input_size: [640, 640]\n", ""))
            assert similar(asked.characteristics, asked.request, [past]) == ()


def test_what_ran_is_rebuilt_from_the_record() -> None:
    plan = plan_of(YOLOX)
    assert trained(YOLOX).effective_request == plan.request


def test_plans_of_tables_are_digested_as_before_there_were_frames() -> None:
    found = plan_of_table(body()).model_dump(mode="json")["characteristics"]
    assert not {"form", "parts"} & found.keys()
    assert Characteristics.model_validate(found).form == "table"
    frames = plan_of(YOLOX)
    assert type(frames).model_validate_json(frames.model_dump_json()).digest == frames.digest
    assert frames.characteristics.has_frames
