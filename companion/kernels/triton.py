"""A trace printed as one Triton kernel over all elements of any number of tensors, on a GPU.

As the loop of `companion.kernels.cpp`: x, g and the state are read once, x and the state are
written once, and a parameter group is one launch, however many tensors it has.
"""

import linecache
from importlib.util import find_spec

import numpy as np
import torch
from torch import fx

from companion.kernels.build import Untranslatable
from companion.kernels.printed import ARITHMETIC, COMPARISONS, Printed, Tensors, name_of, operation

CHUNK = 1024  # elements that one program steps
# As `companion.kernels.cpp.EXPRESSIONS`; division and root round as IEEE wants, in float32 too.
EXPRESSIONS = ARITHMETIC | {
    "truediv": "tl.div_rn({0}, {1})",
    "where": "tl.where({0}, {1}, {2})",
    "lerp": "tl.where({2} < 0.5, {0} + {2} * ({1} - {0}), {1} - ({1} - {0}) * (1.0 - {2}))",
    "maximum": "tl.where(({0} != {0}) | ({0} > {1}), {0}, {1})",  # NaN wins, as in torch
    "minimum": "tl.where(({0} != {0}) | ({0} < {1}), {0}, {1})",
    "sqrt": "tl.sqrt_rn({0})",
    "abs": "tl.abs({0})",
    "exp": "tl.exp({0})",
    "log": "tl.log({0})",
    "sign": "(({0} > 0).to({type}) - ({0} < 0).to({type}))",
    "clamp": "tl.where({0} < {1}, {1}, tl.where({0} > {2}, {2}, {0}))",
}
DOUBLE = {"tl.div_rn({0}, {1})": "({0} / {1})", "tl.sqrt_rn({0})": "tl.sqrt({0})"}
TYPES = {torch.float32: "tl.float32", torch.float64: "tl.float64"}

SOURCE = """
def step(numbers, table, shape, chunks, CHUNK: tl.constexpr):
    i = tl.load(chunks + 2 * tl.program_id(0))
    j = tl.load(chunks + 2 * tl.program_id(0) + 1) + tl.arange(0, CHUNK).to(tl.int64)
    n = tl.load(shape + 2 * i + 1)
    here = j < tl.load(shape + 2 * i)
    row = j // n
    first = here & (row * n == j)
{lines}
"""


def available(device: torch.device) -> bool:
    """Say whether kernels are printed for a device: a GPU that Triton knows."""
    return device.type == "cuda" and find_spec("triton") is not None


class TritonKernel(Printed):
    """A trace compiled for one GPU; parameters, calls and errors are those of `Printed`.

    ``device`` is where all tensors are.
    """

    def __init__(self, trace, dtype, device: torch.device):
        super().__init__(trace, dtype)
        self.device = device
        nothing = Tensors([0], [1], [0] * self.width)
        nothing.tables = [torch.tensor([pair], device=device) for pair in ([0, 1], [0, 0])]
        try:  # Triton compiles at the first launch; this one reads and writes nothing
            self.step = compiled(self._source())
            self._launch(nothing, [0.5] * len(trace.scalars))
        except Exception as error:
            raise Untranslatable(f"Triton refuses its kernel: {error!r}") from error

    def _source(self) -> str:
        names = {node: f"v{i}" for i, node in enumerate((*self.trace.scalars, *self.inside))}
        lines, kind = [], TYPES[self.dtype]
        for i, node in enumerate(self.trace.scalars):
            end = " != 0" if name_of(node) in COMPARISONS else f".to({kind})"
            lines.append(f"{names[node]} = tl.load(numbers + {i}){end}")
        for k in range(self.width):
            address = f"tl.load(table + {self.width} * i + {k})"
            lines.append(f"p{k} = {address}.to(tl.pointer_type({kind}))")
        for node in self.inside:
            index = "j" if self.kinds[node] == "element" else "row"
            if node in self.slots:
                value = f"tl.load(p{self.slots.index(node)} + {index}, mask=here, other=1.0)"
            else:
                value = self._expression(node, names)
            lines.append(f"{names[node]} = {value}")
        for node, slot in self.targets:
            index, mask = ("row", "first") if slot in self.fresh else ("j", "here")
            lines.append(f"tl.store(p{self.place(slot)} + {index}, {names[node]}, mask={mask})")
        return SOURCE.format(lines="\n".join(f"    {z}" for z in lines))

    def _expression(self, node, names) -> str:
        form, args = operation(node, EXPRESSIONS, "Triton")
        if self.dtype == torch.float64:
            form = DOUBLE.get(form, form)  # what rounds rightly without being asked
        kind = TYPES[self.dtype]
        number = f"tl.full([], float('{{}}'), tl.float64).to({kind})".format
        texts = (names[a] if isinstance(a, fx.Node) else number(float(a)) for a in args)
        return form.format(*texts, type=kind)

    def launch(self, tensors: Tensors, known: dict) -> None:
        """Run the kernel, once."""
        self._launch(tensors, self.numbers(known))

    def _launch(self, tensors, numbers):
        if not hasattr(tensors, "tables"):
            tensors.tables = [z.to(self.device) for z in _tables(tensors)]
        shape, chunks = tensors.tables
        # One small copy a step: the numbers, and where the gradients lie.
        numbers = np.array(numbers, dtype=np.float64).view(np.int64)
        sent = torch.from_numpy(np.concatenate([numbers, tensors.pointers.reshape(-1)]))
        if self.device.type == "cuda":  # from pinned memory, so that nobody waits for the GPU
            sent = sent.pin_memory().to(self.device, non_blocking=True)
        numbers, table = sent[: len(numbers)].view(torch.float64), sent[len(numbers) :]
        with torch.cuda.device_of(sent):
            self.step[(len(chunks),)](numbers, table, shape, chunks, CHUNK=CHUNK)


def _tables(tensors: Tensors):
    """Return sizes and lengths of rows, and for each chunk its tensor and its first element."""
    lengths = np.maximum(tensors.sizes // np.maximum(tensors.rows, 1), 1)  # nothing is no divisor
    counts = -(-tensors.sizes // CHUNK)
    tensor = np.repeat(np.arange(len(counts)), counts)
    first = CHUNK * (np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts))
    pairs = ((tensors.sizes, lengths), (tensor, first))
    return [torch.from_numpy(np.stack(pair, 1)) for pair in pairs]


def compiled(source: str):
    """Return the source of a function ``step`` as a kernel of Triton."""
    import triton
    import triton.language as tl

    name = f"<companion kernel {len(linecache.cache)}>"
    linecache.cache[name] = len(source), None, source.splitlines(True), name  # Triton reads it
    names = {"tl": tl}
    exec(compile(source, name, "exec"), names)
    return triton.jit(names["step"])
