"""Ablations: a grid of configs, options and seeds is trained, collected and put into one table."""
