"""Images, labels and weights: from files to batches."""
