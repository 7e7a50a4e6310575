"""MaHRL's networks (Eqs 3-8) in PyTorch, in two forms: as one writes them first, and tuned for one CPU thread.

Windows are full, so no form masks. A level has two histories of N items; the high level has M heads, the low level one.
"""

import torch
from torch import nn

N_ITEMS, N_DIMS, WINDOW, WIDTH, N_GOALS, BOUND = 10_000, 50, 10, 64, 2, 1.94


class PlainEncoder(nn.Module):
    """s = W [h_1; h_2] + b, a GRU a history."""

    def __init__(self):
        super().__init__()
        self.grus = nn.ModuleList(nn.GRU(N_DIMS, WIDTH, batch_first=True) for _ in range(2))
        self.merge = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, histories):
        """`[2, B, N, n]` to `[B, w]`."""
        last = [gru(history)[1][0] for gru, history in zip(self.grus, histories)]
        return self.merge(torch.cat(last, dim=1))


class StackedEncoder(nn.Module):
    """The same with both GRUs in one batched product."""

    def __init__(self):
        super().__init__()
        scale = WIDTH**-0.5
        uniform = lambda *shape: nn.Parameter(torch.empty(*shape).uniform_(-scale, scale))
        self.input, self.input_bias = uniform(2, N_DIMS, 3 * WIDTH), uniform(2, 1, 3 * WIDTH)
        self.hidden, self.hidden_bias = uniform(2, WIDTH, 3 * WIDTH), uniform(2, 1, 3 * WIDTH)
        self.merge = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, histories):
        """`[2, B, N, n]` to `[B, w]`."""
        batch = histories.shape[1]
        flat = histories.reshape(2, batch * WINDOW, N_DIMS)
        gates = torch.baddbmm(self.input_bias, flat, self.input).view(2, batch, WINDOW, 3 * WIDTH)
        return self.run(gates, histories.new_zeros(2, batch, WIDTH))

    def run(self, gates, state):
        """Through time, from the inputs' share of the gates `[2, B, N, 3w]`."""
        for t in range(WINDOW):
            own = torch.baddbmm(self.hidden_bias, state, self.hidden)
            reset, update = torch.sigmoid(gates[:, :, t, : 2 * WIDTH] + own[..., : 2 * WIDTH]).chunk(2, dim=-1)
            new = torch.tanh(gates[:, :, t, 2 * WIDTH :] + reset * own[..., 2 * WIDTH :])
            state = torch.lerp(new, state, update)
        return self.merge(torch.cat([state[0], state[1]], dim=1))


class Actor(nn.Module):
    """g = B tanh(W s + b), `heads` of them."""

    def __init__(self, encoder, heads):
        super().__init__()
        self.encoder, self.heads = encoder(), nn.Linear(WIDTH, heads * N_DIMS)

    def forward(self, histories):
        """`[B, heads n]`."""
        return BOUND * torch.tanh(self.heads(self.encoder(histories)))


class Critic(nn.Module):
    """q_i = ReLU(w_i ReLU(W1_i s + W2_i a_i + b_i) + b'_i), a head an action."""

    def __init__(self, encoder, heads):
        super().__init__()
        self.encoder, self.n_heads = encoder(), heads
        self.state = nn.Linear(WIDTH, heads * WIDTH)
        self.action = nn.Parameter(torch.empty(heads, N_DIMS, WIDTH).uniform_(-0.1, 0.1))
        self.out = nn.Parameter(torch.empty(heads, WIDTH).uniform_(-0.1, 0.1))
        self.out_bias = nn.Parameter(torch.ones(heads))

    def forward(self, histories, actions):
        """Histories and actions `[B, heads n]` to values `[B, heads]`."""
        return self.values(self.encoder(histories), actions)

    def values(self, state, actions):
        """The heads alone."""
        by_head = actions.view(-1, self.n_heads, N_DIMS)
        seen = torch.einsum("bhn,hnk->bhk", by_head, self.action)
        hidden = torch.relu(self.state(state).view(-1, self.n_heads, WIDTH) + seen)
        return torch.relu((hidden * self.out).sum(-1) + self.out_bias)
