"""An open gateway between a public fund and the state's registers over SHEP."""

__version__ = "0.1.0"
