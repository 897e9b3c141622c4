"""Hooks: checkpoints, randomness, logged values."""
