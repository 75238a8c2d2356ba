"""Folders of government systems: one folder = one system (docs/how-to/add-a-system.md), and none is known by name."""
