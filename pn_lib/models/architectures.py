"""Every architecture there is, by its name and by the class of its config."""

from pn_lib.models.base import LanguageModel
from pn_lib.models.delta import DeltaNet
from pn_lib.models.flops import NeuralConfig
from pn_lib.models.hybrid import Hybrid
from pn_lib.models.mamba import Mamba
from pn_lib.models.mamba2 import Mamba2
from pn_lib.models.ngram import NGram
from pn_lib.models.transformer import Transformer

MODELS: dict[str, type[LanguageModel]] = {
    cls.name: cls for cls in (Transformer, Mamba, Mamba2, DeltaNet, Hybrid, NGram)
}

TITLES = {  # as the papers write them
    "transformer": "Transformer",
    "mamba": "Mamba",
    "mamba2": "Mamba-2",
    "deltanet": "Gated DeltaNet",
    "hybrid": "Hybrid",
    "ngram": "N-gram",
}


def build_model(config: NeuralConfig) -> LanguageModel:
    """A new model of this config, its weights random."""
    [cls] = [cls for cls in MODELS.values() if cls.Config is type(config)]
    return cls(config)
