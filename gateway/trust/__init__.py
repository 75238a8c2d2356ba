"""Whom we believe: certification path, revocation, and the verdict on a signed document. Time is an argument."""
