"""Writes packages/core/test/calibration-fits.json: what scikit-learn and SciPy say of judged logits.

    python -m venv /tmp/v && /tmp/v/bin/pip install scikit-learn==1.9.1
    /tmp/v/bin/python lab/calibration/make_fits.py packages/core/test/calibration-fits.json
"""

import json
import sys

import numpy as np
import scipy
import sklearn
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.calibration import _sigmoid_calibration
from sklearn.metrics import log_loss

BINS = 15


def measure(p, y):
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    error = sum(abs(p[place == b].mean() - y[place == b].mean()) * (place == b).sum() for b in set(place))
    return {"logLoss": float(log_loss(y, p)), "calibrationError": float(error / len(y))}


def targets(y):
    """Platt's."""
    n1, n0 = y.sum(), len(y) - y.sum()
    return np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))


def exact(x, y, intercept):
    t = targets(y)
    scale = np.abs(x).max()

    def f(w):
        eta = w[0] * x / scale + (w[1] if intercept else 0)
        return np.sum(np.logaddexp(0, eta) - t * eta)

    def g(w):
        d = expit(w[0] * x / scale + (w[1] if intercept else 0)) - t
        return np.array([np.sum(d * x / scale), d.sum()] if intercept else [np.sum(d * x / scale)])

    found = minimize(f, np.zeros(2 if intercept else 1), jac=g, method="BFGS", options={"gtol": 1e-11, "maxiter": 10000})
    return float(found.x[0] / scale), float(found.x[1]) if intercept else 0.0


def main(path):
    rng = np.random.default_rng(20)
    cases = []
    for name, n, share, slope, shift, noise, scale in [
        ("well calibrated", 200, 0.5, 1.0, 0.0, 1.0, 1.0),
        ("over-confident by five", 200, 0.4, 5.0, 0.0, 1.0, 5.0),
        ("few relevant", 240, 0.1, 1.0, -4.0, 1.0, 2.0),
        ("cosines", 160, 0.3, 0.1, 0.6, 0.05, 1.0),
        ("separable", 60, 0.5, 1.0, 0.0, 0.0, 4.0),
        ("small numbers", 120, 0.3, 1.0, 0.0, 1.0, 1e-4),
    ]:
        y = (rng.random(n) < share).astype(int)
        x = scale * (slope * 1.5 * (2 * y - 1) + noise * rng.normal(size=n)) + shift
        if noise == 0.0:
            x = scale * (2 * y - 1) * (1 + rng.random(n))
        x = np.array([float(f"{v:.7g}") for v in x])
        a, b = _sigmoid_calibration(x, y)
        platt = exact(x, y, True)
        temperature = exact(x, y, False)
        cases.append(
            {
                "name": name,
                "logits": x.tolist(),
                "relevant": y.tolist(),
                "sklearn": {"slope": float(-a), "intercept": float(-b)},
                "platt": {"slope": platt[0], "intercept": platt[1], **measure(expit(platt[0] * x + platt[1]), y)},
                "temperature": {"slope": temperature[0], **measure(expit(temperature[0] * x), y)},
                "before": measure(expit(x), y),
            }
        )
    about = f"scikit-learn {sklearn.__version__}, SciPy {scipy.__version__}; lab/calibration/make_fits.py"
    with open(path, "w") as out:
        json.dump({"source": about, "cases": cases}, out)
        out.write("\n")


main(sys.argv[1])
