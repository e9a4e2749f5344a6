"""Distilling a small draft model from a verifier, on text that the verifier writes itself."""
