"""Fewer points that look the same: of a line the ends and extremes stay, rows are averaged."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

LEAST = 4


def decimated(values: npt.ArrayLike, most: int) -> IntArray:
    """Places [at most `most`], ascending, of the values [K] that a drawn line needs.

    The first, the last, and of equally long stretches in between the smallest and the largest
    value; so the extremes of the whole line are among them. NaN is kept only at the ends, and
    where a stretch holds nothing else. All places where there are no more than `most` values.

    Raises:
        ValueError: `most` is below 4, which has no room for two ends and two extremes.
    """
    line = np.asarray(values, float)
    if most < LEAST:
        raise ValueError(f"a line needs room for {LEAST} points, not {most}")
    if len(line) <= most:
        return np.arange(len(line))
    inner = np.arange(1, len(line) - 1)
    stretches = np.array_split(inner, (most - 2) // 2)
    low, high = np.nan_to_num(line, nan=np.inf), np.nan_to_num(line, nan=-np.inf)
    kept = [0, len(line) - 1]
    for stretch in stretches:
        kept += [int(stretch[low[stretch].argmin()]), int(stretch[high[stretch].argmax()])]
    return np.unique(np.array(kept, np.int64))


def binned(values: npt.ArrayLike, most: int) -> tuple[IntArray, FloatArray]:
    """Rows [K, n] as at most `most` rows: the edges [B + 1] of the stretches of rows that are put
    together, and the mean of each [B, n], NaN where it holds no number."""
    rows = np.asarray(values, float)
    count = min(most, len(rows))
    edges = np.linspace(0, len(rows), count + 1).round().astype(np.int64)
    known = ~np.isnan(rows)
    if not count:
        return edges, rows
    sums = np.add.reduceat(np.where(known, rows, 0.0), edges[:-1], axis=0)
    counts = np.add.reduceat(known.astype(float), edges[:-1], axis=0)
    with np.errstate(invalid="ignore"):
        return edges, sums / counts
