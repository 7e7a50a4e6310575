"""What a replay service owes its users beside being ahead of peers: ratios of one round, held against what is asked."""

import json
import pathlib
import subprocess
import tempfile

from tables import number, median, spread


class Goal:
    """A figure, a value a round."""

    def __init__(self, what, asked, unit="x", most=True):
        self.what, self.asked, self.unit, self.most, self.values, self.why = what, asked, unit, most, [], "left out"

    def line(self):
        """Of a table: what, asked, reached, yes or no."""
        asked = f"{'<=' if self.most else '>='} {number(self.asked)}{self.unit}"
        if not self.values:
            return f"| {self.what} | {asked} | not measured: {self.why} | |"
        value = median(self.values)
        good = value <= self.asked if self.most else value >= self.asked
        return f"| {self.what} | {asked} | {spread(self.values, self.unit)} | {'yes' if good else '**no**'} |"


class Goals:
    """All of them, by a name."""

    def __init__(self):
        self.goals = {
            "prioritised": Goal("prioritised sampling, of uniform", 0.8, most=False),
            "beside": Goal("CPU a sampled row beside inserts at half their maximum, of alone", 1.15),
            "memory": Goal("resident memory a transition, of the layout's bytes", 1.15),
            "durable": Goal("insert on the disk, of in memory; 32 frames on their way", 0.6, most=False),
            "redis": Goal("insert on the disk, 62 bytes a row, of redis MSET with appendfsync always, 769 bytes; 32 frames on their way", 5, most=False),
            "disk": Goal("insert on the disk, of a file that is synced every 256 rows", 0.7, most=False),
            "insert stall": Goal("longest durable insert around a snapshot of a million transitions", 20, " ms"),
            "sample stall": Goal("longest minibatch around it", 20, " ms"),
            "restore": Goal("start with a million transitions in a snapshot: speed, of reading the same files from memory", 0.5, most=False),
            "restore journal": Goal("... in the journal alone", 0.5, most=False),
            "ack": Goal("kill -9 of one of two shards, away .3 s: from listening until all it owed is acknowledged, half a million rows read back", 150, " ms"),
            "kill stall": Goal("... longest minibatch from the other shard meanwhile", 100, " ms"),
            "two insert": Goal("CPU an inserted row of two shards, of one", 1.05),
            "two sample": Goal("CPU a sampled row of two shards, of one", 1.05),
            "streaming": Goal("steps/s of an actor that streams into two shards, of one that streams into nothing", 0.95, most=False),
            "encoding": Goal("weights: encoding for 16 subscribers, of 1", 1.1),
            "16 subscribers": Goal("weights: p99 from published to used by 16, of 16 x size / loopback's bandwidth", 1.5),
            "idle": Goal("learner waits for minibatches, `async`", 3, "% of its time"),
            "age": Goal("p99 age of sampled goals, in versions; one every 10 updates, `fifo`", 2, ""),
        }

    def add(self, name, value):
        """A round's; `value` may fail for want of a reply."""
        try:
            self.goals[name].values.append(value())
        except (TypeError, ZeroDivisionError):  # a reply that says why there is none, a figure that is none
            self.goals[name].why = "an entrant had no answer"

    def measure(self, rounds, seconds, programs):
        """`programs`: ours, the peers, the weights."""
        ours, peers, weights = (program.ask for program in programs)
        # What is dear to set up is there before the first round.
        for shards in ("one", "two", "prioritised", "one-far-ahead", "durable", "two-durable"):
            ours(f"insert {shards} {seconds}")
        for at in range(rounds):
            uniform, alone = ours(f"sample two {seconds}"), ours(f"sample one {seconds}")
            prioritised = ours(f"sample prioritised {seconds}")
            self.add("prioritised", lambda: prioritised["rows_per_s"] / uniform["rows_per_s"])
            self.add("two sample", lambda: uniform["cpu_us"] / alone["cpu_us"])
            one, two = ours(f"insert one {seconds}"), ours(f"insert two {seconds}")
            self.add("two insert", lambda: two["cpu_us"] / one["cpu_us"])
            beside = ours(f"beside two {seconds}")
            self.add("beside", lambda: beside["beside_us"] / beside["alone_us"])
            memory = ours("memory one")
            self.add("memory", lambda: memory["resident_mb"] / memory["layout_mb"])
            fast, durable = ours(f"insert one-far-ahead {seconds}"), ours(f"insert durable {seconds}")
            self.add("durable", lambda: durable["rows_per_s"] / fast["rows_per_s"])
            redis = peers(f"redis-durable-insert {seconds}")
            self.add("redis", lambda: durable["rows_per_s"] / redis["rows_per_s"])
            disk = ours(f"disk {int(one['row_bytes']) if isinstance(one, dict) else 62} {seconds}")
            self.add("disk", lambda: durable["rows_per_s"] / disk["rows_per_s"])
            snapshot = ours("snapshot durable")
            self.add("insert stall", lambda: snapshot["insert_ms"])
            self.add("sample stall", lambda: snapshot["sample_ms"])
            restored = ours("restore durable")
            self.add("restore", lambda: restored["read_s"] / restored["restore_s"])
            filled = ours("restore-new durable")
            # Unless the shard was quick to write one.
            if isinstance(filled, dict) and filled["snapshots"] == 0:
                self.add("restore journal", lambda: filled["read_s"] / filled["restore_s"])
            killed = ours("kill two-durable")
            self.add("ack", lambda: killed["ack_ms"])
            self.add("kill stall", lambda: killed["stall_ms"])
            nothing, streamed = ours(f"play {seconds}"), ours(f"stream {seconds}")
            self.add("streaming", lambda: streamed["steps_per_s"] / nothing["steps_per_s"])
            to_one, to_16, loopback = weights(f"weights 1 {seconds}"), weights(f"weights 16 {seconds}"), ours("loopback")
            self.add("encoding", lambda: to_16["encoding_us"] / to_one["encoding_us"])
            self.add("16 subscribers", lambda: to_16["p99_ms"] / (16 * to_16["mb"] / loopback["gb_per_s"]))
            yield at

    def train(self, learner, seed):
        """`learner`: our command. A round of what a whole training says."""
        trained = train(learner, seed)
        self.add("idle", lambda: trained["idle"])
        self.add("age", lambda: trained["age"])

    def render(self):
        """A title and a table."""
        header = ["### Replay and weights: what is asked beside", "", "| | asked | reached | |", "|---|---|---|---|"]
        return "\n".join([*header, *(goal.line() for goal in self.goals.values()), ""])


def train(learner, seed):
    """How a learner of mode `async` fares: percent of its time without a minibatch, oldest goals at sampling."""
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/run"
        # Fresh transitions: no more of them waiting than two minibatches, and periods of a hundred sessions at a time.
        settings = {"replay.sampling": "fifo", "replay.low.min_size": 1024, "replay.high.min_size": 128, "train.publish_every": 10}
        settings |= {"train.evaluate_every": 150_000, "train.evaluation_sessions": 64, "actor.sessions": 128}
        command = [learner, "train", "--preset", "tuned", "--steps", "150000", "--seed", str(seed), "--no-table", "--run-dir", run]
        command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr.strip() or "no word").splitlines()[-1]
        lines = lambda name: [json.loads(line) for line in pathlib.Path(run, name).read_text().splitlines()]
        # Without the first part, in which the learner waits for a first minibatch's worth of transitions.
        timing = lines("timing.jsonl")[1:]
        ages = [line.get("staleness_p99") for line in lines("metrics.jsonl") if line["kind"] == "train"][1:]
        span = sum(b["seconds"] - a["seconds"] for a, b in zip(timing, timing[1:]))
        waited = sum(b["sample_share"] * (b["seconds"] - a["seconds"]) for a, b in zip(timing, timing[1:]))
        ages = [age for age in ages if age is not None]
        if not ages or not span:
            return "too short a training"
        return {"idle": 100 * waited / span, "age": median(ages)}
