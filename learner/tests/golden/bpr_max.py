#!/usr/bin/env python3
"""GRU4Rec's BPR-max loss, a row and an item at a time; writes bpr_max.json. Needs numpy.

Hidasi and Karatzoglou 2018, Eq 13 with the regularisation of Sec 3.3. Gradients are central differences.
"""
import json
import pathlib

import numpy as np

rng = np.random.default_rng(2018)
rows, columns = 4, 9
items = [3, 8, 3, 1, 5, 8, 0, 2, 7]  # rows 0 and 2 have the same target; row 1's is drawn once more
scores = rng.normal(scale=1.5, size=(rows, columns)).astype(np.float32).astype(float)
weights = np.array([1.0, 5.0, 0.0, 1.0])
lam = 0.7


def loss(scores):
    total = 0.0
    for b in range(rows):
        negatives = [j for j in range(columns) if items[j] != items[b]]
        r, own = scores[b], scores[b, b]
        s = {j: np.exp(r[j]) / sum(np.exp(r[k]) for k in negatives) for j in negatives}
        ranking = sum(s[j] / (1 + np.exp(r[j] - own)) for j in negatives)
        total += weights[b] * (-np.log(ranking) + lam * sum(s[j] * r[j] ** 2 for j in negatives))
    return total / weights.sum()


gradient = np.zeros_like(scores)
for index in np.ndindex(scores.shape):
    step = np.zeros_like(scores)
    step[index] = 1e-5
    gradient[index] = (loss(scores + step) - loss(scores - step)) / 2e-5
golden = {
    "scores": scores.tolist(),
    "items": items,
    "weights": weights.tolist(),
    "lambda": lam,
    "loss": loss(scores),
    "gradient": gradient.tolist(),
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
