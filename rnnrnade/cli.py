"""The command line: ``rnnrnade demo | fit | score | explain | sample | info``, also as ``python -m rnnrnade``.

Results go to standard output or to ``-o FILE``; progress, warnings and refusals go to standard error.
Exit codes: 0; 2 when the input cannot be used, with one sentence that says why; 130 after Ctrl-C; 141 when
the reader of a pipe has left (``| head``).

Frames are counted from 0, as everywhere in the library. Numbers are written with all digits that tell them
apart.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .tables import DATA_SUFFIXES, SequenceBatch, quoted, read_sequences

__all__ = ["main"]

MODELS = {"rnnrnade": "RNNRNADE", "rnade": "RNADE", "rnnnade": "RNNNADE", "nade": "NADE"}
DATA_HELP = "frames: .npz, .csv or .parquet (see rnnrnade --help)"


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
    args = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            # Static models get one array of all frames; the names of its columns have been compared, by `_matched`.
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            warnings.showwarning = lambda message, *_: _say(f"warning: {message}")
            args.run(args)
        sys.stdout.flush()
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
        # Python flushes standard output again at its exit: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _say(message):
    print("rnnrnade:", " ".join(str(message).split()), file=sys.stderr, flush=True)


# Arguments


def _transform(text):
    """'none', 'standardize', 'whiten', 'var' or 'var:LAGS' as the estimators take it."""
    from rnnrnade import Linear

    if text in ("none", "standardize", "whiten", "var"):
        return None if text == "none" else text
    kind, _, lags = text.partition(":")
    if kind != "var" or not lags.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not none, standardize, whiten, var or var:LAGS (as var:2)")
    return Linear(lags=int(lags), covariance="full")


def _seed(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _context(text):
    return tuple(part.strip() for part in text.split(",") if part.strip())


# One row for each constructor argument: flag, argument, type, help. Options that are not given are not
# passed on, so the defaults are those of the estimators; an option that a model does not have is refused by name.
FIT_OPTIONS = (
    ("--components", "n_components", int, "mixture components of each conditional"),
    ("--hidden", "n_hidden", int, "hidden units of each frame"),
    ("--recurrent", "n_recurrent", int, "recurrent units"),
    ("--cell", "cell", str, "recurrent cell: sigmoid, tanh, gru or lstm"),
    ("--context", "context", _context, "what the recurrent state drives, as alpha,mu,sigma,hidden"),
    ("--activation", "activation", str, "hidden units: sigmoid or relu"),
    ("--conditional", "conditional", str, "family of the components of each conditional, such as gaussian"),
    ("--min-scale", "min_scale", float, "smallest scale of a component, in units of the transform's output"),
    ("--transform", "transform", _transform, "none, standardize, whiten, or var:LAGS (linear prediction)"),
    ("--dtype", "dtype", str, "float32 or float64"),
    ("--epochs", "max_epochs", int, "largest number of epochs"),
    ("--batch-size", "batch_size", int, "sequences in a mini-batch (static models: frames)"),
    ("--max-updates", "max_updates", int, "largest number of updates"),
    ("--window", "window", int, "frames of a training window, for long recordings"),
    ("--input-noise", "input_noise", float, "standard deviation of noise added to the recurrence's inputs in training"),
    ("--input-dropout", "input_dropout", float, "fraction of the recurrence's inputs set to zero in training"),
    ("--context-dropout", "context_dropout", float, "fraction of the recurrent state hidden from a frame in training"),
    ("--optimizer", "optimizer", str, "adam or sgd"),
    ("--learning-rate", "learning_rate", float, "initial step size"),
    ("--schedule", "schedule", str, "how the step size falls: constant, linear or cosine"),
    ("--warmup", "warmup", int, "updates over which the step size rises"),
    ("--weight-decay", "weight_decay", float, "weight decay"),
    ("--clip-norm", "clip_norm", float, "largest norm of the gradient"),
    ("--averaging", "averaging", float, "decay of the moving average of the parameters; 0: none"),
    ("--validation-fraction", "validation_fraction", float, "fraction of the data held out for early stopping"),
    ("--validate-every", "validate_every", int, "updates between validations (default: an epoch)"),
    ("--patience", "patience", int, "validations without a better score before training stops"),
    ("--restarts", "n_restarts", int, "initialisations; the best is kept"),
    ("--orders", "n_orders", int, "models in the ensemble, each with its own order of the features"),
    ("--seed", "random_state", _seed, "seed of everything random: the same seed gives the same model"),
    ("--jobs", "n_jobs", int, "threads (default: all that the process may use)"),
)

DESCRIPTION = "Exact densities of frames and sequences: RNADE and RNN-RNADE."
EPILOG = """\
data files, told apart by their ending:
  .npz       arrays 'frames' (M, D) and 'lengths' (N,); or one 2-D array for each sequence; or one 3-D
             array (N, T, D)
  .csv       a header, then one frame in each row, in the order of time; the column 'sequence' (or another,
             by --sequence-column) tells the sequences apart, all other columns are features and must be
             numbers; without such a column the file is one sequence
  .parquet   the same; needs pyarrow or pandas

example:
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

    def data_options(sub):
        text = "column that tells the sequences apart (default: sequence)"
        sub.add_argument("--sequence-column", metavar="NAME", help=text)

    sub = command("demo", _demo, "train on real speech, compare with simpler models, draw pictures")
    sub.add_argument("folder", nargs="?", default="demo", help="where the pictures go (default: %(default)s)")
    sub.add_argument("--seconds", type=float, default=45, help="time for training (default: %(default)s)")
    sub.add_argument("--seed", type=_seed, default=0, help="seed of everything random (default: %(default)s)")
    sub.add_argument("--quiet", action="store_true", help="no progress bar")

    sub = command("fit", _fit, "train a model on a file of frames")
    sub.add_argument("data", help=DATA_HELP)
    sub.add_argument("-o", "--output", default="model.safetensors", help="model file (default: %(default)s)")
    sub.add_argument(
        "--model", choices=MODELS, default="rnnrnade",
        help="rnnrnade and rnade for real numbers, rnnnade and nade for zeros and ones; those without 'rnn' "
        "treat every frame by itself (default: %(default)s)",
    )  # fmt: skip
    sub.add_argument("--validation-data", metavar="FILE", help="data to validate on, instead of a part of DATA")
    data_options(sub)
    for flag, parameter, kind, text in FIT_OPTIONS:
        given = {"default": argparse.SUPPRESS, "metavar": flag[2:].upper()}
        sub.add_argument(flag, dest=parameter, type=kind, help=text, **given)
    text = "file for the state of training, written now and then, after Ctrl-C and at the end"
    sub.add_argument("--checkpoint", metavar="FILE", help=text)
    text = "least number of seconds between two writes of the checkpoint (default: %(default)s)"
    sub.add_argument("--every", type=float, default=60.0, metavar="SECONDS", help=text)
    text = "continue from the checkpoint if it exists; the model is the same as without the interruption"
    sub.add_argument("--resume", action="store_true", help=text)
    sub.add_argument("--quiet", action="store_true", help="no progress bar")

    sub = command("score", _score, "write the log-density of sequences or frames in nats, as CSV")
    sub.add_argument("model", help="model file, written by rnnrnade fit")
    sub.add_argument("data", help=DATA_HELP)
    sub.add_argument("-o", "--output", help="CSV file (default: standard output)")
    per = ("sequence", "frame")
    sub.add_argument("--per", choices=per, default=per[0], help="one row for each (default: %(default)s)")
    sub.add_argument("--dims", action="store_true", help="with --per frame: a column for each dimension")
    sub.add_argument("--jobs", type=int, help="threads (default: all that the process may use)")
    data_options(sub)

    sub = command("explain", _explain, "write the most surprising frames and the features to blame, as CSV")
    sub.add_argument("model", help="model file, written by rnnrnade fit")
    sub.add_argument("data", help=DATA_HELP)
    sub.add_argument("-o", "--output", help="CSV file (default: standard output)")
    sub.add_argument("--top", type=int, default=10, help="number of frames (default: %(default)s)")
    text = "features of each frame, the most surprising first (default: %(default)s)"
    sub.add_argument("--features", type=int, default=1, help=text)
    sub.add_argument("--jobs", type=int, help="threads (default: all that the process may use)")
    data_options(sub)

    sub = command("sample", _sample, "draw sequences from a model")
    sub.add_argument("model", help="model file, written by rnnrnade fit")
    sub.add_argument("-o", "--output", help=".csv or .npz file (default: CSV to standard output)")
    sub.add_argument("--sequences", type=int, default=1, help="number of sequences (default: %(default)s)")
    sub.add_argument("--frames", type=int, default=100, help="frames of each (default: %(default)s)")
    sub.add_argument("--seed", type=_seed, help="seed: the same seed gives the same samples")
    sub.add_argument("--given", metavar="DATA", help="continue each sequence of this file, --sequences times")
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
    _check_output(args.output)
    if Path(args.output).suffix.lower() in DATA_SUFFIXES:
        raise Refusal(f"-o {args.output}: that is the ending of a data file; call the model as model.safetensors.")
    _check_output(args.checkpoint)
    if args.resume and not args.checkpoint:
        raise Refusal("--resume needs --checkpoint FILE, the file to go on from.")
    estimator = _estimator(args)
    data = read_data(args.data, args.sequence_column)
    options = {"checkpoint": args.checkpoint, "every": args.every, "resume": args.resume}
    if args.validation_data:
        held_out = read_data(args.validation_data, args.sequence_column)
        held_out = _matched(held_out, args.validation_data, data[0].shape[1], data.feature_names, args.data)
        options["validation_data"] = _input_of(estimator, held_out)
    # Ctrl-C ends the training, which warns and keeps the best parameters so far: they are saved all the same.
    with _refused(args.data), warnings.catch_warnings(record=True) as caught:
        estimator.fit(_input_of(estimator, data), **options)
    reports = [str(warning.message) for warning in caught]
    others = [report for report in reports if "training was interrupted" not in report]
    interrupted = len(others) < len(reports)
    best = [member.best_epoch_ for member in estimator.members_]
    if best == [0]:  # stopped within the first epoch
        if interrupted and args.checkpoint:
            raise KeyboardInterrupt(f"interrupted in the first epoch; {args.checkpoint} is there to resume")
        if interrupted:
            raise KeyboardInterrupt("interrupted in the first epoch; no model was written")
        raise Refusal(f"{args.data}: {' '.join(others)}")
    for report in others:
        _say(f"warning: {report}")
    if data.feature_names:  # which a static model has not seen
        estimator.feature_names_in_ = np.array(data.feature_names, dtype=object)
    with _refused(args.output):
        estimator.save(args.output)
    if interrupted:
        raise KeyboardInterrupt(
            f"interrupted: {args.output} has the best model so far, of epoch {', '.join(map(str, best))}"
        )

    counts = {
        "sequence": len(data),
        "frame": sum(map(len, data)),
        "feature": data[0].shape[1],
    }
    what = ", ".join(f"{n} {unit}{'s' if n != 1 else ''}" for unit, n in counts.items())
    print(f"{args.output}: {type(estimator).__name__} of {what}; {_outcome(estimator)}")


def _score(args):
    _check_output(args.output)
    if args.dims and args.per != "frame":
        raise Refusal("--dims needs --per frame.")
    estimator = _load(args.model, args.jobs)
    data = _matched(read_data(args.data, args.sequence_column), args.data, *_features(estimator), args.model)
    with _refused(args.data):
        if args.per == "sequence":
            log_densities = _by_sequence(estimator, "score_samples", data)
        else:
            columns = [x[:, None] for x in _by_sequence(estimator, "score_frames", data)]
            if args.dims:
                columns = map(np.hstack, zip(columns, _by_sequence(estimator, "score_dims", data), strict=True))

    with _output(args.output) as stream:
        write = csv.writer(stream, lineterminator="\n").writerow
        if args.per == "sequence":
            write(["sequence", "n_frames", "log_density", "log_density_per_frame"])
            for key, x, value in zip(data.keys, data, log_densities, strict=True):
                total = float(np.sum(value))  # one number, or those of the frames of a static model
                write([key, len(x), total, total / len(x)])
        else:
            names = [f"log_density_{name}" for name in _feature_names(estimator)] if args.dims else []
            write(["sequence", "frame", "log_density", *names])
            for key, values in zip(data.keys, columns, strict=True):
                for t, row in enumerate(values.tolist()):
                    write([key, t, *row])


def _explain(args):
    _check_output(args.output)
    if args.top < 1 or args.features < 1:
        raise Refusal("--top and --features must be at least 1.")
    estimator = _load(args.model, args.jobs)
    data = _matched(read_data(args.data, args.sequence_column), args.data, *_features(estimator), args.model)
    with _refused(args.data):
        table = estimator.explain(_input_of(estimator, data), args.top, n_dims=args.features)
    first = np.cumsum([0, *map(len, data)])
    with _output(args.output) as stream:
        write = csv.writer(stream, lineterminator="\n").writerow
        write(["sequence", "frame", *[name for name in table[0] if name not in ("sequence", "frame", "row")]])
        for row in table:
            if "row" in row:  # a static model takes the frames of all sequences
                i = int(np.searchsorted(first, row["row"], side="right")) - 1
                row = {"sequence": data.keys[i], "frame": row.pop("row") - int(first[i])} | row
            write(row.values())


def _sample(args):
    _check_output(args.output)
    suffix = Path(args.output or "out.csv").suffix.lower()
    if suffix not in (".csv", ".npz"):
        raise Refusal(f"-o {args.output}: samples are written as .csv or .npz.")
    if args.sequences < 1 or args.frames < 1:
        raise Refusal("--sequences and --frames must be at least 1.")
    estimator = _load(args.model, args.jobs)
    n, n_frames, n_features = args.sequences, args.frames, estimator.n_features_in_
    names = [str(i) for i in range(n)]
    if args.given:
        if not _is_recurrent(estimator):
            raise Refusal(f"--given needs a model of sequences; {args.model} is one of single frames.")
        data = _matched(read_data(args.given, args.sequence_column), args.given, *_features(estimator), args.model)
        names = [key if n == 1 else f"{key}-{i}" for key in data.keys for i in range(n)]
    with _refused(args.given or args.model):
        if args.given:
            drawn = np.concatenate(estimator.forecast(data, n_frames, n, random_state=args.seed))
        elif _is_recurrent(estimator):
            drawn = estimator.sample(n, n_frames, random_state=args.seed)
        else:
            drawn = estimator.sample(n * n_frames, random_state=args.seed).reshape(n, n_frames, n_features)

    if suffix == ".npz":
        with _refused(args.output):
            np.savez(args.output, samples=drawn)
        return
    with _output(args.output) as stream:  # in the form that fit and score read
        write = csv.writer(stream, lineterminator="\n").writerow
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
        print(f"{name:{width}}  {value}")


# Estimators


def _estimator(args):
    import rnnrnade

    estimator = getattr(rnnrnade, MODELS[args.model])(verbose=0 if args.quiet else 1)
    known = estimator.get_params()
    for flag, parameter, _, _ in FIT_OPTIONS:
        if hasattr(args, parameter):
            if parameter not in known:
                raise Refusal(f"{flag} is no option of --model {args.model}.")
            estimator.set_params(**{parameter: getattr(args, parameter)})
    return estimator


def _load(path, jobs=None):
    _check_input(path)
    if Path(path).suffix.lower() in DATA_SUFFIXES:
        raise Refusal(f"{path} is a data file; a model file, written by rnnrnade fit, is wanted in its place.")
    from .estimators import load_estimator

    with _refused(path):
        estimator = load_estimator(path)
        return estimator.set_params(n_jobs=jobs) if jobs is not None else estimator


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


def _feature_names(estimator):
    n_features, names = _features(estimator)
    return names or [f"x{d}" for d in range(n_features)]


def _outcome(estimator):
    members = estimator.members_
    if len(members) > 1:
        return f"{len(members)} orders: " + "; ".join(map(_outcome, members))
    history, best = estimator.history_, estimator.best_epoch_
    at = list(history["update"]).index(estimator.best_update_)
    score, epochs = history["validation_score"][at], f"epoch {best} of {estimator.n_iter_}"
    if np.isfinite(score):
        return f"validation score {score:+.4f} nats per frame ({epochs})"
    return f"no validation data, training score {-history['loss'][at]:+.4f} nats per frame ({epochs})"


# Files


@contextmanager
def _refused(path):
    """Turn what the library refuses in `path` into one sentence that names it."""
    try:
        yield
    except OSError as error:
        raise Refusal(_reason(error, path)) from error
    except (ValueError, TypeError) as error:  # ModelFileError is a ValueError
        from sklearn.utils._param_validation import InvalidParameterError

        from .io import ModelFileError

        named = isinstance(error, InvalidParameterError | ModelFileError) or str(path) in str(error)
        raise Refusal(error if named else f"{path}: {error}") from error


def _reason(error, path):
    return f"{path}: {error.strerror or error}."


def _check_input(path):
    if os.path.isdir(path):
        raise Refusal(f"{path} is a directory; a file is wanted.")
    try:
        with open(path, "rb") as file:
            if not file.read(1):
                raise Refusal(f"{path} is empty.")
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}.") from error


def _check_output(path):
    """Refuse a file that could not be written before the work is done, not after."""
    if path is None:
        return
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise Refusal(f"{path} is a directory; the output must be a file.")
    if not os.path.isdir(folder):
        raise Refusal(f"{path} cannot be written: there is no folder {folder}.")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise Refusal(f"{path} cannot be written: permission denied.")


def _check_folder(path):
    if os.path.exists(path) and not os.path.isdir(path):
        raise Refusal(f"{path} is a file; a folder for the pictures is wanted.")


def read_data(path, sequence_column=None):
    """The sequences of a data file; what cannot be read is refused."""
    _check_input(path)
    if sequence_column is not None and Path(path).suffix.lower() == ".npz":
        raise Refusal(f"--sequence-column is for .csv and .parquet, not for {path}.")
    try:
        return read_sequences(path, key=sequence_column)
    except (ValueError, ImportError) as error:
        raise Refusal(error) from error


def _matched(data, path, n_features, names, wanted_by):
    """The sequences with their features in the order of a model, by their names where both have names."""
    if names and data.feature_names and names != data.feature_names:
        if missing := [name for name in names if name not in data.feature_names]:
            raise Refusal(f"{path} has no column {quoted(missing)}, as {wanted_by} has.")
        if spare := [name for name in data.feature_names if name not in names]:
            raise Refusal(f"{path} has a column {quoted(spare)} that {wanted_by} has not.")
        data = data.select(names)
    if data[0].shape[1] != n_features:
        raise Refusal(f"{path} has {data[0].shape[1]} features; {wanted_by} has {n_features}.")
    return SequenceBatch(data, data.keys, names)


@contextmanager
def _output(path):
    if path is None:
        yield sys.stdout
        return
    with _refused(path), open(path, "w", newline="", encoding="utf-8") as stream:
        yield stream


if __name__ == "__main__":
    sys.exit(main())
