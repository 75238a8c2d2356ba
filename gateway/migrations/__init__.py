"""The schema's history (Alembic). A migration is frozen text: it imports no table of today.

A new one is a module in versions/ with `revision` and `down_revision`; tests/test_database.py compares what all of them
make with what the rooms describe.
"""
