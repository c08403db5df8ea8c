"""Measures of models and of stories."""
