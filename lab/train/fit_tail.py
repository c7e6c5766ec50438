"""The polynomial of GELU's tail in packages/backend-mlx/native/shim/kernels.cpp, and of its exponential.

    python lab/train/fit_tail.py

Phi(-x) = exp(-x*x/2) * p(q) with q = 1 / (1 + 0.4 x / sqrt 2): p is fitted to erfcx / 2 where the density has not made
it nothing, by least squares whose weights follow the error (Lawson), which ends near the smallest largest error. Prints
the coefficients as float32, from the first power of q on, and the largest error of Phi. Needs scipy.
"""

import numpy as np
from scipy.special import erfcx


def fitted(columns, wanted, weights, rounds):
    share = np.ones(len(wanted)) / len(wanted)
    best = (np.inf, None)
    for _ in range(rounds):
        root = np.sqrt(share) * weights
        found, *_ = np.linalg.lstsq(columns * root[:, None], wanted * root, rcond=None)
        error = np.abs(columns @ found - wanted) * weights
        if error.max() < best[0]:
            best = (error.max(), found)
        share = share * (error + 1e-30)
        share /= share.sum()
    return best[1].astype(np.float32)


def main():
    t = np.linspace(0, 7, 700)
    q = 1 / (1 + 0.4 * t)
    columns = np.stack([q ** (power + 1) for power in range(8)], 1)
    tail = erfcx(t) / 2
    found = fitted(columns, tail, np.exp(-t * t * 0.6) + 1e-5, 150)
    error = np.abs(columns @ found.astype(float) - tail) * np.exp(-t * t)
    print("tail:", [float(one) for one in found], f"error of Phi {error.max():.1e}")
    half = np.log(2) / 2 * 1.01
    r = np.linspace(-half, half, 2000)
    r = r[np.abs(r) > 1e-4]
    rest = (np.expm1(r) - r) / (r * r)
    columns = np.stack([r**power for power in range(5)], 1)
    found = fitted(columns, rest, r * r / np.exp(r), 300)
    error = np.abs(columns @ found.astype(float) - rest) * r * r / np.exp(r)
    print("exponential, from r squared on:", [float(one) for one in found], f"error {error.max():.1e}")


if __name__ == "__main__":
    main()
