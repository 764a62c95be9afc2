"""Files: read with bounds, written aside and put in place, kept under a digest of what they depend on."""
