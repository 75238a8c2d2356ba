"""The command `gateway`: every command of docs/reference/contract.md, one module for one group."""
