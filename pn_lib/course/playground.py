"""The playground of notebook 05: choose a model, type a beginning, watch what it thinks may come next.

Only ipywidgets, which JupyterLab shows; elsewhere nothing is asked and nothing runs.
"""

import html
import os
from collections.abc import Mapping

import ipywidgets as widgets
import torch
from IPython.display import display

from pn_lib.data.tokenizer import Coder
from pn_lib.errors import InputError
from pn_lib.evaluation.completions import prompt_of, written
from pn_lib.models.base import LanguageModel
from pn_lib.models.generation import Sampling, generate, next_token_probabilities

SHOWN = 10  # tokens whose probabilities are drawn
ROW = (
    "<tr><td style='font-family:monospace;white-space:pre;text-align:right'>{token}</td><td>{share:.1%}</td>"
    "<td style='width:22em;text-align:left'><div style='background:#0072B2;height:0.9em;width:{width:.1f}%'></div>"
    "</td></tr>"
)


class Playground:
    """Widgets over a zoo of models. ``box`` holds them all; what is typed or moved redraws the probabilities."""

    def __init__(self, zoo: Mapping[str, tuple[LanguageModel, Coder]], beginning: str = "Once upon a time"):
        """``zoo``: the models to choose from, each with its tokenizer, by the name to show."""
        self.zoo = dict(zoo)
        wide = widgets.Layout(width="42em")
        self.model = widgets.Dropdown(options=list(self.zoo), description="Model")
        self.text = widgets.Textarea(beginning, description="Story", layout=widgets.Layout(width="42em", height="8em"))
        self.temperature = widgets.FloatSlider(0.8, min=0, max=2, step=0.1, description="Temperature", layout=wide)
        self.top_p = widgets.FloatSlider(1.0, min=0.05, max=1, step=0.05, description="Top-p", layout=wide)
        self.seed = widgets.IntText(0, description="Seed", layout=widgets.Layout(width="12em"))
        self.one, self.many = (widgets.Button(description=name) for name in ("Next token", "Write on"))
        self.chances = widgets.HTML()
        self.one.on_click(lambda _: self._write(1))
        self.many.on_click(lambda _: self._write(100))
        for widget in (self.model, self.text, self.temperature, self.top_p):
            widget.observe(lambda _: self._draw(), "value")
        self.box = widgets.VBox(
            [
                self.model,
                self.text,
                self.temperature,
                self.top_p,
                widgets.HBox([self.one, self.many, self.seed]),
                self.chances,
            ]
        )
        self._draw()

    def _sampling(self) -> dict[str, float | None]:
        return {"temperature": self.temperature.value, "top_p": self.top_p.value if self.top_p.value < 1 else None}

    def _prompt(self) -> tuple[LanguageModel, Coder, list[int]]:
        model, coder = self.zoo[self.model.value]
        return model, coder, prompt_of(coder, self.text.value, model.max_length)

    @torch.no_grad()
    def _draw(self) -> None:
        try:
            model, coder, prompt = self._prompt()
            logits, _ = model.prefill(torch.tensor([prompt]))  # (1, V)
            chances = next_token_probabilities(logits, Sampling(**self._sampling()))[0]
        except InputError as error:
            self.chances.value = html.escape(str(error))
            return
        best = chances.topk(min(SHOWN, len(chances)))
        rows = [
            ROW.format(token=html.escape(self._spell(coder, int(token))), share=share, width=100 * share)
            for token, share in zip(best.indices, best.values.tolist(), strict=True)
            if share > 0
        ]
        kept = int((chances > 0).sum())
        self.chances.value = (
            f"<table>{''.join(rows)}</table>{kept:,} of {len(chances):,} tokens are possible here, "
            f"the rest of them {max(0.0, 1 - float(best.values.sum())):.1%}"
        )

    @staticmethod
    def _spell(coder: Coder, token: int) -> str:
        if token == coder.separator_id:
            return "(the end)"
        return written(coder, [coder.separator_id], [token]).replace("\n", "↵").replace(" ", "·")

    def _write(self, tokens: int) -> None:
        try:
            model, coder, prompt = self._prompt()
            [told] = generate(
                model, [prompt], tokens, stop_id=coder.separator_id, seed=self.seed.value, **self._sampling()
            )
        except InputError as error:
            self.chances.value = html.escape(str(error))
            return
        self.seed.value += 1  # another draw next time
        self.text.value += written(coder, prompt, told.ids)


def show_playground(zoo: Mapping[str, tuple[LanguageModel, Coder]], beginning: str) -> None:
    """Show a ``Playground`` where somebody can use it. Under the pipeline and in CI a sentence stands in its place."""
    if os.environ.get("PN_PROGRESS") or os.environ.get("CI"):
        print("Open this notebook in JupyterLab and run it: the playground appears here.")
    else:
        display(Playground(zoo, beginning).box)
