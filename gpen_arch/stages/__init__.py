"""What can be trained: each stage, and how a run of it is opened; the trainer itself knows none."""
