"""Whole data sets: every prompt by several models and methods, with what is known of each."""
