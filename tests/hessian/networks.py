"""Networks of every kind, and their matrices by differences of gradients, one row at a time."""

import warnings
from functools import partial

import torch
from torch import nn
from torch.func import jacrev
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from companion.hessian import GaussNewton, Hessian
from companion.models import MLP
from tests.hessian.matrices import generator, normal


def classes(*shape, c=3, seed=1):
    return torch.randint(c, shape, generator=generator(seed))


class Net(nn.Module):
    """A network of named parts and a function of them and the inputs."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs, **named):
        return self.function(self, *inputs, **named)


def attention(net, x):
    q, k, v = net.qkv(net.norm(net.embed(x))).unsqueeze(1).chunk(3, -1)
    return net.head(F.scaled_dot_product_attention(q, k, v, is_causal=True).squeeze(1))


def tied():
    net = Net(
        attention,
        embed=nn.Embedding(6, 4),
        norm=nn.LayerNorm(4),
        qkv=nn.Linear(4, 12),
        head=nn.Linear(4, 6, bias=False),
    )
    net.head.weight = net.embed.weight
    return net


def twice():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(4, 3))


def frozen():
    model = MLP([4, 5, 3])
    model.layers[0].bias.requires_grad_(False)
    return model


def convolution(norm, *between):
    layers = nn.Conv2d(2, 4, 3, padding=1), norm, *between, nn.Tanh(), nn.Conv2d(4, 3, 3, 2)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def fully(layer, *after):
    return nn.Sequential(layer, *after, nn.Tanh(), nn.Linear(4, 3))


def recurrent(kind, **options):
    def last(net, x):
        return net.head(net.cell(x)[0][:, -1])

    width = 3 * (1 + options.get("bidirectional", False))
    return Net(last, cell=kind(4, 3, batch_first=True, **options), head=nn.Linear(width, 3))


def old_weight_norm():
    with warnings.catch_warnings(action="ignore"):
        return fully(nn.utils.weight_norm(nn.Linear(4, 4)))


def bag(**options):
    return fully(nn.EmbeddingBag(6, 4, **options))


def residual(net, x):
    h = torch.tanh(net.first(x))
    branch = torch.sin(net.second(h))
    branch += h
    return net.head(F.relu_(branch))


def tokens(z, y):
    return F.cross_entropy(z.flatten(0, 1), y.flatten())


def branching(z, y):
    return (z.flatten(1).sum(1) - y).square().mean() * (2 if z.sum() > 0 else 1)


X, IMAGES, SERIES, WORDS, Y = (
    normal(6, 4),
    normal(6, 2, 6, 6),
    normal(6, 3, 4),
    classes(6, 5, c=6),
    classes(6),
)
CE = F.cross_entropy
CASES = {  # model, loss, x, y
    "tanh mlp": (lambda: MLP([4, 5, 3], "tanh"), CE, X, Y),
    "relu mlp": (lambda: MLP([4, 5, 2]), F.mse_loss, X, normal(6, 2, seed=1)),
    "frozen": (frozen, CE, X, Y),
    "linear": (lambda: nn.Linear(4, 2), F.mse_loss, X, normal(6, 2, seed=1)),
    "tied weights": (tied, tokens, WORDS, classes(6, 5, c=6, seed=2)),
    "one module, two names": (twice, CE, X, Y),
    "batch norm": (
        lambda: convolution(nn.BatchNorm2d(4, track_running_stats=False)),
        CE,
        IMAGES,
        Y,
    ),
    "fixed batch norm": (lambda: convolution(nn.BatchNorm2d(4)).eval(), CE, IMAGES, Y),
    "group norm": (lambda: convolution(nn.GroupNorm(2, 4)), CE, IMAGES, Y),
    "instance norm": (lambda: convolution(nn.InstanceNorm2d(4, affine=True)), CE, IMAGES, Y),
    "pooling": (lambda: convolution(nn.Identity(), nn.MaxPool2d(2, 1)), CE, IMAGES, Y),
    "layer norm": (lambda: fully(nn.Linear(4, 4), nn.LayerNorm(4)), CE, X, Y),
    "weight norm": (lambda: fully(parametrizations.weight_norm(nn.Linear(4, 4))), CE, X, Y),
    "weight norm, as it was": (old_weight_norm, CE, X, Y),
    "orthogonal": (lambda: fully(parametrizations.orthogonal(nn.Linear(4, 4))), CE, X, Y),
    "rnn": (lambda: recurrent(nn.RNN, bidirectional=True), CE, SERIES, Y),
    "gru": (lambda: recurrent(nn.GRU), CE, SERIES, Y),
    "lstm": (lambda: recurrent(nn.LSTM), CE, SERIES, Y),
    "embedding, flat": (
        lambda: nn.Sequential(nn.Embedding(6, 2), nn.Flatten(), nn.Tanh(), nn.Linear(10, 3)),
        CE,
        WORDS,
        Y,
    ),
    "bags": (bag, CE, WORDS, Y),
    "bags, largest": (lambda: bag(mode="max"), CE, WORDS, Y),
    "bags, summed and padded": (lambda: bag(mode="sum", padding_idx=1, sparse=True), CE, WORDS, Y),
    "in place": (
        lambda: Net(residual, first=nn.Linear(4, 5), second=nn.Linear(5, 5), head=nn.Linear(5, 3)),
        CE,
        X,
        Y,
    ),
    "by value": (lambda: fully(nn.Linear(4, 4)), branching, X, normal(6)),
    "huber": (lambda: MLP([4, 5, 2], "tanh"), F.huber_loss, X, normal(6, 2, seed=1)),
    "smooth labels": (
        lambda: MLP([4, 5, 3], "tanh"),
        nn.CrossEntropyLoss(label_smoothing=0.1, weight=normal(3).exp()),
        X,
        Y,
    ),
    "summed": (lambda: MLP([4, 5, 2], "tanh"), partial(F.mse_loss, reduction="sum"), X, X[:, 2:]),
}


def case(name):
    make, loss, x, y = CASES[name]
    torch.manual_seed(0)
    return make().double(), loss, x, y


def trained(model):
    return [p for p in model.parameters() if p.requires_grad]


def gradient(model, objective):
    found = torch.autograd.grad(objective(model), trained(model))
    return torch.cat([g.to_dense().flatten() for g in found])


def dense_hessian(model, objective, step=1e-5):
    """Return the central differences of the gradient: no second derivative of torch is needed."""
    rows = []
    for p in trained(model):
        point = p.detach().clone()
        for i in range(p.numel()):
            ends = []
            for sign in (1, -1):
                moved = point.clone()
                moved.view(-1)[i] += sign * step
                with torch.no_grad():
                    p.copy_(moved)
                ends.append(gradient(model, objective))
            with torch.no_grad():
                p.copy_(point)
            rows.append((ends[0] - ends[1]) / (2 * step))
    return torch.stack(rows)


def dense_gauss_newton(model, loss, x, y):
    z = model(x)
    rows = [
        torch.autograd.grad(t, trained(model), retain_graph=True, materialize_grads=True)
        for t in z.flatten()
    ]
    J = torch.stack([torch.cat([g.to_dense().flatten() for g in row]) for row in rows])
    H = jacrev(jacrev(lambda z: loss(z, y)))(z.detach()).reshape(z.numel(), z.numel())
    return J.T @ H @ J


def dense(kind, model, loss, x, y):
    if kind is Hessian:
        return dense_hessian(model, lambda model: loss(model(x), y))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return dense_gauss_newton(model, loss, x, y)


def assert_same(found, expected):
    """Equal up to the error of central differences."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7 * expected.abs().max().item())


KINDS = (Hessian, GaussNewton)
