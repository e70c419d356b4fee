"""A package, because another folder has a file of the same name as one of these."""
