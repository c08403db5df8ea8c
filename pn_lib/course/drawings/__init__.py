"""Drawings of mechanism, one subject a file: each draws the numbers that the reader has just computed."""
