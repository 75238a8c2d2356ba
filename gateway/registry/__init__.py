"""Facts with provenance and two times, and the standing of a consumer computed from them."""
