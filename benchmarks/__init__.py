"""Benchmarks: scripts that use the public API only, and print ratios to what a bare server does."""
