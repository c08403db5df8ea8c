"""The training loop, its optimizer, schedules and checkpoints; experiments, and studies of many of them."""
