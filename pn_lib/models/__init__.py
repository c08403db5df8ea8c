"""Language models written from scratch, and what runs them: scan, generation, interchange, cost formulas."""
