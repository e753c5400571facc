"""What a device is to this package: which to take, what fits on it, how to copy to it."""
