"""Answers to the exercises of the part Geometry, as `tests.checks.test_exercises` reads them."""

RIGHT = ": correct"
GEOMETRY = {
    "norms": {
        "check_weighted": {
            "(w * g) → (g / w) ; dual * w * → dual / w *": "in r the norm",
            "dual * w * → dual *": "step: expected",
            "weighted(g, w)[1]": "expected 2 values (dual norm, step)",
            ".abs().sum() → .norm()": "the norm is that of l-infinity",
            ".abs().sum() → .abs().max()": "dual norm: expected",
            "-dual * w → dual * w": "minus the dual norm",
            "[weighted(g, w)[0].item(), weighted(g, w)[1].numpy()]": RIGHT,
        },
        "check_block_step": {
            "count.sqrt() * length → length ; count.sqrt() / length → 1 / length": "sqrt(d_b)",
            "-block_step(g, labels)": "where does the minus go",
            "-g": "the dual norm times",
            "(count.sqrt() * length).sum() → (count.sqrt() * length).max()": "the dual norm times",
            "-torch.ones_like(g) * g.sign() * g.abs().sum()": "the dual norm times",
            "block_step(g, labels).tolist()": RIGHT,
            "block_step(g, labels).float().numpy()": RIGHT,
        },
        "check_tight": {
            "(x0, 1.0)": "from x0 to -x0",
            "(2 * x0, 0.5)": "which term of the bound",
            "(2 * x0, 2.0)": "which term of the bound",
            "torch.tensor([2 * x0, 1.0])": RIGHT,
        },
        "check_advantage": {
            "((corners @ H) * corners).sum(-1).max() → H.abs().sum()": "signs that do not fit",
            "((corners @ H) * corners).sum(-1).max() → H.trace()": "try all signs",
            "1 / advantage(g, H)": "try all signs",
            "g.square().sum() → g.norm()": "try all signs",
            "matrix_norm(H, 2) → matrix_norm(H)": "largest eigenvalue",
            "advantage(g, H).item()": RIGHT,
        },
    },
    "rotation": {
        "check_rotated_gradient": {
            "grad(Q @ x)": "chain rule",
            "Q.numpy().T @ grad((Q @ x).numpy()).numpy()": RIGHT,
            "(Q.T @ grad(Q @ x)).tolist()": RIGHT,
            "Q @ grad(Q @ x)": "chain rule",
            "Q @ grad(Q.T @ x)": "chain rule",
            "Q.T @ grad(x)": "chain rule",
        },
        "check_commutes": {
            "True": "a turn by 45 degrees",
            "bool((Q >= 0).all())": "a permutation with signs",
            "(Q.sum(1).abs() - 1).abs().max() < 1e-9": "a reflection",  # keeps one sign vector
            "bool(((Q == 0) | (Q == 1)).all())": "with signs",
            "1e-9 → 0.01": "by 0.001",
            "(Q.abs().amax(1) - 1).abs().max() < 1e-9": "by 1e-6",  # the cosine hides it
            "torch.allclose(Q.abs(), Q.abs().round(), atol=1e-5)": "by 1e-6",
            "torch.allclose(Q.abs(), Q.abs().round())": RIGHT,
            "__import__('numpy').isclose(abs(Q.numpy()).max(1), 1).all()": "by 0.001",
            "1e-9 → 0.0": "by 90 degrees, rounded",
            "bool(((Q.abs() - 0.5).abs() - 0.5).abs().max() < 1e-9)": RIGHT,
            "((Q.abs() > 1e-9).sum(1) == 1).all()": RIGHT,
        },
        "check_kronecker": {
            "([0], [1]) → ([0], [0])": "y[a, b, c]",
            "kronecker_product(Qs[::-1], x)": "sizes (2, 2, 2)",
            "kronecker_product(Qs, x).numpy()": RIGHT,
            "torch.einsum('ai,bj,ck,ijk->abc', *Qs, x.view([len(Q) for Q in Qs])).flatten()": RIGHT,
        },
        "check_turned_norm": {
            "1 + kappa": "other two entries",
            "1 + kappa + (kappa - 1) * abs(math.sin(theta))": "other two entries",
            "2 * kappa": "other two entries",
            "torch.tensor(turned_norm(kappa, theta))": RIGHT,
            "abs(math.sin(2 * theta)) → math.sin(2 * theta)": "kappa = 25",
        },
    },
    "estimators": {
        "check_hvp": {
            "(grad(f)(x + 1e-3 * v) - grad(f)(x - 1e-3 * v)) / 2e-3": "differentiate the gradient",
            "grad(f)(x) * v": "differentiate",
            "v @ hvp(f, x, v)": "expected shape",
            "grad(lambda z: grad(f)(z) @ v)(x)": RIGHT,
        },
        "check_hutchinson": {
            "hutchinson(product, V)[0]": "expected 2 values (estimate, standard error)",
            " / len(terms) ** 0.5 → ": "root of their number",
            "terms.std() / len(terms) ** 0.5 → terms.std() / len(terms)": "root of their number",
            "terms.std() → terms.std(correction=0)": "their number less one",
            "list(hutchinson(product, V))": RIGHT,
            "__import__('numpy').array([float(z) for z in hutchinson(product, V)])": RIGHT,
            "terms.mean() → terms.sum()": "the mean of",
        },
        "check_corrected_median": {
            "X.abs().median(1).values.sum() / median_factor(X.shape[1])": "lower middle",
            "medians.sum() / median_factor(n) → medians.sum()": "divide the factor out",
            "X.abs() → X": "absolute",
            "X.abs().mean(1).sum() / median_factor(X.shape[1])": "a median for each row",
            "X.abs().quantile(0.5, dim=0).sum() / median_factor(X.shape[1])": "for each row",
            "X.abs().double().quantile(0.5, 1).numpy().sum() / median_factor(X.shape[1])": RIGHT,
            "medians.sum() / → medians.sum() *": "divide",
        },
        "check_importance": {
            "importance(product, torch.full_like(p, 1 / len(p)), draws)": "its probability",
            "importance(product, p, draws.unique())": "estimate: expected",
            "[len(p) * z for z in importance(product, p, draws)]": "estimate",
            "torch.stack(importance(product, p, draws))": RIGHT,
            "importance(product, p, draws)[0]": "expected 2 values (estimate, standard error)",
            "terms.std() → 2 * terms.std()": "root of their number",
        },
    },
    "quadratics": {
        "check_turned": {
            "1 + math.sin(2 * angle)": "q q^T",
            "1.0": "q q^T",
            "1 + abs(math.sin(angle))": "q q^T",
            "1 + abs(math.sin(2 * angle))": RIGHT,
            "torch.tensor([turned(angle)])": RIGHT,
        },
        "check_ones": {
            "(k + d → (d": "the diagonal",
            "(d - 1) * math.sqrt → d * math.sqrt": "both the trace",
            "d * ones(k, d)": "both the trace",
            "torch.tensor(ones(k, d))": RIGHT,
            "2 / math.pi * entry → entry": "both the trace",
        },
        "check_spearman": {
            "torch.corrcoef(torch.stack([x, y]))[0, 1]": "correlate ranks",
            "torch.corrcoef(torch.stack([x.argsort(), y.argsort()]).to(x))[0, 1]": "a place",
            "(smaller + (equal + 1) / 2).to(z) → z.argsort().argsort().to(z)": "the mean rank",
            "(equal + 1) / 2 → 1": "share the mean rank",
            "(equal + 1) / 2 → equal": "share the mean rank",
            "__import__('scipy.stats').stats.spearmanr(x, y).statistic": RIGHT,
        },
        "check_twin": {
            "R.T @ x0 → R @ x0": "at the start?",
            "R.T @ x0 → x0": "at the start?",
            "grad(x @ R.T) @ R → grad(x @ R) @ R.T": "the chain rule",
            "list(twin(grad, x0, R))": RIGHT,
            "grad(x @ R.T) @ R → grad(x @ R.T)": "the chain rule",
            "x0": "return grad, x0",
            "R": "return grad, x0",
            "grad": "expected 2 values (grad, x0)",
        },
    },
    "smoothness": {
        "check_rank_one": {
            "u.abs().sum() ** 2 → u.square().sum()": "the first is at most the second",
            "rank_one(u)[:3]": "expected 4 values",
        },
        "check_certificate": {
            "matrix_norm(scaled, 2) → eigvalsh(scaled).max()": "the largest absolute eigenvalue",
            "matrix_norm(scaled, 2) → matrix_norm(H, 2)": "D^(-1/2) H D^(-1/2)",
        },
        "check_tight": {
            "bool((H > 0).all())": "flip together",
            "True": "one pair of another sign",
            "False": "flip together",
            "tight(H) or tight(-H)": RIGHT,  # where the norm overestimates nothing
        },
        "check_lower_bound": {"dim=1, keepdim → dim=0, keepdim": "rows of V"},
    },
    "blockwise": {
        "check_second_moment": {
            "beta2 * v + (1 - beta2) * torch.zeros_like(v).index_add(0, labels, g**2)": "average g²"
        },
        "check_refines": {
            "len(fine.unique()) >= len(coarse.unique())": "meet two coarse ones",
            "refines(coarse, fine)": "meet two coarse ones",
            "not any((fine[:-1] == fine[1:]) & (coarse[:-1] != coarse[1:]))": "meet two coarse",
        },
        "check_constant": {
            "h.abs().sum()": "the number of coordinates",
            ".abs().max() → .max()": "absolute entry",
        },
        "check_moments": {"4 * n": "go by heads", "4 * C": "go by heads"},
    },
    "network_geometry": {
        "check_paired": {
            "(a.mean() - b.mean(), ((a.var() + b.var()) / len(a)) ** 0.5)": "seed by seed",
            " / math.sqrt(len(a)) → ": "over √n",
            "paired(b, a)": "a = [1.0, 5.0, 9.0]",
            ".std() → .std(correction=0)": "n - 1",
            "torch.stack(paired(a, b))": RIGHT,
            "[z.item() for z in paired(a, b)]": RIGHT,
            "(paired(a, b)[0], 2 * paired(a, b)[1])": "over √n",
        },
        "check_rotated_product": {
            "R(product(R.T(v)))": "d = 3",
            "R.T(product(R(v))).numpy()": RIGHT,
            "product(R(v))": "twice",
            "R.T(product(v))": "twice",
        },
        "check_spread": {
            "2 * G.square().sum() / G.trace() ** 2": "the identity",
            "G.diagonal().var() / G.diagonal().mean() ** 2": "one gradient",
            "torch.trace(G @ G) → G.diagonal().square().sum()": "one gradient",
            "spread(G).item()": RIGHT,
            "spread(G) ** 0.5": "one gradient",
            "spread(G) / 2": "one gradient",
        },
    },
}
