"""What tests of several folders share: wire bytes, scripted peers, nodes, child processes."""
