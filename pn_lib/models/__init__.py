"""Language models written from scratch, and what one does with them: generation, likelihood, exchange, FLOPs."""
