"""A small real model, trained on the CPU: a network of one hidden layer learns a sum of sines. `LR` and `SLOW` are what a side may do otherwise."""

from __future__ import annotations

import argparse
import json
import os

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int)
parser.add_argument("--out")
parser.add_argument("--steps", type=int, default=120)
args = parser.parse_args()
rng = np.random.default_rng(args.seed)
x = rng.uniform(-3, 3, (256, 1))
y = np.sin(x) + 0.5 * np.sin(2 * x)
w1, b1, w2 = rng.normal(0, 1, (1, 32)), np.zeros(32), rng.normal(0, 0.2, (32, 1))
rate = float(os.environ.get("LR", "0.05"))
with open(args.out, "w") as out:
    for step in range(1, args.steps + 1):
        batch = rng.integers(0, 256, 64)
        hidden = np.tanh(x[batch] @ w1 + b1)
        error = hidden @ w2 - y[batch]
        back = (error @ w2.T) * (1 - hidden**2)
        w2 -= rate * hidden.T @ error / 64
        w1 -= rate * x[batch].T @ back / 64
        b1 -= rate * back.mean(0)
        loss = float((error**2).mean())
        out.write(json.dumps({"step": step, "loss": loss, "step_seconds": 0.01 * float(os.environ.get("SLOW", "1"))}) + "\n")
print("trained", os.environ.get("CUTOVER_SEED"))
