"""The demo: a plain and a relation detector on the chest phantom, compared on one page."""
