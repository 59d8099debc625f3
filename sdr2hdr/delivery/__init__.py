"""What becomes of a film besides a finished file: frames for another encoder."""
