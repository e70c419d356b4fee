"""Stored predictions scored again over thresholds, top-k and NMS."""
