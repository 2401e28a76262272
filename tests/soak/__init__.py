"""Load with kills and faults, and what has to hold afterwards: `make soak`. Nothing here is for pytest."""
