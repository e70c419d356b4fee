"""Files that are damaged, misleading or harmful, and readers that must say so."""
