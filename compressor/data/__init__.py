"""Images, labels and weights: from files to batches."""

import os

# OpenCV reads this once, when it is imported, and then refuses images of any kind that are larger; its own bound would
# let one small file become 3 GB. See `image_file.MOST_PIXELS`.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "178956970")
