"""A general model for tests: a random Llama of transformers with a byte-level tokenizer, in a folder."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pn_lib.data.tokenizer import train_tokenizer


def save_listener(folder, texts):
    """Write it; returns the tokenizer that lies beside it."""
    tokenizer = train_tokenizer(texts, 300)
    tokenizer.save(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.vocab_size,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=96,
            initializer_range=0.5,  # far from uniform, so that what was read before matters
        )
    ).save_pretrained(folder)
    return tokenizer
