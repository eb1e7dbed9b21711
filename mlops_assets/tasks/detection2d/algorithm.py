"""YOLOX as an algorithm that an issue may name: knobs, variants and augmentations, described without importing torch.

What a knob does is told in ``settings``; the defaults here are those of the published recipe.
Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv:2107.08430.
"""

from __future__ import annotations

from typing import Any, Final

from mlops_assets.tasks.interface import Algorithm, Hyperparameter

#: The authors change these for their two small models: light networks learn less from heavy augmentation.
_SMALL: Final[dict[str, Any]] = {"mixup_probability": 0.0}

YOLOX: Final = Algorithm(
    name="yolox",
    display_name="YOLOX",
    learning_type="supervised",
    task_types=("detection_2d",),
    form="kitti",
    variants=("yolox-nano", "yolox-tiny", "yolox-s", "yolox-m", "yolox-l", "yolox-x"),
    default_variant="yolox-s",
    variant_defaults={"yolox-nano": {**_SMALL, "mosaic_probability": 0.5}, "yolox-tiny": _SMALL},
    augmentations={
        "mosaic": (),
        "mixup": ("mix_up",),
        "hsv_jitter": ("hsv", "color_jitter"),
        "random_horizontal_flip": ("random_flip", "horizontal_flip", "flip"),
        "random_affine": ("affine", "rotation", "translate", "shear"),
        "multi_scale": ("multiscale",),
    },
    input_size=(2, 32),
    requires=(("torch", "deep"), ("onnxscript", "deep"), ("pillow", "deep"), ("faster-coco-eval", "perception")),
    hyperparameters=(
        Hyperparameter("epochs", "int", 300, 1, 10_000, aliases=("max_epochs", "max_epoch", "num_epochs")),
        Hyperparameter("batch_size", "int", 64, 1, 4096),
        # of a batch of 64 images; scaled with the batch
        Hyperparameter("learning_rate", "float", 0.01, 1e-8, 10, aliases=("lr",)),
        Hyperparameter("minimum_rate", "float", 0.05, 0, 1, aliases=("min_lr_ratio",)),
        Hyperparameter("momentum", "float", 0.9, 0, 0.999),
        Hyperparameter("weight_decay", "float", 5e-4, 0, 0.999),
        Hyperparameter("ema_decay", "float", 0.9998, 0, 0.999999),
        # null: 5 epochs of warm-up and the last 15 without mosaic; a sixth and a fifth of a shorter training
        Hyperparameter("warmup_epochs", "int", None, 0, 10_000, nullable=True),
        Hyperparameter("plain_epochs", "int", None, 0, 10_000, aliases=("no_aug_epochs", "close_mosaic"), nullable=True),
        Hyperparameter("mosaic_probability", "float", 1.0, 0, 1, aliases=("mosaic_prob",)),
        Hyperparameter("mixup_probability", "float", 1.0, 0, 1, aliases=("mixup_prob",)),
        Hyperparameter("hsv_probability", "float", 1.0, 0, 1, aliases=("hsv_prob",)),
        Hyperparameter("flip_probability", "float", 0.5, 0, 1, aliases=("flip_prob",)),
        Hyperparameter("degrees", "float", 10.0, 0, 180),
        Hyperparameter("translate", "float", 0.1, 0, 1),
        Hyperparameter("shear", "float", 2.0, 0, 44),
        Hyperparameter("affine_probability", "float", 0.0, 0, 1, aliases=("affine_prob",)),
        Hyperparameter("multiscale", "bool", True),
        Hyperparameter("iou_loss", "str", "iou", choices=("iou", "giou")),
        Hyperparameter("score_threshold", "float", 0.01, 0, 1, aliases=("test_conf", "confidence_threshold")),
        Hyperparameter("nms_threshold", "float", 0.65, 0, 1, aliases=("nmsthre", "nms_iou_threshold")),
        Hyperparameter("precision", "str", "auto", choices=("auto", "fp32", "bf16", "fp16")),
    ),
)
