"""The learning rate as a pure function of progress: a short warm-up, then a straight line down to a tenth.

Nothing about it needs saving, so a resumed run is on schedule by construction.
"""

from __future__ import annotations

WARM_UP, FLOOR = 0.03, 0.1


def learning_rate(peak: float, progress: float) -> float:
    """The rate at `progress` (0 to 1) through the run."""
    warm = min(1.0, (progress + 1e-3) / WARM_UP)
    return peak * warm * (FLOOR + (1 - FLOOR) * (1 - min(progress, 1.0)))
