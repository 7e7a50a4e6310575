#!/usr/bin/env python3
"""Logits and gradients of a factorisation machine by its defining double sum; writes fm.json. Needs numpy.

Rendle 2010, Eq 1: y = w_0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j. Gradients are central differences.
"""
import json
import pathlib

import numpy as np

rng = np.random.default_rng(2010)
n_features, k = 9, 3
w0 = 0.3
w = rng.normal(size=n_features)
v = rng.normal(size=(n_features, k))


def logit(w0, w, v, x):
    pairs = sum(
        v[i] @ v[j] * x[i] * x[j] for i in range(n_features) for j in range(i + 1, n_features)
    )
    return w0 + w @ x + pairs


def differences(function, at):
    found = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[index] = 1e-5
        found[index] = (function(at + step) - function(at - step)) / 2e-5
    return found


cases = []
for label in [True, False, True]:
    x = np.where(rng.random(n_features) < 0.6, rng.normal(size=n_features), 0.0)

    def loss(w0, w, v):
        y = logit(w0, w, v, x)
        return np.logaddexp(0.0, -y if label else y)

    cases.append(
        {
            "features": [(int(i), x[i]) for i in np.flatnonzero(x)],
            "label": label,
            "logit": logit(w0, w, v, x),
            "loss": loss(w0, w, v),
            "d_bias": differences(lambda b: loss(b, w, v), np.array(w0)).item(),
            "d_linear": differences(lambda p: loss(w0, p, v), w).tolist(),
            "d_factorised": differences(lambda p: loss(w0, w, p), v).ravel().tolist(),
        }
    )
golden = {"factors": k, "bias": w0, "linear": w.tolist(), "factorised": v.ravel().tolist(), "cases": cases}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
