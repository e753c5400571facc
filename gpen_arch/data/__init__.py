"""Where faces to train on come from, and in which order."""
