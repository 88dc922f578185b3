"""The command line: ``rnnrnade demo | fit | score | explain | sample | info``, also as ``python -m rnnrnade``.

Results go to standard output or to ``-o FILE``, in UTF-8; progress, warnings and refusals go to standard error.
Exit codes: 0; 2 when the input cannot be used or the output not be written, with one sentence that says why; 130
after Ctrl-C; 141 when the reader of a pipe has left (``| head``).

Frames are counted from 0, as everywhere in the library. Numbers are written with all digits that tell them
apart; only what `explain` shows on standard output has six. Names and labels of a file reach a terminal with their
control characters escaped, and a file as they are.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import os
import stat
import sys
import warnings
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

import numpy as np

from .checks import BadEntry, printable
from .datafiles import form_of, read_file
from .tables import SequenceBatch, quoted

__all__ = ["main"]

MODELS = ("RNNRNADE", "RNADE", "RNNNADE", "NADE", "RNNGMM", "RNNGauss", "RNNMADE", "MADE", "VRNN", "SRNN", "VAE")
MODELS = {name.lower(): name for name in MODELS}
DATA_HELP = "frames: .csv, .tsv, .parquet or .npz, or - for standard input (see rnnrnade --help)"
# What the options of `read_sequences` are called here.
WORDS = {name: f"--{name}" for name in ("ignore", "delimiter", "decimal", "encoding")}
WORDS |= {"key": "--sequence-column", "time": "--time-column"}
STDIN = "-"


class Refusal(Exception):
    """Input that cannot be used; the message is the sentence the user reads."""


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, default=None
        The arguments, by default those of the process.

    Returns
    -------
    code : int
        0, or 2, 130, 141 as the head of the module says.

    Raises
    ------
    SystemExit
        From argparse: code 0 after ``--help`` and ``--version``, 2 for arguments it does not know.
    """
    try:
        with _standard_output(), warnings.catch_warnings():
            # Static models get one array of all frames; the names of its columns have been compared, by `_matched`.
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            warnings.showwarning = lambda message, *_: _say(f"warning: {message}")
            args = _parser().parse_args(argv)
            args.run(args)
        return 0
    except Refusal as refusal:
        _say(refusal)
        return 2
    except MemoryError as error:
        _say(f"there is not enough memory: {error}")
        return 2
    except KeyboardInterrupt as interrupt:
        _say(str(interrupt) or "interrupted")
        return 130
    except BrokenPipeError:
        return 141


@contextmanager
def _standard_output():
    """UTF-8 where standard output is redirected; nothing of what cannot be written is left to Python's exit."""
    stream = sys.stdout
    if not hasattr(stream, "reconfigure"):  # closed, or replaced by something in memory
        yield
        return
    before = {"encoding": stream.encoding, "errors": stream.errors}
    try:
        stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
        try:
            yield
        finally:
            stream.reconfigure(**before)  # writes what is still to be written
    except OSError as error:  # those of other files are refusals by now
        # Python flushes standard output again at its exit: give it somewhere to go.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise Refusal(_reason(error, "standard output")) from error


def _say(message):
    if sys.stderr is not None:
        with suppress(OSError):  # there is nobody left to say it to
            print("rnnrnade:", printable(" ".join(str(message).split())), file=sys.stderr, flush=True)


# Arguments


def _transform(text):
    """'auto', 'auto:SEASON', 'none', 'standardize', 'whiten', 'var' or 'var:LAGS' as the estimators take it."""
    from rnnrnade import Auto, Linear

    if text in ("auto", "none", "standardize", "whiten", "var"):
        return None if text == "none" else text
    kind, _, number = text.partition(":")
    if kind not in ("auto", "var") or not number.isdecimal():
        names = "auto, auto:SEASON (as auto:24), none, standardize, whiten, var or var:LAGS (as var:2)"
        raise argparse.ArgumentTypeError(f"{text!r} is not {names}")
    return Auto(season=int(number)) if kind == "auto" else Linear(lags=int(number), covariance="full")


def _seed(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _sizes(text):
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        why = f"{text!r} is not a whole number, nor one for each layer, such as 500,500"
        raise argparse.ArgumentTypeError(why) from None
    return sizes[0] if len(sizes) == 1 else sizes


def _switch(text):
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither on nor off")
    return text == "on"


def _context(text):
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _columns(text):
    """NAME=KIND,NAME=KIND as the estimators take it."""
    found = {}
    for part in text.split(","):
        name, _, kind = part.rpartition("=")
        if not name:
            raise argparse.ArgumentTypeError(f"{text!r} is not NAME=given, or several such with commas between them")
        found[name] = kind
    return found


def _delimiter(text):
    return "\t" if text in ("tab", "\\t") else text


# One row for each constructor argument, in the groups of `fit --help`: flag, argument, type, help. Options that are
# not given are not passed on, so the defaults are those of the estimators; an option that a model does not have is
# refused by name.
OF_MODEL = (
    ("--components", "n_components", int, "mixture components of each conditional density"),
    ("--components-of", "components", str, "what a mixture is over: dimension (the default, each its own) or frame"),
    ("--hidden", "n_hidden", _sizes, "hidden units of a frame; made, rnnmade: one number a layer, such as 500,500"),
    ("--direct", "direct", _switch, "made, rnnmade: weights from x past the hidden units, on (the default) or off"),
    ("--degrees", "degrees", str, "made, rnnmade: degrees of the hidden units, even or drawn"),
    ("--masks", "n_masks", int, "made, rnnmade: number of masks; the density is the mean of those under each"),
    ("--recurrent", "n_recurrent", int, "recurrent units in a layer"),
    ("--layers", "n_layers", int, "recurrent layers"),
    ("--cell", "cell", str, "recurrent cell, such as sigmoid, gru or lstm"),
    ("--context", "context", _context, "what the recurrent state drives, such as alpha,mu,sigma,hidden"),
    ("--latent", "n_latent", int, "vrnn, srnn, vae: size of the latent vector of a frame"),
    ("--units", "n_units", int, "vrnn, srnn, vae: units of a dense layer"),
    ("--dense", "n_dense", int, "vrnn, srnn, vae: dense layers of each net"),
    ("--prior", "prior", str, "vrnn: recurrent or standard"),
    ("--encoder", "encoder", str, "srnn: smooth or filter"),
    ("--particles", "n_particles", int, "vrnn, srnn, vae: particles of an estimate of the log-density"),
    ("--activation", "activation", str, "activation of the hidden units, such as sigmoid or relu"),
    ("--conditional", "conditional", str, "family of the components, such as gaussian or laplace"),
    ("--min-scale", "min_scale", float, "smallest scale of a component, in units of the transform's output"),
    ("--transform", "transform", _transform, "auto (the default), auto:SEASON, none, standardize, whiten or var:LAGS"),
    ("--orders", "n_orders", int, "models in the ensemble, each with its own order of the features"),
    ("--columns", "columns", _columns, "columns that are given and not scored, such as hour=given,load=given"),
    ("--missing", "missing", str, "marginalize: the model can score data with gaps; by default these are refused"),
    ("--dtype", "dtype", str, "type of parameters and arithmetic: float32 or float64"),
)
OF_TRAINING = (
    ("--epochs", "max_epochs", int, "maximum number of epochs"),
    ("--max-updates", "max_updates", int, "maximum number of updates"),
    ("--batch-size", "batch_size", int, "sequences in a mini-batch (static models: rows)"),
    ("--window", "window", int, "frames in a training window, for long recordings"),
    ("--optimizer", "optimizer", str, "optimiser, such as adam or sgd"),
    ("--learning-rate", "learning_rate", float, "initial learning rate"),
    ("--schedule", "schedule", str, "how the learning rate falls: constant, linear or cosine"),
    ("--warmup", "warmup", int, "updates over which the learning rate rises"),
    ("--weight-decay", "weight_decay", float, "strength of weight decay"),
    ("--clip-norm", "clip_norm", float, "gradients with a larger norm are scaled down to it"),
    ("--averaging", "averaging", float, "decay of the moving average of the parameters; 0 for none"),
    ("--input-noise", "input_noise", float, "standard deviation of noise added to the recurrence's inputs in training"),
    (
        "--input-dropout",
        "input_dropout",
        float,
        "fraction of what the recurrence reads set to zero in training; made: of x",
    ),
    ("--context-dropout", "context_dropout", float, "fraction of the recurrent state hidden from a frame in training"),
    ("--unit-dropout", "unit_dropout", float, "made, rnnmade: fraction of the hidden units dropped in training"),
    ("--kl-start", "kl_start", float, "vrnn, srnn, vae: initial weight of the divergence from the prior"),
    ("--kl-warmup", "kl_warmup", int, "vrnn, srnn, vae: updates until that weight is 1"),
    ("--free-nats", "free_nats", float, "vrnn, srnn, vae: divergence of each latent number that goes unpenalised"),
    ("--importance", "n_importance", int, "vrnn, srnn, vae: draws of each sequence in training"),
    ("--validation-fraction", "validation_fraction", float, "fraction of the data held out for early stopping"),
    ("--validate-every", "validate_every", int, "updates between validations (default: an epoch, at least 20)"),
    ("--patience", "patience", int, "validations without a better score before training stops"),
    ("--restarts", "n_restarts", int, "number of initialisations, of which the best is kept"),
    ("--seed", "random_state", _seed, "seed for everything random; the same seed gives the same model"),
    ("--jobs", "n_jobs", int, "threads (default: all that the process may use)"),
)
FIT_OPTIONS = OF_MODEL + OF_TRAINING

DESCRIPTION = "Exact probability densities of sequences and vectors: fit models to files, score, explain, sample."
EPILOG = """\
data files, recognised by their ending:
  .csv       a header, then one frame in each row, in order of time (or of --time-column). The column
             'sequence', or the one named by --sequence-column, tells the sequences apart; without such a
             column the file is one sequence. All other columns are features and must hold numbers, unless
             --ignore leaves them out. Commas, semicolons, tabs or bars between the fields and decimal
             commas are detected, or given by --delimiter and --decimal
  .tsv       the same with tabs; .csv.gz and .tsv.gz: compressed
  .parquet   the same
  .npz       arrays 'frames' (M, D) and 'lengths' (N,), or one 2-D array for each sequence, or one 3-D
             array (N, T, D)
  -          one of these from standard input
All but .npz need pyarrow: pip install "rnnrnade[data]"

Results are tables, written to standard output as CSV, or to a file in the format of its ending.

examples:
  rnnrnade fit train.csv -o model.safetensors --epochs 100 --seed 0
  rnnrnade fit train.csv -o model.safetensors --epochs 100 --seed 0 --checkpoint fit.checkpoint --resume
  rnnrnade score model.safetensors test.csv --per frame -o surprise.csv
  rnnrnade explain model.safetensors test.csv --top 20
  rnnrnade sample model.safetensors --sequences 5 --frames 100 -o samples.csv
"""


def _parser():
    parser = argparse.ArgumentParser(
        prog="rnnrnade",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name, run, summary):
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        sub.set_defaults(run=run)
        return sub

    def data_options(sub, key="that of the fit, or sequence", time="that of the fit; '' for none"):
        text = f"column that tells the sequences apart (default: {key})"
        sub.add_argument("--sequence-column", metavar="NAME", help=text)
        text = "column that sorts the frames of each sequence: numbers, or dates such as 2020-12-31 23:59"
        sub.add_argument("--time-column", metavar="NAME", help=f"{text} (default: {time})")
        text = "column to leave out; may be given several times"
        sub.add_argument("--ignore", metavar="NAME", action="append", default=[], help=text)
        text = "what separates the fields of a .csv file: a character, or tab (default: detected)"
        sub.add_argument("--delimiter", type=_delimiter, help=text)
        text = "decimal sign of a .csv file: a point or a comma (default: detected)"
        sub.add_argument("--decimal", metavar="SIGN", choices=(".", ","), help=text)
        text = "encoding of a .csv file, such as cp1252 (default: UTF-8, or UTF-16 with a byte order mark)"
        sub.add_argument("--encoding", help=text)

    def table_options(sub, more=""):
        text = f".csv, .tsv (also .csv.gz, .tsv.gz){more} or .parquet file (default: CSV to standard output)"
        sub.add_argument("-o", "--output", help=text)
        text = "put ' in front of names and labels that a spreadsheet would run as a formula (=, +, -, @)"
        sub.add_argument("--escape-formulas", action="store_true", help=text)

    def constructor_options(group, options):
        for flag, parameter, kind, text in options:
            given = {"default": argparse.SUPPRESS, "metavar": flag[2:].upper()}
            group.add_argument(flag, dest=parameter, type=kind, help=text, **given)

    sub = command("demo", _demo, "train on real speech, compare with simpler models, draw pictures")
    sub.add_argument("folder", nargs="?", default="demo", help="where the pictures go (default: %(default)s)")
    sub.add_argument("--seconds", type=float, default=45, help="time for training (default: %(default)s)")
    sub.add_argument("--seed", type=_seed, default=0, help="seed for everything random (default: %(default)s)")
    sub.add_argument("--quiet", action="store_true", help="show no progress bar")

    sub = command("fit", _fit, "train a model on a file of frames")
    sub.usage = "%(prog)s [options] data"
    sub.add_argument("data", help=DATA_HELP)
    sub.add_argument("-o", "--output", default="model.safetensors", help="model file (default: %(default)s)")
    sub.add_argument("--quiet", action="store_true", help="show no progress bar")
    group = sub.add_argument_group("data")
    group.add_argument("--validation-data", metavar="FILE", help="data to validate on, instead of a part of DATA")
    data_options(group, key="sequence", time="none; the model file remembers both columns")
    group = sub.add_argument_group("model")
    group.add_argument(
        "--model", choices=MODELS, default="rnnrnade",
        help="rnnrnade, rnngmm, rnngauss and rnade for real numbers, rnnnade and nade for zeros and ones, rnnmade and "
        "made for either (--conditional); those without 'rnn' treat every frame by itself; vrnn, srnn and, for frames "
        "alone, vae: latent vectors behind the frames, whose densities are estimates (default: %(default)s)",
    )  # fmt: skip
    constructor_options(group, OF_MODEL)
    constructor_options(sub.add_argument_group("training"), OF_TRAINING)
    group = sub.add_argument_group("checkpoint")
    text = "file for the state of training, written now and then, after Ctrl-C and at the end"
    group.add_argument("--checkpoint", metavar="FILE", help=text)
    text = "minimum number of seconds between two writes of the checkpoint (default: %(default)s)"
    group.add_argument("--every", type=float, default=60.0, metavar="SECONDS", help=text)
    text = "continue from the checkpoint if there is one; the model is the same as without the interruption"
    group.add_argument("--resume", action="store_true", help=text)

    sub = command("score", _score, "write the log-density of sequences or frames in nats, as a table")
    sub.add_argument("model", help="model file, written by rnnrnade fit")
    sub.add_argument("data", help=DATA_HELP)
    table_options(sub)
    per = ("sequence", "frame")
    sub.add_argument("--per", choices=per, default=per[0], help="what each row is for (default: %(default)s)")
    sub.add_argument("--dims", action="store_true", help="with --per frame: also a column for each dimension")
    sub.add_argument("--jobs", type=int, help="threads (default: all that the process may use)")
    data_options(sub)

    sub = command("explain", _explain, "write the most surprising frames and the features to blame, as a table")
    sub.add_argument("model", help="model file, written by rnnrnade fit")
    sub.add_argument("data", help=DATA_HELP)
    table_options(sub)
    sub.add_argument("--top", type=int, default=10, help="number of frames (default: %(default)s)")
    text = "features shown for each frame, the most surprising first (default: %(default)s)"
    sub.add_argument("--features", type=int, default=1, help=text)
    sub.add_argument("--jobs", type=int, help="threads (default: all that the process may use)")
    data_options(sub)

    sub = command("sample", _sample, "draw sequences from a model")
    sub.add_argument("model", help="model file, written by rnnrnade fit")
    table_options(sub, ", .npz")
    sub.add_argument("--sequences", type=int, default=1, help="number of sequences (default: %(default)s)")
    sub.add_argument("--frames", type=int, default=100, help="frames in each sequence (default: %(default)s)")
    sub.add_argument("--seed", type=_seed, help="seed: the same seed gives the same samples")
    sub.add_argument("--given", metavar="DATA", help="continue each sequence of this file, --sequences times")
    text = "of a model with given columns (fit --columns): their values in the frames drawn, a row for each"
    sub.add_argument("--inputs", metavar="DATA", help=text)
    sub.add_argument("--jobs", type=int, help="threads (default: all that the process may use)")
    data_options(sub)

    sub = command("info", _info, "show what is installed and in use, or what a model file holds")
    sub.add_argument("model", nargs="?", help="model file")
    return parser


class _Version(argparse.Action):
    """``--version``, which imports the package only when it is asked for."""

    def __init__(self, option_strings, dest, **options):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **options)

    def __call__(self, parser, *_):
        from rnnrnade import __version__

        print(f"rnnrnade {__version__}")
        parser.exit()


# Commands


def _demo(args):
    from .demo import run_demo

    _check_folder(args.folder)
    try:
        run_demo(args.folder, seconds=args.seconds, random_state=args.seed, progress=not args.quiet)
    except (ImportError, ValueError) as error:
        raise Refusal(error) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Refusal(_reason(error, args.folder)) from error


def _fit(args):
    if form_of(args.output)[0]:
        raise Refusal(f"-o {args.output}: that is the ending of a data file; call the model as model.safetensors.")
    _check_output("-o", args.output, args.data, args.validation_data)
    _check_output("--checkpoint", args.checkpoint, args.data, args.validation_data, args.output)
    if _is_checkpoint(args.output):
        raise Refusal(f"-o {args.output}: that file is the checkpoint of a fit, which the model would replace.")
    if args.resume and not args.checkpoint:
        raise Refusal("--resume needs --checkpoint FILE, the file to continue from.")
    estimator = _estimator(args)
    data = _frames(args, args.data)
    options, held_out = {"checkpoint": args.checkpoint, "every": args.every, "resume": args.resume}, None
    if args.validation_data:
        width, names = data.sequences[0].shape[1], data.sequences.feature_names
        held_out = _matched(_frames(args, args.validation_data), width, names, data.name)
        options["validation_data"] = _input_of(estimator, held_out.sequences)
    if not _is_recurrent(estimator) and getattr(estimator, "columns", None) and data.sequences.feature_names:
        estimator.columns = _numbered(estimator.columns, data)  # a static model does not see names
    # Ctrl-C ends the training, which warns and keeps the best parameters so far: they are saved all the same.
    with _refused(data.name, data, held_out), warnings.catch_warnings(record=True) as caught:
        estimator.fit(_input_of(estimator, data.sequences), **options)
    reports = [str(warning.message) for warning in caught]
    others = [report for report in reports if "training was interrupted" not in report]
    interrupted = len(others) < len(reports)
    members = estimator.members_
    best = [member.n_iter_ if member.best_epoch_ is None else member.best_epoch_ for member in members]
    if [member.n_iter_ for member in members] == [0]:
        if interrupted and args.checkpoint:
            raise KeyboardInterrupt(f"interrupted before the first validation; {args.checkpoint} is there to resume")
        if interrupted:
            raise KeyboardInterrupt("interrupted before the first validation; no model was written")
        raise Refusal(f"{data.name}: {' '.join(others)}")
    for report in others:
        _say(f"warning: {report}")
    if data.sequences.feature_names:  # which a static model has not seen
        estimator.feature_names_in_ = np.array(data.sequences.feature_names, dtype=object)
    columns = {"key": args.sequence_column, "time": args.time_column}
    if columns := {name: column for name, column in columns.items() if column}:
        estimator._file_columns = columns
    with _refused(args.output):
        estimator.save(args.output)
    if interrupted:
        raise KeyboardInterrupt(
            f"interrupted: {args.output} has the best model so far, of epoch {', '.join(map(str, best))}"
        )

    counts = {
        "sequence": len(data.sequences),
        "frame": sum(map(len, data.sequences)),
        "feature": data.sequences[0].shape[1],
    }
    what = ", ".join(f"{n} {unit}{'s' if n != 1 else ''}" for unit, n in counts.items())
    print(f"{args.output}: {type(estimator).__name__} of {what}; {_outcome(estimator)}")


def _score(args):
    _check_table(args, args.model, args.data)
    if args.dims and args.per != "frame":
        raise Refusal("--dims needs --per frame.")
    estimator = _load(args.model, args.jobs)
    if args.dims:
        _needs_dimensions(estimator, "--dims", args.model)
    gaps = getattr(estimator, "missing", None) is not None
    data = _matched(_frames(args, args.data, gaps, estimator), *_features(estimator), args.model)
    with _refused(data.name, data):
        if args.per == "sequence":
            log_densities = _by_sequence(estimator, "score_samples", data.sequences)
        else:
            columns = [x[:, None] for x in _by_sequence(estimator, "score_frames", data.sequences)]
            if args.dims:
                dims = _by_sequence(estimator, "score_dims", data.sequences)
                columns = map(np.hstack, zip(columns, dims, strict=True))

    name = "estimated_log_density" if _has_latents(estimator) else "log_density"
    with _table(args) as write:
        if args.per == "sequence":
            write(["sequence", "n_frames", name, f"{name}_per_frame"])
            for key, x, value in zip(data.sequences.keys, data.sequences, log_densities, strict=True):
                total = float(np.sum(value))  # one number, or those of the frames of a static model
                write([key, len(x), total, total / len(x)])
        else:
            names = [f"log_density_{name}" for name in _feature_names(estimator)] if args.dims else []
            write(["sequence", "frame", *data.time, name, *names])
            for i, values in enumerate(columns):
                for t, row in enumerate(values.tolist()):
                    write([data.sequences.keys[i], t, *data.moment(i, t), *row])


def _explain(args):
    _check_table(args, args.model, args.data)
    if args.top < 1 or args.features < 1:
        raise Refusal("--top and --features must be at least 1.")
    estimator = _load(args.model, args.jobs)
    _needs_dimensions(estimator, "explain", args.model)
    data = _matched(_frames(args, args.data, fitted=estimator), *_features(estimator), args.model)
    numbered = SequenceBatch(data.sequences, feature_names=data.sequences.feature_names)  # not called by their keys
    with _refused(data.name, data):
        table = estimator.explain(_input_of(estimator, numbered), args.top, n_dims=args.features)
    with _table(args) as write:
        names = [name for name in table[0] if name not in ("sequence", "frame", "row")]
        write(["sequence", "frame", *data.time, *names])
        for row in table:
            # A static model takes the frames of all sequences.
            i, t = data.frame(row["row"]) if "row" in row else (row["sequence"], row["frame"])
            values = [row[name] for name in names]
            if args.output is None:  # for a reader
                values = [f"{value:.6g}" if isinstance(value, float) else value for value in values]
            write([data.sequences.keys[i], t, *data.moment(i, t), *values])


def _sample(args):
    _check_table(args, args.model, args.given, more=("npz",))
    if args.sequences < 1 or args.frames < 1:
        raise Refusal("--sequences and --frames must be at least 1.")
    estimator = _load(args.model, args.jobs)
    n, n_frames, n_features = args.sequences, args.frames, estimator.n_features_in_
    names = [str(i) for i in range(n)]
    if args.given:
        if not _is_recurrent(estimator):
            raise Refusal(f"--given needs a model of sequences; {args.model} is one of single frames.")
        data = _matched(_frames(args, args.given, fitted=estimator), *_features(estimator), args.model)
        names = [key if n == 1 else f"{key}-{i}" for key in data.sequences.keys for i in range(n)]
    how = {"random_state": args.seed} | _inputs(args, estimator, n_frames)
    with _refused(data.name, data) if args.given else _refused(args.model):
        if args.given:
            drawn = np.concatenate(estimator.forecast(data.sequences, n_frames, n, **how))
        elif _is_recurrent(estimator):
            drawn = estimator.sample(n, n_frames, **how)
        else:
            how |= {name: np.tile(values, (n, 1)) for name, values in how.items() if name == "inputs"}
            drawn = estimator.sample(n * n_frames, **how).reshape(n, n_frames, n_features)

    if args.output and form_of(args.output)[0] == "npz":
        with _refused(args.output), open(args.output, "wb") as file:
            np.savez(file, samples=drawn)
        return
    with _table(args) as write:  # in the form that fit and score read
        write(["sequence", *_feature_names(estimator)])
        for name, x in zip(names, drawn, strict=True):
            for row in x.tolist():
                write([name, *row])


def _info(args):
    if args.model:
        estimator = _load(args.model)
        n_features, names = _features(estimator)
        parameters = [member.parameters_ for member in estimator.members_]
        rows = {
            "class": type(estimator).__name__,
            "features": n_features if names is None else f"{n_features}: {', '.join(names)}",
            **{f"{WORDS[name][2:].replace('-', ' ')}": column for name, column in _file_columns(estimator).items()},
            "parameters": sum(np.size(value) for p in parameters for value in p.values()),
            **{name: f"{np.shape(value)}" for name, value in parameters[0].items()},
            **estimator.get_params(deep=False),
        }
    else:
        import platform

        import rnnrnade

        config = rnnrnade.config()
        rows = {
            "rnnrnade": config["version"],
            "Python": config["python"],
            "NumPy": config["numpy"],
            "platform": platform.platform(),
            "OpenMP": "yes" if config["openmp"] else "no",
            "threads": config["threads"],
            "kernels": f"{config['kernels']} (available: {', '.join(config['kernels_available'])})",
        }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{printable(name):{width}}  {printable(value)}")


# Estimators


def _estimator(args):
    import rnnrnade

    estimator = getattr(rnnrnade, MODELS[args.model])(verbose=0 if args.quiet or sys.stderr is None else 1)
    known = estimator.get_params()
    for flag, parameter, _, _ in FIT_OPTIONS:
        if hasattr(args, parameter):
            if parameter not in known:
                raise Refusal(f"{flag} is not an option of --model {args.model}.")
            estimator.set_params(**{parameter: getattr(args, parameter)})
    return estimator


def _load(path, jobs=None):
    _check_input(path)
    if form_of(path)[0]:
        raise Refusal(f"{path} is a data file; give a model file, written by rnnrnade fit, instead.")
    from .estimators import load_estimator

    with _refused(path):
        estimator = load_estimator(path)
        return estimator.set_params(n_jobs=jobs) if jobs is not None else estimator


def _needs_dimensions(estimator, what, path):
    if _has_latents(estimator):
        kind = type(estimator).__name__
        raise Refusal(f"{what} needs densities of dimensions: {path} holds a {kind}, which estimates those of frames.")


def _has_latents(estimator):
    return "n_latent" in estimator.get_params()


def _is_recurrent(estimator):
    return "n_recurrent" in estimator.get_params()


def _input_of(estimator, data):
    """The data as `estimator` takes them: the batch of sequences, or all frames for a static model."""
    return data if _is_recurrent(estimator) else np.concatenate(data)


def _by_sequence(estimator, call, data):
    """What a score gives, one item for each sequence."""
    values = getattr(estimator, call)(_input_of(estimator, data))
    if _is_recurrent(estimator):
        return values
    return np.split(values, np.cumsum([len(x) for x in data])[:-1])


def _features(estimator):
    names = getattr(estimator, "feature_names_in_", None)
    return estimator.n_features_in_, None if names is None else list(names)


def _numbered(columns, data):
    """A mapping of columns by their numbers in a file."""
    names = data.sequences.feature_names
    if missing := [name for name in columns if name not in names]:
        raise Refusal(f"{data.name} has no column {quoted(missing)}, which --columns names.")
    return {names.index(name): kind for name, kind in columns.items()}


def _inputs(args, estimator, n_frames):
    """{"inputs": the given columns of the frames to be drawn} where the model has such; else nothing."""
    all_names = _feature_names(estimator)
    given = [all_names[d] for d in estimator._fitted_given(len(all_names))]
    if given and not args.inputs:
        raise Refusal(f"the columns {quoted(given)} of {args.model} are given: --inputs FILE has them, a row a frame.")
    if not args.inputs:
        return {}
    if not given:
        raise Refusal(f"--inputs: {args.model} has no given columns.")
    data = read_data(args.inputs, delimiter=args.delimiter, decimal=args.decimal, encoding=args.encoding)
    names, rows = data.sequences.feature_names or (), np.concatenate(list(data.sequences))
    if missing := [name for name in given if name not in names]:
        raise Refusal(f"{data.name} has no column {quoted(missing)}, which is given in {args.model}.")
    if len(rows) != n_frames:
        raise Refusal(f"{data.name} has {len(rows)} rows; --frames {n_frames} needs as many.")
    return {"inputs": rows[:, [names.index(name) for name in given]]}


def _file_columns(estimator):
    """The columns "key" and "time" of the file that it was fitted to, where the command named them."""
    return getattr(estimator, "_file_columns", {})


def _feature_names(estimator):
    n_features, names = _features(estimator)
    return names or [f"x{d}" for d in range(n_features)]


def _is_checkpoint(path):
    from .checkpoints import CHECKPOINT
    from .io import read_file as read_model_file

    try:
        return read_model_file(path).kind == CHECKPOINT
    except (OSError, ValueError):
        return False


def _outcome(estimator):
    members = estimator.members_
    if len(members) > 1:
        return f"{len(members)} orders: " + "; ".join(map(_outcome, members))
    history, best = estimator.history_, estimator.best_epoch_
    judged = "validation bound" if _has_latents(estimator) else "validation score"
    scores, epochs = history["validation_score"], f"epoch {best} of {estimator.n_iter_}"
    if best is None:
        return f"no validation data, training score {-history['loss'][-1]:+.4f} nats per frame"
    if best == 0:
        gained = f"at most {max(scores):+.4f} nats per frame, no more than one standard error above"
        return f"{judged} {gained} that of the net as it starts, which is kept ({epochs})"
    score = scores[history["update"].index(estimator.best_update_)]
    return f"{judged} {score:+.4f} nats per frame ({epochs})"


# Files


class Data(NamedTuple):
    """The sequences of a data file, and what it is called in sentences."""

    name: str
    sequences: SequenceBatch
    rows: list | None
    times: list | None

    def frame(self, row):
        """(sequence, frame) of a row of all frames end to end."""
        first = np.cumsum([0, *map(len, self.sequences)])
        i = int(np.searchsorted(first, row, side="right")) - 1
        return i, int(row - first[i])

    @property
    def time(self):
        """The columns of times in a table of results: one, or none."""
        return [] if self.times is None else ["time"]

    def moment(self, i, t):
        """Their cells."""
        return [] if self.times is None else [self.times[i][t].as_py()]

    def place(self, row, d):
        """Where entry d of a row of all frames stands in the file."""
        i, t = self.frame(row)
        if self.rows is None:
            return f"sequence {self.sequences.keys[i]!r}, frame {t}, dimension {d}"
        return f"column {self.sequences.feature_names[d]!r}, row {self.rows[i][t] + 1} below the header"


@contextmanager
def _refused(name, data=None, validation_data=None):
    """Turn what the library refuses in the file `name` into one sentence that names it, and the place in the data."""
    try:
        yield
    except OSError as error:
        raise Refusal(_reason(error, name)) from error
    except BadEntry as error:
        data = data if error.argument is None else validation_data  # the only other argument that is a file
        place = data.place(error.row, error.dimension)
        raise Refusal(f"{data.name} {error.says}: {place}. {error.why}") from error
    except (ValueError, TypeError) as error:  # ModelFileError is a ValueError
        from sklearn.utils._param_validation import InvalidParameterError

        from .io import ModelFileError

        named = isinstance(error, InvalidParameterError | ModelFileError) or str(name) in str(error)
        raise Refusal(error if named else f"{name}: {error}") from error


def _reason(error, path):
    return f"{path}: {error.strerror or error}."


def _check_input(path):
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise Refusal(f"{path} is a directory; give a file.")
        if stat.S_ISREG(kind):  # of a pipe no byte comes again
            with open(path, "rb") as file:
                if not file.read(1):
                    raise Refusal(f"{path} is empty.")
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}.") from error


def _check_output(flag, path, *others):
    """Refuse a file that could not be written before the work is done, not after, and one of the `others`."""
    if path is None:
        return
    _refuse_same(f"{flag} {path}", _identity(path), *others)
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise Refusal(f"{path} is a directory; the output must be a file.")
    if not os.path.isdir(folder):
        raise Refusal(f"{path} cannot be written: there is no folder {folder}.")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise Refusal(f"{path} cannot be written: permission denied.")


def _refuse_same(name, identity, *others):
    for other in others:
        if other is not None and identity == (_stream(sys.stdin) if other == STDIN else _identity(other)):
            what = "standard input" if other == STDIN else other
            raise Refusal(f"{name} is the same file as {what}, which this command also uses: give another one.")


def _identity(path):
    """What is equal for two paths of one file, whether by another name, through a link, or not yet there."""
    try:
        return _of_status(os.stat(path))
    except OSError:
        return os.path.realpath(path)


def _stream(stream):
    """The same of standard input or output."""
    try:
        return _of_status(os.fstat(stream.fileno()))
    except (OSError, AttributeError):  # closed, or replaced by something in memory
        return object()


def _of_status(status):
    # Pipes, terminals and the like are nothing that could be lost.
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else object()


def _check_folder(path):
    if os.path.exists(path) and not os.path.isdir(path):
        raise Refusal(f"{path} is a file; give a folder for the pictures.")


def _frames(args, path, gaps=False, fitted=None):
    """The data of a file of the command; of columns that it does not speak of, a model may know."""
    options = {name: getattr(args, name) for name in ("ignore", "delimiter", "decimal", "encoding")}
    told = {"key": args.sequence_column, "time": args.time_column}
    known = {name: column for name, column in _file_columns(fitted).items() if told[name] is None}
    known = {name: column for name, column in known.items() if column not in args.ignore}
    return read_data(path, **{name: column or None for name, column in told.items()}, known=known, gaps=gaps, **options)


def read_data(path, **options):
    """The data of a file, or of standard input, by the options of `read_sequences`; what cannot be read is refused."""
    source, name = path, path
    if path == STDIN:
        source, name = getattr(sys.stdin, "buffer", None), "standard input"
        if source is None:
            raise Refusal("standard input is closed.")
    else:
        _check_input(path)
    try:
        found = read_file(source, name=name, words=WORDS, **options)
        return Data(name, found.sequences, found.rows, found.times)
    except OSError as error:
        raise Refusal(_reason(error, name)) from error
    except (ValueError, ImportError) as error:
        raise Refusal(error) from error


def _matched(data, n_features, names, wanted_by):
    """The data with their features in the order of a model, by their names where both have names."""
    sequences = data.sequences
    if names and sequences.feature_names and names != sequences.feature_names:
        if missing := [name for name in names if name not in sequences.feature_names]:
            raise Refusal(f"{data.name} has no column {quoted(missing)}, which {wanted_by} has.")
        if spare := [name for name in sequences.feature_names if name not in names]:
            what = f"a column {quoted(spare)} that {wanted_by} does not have"
            raise Refusal(f"{data.name} has {what}. --ignore NAME leaves one out.")
        sequences = sequences.select(names)
    if sequences[0].shape[1] != n_features:
        raise Refusal(f"{data.name} has {sequences[0].shape[1]} features; {wanted_by} has {n_features}.")
    return data._replace(sequences=SequenceBatch(sequences, sequences.keys, names))


def _check_table(args, *inputs, more=()):
    """Refuse an output that could not be written as a table (or in one of `more` forms), or would replace an input."""
    if args.output is None:
        return _refuse_same("standard output", _stream(sys.stdout), *inputs)
    _check_output("-o", args.output, *inputs)
    form, forms = form_of(args.output)[0], ("csv", "tsv", "parquet", *more)
    if form not in forms and (os.path.isfile(args.output) or not os.path.exists(args.output)):
        raise Refusal(f"-o {args.output}: the ending says the format, which is one of .{', .'.join(forms)}.")
    if form == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise Refusal(f'-o {args.output}: .parquet needs pyarrow: pip install "rnnrnade[data]"') from error


@contextmanager
def _table(args):
    """A function that writes a row of the table of results, first the names of its columns."""
    form, compressed = form_of(args.output) if args.output else ("csv", False)
    shown = args.output is None and sys.stdout is not None and sys.stdout.isatty()

    def cell(value):
        if not isinstance(value, str):
            return value
        if args.escape_formulas and value.startswith(("=", "+", "-", "@", "\t", "\r")) and not _is_number(value):
            value = f"'{value}"
        return printable(value) if shown else value

    rows = []
    if form == "parquet":
        yield lambda row: rows.append([cell(value) for value in row])
        _write_parquet(args.output, *rows)
        return
    with _text_output(args.output, compressed) as stream:
        writer = csv.writer(stream, delimiter="\t" if form == "tsv" else ",", lineterminator="\n")
        yield lambda row: writer.writerow([cell(value) for value in row])


def _is_number(text):
    try:
        float(text)
        return True
    except ValueError:
        return False


def _write_parquet(path, names, *rows):
    import pyarrow
    from pyarrow import parquet

    columns = [pyarrow.array(column) for column in zip(*rows, strict=True)]
    with _refused(path), open(path, "wb") as file:
        parquet.write_table(pyarrow.Table.from_arrays(columns, names), file)


@contextmanager
def _text_output(path, compressed):
    if path is None:
        if sys.stdout is None:
            raise Refusal("standard output is closed; -o FILE writes into a file.")
        yield sys.stdout
        return
    with _refused(path), open(path, "wb") as file, ExitStack() as stack:
        if compressed:  # without the time, so that equal tables are equal files
            file = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0))
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
        yield stack.enter_context(text)


if __name__ == "__main__":
    sys.exit(main())
