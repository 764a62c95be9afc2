"""What was found out, as frozen data, and its way into files and out again.

Nothing here imports torch: `diff` reads runs without it. Fractions are in [0, 1]; a figure that is undefined (no such
objects) is None, `null` in JSON, never NaN.
"""
