"""The reference lists every public name, the guide's examples run, and (full) so does the gallery."""

import ast
import doctest
import importlib
import inspect
import json
import re
import runpy
from pathlib import Path

import pytest

import rnnrnade

DOCS = Path(__file__).parents[1] / "docs"
ERRATA = DOCS.parent / "tools" / "errata.py"
PUBLIC = r"(?!_|set_\w+_request$)"  # not what scikit-learn generates: 1.6 inherits it from the calls of sequences
# modules whose classes come back from calls
RETURNED = ("calibration", "density", "latent", "latent_density", "missing", "streaming", "surprise")

PAGES = sorted([*DOCS.glob("**/*.md"), *DOCS.parent.glob("*.md")])

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="no docs/ beside the tests")


def listed():
    """The full names in the autosummary tables of the reference."""
    module, inside, names = "", False, []
    for line in (DOCS / "api.rst").read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule::"):
            module = line.split()[-1]
        elif line.strip():
            entry = re.fullmatch(r" {3}([A-Za-z_][\w.]*)", line)
            inside = line.startswith(".. autosummary::") or (inside and line.startswith("   "))
            if inside and entry:
                names.append(f"{module}.{entry[1]}")
    return names


def public():
    modules = ["rnnrnade", *(f"rnnrnade.{name}" for name in (*rnnrnade._MODULES, *RETURNED))]
    for module in modules:
        for name in importlib.import_module(module).__all__:
            yield getattr(importlib.import_module(module), name), f"{module}.{name}"


def resolved(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_the_reference_lists_every_public_name_once():
    names = listed()
    assert len(set(names)) == len(names) > 30
    objects = [resolved(name) for name in names]
    missing = [name for value, name in public() if not any(value is other for other in objects)]
    assert not missing, f"docs/api.rst lacks {', '.join(missing)}"


def test_what_the_reference_lists_is_public_and_documented():
    known = {id(value) for value, _ in public()}
    for name in listed():
        value = resolved(name)
        assert id(value) in known or name.startswith("rnnrnade.estimators."), f"{name} is not in an __all__"
        assert isinstance(value, dict) or value.__doc__, f"{name} has no docstring"


@pytest.mark.parametrize("name", [name for name in rnnrnade.__all__ if isinstance(getattr(rnnrnade, name), type)])
def test_documented_defaults_are_those_of_the_signature(name):
    cls = getattr(rnnrnade, name)
    if issubclass(cls, Exception):
        return
    documented = dict(re.findall(r"^ *(\w+) : .*, default=(.*)$", cls.__doc__, flags=re.MULTILINE))
    parameters = inspect.signature(cls).parameters.values()
    optional = {p.name: p.default for p in parameters if p.default is not p.empty and p.kind is not p.VAR_KEYWORD}
    assert {key: ast.literal_eval(value) for key, value in documented.items()} == optional


@pytest.mark.parametrize("name", ["RNADE", "NADE"])
def test_calls_of_vectors_speak_of_vectors(name):
    """They have no argument `lengths`, and neither their signatures nor their documentation speak of sequences."""
    cls = getattr(rnnrnade, name)
    calls = {key: call for key, call in inspect.getmembers(cls, inspect.isfunction) if re.match(PUBLIC, key)}
    assert {"cdf", "explain", "fit", "impute", "score_dims", "score_samples"} <= set(calls)
    for key, call in calls.items():
        assert "lengths" not in inspect.signature(call).parameters, key
        assert call.__doc__ and not re.search(r"T_i|lengths|list of \(", call.__doc__), f"{name}.{key}: {call.__doc__}"
    assert "lengths" in inspect.signature(rnnrnade.RNNRNADE.cdf).parameters
    assert "T_i" in rnnrnade.RNNRNADE.cdf.__doc__


@pytest.mark.parametrize("page", sorted(DOCS.glob("**/*.md")), ids=lambda path: str(path.relative_to(DOCS)))
def test_examples_of_the_guide(page, tmp_path, monkeypatch):
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r">>> (?:import|from) (?:numpy as np, )?(pandas|hmmlearn)", text):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testfile(
        str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE, encoding="utf-8"
    )
    assert failed == 0
    assert attempted > 0 or ">>> " not in text


OURS = "RNNRNADE(), defaults"
FIGURES = (  # in README: the words, the experiment, its table and its row
    ("{:+.2f} on motion capture", "mocap", "motion capture, split (a)", OURS),
    ("{:+.2f} for the best vector autoregression", "mocap", "motion capture, split (a)", "VAR(3), full noise"),
    ("{:+.2f} on a bicycle ride", "recordings", "cycling", OURS),
    ("{:+.2f} for a VAR with changing variance", "recordings", "cycling", "EWMA-t"),
    ("{:.2f} on red wine", "vectors", "red wine", "RNADE(), defaults"),
    ("(8 orders: {:.2f})", "vectors", "red wine", "RNADE, 8 orders"),
    ("{:.2f} for a neural spline flow", "vectors", "red wine", "neural spline flow (zuko)"),
    ("{:.2f} on white wine", "vectors", "white wine", "RNADE(), defaults"),
    ("{:.2f} for a kernel density estimate", "vectors", "white wine", "kernel density estimate"),
    ("{:.2f} on parkinsons", "vectors", "parkinsons", "RNADE(), defaults"),
    ("{:.2f} for a mixture of Gaussians", "vectors", "parkinsons", "mixture of Gaussians"),
    ("{:+.2f} on Japanese vowels", "speech", "Japanese vowels", OURS),
    ("{:+.2f} for a vector autoregression", "speech", "Japanese vowels", "VAR(p), full noise"),
    ("{:+.2f} for a hidden Markov model", "speech", "Japanese vowels", "HMM, 20 states, full covariance"),
    ("{:.2f} a time step on JSB chorales", "pianoroll", "JSB chorales", "RNNNADE(), defaults"),
    ("chosen settings: {:.2f}", "pianoroll", "JSB chorales", "RNN-NADE, 4 orders"),
    ("{:.2f} on Nottingham", "pianoroll", "Nottingham", "RNNNADE(), defaults"),
    ("{:.2f} on Piano-midi", "pianoroll", "Piano-midi", "RNNNADE(), defaults"),
    ("on Piano-midi ({:.2f})", "pianoroll", "Piano-midi", "RNN-NADE, 4 orders"),
    ("{:.2f} a row on dna", "binary", "dna", "NADE(), defaults"),
    ("{:.2f} for a Chow-Liu tree", "binary", "dna", "Chow-Liu tree"),
)
RESULTS = DOCS.parent / "benchmarks" / "results"


def measured(experiment):
    """The figures of an experiment: {table: {row: {name: mean}}}."""
    found = json.loads((RESULTS / f"published-quality-{experiment}.json").read_text())
    return {
        table["title"]: {
            row["row"]: {name: value["mean"] for name, value in row["figures"].items() if isinstance(value, dict)}
            for row in table["rows"]
        }
        for table in found["tables"]
    }


@pytest.mark.skipif(not RESULTS.exists(), reason="no results beside the tests")
def test_figures_of_readme_are_those_of_the_experiments():
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for words, experiment, table, row in FIGURES:
        figures = measured(experiment)[table][row]
        assert words.format(next(iter(figures.values()))) in text
    recordings = [rows[OURS] for rows in measured("recordings").values() if "in 90 %" in rows.get(OURS, ())]
    inside = [100 * figures["in 90 %"] for figures in recordings]
    assert f"{min(inside):.0f} to {max(inside):.0f} % of the values" in text and f"of {len(inside)} recordings" in text
    assert f"CRPS {measured('recordings')['nox'][OURS]['CRPS']:.2f} on air quality" in text


def test_the_inside_page_names_every_file_of_the_package():
    """And the pieces of the core in the order in which they are included."""
    package = Path(rnnrnade.__file__).parent
    if not (package / "_core.pyx").exists():
        pytest.skip("no sources")
    text = (DOCS / "internals.md").read_text(encoding="utf-8")
    table = text[text.index("| file in `core/` |") : text.index("They are included in")]
    pieces = re.findall(r'^include "core/(\w+)\.pxi"', (package / "_core.pyx").read_text(), flags=re.MULTILINE)
    assert re.findall(r"`(\w+)`", re.sub(r"^(\|[^|]*\|).*", r"\1", table, flags=re.MULTILINE)) == pieces
    for path in package.glob("*.py"):
        assert path.stem.startswith("__") or f"`{path.name}`" in text, path.name


def anchors(page):
    """The anchors of a page's headings, as MyST and GitHub make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS.parent)))
def test_links_lead_somewhere(page):
    """Links and pictures within the repository: the file is there, and the heading in it."""
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        other = page if not path else page.parent / path
        if other.parent.name == "gallery":  # made by `make docs` from the scripts
            other = DOCS / "examples" / other.with_suffix(".py").name.replace("index.py", "GALLERY_HEADER.rst")
        assert other.exists(), f"{page.name} links to {target}, which is not there"
        assert not anchor or anchor in anchors(other), f"{page.name} links to {target}, a heading that is not there"


@pytest.mark.skipif(not ERRATA.exists(), reason="no tools/ beside the tests")
def test_figures_of_the_latent_errata():
    tool = runpy.run_path(str(ERRATA))
    exact, below = tool["gaps"]()
    text = (DOCS / "errata.md").read_text(encoding="utf-8")
    for figure in (exact, *below.values(), *tool["one_latent"]().values()):
        assert re.search(rf"(?<![-\d.]){re.escape(f'{figure:.3f}')}(?!\d)", text), figure


@pytest.mark.full
@pytest.mark.parametrize("script", sorted(DOCS.glob("examples/plot_*.py")), ids=lambda path: path.stem)
def test_gallery(script, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("pandas")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    results = runpy.run_path(str(script))
    import matplotlib.pyplot as plt

    plt.close("all")
    if script.stem == "plot_3_speakers":
        assert results["accuracy"] >= 0.984  # of the 370 test utterances; a five-state hidden Markov model: 0.981
