"""Golden values of tests/statistics.rs, by rliable, arch and statsmodels.

    python3 -m venv venv && venv/bin/pip install rliable==1.2.0 statsmodels==0.15.0 "pandas<3"
    venv/bin/python learner/tests/golden/statistics.py

In: nothing. Out: statistics.json beside this file, the same for the same versions.
"""

import json
import pathlib

import numpy as np
from arch.bootstrap import IIDBootstrap
from rliable import library, metrics
from statsmodels.stats.multitest import multipletests

REPS = 4_000


def rounded(values, digits=6):
    return np.round(np.asarray(values, dtype=float), digits).tolist()


def of_methods(rng, seeds, other_seeds, tasks):
    """Two methods of which the second is better by half a standard deviation; a few ties."""
    x = np.round(rng.normal(5.0, 1.0, (seeds, tasks)) + np.arange(tasks), 1)
    y = np.round(rng.normal(5.5, 1.0, (other_seeds, tasks)) + np.arange(tasks), 1)
    case = {"tasks": tasks, "x": x.ravel().tolist(), "y": y.ravel().tolist()}
    for name, statistic in [("iqm", metrics.aggregate_iqm), ("mean", metrics.aggregate_mean)]:
        points, intervals = library.get_interval_estimates(
            {"x": x}, lambda scores: np.array([statistic(scores)]), reps=REPS, random_state=np.random.RandomState(1))
        case[name] = rounded([points["x"][0], *intervals["x"].ravel()])
    points, intervals = library.get_interval_estimates(
        {"y, x": (y, x)}, lambda a, b: np.array([metrics.probability_of_improvement(a, b)]), reps=REPS,
        random_state=np.random.RandomState(1))
    case["improvement"] = rounded([points["y, x"][0], *intervals["y, x"].ravel()])
    return case


def by_user(rng, users):
    """Differences of sessions, some of one user, and the bootstrap that draws users."""
    counts = rng.integers(1, 6, users)
    ids = np.repeat(np.arange(users), counts)
    differences = np.round(0.2 + rng.normal(0, 1, users)[ids] + rng.normal(0, 1, len(ids)), 3)
    groups = [differences[ids == user] for user in range(users)]
    indices = np.arange(users)
    mean = lambda drawn: np.concatenate([groups[i] for i in drawn]).mean()
    bootstrap = IIDBootstrap(indices, seed=1)
    interval = bootstrap.conf_int(mean, reps=REPS, size=0.95, method="percentile").ravel()
    return {"users": ids.tolist(), "differences": differences.tolist(), "mean": rounded([differences.mean(), *interval])}


def main():
    rng = np.random.default_rng(0)
    p_values = rounded(rng.random(12) ** 3)
    golden = {
        "methods": [of_methods(rng, *shape) for shape in [(5, 5, 1), (10, 7, 1), (5, 5, 3), (8, 12, 4)]],
        "by_user": by_user(rng, 60),
        "p_values": p_values,
        "holm": rounded(multipletests(p_values, method="holm")[1]),
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
