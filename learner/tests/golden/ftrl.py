#!/usr/bin/env python3
"""FTRL-Proximal by its definition; writes ftrl.json. Needs numpy.

McMahan et al. 2013, Eq 3: after each gradient, w minimises
    sum_s g_s w + 1/2 sum_s sigma_s (w - w_s)^2 + l1 |w| + 1/2 (l2 + beta / alpha) w^2,
where the sigmas up to s add up to sqrt(sum g^2) / alpha. Minimised here by a ternary search over w, not by the closed form.
"""
import json
import pathlib

import numpy as np

rng = np.random.default_rng(2013)
alpha, beta, l1, l2 = 0.3, 1.0, 0.8, 0.05
steps, size = 12, 4
gradients = rng.normal(scale=[0.2, 1.0, 1.0, 3.0], size=(steps, size)) + [0.0, 0.4, -0.4, 0.0]


def minimise(g, at, sigma):
    def objective(w):
        proximal = 0.5 * np.sum(sigma * (w - at) ** 2)
        return np.sum(g) * w + proximal + l1 * abs(w) + 0.5 * (l2 + beta / alpha) * w**2

    low, high = -20.0, 20.0
    for _ in range(300):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        if objective(a) < objective(b):
            high = b
        else:
            low = a
    found = (low + high) / 2
    return 0.0 if objective(0.0) <= objective(found) else found


weights = np.zeros((steps + 1, size))
for i in range(size):
    for t in range(steps):
        g = gradients[: t + 1, i]
        roots = np.sqrt(np.concatenate([[0.0], np.cumsum(g**2)])) / alpha
        weights[t + 1, i] = minimise(g, weights[: t + 1, i], np.diff(roots))
golden = {
    "alpha": alpha,
    "beta": beta,
    "l1": l1,
    "l2": l2,
    "gradients": gradients.tolist(),
    "weights": weights[1:].tolist(),
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
