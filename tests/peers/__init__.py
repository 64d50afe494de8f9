"""The other implementations we are tested against, and how they are run."""
