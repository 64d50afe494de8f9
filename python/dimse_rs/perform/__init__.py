"""Answering a peer: the handler of a request, its thread, and the verdict on what is stored."""
