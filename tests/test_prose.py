"""What `make lint` finds in the course's English, and what it leaves alone."""

import nbformat
import pytest
from prose import faults, is_prose, texts


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("The colour of a curve.", "colour"),
        ("We train the the model.", "repeat"),
        ("A runned model.", "runned"),
        ("Three trainings are few.", "say runs"),
        ("As notebook 3 shows.", "two digits"),
        ("The settings stand in Table 3.", "a table lists"),
    ],
)
def test_a_planted_fault_is_found(text, fault):
    assert any(fault in found for found in faults(text))


def test_names_symbols_code_and_links_are_left_alone():
    text = "Sennrich's `colour` in $colour$ ([notebook 03](colour.ipynb)); softmax, AdamW, int4, and a *Γειά*."
    assert faults(text) == []


def test_every_lesson_its_solutions_and_the_readme_are_read():
    read = {where.split(",")[0] for where, _ in texts()}
    assert {"README.md", "notebooks/11_making_it_small.ipynb", "notebooks/solutions/11_making_it_small.ipynb"} <= read
    assert not any(where.startswith(("report/", "results/")) for where in read)
    assert not is_prose(nbformat.v4.new_markdown_cell("", metadata={"tags": ["navigation"]}))
    assert not is_prose(nbformat.v4.new_code_cell("colour"))
