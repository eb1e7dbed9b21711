"""The algorithms of the tabular task, described without importing any of them: knobs, ranges, defaults, other names.

What a knob does to a fit is in ``forest``, ``boosting`` and ``linear``. The defaults are chosen on the validation of
real tables (telco churn, adult income, California housing), not copied from the libraries: leaves of at least three rows
and slow, shallow, subsampled boosting with early stopping rank better there than the libraries' own.
"""

from __future__ import annotations

from typing import Final

from mlops_assets.tasks.interface import Algorithm, Hyperparameter

RANDOM_FOREST: Final = Algorithm(
    name="random_forest",
    display_name="Random Forest",
    learning_type="supervised",
    task_types=("classification", "regression"),
    hyperparameters=(
        Hyperparameter("n_estimators", "int", 100, 1, 2000, aliases=("num_trees", "n_trees")),
        Hyperparameter("max_depth", "int", None, 1, 64, nullable=True),
        Hyperparameter("min_samples_split", "int", 2, 2, 1_000_000),
        Hyperparameter("min_samples_leaf", "int", 3, 1, 1_000_000),
        # auto: the square root of the features for classes, a third of them for values (Breiman 2001)
        Hyperparameter("max_features", "str", "auto", choices=("auto", "sqrt", "log2", "third", "all")),
        Hyperparameter("max_leaf_nodes", "int", None, 2, 1_000_000, nullable=True),
        Hyperparameter("bootstrap", "bool", True),
        Hyperparameter("class_weight", "str", None, choices=("balanced",), nullable=True),
    ),
)

XGBOOST: Final = Algorithm(
    name="xgboost",
    display_name="XGBoost",
    learning_type="supervised",
    task_types=("classification", "regression"),
    hyperparameters=(
        Hyperparameter("n_estimators", "int", 300, 1, 5000, aliases=("num_round", "num_rounds", "num_boost_round")),
        Hyperparameter("max_depth", "int", 4, 1, 16),
        Hyperparameter("learning_rate", "float", 0.1, 1e-4, 1.0, aliases=("eta", "lr")),
        Hyperparameter("subsample", "float", 0.8, 0.01, 1.0),
        Hyperparameter("colsample_bytree", "float", 0.8, 0.01, 1.0),
        Hyperparameter("min_child_weight", "float", 1.0, 0.0, 1e6),
        Hyperparameter("gamma", "float", 0.0, 0.0, 1e6, aliases=("min_split_loss",)),
        Hyperparameter("reg_alpha", "float", 0.0, 0.0, 1e6, aliases=("alpha",)),
        Hyperparameter("reg_lambda", "float", 1.0, 0.0, 1e6, aliases=("lambda",)),
        Hyperparameter("scale_pos_weight", "float", 1.0, 1e-6, 1e6),
        # rounds without a better validation loss before it stops; null always uses every round
        Hyperparameter("early_stopping_rounds", "int", 20, 1, 1000, nullable=True),
    ),
)

LOGISTIC_REGRESSION: Final = Algorithm(
    name="logistic_regression",
    display_name="Logistic Regression",
    learning_type="supervised",
    task_types=("classification",),
    hyperparameters=(
        Hyperparameter("C", "float", 1.0, 1e-6, 1e6),
        Hyperparameter("max_iter", "int", 500, 1, 100_000),
        Hyperparameter("class_weight", "str", None, choices=("balanced",), nullable=True),
        Hyperparameter("penalty", "str", "l2", choices=("l2",), nullable=True),
    ),
)

LINEAR_REGRESSION: Final = Algorithm(
    name="linear_regression",
    display_name="Linear Regression",
    learning_type="supervised",
    task_types=("regression",),
    hyperparameters=(
        Hyperparameter("fit_intercept", "bool", True),
        Hyperparameter("alpha", "float", 0.0, 0.0, 1e9, aliases=("ridge_alpha", "l2")),
    ),
)

ALGORITHMS: Final[tuple[Algorithm, ...]] = (RANDOM_FOREST, XGBOOST, LOGISTIC_REGRESSION, LINEAR_REGRESSION)
