"""One module for one revision."""
