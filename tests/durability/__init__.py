"""What a Success means: the order of system calls, and a server that is killed."""
