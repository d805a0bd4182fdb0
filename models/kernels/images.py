"""Jet images from the places and transverse momenta of a jet's particles.

L. de Oliveira, M. Kagan, L. Mackey, B. Nachman, A. Schwartzman, JHEP 07 (2016) 069; the order of the steps (centre,
rotate and flip the particles, then make pixels) is that of S. Macaluso, D. Shih, JHEP 10 (2018) 121.
"""

import math

import numpy as np
import numpy.typing as npt

from data.types import FloatArray
from models.kernels.compiled import compiled

SEAM = 1e-9
"""A particle on a seam (in pixels, or rad about the axes) counts as above it, whatever the rounding."""


@compiled
def _centre(points: FloatArray, n: int) -> None:
    """Move the pT-weighted mean of the particles to the origin."""
    total, x, y = 0.0, 0.0, 0.0
    for i in range(n):
        total += points[2, i]
        x += points[2, i] * points[0, i]
        y += points[2, i] * points[1, i]
    for i in range(n):
        points[0, i] -= x / total
        points[1, i] -= y / total


@compiled
def _rotate(points: FloatArray, n: int) -> None:
    """Turn the principal axis (of the pT-weighted second moments about the origin) to the vertical.

    The turn is by an angle in (−π/2, π/2], the one of the two that leaves which end is up.
    """
    xx, xy, yy = 0.0, 0.0, 0.0
    for i in range(n):
        x, y, pt = points[0, i], points[1, i], points[2, i]
        xx += pt * x * x
        xy += pt * x * y
        yy += pt * y * y
    if xy == 0.0 and xx == yy:  # no axis is preferred, as for a single particle
        return
    angle = 0.5 * math.atan2(2.0 * xy, xx - yy)  # of the principal axis, in (−π/2, π/2]
    turn = 0.5 * math.pi - angle
    if turn > 0.5 * math.pi:
        turn -= math.pi
    cosine, sine = math.cos(turn), math.sin(turn)
    for i in range(n):
        x, y = points[0, i], points[1, i]
        points[0, i], points[1, i] = cosine * x - sine * y, sine * x + cosine * y


@compiled
def _flip(points: FloatArray, n: int) -> None:
    """Mirror the axes so that the quadrant of the largest sum of pT has x ≥ 0 and y ≥ 0."""
    quadrants = np.zeros(4)  # (+, +), (−, +), (+, −), (−, −): the first of equals is taken
    for i in range(n):
        quadrants[(1 if points[0, i] < -SEAM else 0) + (2 if points[1, i] < -SEAM else 0)] += points[2, i]
    hardest = 0
    for q in range(1, 4):
        if quadrants[q] > quadrants[hardest]:
            hardest = q
    for i in range(n):
        if hardest % 2 == 1:
            points[0, i] = -points[0, i]
        if hardest >= 2:
            points[1, i] = -points[1, i]


@compiled
def _fill_pixels(points: FloatArray, n: int, width: float, image: FloatArray) -> float:
    """Add the pT of the particles to the square ``image`` (already 0) and return the sum inside the window."""
    pixels, total = image.shape[0], 0.0
    for i in range(n):
        column = math.floor((points[0, i] / width + 0.5) * pixels + SEAM)
        row = math.floor((points[1, i] / width + 0.5) * pixels + SEAM)
        if 0 <= column < pixels and 0 <= row < pixels:
            image[row, column] += points[2, i]
            total += points[2, i]
    return total


@compiled
def draw(
    points: FloatArray,
    n: int,
    width: float,
    steps: tuple[bool, bool, bool, bool],
    image: FloatArray,
    drawn: npt.NDArray[np.float32],
) -> None:
    """pT-weighted image of one jet.

    Parameters
    ----------
    points : array (3, ≥ n)
        Rapidity, azimuth (rad) and pT (GeV) of its particles; changed by the steps.
    n : int
        Number of particles, at least 1.
    width : float
        Side of the window (rad), with the origin in its middle.
    steps : (bool, bool, bool, bool)
        Whether to centre, rotate, flip and normalise.
    image : array (pixels, pixels)
        Scratch.
    drawn : array (pixels, pixels) of float32
        Where the image goes. Rows are azimuth, columns rapidity (before rotation).
    """
    if steps[0]:
        _centre(points, n)
    if steps[1]:
        _rotate(points, n)
    if steps[2]:
        _flip(points, n)
    image[:, :] = 0.0
    total = _fill_pixels(points, n, width, image)
    scale = 1.0 / total if steps[3] and total > 0.0 else 1.0
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            drawn[row, column] = image[row, column] * scale


@compiled
def constituent_images(
    constituents: npt.NDArray[np.float32], pixels: int, width: float
) -> npt.NDArray[np.float32]:
    """Centred, rotated, flipped and normalised image of every jet.

    Parameters
    ----------
    constituents : array (jets, particles, 3) of float32
        px, py, pz (GeV) of massless particles; particles without transverse momentum are left out.
    pixels : int
        Pixels on a side.
    width : float
        Side of the window (rad), with the pT-weighted mean direction in its middle.

    Returns
    -------
    array (jets, pixels, pixels) of float32
        All 0 for jets without particles in the window.
    """
    n_jets, most, _ = constituents.shape
    images = np.zeros((n_jets, pixels, pixels), dtype=np.float32)
    points = np.empty((3, most), dtype=np.float64)
    image = np.empty((pixels, pixels), dtype=np.float64)
    steps = (True, True, True, True)
    for jet in range(n_jets):
        n, sum_x, sum_y = 0, 0.0, 0.0
        for row in range(most):
            px, py = np.float64(constituents[jet, row, 0]), np.float64(constituents[jet, row, 1])
            pt = math.sqrt(px * px + py * py)
            if pt > 0.0:
                points[0, n] = math.asinh(np.float64(constituents[jet, row, 2]) / pt)
                points[1, n] = math.atan2(py, px)
                points[2, n] = pt
                sum_x, sum_y, n = sum_x + px, sum_y + py, n + 1
        if n == 0:
            continue
        axis = math.atan2(sum_y, sum_x)
        for i in range(n):  # centring needs azimuths on one side of ±π
            points[1, i] -= axis
            if points[1, i] > math.pi:
                points[1, i] -= 2.0 * math.pi
            elif points[1, i] < -math.pi:
                points[1, i] += 2.0 * math.pi
        draw(points, n, width, steps, image, images[jet])
    return images
