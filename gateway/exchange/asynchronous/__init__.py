"""The participant's side of AsyncChannel v10: what we send, what is pushed to us, what we fetch."""
