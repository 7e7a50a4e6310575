#!/usr/bin/env python3
"""Votes predicted by collaborative filtering, from dense matrices; writes cf.json. Needs numpy.

Breese et al. 1998: Pearson with inverse user frequency, case amplification 2.5, the k nearest users with w > 0.
Sarwar et al. 2001: cosine of the items' votes, the k nearest items.
"""
import json
import pathlib

import numpy as np

rng = np.random.default_rng(1998)
n_users, n_items, k = 14, 12, 4
seen = rng.random((n_users, n_items)) < 0.6
seen[:, 0] = True  # everybody voted on item 0: f = ln 1 = 0
votes = rng.choice([0.0, 1.0, 5.0], p=[0.55, 0.3, 0.15], size=(n_users, n_items))
votes[3] = 1.0  # a user without variance
popularity = [
    (votes[seen[:, j], j].sum() + votes[seen].mean()) / (seen[:, j].sum() + 1) for j in range(n_items)
]


def by_users(active, is_rated, myself):
    f = np.log(n_users / seen.sum(0))
    weights = np.zeros(n_users)
    for u in range(n_users):
        both = is_rated & seen[u]
        share = f[both] / f[both].sum() if f[both].sum() > 0 else np.zeros(both.sum())
        a, b = active[both], votes[u, both]
        da, db = a - share @ a, b - share @ b
        spread = np.sqrt((share @ da**2) * (share @ db**2))
        if u != myself and spread > 1e-9:
            weights[u] = (share @ (da * db)) / spread
    weights = np.where(weights > 1e-12, weights, 0.0) ** 2.5
    nearest = sorted(range(n_users), key=lambda u: (-weights[u], u))[:k]
    predictions = []
    for j in range(n_items):
        near = [u for u in nearest if weights[u] > 0 and seen[u, j]]
        if not near:
            predictions.append(None)
            continue
        above = sum(weights[u] * (votes[u, j] - votes[u, seen[u]].mean()) for u in near)
        predictions.append(active[is_rated].mean() + above / sum(weights[u] for u in near))
    return predictions


def by_items(active, is_rated):
    v = np.where(seen, votes, 0.0)
    norms = np.linalg.norm(v, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        similarity = np.nan_to_num((v.T @ v) / np.outer(norms, norms))
    np.fill_diagonal(similarity, 0.0)
    predictions = []
    for j in range(n_items):
        near = sorted(range(n_items), key=lambda i: (-similarity[i, j], i))[:k]
        near = [i for i in near if similarity[i, j] > 0 and is_rated[i]]
        total = sum(similarity[i, j] for i in near)
        predictions.append(sum(similarity[i, j] * active[i] for i in near) / total if near else None)
    return predictions


cases = []
for myself in [None, None, 5]:
    if myself is None:
        is_rated = rng.random(n_items) < 0.5
        active = rng.choice([0.0, 1.0, 5.0], p=[0.5, 0.3, 0.2], size=n_items)
    else:
        is_rated, active = seen[myself], votes[myself]
    cases.append(
        {
            "myself": myself,
            "active": [(int(j), float(active[j])) for j in np.flatnonzero(is_rated)],
            "by_users": by_users(active, is_rated, myself),
            "by_items": by_items(active, is_rated),
            "popularity": popularity,
        }
    )
users = [[(int(j), float(votes[u, j])) for j in np.flatnonzero(seen[u])] for u in range(n_users)]
golden = {"n_items": n_items, "neighbours": k, "users": users, "cases": cases}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
