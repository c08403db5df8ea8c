"""The benchmark: how fast and how large our models are in training and decoding, beside those of others."""
