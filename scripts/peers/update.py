"""One update of both levels (Algorithm 1, lines 24-30) in PyTorch, one thread.

`update FORM BATCH SECONDS`, FORM one of naive | tuned | stacked | compiled: ms of an update at batch BATCH + BATCH,
virtual target actions, one loss over all heads, full windows, critics' outputs ReLU, Adam, soft updates at every update.
`gemm`: GFLOP/s of a product of 1024 x 1024.
"""

import copy
import functools
import os

import torch

from networks import BOUND, N_DIMS, N_GOALS, N_ITEMS, WINDOW, Actor, Critic, PlainEncoder, StackedEncoder
from protocol import median, repeat, serve

torch.set_num_threads(1)
DISCOUNT, SOFT, RATE, ALPHA, STEPS = 0.95, 0.01, 1e-6, 0.5, 10


class Level:
    """Actor, critic, their targets and optimisers."""

    def __init__(self, form, heads):
        encoder = PlainEncoder if form in ("naive", "tuned") else StackedEncoder
        self.form, self.actor, self.critic = form, Actor(encoder, heads), Critic(encoder, heads)
        self.target_actor, self.target_critic = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        fused = {} if form == "naive" else {"fused": True}
        self.adam = [torch.optim.Adam(net.parameters(), lr=RATE, **fused) for net in (self.actor, self.critic)]
        self.pairs = [
            (list(target.parameters()), list(online.parameters()))
            for target, online in ((self.target_actor, self.actor), (self.target_critic, self.critic))
        ]
        compiled = form == "compiled"
        wrap = functools.partial(torch.compile, dynamic=False) if compiled else lambda function: function
        self.target_of, self.critic_of, self.actor_of = map(wrap, (self._target, self._critic_loss, self._actor_loss))

    def _target(self, next_histories, rewards, going_on):
        actions = self.target_actor(next_histories)
        return rewards + DISCOUNT * going_on * self.target_critic(next_histories, actions)

    def _critic_loss(self, histories, actions, target):
        return (target - self.critic(histories, actions)).square().mean(0).sum()

    def _actor_loss(self, histories):
        # The critic's state does not depend on the actor: no gradient through its encoder.
        with torch.no_grad():
            state = self.critic.encoder(histories)
        return -self.critic.values(state, self.actor(histories)).mean(0).sum()

    def update(self, histories, next_histories, actions, rewards, going_on):
        """Critic, then actor."""
        with torch.no_grad():
            target = self.target_of(next_histories, rewards, going_on)
        adam_actor, adam_critic = self.adam
        if self.form == "naive":
            adam_critic.zero_grad()
            loss = self._critic_loss(histories, actions, target)
            loss.backward()
            adam_critic.step()
            adam_actor.zero_grad()
            actor_loss = -self.critic(histories, self.actor(histories)).mean(0).sum()
            actor_loss.backward()
            adam_actor.step()
            return loss.item() + actor_loss.item()
        for loss, net, adam in (
            (self.critic_of(histories, actions, target), self.critic, adam_critic),
            (None, self.actor, adam_actor),
        ):
            loss = self.actor_of(histories) if loss is None else loss
            parameters = list(net.parameters())
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
                parameter.grad = gradient
            adam.step()
        return None

    @torch.no_grad()
    def follow(self):
        """Soft updates of both targets."""
        for targets, online in self.pairs:
            if self.form == "naive":
                for target, parameter in zip(targets, online):
                    target.mul_(1 - SOFT).add_(SOFT * parameter)
            else:
                torch._foreach_lerp_(targets, online, SOFT)


class Case:
    """Both levels, and minibatches of ids as a learner gets them."""

    def __init__(self, form, batch):
        torch.manual_seed(1)
        self.items = (torch.rand(N_ITEMS, N_DIMS) - 0.5) * 3.8
        self.unit = torch.nn.functional.normalize(self.items, dim=1)
        self.levels = [Level(form, N_GOALS), Level(form, 1)]
        ids = lambda *shape: torch.randint(0, N_ITEMS, shape)
        # [level, now | next, history, B, N]
        self.windows, self.shown = ids(2, 2, 2, batch, WINDOW), ids(batch)
        self.goals = (torch.rand(2, batch, N_GOALS * N_DIMS) - 0.5) * 2 * BOUND
        self.feedback = torch.randint(0, 3, (batch, STEPS))
        self.positions = torch.arange(batch) % STEPS
        self.rewards = torch.tensor([0.0, 1.0, 5.0])

    def update(self):
        """Rewards (Eqs 10-13) from what is stored, then both levels."""
        batch = len(self.shown)
        external = self.rewards[self.feedback]
        high = external.view(batch, N_GOALS, -1).sum(2).cumsum(1)
        active = self.goals[1].view(batch, N_GOALS, N_DIMS)[torch.arange(batch), self.positions // (STEPS // N_GOALS)]
        internal = torch.cosine_similarity(self.items[self.shown], active, dim=1)
        low = (external[:, 0] + ALPHA * internal)[:, None]
        going_on = torch.ones(batch, 1)
        for level, windows, actions, rewards in zip(
            self.levels, self.windows, (self.goals[0], self.items[self.shown]), (high, low)
        ):
            level.update(self.items[windows[0]], self.items[windows[1]], actions, rewards, going_on)
        for level in self.levels:
            level.follow()


@functools.cache
def case(form, batch):
    """Made once, warm."""
    made = Case(form, batch)
    for _ in range(5):
        made.update()
    return made


def update(form, batch, seconds):
    """Milliseconds."""
    return {"ms": 1e3 * median(repeat(case(form, int(batch)).update, float(seconds)))}


def gemm():
    """The peak that everything is compared with."""
    a, b, c = torch.rand(1024, 1024), torch.rand(1024, 1024), torch.empty(1024, 1024)
    best = min(repeat(lambda: torch.mm(a, b, out=c), 0.3))
    return {"gflops": 2 * 1024**3 / best / 1e9, "torch": torch.__version__.split("+")[0], "pid": os.getpid()}


serve({"update": update, "gemm": gemm})
