"""The law as dated data: clauses, categories, windows and readings."""
