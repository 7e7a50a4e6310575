"""How a measured program is asked: a line `CASE ARGUMENT ...` in, a line `NAME=NUMBER ...` out, until the input ends.

A program keeps what is dear to set up between lines, so that the peers of a case can take turns within one run.
"""

import os
import resource
import sys
import time


def serve(cases):
    """Answers every line with what the case of that name returns, a dictionary of numbers."""
    # Libraries print, too: what they write goes to standard error.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        name, *arguments = line.split()
        try:
            reply = " ".join(f"{key}={value}" for key, value in cases[name](*arguments).items())
        except Exception as error:  # the other peers go on
            reply = "error " + " ".join(f"{type(error).__name__}: {error}".split())
        print(reply, file=replies, flush=True)


def repeat(work, seconds):
    """Calls `work` for so many seconds, at least twice; the seconds of every call."""
    times = []
    begun = time.perf_counter()
    while len(times) < 2 or time.perf_counter() - begun < seconds:
        before = time.perf_counter()
        work()
        times.append(time.perf_counter() - before)
    return times


def median(values):
    """The middle one."""
    return sorted(values)[len(values) // 2]


def own_cpu_seconds():
    """CPU seconds of this process."""
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime
