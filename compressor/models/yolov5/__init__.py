"""The YOLOv5 family: building blocks, checkpoints, fusing, loss and description."""
