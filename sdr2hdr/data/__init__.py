"""Clips for training and measuring: corpora, grading, codec damage, pairs of SDR and HDR."""
