"""The study of coherence: how small a model, and how few tokens, tell stories that the source could have told."""
