"""Peers against ours, turn by turn in one run. See docs/benchmarks.md.

`run.py OURS_FOLDER PYTHON PYTHON_OF_REVERB [--only PART]`: the folder of our built examples, the interpreters of the peers
(`-`: none), and `learner`, `actor`, `training`, `replay` or `goals` if only that is wanted.
ROUNDS (5), TURN_SECONDS of a measurement (0.5) and the environment steps of a whole training TRAIN_STEPS (300,000; 0: leave it
out) come from the environment; with UPDATE_DOCS=1 the tables go into docs/benchmarks.md as well, if they are whole. What cannot
be measured is a line that says why.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

from goals import Goals
from tables import ON_TWO, Group, bars, docs, render

HERE = pathlib.Path(__file__).parent
ROUNDS, SECONDS = int(os.environ.get("ROUNDS", 5)), float(os.environ.get("TURN_SECONDS", 0.5))
TRAIN_STEPS = int(os.environ.get("TRAIN_STEPS", 300_000))
arguments = argparse.ArgumentParser()
for place in ("ours", "python", "python_of_reverb"):
    arguments.add_argument(place)
arguments.add_argument("--only", choices=["learner", "actor", "training", "replay", "goals"])
arguments = arguments.parse_args()
OURS, PYTHON, PYTHON_OF_REVERB = arguments.ours, arguments.python, arguments.python_of_reverb
ONE_CORE = ["taskset", "-c", "0"]
ROW = 769


class Program:
    """A measured program, started when it is first asked."""

    def __init__(self, command):
        self.command, self.process = command, None

    def ask(self, line):
        """The numbers of its reply by name, or why there is none."""
        if self.process is None:
            if "-" in self.command:
                return "not installable, see the first lines of the output"
            env = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self.process = subprocess.Popen(self.command, text=True, env=env, **pipes)
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            reply = self.process.stdout.readline().strip()
        except OSError:
            reply = ""
        if not reply or reply.startswith("error"):
            return reply.removeprefix("error ") or "the program has ended"
        return {name: number(value) for name, value in (part.split("=") for part in reply.split())}

    def stop(self):
        """Ends it, and with it the servers it started."""
        if self.process is not None:
            with contextlib.suppress(OSError):  # what it was asked last may have ended it
                self.process.stdin.close()
            self.process.wait()
            self.process = None


def number(text):
    """A float where it is one."""
    try:
        return float(text)
    except ValueError:
        return text


def measure(group, entrants):
    """ROUNDS turns of all entrants: (name, program, line)."""
    refused = {}
    for round_number in range(ROUNDS):
        for name, program, line in entrants:
            if name in refused:
                continue
            reply = program.ask(line)
            if isinstance(reply, str):
                refused[name] = reply
            else:
                group.add(name, reply)
        print(f"  {group.title}: round {round_number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
    group.refused = refused
    return group


class Learner:
    """`learner train` of ours, asked as a program is."""

    def ask(self, line):
        """`train STEPS SEED`: seconds of the whole process, its one evaluation as in train.py."""
        _, steps, seed = line.split()
        with tempfile.TemporaryDirectory() as folder:
            run = f"{folder}/run"
            # Two threads, as the peer at its fastest.
            settings = {"train.evaluate_every": steps, "train.evaluation_sessions": 1024, "train.checkpoint_every": steps, "train.learner_threads": 2}
            command = [f"{OURS}/../learner", "train", "--preset", "tuned", "--steps", steps, "--seed", seed, "--no-table", "--run-dir", run]
            command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
            begun = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - begun
            if done.returncode:
                return (done.stderr.strip() or "no word").splitlines()[-1]
            last = json.loads(pathlib.Path(run, "metrics.jsonl").read_text().splitlines()[-1])
            return {"seconds": seconds, "return": last["total"]["value"], "updates": last["updates"]}

    def stop(self):
        """Nothing goes on."""


def update_gflop(batch):
    """Of the matrix products of one update: 5 forward and 2 backward passes a level (without gradients of the inputs)."""
    pairs, width, n_dims = 2 * 10 * batch, 64, 50
    forward = pairs * 3 * width * (n_dims + width) + batch * 2 * width * width
    hidden = pairs * 3 * width * width + batch * 2 * width * width
    heads = sum(h * (3 * n_dims * width + 4 * width * (width + n_dims)) * batch for h in (2, 1))
    return 2 * (2 * (5 * forward + 2 * (forward + hidden)) + heads) / 1e9


def wanted(part):
    """Whether a part is to be measured."""
    return arguments.only in (None, part)


def main():
    """Everything, group by group."""
    begun, load = time.time(), os.getloadavg()
    pinned = lambda *command: Program([*ONE_CORE, *command])
    script = lambda name: (PYTHON, str(HERE / name))
    ours, torch = pinned(f"{OURS}/peers"), pinned(*script("update.py"))
    engine, acting = pinned(f"{OURS}/peer_update"), pinned(*script("act.py"))
    on_two_cores = Program([f"{OURS}/peer_update"])
    services, replays = Program([f"{OURS}/peers"]), Program(list(script("replay_peers.py")))
    reverb = Program([PYTHON_OF_REVERB, str(HERE / "replay_peers.py")])
    groups = []

    floors = Group("Floors of this machine", "GB/s or GFLOP/s", None)
    names = [
        ("copy, GB/s", ours, "copy"),
        ("loopback, GB/s", services, "loopback"),
        ("product of PyTorch, GFLOP/s", torch, "gemm"),
        ("product of our kernels, GFLOP/s", engine, "product"),
    ]
    for _ in range(ROUNDS):
        for name, program, line in names:
            reply = program.ask(line)
            if not isinstance(reply, str):
                floors.add(name, {"value": next(iter(reply.values()))})
    groups.append(floors)
    # PyTorch's does not use all that every CPU has.
    products = [floors.median(name) for name, _, _ in names if name.startswith("product") and floors.values(name)]
    gflops = max(products, default=float("nan"))

    engines = engine.ask("engines") if wanted("learner") else []
    for batch in (40, 256, 1024) if wanted("learner") else ():
        group = Group(f"Learner: an update of both levels, batch {batch} + {batch}", "ms", "ms", smaller=True)
        forms = ("naive", "tuned", "stacked", "compiled")
        entrants = [(f"PyTorch {form}", torch, f"update {form} {batch} {SECONDS}") for form in forms]
        # Not the same work, so none of ours in the comparison.
        label = {"native-bf16": "the same in bf16: ours, native"}
        entrants += [
            (label.get(name, f"ours, {name}"), engine, f"update {name} {batch} {SECONDS}") for name in engines
        ]
        entrants.append((ON_TWO, on_two_cores, f"update native-2 {batch} {SECONDS}"))
        measure(group, entrants)
        group.floor = ("product", update_gflop(batch) / gflops * 1e3)
        groups.append(group)

    for sessions in (256, 1) if wanted("actor") else ():
        group = Group(f"Actor: policy and mapping, {sessions} session(s)", "us", "us", smaller=True)
        line = f"act {sessions} {SECONDS}"
        measure(group, [("PyTorch tuned", acting, line), ("ours", ours, line)])
        # Two windows of ten through the hidden product, merge, head, 1,000 candidates.
        flop = 2 * sessions * (2 * 10 * 64 * 192 + 128 * 64 + 64 * 50 + 1000 * 50)
        group.floor = ("product", 1e-3 * flop / gflops)
        groups.append(group)

    if wanted("actor"):
        group = Group("Actor: the whole loop in ShopWorld, 256 sessions", "environment steps/s", "steps_per_s")
        line = f"rollout {2 * SECONDS}"
        groups.append(measure(group, [("PyTorch + numpy", acting, line), ("ours", ours, line)]))

    if TRAIN_STEPS and wanted("training"):
        # Seeds instead of rounds, three at most: whole trainings on all cores.
        group = Group(f"End to end: a training of {TRAIN_STEPS:,} environment steps, preset tuned", "s", "seconds", smaller=True)
        group.extra = ("reward of a session behind it", "return")
        training = Program(list(script("train.py")))
        for seed in range(min(ROUNDS, 3)):
            for name, program, line in (
                ("PyTorch + numpy, 1 thread", training, f"train {TRAIN_STEPS} {seed} 1"),
                ("PyTorch + numpy, 2 threads", training, f"train {TRAIN_STEPS} {seed} 2"),
                ("ours", Learner(), f"train {TRAIN_STEPS} {seed}"),
            ):
                print(f"  {group.title}: {name}, seed {seed}", file=sys.stderr, flush=True)
                group.add(name, program.ask(line))
        training.stop()
        groups.append(group)

    probe = services.ask(f"insert two {SECONDS}") if wanted("replay") else ""
    step_bytes = 70 if isinstance(probe, str) else int(probe["row_bytes"])
    for what in ("insert", "sample") if wanted("replay") else ():
        group = Group(f"Replay: {what} 256 rows a call", "rows/s", "rows_per_s", cpu=True)
        entrants = [
            ("ours, 2 shards", services, f"{what} two {SECONDS}"),
            (f"raw TCP, {ROW} B", services, f"tcp-{what} {ROW} {SECONDS}"),
            (f"bare tonic, {ROW} B", services, f"tonic-{what} {ROW} {SECONDS}"),
        ]
        if what == "sample":
            entrants.insert(1, ("ours, 2 shards, 2 ahead", services, f"prefetch two {SECONDS}"))
        if what == "insert":
            entrants.append((f"bare tonic, our {step_bytes} B", services, f"tonic-insert {step_bytes} {SECONDS}"))
        entrants += [
            ("cpprb, in process", replays, f"cpprb-{what} {SECONDS}"),
            ("TorchRL, in process", replays, f"torchrl-{what} {SECONDS}"),
            ("redis MSET" if what == "insert" else "redis MGET", replays, f"redis-{what} {SECONDS}"),
            ("Reverb, one packed column", reverb, f"reverb-{what} {SECONDS}"),
        ]
        groups.append(measure(group, entrants))
    services.stop()

    # Theirs fill gigabytes, and ours would share their caches.
    for program in (replays, reverb):
        program.stop()
    goals = Goals()
    if wanted("goals"):
        entrants = [Program([f"{OURS}/peers"]), Program(replays.command), Program([f"{OURS}/peer_weights"])]
        for at in goals.measure(ROUNDS, SECONDS, entrants):
            print(f"  Replay and weights, what is asked beside: round {at + 1} of {ROUNDS}", file=sys.stderr, flush=True)
        for program in entrants:
            program.stop()
        # Whole trainings on all cores: three at most.
        for seed in range(min(ROUNDS, 3) if TRAIN_STEPS else 0):
            print(f"  Replay and weights, what is asked beside: training {seed + 1}", file=sys.stderr, flush=True)
            goals.train(f"{OURS}/../learner", seed)

    fresh = Program([f"{OURS}/peers"])
    if wanted("actor"):
        title = "Actor: resident memory, 10,000 items, 256 sessions, streaming into 2 shards"
        memory = Group(title, "MB", "resident_mb", smaller=True)
        memory.add("ours", fresh.ask(f"stream {SECONDS}"))
        groups.append(memory)
    for program in (fresh, ours, torch, engine, on_two_cores, acting):
        program.stop()

    model = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    machine = (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} x {model}, Linux {platform.release()}, load before "
        f"{load[0]:.1f}, after {os.getloadavg()[0]:.1f}; our binaries: {OURS.split('/')[-2]}; {ROUNDS} rounds of {SECONDS} s; "
        f"{time.time() - begun:.0f} s in all"
    )
    beside = [goals.render()] if wanted("goals") else []
    text = "\n".join([machine + ".", "", *(render(group) for group in groups), bars(groups), *beside])
    print(text)
    if os.environ.get("UPDATE_DOCS") == "1" and arguments.only is None:
        docs(HERE.parents[1] / "docs/benchmarks.md", text)


main()
