"""The wire of SHEP: bytes to envelopes and back. Lenient in what it reads, exact in what it writes."""
