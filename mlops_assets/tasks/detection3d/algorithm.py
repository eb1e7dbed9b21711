"""PointPillars as an algorithm that an issue may name: knobs and variants, described without importing torch.

What a knob does is told in ``pillar_settings``. MonoDETR and BEVFormer get descriptions of their own beside this one.
Source: Lang et al., "PointPillars: Fast Encoders for Object Detection from Point Clouds", arXiv:1812.05784.
"""

from __future__ import annotations

from typing import Final

from mlops_assets.tasks.interface import Algorithm, Hyperparameter

POINTPILLARS: Final = Algorithm(
    name="pointpillars",
    display_name="PointPillars",
    learning_type="supervised",
    task_types=("detection_3d",),
    form="kitti",
    variants=("slim", "coarse", "standard"),
    default_variant="standard",
    augmentations={
        "random_flip": ("random_horizontal_flip", "flip"),
        "global_rotation": ("random_rotation", "rotation"),
        "global_scaling": ("random_scaling", "scaling"),
        "object_sampling": ("gt_sampling", "ground_truth_sampling"),
    },
    requires=(("torch", "deep"), ("onnx", "deep")),
    hyperparameters=(
        Hyperparameter("epochs", "int", 80, 1, 10_000, aliases=("max_epochs", "num_epochs")),
        Hyperparameter("batch_size", "int", 4, 1, 256),
        Hyperparameter("learning_rate", "float", 0.003, 1e-8, 1, aliases=("lr",)),
        Hyperparameter("weight_decay", "float", 0.01, 0, 1),
        Hyperparameter("rising_share", "float", 0.4, 0.01, 0.99),
        Hyperparameter("gradient_norm", "float", 10.0, 1e-3, 1e6, aliases=("grad_norm_clip",)),
        Hyperparameter("score_threshold", "float", 0.1, 0.001, 0.999),
        Hyperparameter("suppression_overlap", "float", 0.01, 0, 1, aliases=("nms_threshold",)),
        Hyperparameter("max_detections", "int", 100, 1, 10_000),
        Hyperparameter("mixed_precision", "bool", True),
        Hyperparameter("forward_range", "float", 69.12, 5.12, 204.8),
        Hyperparameter("side_range", "float", 39.68, 2.56, 102.4),
    ),
)
