"""Replays to compare with: rows of 769 bytes, 256 a call.

`cpprb-insert`, `torchrl-insert`, `redis-insert`, `reverb-insert` and the same with `-sample`, each with SECONDS, at a million rows
that are held; `redis-durable-insert`. cpprb and TorchRL keep rows in this process; a redis-server (without persistence) and
Reverb's server are processes of their own.
Redis is asked with commands that were put together beforehand, 4 in flight, so that no client library is in the way;
Reverb takes rows packed into one column, its best form.
"""

import atexit
import functools
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import numpy

from protocol import own_cpu_seconds, repeat, serve

ROW, ROWS, CAPACITY, IN_FLIGHT = 769, 256, 1_000_000, 4


def process_cpu_seconds(pid):
    """CPU seconds of all threads of a process."""
    tasks = os.listdir(f"/proc/{pid}/task")
    return sum(float(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0]) for task in tasks) * 1e-9


def free_port():
    """A port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measured(work, seconds, server=None):
    """Rows a second, CPU a row of both sides, and what a call takes."""
    cpu = lambda: own_cpu_seconds() + (process_cpu_seconds(server) if server else 0)
    before, times = cpu(), sorted(repeat(work, float(seconds)))
    at = lambda share: 1e3 * times[round((len(times) - 1) * share)]
    rows = ROWS * len(times)
    used = 1e6 * (cpu() - before) / rows
    return {"rows_per_s": rows / sum(times), "cpu_us": used, "p50_ms": at(0.5), "p99_ms": at(0.99)}


@functools.cache
def cpprb():
    """Full."""
    from cpprb import ReplayBuffer

    buffer = ReplayBuffer(CAPACITY, {"row": {"shape": ROW, "dtype": numpy.uint8}})
    frame = numpy.full((ROWS, ROW), 7, numpy.uint8)
    for _ in range(CAPACITY // ROWS + 1):
        buffer.add(row=frame)
    return buffer, frame


def cpprb_insert(seconds):
    """A batch a call."""
    buffer, frame = cpprb()
    return measured(lambda: buffer.add(row=frame), seconds)


def cpprb_sample(seconds):
    """A minibatch a call."""
    buffer, _ = cpprb()
    return measured(lambda: buffer.sample(ROWS), seconds)


@functools.cache
def torchrl():
    """Full; rows as one tensor."""
    import torch
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
    from tensordict import TensorDict

    torch.set_num_threads(1)
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(CAPACITY), batch_size=ROWS)
    frame = TensorDict({"row": torch.full((ROWS, ROW), 7, dtype=torch.uint8)}, batch_size=[ROWS])
    for _ in range(CAPACITY // ROWS + 1):
        buffer.extend(frame)
    return buffer, frame


def torchrl_insert(seconds):
    """A batch a call."""
    buffer, frame = torchrl()
    return measured(lambda: buffer.extend(frame), seconds)


def torchrl_sample(seconds):
    """A minibatch a call."""
    return measured(torchrl()[0].sample, seconds)


class Redis:
    """A server of its own and a connection; `durable`: it answers once a command is on the disk, with more of them in flight."""

    def __init__(self, durable=False):
        program = shutil.which("redis-server")
        if program is None:
            raise FileNotFoundError("redis-server is not on PATH (package redis-server)")
        port, folder = free_port(), tempfile.mkdtemp(prefix="peers-redis-")
        args = [program, "--port", str(port), "--save", "", "--dir", folder]
        args += ["--appendonly", "yes" if durable else "no", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]
        self.process = subprocess.Popen(args, stdout=subprocess.DEVNULL)
        atexit.register(shutil.rmtree, folder, True)
        atexit.register(self.process.kill)
        for _ in range(200):
            try:
                self.connection = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.02)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        row = b"\x07" * ROW
        key = lambda k: b"row:%07d" % k
        word = lambda text: b"$%d\r\n%s\r\n" % (len(text), text)
        sets = [b"".join(word(key(first + k)) + word(row) for k in range(ROWS)) for first in range(0, CAPACITY, ROWS)]
        self.sets = [b"*%d\r\n$4\r\nMSET\r\n%s" % (1 + 2 * ROWS, body) for body in sets]
        draw = lambda: b"".join(word(key(random.randrange(CAPACITY))) for _ in range(ROWS))
        self.gets = [b"*%d\r\n$4\r\nMGET\r\n%s" % (1 + ROWS, draw()) for _ in range(64)]
        self.answer = bytearray(len(b"*256\r\n") + ROWS * len(word(row)))
        self.calls, self.in_flight = 0, 32 if durable else IN_FLIGHT
        for _ in range(len(self.sets) // IN_FLIGHT + 1 if not durable else 0):
            self.insert()

    def insert(self):
        """Some frames, all acknowledged."""
        for _ in range(self.in_flight):
            self.connection.sendall(self.sets[self.calls % len(self.sets)])
            self.calls += 1
        self.read(memoryview(self.answer)[: len(b"+OK\r\n") * self.in_flight])

    def sample(self):
        """A minibatch."""
        self.calls += 1
        self.connection.sendall(self.gets[self.calls % len(self.gets)])
        self.read(memoryview(self.answer))

    def read(self, into):
        """All of it."""
        while into:
            into = into[self.connection.recv_into(into) :]


redis = functools.cache(Redis)


def redis_insert(seconds, durable=False):
    """A call is some frames: rows are counted accordingly."""
    server = redis(durable)
    reply = measured(server.insert, seconds, server.process.pid)
    return {"rows_per_s": server.in_flight * reply["rows_per_s"], "cpu_us": reply["cpu_us"] / server.in_flight}


def redis_durable_insert(seconds):
    """The same with an append-only file that is synced before the answer; its table fills meanwhile."""
    return redis_insert(seconds, True)


def redis_sample(seconds):
    """A minibatch a call."""
    return measured(redis(False).sample, seconds, redis(False).process.pid)


def reverb_server(port):
    """The process behind [`Reverb`]."""
    import reverb
    import tensorflow

    signature = tensorflow.TensorSpec([1, ROW], tensorflow.uint8)
    limiter = reverb.rate_limiters.MinSize(1)
    rows = reverb.Table("rows", reverb.selectors.Uniform(), reverb.selectors.Fifo(), CAPACITY, limiter, signature=[signature])
    reverb.Server([rows], port=port).wait()


class Reverb:
    """A server as a process, a writer and a sampler."""

    def __init__(self):
        import reverb

        port = free_port()
        self.process = subprocess.Popen([sys.executable, __file__, "reverb-server", str(port)], stderr=subprocess.DEVNULL)
        atexit.register(self.process.kill)
        self.address = f"127.0.0.1:{port}"
        self.client = reverb.Client(self.address)
        self.client.server_info(timeout=60)
        self.writer = self.client.trajectory_writer(num_keep_alive_refs=ROWS)
        self.row, self.samples = numpy.full(ROW, 7, numpy.uint8), None
        for _ in range(CAPACITY // ROWS + 20):
            self.insert()

    def insert(self):
        """256 rows, acknowledged."""
        for _ in range(ROWS):
            self.writer.append([self.row])
            self.writer.create_item("rows", 1.0, [self.writer.history[0][-1:]])
        self.writer.flush()

    def sample(self):
        """256 rows of a data set that batches them outside Python."""
        if self.samples is None:
            import reverb

            of_table = reverb.TrajectoryDataset.from_table_signature
            rows = of_table(self.address, "rows", max_in_flight_samples_per_worker=2 * ROWS, num_workers_per_iterator=2)
            self.samples = iter(rows.batch(ROWS))
        return next(self.samples)


reverb_case = functools.cache(Reverb)


def reverb_insert(seconds):
    """256 rows a call."""
    return measured(reverb_case().insert, seconds, reverb_case().process.pid)


def reverb_sample(seconds):
    """256 rows a call."""
    return measured(reverb_case().sample, seconds, reverb_case().process.pid)


if sys.argv[1:2] == ["reverb-server"]:
    reverb_server(int(sys.argv[2]))
else:
    cases = [cpprb_insert, cpprb_sample, torchrl_insert, torchrl_sample]
    cases += [redis_insert, redis_durable_insert, redis_sample, reverb_insert, reverb_sample]
    serve({case.__name__.replace("_", "-"): case for case in cases})
