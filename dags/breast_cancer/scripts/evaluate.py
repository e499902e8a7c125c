"""Measure the trained model on data that it has not seen; write evaluation.json."""

import argparse
import json
import tarfile
from pathlib import Path

import joblib
import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, roc_auc_score


def main():
    """Unpack the model, predict the test set, write the metrics."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-dir", type=Path, default=Path("/opt/ml/processing"))
    args = parser.parse_args()

    model_dir = args.base_dir / "model"
    with tarfile.open(model_dir / "model.tar.gz") as archive:
        archive.extractall(model_dir)
    model = joblib.load(model_dir / "model.joblib")

    table = np.loadtxt(args.base_dir / "test" / "test.csv", delimiter=",")
    target, features = table[:, 0], table[:, 1:]
    predicted = model.predict(features)
    metrics = {
        "accuracy": accuracy_score(target, predicted),
        "f1": f1_score(target, predicted),
        "auc": roc_auc_score(target, model.predict_proba(features)[:, 1]),
    }
    evaluation = {
        "binary_classification_metrics": {
            **{name: {"value": float(value), "standard_deviation": "NaN"} for name, value in metrics.items()},
            "confusion_matrix": {
                str(actual): {str(guess): int(count) for guess, count in enumerate(row)}
                for actual, row in enumerate(confusion_matrix(target, predicted))
            },
        }
    }
    output = args.base_dir / "evaluation"
    output.mkdir(parents=True, exist_ok=True)
    (output / "evaluation.json").write_text(json.dumps(evaluation, indent=2))
    print(json.dumps(evaluation))


if __name__ == "__main__":
    main()
