"""A compressed model in the formats that other tools run."""
