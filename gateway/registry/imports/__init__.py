"""Lists taken in from files: read, compared with what is known, checked, and applied in one transaction."""
