"""Fifty random settings for each part around the model: schedules, averages, accumulation, clipping, losses, mixing,
drop path and initial values, with the results of PyTorch's functions or, if PyTorch has none, of timm's formulas. Inputs
come from the same counter-based random numbers as in the tests and are exact in float32; results are computed in float64."""
import math
import warnings

import torch
import torch.nn.functional as F
from torch import nn

from draws import Counter
from timm_formulas import (cut_box, decays, drop_path_rates, drop_path_scale, ema_decay, mixup_target,
                           soft_target_cross_entropy)
from vit import VisionTransformer

F32, F64 = torch.float32, torch.float64
COUNT = 50
# The seed of a section; stream 0 draws its settings, stream 1 its inputs.
SEED = {"schedule": 1, "ema": 2, "accumulation": 3, "clip": 4, "smoothing": 5, "mixup": 6, "cutmix": 7, "drop_path": 8,
        "init": 9}


def settings(section):
    return ((i, Counter(SEED[section], 0, i)) for i in range(COUNT))


def inputs(section, i, *shape, scale=1.0):
    """Uniform in ±scale, a power of two."""
    draw = Counter(SEED[section], 1, i)
    return torch.tensor([scale * (2 * draw.uniform() - 1) for _ in range(math.prod(shape))], dtype=F64).reshape(shape)


def short(value, digits=3):
    return float(f"{value:.{digits}g}")


# Learning rates -------------------------------------------------------------------------------------------------------

def rates(optimizer, scheduler, steps):
    found = []
    for t in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if t + 1 < steps:
            scheduler.step()
    return found


def schedule_answer(kind, lr, warmup_lr, min_lr, warmup, total):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    lib = torch.optim.lr_scheduler
    if kind == "one-cycle":
        return rates(optimizer, lib.OneCycleLR(optimizer, max_lr=lr, total_steps=total, cycle_momentum=False), total)
    rise = lambda: lib.LinearLR(optimizer, start_factor=warmup_lr / lr, total_iters=warmup)
    after = max(1, total - warmup)
    fall = {"cosine": lambda: lib.CosineAnnealingLR(optimizer, T_max=after, eta_min=min_lr),
            "constant": lambda: lib.ConstantLR(optimizer, factor=1.0, total_iters=0)}[kind]
    if warmup == 0:
        return rates(optimizer, fall(), total)
    if warmup >= total:
        return rates(optimizer, rise(), total)
    return rates(optimizer, lib.SequentialLR(optimizer, [rise(), fall()], milestones=[warmup]), total)


def schedules():
    """`batches` is steps an epoch; warm-up is a number of epochs, rounded to whole steps, halves up."""
    warnings.filterwarnings("ignore", message="The epoch parameter")   # SequentialLR's own call
    cases = []
    for kind in ("cosine", "constant", "one-cycle"):
        for i, draw in settings("schedule"):
            batches, epochs = draw.whole(1, 9), draw.whole(1, 4)
            if i == 0:
                batches, epochs = 1, 1                                 # one step in all
            elif i == 1:
                batches, epochs = 2, 1
            lr = short(draw.scale(1e-5, 1e-1))
            warmup_lr, min_lr = short(lr * draw.between(1e-3, 1)), short(lr * draw.choice([0, 0, draw.uniform()]))
            total = batches * epochs
            warmup = draw.choice([0, 1 / batches, (total - 1) / batches, short(epochs * draw.uniform())])
            if warmup >= epochs or kind == "one-cycle":
                warmup = 0
            if kind == "one-cycle":
                min_lr = 0
            steps = math.floor(warmup * batches + 0.5)
            cases.append({"kind": kind, "batches": batches, "epochs": epochs, "lr": lr, "warmup_lr": warmup_lr,
                          "min_lr": min_lr, "warmup_epochs": warmup,
                          "lrs": schedule_answer(kind, lr, warmup_lr, min_lr, steps, total)})
    return cases, None


# The moving average ---------------------------------------------------------------------------------------------------

WIDTH, UPDATES = 12, 5


def averages():
    cases, kept = [], []
    for i, draw in settings("ema"):
        decay = draw.choice([0.5, 0.9, 0.99, 0.999, 0.9999, short(draw.uniform() * 0.99999, 5)])
        steps = [1, 2, 3] + sorted(int(draw.scale(4, 2e6)) for _ in range(5))
        weights = inputs("ema", i, UPDATES + 1, WIDTH, scale=2.0)
        average = weights[0].clone()
        for t in range(1, UPDATES + 1):
            average.lerp_(weights[t], 1 - ema_decay(decay, t))
        kept.append(average)
        cases.append({"decay": decay, "steps": steps, "decays": [ema_decay(decay, step) for step in steps]})
    return cases, torch.cat(kept)


# Batches in parts -----------------------------------------------------------------------------------------------------

TINY = {"image_size": 4, "patch_size": 2, "in_chans": 1, "num_classes": 3, "embed_dim": 4, "depth": 1, "num_heads": 2,
        "mlp_ratio": 2, "pool": "cls"}
RECORDS = 24


def accumulation():
    """Gradients by name in alphabetical order; the images are bytes, normalised by mean 0.5 and deviation 0.25."""
    draw = Counter(SEED["accumulation"], 1)
    pixels = torch.tensor([draw.below(256) for _ in range(RECORDS * 16)], dtype=F64).reshape(RECORDS, 1, 4, 4)
    labels = torch.tensor([draw.below(3) for _ in range(RECORDS)])
    images = (pixels / 255 - 0.5) / 0.25
    model = VisionTransformer(**TINY).to(F64)
    named = dict(sorted(model.named_parameters()))
    with torch.no_grad():
        for index, p in enumerate(named.values()):
            values = Counter(SEED["accumulation"], 2, index)
            p.copy_(torch.tensor([values.uniform() - 0.5 for _ in range(p.numel())]).reshape(p.shape))

    def pass_over(records, smoothing, share):
        logits = model(images[records])
        loss = F.cross_entropy(logits, labels[records], label_smoothing=smoothing) * share
        loss.backward()
        return loss.item(), int((logits.argmax(dim=1) == labels[records]).sum())

    def flat():
        return torch.cat([p.grad.flatten() for p in named.values()])

    cases, gradients = [], []
    for i, draw in settings("accumulation"):
        batch = draw.whole(1, RECORDS)
        part = draw.choice([1, batch, draw.whole(1, batch), draw.whole(1, batch)])
        smoothing = draw.choice([0, 0.1, short(draw.uniform())])
        records = [draw.below(RECORDS) for _ in range(batch)]
        model.zero_grad()
        results = [pass_over(records[at:at + part], smoothing, len(records[at:at + part]) / batch)
                   for at in range(0, batch, part)]
        parts = flat()
        model.zero_grad()
        loss, right = pass_over(records, smoothing, 1)
        assert torch.allclose(parts, flat(), rtol=0, atol=1e-14) and abs(sum(l for l, _ in results) - loss) < 1e-14
        gradients.append(parts)
        cases.append({"part": part, "smoothing": smoothing, "records": records, "loss": short(loss, 9), "right": right})
    return cases, torch.cat(gradients)


# Clipping -------------------------------------------------------------------------------------------------------------

def clipping():
    cases = []
    for i, draw in settings("clip"):
        sizes, scale = [draw.whole(1, 90), draw.whole(1, 90)], 2.0 ** draw.whole(-12, 12)
        if i < 10:                                                     # a norm of 5 scale, exactly, and bounds around it
            sizes = [1, 1]
            a, b = torch.tensor([3 * scale], dtype=F64), torch.tensor([4 * scale], dtype=F64)
        else:
            a, b = inputs("clip", i, sum(sizes), scale=scale).split(sizes)
        norm = torch.cat([a, b]).norm().item()
        bound = draw.choice([norm, norm * draw.scale(1e-3, 1e3), norm * draw.between(0.9, 1.1)])
        bound = norm if i < 5 else torch.tensor(bound, dtype=F32).item()
        pa, pb = nn.Parameter(a.clone()), nn.Parameter(b.clone())
        pa.grad, pb.grad = a.clone(), b.clone()
        total = nn.utils.clip_grad_norm_([pa, pb], bound).item()
        first = pa.grad[0].item() / a[0].item()
        assert torch.allclose(torch.cat([pa.grad, pb.grad]), first * torch.cat([a, b]), rtol=1e-14, atol=0)
        cases.append({"sizes": sizes, "scale": scale, "bound": bound, "norm": short(total, 12),
                      "coefficient": short(first, 12)})
    return cases, None


# Losses ---------------------------------------------------------------------------------------------------------------

def drawn_labels(section, i, rows, classes):
    draw = Counter(SEED[section], 2, i)
    return torch.tensor([draw.below(classes) for _ in range(rows)])


def differentiated(loss_of, logits):
    leaf = logits.clone().requires_grad_()
    loss = loss_of(leaf)
    loss.backward()
    return short(loss.item(), 9), leaf.grad.flatten()


def smoothing():
    """A row of soft targets is made of eighths in random classes, so that its sum is exactly one."""
    cases, gradients = [], []
    for i, draw in settings("smoothing"):
        rows, classes = draw.whole(1, 4), draw.choice([2, 100, int(draw.scale(2, 101)), int(draw.scale(2, 101))])
        epsilon = draw.choice([0, 0.1, short(draw.uniform() * 0.999)])
        logits = inputs("smoothing", i, rows, classes, scale=8.0)
        labels = drawn_labels("smoothing", i, rows, classes)
        soft, place = torch.zeros(rows, classes, dtype=F64), Counter(SEED["smoothing"], 3, i)
        for r in range(rows):
            for _ in range(8):
                soft[r, place.below(classes)] += 1 / 8
        case = {"rows": rows, "classes": classes, "smoothing": epsilon}
        for kind, target in (("hard", labels), ("soft", soft)):
            case[kind], gradient = differentiated(
                lambda x: nn.CrossEntropyLoss(label_smoothing=epsilon)(x, target), logits)
            gradients.append(gradient)
        cases.append(case)
    return cases, torch.cat(gradients)


def mixup():
    cases, gradients = [], []
    for i, draw in settings("mixup"):
        rows, classes = draw.whole(1, 8), draw.whole(2, 12)
        lam = draw.choice([0, 0.5, 1, draw.uniform(), draw.uniform(), draw.uniform()])
        epsilon = draw.choice([0, 0.1, short(draw.uniform() * 0.999)])
        logits, labels = inputs("mixup", i, rows, classes, scale=4.0), drawn_labels("mixup", i, rows, classes)
        target = mixup_target(labels, classes, lam, epsilon)
        loss, gradient = differentiated(lambda x: soft_target_cross_entropy(x, target), logits)
        cases.append({"rows": rows, "classes": classes, "lam": lam, "smoothing": epsilon, "loss": loss})
        gradients.append(gradient)
    return cases, torch.cat(gradients)


def cutmix():
    cases = []
    for _, draw in settings("cutmix"):
        height, width = draw.whole(1, 40), draw.choice([draw.whole(1, 40), 32])
        lam = draw.choice([0, 1, draw.uniform(), draw.uniform(), draw.uniform(), draw.uniform()])
        row, column = draw.below(height), draw.below(width)
        box, corrected = cut_box(height, width, lam, row, column)
        cases.append({"height": height, "width": width, "lam": lam, "row": row, "column": column, "box": box,
                      "corrected": corrected})
    return cases, None


# The model ------------------------------------------------------------------------------------------------------------

def drop_path():
    """Every depth up to 24 with a random rate, then random depths; `scale` is the factor of a kept branch in the last block."""
    cases = []
    for i, draw in settings("drop_path"):
        depth, rate = i + 1 if i < 24 else draw.whole(1, 24), short(draw.choice([0.1, draw.uniform() * 0.95]))
        found = drop_path_rates(rate, depth)
        cases.append({"depth": depth, "rate": rate, "rates": [short(x, 6) for x in found],
                      "scale": drop_path_scale(rate)})
    return cases, None


# The initial distribution of every parameter, alike in all blocks: its kind, and a standard deviation, value or bound.
TIMM = {
    **{name: ["normal", 1e-6] for name in ("cls_token", "reg_token")},
    **{name: ["normal", 0.02] for name in ("pos_embed", "blocks.attn.qkv.weight", "blocks.attn.proj.weight",
                                           "blocks.mlp.fc1.weight", "blocks.mlp.fc2.weight", "head.weight")},
    **{name: ["constant", 0] for name in ("blocks.attn.qkv.bias", "blocks.attn.proj.bias", "blocks.mlp.fc1.bias",
                                          "blocks.mlp.fc2.bias", "head.bias")},
    **{f"patch_embed.proj.{part}": ["uniform", "patch"] for part in ("weight", "bias")},
}
PYTORCH = {
    **{f"{name}.{part}": ["uniform", bound] for part in ("weight", "bias") for name, bound in
       (("patch_embed.proj", "patch"), ("blocks.mlp.fc1", "width"), ("blocks.mlp.fc2", "hidden"), ("head", "width"))},
    "blocks.attn.qkv.weight": ["uniform", "packed"], "blocks.attn.qkv.bias": ["constant", 0],
    "blocks.attn.proj.weight": ["uniform", "width"], "blocks.attn.proj.bias": ["constant", 0],
}
NORMS = {**{f"blocks.{name}.{part}": ["constant", value] for part, value in (("weight", 1), ("bias", 0))
            for name in ("norm1", "norm2", "attn.q_norm", "attn.k_norm")},
         **{f"{name}.{part}": ["constant", value] for part, value in (("weight", 1), ("bias", 0)) for name in ("norm", "fc_norm")},
         "blocks.ls1.gamma": ["constant", 0.1], "blocks.ls2.gamma": ["constant", 0.1]}
LAWS = {"timm": {**TIMM, **NORMS}, "pytorch": {**PYTORCH, **NORMS}}


def bounds(config):
    """Bounds of kaiming_uniform_(a=√5) for each number of inputs, and of xavier_uniform_ for the packed projection."""
    width = config["embed_dim"]
    kaiming = lambda inputs: nn.init.calculate_gain("leaky_relu", math.sqrt(5)) * math.sqrt(3 / inputs)
    return {"patch": kaiming(config["in_chans"] * config["patch_size"] ** 2), "width": kaiming(width),
            "hidden": kaiming(width * config["mlp_ratio"]), "packed": math.sqrt(6 / (3 * width + width))}


def drawn_by_torch(scheme, config):
    """Parameters by name, drawn by PyTorch: of timm's model, or of the PyTorch layers that scheme `pytorch` imitates."""
    if scheme == "timm":
        model = VisionTransformer(**config, layer_scale=0.1, qk_norm=True).init_weights()
        return {name.replace("blocks.0.", "blocks."): p for name, p in model.named_parameters() if "blocks.1" not in name
                and "blocks.2" not in name}
    width, hidden = config["embed_dim"], config["embed_dim"] * config["mlp_ratio"]
    attention = nn.MultiheadAttention(width, config["num_heads"])
    layers = {"patch_embed.proj": nn.Conv2d(config["in_chans"], width, config["patch_size"]),
              "blocks.attn.proj": attention.out_proj, "blocks.mlp.fc1": nn.Linear(width, hidden),
              "blocks.mlp.fc2": nn.Linear(hidden, width), "head": nn.Linear(width, config["num_classes"])}
    named = {f"{name}.{part}": p for name, layer in layers.items() for part, p in layer.named_parameters()}
    return {**named, "blocks.attn.qkv.weight": attention.in_proj_weight, "blocks.attn.qkv.bias": attention.in_proj_bias}


def obeys(x, kind, number):
    """Mean and second moment are within five standard deviations; a uniform parameter is within its bound."""
    x = x.detach().to(F64).flatten()
    if kind == "constant":
        return bool(((x - number).abs() < 1e-8).all())
    second, fourth = (number ** 2 / 3, number ** 4 / 5) if kind == "uniform" else (number ** 2, 3 * number ** 4)
    within = kind != "uniform" or x.abs().max().item() <= number * (1 + 1e-6)
    return (within and abs(x.mean().item()) <= 5 * math.sqrt(second / len(x))
            and abs((x ** 2).mean().item() - second) <= 5 * math.sqrt((fourth - second ** 2) / len(x)))


def first_values():
    torch.manual_seed(0)
    cases = []
    for _, draw in settings("init"):
        heads = draw.whole(1, 3)
        config = {"embed_dim": heads * draw.choice([4, 6, 8, 10]), "num_heads": heads, "depth": draw.whole(1, 3),
                  "mlp_ratio": draw.choice([1, 2, 4]), "patch_size": draw.choice([1, 2, 4, 8]), "image_size": 8,
                  "in_chans": draw.whole(1, 4), "num_classes": draw.whole(2, 12), "pool": draw.choice(["cls", "mean"]),
                  "reg_tokens": draw.choice([0, draw.whole(1, 4)])}
        numbers = bounds(config)
        for scheme, laws in LAWS.items():
            for name, p in drawn_by_torch(scheme, config).items():
                kind, number = laws[name]
                assert obeys(p, kind, numbers.get(number, number)), (scheme, name, config)
        cases.append({"config": config, "bounds": numbers})
    return cases, None


def weight_decay():
    """For each parameter of a model with all parts: does it decay?"""
    config = {"image_size": 8, "embed_dim": 8, "depth": 1, "num_heads": 2, "layer_scale": 0.1, "qk_norm": True, "reg_tokens": 2}
    return {name: decays(name, p.ndim) for name, p in VisionTransformer(**config).named_parameters()}


SECTIONS = {"schedule": schedules, "ema": averages, "accumulation": accumulation, "clip": clipping,
            "smoothing": smoothing, "mixup": mixup, "cutmix": cutmix, "drop_path": drop_path, "init": first_values}


def made():
    """The cases by section, and results that are tensors, joined to one tensor for each section."""
    answers = {name: section() for name, section in SECTIONS.items()}
    # Values that are zero in exact arithmetic, such as the gradient of a key bias, are rounding that differs between CPUs.
    cases = {name: cases for name, (cases, _) in answers.items()}
    return ({**cases, "laws": LAWS, "decays": weight_decay()},
            {name: x.masked_fill(x.abs() < 1e-14, 0) for name, (_, x) in answers.items() if x is not None})
