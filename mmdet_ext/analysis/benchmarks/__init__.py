"""Speed and memory of our components beside their siblings, and the benchmark on the chest phantom."""
