"""Why is the mAP low? Data, losses, assignment, proposals and errors, and the likeliest cause in plain words."""
