"""Converts a folder of videos: lists them, tracks their progress, and runs the conversions."""
