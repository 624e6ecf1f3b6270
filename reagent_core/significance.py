"""When the strongest of many units may be called strongest.

A 95% interval misses in one of twenty cases; the largest of many effects is where it missed.
"""

from __future__ import annotations

from statistics import NormalDist


def stands_out(effect: float, bound: float, count: int) -> bool:
    """Whether the strongest of `count` effects is told from chance, for all of them together.

    `effect` and `bound`, the end of its own 95% interval that is nearer to zero, in nats. The
    distance between the two is widened to an error of 5% over all units (Bonferroni: each gets
    5% / count), with the normal quantile in place of Student's. False for NaN.
    """
    normal = NormalDist()
    widening = normal.inv_cdf(1 - 0.025 / max(1, count)) / normal.inv_cdf(0.975)
    distance = abs(effect - bound) * widening
    return effect * bound > 0 and abs(effect) > distance
