#!/usr/bin/env python3
"""An exported policy in plain numpy: the forward pass of docs/export.md, to read or to copy.

    learner export RUN --out policy
    python3 learner/examples/exported_policy.py policy < sessions.json

In: the folder of an export; on standard input a JSON list of sessions, each with `windows` (skipped, clicked, ordered: rows of
the item table, oldest first, at most N each), `period_windows` (the same before the first step of the period; left out: as
`windows`), `active` (the goal that guides the step; -1: none) and `items` (rows to judge).
Out: a JSON list with `goals` [M, n], `action` [n], `cosines` and `values` of the items.
"""

import json
import pathlib
import sys

import numpy as np


def load(path):
    """The tensors of a safetensors file of f32 and u32: a length, a JSON header, the numbers."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    kinds = {"F32": np.float32, "U32": np.uint32}
    tensors = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in tensor["data_offsets"])
            tensors[name] = np.frombuffer(data[begin:end], kinds[tensor["dtype"]]).reshape(tensor["shape"])
    return tensors


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Policy:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.settings = json.loads((folder / "policy.json").read_text())
        self.model = self.settings["model"]
        self.tensors = load(folder / "policy.safetensors")
        self.items = load(folder / "items.safetensors")["embeddings"]
        self.windows = {network["prefix"]: network["windows"] for network in self.settings["networks"]}

    def state(self, prefix, windows):
        """Eqs 3, 6: s = W [h_first; h_second; ...] + b. A window begins at h = 0; padding is simply left out."""
        get = lambda name: self.tensors[prefix + name]
        last = []
        for gru, window in zip(["first", "second", "third"], self.windows[prefix]):
            w_ih, w_hh, b_ih, b_hh = (
                get(f"encoder.{gru}.cell.{part}") for part in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
            h = np.zeros(w_hh.shape[1], np.float32)
            for item in windows[window]:
                # Gates: reset, update, new.
                of_x, of_h = np.split(w_ih @ self.items[item] + b_ih, 3), np.split(w_hh @ h + b_hh, 3)
                r, z = sigmoid(of_x[0] + of_h[0]), sigmoid(of_x[1] + of_h[1])
                h = (1 - z) * np.tanh(of_x[2] + r * of_h[2]) + z * h
            last.append(h)
        return get("encoder.merge.weight") @ np.concatenate(last) + get("encoder.merge.bias")

    def low_state(self, prefix, windows, goals, active):
        """s, or [s; g; one-hot i] where goals are part of the state."""
        s = self.state(prefix, windows)
        if self.model["goal_conditioning"] == "reward":
            return s
        one_hot = np.zeros(len(goals), np.float32)
        if active >= 0:
            one_hot[active] = 1
        return np.concatenate([s, one_hot @ goals, one_hot])

    def head(self, prefix, state, i):
        """Eqs 4, 7: B tanh(W s + b)."""
        weight, bias = self.tensors[f"{prefix}heads.{i}.weight"], self.tensors[f"{prefix}heads.{i}.bias"]
        return self.model["bound"] * np.tanh(weight @ state + bias)

    def goals(self, windows):
        n_goals = self.model["n_goals"]
        if n_goals == 0:
            return np.zeros((0, self.model["n_dims"]), np.float32)
        state = self.state("high/actor/", windows)
        return np.stack([self.head("high/actor/", state, i) for i in range(n_goals)])

    def action(self, windows, goals, active):
        return self.head("low/actor/", self.low_state("low/actor/", windows, goals, active), 0)

    def cosines(self, action, items):
        """Eq 9: the item with the largest cosine is shown."""
        rows = self.items[items]
        return rows @ action / np.linalg.norm(rows, axis=1) / max(np.linalg.norm(action), 1e-12)

    def values(self, windows, goals, active, items):
        """Eq 8: q = f(w ReLU(W1 s + W2 a + b) + b')."""
        get = lambda name: self.tensors["low/critic/heads.0." + name]
        state = self.low_state("low/critic/", windows, goals, active)
        rows = self.items[items]
        if self.model["critic_action"] == "direction":
            rows = 7 * rows / np.linalg.norm(rows, axis=1, keepdims=True)
        hidden = get("state.weight") @ state + get("state.bias") + rows @ get("action.weight").T
        if self.model["critic_affinity"] > 0:
            hidden = hidden + self.affinities(windows, items) @ get("affinity.weight").T
        if self.model["head_norm"]:
            hidden = hidden - hidden.mean(1, keepdims=True)
            hidden = hidden / np.sqrt(np.square(hidden).mean(1, keepdims=True) + 1e-5)
        q = np.maximum(hidden, 0) @ get("out.weight")[0] + get("out.bias")[0]
        forms = {
            "relu": lambda: np.maximum(q, 0),
            "softplus": lambda: np.logaddexp(0, q),
            "linear": lambda: q,
            # e^q, beyond 8 along its tangent.
            "exponential": lambda: np.exp(np.minimum(q, 8)) * (1 + np.maximum(q - 8, 0)),
        }
        return forms[self.model["critic_output"]]()


    def affinities(self, windows, items):
        """f_kt = sum_j e^(p_kj) form_t(cos(P a, P i_kj)), item j of window k, 0 the newest: `[C, 4 windows]`."""
        get = lambda name: self.tensors["low/critic/heads.0.affinity." + name]
        project = lambda ids: self.unit(self.items[ids] @ get("projection").T)
        features = []
        for kind, place in zip(self.windows["low/critic/"], get("place")):
            newest_first = [item for item in windows[kind] if item >= 0][::-1]
            c = project(items) @ project(newest_first).T
            forms = np.stack([c, np.maximum(c, 0), np.exp(3 * (c - 1)), np.exp(8 * (c - 1))], 2)
            features.append((forms * np.exp(place[: len(newest_first)])[:, None]).sum(1))
        return np.concatenate(features, 1)

    @staticmethod
    def unit(rows):
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def main():
    policy = Policy(sys.argv[1])
    answers = []
    for session in json.load(sys.stdin):
        windows, active, items = session["windows"], session["active"], session["items"]
        goals = policy.goals(session.get("period_windows", windows))
        action = policy.action(windows, goals, active)
        answers.append({
            "goals": goals.tolist(),
            "action": action.tolist(),
            "cosines": policy.cosines(action, items).tolist(),
            "values": policy.values(windows, goals, active, items).tolist(),
        })
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
