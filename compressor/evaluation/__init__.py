"""Model to metrics: prediction, suppression and COCO evaluation."""
