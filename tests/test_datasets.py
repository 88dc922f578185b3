"""Laws of the data: the bundled is the published, the simulated follows its stated density and physics."""

import importlib.util
import re
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import kstest

from rnnrnade import datasets
from rnnrnade.datasets import _files, _simulated

# ---- Japanese vowels ---------------------------------------------------------------------------------------


def test_vowels_have_the_published_sizes():
    vowels = datasets.load_japanese_vowels()
    for part, n, n_frames, longest in (("train", 270, 4274, 26), ("test", 370, 5687, 29)):
        utterances = vowels[part]
        lengths = [len(utterance) for utterance in utterances]
        assert (len(utterances), sum(lengths), min(lengths), max(lengths)) == (n, n_frames, 7, longest)
        for utterance in utterances:
            assert utterance.shape[1] == 12 and utterance.dtype == np.float64 and utterance.flags.c_contiguous
            assert np.isfinite(utterance).all() and utterance[-1].any()  # no padding
    assert np.bincount(vowels.train_speaker).tolist() == [0] + [30] * 9
    assert np.bincount(vowels.test_speaker).tolist() == [0, 31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert len(vowels.feature_names) == 12


def test_vowels_are_the_values_of_the_source():
    vowels = datasets.load_japanese_vowels()
    assert vowels.train[0][0].tolist() == [  # as printed in the source
        *(1.860936, -0.207383, 0.261557, -0.214562, -0.171253, -0.118167),
        *(-0.277557, 0.025668, 0.126701, -0.306756, -0.213076, 0.088728),
    ]
    assert vowels.test[0][:3, 0].tolist() == [1.635533, 1.547694, 1.602593]
    assert vowels.test[-1][-2:, 11].tolist() == [0.19286, 0.224688]
    frames = np.concatenate(vowels.train + vowels.test)
    assert all(float(f"{value:.6f}") == value for value in frames[:, :3].ravel())


def test_vowels_are_small_attributed_and_fresh_on_each_call():
    folder = files("rnnrnade.datasets")
    assert len((folder / "japanese_vowels.npz").read_bytes()) < 600_000
    first = datasets.load_japanese_vowels()
    for words in ("UCI Machine Learning Repository", "CC BY 4.0", "Kudo", "passing-through regions", "1999"):
        assert words in first.DESCR
    expected = first.train[0].copy()
    first.train[0][:] = 0
    assert np.array_equal(datasets.load_japanese_vowels().train[0], expected)


def test_the_script_that_made_the_vowels_reads_its_format():
    path = Path(__file__).parent.parent / "tools" / "make_japanese_vowels.py"
    if not path.exists():
        pytest.skip("the script is not part of an installed package")
    spec = importlib.util.spec_from_file_location("make_japanese_vowels", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    utterances, speakers = script.parse("# 1:2\n@dimensions 2\n@data\n1.5,2.5,3.5:-1,-2,-3:4\n0.25:0.75:9\n")
    assert [utterance.tolist() for utterance in utterances] == [
        [[1.5, -1], [2.5, -2], [3.5, -3]],
        [[0.25, 0.75]],
    ]
    assert speakers == [4, 9]


# ---- A pump ------------------------------------------------------------------------------------------------


def test_faults_of_the_pump_stay_inside_the_usual_range_and_follow_the_formula():
    pump = datasets.make_pump(10, 300, random_state=0)
    assert len(pump.train) == len(pump.normal) == 10 and not np.array_equal(pump.train, pump.normal)
    assert pump.faulty.shape == (300, 6) == (300, len(pump.feature_names))
    column = {name: pump.faulty[:, d] for d, name in enumerate(pump.feature_names)}
    ratio = column["flow"] / (2 * column["speed"] * column["valve"])
    assert abs(np.median(ratio[pump.leak]) - 0.8) < 0.03
    assert abs(np.median(np.delete(ratio, np.arange(300)[pump.leak])) - 1) < 0.03
    assert len(set(column["pressure"][pump.frozen])) == 1 and len(set(column["pressure"])) == 300 - 39
    low, high = np.min(np.concatenate(pump.train), axis=0), np.max(np.concatenate(pump.train), axis=0)
    inside = (low <= pump.faulty) & (pump.faulty <= high)
    assert inside[pump.leak].all() and inside[pump.frozen].all()
    again = datasets.make_pump(10, 300, random_state=0)
    assert np.array_equal(again.faulty, pump.faulty) and np.array_equal(again.train, pump.train)


# ---- Random states -----------------------------------------------------------------------------------------


def make_balls_small(n_sequences, n_frames, random_state):
    return datasets.make_bouncing_balls(n_sequences, n_frames, resolution=8, random_state=random_state)


@pytest.mark.parametrize("make", [lambda *a: datasets.make_trajectories(*a[:2], random_state=a[2]), make_balls_small])
@pytest.mark.parametrize("new_state", [lambda: 3, lambda: np.random.default_rng(3), lambda: np.random.RandomState(3)])
def test_same_random_state_same_bits(make, new_state):
    state, again = new_state(), new_state()
    X, Y = make(4, 6, state), make(4, 6, again)
    assert isinstance(X, list) and len(X) == 4 and all(len(x) == 6 for x in X)
    assert np.array_equal(X, Y)
    if not isinstance(state, int):  # a generator moves on
        assert not np.array_equal(X, make(4, 6, state))
    assert not np.array_equal(make(4, 6, None), make(4, 6, None))
    assert not np.array_equal(X[0], X[1])


def test_generators_leave_the_global_state_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    datasets.make_trajectories(2, 3, random_state=0)
    make_balls_small(2, 3, None)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


# ---- Trajectories ------------------------------------------------------------------------------------------


def reference_mixture(past):
    """Weights (3,), means (3, 2) and scale of the frame after `past`, from the docstring's formula."""
    if len(past) == 0:
        return np.ones(1), np.zeros((1, 2)), 2.5
    x, x_prev = past[-1], past[-2] if len(past) > 1 else np.zeros(2)
    move = x - x_prev
    u = move / np.sqrt(move @ move) if move.any() else np.array([1.0, 0.0])
    weights, means = [], []
    for p, degrees in ((0.25, -60), (0.5, 0), (0.25, 60)):
        a = np.pi * degrees / 180
        c = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) @ u
        weights.append(p * np.exp(-0.3 * (x @ c)))
        means.append(x + c)
    return np.array(weights) / sum(weights), np.array(means), 0.1


def test_trajectory_log_density_is_the_formula():
    X = datasets.make_trajectories(5, 30, random_state=0)
    X[1] = X[1] + 0.05  # off the modes too
    X[2][7] = X[2][6]  # a point that did not move
    for x, log_density in zip(X, datasets.trajectory_log_density(X), strict=True):
        expected = []
        for t in range(len(x)):
            weights, means, scale = reference_mixture(x[:t])
            d2 = ((x[t] - means) ** 2).sum(axis=1)
            expected.append(np.logaddexp.reduce(np.log(weights / (2 * np.pi * scale**2)) - d2 / (2 * scale**2)))
        np.testing.assert_allclose(log_density, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("past", [[], [[0.3, -0.2]], [[2.0, 1.0], [2.9, 1.4]], [[-6.0, 3.0], [-7.0, 3.2]]])
def test_trajectory_density_integrates_to_one(past):
    centre, half, n = (past[-1], 2.0, 81) if past else ([0, 0], 20.0, 81)
    side = np.linspace(-half, half, n)
    points = np.stack(np.meshgrid(side + centre[0], side + centre[1]), axis=-1).reshape(-1, 1, 2)
    X = np.concatenate([np.broadcast_to(np.reshape(past, (1, -1, 2)), (n * n, len(past), 2)), points], axis=1)
    last = [log_density[-1] for log_density in datasets.trajectory_log_density(X)]
    assert np.exp(last).sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=1e-6)


def test_sampled_trajectories_have_uniform_pit():
    X = datasets.make_trajectories(150, 20, random_state=1)
    pits = []
    for x in X:
        for t in range(len(x)):
            weights, means, scale = reference_mixture(x[:t])
            z = (x[t] - means) / scale
            given = weights * np.exp(-0.5 * z[:, 0] ** 2)  # the modes, once the first coordinate is known
            pits.append([weights @ ndtr(z[:, 0]), given @ ndtr(z[:, 1]) / given.sum()])
    for pit in np.transpose(pits):
        assert kstest(pit, "uniform").pvalue > 0.01


def test_mean_log_density_is_minus_the_entropy():
    X = datasets.make_trajectories(200, 100, random_state=2)
    log_density = np.array(datasets.trajectory_log_density(X))
    # The modes are ten scales apart: the entropy of a frame is that of its weights plus that of one normal.
    log_w = np.array([_simulated._next_frame(x[1:-1], x[:-2])[0] for x in X])
    entropy = -(np.exp(log_w) * log_w).sum(axis=-1) + np.log(2 * np.pi * np.e * 0.1**2)
    surplus = log_density[:, 2:] + entropy
    assert abs(surplus.mean()) < 4 * surplus.std() / np.sqrt(surplus.size)
    assert log_density[:, 2:].mean() == pytest.approx(0.81, abs=0.03)  # as documented


def test_trajectories_stay_near_the_origin():
    X = np.array(datasets.make_trajectories(50, 1000, random_state=3))
    assert np.abs(X).max() < 15
    assert np.abs(X[:, -200:].std(axis=(0, 1)) - 2.6).max() < 0.2


def test_trajectory_log_density_takes_one_array_or_many():
    X = datasets.make_trajectories(3, 5, random_state=0)
    as_list = datasets.trajectory_log_density(X)
    assert np.array_equal(as_list, datasets.trajectory_log_density(np.array(X)))
    alone = datasets.trajectory_log_density(X[1])
    assert alone.shape == (5,) and np.array_equal(alone, as_list[1])
    assert np.array_equal(datasets.trajectory_log_density(X[1][:1]), alone[:1])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([np.zeros((3, 2)), np.zeros((3, 3))], r"X\[1\]"),
        ([np.zeros(4)], r"X\[0\]"),
        (np.zeros((0, 2)), "shape"),
    ],
)
def test_trajectory_log_density_refuses_other_shapes(X, message):
    with pytest.raises(ValueError, match=message):
        datasets.trajectory_log_density(X)


def test_trajectory_log_density_names_the_frame_that_is_not_finite():
    x = np.zeros((4, 2))
    x[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"X\[1\].*frame 2"):
        datasets.trajectory_log_density([np.zeros((4, 2)), x])


# ---- Bouncing balls ----------------------------------------------------------------------------------------


def squared_error(difference):
    return (difference.astype(np.float64) ** 2).sum(axis=-1).mean()


# Published sets of this kind: the squared error of copying, of the mean image, and of linear extrapolation.
@pytest.mark.parametrize(
    ("resolution", "n_frames", "copy", "tolerance", "mean_image", "linear"),
    [(30, 100, 11.86, 0.4, 74.8, 6.77), (15, 128, 3.0, 0.2, 18.7, 1.75)],
)
def test_balls_are_as_hard_to_predict_as_published_ones(resolution, n_frames, copy, tolerance, mean_image, linear):
    X = np.array(datasets.make_bouncing_balls(200, n_frames, resolution=resolution, random_state=0))
    assert X.shape == (200, n_frames, resolution**2)
    assert X.dtype == np.float32 and X.min() >= 0 and X.max() <= 1
    assert squared_error(X[:, 1:] - X[:, :-1]) == pytest.approx(copy, abs=tolerance)
    assert squared_error(X - X.mean(axis=(0, 1), dtype=np.float64)) == pytest.approx(mean_image, rel=0.01)
    extrapolated = np.clip(2 * X[:, 1:-1] - X[:, :-2], 0, 1)
    assert squared_error(X[:, 2:] - extrapolated) == pytest.approx(linear, rel=0.03)
    assert np.mean(X < 1e-3) == pytest.approx(0.78, abs=0.01)


@pytest.mark.parametrize(("n_balls", "radius", "speed"), [(1, 0.4, 0.1), (3, 0.12, 0.029), (8, 0.08, 0.03)])
def test_balls_keep_their_energy_and_stay_in_the_box(n_balls, radius, speed):
    rng = np.random.default_rng(0)
    x = _simulated._place_balls(20, n_balls, radius, rng)
    v = speed * rng.standard_normal(x.shape)
    positions, velocities = _simulated._simulate_balls(x, v, 100, radius)
    energy = (velocities**2).sum(axis=(2, 3))
    np.testing.assert_allclose(energy, np.broadcast_to(energy[:, :1], energy.shape), rtol=1e-12)
    assert positions.min() >= radius and positions.max() <= 1 - radius
    assert _simulated._closest_pair(positions[:, 0]).min() >= 2 * radius
    assert _simulated._closest_pair(positions).min() > 1.6 * radius  # hard, up to what a short step lets in
    speeds = (velocities**2).sum(axis=-1)
    assert np.allclose(speeds[:, 0], speeds[:, -1]) == (n_balls == 1)  # balls that meet exchange energy
    assert (np.sign(velocities[:, 0]) != np.sign(velocities[:, -1])).any()  # walls turn them round


def test_one_ball_moves_on_a_straight_line_folded_at_the_walls():
    x, v = np.array([[[0.3, 0.6]]]), np.array([[[0.037, -0.051]]])
    positions, _ = _simulated._simulate_balls(x, v, 100, 0.1)
    straight = x + v * np.arange(100)[:, np.newaxis, np.newaxis]
    folded = 0.1 + 0.8 - np.abs((straight - 0.1) % 1.6 - 0.8)  # there and back is twice the room of 0.8
    np.testing.assert_allclose(positions[0], folded, atol=1e-12)


def test_balls_that_collide_head_on_swap_velocities():
    x = np.array([[[0.3, 0.5], [0.7, 0.5]]])
    v = np.array([[[0.02, 0.001], [-0.01, -0.001]]])
    _, velocities = _simulated._simulate_balls(x, v, 15, 0.1)
    assert np.array_equal(velocities[0, 0], v[0])
    after = velocities[0, -1]
    assert after[0, 0] < 0 < after[1, 0]
    # The momentum of both, for no wall has been met.
    np.testing.assert_allclose(after.sum(axis=0), v[0].sum(axis=0), atol=1e-15)
    np.testing.assert_allclose(after[:, 0], [-0.01, 0.02], atol=2e-3)


def test_balls_are_drawn_where_they_are():
    X, positions = datasets.make_bouncing_balls(
        3, 20, resolution=40, n_balls=1, radius=6, speed=2, random_state=0, return_positions=True
    )
    assert positions.shape == (3, 20, 1, 2)
    pixels = np.arange(40) + 0.5
    for x, (centre,) in zip(np.concatenate(X), positions.reshape(-1, 1, 2), strict=True):
        image = x.reshape(40, 40).astype(np.float64)
        across, down = image.sum(axis=0) @ pixels, image.sum(axis=1) @ pixels
        clear = np.all((centre > 8) & (centre < 32))  # all of its soft edge is in the picture
        if clear:
            np.testing.assert_allclose([across / image.sum(), down / image.sum()], centre, atol=0.02)
        assert image[int(centre[1]), int(centre[0])] > 0.99
    steps = np.linalg.norm(np.diff(positions[:, :, 0], axis=1), axis=-1)
    assert np.median(steps) == pytest.approx(2)  # speed in pixels a frame, but for the frames of a bounce
    assert steps.max() <= 2 + 1e-9


def test_overlapping_balls_marks_the_frames_where_drawn_balls_meet():
    near, far = [[10.0, 15.0], [18.0, 15.0], [24.0, 4.0]], [[5.0, 15.0], [18.0, 15.0], [24.0, 4.0]]
    assert datasets.overlapping_balls([[near, far]]).tolist() == [[True, False]]
    assert datasets.overlapping_balls([[near, far]], radius=3).tolist() == [[False, False]]
    X, positions = datasets.make_bouncing_balls(20, 100, random_state=0, return_positions=True)
    met = datasets.overlapping_balls(positions)
    assert met.shape == (20, 100) and 0.1 < met.mean() < 0.5
    # No pixel of the other frames gets light from two balls: their light is three times that of one ball.
    total = np.sum(X, axis=-1)[~met & (positions > 5).all(axis=(2, 3)) & (positions < 25).all(axis=(2, 3))]
    np.testing.assert_allclose(total, total.mean(), rtol=2e-2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_sequences": 0}, ValueError, "n_sequences"),
        ({"n_frames": 2.5}, TypeError, "n_frames"),
        ({"n_balls": 0}, ValueError, "n_balls"),
        ({"resolution": True}, TypeError, "resolution"),
        ({"radius": 15}, ValueError, "radius"),
        ({"radius": 0}, ValueError, "radius"),
        ({"speed": np.nan}, ValueError, "speed"),
        ({"speed": -1}, ValueError, "speed"),
        ({"n_balls": 4, "radius": 14}, ValueError, "no room"),
    ],
)
def test_balls_refuse_sizes_out_of_range(options, error, message):
    with pytest.raises(error, match=message):
        datasets.make_bouncing_balls(**{"n_sequences": 1, "n_frames": 2, **options})


def test_balls_may_stand_still():
    X = datasets.make_bouncing_balls(1, 3, speed=0, random_state=0)[0]
    assert np.array_equal(X[0], X[2]) and X[0].max() > 0.9


# ---- Loaders -----------------------------------------------------------------------------------------------

PARTS = ("train", "valid", "test")
LOADERS = {
    "mocap_mit.npz": datasets.load_mocap,
    "red_wine_folds.npz": datasets.load_red_wine,
    "white_wine.npz": datasets.load_white_wine,
    "parkinsons.npz": datasets.load_parkinsons,
    "pianoroll_jsb_chorales.npz": lambda: datasets.load_pianoroll("jsb_chorales"),
    "pianoroll_nottingham.npz": lambda: datasets.load_pianoroll("nottingham"),
    "pianoroll_piano_midi.npz": lambda: datasets.load_pianoroll("piano_midi"),
    "binary_dna.npz": lambda: datasets.load_binary("dna"),
    "binary_mushrooms.npz": lambda: datasets.load_binary("mushrooms"),
    "binary_nips.npz": lambda: datasets.load_binary("nips"),
    "fsdd_8khz.npz": datasets.load_spoken_digits,
}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two empty folders: the one that RNNRNADE_DATA names, and the cache folder."""
    data, cache = tmp_path / "data", tmp_path / "cache" / "rnnrnade"
    data.mkdir()
    cache.mkdir(parents=True)
    monkeypatch.setenv("RNNRNADE_DATA", str(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    return data, cache


def real(file_name):
    """What the loader of a file gives from the real file; skips where that is absent."""
    try:
        return LOADERS[file_name]()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_every_file_has_a_loader():
    assert set(_files._FILES) == set(LOADERS)


@pytest.mark.parametrize("file_name", LOADERS)
def test_absent_file_is_named_with_folders_and_source(folders, file_name):
    with pytest.raises(FileNotFoundError) as caught:
        LOADERS[file_name]()
    for words in (file_name, *map(str, folders), "RNNRNADE_DATA", _files._FILES[file_name][1]):
        assert words in str(caught.value)


def test_sources_name_the_publisher(folders):
    with pytest.raises(FileNotFoundError, match="UCI Machine Learning Repository, Wine Quality"):
        datasets.load_white_wine()


def test_named_folder_comes_before_cache(folders):
    data, cache = folders
    np.savez(cache / "white_wine.npz", X=np.zeros((2, 11)))
    assert datasets.load_white_wine().data.sum() == 0
    np.savez(data / "white_wine.npz", X=np.ones((2, 11)))
    assert datasets.load_white_wine().data.sum() == 22


def test_cache_folder_follows_the_platform(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/someone"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("RNNRNADE_DATA", "")
    monkeypatch.setattr(sys, "platform", "linux")
    assert _files._folders() == [Path("/home/someone/.cache/rnnrnade")]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert _files._folders() == [Path("/home/someone/Library/Caches/rnnrnade")]
    monkeypatch.delenv("RNNRNADE_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert _files._folders() == [Path("/caches/rnnrnade")]


def damage_cut(path):
    np.savez_compressed(path, X=np.arange(22.0).reshape(2, 11))
    path.write_bytes(path.read_bytes()[:-40])


def damage_bits(path):
    np.savez_compressed(path, X=np.arange(220.0).reshape(20, 11))
    content = bytearray(path.read_bytes())
    for i in range(80, 120):
        content[i] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        damage_cut,
        damage_bits,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x93NUMPY" + bytes(100)),
        lambda path: np.savez(path, Y=np.zeros((2, 11))),
        lambda path: np.savez(path, X=np.array([{}], dtype=object)),  # would need pickle
    ],
)
def test_damaged_file_is_refused(folders, damage):
    path = folders[0] / "white_wine.npz"
    damage(path)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        datasets.load_white_wine()


@pytest.mark.parametrize("load", [datasets.load_pianoroll, datasets.load_binary])
def test_unknown_name_is_refused_with_the_known_ones(load):
    with pytest.raises(ValueError, match=r"name must be one of '.*got 'mnist'"):
        load("mnist")


def test_mocap_splits(folders):
    frames = np.arange(1000.0 * 2).reshape(1000, 2)
    np.savez(folders[0] / "mocap_mit.npz", frames=frames, lengths=[100, 200, 700])
    mocap = datasets.load_mocap()
    assert [len(recording) for recording in mocap.frames] == [100, 200, 700]
    for split, train_lengths, test_lengths in (
        ("a", [80, 160, 560], [20, 40, 140]),
        ("b", [100, 200, 374], [326]),
    ):
        train, test = mocap.splits[split]
        assert [len(part) for part in train] == train_lengths and [len(part) for part in test] == test_lengths
        assert np.array_equal(np.sort(np.concatenate(train + test), axis=0), frames)  # every frame once
        for recording, held_out in zip(train[-len(test) :], test, strict=True):
            assert held_out[0, 0] == recording[-1, 0] + 2  # it goes on where training ends


def test_red_wine_folds(folders):
    arrays = {f"{part}_{k}": np.full((2, 11), 10 * k + i) for k in range(1, 11) for i, part in enumerate(PARTS)}
    np.savez(folders[0] / "red_wine_folds.npz", **arrays)
    wine = datasets.load_red_wine()
    assert [[int(part[0, 0]) for part in fold] for fold in wine.folds] == [
        [k, k + 1, k + 2] for k in range(10, 101, 10)
    ]
    assert len(wine.feature_names) == 11


def test_parkinsons_columns(folders):
    np.savez(folders[0] / "parkinsons.npz", X=np.zeros((3, 2)), columns=np.array(["age", "PPE"]))
    assert datasets.load_parkinsons().feature_names == ["age", "PPE"]


def test_pianoroll_and_binary_are_unpacked(folders):
    rng = np.random.default_rng(0)
    rolls = {part: rng.integers(0, 2, (9, 88)) for part in PARTS}
    arrays = {part: np.packbits(roll, axis=1) for part, roll in rolls.items()}
    arrays |= {f"{part}_lengths": np.array([4, 5]) for part in PARTS}
    np.savez(folders[0] / "pianoroll_nottingham.npz", **arrays)
    music = datasets.load_pianoroll("nottingham")
    vectors = {part: rng.integers(0, 2, (5, 13)) for part in PARTS}
    np.savez(
        folders[0] / "binary_dna.npz",
        n_features=13,
        **{p: np.packbits(v, axis=1) for p, v in vectors.items()},
    )
    dna = datasets.load_binary("dna")
    for part in PARTS:
        assert [roll.shape for roll in music[part]] == [(4, 88), (5, 88)]
        assert np.array_equal(np.concatenate(music[part]), rolls[part])
        assert dna[part].shape == (5, 13) and np.array_equal(dna[part], vectors[part])


def test_lengths_that_do_not_add_up_are_refused(folders):
    np.savez(folders[0] / "mocap_mit.npz", frames=np.zeros((10, 2)), lengths=[4, 5])
    with pytest.raises(ValueError, match="add up to 9"):
        datasets.load_mocap()


def test_spoken_digits_are_framed_and_standardised_on_training(folders):
    rng = np.random.default_rng(0)
    lengths = np.array([23, 20, 39])
    samples = rng.integers(-32768, 32767, lengths.sum()).astype(np.int16)
    np.savez(
        folders[0] / "fsdd_8khz.npz",
        samples=samples,
        lengths=lengths,
        digit=np.array([7, 8, 9], np.int8),
        speaker=np.array(["ann", "bob", "cy"]),
        index=np.array([5, 4, 49], np.int16),
    )
    speech = datasets.load_spoken_digits(frame_length=10)
    assert [len(x) for x in speech.train] == [2, 3] and [len(x) for x in speech.test] == [2]
    assert speech.train_digit.tolist() == [7, 9] and speech.test_speaker.tolist() == ["bob"]
    train_samples = np.concatenate([samples[:23], samples[43:]]).astype(np.float64)
    assert (speech.mean, speech.scale) == pytest.approx((train_samples.mean(), train_samples.std()))
    np.testing.assert_allclose(speech.test[0].ravel() * speech.scale + speech.mean, samples[23:43], atol=0.01)
    with pytest.raises(ValueError, match="frame_length"):
        datasets.load_spoken_digits(frame_length=0)


# ---- The real files ----------------------------------------------------------------------------------------


def test_real_mocap_costs_what_is_known_to_copy():
    mocap = real("mocap_mit.npz")
    assert [recording.shape for recording in mocap.frames] == [(438, 49), (260, 49), (3128, 49)]
    for split, copy in (("a", 4.95), ("b", 4.85)):
        _, test = mocap.splits[split]
        errors = np.concatenate([((x[1:] - x[:-1]) ** 2).sum(axis=1) for x in test])
        assert errors.mean() == pytest.approx(copy, abs=0.01)


def test_real_red_wine_has_the_gaussian_score_that_is_known():
    wine = real("red_wine_folds.npz")
    scores = []
    for train, valid, test in wine.folds:
        assert len(train) + len(valid) + len(test) == 1599
        mean, scale = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
        Z, Y = (train - mean) / scale, (test - mean) / scale
        covariance = np.cov(Z.T, bias=True)
        mahalanobis = (Y * np.linalg.solve(covariance, Y.T).T).sum(axis=1).mean()
        scores.append(-0.5 * (mahalanobis + np.linalg.slogdet(2 * np.pi * covariance)[1]))
    assert np.mean(scores) == pytest.approx(-13.212, abs=0.002)


@pytest.mark.parametrize(("file_name", "shape"), [("white_wine.npz", (4898, 11)), ("parkinsons.npz", (5875, 15))])
def test_real_tables(file_name, shape):
    table = real(file_name)
    assert table.data.shape == shape and len(table.feature_names) == shape[1]
    assert np.isfinite(table.data).all()


@pytest.mark.parametrize(
    ("name", "sizes", "nll"),
    [
        ("jsb_chorales", (229, 76, 77), 11.06),
        ("nottingham", (694, 173, 170), 10.25),
        ("piano_midi", (87, 12, 25), 11.05),
    ],
)
def test_real_pianorolls_have_the_bernoulli_score_that_is_known(name, sizes, nll):
    music = real(f"pianoroll_{name}.npz")
    assert tuple(len(music[part]) for part in PARTS) == sizes
    train, test = np.concatenate(music.train), np.concatenate(music.test)
    assert set(np.unique(test)) == {0, 1} and test.shape[1] == 88
    p = (train.sum(axis=0, dtype=np.float64) + 0.5) / (len(train) + 1)
    per_frame = -(test @ np.log(p) + (1 - test) @ np.log1p(-p))
    assert per_frame.mean() == pytest.approx(nll, abs=0.03)


@pytest.mark.parametrize(
    ("name", "sizes", "n_features"),
    [("dna", (1600, 400, 1186), 180), ("mushrooms", (2000, 500, 5624), 112), ("nips", (400, 100, 1240), 500)],
)
def test_real_binary(name, sizes, n_features):
    vectors = real(f"binary_{name}.npz")
    for part, size in zip(PARTS, sizes, strict=True):
        assert vectors[part].shape == (size, n_features) and set(np.unique(vectors[part])) == {0, 1}


def test_real_spoken_digits():
    speech = real("fsdd_8khz.npz")
    assert (len(speech.train), len(speech.test)) == (2700, 300)
    assert np.bincount(speech.test_digit).tolist() == [30] * 10 and len(set(speech.train_speaker)) == 6
    frames = np.concatenate(speech.train)
    assert frames.shape[1] == 200 and abs(frames.mean()) < 0.01
    assert abs(frames.std() - 1) < 0.02  # the quiet ends that fill no frame count in the scale alone
