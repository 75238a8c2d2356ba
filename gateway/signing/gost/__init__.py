"""The national algorithms: GOST R 34.10-2012, Streebog and the old pair, under Kazakh OIDs and byte orders.

PKI.md section 1 proves what this room is built on. `backend.choose_backend` is the way in.
"""
