"""The same features give the same bits under every kernel of numpy's BLAS, every width of vectors, any threads."""

import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import mscmreid
from mscmreid.evaluation.similarity import norm_exponents, norms, on_grid, similarities

SCRIPT = Path(__file__).with_name("same_everywhere.py")
SIMD = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR AVX2 FMA3"
ENVIRONMENTS = {
    **{kernel: dict(OPENBLAS_CORETYPE=kernel) for kernel in ("Prescott", "Haswell", "SkylakeX")},
    "two threads": dict(OPENBLAS_CORETYPE="Haswell", OMP_NUM_THREADS="2"),
}
MORE = {
    **{
        kernel: dict(OPENBLAS_CORETYPE=kernel)
        for kernel in ("Core2", "Nehalem", "Barcelona", "Sandybridge", "Zen", "Cooperlake", "SapphireRapids")
    },
    "numpy without vectors": dict(OPENBLAS_CORETYPE="Prescott", NPY_DISABLE_CPU_FEATURES=SIMD),
    **{f"torch {name}": dict(ATEN_CPU_CAPABILITY=name) for name in ("default", "avx2", "avx512")},
    **{f"oneDNN {name}": dict(ONEDNN_MAX_CPU_ISA=name) for name in ("SSE41", "AVX2", "AVX512_CORE")},
}


class NoSuchInstruction(Exception):
    """A child process was ended by the processor."""


NEED_AVX512 = ("SkylakeX", "Cooperlake")
"""Where OpenBLAS does not see that the processor lacks instructions, and the child ends at the first of them."""


def run_with(**settings):
    package = str(Path(mscmreid.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package, "OMP_NUM_THREADS": "1", **settings}
    done = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True)
    if done.returncode == -signal.SIGILL:
        raise NoSuchInstruction(f"this processor lacks instructions of {settings}")
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def here():
    return run_with()


@pytest.mark.parametrize("name", [*ENVIRONMENTS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_a_table_is_the_same_to_the_last_bit(name, here):
    try:
        found = run_with(**(ENVIRONMENTS | MORE)[name])
    except NoSuchInstruction as error:
        if name not in NEED_AVX512:
            raise
        pytest.skip(str(error))
    assert found == here


def test_a_similarity_is_the_exact_sum_rounded_once():
    rs = np.random.RandomState(0)
    rows = (rs.normal(size=(8, 300)) * 10.0 ** rs.randint(-6, 6, (8, 1))).astype(np.float32)
    found, grid = similarities(rows, np.arange(3), rows), on_grid(rows)
    for i in range(3):
        for j in range(8):
            exact = sum(Fraction(x) * Fraction(y) for x, y in zip(grid[i], grid[j], strict=True))
            assert Fraction(float(exact)) == exact and np.float32(float(exact)) == found[i, j]
    wanted = rows.astype(np.float64) @ rows.T.astype(np.float64)
    size = norms(rows) * norms(rows).T
    assert (np.abs(found - wanted[:3]) < 1e-7 * size[:3]).all()


def test_pairs_do_not_depend_on_their_place_or_on_other_rows():
    rs = np.random.RandomState(1)
    rows = rs.normal(size=(1300, 77)).astype(np.float32)
    whole, order = similarities(rows, np.arange(1300), rows), rs.permutation(1300)[:700]
    np.testing.assert_array_equal(similarities(rows, order, rows, order[::-1]), whole[np.ix_(order, order[::-1])])
    np.testing.assert_array_equal(whole, whole.T)


def test_the_grid_of_a_row_at_a_bound_does_not_depend_on_the_order_of_its_sum():
    # 3 * 2 ** -49 under the bound: plain sums in different orders fall on both sides of it
    row = np.r_[np.full(4096, 2.0**-13), np.sqrt(1.5)]
    orders = np.stack([row, row[::-1], np.random.RandomState(2).permutation(row)])
    assert len(set(norm_exponents(orders).tolist())) == 1
    assert norm_exponents(np.zeros((1, 5))).tolist() == [0]
