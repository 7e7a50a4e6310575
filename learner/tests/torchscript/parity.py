"""Loads the TorchScript modules of `learner export` in Python and compares them with what the agent computes.

In: a folder of `learner export`; on standard input JSON with `windows` and `period_windows` [E, 3, N] (rows of items, -1 on the
left where there are fewer), `active` [E], `items` [E, C], and what is expected: `goals` [E, M, n], `cosines` [E, V], `values`
[E, C]. Out: JSON with the largest difference of each, relative where a value is beyond 1. Sessions are asked for together and
one by one.
"""

import json
import pathlib
import sys

import torch


def difference(found, expected):
    expected = torch.tensor(expected, dtype=torch.float32).reshape(found.shape)
    return ((found - expected).abs() / expected.abs().clamp(min=1)).max().item() if expected.numel() else 0.0


def main():
    folder = pathlib.Path(sys.argv[1])
    case = json.load(sys.stdin)
    goals_of, policy, critic = (torch.jit.load(folder / f"{name}.pt") for name in ("goals", "policy", "critic"))
    windows, before, active, items = (
        torch.tensor(case[key]) for key in ("windows", "period_windows", "active", "items")
    )
    sessions = range(len(active))
    largest = {"goals": 0.0, "cosines": 0.0, "values": 0.0}
    for part in [slice(None), *(slice(e, e + 1) for e in sessions)]:
        goals = goals_of(before[part])
        found = {
            "goals": goals,
            "cosines": policy(windows[part], goals, active[part]),
            "values": critic(windows[part], goals, active[part], items[part]),
        }
        for name, value in found.items():
            largest[name] = max(largest[name], difference(value, case[name][part]))
    json.dump({"torch": torch.__version__, "sessions": len(active), **largest}, sys.stdout)


if __name__ == "__main__":
    with torch.no_grad():
        main()
