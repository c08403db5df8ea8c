"""Notebook 08: answers that students give, and a piece of the message that each must get."""

import math

import numpy as np

from pn_lib.course.checks import scaling_laws as checks


def size(C, k, c_M, alpha, c_R, beta, *, factors=True):
    a, b = (alpha * c_M, beta * c_R) if factors else (c_M, c_R)
    return (a / b) ** (1 / (alpha + beta)) * (C / k) ** (beta / (alpha + beta))


def tokens(C, k, *law):
    return C / k / size(C, k, *law)


def upside_down(C, k, c_M, alpha, c_R, beta):
    return (beta * c_R / (alpha * c_M)) ** (1 / (alpha + beta)) * (C / k) ** (beta / (alpha + beta))


def left_out(fit, sizes, losses, *, which=max, others=True):
    i = sizes.index(which(sizes))
    rest = [s for s in sizes if s != sizes[i] or not others], [y for k, y in enumerate(losses) if k != i or not others]
    return fit(*rest)(sizes[i]), losses[i]


def relative(fit, sizes, losses):
    predicted, measured = left_out(fit, sizes, losses)
    return predicted / measured - 1


def sorts_first(fit, sizes, losses):
    pairs = sorted(zip(sizes, losses, strict=True))
    return relative(fit, *map(list, zip(*pairs, strict=True)))


def fit(sizes, losses, *, relative=True, floors=True, cut=None):
    """The right answer, unless an option spoils it. ``cut`` makes something of a negative floor."""
    sizes, losses = np.asarray(sizes, float), np.asarray(losses, float)
    if len(set(sizes)) < 3:
        raise ValueError("three numbers need three sizes")
    weights = 1 / losses if relative else np.ones_like(losses)
    best, least = None, math.inf
    for exponent in np.geomspace(0.05, 2.0, 400):
        columns = np.stack([np.ones_like(sizes), (sizes / sizes[0]) ** -exponent], axis=1) * weights[:, None]
        for chosen in ([0, 1], [1]) if floors else ([1],):
            found = np.zeros(2)
            found[chosen] = np.linalg.lstsq(columns[:, chosen], losses * weights, rcond=None)[0]
            error = ((columns @ found - losses * weights) ** 2).sum()
            if error < least and (found[0] >= 0 or cut):
                best, least = (cut(found[0]) if cut else found[0], found[1] * sizes[0] ** exponent, exponent), error
    return tuple(float(number) for number in best)


def few_exponents(sizes, losses):
    floor, coefficient, exponent = fit(sizes, losses)
    return floor, coefficient, round(exponent * 2) / 2


def floor_of_the_largest(sizes, losses):
    return min(losses), *fit(sizes, losses)[1:]


def any_sizes(sizes, losses):
    return fit(sizes, losses) if len(set(sizes)) > 2 else (0.0, 1.0, 1.0)


def price(target, k, c_0, c_M, alpha, c_R, beta, *, floor=True, balanced=True, both=True, sign=1):
    G = (alpha * c_M / (beta * c_R)) ** (1 / (alpha + beta)) if balanced else 1.0
    above = c_M / G**alpha + (c_R * G**beta if both else 0.0)
    gap = target - c_0 if floor else target
    if target <= c_0:
        return math.inf
    return k * (above / gap) ** (sign * (1 / alpha + 1 / beta))


MISTAKES = [
    (checks.allowed_leak, lambda share, n: share ** (1 / n), "the leak is the rest"),
    (checks.allowed_leak, lambda share, n: (1 - share) / n, "does not add up"),
    (checks.allowed_leak, lambda share, n: 1 - share**n, "the power is 1/n"),
    (checks.allowed_leak, lambda share, n: f"{share}", "which is of type str"),
    (checks.best_size, lambda C, k, *law: C / k, "M alone is its root"),
    (checks.best_size, lambda C, k, *law: size(C, 1.0, *law), "divide the budget"),
    (checks.best_size, tokens, "that is the number of tokens R"),
    (checks.best_size, lambda *a: size(*a, factors=False), "come down as factors"),
    (checks.best_size, upside_down, "upside down"),
    (checks.best_size, lambda C, k, *law: math.sqrt(C / k), "your M over the best"),
    (checks.largest_left_out, lambda *a: (lambda p, m: p / m - 1)(*left_out(*a, others=False)), "leave it out"),
    (checks.largest_left_out, lambda fit, s, y: fit(s[:-1], y[:-1])(s[-1]) / y[-1] - 1, "the last one given"),
    (checks.largest_left_out, lambda *a: (lambda p, m: (m - p) / m)(*left_out(*a)), "not the other way around"),
    (checks.largest_left_out, lambda *a: (lambda p, m: p / p * (p - m) / p)(*left_out(*a)), "by what was measured"),
    (checks.largest_left_out, sorts_first, "in the order given"),
    (checks.price_of_a_loss, lambda target, k, *law: price(target, 1.0, *law), "each of them costs"),
    (checks.price_of_a_loss, lambda *a: price(*a, floor=False), "you left out the floor"),
    (checks.price_of_a_loss, lambda *a: price(*a, both=False), "one of the two terms vanish"),
    (checks.price_of_a_loss, lambda *a: price(*a, sign=-1), "upside down: a smaller gap"),
    (checks.price_of_a_loss, lambda *a: price(*a, balanced=False), "do you choose the *best* size"),
    (checks.price_of_a_loss, lambda target, k, c_0, *law: price(max(target, c_0 + 1e-9), k, c_0, *law), "math.inf"),
    (checks.price_of_a_loss, lambda t, k, c_0, *law: k * 1e4 * (0.2 / (t - c_0)) ** 4, "divides by zero"),
    (checks.fit_power_law, lambda s, y: fit(s, y, floors=False), "Without a floor"),
    (checks.fit_power_law, lambda s, y: fit(s, y, cut=float), "No model has a loss below zero"),
    (checks.fit_power_law, lambda s, y: fit(s, y, cut=lambda floor: max(floor, 0.0)), "Solve again with the floor"),
    (checks.fit_power_law, lambda s, y: fit(s, y, relative=False), "that of the smallest absolute errors"),
    (checks.fit_power_law, lambda s, y: tuple(np.array(fit(s, y)) * (1, 1, -1)), "in the denominator"),
    (checks.fit_power_law, lambda s, y: (fit(s, y)[1], fit(s, y)[0], fit(s, y)[2]), "The order is"),
    (checks.fit_power_law, few_exponents, "Do you try enough exponents"),
    (checks.fit_power_law, floor_of_the_largest, "The smallest loss is not the floor"),
    (checks.fit_power_law, lambda s, y: fit(s, y)[:2], "Return three numbers"),
    (checks.fit_power_law, any_sizes, "three unknowns fit two sizes"),
]
