"""Fit a classifier on the training channel; report its quality on both channels; save it."""

import argparse
import os
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def load(folder):
    """Features and target of every CSV file in a channel."""
    table = np.vstack([np.loadtxt(path, delimiter=",") for path in sorted(Path(folder).glob("*.csv"))])
    return table[:, 1:], table[:, 0]


def report(channel, model, features, target):
    """Print what the metric definitions of the training job look for."""
    print(f"{channel}:accuracy={accuracy_score(target, model.predict(features)):.6f}")
    print(f"{channel}:auc={roc_auc_score(target, model.predict_proba(features)[:, 1]):.6f}")


def main():
    """Train with the hyperparameters of the job."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inverse-regularization", type=float, default=1.0)
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR"))
    parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--validation", default=os.environ.get("SM_CHANNEL_VALIDATION"))
    args, _ = parser.parse_known_args()

    features, target = load(args.train)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=args.inverse_regularization, max_iter=args.max_iter))
    model.fit(features, target)
    report("train", model, features, target)
    report("validation", model, *load(args.validation))
    joblib.dump(model, Path(args.model_dir) / "model.joblib")


if __name__ == "__main__":
    main()
