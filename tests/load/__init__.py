"""Load: many associations at once, for long, among peers that behave badly."""
