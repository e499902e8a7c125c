"""Serve the model: one CSV row of measurements in, the probability of `benign` out."""

import io
from pathlib import Path

import joblib
import numpy as np


def model_fn(model_dir):
    """Load what train.py saved."""
    return joblib.load(Path(model_dir) / "model.joblib")


def input_fn(request_body, content_type):
    """A request body to an array with one row per line."""
    if content_type != "text/csv":
        raise ValueError(f"Content type {content_type} is not supported; send text/csv.")
    text = request_body.decode() if isinstance(request_body, bytes) else request_body
    return np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)


def predict_fn(features, model):
    """The probability of the second class, row by row."""
    return model.predict_proba(features)[:, 1]


def output_fn(prediction, accept):
    """One number a line."""
    return "\n".join(f"{value:.6f}" for value in prediction), accept
