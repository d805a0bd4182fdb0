"""Jet images on flat buffers.

L. de Oliveira, M. Kagan, L. Mackey, B. Nachman, A. Schwartzman, JHEP 07 (2016) 069; the order of the steps (centre,
rotate and flip the particles, then make pixels) is that of S. Macaluso, D. Shih, JHEP 10 (2018) 121.
"""

import math

import numpy as np
import numpy.typing as npt

from data.types import FloatArray, IntArray
from processors.kernels.clustering import (
    PHI,
    PT2,
    PX,
    PY,
    PZ,
    RAPIDITY,
    E,
    complete_node,
    largest_jet,
    load_jet,
    new_nodes,
)
from processors.kernels.compiled import compiled
from processors.kernels.taus import wrapped

SEAM = 1e-9
"""A particle on a seam (in pixels, or rad about the axes) counts as above it, whatever the rounding."""


@compiled
def offsets_from_axis(nodes: FloatArray, n: int, points: FloatArray) -> None:
    """Fill ``points`` (3, ≥ n) with Δy, Δφ (rad) from the jet's axis and pT (GeV); column n of ``nodes`` is used."""
    for q in (PX, PY, PZ, E):
        nodes[q, n] = 0.0
        for i in range(n):
            nodes[q, n] += nodes[q, i]
    complete_node(nodes, n)
    for i in range(n):
        points[0, i] = nodes[RAPIDITY, i] - nodes[RAPIDITY, n]
        points[1, i] = wrapped(nodes[PHI, i] - nodes[PHI, n])
        points[2, i] = math.sqrt(nodes[PT2, i])


@compiled
def centre(points: FloatArray, n: int) -> None:
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
def rotate(points: FloatArray, n: int) -> None:
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
def flip(points: FloatArray, n: int) -> None:
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
def fill_pixels(points: FloatArray, n: int, width: float, image: FloatArray) -> float:
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
def flat_images(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    e: FloatArray,
    offsets: IntArray,
    pixels: int,
    width: float,
    steps: tuple[bool, bool, bool, bool],
) -> npt.NDArray[np.float32]:
    """pT-weighted image of every jet.

    Parameters
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV) of the particles of all jets, end to end; finite.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    pixels : int
        Pixels on a side.
    width : float
        Side of the window (rad), with the origin in its middle.
    steps : (bool, bool, bool, bool)
        Whether to centre, rotate, flip and normalise.

    Returns
    -------
    array (n_jets, pixels, pixels) of float32
        Rows are azimuth, columns rapidity (before rotation). All 0 for jets without particles in the window.
    """
    n_jets = len(offsets) - 1
    images = np.zeros((n_jets, pixels, pixels), dtype=np.float32)
    largest = largest_jet(offsets)
    nodes = new_nodes(largest)
    origin, points = np.empty(largest, dtype=np.int64), np.empty((3, largest), dtype=np.float64)
    image = np.empty((pixels, pixels), dtype=np.float64)
    for jet in range(n_jets):
        n = load_jet(nodes, origin, (px, py, pz, e), offsets[jet], offsets[jet + 1])
        if n == 0:
            continue
        offsets_from_axis(nodes, n, points)
        if steps[0]:
            centre(points, n)
        if steps[1]:
            rotate(points, n)
        if steps[2]:
            flip(points, n)
        image[:, :] = 0.0
        total = fill_pixels(points, n, width, image)
        scale = 1.0 / total if steps[3] and total > 0.0 else 1.0
        for row in range(pixels):
            for column in range(pixels):
                images[jet, row, column] = image[row, column] * scale
    return images
