"""Results as frozen data, written to files and read back.

Nothing here imports torch: `diff` reads runs without it. Fractions are in [0, 1]; a figure that is undefined (no such
objects) is None, `null` in JSON, never NaN.
"""
