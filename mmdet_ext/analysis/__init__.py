"""Tables and pictures about data sets, graphs and trained detectors. Nothing in `mmdet_ext.models` imports it."""
