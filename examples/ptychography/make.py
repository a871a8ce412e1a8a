"""Writes scan.npz, the example's input: a ptychographic scan of a resolution star, simulated, stored uncompressed so that it can be mapped.

A defocused probe is moved over an object; each pattern is the far field of what leaves it, drawn from a Poisson distribution.

    wave = objectGuess[j - 24 : j + 24, i - 24 : i + 24] * probe      i = floor(x + 1/2), j = floor(y + 1/2)
    diffraction ~ Poisson(scale * |fftshift(fft2(wave))|^2)          zero frequency at [24, 24]

`xcoords` and `ycoords` are where the probe's centre, pixel [24, 24] of `probeGuess`, lies, in pixels of the object: x along its axis 1, y along its axis 0. By what is left to the whole pixels, x - i and y - j,
the probe is moved by a phase ramp on its Fourier transform. `scale` makes 57,600 photons the mean of all patterns. Probe and object are those the patterns were made with, not reconstructions.

    python3 examples/ptychography/make.py [file]       # NumPy 1.24, seed 20260203: the committed file
"""
import sys
from pathlib import Path

import numpy as np

PATTERNS, SIZE, OBJECT = 512, 48, 176
# Each count times 0.01 makes the mean sum of a pattern (SIZE / 2)^2, which networks for such patterns are trained with.
PHOTONS = 57_600
# Pixels between neighbours of the scan, and of random displacement, as a stage has it.
STEP, JITTER = 5.45, 0.5
SPOKES, RADIUS = 18, 62


def resolution_star():
    """Complex [OBJECT, OBJECT]: spokes that absorb a little and delay more, in a ring; in the corners one to four bars, clockwise from the top left, that say which way is up."""
    fine = 8                                                     # samples per pixel along each axis, averaged: soft edges
    y, x = (np.mgrid[:OBJECT * fine, :OBJECT * fine] + 0.5) / fine - OBJECT / 2
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    solid = (np.sin(SPOKES * angle) > 0) & (radius > 4) & (radius < RADIUS)
    solid |= (radius > RADIUS + 4) & (radius < RADIUS + 8)
    for corner, (side_x, side_y) in enumerate([(-1, -1), (1, -1), (1, 1), (-1, 1)]):
        for bar in range(corner + 1):
            centre = 66 + 5 * (bar - corner / 2)
            solid |= (np.abs(side_x * x - centre) < 1.25) & (np.abs(side_y * y - 66) < 9)
    cover = solid.reshape(OBJECT, fine, OBJECT, fine).mean((1, 3))
    return (1 - 0.25 * cover) * np.exp(1.1j * cover)


def defocused_probe():
    """Complex [SIZE, SIZE]: a round aperture with soft edges, out of focus, so that its spot is about as wide as four steps of the scan."""
    f = np.fft.fftfreq(SIZE)
    radius = np.hypot(f[:, None], f[None, :])
    aperture = np.clip((0.19 - radius) * SIZE + 0.5, 0, 1)
    return np.fft.fftshift(np.fft.ifft2(aperture * np.exp(1j * np.pi * 52 * radius**2)))


def positions(rng):
    """x and y [PATTERNS], of a spiral from the middle outwards whose turns fill a square."""
    k = np.arange(4 * PATTERNS)
    radius, angle = STEP / np.sqrt(np.pi) * np.sqrt(k), k * np.pi * (3 - np.sqrt(5))
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    half = STEP * np.sqrt(PATTERNS) / 2
    inside = np.flatnonzero((np.abs(x) < half) & (np.abs(y) < half))[:PATTERNS]
    jitter = np.clip(rng.normal(0, JITTER, (2, PATTERNS)), -1.5, 1.5)
    return OBJECT / 2 + x[inside] + jitter[0], OBJECT / 2 + y[inside] + jitter[1]


def intensities(probe, whole, xs, ys):
    """float64 [PATTERNS, SIZE, SIZE]: the model above without noise and scale."""
    f = np.fft.fftfreq(SIZE)
    spectrum, half = np.fft.fft2(probe), SIZE // 2
    out = np.empty((len(xs), SIZE, SIZE))
    for k, (x, y) in enumerate(zip(xs, ys)):
        i, j = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        moved = np.fft.ifft2(spectrum * np.exp(-2j * np.pi * (f[:, None] * (y - j) + f[None, :] * (x - i))))
        patch = whole[j - half:j + half, i - half:i + half]
        assert patch.shape == (SIZE, SIZE), "the probe leaves the object"
        out[k] = np.abs(np.fft.fftshift(np.fft.fft2(moved * patch))) ** 2
    return out


def main(path):
    rng = np.random.Generator(np.random.PCG64(20260203))
    # As they are stored, so that the file says exactly what it was made with.
    probe, whole = defocused_probe().astype(np.complex64), resolution_star().astype(np.complex64)
    xs, ys = positions(rng)
    expected = intensities(probe.astype(np.complex128), whole.astype(np.complex128), xs, ys)
    counts = rng.poisson(expected * (PHOTONS / expected.sum((1, 2)).mean()))
    assert counts.max() < 2**16
    np.savez(path, diffraction=counts.astype(np.uint16), xcoords=xs, ycoords=ys, probeGuess=probe, objectGuess=whole)
    print(f"{PATTERNS} patterns of {SIZE} x {SIZE}, {counts.sum() / PATTERNS:.0f} photons each, at most {counts.max()} in a pixel, x and y from {min(xs.min(), ys.min()):.1f} to {max(xs.max(), ys.max()):.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("scan.npz"))
