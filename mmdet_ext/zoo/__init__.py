"""The model zoo: metafiles, published checkpoints, and the tables made of them. Nothing that trains imports it."""
