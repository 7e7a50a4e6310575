"""An actor in PyTorch and numpy, tuned for one CPU thread.

`act E SECONDS`: microseconds of a step of E sessions, low-level policy (Eqs 6, 7) and action mapping (Eq 9), 1,000
candidates each of 10,000 items. `rollout SECONDS`: environment steps a second of the whole loop with 256 sessions of 50
steps in ShopWorld: policies of both levels, mapping, world, record.
"""

import functools
import time

import numpy
import torch

import shopworld
from networks import N_DIMS, N_GOALS, N_ITEMS, WIDTH, WINDOW, Actor, StackedEncoder
from protocol import median, repeat, serve

torch.set_num_threads(1)
CANDIDATES, SLOTS, LENGTH, PERIOD, CAPACITY = 1_000, 256, 50, 10, 200_000


class Policy:
    """An actor network whose inputs' share of the gates is computed once for all items."""

    def __init__(self, items, heads):
        self.net = Actor(StackedEncoder, heads)
        encoder = self.net.encoder
        # [2, I, 3w]
        table = torch.cat([items, torch.zeros(1, N_DIMS)])
        self.projected = torch.baddbmm(encoder.input_bias, table.expand(2, -1, -1), encoder.input)

    def act(self, windows):
        """`[2, E, N]` ids to `[E, heads n]`."""
        gates = torch.stack([self.projected[k][windows[k]] for k in range(2)])
        state = self.net.encoder.run(gates, torch.zeros(2, windows.shape[1], WIDTH))
        return 1.94 * torch.tanh(self.net.heads(state))


class Mapping:
    """Positions of the nearest candidates left (Eq 9), in the faster of two ways."""

    def __init__(self, unit, candidates):
        """`unit` `[items, n]` rows, `candidates` `[E, I]` ids, fixed during a session."""
        self.candidates, self.directions = candidates, unit.T.contiguous()
        self.gathered = unit[candidates[0]] if len(candidates) == 1 else None

    def map(self, actions, shown):
        """`[E]` of actions `[E, n]`; `shown` `[E, I]` is 0 or -inf."""
        if self.gathered is not None:
            scores = (self.gathered @ actions[0])[None]
        else:
            scores = torch.gather(torch.mm(actions, self.directions), 1, self.candidates)
        return (scores + shown).argmax(1)


@functools.cache
def act_case(n_sessions):
    """Warm, with candidates gathered once, as they stay during a session."""
    torch.manual_seed(1)
    items = (torch.rand(N_ITEMS, N_DIMS) - 0.5) * 3.8
    policy = Policy(items, 1)
    windows = torch.randint(0, N_ITEMS, (2, n_sessions, WINDOW))
    unit = torch.nn.functional.normalize(items, dim=1)
    candidates = torch.stack([torch.randperm(N_ITEMS)[:CANDIDATES].sort()[0] for _ in range(n_sessions)])
    mapping = Mapping(unit, candidates)
    shown = torch.zeros(n_sessions, CANDIDATES)

    @torch.inference_mode()
    def step():
        return mapping.map(policy.act(windows), shown)

    for _ in range(5):
        step()
    return step


def act(n_sessions, seconds):
    """Microseconds of a step."""
    return {"us": 1e6 * median(repeat(act_case(int(n_sessions)), float(seconds)))}


class Rollout:
    """The loop of an actor; rows go into columns that were allocated once."""

    def __init__(self):
        self.world = shopworld.World(numpy.random.default_rng(0))
        self.items = torch.from_numpy(self.world.embeddings)
        self.unit = torch.nn.functional.normalize(self.items, dim=1)
        torch.manual_seed(1)
        self.low, self.high = Policy(self.items, 1), Policy(self.items, N_GOALS)
        self.users, self.at, self.step_number = None, 0, 0
        column = lambda shape, dtype: numpy.empty((CAPACITY, *shape), dtype)
        self.steps = {"item": column((), "i4"), "feedback": column((), "u1"), "ending": column((), "u1")}
        self.periods = {"windows": column((3, WINDOW), "i4"), "goals": column((N_GOALS * N_DIMS,), "f4")}

    def record(self, columns, rows):
        """Writes E rows at the ring's head."""
        for name, values in rows.items():
            columns[name][self.at : self.at + SLOTS] = values

    @torch.inference_mode()
    def step(self):
        """One step of all sessions."""
        if self.step_number % LENGTH == 0:
            self.users = self.world.begin(SLOTS, CANDIDATES)
            self.mapping = Mapping(self.unit, torch.from_numpy(self.users.candidates))
            self.shown = torch.from_numpy(self.users.shown)
        windows = torch.from_numpy(self.users.windows)
        if self.step_number % PERIOD == 0:
            goals = self.high.act(windows[1:])
            self.record(self.periods, {"windows": self.users.windows.transpose(1, 0, 2), "goals": goals.numpy()})
        positions = self.mapping.map(self.low.act(windows[:2]), self.shown).numpy()
        self.step_number += 1
        items, feedback = self.users.respond(positions)
        ending = 2 * (self.step_number % LENGTH == 0)
        self.record(self.steps, {"item": items, "feedback": feedback, "ending": ending})
        self.at = (self.at + SLOTS) % (CAPACITY - SLOTS)


@functools.cache
def rollout_case():
    """Warm."""
    made = Rollout()
    for _ in range(LENGTH):
        made.step()
    return made


def rollout(seconds):
    """Whole sessions, so that beginning them has its share."""
    made, steps, begun = rollout_case(), 0, time.perf_counter()
    while steps == 0 or time.perf_counter() - begun < float(seconds):
        for _ in range(LENGTH):
            made.step()
        steps += LENGTH * SLOTS
    return {"steps_per_s": steps / (time.perf_counter() - begun)}


if __name__ == "__main__":
    serve({"act": act, "rollout": rollout})
