"""Other formats of annotations, written as COCO json or read from it."""
