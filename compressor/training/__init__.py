"""Training of a YOLOv5 model as upstream trains it."""
