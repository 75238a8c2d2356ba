"""The simulated gateway and the systems behind it: invented people, real signatures, misbehaviour on order."""
