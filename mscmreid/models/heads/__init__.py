"""Classifier and losses."""
