"""Our own two ends, and peers written byte by byte, over real sockets in one process."""
