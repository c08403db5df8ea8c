"""The training loop, its optimizer and schedules, and checkpoints."""
