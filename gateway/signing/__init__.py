"""Signatures over messages: algorithms, certificates, keys, WS-Security and enveloped XML Signature."""
