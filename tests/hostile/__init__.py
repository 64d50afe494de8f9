"""Bad peers: what they send, as data, and what a node under test must do about it."""
