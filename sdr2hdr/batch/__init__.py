"""A folder of videos, converted: what is in it, what has been done, and the doing."""
