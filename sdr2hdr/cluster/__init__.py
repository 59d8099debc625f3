"""Rendering on many machines with Ray. Nothing imports this room or ray unless a cluster is asked for."""

from sdr2hdr.system import let_threads_sleep

let_threads_sleep()  # a node's processes import this package first, and torch after it
