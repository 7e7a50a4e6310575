"""ShopWorld for the rollout of the peers: the equations of common/sim/src/shopworld, E users at a time, in numpy.

Single precision, no loop over users but where candidates are drawn; the random numbers are numpy's own.
"""

import numpy

N_ITEMS, N_DIMS, N_CATEGORIES, K, BOUND = 10_000, 50, 24, 16, 1.94
CLICK_BIAS, ORDER_BIAS, WARMUP, WINDOW = -3.183, -3.317, 20, 10


def normed(x):
    """Rows of length 1."""
    return x / (numpy.sqrt(numpy.einsum("...k,...k->...", x, x))[..., None] + 1e-9)


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1 / (1 + numpy.exp(-x))


class World:
    """The catalogue: embeddings, and per item interest c, need o, attractiveness b, quality q."""

    def __init__(self, rng):
        self.rng = rng
        means = rng.standard_normal((N_CATEGORIES, N_DIMS))
        own = rng.standard_normal((N_ITEMS, N_DIMS))
        mixed = 0.75 * 0.5**0.5 * (means[rng.integers(0, N_CATEGORIES, N_ITEMS)] + own)
        self.embeddings = (BOUND * numpy.tanh(mixed)).astype("f4")
        unit = normed(self.embeddings)
        rows = numpy.linalg.qr(rng.standard_normal((N_DIMS, N_DIMS)))[0].T
        need = 0.5 * rows[:K] + 0.75**0.5 * rows[K : 2 * K]
        self.interest, self.need = normed(unit @ rows[:K].T).astype("f4"), normed(unit @ need.T).astype("f4")
        pretty = rows[2 * K]
        good = -0.5 * pretty + 0.75**0.5 * rows[2 * K + 1]
        z = lambda x: (x - x.mean()) / x.std()
        score = lambda row: z(z(unit @ row) + 0.3 * rng.standard_normal(N_ITEMS)).astype("f4")
        self.attractiveness, self.quality = score(pretty), score(good)

    def begin(self, n, n_candidates):
        """n sessions, warmed up by the logging policy."""
        users = Users(self, n, n_candidates)
        users.warm_up()
        return users


class Users:
    """n users: hidden state, candidates, what was shown, windows."""

    def __init__(self, world, n, n_candidates):
        rng = world.rng
        self.world, self.n = world, n
        noise = lambda: 0.3 * self.normal(0.25)
        first, second, third = rng.integers(0, N_ITEMS, (3, n))
        self.need = normed(world.need[first] + 0.6 * world.need[second] + noise())
        other = normed(world.interest[third] + noise())
        self.base = normed(0.45 * world.interest[first] + (1 - 0.45**2) ** 0.5 * other)
        self.interest = normed(self.base + noise())
        self.boredom = numpy.zeros((n, K), "f4")
        self.readiness, self.trust = numpy.zeros((2, n), "f4")
        draw = lambda: rng.choice(N_ITEMS, n_candidates, replace=False, shuffle=False)
        self.candidates = numpy.sort(numpy.stack([draw() for _ in range(n)]), axis=1)
        self.shown = numpy.zeros((n, n_candidates), "f4")
        # [3, E, N]: skipped, clicked, ordered; N_ITEMS is padding.
        self.windows = numpy.full((3, n, WINDOW), N_ITEMS, "i8")
        self.rows = numpy.arange(n)

    def normal(self, scale):
        """`[E, K]` Gaussian noise."""
        return self.world.rng.standard_normal((self.n, K), "f4") * numpy.float32(scale)

    def warm_up(self):
        """The logging policy's steps: argmax of 1.225 x_bar.c + .27 b + .5 Gumbel over what is left."""
        world = self.world
        base = numpy.matmul(world.interest[self.candidates], self.base[:, :, None])[:, :, 0]
        scores = 1.225 * base + 0.27 * world.attractiveness[self.candidates]
        # The steps' argmaxes with fresh noise are a draw without replacement: the largest of one noisy score each.
        noisy = scores - 0.5 * numpy.log(world.rng.standard_exponential(scores.shape, "f4"))
        order = numpy.argpartition(-noisy, WARMUP, axis=1)[:, :WARMUP]
        best = numpy.take_along_axis(order, numpy.argsort(-numpy.take_along_axis(noisy, order, 1), axis=1), 1)
        for positions in best.T:
            self.respond(positions)

    def respond(self, positions):
        """Shows a candidate each: items `[E]`, feedback `[E]` (0 skip, 1 click, 2 order)."""
        world, rng = self.world, self.world.rng
        items = self.candidates[self.rows, positions]
        self.shown[self.rows, positions] = -numpy.inf
        c, q = world.interest[items], world.quality[items]
        dot = lambda a, b: numpy.einsum("ek,ek->e", a, b)
        trust, wanted = numpy.tanh(self.trust), dot(self.need, world.need[items])
        click_logit = CLICK_BIAS + 3.5 * dot(self.interest, c) + 0.45 * world.attractiveness[items] + 0.4 * trust
        click_logit -= 1.2 * numpy.maximum(0, dot(self.boredom, c))
        order_logit = ORDER_BIAS + 3.0 * wanted + 0.7 * q + 1.6 * self.readiness + 0.6 * trust
        luck = rng.random((2, self.n), "f4")
        click = luck[0] < sigmoid(click_logit)
        order = click & (luck[1] < sigmoid(order_logit))
        clicked = click.astype("f4")
        moved = self.interest + 0.05 * (self.base - self.interest) + 0.25 * clicked[:, None] * c
        self.interest = normed(moved + 0.25 * self.normal(0.25))
        self.boredom = 0.8 * self.boredom + 0.2 * c
        self.readiness = 0.96 * self.readiness + 0.32 * clicked * numpy.maximum(0, wanted)
        self.readiness[order] *= 0.3
        self.trust = 0.96 * self.trust + 0.16 * clicked * q
        for window, chosen in zip(self.windows, (~click, click, order)):
            window[chosen, :-1] = window[chosen, 1:]
            window[chosen, -1] = items[chosen]
        return items, click + order.astype("u1")
