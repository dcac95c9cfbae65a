"""A validation run: the same training command on both sides, with the same seeds, and what came of it held against each other.

`remote` starts it and waits, `environment` says where it ran, `judge` compares, `both` drives both sides.
"""
