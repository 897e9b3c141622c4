"""Optimizer wrapper and its parameter groups."""
