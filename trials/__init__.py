"""What tests, benchmarks and scripts share: a tiny model and data set, seeded weights, and the real command."""
