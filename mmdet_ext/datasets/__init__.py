"""Embedded data, and checks of data before they are trained on."""
