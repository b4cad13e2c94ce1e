"""Independent references: the formulas as plain loops over Python floats, nothing shared with the package."""

import math


def gaussian_row(centre, s, N, eps):
    if eps == 0:
        logs = [-(((j - centre) / s) ** 2) / 2 for j in range(N)]
        top = max(logs)
        bells = [math.exp(value - top) for value in logs]
    else:
        bells = [math.exp(-min((((j - centre) / s) ** 2) / 2, 1e6)) for j in range(N)]
    total = math.fsum(bells) + eps
    return [bell / total for bell in bells]


def hat_row(place, N, padding):
    place = fold(place, N, padding)
    row = [0.0] * N
    low = math.floor(place)
    for tap, weight in ((low, 1 - (place - low)), (low + 1, place - low)):
        if 0 <= tap < N:
            row[tap] += weight
    return row


def nearest_row(place, N, padding):
    tap = fold(math.floor(place + 0.5), N, padding)
    return [float(tap == j) for j in range(N)]


def fold(place, N, padding):
    if padding == "border":
        return min(max(place, 0.0), N - 1.0)
    if padding == "reflection":
        if N == 1:
            return 0.0
        while not 0 <= place <= N - 1:
            place = -place if place < 0 else 2 * (N - 1) - place
    return place


def apply(By, image, Bx):
    """(h, H) lists, a nested (H, W) list, (w, W) lists -> nested (h, w) list, every sum exact to rounding."""
    left = [
        [math.fsum(row[y] * image[y][x] for y in range(len(image)) if row[y]) for x in range(len(image[0]))]
        for row in By
    ]
    return [[math.fsum(row[x] * line[x] for x in range(len(line)) if row[x]) for row in Bx] for line in left]
