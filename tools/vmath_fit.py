#!/usr/bin/env python3
"""Prints the polynomial coefficients of src/simd/vmath.h: minimax fits by Remez exchange, in 60 digits (needs mpmath).

Owns nothing else; the header keeps its own copy, and tests/unit/test_vmath.c measures what they are worth.
"""
import sys
from mpmath import mp, mpf, matrix, lu_solve, linspace, cos, pi, log, exp, erf, erfc, tanh, atan, atanh, asin, sin, sqrt
import mpmath

mp.dps = 60


def remez(f, weight, degree, lo, hi, rounds=30):
    """Polynomial p of the degree with the least max |weight (p - f)| on [lo, hi]; returns coefficients and that error."""
    lo, hi, n = mpf(lo), mpf(hi), degree + 1
    nodes = [(lo + hi) / 2 - (hi - lo) / 2 * cos(pi * k / n) for k in range(n + 1)]
    grid = [(lo + hi) / 2 - (hi - lo) / 2 * cos(pi * k / 600) for k in range(601)]
    fg, wg = [f(x) for x in grid], [weight(x) for x in grid]
    best = None
    for _ in range(rounds):
        a, b = matrix(n + 1, n + 1), matrix(n + 1, 1)
        for r, x in enumerate(nodes):
            for c in range(n):
                a[r, c] = x ** c
            a[r, n] = (-1) ** r / weight(x)
            b[r] = f(x)
        s = lu_solve(a, b)
        p = [s[i] for i in range(n)]
        err = [wg[i] * (mpmath.polyval(p[::-1], x) - fg[i]) for i, x in enumerate(grid)]
        worst = max(abs(e) for e in err)
        if best is None or worst < best[0]:
            best = (worst, p)
        runs = []  # one extremum of each run of equal sign
        for i, e in enumerate(err):
            if runs and (e > 0) == (err[runs[-1]] > 0):
                if abs(e) > abs(err[runs[-1]]):
                    runs[-1] = i
            else:
                runs.append(i)
        while len(runs) > n + 1:
            runs.pop(0 if abs(err[runs[0]]) < abs(err[runs[-1]]) else -1)
        if len(runs) < n + 1 or worst <= abs(s[n]) * mpf("1.0001"):
            break
        nodes = [grid[i] for i in runs]
    return best[1], best[0]


def near0(f, series):
    """f, replaced by its first Taylor terms where it would be 0 / 0."""
    return lambda x: f(x) if abs(x) > mpf(10) ** -8 else series(x)


def show(name, bits, p, err):
    form = (lambda c: mpmath.nstr(c, 17)) if bits == 53 else (lambda c: mpmath.nstr(c, 10) + "f")
    print(f"{name}: error 2^{mpmath.nstr(log(err, 2), 4)}\n    " + ", ".join(form(c) for c in p))


def t_of(x):  # [0, infinity) to [0, 1)
    return x / (x + 2)


def x_of(t):
    return 2 * t / (1 - t)


def erfc_w(t):
    return exp(x_of(t)**2) * erfc(x_of(t)) * (1 + mpf("1.5") * x_of(t))


L = log(2) / 2
ln2 = log(2)
TINY = mpf(10) ** -12
FITS = {
    # float
    "exp": (24, near0(lambda r: (exp(r) - 1 - r) / r**2, lambda r: mpf(1) / 2 + r / 6), lambda r: r * r / exp(r) + TINY, 4, -L * 1.001, L * 1.001),
    "exp2": (24, near0(lambda r: (mpf(2)**r - 1) / r, lambda r: ln2 + r * ln2**2 / 2), lambda r: abs(r) / mpf(2)**r + TINY, 5, -0.5005, 0.5005),
    "log": (24, near0(lambda f: (log(1 + f) - f + f * f / 2) / f**3, lambda f: mpf(1) / 3 - f / 4), lambda f: f**2 * near0(lambda x: x / log(1 + x), lambda x: 1)(f) + TINY, 8, sqrt(0.5) - 1, sqrt(2) - 1),
    "tanh": (24, near0(lambda z: (tanh(sqrt(z)) / sqrt(z) - 1) / z, lambda z: -mpf(1) / 3 + 2 * z / 15), lambda z: z + TINY, 4, 0, 0.55**2),
    "erf": (24, near0(lambda z: erf(sqrt(z)) / sqrt(z) - 1, lambda z: 2 / sqrt(pi) * (1 - z / 3) - 1), lambda z: 1, 6, 0, 1.0),
    "erf_big": (24, lambda x: log(erfc(x)), lambda x: erfc(x), 6, 1.0, 4.0),
    "erfc": (24, erfc_w, lambda t: 1 / erfc_w(t), 10, 0, t_of(mpf("10.2"))),
    # double, good for a float result
    "log2_d": (53, near0(lambda z: 2 * atanh(sqrt(z)) / sqrt(z) / ln2, lambda z: 2 / ln2 * (1 + z / 3)), lambda z: 1, 5, 0, (3 - 2 * sqrt(mpf(2)))**2),
    "exp2_d": (53, lambda r: mpf(2)**r, lambda r: 1 / mpf(2)**r, 8, -0.5, 0.5),
    "sin_d": (53, near0(lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z, lambda z: -mpf(1) / 6 + z / 120), lambda z: z + TINY, 3, 0, (pi / 4)**2 * 1.001),
    "cos_d": (53, near0(lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2, lambda z: mpf(1) / 24 - z / 720), lambda z: z**2 + TINY, 3, 0, (pi / 4)**2 * 1.001),
    "atan_d": (53, near0(lambda z: (atan(sqrt(z)) / sqrt(z) - 1) / z, lambda z: -mpf(1) / 3 + z / 5), lambda z: z + TINY, 10, 0, 1),
    "asin_d": (53, near0(lambda z: (asin(sqrt(z)) / sqrt(z) - 1) / z, lambda z: mpf(1) / 6 + 3 * z / 40), lambda z: z + TINY, 7, 0, 0.25),
}

for name, (bits, f, w, deg, lo, hi) in FITS.items():
    if len(sys.argv) < 2 or name in sys.argv[1:]:
        show(name, bits, *remez(f, w, deg, lo, hi))
