"""MaHRL's whole training in PyTorch and numpy, as one writes it with care for one machine: the preset `tuned`.

`train STEPS SEED THREADS`: seconds of so many environment steps in ShopWorld with all their updates and one evaluation of
1,000 sessions without exploration, whose mean reward is `return`. Rollouts of 256 sessions and updates take turns;
THREADS are PyTorch's.
"""

import copy
import time

import numpy
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, normalize

import shopworld
from act import CANDIDATES, LENGTH, PERIOD, SLOTS, Mapping
from networks import BOUND, N_DIMS, N_GOALS, N_ITEMS, WIDTH, WINDOW, StackedEncoder
from protocol import serve

HEAD, BATCH_LOW, BATCH_HIGH, MIN_LOW, MIN_HIGH = 256, 512, 64, 20_000, 2_000
DISCOUNT, ALPHA, SOFT, LAST_RATE, RANDOM_STEPS, RANDOM_ITEMS, NOISE = 0.8, 0.1, 0.01, 0.02, 50_000, 0.1, 0.1
EVALUATED = 1_024
REWARDS = numpy.array([0, 1, 5], "f4")


class Encoder(StackedEncoder):
    """Windows are padded on the left by the item N_ITEMS, which leaves the state alone (D10)."""

    def forward(self, table, windows):
        """Ids `[2, B, N]` to `[B, w]`."""
        batch = windows.shape[1]
        flat = table[windows].reshape(2, batch * WINDOW, N_DIMS)
        gates = torch.baddbmm(self.input_bias, flat, self.input).view(2, batch, WINDOW, 3 * WIDTH)
        padded = (windows == N_ITEMS).unsqueeze(-1)
        state = gates.new_zeros(2, batch, WIDTH)
        for t in range(WINDOW):
            own = torch.baddbmm(self.hidden_bias, state, self.hidden)
            reset, update = torch.sigmoid(gates[:, :, t, : 2 * WIDTH] + own[..., : 2 * WIDTH]).chunk(2, dim=-1)
            new = torch.tanh(gates[:, :, t, 2 * WIDTH :] + reset * own[..., 2 * WIDTH :])
            state = torch.lerp(new, state, update.masked_fill(padded[:, :, t], 1.0))
        return self.merge(torch.cat([state[0], state[1]], dim=1))


class Actor(nn.Module):
    """Eqs 3, 4, 6, 7."""

    def __init__(self, heads):
        super().__init__()
        self.encoder, self.heads = Encoder(), nn.Linear(WIDTH, heads * N_DIMS)

    def forward(self, table, windows):
        """`[B, heads n]`."""
        return BOUND * torch.tanh(self.heads(self.encoder(table, windows)))


class Critic(nn.Module):
    """Eqs 5 and 8 with a linear output; actions are seen as `7 a / |a|` (D2, D8)."""

    def __init__(self, heads):
        super().__init__()
        self.encoder, self.n_heads = Encoder(), heads
        uniform = lambda fan_in, *shape: nn.Parameter(torch.empty(*shape).uniform_(-(fan_in**-0.5), fan_in**-0.5))
        self.state = nn.Linear(WIDTH, heads * HEAD)
        self.action, self.out = uniform(N_DIMS, heads, N_DIMS, HEAD), uniform(HEAD, heads, HEAD)
        self.out_bias = uniform(HEAD, heads)

    def values(self, state, actions):
        """`[B, heads n]` to `[B, heads]`."""
        seen = 7 * normalize(actions.view(-1, self.n_heads, N_DIMS), dim=2)
        hidden = self.state(state).view(-1, self.n_heads, HEAD) + torch.einsum("bhn,hnk->bhk", seen, self.action)
        return (torch.relu(hidden) * self.out).sum(-1) + self.out_bias

    def forward(self, table, windows, actions):
        """`[B, heads]`."""
        return self.values(self.encoder(table, windows), actions)


class Level:
    """Actor, critic, targets, optimisers."""

    def __init__(self, heads, actor_rate, critic_rate):
        self.actor, self.critic = Actor(heads), Critic(heads)
        self.target_actor, self.target_critic = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        nets = ((self.actor, actor_rate), (self.critic, critic_rate))
        self.rates = [rate for _, rate in nets]
        self.adam = [torch.optim.Adam(net.parameters(), lr=rate, fused=True) for net, rate in nets]

    def update(self, table, rows, shown, rewards, next_action):
        """One step of critic and actor, then of the targets."""
        windows, next_windows = rows
        with torch.no_grad():
            target = rewards + DISCOUNT * self.target_critic(table, next_windows, next_action(self.target_actor(table, next_windows)))
        critic_loss = (target - self.critic(table, windows, shown)).square().mean(0).sum()
        self._step(1, self.critic, critic_loss)
        with torch.no_grad():
            state = self.critic.encoder(table, windows)
        self._step(0, self.actor, -self.critic.values(state, self.actor(table, windows)).mean(0).sum())
        with torch.no_grad():
            for target, online in ((self.target_actor, self.actor), (self.target_critic, self.critic)):
                torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), SOFT)

    def _step(self, which, net, loss):
        parameters = list(net.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
            parameter.grad = gradient
        self.adam[which].step()

    def slow_down(self, done):
        """Learning rates fall geometrically over the run (D18)."""
        for adam, rate in zip(self.adam, self.rates):
            adam.param_groups[0]["lr"] = rate * LAST_RATE**done


class Columns:
    """Rows in arrays that hold the whole run."""

    def __init__(self, capacity, **columns):
        self.size, self.data = 0, {name: numpy.empty((capacity, *shape), dtype) for name, (shape, dtype) in columns.items()}

    def append(self, **rows):
        """As many rows a column."""
        n = len(next(iter(rows.values())))
        for name, values in rows.items():
            self.data[name][self.size : self.size + n] = values
        self.size += n

    def sample(self, rng, n):
        """Tensors by name."""
        chosen = rng.integers(0, self.size, n)
        return {name: torch.from_numpy(column[chosen]) for name, column in self.data.items()}


class Training:
    """One run."""

    def __init__(self, steps, seed):
        torch.manual_seed(seed)
        self.rng, self.world = numpy.random.default_rng([seed, 1]), shopworld.World(numpy.random.default_rng(0))
        self.world.rng = numpy.random.default_rng([seed, 2])
        items = torch.from_numpy(self.world.embeddings)
        self.table = torch.cat([items, torch.zeros(1, N_DIMS)])
        self.unit = normalize(items, dim=1)
        self.low, self.high = Level(1, 5e-4, 3e-3), Level(N_GOALS, 1e-4, 1e-3)
        self.steps, self.done, self.updates = steps, 0, 0
        ids, goals = ((2, WINDOW), "i8"), ((N_GOALS, N_DIMS), "f4")
        rows = -(-steps // SLOTS) * SLOTS
        self.rows = Columns(rows, windows=ids, after=ids, goals=goals, item=((), "i8"), reward=((), "f4"), active=((), "i8"))
        self.periods = Columns(rows // PERIOD + SLOTS, windows=ids, after=ids, goals=goals, phi=((N_GOALS,), "f4"))

    def begin(self):
        """New sessions; what nobody clicked yet is padding."""
        users = self.world.begin(SLOTS, CANDIDATES)
        return users, Mapping(self.unit, torch.from_numpy(users.candidates)), torch.from_numpy(users.shown)

    def noisy(self, actions, exploring):
        """Actions in the box."""
        return (actions + NOISE * BOUND * torch.randn_like(actions)).clamp(-BOUND, BOUND) if exploring else actions

    @torch.no_grad()
    def play(self, exploring):
        """256 sessions of 50 steps, rows stored and updates done on the way if exploring; their mean reward."""
        users, mapping, shown = self.begin()
        total, phi, goals, begun = 0.0, None, None, None
        for step in range(LENGTH):
            if exploring and self.done >= self.steps:
                break
            windows = users.windows.copy()
            if step % PERIOD == 0 and exploring:
                begun, phi = windows[1:], numpy.zeros((SLOTS, N_GOALS), "f4")
                goals = self.noisy(self.high.actor(self.table, torch.from_numpy(begun)), True).view(SLOTS, N_GOALS, N_DIMS)
            action = self.noisy(self.low.actor(self.table, torch.from_numpy(windows[:2])), exploring)
            positions = mapping.map(action, shown).numpy()
            if exploring:
                share = 1.0 if self.done < RANDOM_STEPS else RANDOM_ITEMS
                chosen = self.rng.random(SLOTS) < share
                positions[chosen] = (self.rng.random((chosen.sum(), CANDIDATES)) + users.shown[chosen]).argmax(1)
            items, feedback = users.respond(positions)
            reward = REWARDS[feedback]
            total += reward.mean()
            if not exploring:
                continue
            active = step % PERIOD // (PERIOD // N_GOALS)
            phi[:, active] += reward
            by_session = lambda w: w.transpose(1, 0, 2)
            after = by_session(users.windows)
            self.rows.append(
                windows=by_session(windows[:2]), after=after[:, :2], goals=goals.numpy(), item=items, reward=reward,
                active=numpy.full(SLOTS, active),
            )
            if step % PERIOD == PERIOD - 1:
                self.periods.append(windows=by_session(begun), after=after[:, 1:], goals=goals.numpy(), phi=phi)
            self.done += SLOTS
            with torch.enable_grad():
                self.learn()
        return float(total)

    def learn(self):
        """The updates that are due: one for 512 steps behind the warm-up."""
        if self.rows.size < MIN_LOW or self.periods.size < MIN_HIGH:
            return
        while (self.updates + 1) * BATCH_LOW <= self.done - MIN_LOW:
            for level in (self.low, self.high):
                level.slow_down(self.done / self.steps)
            rows = self.rows.sample(self.rng, BATCH_LOW)
            shown = self.table[rows["item"]]
            goal = rows["goals"][torch.arange(BATCH_LOW), rows["active"]]
            reward = rows["reward"] + ALPHA * cosine_similarity(shown, goal)
            by_window = lambda name, of: of[name].transpose(0, 1)
            nearest = lambda action: self.table[(action @ self.unit.T).argmax(1)]
            pair = (by_window("windows", rows), by_window("after", rows))
            self.low.update(self.table, pair, shown, reward[:, None], nearest)
            periods = self.periods.sample(self.rng, BATCH_HIGH)
            pair = (by_window("windows", periods), by_window("after", periods))
            goals = periods["goals"].flatten(1)
            self.high.update(self.table, pair, goals, periods["phi"].cumsum(1), lambda action: action)
            self.updates += 1


def train(steps, seed, threads):
    """The whole run."""
    torch.set_num_threads(int(threads))
    begun = time.perf_counter()
    run = Training(int(steps), int(seed))
    while run.done < run.steps:
        run.play(True)
    found = sum(run.play(False) for _ in range(EVALUATED // SLOTS)) / (EVALUATED // SLOTS)
    return {"seconds": time.perf_counter() - begun, "return": found, "updates": run.updates}


serve({"train": train})
