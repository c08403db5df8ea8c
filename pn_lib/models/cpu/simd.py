"""A register of float32 numbers as one value in Numba code: the SIMD lanes of a CPU, written like plain arithmetic.

Numba vectorises a loop where LLVM can prove that it may, which inside a scan it cannot. So the kernels say what they
mean: ``load(array, index)`` takes ``WIDTH`` neighbours along the last axis, ``+ - * /`` work on all of them at once,
``store`` puts them back. There are sixteen lanes where registers hold sixteen numbers (AVX-512), elsewhere eight: one
register of AVX2, two of NEON.

Arrays are float32, or uint16 holding the bits of bfloat16: ``load`` widens, ``store`` rounds to nearest even. Integers
of int8, and uint8 holding two of four bits, are loaded only.
"""

import hashlib
import operator
from pathlib import Path

import numpy as np
import torch
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, lower_builtin, register_model, type_callable

from pn_lib import hardware

# Numba's threads are then PyTorch's own, one OpenMP and one pool; two pools would wait for each other, spinning. They
# are as many as PyTorch has, since Numba, when it starts, sets the number for both.
config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
config.NUMBA_NUM_THREADS = torch.get_num_threads()
WIDTH = hardware.lanes()
# Numba keeps compiled kernels until their own file changes; they hold the code of this one and of others too, and the
# width, so that another version of these looks for them in another folder.
if not config.CACHE_DIR:
    _shared = ("products.py", "attention_kernels.py", "scan_kernels.py", "ssd_kernels.py")
    _files = [Path(__file__), *(Path(__file__).with_name(name) for name in _shared)]
    _version = hashlib.sha256(b"".join(file.read_bytes() for file in _files)).hexdigest()[:12]
    config.CACHE_DIR = str(Path(__file__).parent / "__pycache__" / f"kernels-{_version}-{WIDTH}")

FLOAT, INT, SHORT, BYTE = ir.FloatType(), ir.IntType(32), ir.IntType(16), ir.IntType(8)
FLOATS, INTS, SHORTS, BYTES = (ir.VectorType(kind, WIDTH) for kind in (FLOAT, INT, SHORT, BYTE))


class Lanes(types.Type):
    """The type of a value of ``WIDTH`` float32."""

    def __init__(self):
        super().__init__(f"float32x{WIDTH}")


lanes = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, FLOATS)


def _integers(number: int) -> ir.Constant:
    return ir.Constant(INTS, [number] * WIDTH)


def _address(context, builder, kind, array, index, vector):
    """Where the element of ``array`` at ``index``, a tuple of integers, lies, as a pointer to a vector."""
    struct = cgutils.create_struct_proxy(kind)(context, builder, array)
    element = cgutils.get_item_pointer(context, builder, kind, struct, cgutils.unpack_tuple(builder, index))
    return builder.bitcast(element, vector.as_pointer())


def _call(builder, name, result, *arguments, **options):
    signature = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), arguments, **options)


@intrinsic
def load(_, array, index):
    """The element at ``index`` (a tuple) and those after it along the last axis, which must be contiguous."""
    bfloat16 = array.dtype == types.uint16

    def generate(context, builder, signature, arguments):
        if array.dtype == types.int8:
            return builder.sitofp(_load_bytes(context, builder, signature.args[0], *arguments), FLOATS)
        address = _address(context, builder, signature.args[0], *arguments, SHORTS if bfloat16 else FLOATS)
        value = builder.load(address, align=2 if bfloat16 else 4)
        if not bfloat16:
            return value
        return builder.bitcast(builder.shl(builder.zext(value, INTS), _integers(16)), FLOATS)

    return lanes(array, index), generate


def _load_bytes(context, builder, kind, array, index):
    """Neighboring bytes of an array, as int32."""
    return builder.sext(builder.load(_address(context, builder, kind, array, index, BYTES), align=1), INTS)


@intrinsic
def load_low(_, array, index):
    """As ``load``, the integers of -8..7 in the low halves of the bytes of an array of uint8."""

    def generate(context, builder, signature, arguments):
        pairs = builder.shl(_load_bytes(context, builder, signature.args[0], *arguments), _integers(28))
        return builder.sitofp(builder.ashr(pairs, _integers(28)), FLOATS)

    return lanes(array, index), generate


@intrinsic
def load_high(_, array, index):
    """As ``load_low``, those in the high halves."""

    def generate(context, builder, signature, arguments):
        pairs = _load_bytes(context, builder, signature.args[0], *arguments)
        return builder.sitofp(builder.ashr(pairs, _integers(4)), FLOATS)

    return lanes(array, index), generate


@intrinsic
def store(_, array, index, value):
    """Write the lanes to where ``load`` takes them from."""
    bfloat16 = array.dtype == types.uint16

    def generate(context, builder, signature, arguments):
        *place, value = arguments
        address = _address(context, builder, signature.args[0], *place, SHORTS if bfloat16 else FLOATS)
        if bfloat16:  # to nearest, ties to even: add half of the last place kept, less a little if that one is even
            bits = builder.bitcast(value, INTS)
            odd = builder.and_(builder.lshr(bits, _integers(16)), _integers(1))
            bits = builder.add(bits, builder.add(odd, _integers(0x7FFF)))
            value = builder.trunc(builder.lshr(bits, _integers(16)), SHORTS)
        builder.store(value, address, align=2 if bfloat16 else 4)
        return context.get_dummy_value()

    return types.void(array, index, value), generate


def _broadcast(builder, number):
    nothing = ir.Constant(FLOATS, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(nothing, number, INT(0)), nothing, _integers(0))


@intrinsic
def splat(_, value):
    """The same float32 in all lanes."""

    def generate(context, builder, signature, arguments):
        return _broadcast(builder, arguments[0])

    return lanes(types.float32), generate


@intrinsic
def spread(_, array, index):
    """The float32 at ``index``, which must not be negative, in all lanes; the array may have any strides."""

    def generate(context, builder, signature, arguments):
        kind, (array, index) = signature.args[0], arguments
        struct = cgutils.create_struct_proxy(kind)(context, builder, array)
        element = cgutils.get_item_pointer(context, builder, kind, struct, cgutils.unpack_tuple(builder, index))
        return _broadcast(builder, builder.load(element))

    return lanes(array, index), generate


@intrinsic
def total(_, value):
    """The sum of the lanes, a float32."""

    def generate(context, builder, signature, arguments):
        name = f"llvm.vector.reduce.fadd.v{WIDTH}f32"
        return _call(builder, name, FLOAT, FLOAT(0.0), *arguments, fastmath=("reassoc",))  # as a tree, not a chain

    return types.float32(lanes), generate


@intrinsic
def highest(_, value):
    """The largest of the lanes, a float32."""

    def generate(context, builder, signature, arguments):
        return _call(builder, f"llvm.vector.reduce.fmax.v{WIDTH}f32", FLOAT, *arguments)

    return types.float32(lanes), generate


@intrinsic
def fma(_, a, b, c):
    """a b + c, rounded once."""

    def generate(context, builder, signature, arguments):
        return _call(builder, f"llvm.fma.v{WIDTH}f32", FLOATS, *arguments)

    return lanes(lanes, lanes, lanes), generate


@intrinsic
def maximum(_, a, b):
    """The larger of the two; b where either is NaN."""

    def generate(context, builder, signature, arguments):
        return builder.select(builder.fcmp_ordered(">", *arguments), *arguments)

    return lanes(lanes, lanes), generate


@intrinsic
def if_positive(_, condition, a, b):
    """a where the condition is above zero, else b."""

    def generate(context, builder, signature, arguments):
        condition, a, b = arguments
        return builder.select(builder.fcmp_ordered(">", condition, ir.Constant(FLOATS, [0.0] * WIDTH)), a, b)

    return lanes(lanes, lanes, lanes), generate


@intrinsic
def transpose(_, source, index, target, place):
    """Write a square of ``WIDTH`` rows and columns, from ``index`` (row, column) of ``source`` on, transposed to
    ``place`` of ``target``; both float32, (., .)."""

    def generate(context, builder, signature, arguments):
        source, index, target, place = arguments

        def address(kind, array, corner, i):
            row, column = cgutils.unpack_tuple(builder, corner)
            tuple_ = context.make_tuple(
                builder, types.UniTuple(types.intp, 2), (builder.add(row, ir.Constant(row.type, i)), column)
            )
            return _address(context, builder, kind, array, tuple_, FLOATS)

        rows = [builder.load(address(signature.args[0], source, index, i), align=4) for i in range(WIDTH)]
        step = 1
        while step < WIDTH:  # squares of step x step numbers above the diagonal change places with those below it
            low = [j if not j & step else WIDTH + j - step for j in range(WIDTH)]
            high = [j + step if not j & step else WIDTH + j for j in range(WIDTH)]
            for i in (i for i in range(WIDTH) if not i & step):
                pair = rows[i], rows[i + step]
                rows[i], rows[i + step] = (builder.shuffle_vector(*pair, ir.Constant(INTS, m)) for m in (low, high))
            step *= 2
        for i, row in enumerate(rows):
            builder.store(row, address(signature.args[2], target, place, i), align=4)
        return context.get_dummy_value()

    return types.void(source, index, target, place), generate


@intrinsic
def _scale(_, value, shifted):
    """value times 2^k, the integer k standing in the last bits of ``shifted``: added to the exponent's bits."""

    def generate(context, builder, signature, arguments):
        value, shifted = (builder.bitcast(argument, INTS) for argument in arguments)
        return builder.bitcast(builder.add(value, builder.shl(shifted, _integers(23))), FLOATS)

    return lanes(lanes, lanes), generate


def _define_operator(function, instruction: str) -> None:
    @type_callable(function)
    def typed(context):
        return lambda a, b: lanes if a is lanes and b is lanes else None

    @lower_builtin(function, Lanes, Lanes)
    def lowered(context, builder, signature, arguments):
        return getattr(builder, instruction)(*arguments)


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_function, _instruction)


def _polynomial(function, low: float, high: float, degree: int) -> tuple[np.float32, ...]:
    """Coefficients, highest first, of p with function(v) = v p(v) at the Chebyshev points of [low, high]."""
    points = np.polynomial.Chebyshev.interpolate(lambda v: function(v + 1e-9) / (v + 1e-9), degree, domain=[low, high])
    return tuple(np.float32(c) for c in points.convert(kind=np.polynomial.Polynomial).coef[::-1])


EXP2_MINUS_1 = _polynomial(lambda f: np.expm1(f * np.log(2)), -0.5, 0.5, 4)
LOG1P = _polynomial(np.log1p, 0.0, 1.0, 9)
ZERO, ONE = np.float32(0), np.float32(1)
MINUS_LOG2_E = np.float32(-np.log2(np.e))
LOWEST = np.float32(-126)  # 2^-126 is the smallest normal float32
ROUNDER = np.float32(1.5 * 2**23)  # so large that it has no fraction: adding it rounds, with k in the last bits


@njit
def exp2(t):
    """2^t for t <= 127, to 3e-7 of its value; 2^-126 for whatever would be less."""
    t = maximum(splat(LOWEST), t)  # in this order NaN stays NaN
    shifted = t + splat(ROUNDER)
    f = t - (shifted - splat(ROUNDER))  # in [-1/2, 1/2]
    p = splat(EXP2_MINUS_1[0])
    for i in range(1, 5):
        p = fma(p, f, splat(EXP2_MINUS_1[i]))
    return _scale(fma(p, f, splat(ONE)), shifted)  # exactly 1 at 0: what does not decay must not grow


@njit
def _exp_minus_abs(v):
    """exp(-|v|), which never overflows."""
    return exp2(maximum(v, splat(ZERO) - v) * splat(MINUS_LOG2_E))


@njit
def sigmoid(v):
    """1 / (1 + exp(-v)), to 5e-7 of its value."""
    e = _exp_minus_abs(v)
    return if_positive(v, splat(ONE), e) / (splat(ONE) + e)


@njit
def softplus(v):
    """log(1 + exp(v)) = max(v, 0) + log1p(exp(-|v|)), to 5e-7 of its value."""
    e = _exp_minus_abs(v)
    p = splat(LOG1P[0])
    for i in range(1, 10):
        p = fma(p, e, splat(LOG1P[i]))
    return fma(p, e, maximum(splat(ZERO), v))
