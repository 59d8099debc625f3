"""Clips to train and to measure on: corpora, grading, codec damage, pairs of SDR and HDR."""
