"""Every architecture there is, by its name and by the class of its config.

A new way to remember is a module of its own, like ``delta``: a config, a ``stack.Mixer``, a ``Stack`` of it. Then it
needs a line in each of these places, and a test (tests/test_mixers.py) says which of them do not know it yet:

    pn_lib/titles.py        its name, its title, its letter
    architectures           MODELS, below
    hybrid                  HybridConfig.mixer, MIXERS
    flops                   NeuralConfig, LAYERS: its parameters and FLOPs
    shapes                  shaped, SLACK: its shapes of a given size
    pn_lib/run/plotting.py  MODEL_COLOURS

A profile names the architectures that a notebook compares (pn_lib/run/profiles/defaults.toml, ``mixers``, ``memory``,
``coherence``). ``huggingface_families`` is for weights of other libraries, pn_lib/benchmark/contenders.py for tables of
speed; both can wait.
"""

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


def build_model(config: NeuralConfig) -> LanguageModel:
    """A new model of this config, its weights random."""
    [cls] = [cls for cls in MODELS.values() if cls.Config is type(config)]
    return cls(config)
