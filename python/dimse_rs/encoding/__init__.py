"""Between bytes and pydicom: what is decoded within bounds, what is encoded without loss."""
