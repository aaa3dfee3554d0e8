"""Medians, percentiles, and numbers as people read them."""

import math


def percentile(numbers, part):
    """The number that `part` (0 to 1) of the numbers do not exceed."""
    ordered = sorted(numbers)
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)]


def median(numbers):
    """The middle number; the lower of two middle ones."""
    return percentile(numbers, 0.5)


def seconds(number):
    """Seconds with as many digits as they deserve."""
    if number < 10:
        return f"{number:.2f}"
    return f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def spread(numbers):
    """`1.23 (1.20 to 1.31)`, or the one number."""
    middle = seconds(median(numbers))
    if len(numbers) < 2:
        return middle
    return f"{middle} ({seconds(min(numbers))} to {seconds(max(numbers))})"
