"""Mutated data sets, through every service and every conversion, and what must hold of each."""
