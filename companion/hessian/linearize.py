"""Split a product that is linear in its last arguments into a primal part and a linear part."""

from collections.abc import Callable, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, vmap
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter


class Linearized:
    r"""A function of primals and tangents, traced once and cut in two.

    What depends on the primals alone runs once, ``primal``; what is left, ``linear``, is a graph of
    plain tensor operations that costs two thirds of the product, needs no autograd and takes many
    tangents at once.

    Parameters
    ----------
    function : callable
        Maps (primals, tangents), two lists of tensors, to (values, products), two such lists; the
        products are linear in the tangents, the values do not depend on them.
    primals, tangents : list of Tensor
        Examples: the trace holds for their shapes, dtypes and device.

    Notes
    -----
    Python code that looks at values inside tensors cannot be traced and raises. Equal operations
    are merged, so that a forward pass that occurs twice is run and stored once. Tracing costs about
    as much as fifty to a hundred products of a small network.
    """

    def __init__(self, function: Callable, primals: Sequence[Tensor], tangents: Sequence[Tensor]):
        sizes = []

        def flat(*arguments):
            values, products = function(list(arguments[:n]), list(arguments[n:]))
            sizes.append(len(values))
            return *values, *products

        n = len(primals)
        with twice_differentiable():
            try:
                graph = make_fx(flat)(*primals, *tangents)
            except NotImplementedError as error:
                raise RuntimeError(f"no second derivative: {error}") from error
            except RuntimeError as error:
                if "tracing tensor" not in str(error):
                    raise
                raise RuntimeError(
                    "the model or the loss decides by values inside tensors, which cannot be "
                    "traced; pass trace=False"
                ) from error
        self._primal, self._linear = _cut(graph, n, sizes[-1])
        self.checked = False  # whether a product has been compared with an untraced one
        self.column_bytes = _peak(self._linear.graph)
        self.largest_bytes = max((_bytes(node) for node in self._linear.graph.nodes), default=0)

    def primal(self, primals: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the values, and the residuals that ``linear`` needs."""
        return self._primal(*primals)

    def linear(self, residuals: Sequence[Tensor], tangents: Sequence[Tensor]) -> list[Tensor]:
        """Return the products with one tangent a primal."""
        return self._linear(*residuals, *tangents)

    def columns(self, residuals: Sequence[Tensor], tangents: Sequence[Tensor]) -> list[Tensor]:
        """Return the products with tangents of one leading dimension more, of k columns."""
        axes = (None,) * len(residuals) + (0,) * len(tangents)
        return vmap(self._linear, in_dims=axes)(*residuals, *tangents)


class _Plain(TorchFunctionMode):
    """Spell out the squared error: tracing the second derivative of torch's own crashes Python."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.mse_loss:
            return _mse_loss(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    if size_average is not None or reduce is not None or weight is not None:
        raise ValueError("mse_loss: of its options, only reduction has a Hessian here")
    square = (input - target).square()
    return {"mean": square.mean, "sum": square.sum, "none": lambda: square}[reduction]()


@contextmanager
def twice_differentiable():
    """Run what torch fuses as plain operations: its fused attention has one derivative only."""
    with sdpa_kernel(SDPBackend.MATH), _Plain():
        yield


def size(tensors) -> int:
    """Return the bytes of the distinct storages behind tensors."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors}
    return sum(s.nbytes() for s in storages.values())


def _cut(module: GraphModule, n: int, m: int) -> tuple[GraphModule, GraphModule]:
    """Return the primal graph and the linear graph."""
    *nodes, output = module.graph.nodes
    inputs = [node for node in nodes if node.op == "placeholder"]
    tangent = set(inputs[n:])
    for node in nodes:
        if any(parent in tangent for parent in node.all_input_nodes):
            tangent.add(node)
    primal, linear = Graph(), Graph()
    new: dict[Node, Node] = {}
    seen: dict[str, Node] = {}
    for node in nodes:
        if node not in tangent:
            _copy(node, primal, new, seen)
    products = output.args[0][m:]
    wanted = [p for node in nodes if node in tangent for p in node.all_input_nodes]
    wanted = [new[p] for p in (*wanted, *products) if p not in tangent]
    residuals = list(dict.fromkeys(wanted))
    primal.output(([new[v] for v in output.args[0][:m]], residuals))
    alias = {r: linear.placeholder(r.name) for r in residuals}
    new.update({old: alias[r] for old, r in new.items() if r in alias})
    for node in inputs[n:]:
        new[node] = linear.placeholder(node.name)
    seen = {}
    for node in nodes:
        if node in tangent and node.op != "placeholder":
            _copy(node, linear, new, seen)
    linear.output([new[p] for p in products])
    for graph in (primal, linear):
        graph.eliminate_dead_code()
    return GraphModule(module, primal), GraphModule(module, linear)


def _copy(node: Node, graph: Graph, new: dict[Node, Node], seen: dict[str, Node]) -> None:
    """Copy a node into a graph, unless an equal one is there already."""
    copy = graph.node_copy(node, new.__getitem__)
    if _writes(node):
        copy.target = _functional(node)
    key = repr((copy.op, copy.target, copy.args, copy.kwargs))
    if node.op != "placeholder" and key in seen:
        graph.erase_node(copy)
        copy = seen[key]
    new[node] = seen[key] = copy


def _writes(node: Node) -> bool:
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def _views(node: Node) -> bool:
    if isinstance(node.target, OpOverload):
        return any(r.alias_info is not None for r in node.target._schema.returns)
    return node.op == "placeholder" or any(_views(p) for p in node.all_input_nodes)


def _functional(node: Node) -> OpOverload:
    """Return the operation without its write, ``div`` for ``div_``: later nodes take its result."""
    old, name = node.args[0], node.target._schema.name.removeprefix("aten::").removesuffix("_")
    shared = any(_views(user) for user in old.users if user is not node)
    if shared or (_views(old) and not _writes(old)) or not hasattr(torch.ops.aten, name):
        raise RuntimeError(f"{node.target} writes into a tensor that is used elsewhere")
    return getattr(getattr(torch.ops.aten, name), node.target._overloadname)


def _peak(graph: Graph) -> int:
    """Return the bytes of the tensors that live at once while a graph runs, inputs not counted."""
    last = {parent: node for node in graph.nodes for parent in node.all_input_nodes}
    dying: dict[Node, int] = {}
    live = peak = 0
    for node in graph.nodes:
        if node.op == "placeholder":
            continue
        here = _bytes(node)
        live += here
        peak = max(peak, live)
        if node in last:
            dying[last[node]] = dying.get(last[node], 0) + here
        live -= dying.pop(node, 0)
    return peak


def _bytes(node: Node) -> int:
    metas = tree_iter(node.meta.get("tensor_meta", ()), is_leaf=lambda t: hasattr(t, "dtype"))
    return sum(t.shape.numel() * t.dtype.itemsize for t in metas if hasattr(t, "dtype"))
