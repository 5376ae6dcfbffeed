"""Servers for a laptop and for tests."""
