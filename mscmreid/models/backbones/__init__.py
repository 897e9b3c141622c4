"""Networks before the neck."""
