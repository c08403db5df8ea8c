"""Stories: corpora, cleaning, the Pocket language, tokenizer, token files and batches."""
