"""Rendering on many machines with Ray. Nothing imports this room or ray unless a cluster is asked for."""
