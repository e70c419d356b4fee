"""Does a relation matter, and what has it learnt?"""
