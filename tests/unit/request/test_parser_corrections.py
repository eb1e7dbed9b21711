"""The block that a refused body could become: suggestions applied, what cannot be mended commented out."""

from __future__ import annotations

import pytest

from mlops_assets.errors import RequestInvalid
from tests.unit.request.conftest import MINIMAL
from tests.unit.request.parsing import parse, problems

PHASE_1 = "workflow_optimization.custom_optimizations.phase1_preprocessing"


class TestCorrectedBlock:
    def corrected(self, body: str) -> str:
        with pytest.raises(RequestInvalid) as caught:
            parse(body)
        assert caught.value.corrected is not None
        return caught.value.corrected

    def test_suggestions_applied_make_a_valid_body(self):
        block = self.corrected(
            "datset_id: breast cancer\nalgorithm: random_forrest\ntask_type: clasification\nmodel_version: '2'\n"
        )
        request = parse(block)
        assert (request.dataset.dataset_id, request.algorithm, request.task_type) == (
            "breast-cancer",
            "random_forest",
            "classification",
        )
        assert request.packaging.model_version == "v2.0.0"

    def test_two_unknown_keys_are_not_mended_into_one(self):
        block = self.corrected(MINIMAL + "hyperparameters: {max_dept: 1, max_deph: 2}\nsed: 1\nseeed: 2\n")
        request = parse(block)
        assert (request.seed, request.hyperparameters) == (1, {"max_depth": 1})

    def test_what_cannot_be_mended_is_commented_out_with_its_reason(self):
        block = self.corrected(MINIMAL + "hyperparameters: {foo: 1, max_depth: 5}\nzzz: {a: [1]}\n")
        assert "# foo: 1  # unknown_hyperparameter" in block
        assert "# zzz:" in block
        assert parse(block).hyperparameters == {"max_depth": 5}

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("auto_approve: true", "workflow_optimization: {auto_approve: true}"),
            ("workflow_optimization.auto_approve: true", "workflow_optimization: {auto_approve: true}"),
            ("preprocessing: {auto_approve: true}", "workflow_optimization: {auto_approve: true}"),
            (
                "class_imbalance_handling: smote",
                "workflow_optimization: {custom_optimizations: {phase1_preprocessing: {class_imbalance_handling: smote}}}",
            ),
            (
                "custom_optimizations: {phase1_preprocessing: {data_augmentation: auto}}\nclass_imbalance_handling: smote",
                "workflow_optimization: {custom_optimizations: {phase1_preprocessing: "
                "{class_imbalance_handling: smote, data_augmentation: auto}}}",
            ),
            ("workflow_optimisation: {enabled: true}\nauto_approve: true", "workflow_optimization: {auto_approve: true}"),
            (
                "min_instances: 3\nauto_scaling: {max_instances: 4}",
                "deployment: {auto_scaling: {min_instances: 3, max_instances: 4}}",
            ),
            (
                "deployment_config: {strategy: canary}\ninstance_typ: x\nauto_rollback_on_error: true",
                "deployment: {strategy: canary, auto_rollback_on_error: true}",
            ),
            ("drop_columns: [a, b]", "data_preprocessing: {drop_columns: [a, b]}"),
            ("evaluation: {seed: 7}", "seed: 7"),
            ("max_depth: 5\nhyperparameters: {num_trees: 9}\nn_estimators: 8", "hyperparameters: {num_trees: 9, max_depth: 5}"),
            ("hyperparameters.max_depth: 5", "hyperparameters: {max_depth: 5}"),
        ],
    )
    def test_a_key_on_the_wrong_level_moves_to_where_it_belongs(self, written, meant):
        assert parse(self.corrected(MINIMAL + written + "\n")) == parse(MINIMAL + meant)

    def test_a_key_whose_place_is_taken_or_not_certain_is_only_commented_out(self):
        for written in (
            "workflow_optimization: {auto_approve: false}\nauto_approve: true",
            "enabled: true",
            "name: other",
            "auto_aprove: true",
        ):
            block = self.corrected(MINIMAL + written + "\n")
            assert f"# {written.splitlines()[-1]}  # unknown_key" in block
            assert parse(block) == parse(MINIMAL)

    def test_what_is_wrong_with_a_value_is_told_where_the_key_belongs(self):
        assert problems(MINIMAL + "class_imbalance_handling: smot\n") == {
            "class_imbalance_handling": ("unknown_key", f"{PHASE_1}.class_imbalance_handling"),
            f"{PHASE_1}.class_imbalance_handling": ("not_allowed", "smote"),
        }

    def test_missing_keys_are_named_with_their_choices(self):
        block = self.corrected("hyperparameters: {max_depth: 5}\n")
        assert "# dataset_id:" in block
        assert "# algorithm: random_forest | xgboost" in block

    def test_block_cannot_end_the_fence_it_is_shown_in(self):
        block = self.corrected(MINIMAL + 'tags: {a: "```\\n@everyone"}\nzzz: "```"\n')
        assert "```" not in block
        assert parse(block).tags == {"a": "```\n@everyone"}

    def test_text_that_looks_like_another_type_stays_text(self):
        block = self.corrected(
            MINIMAL + 'tags: {a: "1", b: "true", c: "", d: "# x", e: "x: y", f: "- z", g: "null"}\ndeploy_to: stagin\n'
        )
        request = parse(block)
        assert request.tags == {"a": "1", "b": "true", "c": "", "d": "# x", "e": "x: y", "f": "- z", "g": "null"}
        assert request.deployment.environment == "staging"
