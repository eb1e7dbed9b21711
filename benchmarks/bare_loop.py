"""The peer of `loop.py`: a bare script that loads, fits, evaluates and saves the same model, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split

out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.15, stratify=y, random_state=42)
model = RandomForestClassifier(n_estimators=100, random_state=42).fit(X_train, y_train)
probabilities = model.predict_proba(X_test)[:, 1]
metrics = {
    "accuracy": accuracy_score(y_test, probabilities > 0.5),
    "auc_roc": roc_auc_score(y_test, probabilities),
}
joblib.dump(model, out / "model.joblib")
(out / "metrics.json").write_text(json.dumps(metrics))
