"""What we make of bytes, beside what pynetdicom and pydicom make of them."""
