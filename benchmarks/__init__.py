"""Measurements that take too long, or need too much, to be tests; README.md lists them."""
