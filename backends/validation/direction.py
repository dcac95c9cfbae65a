"""Is higher better? Known from a metric's name where that is sure; else nobody guesses.

`eval_accuracy` is never sure: in MLPerf's language-model benchmarks that key holds a loss.
"""

from __future__ import annotations

import re

_LOWER = frozenset(
    [
        "loss",
        "nll",
        "error",
        "errors",
        "latency",
        "time",
        "timing",
        "duration",
        "perplexity",
        "ppl",
        "mse",
        "mae",
        "rmse",
        "wer",
        "cer",
        "seconds",
    ]
)
_HIGHER = frozenset(
    ["accuracy", "acc", "throughput", "bleu", "rouge", "f1", "auc", "map", "mrr", "recall", "precision", "qps", "fps"]
)
_RATES = re.compile(r"(tokens|samples|images|steps|requests|queries|sequences|items)_(per|a)_(s|sec|second)$")
_UNSURE = frozenset(
    [
        "scale",
        "coef",
        "coefficient",
        "weight",
        "weights",
        "threshold",
        "target",
        "improvement",
        "gain",
        "reduction",
        "ratio",
        "to",
    ]
)


def direction_from_name(metric: str) -> bool | None:
    """True: higher is better; False: lower is; None: the name does not say."""
    name = _meant(metric)
    if name.casefold() in ("eval_accuracy", "eval-accuracy"):
        return None
    words = _words(name)
    if _RATES.search("_".join(words)):
        return True
    lower, higher = bool(_LOWER & set(words)), bool(_HIGHER & set(words))
    if lower == higher or _UNSURE & set(words):
        return None
    return higher


def _meant(metric: str) -> str:
    """The innermost name: of `key[NAME]` NAME, of a dotted path its last part."""
    tagged = re.fullmatch(r".+\[([^\[\]]+)\]", metric, re.DOTALL)
    return tagged[1] if tagged else metric.rsplit(".", 1)[-1].rsplit("/", 1)[-1]


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name) if name != "mAP" else "map"
    return [w for w in re.split(r"[^a-z0-9]+", apart.casefold()) if w]


def kind_from_name(metric: str) -> str | None:
    """`throughput`, `step_time` or `latency` where the name says so."""
    words = _words(_meant(metric))
    if _RATES.search("_".join(words)) or "throughput" in words:
        return "throughput"
    if {"step", "batch", "iteration", "iter"} & set(words) and {"time", "timing", "seconds", "duration"} & set(words):
        return "step_time"
    return "latency" if "latency" in words else None
