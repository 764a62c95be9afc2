"""Images, labels and weights: from files to batches."""

import os

OPENCV_MOST_PIXELS = 178_956_970  # twice Pillow's own bound, from which on upstream leaves an image out as well

# OpenCV reads these once, when it is imported. It then refuses images of any kind that are larger; its own bound would
# let one small file become 3 GB.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what is wrong with an image is reported by name, and once
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(OPENCV_MOST_PIXELS))
