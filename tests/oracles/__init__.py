"""Plain references, written from descriptions of YOLOv5's behaviour and sharing no code with the package.

They are slow and short: loops over boxes, float64 convolutions. `vectors.py` computes the files in `tests/golden` with
them, and `test_oracles.py` compares them with YOLOv5's own outputs where these are at hand.
"""
