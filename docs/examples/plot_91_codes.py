"""
Codes of an utterance
=====================

Nine men say two Japanese vowels, each utterance a few dozen frames of twelve numbers. A model with a latent vector
behind each frame finds a few numbers that say where in the sound a frame is and who speaks, without being told either.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from rnnrnade import VRNN
from rnnrnade.datasets import load_japanese_vowels

vowels = load_japanese_vowels()

# %%
# The model
# ---------
# What it says of a frame are a bound and an estimate, not a density, and the KL shows how much of a frame passes
# through the latent vector: near zero, the codes would mean nothing.

model = VRNN(
    n_latent=6, n_units=64, n_recurrent=32, transform="standardize", kl_warmup=200, max_epochs=25, random_state=0
).fit(vowels.train)
estimate, error = model.log_likelihood(vowels.test[:50], n_particles=16)
bound = model.lower_bound(vowels.test[:50])
frames = sum(map(len, vowels.test[:50]))
kl = np.concatenate(model.lower_bound_frames(vowels.test).kl)
print(f"bound {bound.sum() / frames:.2f}, estimate {estimate.sum() / frames:.2f} nats a frame; KL {kl.mean():.2f}")

# %%
# Who speaks
# ----------
# An utterance's mean code, six numbers, against its mean frame, twelve: how often a linear classifier that has seen the
# training utterances names the speaker of a new one. The codes were made to tell frames, not speakers, so the frames
# themselves do better: latent vectors are a summary, and never more than what they sum up.


def means(sequences):
    return np.array([x.mean(axis=0) for x in sequences])


codes = {part: means(model.encode(getattr(vowels, part))) for part in ("train", "test")}
for name, (train, test) in {
    "mean code": (codes["train"], codes["test"]),
    "mean frame": (means(vowels.train), means(vowels.test)),
}.items():
    scale = train.std(axis=0)
    classifier = LogisticRegression(max_iter=1000).fit(train / scale, vowels.train_speaker)
    print(f"{name:10} {classifier.score(test / scale, vowels.test_speaker):.0%} of the speakers named")

# %%
# Pictures
# --------
# Left, the mean codes of the new utterances, on their two main axes. In the middle, one utterance and what its codes
# tell of it. Right, the KL along some utterances, in nats: what each frame adds to what its past had told.

fig, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
plane = PCA(2).fit(codes["train"])
for speaker in range(1, 10):
    of_speaker = plane.transform(codes["test"][vowels.test_speaker == speaker])
    axes[0].plot(*of_speaker.T, "o", markersize=4, label=str(speaker))
axes[0].legend(title="speaker", ncols=2, fontsize="small")
axes[0].set(title="mean codes of new utterances", xlabel="first axis", ylabel="second axis")
x = max(vowels.test, key=len)
axes[1].plot(x[:, :3], color="0.6", linewidth=3)
axes[1].plot(model.reconstruct(x)[:, :3], linewidth=1.2)
axes[1].set(title="an utterance (grey) and its reconstruction", xlabel="frame", ylabel="three of twelve numbers")
for utterance in vowels.test[:40:4]:
    axes[2].plot(model.lower_bound_frames(utterance).kl, linewidth=1)
axes[2].set(title="what passes through the codes", xlabel="frame", ylabel="KL (nats)", ylim=0)
plt.show()
