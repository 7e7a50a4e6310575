"""Groups of measurements and their tables in Markdown."""

BEGIN, END = "<!-- written by `make bench-peers` from here -->", "<!-- to here -->"


# Beside `ours, native`, which has one thread.
ON_TWO = "the same on 2 threads: ours, native"


def median(values):
    """The middle one."""
    return sorted(values)[len(values) // 2]


class Group:
    """Entrants with the replies of every round; the names of ours begin with `ours`."""

    def __init__(self, title, unit, key, smaller=False, cpu=False):
        self.title, self.unit, self.key, self.smaller, self.cpu = title, unit, key or "value", smaller, cpu
        self.replies, self.refused, self.floor = {}, {}, None
        # (title, key) of one more column.
        self.extra = None

    def add(self, name, reply):
        """One round's reply."""
        if isinstance(reply, str):
            self.refused[name] = reply
        else:
            self.replies.setdefault(name, []).append(reply)

    def values(self, name, key=None):
        """Of all rounds."""
        return [reply[key or self.key] for reply in self.replies.get(name, []) if (key or self.key) in reply]

    def median(self, name, key=None):
        """Over rounds; NaN where nothing was measured."""
        values = self.values(name, key)
        return median(values) if values else float("nan")

    def best_of_ours(self):
        """The name of our fastest."""
        ours = [name for name in self.replies if name.startswith("ours")]
        return (min if self.smaller else max)(ours, key=self.median, default=None)

    def times_ahead(self, ours, other):
        """How many times ours is ahead of another in each round."""
        pairs = zip(self.values(ours), self.values(other))
        return [b / a if self.smaller else a / b for a, b in pairs]


def number(value):
    """Four digits or so."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def spread(values, suffix=""):
    """median (smallest to largest)."""
    return f"{number(median(values))}{suffix} ({number(min(values))} to {number(max(values))})" if values else ""


def render(group):
    """A title and a table."""
    ours = group.best_of_ours()
    header = ["", group.unit, "ours ahead by"] + (["CPU us a row", "p50 / p99 ms"] if group.cpu else [])
    header += ["share of the floor"] if group.floor else []
    header += [group.extra[0]] if group.extra else []
    lines = [f"### {group.title}", "", "| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for name in group.replies:
        cells = [f"**{name}**" if name.startswith("ours") else name, spread(group.values(name))]
        cells.append(spread(group.times_ahead(ours, name), "x") if ours and name != ours else "")
        if group.cpu:
            cells.append(number(group.median(name, "cpu_us")))
            late = [group.median(name, key) for key in ("p50_ms", "p99_ms")]
            cells.append(" / ".join(map(number, late)) if group.values(name, "p50_ms") else "")
        if group.floor:
            cells.append(f"{100 * group.floor[1] / group.median(name):.0f}% of {group.floor[0]}")
        if group.extra:
            cells.append(spread(group.values(name, group.extra[1])))
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"| {name} | not measured: {why} |" + " |" * (len(header) - 2) for name, why in group.refused.items()]
    return "\n".join([*lines, ""])


# (group's title begins, peer, times ahead that is asked for)
BARS = [
    ("Learner: an update of both levels, batch 40 ", "PyTorch naive", 6),
    ("Learner: an update of both levels, batch 40 ", "PyTorch tuned", 4.4),
    ("Learner: an update of both levels, batch 40 ", "PyTorch compiled", 2.3),
    ("Learner: an update of both levels, batch 256", "PyTorch tuned", 2.8),
    ("Learner: an update of both levels, batch 1024", "PyTorch tuned", 2.6),
    ("Actor: policy and mapping, 256", "PyTorch tuned", 2.3),
    ("Actor: policy and mapping, 1 ", "PyTorch tuned", 12),
    ("Actor: the whole loop", "PyTorch + numpy", 5),
    ("End to end", "PyTorch + numpy, 1", 3),
    ("End to end", "PyTorch + numpy, 2", 3),
    ("Replay: insert", "bare tonic, our", 0.8),
    ("Replay: insert", "raw TCP", 1),
    ("Replay: insert", "Reverb", 40),
    ("Replay: insert", "redis", 4),
    ("Replay: sample", "bare tonic", 0.85),
    ("Replay: sample", "Reverb", 10),
    ("Replay: sample", "redis", 2),
]


def bars(groups):
    """Every bar: asked, reached."""
    lines = ["### Bars", "", "| | asked | reached | |", "|---|---|---|---|"]

    def line(what, asked, reached, good):
        lines.append(f"| {what} | {asked} | {reached} | {'yes' if good else '**no**'} |")

    for title, peer, asked in BARS:
        group = next((g for g in groups if g.title.startswith(title)), None)
        ours = group and group.best_of_ours()
        for name in group.replies if ours else []:
            if name.startswith(peer):
                ahead = group.times_ahead(ours, name)
                line(f"{group.title}: against {name}", f">= {asked}x", spread(ahead, "x"), median(ahead) >= asked)
    for group in groups:
        ours = group.best_of_ours()
        if group.title.startswith("Learner") and group.floor and ours:
            share = 100 * group.floor[1] / group.median(ours)
            line(f"{group.title}: {ours}, of the product floor", ">= 85%", f"{share:.0f}%", share >= 85)
        if ON_TWO in group.replies and "ours, native" in group.replies:
            gain = group.times_ahead(ON_TWO, "ours, native")
            line(f"{group.title}: two threads, of one", ">= 1.9x", spread(gain, "x"), median(gain) >= 1.9)
        if group.unit == "MB" and ours:
            line(group.title, "< 60 MB", spread(group.values(ours)), group.median(ours) < 60)
        if group.title.startswith("Replay: sample") and ours:
            # One call after the other: what is fetched ahead has no time of its own.
            ours = "ours, 2 shards"
            late = group.median(ours, "p99_ms") / group.median(ours, "p50_ms")
            line(f"{group.title}: p99 / p50", "<= 2.5", number(late), late <= 2.5)
    return "\n".join([*lines, ""])


def docs(path, text):
    """Puts the tables between the marks of a document."""
    before, rest = path.read_text().split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")
