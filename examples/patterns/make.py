"""Writes patterns.npz, the example's input: simulated diffraction patterns with labels, stored uncompressed so that they can be mapped.

A probe is scanned over two kinds of random objects (smooth and grainy); each pattern is the squared modulus of the exit wave's Fourier transform,
scaled to a photon count and drawn from a Poisson distribution.

    python3 examples/patterns/make.py        # NumPy 1.24, seed 20260101: the committed file
"""
from pathlib import Path

import numpy as np

PATTERNS, SIZE, PHOTONS = 200, 64, 2.0e5
rng = np.random.Generator(np.random.PCG64(20260101))
y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
probe = np.exp(-(x**2 + y**2) / (2 * 9.0**2)) * np.exp(1j * 0.01 * (x**2 + y**2))
fy, fx = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), indexing="ij")
diffraction = np.empty((PATTERNS, SIZE, SIZE), np.uint16)
label = rng.integers(0, 2, PATTERNS).astype(np.int32)
for i in range(PATTERNS):
    cutoff = 0.06 if label[i] == 0 else 0.2
    noise = np.fft.fft2(rng.standard_normal((SIZE, SIZE))) * np.exp(-(fx**2 + fy**2) / (2 * cutoff**2))
    phase = np.fft.ifft2(noise).real
    wave = probe * np.exp(1j * phase / phase.std())
    intensity = np.abs(np.fft.fftshift(np.fft.fft2(wave))) ** 2
    diffraction[i] = np.minimum(rng.poisson(intensity / intensity.sum() * PHOTONS), 65535)
np.savez(Path(__file__).with_name("patterns.npz"), diffraction=diffraction, label=label, probe=probe.astype(np.complex64))
