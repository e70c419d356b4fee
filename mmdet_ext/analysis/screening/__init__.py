"""Which images a training had better leave out."""
