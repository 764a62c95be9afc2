"""Zeros: which weights go, by which score, how many in each layer."""
