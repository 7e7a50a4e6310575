#!/usr/bin/env python3
"""Targets and losses of DEERS (Zhao et al. 2018, Eqs 5 to 8) in double precision, without the project's code; writes
deers.json. Needs the standard library only.
"""
import json
import math
import pathlib
import random

DISCOUNT, WEIGHT, CLIP, MARGIN = 0.8, 0.3, 2.0, 0.75
ROWS, CANDIDATES = 7, 4

rng = random.Random(20180219)
draw = lambda: rng.uniform(-3.0, 3.0)

reward = [rng.choice([0.0, 1.0, 5.0]) for _ in range(ROWS)]
next_values = [[draw() for _ in range(CANDIDATES)] for _ in range(ROWS)]
is_valid = [[float(rng.random() < 0.6) for _ in range(CANDIDATES)] for _ in range(ROWS)]
is_valid[2] = [0.0] * CANDIDATES  # the user left: nothing comes next
next_values[4] = [-abs(value) for value in next_values[4]]  # a maximum below zero
is_valid[4] = [1.0, 0.0, 1.0, 1.0]
shown = [draw() for _ in range(ROWS)]
competing = [draw() for _ in range(ROWS)]
shown[5], competing[5] = 2.9, -2.9  # beyond the clip
sign = [1.0, -1.0, 0.0, 1.0, -1.0, 1.0, 0.0]

y = []
for row in range(ROWS):
    valid = [value for value, ok in zip(next_values[row], is_valid[row]) if ok]
    y.append(reward[row] + (DISCOUNT * max(valid) if valid else 0.0))

squared_error = sum((y[row] - shown[row]) ** 2 for row in range(ROWS)) / ROWS

squared = hinge = 0.0
for row in range(ROWS):
    if sign[row] == 0.0:
        continue
    distance = shown[row] - competing[row]
    squared -= WEIGHT * min(distance**2, CLIP) / ROWS
    positive, negative = (shown[row], competing[row]) if sign[row] > 0 else (competing[row], shown[row])
    hinge += WEIGHT * math.log1p(math.exp(MARGIN - (positive - negative))) / ROWS

with open(pathlib.Path(__file__).with_suffix(".json"), "w") as file:
    json.dump(
        {
            "discount": DISCOUNT,
            "weight": WEIGHT,
            "clip": CLIP,
            "margin": MARGIN,
            "reward": reward,
            "next_values": next_values,
            "is_valid": is_valid,
            "shown": shown,
            "competing": competing,
            "sign": sign,
            "y": y,
            "squared_error": squared_error,
            "squared": squared,
            "hinge": hinge,
        },
        file,
        indent=1,
    )
    file.write("\n")
