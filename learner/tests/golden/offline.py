"""Golden values of tests/offline.rs, by scikit-learn, pytrec_eval, obp and numpy.

    python3 -m venv venv && venv/bin/pip install scikit-learn==1.9.1 pytrec-eval-terrier==0.5.11 "pandas<3"
    venv/bin/pip install --no-deps obp==0.3.3
    venv/bin/python learner/tests/golden/offline.py

In: nothing. Out: offline.json beside this file, the same for the same versions.
"""

import importlib.util
import json
import pathlib
import sys
import types

import numpy as np
import pytrec_eval
from sklearn.metrics import average_precision_score, ndcg_score

GAINS = np.array([0.0, 1.0, 5.0])


def estimators(name):
    """A module of obp.ope by itself: the package as a whole wants torch."""
    folder = pathlib.Path(importlib.util.find_spec("obp").submodule_search_locations[0])
    for package, path in [("obp", folder), ("obp.ope", folder / "ope")]:
        if package not in sys.modules or not hasattr(sys.modules[package], "__path__"):
            sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(path)]
    return importlib.import_module(f"obp.ope.{name}")


def ranked_lists(rng):
    """Feedback codes by rank, and the measures of that order. Scores fall with the rank."""
    cases = []
    for n in [1, 2, 5, 17, 20, 21, 40, 41, 60, 150]:
        for share in [0.15, 0.6]:
            codes = np.where(rng.random(n) < share, rng.choice([1, 2], n, p=[0.7, 0.3]), 0)
            codes[rng.integers(n)] = rng.integers(1, 3)
            scores = -np.arange(n, dtype=float)
            relevance = {str(i): int(codes[i] > 0) for i in range(n)}
            run = {str(i): float(scores[i]) for i in range(n)}
            measures = pytrec_eval.RelevanceEvaluator({"q": relevance}, {"map"}).evaluate({"q": run})["q"]
            ap = average_precision_score(codes > 0, scores)
            assert abs(ap - measures["map"]) < 1e-9, "the two programs agree"
            orders = {str(i): int(codes[i] == 2) for i in range(n)}
            rank = pytrec_eval.RelevanceEvaluator({"q": orders}, {"recip_rank"}).evaluate({"q": run})["q"]["recip_rank"]
            gains = GAINS[codes][None, :]
            # ndcg_score refuses a single item, whose order is the best.
            ndcg = [ndcg_score(gains, scores[None, :], k=k) if n > 1 else 1.0 for k in (20, 40)]
            cases.append({"feedback": codes.tolist(), "ap": ap, "ndcg_20": ndcg[0], "ndcg_40": ndcg[1], "order_rr": rank})
    return cases


def one_step(rng, n, n_actions):
    """Sessions of one step, estimated by obp."""
    ope = estimators("estimators")
    behaviour = rng.dirichlet(np.ones(n_actions), n)
    target = rng.dirichlet(np.ones(n_actions), n)
    model = rng.random((n, n_actions))
    action = np.array([rng.choice(n_actions, p=row) for row in behaviour])
    rows = np.arange(n)
    reward = GAINS[np.where(rng.random(n) < model[rows, action], rng.integers(1, 3, n), 0)]
    inputs = {
        "reward": reward, "action": action, "pscore": behaviour[rows, action], "position": np.zeros(n, dtype=int),
        "action_dist": target[:, :, None],
    }
    predicted = {"estimated_rewards_by_reg_model": model[:, :, None]}
    weights = target[rows, action] / behaviour[rows, action]
    return {
        "sessions": [[[t, p, r, q, v]] for t, p, r, q, v in zip(
            target[rows, action].tolist(), behaviour[rows, action].tolist(), reward.tolist(),
            model[rows, action].tolist(), (target * model).sum(1).tolist())],
        "ips": ope.InverseProbabilityWeighting().estimate_policy_value(**inputs),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**inputs),
        "doubly_robust": ope.DoublyRobust().estimate_policy_value(**inputs, **predicted),
        "effective": float(weights.sum() ** 2 / (weights**2).sum()),
    }


def several_steps(rng, n, longest):
    """Ragged sessions, by numpy: arrays [n, longest] in which a step after the end has probabilities of 1 and earns 0."""
    lengths = rng.integers(1, longest + 1, n)
    inside = np.arange(longest)[None, :] < lengths[:, None]
    draw = lambda low, high: np.where(inside, rng.uniform(low, high, (n, longest)), 1.0)
    target, behaviour = draw(0.05, 0.95), draw(0.2, 0.9)
    reward = np.where(inside, GAINS[rng.choice(3, (n, longest), p=[0.8, 0.15, 0.05])], 0.0)
    model, value = np.where(inside, draw(0, 1), 0.0), np.where(inside, draw(0, 1), 0.0)
    weights = np.cumprod(target / behaviour, axis=1)
    before = np.concatenate([np.ones((n, 1)), weights[:, :-1]], axis=1)
    columns = np.stack([target, behaviour, reward, model, value], axis=2)
    return {
        "sessions": [columns[i, : lengths[i]].tolist() for i in range(n)],
        "ips": float((weights * reward).sum(1).mean()),
        "snips": float(((weights * reward).sum(0) / weights.sum(0)).sum()),
        "doubly_robust": float((before * value + weights * (reward - model)).sum(1).mean()),
        "effective": float(weights[:, -1].sum() ** 2 / (weights[:, -1] ** 2).sum()),
    }


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(float(value), 12) if isinstance(value, float) else value


def main():
    rng = np.random.default_rng(0)
    golden = {"rankings": ranked_lists(rng), "off_policy": [one_step(rng, 60, 4), several_steps(rng, 25, 5)]}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(rounded(golden)) + "\n")


if __name__ == "__main__":
    main()
