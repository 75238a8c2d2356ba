"""One folder for one government system; see docs/how-to/add-a-system.md."""
