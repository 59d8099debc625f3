"""Looks by name, and looks as files."""
