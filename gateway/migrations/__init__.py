"""The schema's history (Alembic). A migration is frozen text: it imports no table of today."""
