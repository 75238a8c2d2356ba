"""The numbered steps of one message, out and in; the journal of exact bytes; what falls due."""
