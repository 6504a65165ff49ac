"""Writes test/reference/*: small files of PyTorch's results that the tests compare with. Arguments choose the parts
(models, optim, losses, schedule, drawn); without arguments, all are made.
Inputs are rounded to float32 first; results are computed from them in float64 and stored as float32."""
import json
import os
import sys
import warnings

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
import differential  # noqa: E402
from vit import VisionTransformer, attention, load_safetensors, param_groups, save_safetensors  # noqa: E402

OUT = os.path.join(HERE, "..", "test", "reference")
F32, F64 = torch.float32, torch.float64


def generator(seed):
    return torch.Generator().manual_seed(seed)


def randn(g, *shape, std=1.0, mean=0.0):
    """float64 values that are exact in float32."""
    return (torch.randn(*shape, generator=g, dtype=F64) * std + mean).to(F32).to(F64)


def exact(values):
    return torch.tensor(values, dtype=F32).to(F64)


def save(name, tensors, metadata):
    stored = {key: t.to(torch.int32) if t.dtype == torch.int64 else t.detach().to(F32) for key, t in tensors.items()}
    assert all(bool(torch.isfinite(t).all()) for t in stored.values()), name
    path = os.path.join(OUT, name)
    save_safetensors(path, stored, {"torch": torch.__version__, **metadata})
    back, _ = load_safetensors(path)
    assert set(back) == set(stored) and all(torch.equal(back[key], stored[key]) for key in stored), name
    print(f"{name}  {os.path.getsize(path)} bytes  {len(stored)} tensors")


# Whole models ---------------------------------------------------------------------------------------------------------

def make_model(config, seed):
    """Weights much larger than at initialisation, so that no gradient is tiny."""
    g = generator(seed)
    model = VisionTransformer(**config).to(F64)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if not p.requires_grad:
                continue
            if "norm" in name and name.endswith("weight"):
                p.copy_(randn(g, *p.shape, std=0.2, mean=1.0))
            elif name == "patch_embed.proj.weight":
                p.copy_(randn(g, *p.shape, std=0.15))
            elif name in ("pos_embed", "cls_token", "reg_token"):
                p.copy_(randn(g, *p.shape, std=0.5))
            elif name.endswith("gamma"):
                p.copy_(randn(g, *p.shape, std=0.2, mean=0.7))
            else:
                p.copy_(randn(g, *p.shape, std=0.2))
    return model


def train(model, images, labels, rule):
    optimizer = torch.optim.AdamW(param_groups(model, rule["weight_decay"], rule["decay"]), lr=rule["lr"],
                                  betas=(rule["beta1"], rule["beta2"]), eps=rule["eps"])
    losses, norms = [], []
    for _ in range(rule["steps"]):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), rule["clip"]).item())
        optimizer.step()
    return losses, norms


def vit(name, config, batch, seed, train_steps=0, image_grad=False):
    g = generator(seed + 1000)
    height, width = config["image_size"]
    images = randn(g, batch, config["in_chans"], height, width)
    labels = torch.randint(config["num_classes"], (batch,), generator=g)
    model = make_model(config, seed)
    start = {key: p.detach().clone() for key, p in model.named_parameters()}

    x = images.clone().requires_grad_(image_grad)
    logits = model(x)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    tensors = {"images": images, "labels": labels, "logits": logits}
    tensors.update({f"weights.{key}": value for key, value in start.items()})
    tensors.update({f"grad.{key}": p.grad.clone() for key, p in model.named_parameters() if p.requires_grad})
    if image_grad:
        tensors["grad.images"] = x.grad
    metadata = {"config": json.dumps({**config, "grid": list(model.grid), "tokens": model.pos_embed.shape[1]}),
                "loss": repr(loss.item())}

    if train_steps:
        rule = {"lr": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.05, "clip": 1.0,
                "decay": "matrices", "steps": train_steps}
        losses, norms = train(model, images, labels, rule)
        single = make_model(config, seed).to(F32)
        losses32, norms32 = train(single, images.to(F32), labels, rule)
        after = {key: p.detach() for key, p in model.named_parameters()}
        tensors.update({f"after.{key}": value for key, value in after.items()})
        # The key bias has no effect on the loss, so its gradient is only rounding and Adam may move it anywhere. If
        # keys are normalised, the same holds for the bias of their norm.
        dim, worst, keys = config["embed_dim"], 0.0, 0.0
        for key, p in single.named_parameters():
            apart = (p.detach().to(F64) - after[key]).abs()
            if key.endswith("k_norm.bias"):
                keys = max(keys, apart.max().item())
                apart[:] = 0
            if key.endswith("qkv.bias") and not config.get("qk_norm"):
                keys = max(keys, apart[dim:2 * dim].max().item())
                apart[dim:2 * dim] = 0
            worst = max(worst, apart.max().item())
        gap = max(abs(a - b) for a, b in zip(losses, losses32))
        metadata["adamw"] = json.dumps({**rule, "losses": losses, "norms": norms, "float32": {
            "max_loss_difference": gap, "agrees_within_1e-5": gap < 1e-5,
            "max_norm_difference": max(abs(a - b) for a, b in zip(norms, norms32)),
            "max_weight_difference": worst, "max_key_bias_difference": keys}})
        print(f"  loss {losses[0]:.4f} -> {losses[-1]:.4f}, norm {min(norms):.3f}..{max(norms):.3f}, "
              f"float32: loss {gap:.1e}, weights {worst:.1e}, key bias {keys:.1e}")
    save(name, tensors, metadata)


# Optimiser ------------------------------------------------------------------------------------------------------------

def optim():
    g, steps, n = generator(21), 12, 37
    start, grads = randn(g, n), randn(g, steps, n)
    grads[:, 0] = 0                          # never any gradient: decay alone
    grads[:, 1] *= 2.0 ** -20                # small beside the others
    grads[:, 2] *= 2.0 ** 10                 # large
    grads[6:, 3] = 0                         # stops half way
    lrs = [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 5e-3, 4e-3, 3e-3, 2e-3, 1e-3, 5e-4, 1e-5]
    rule = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.05, "lrs": lrs}
    p = start.clone().requires_grad_()
    optimizer = torch.optim.AdamW([p], lr=1.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05)
    params, firsts, seconds = [], [], []
    for lr, grad in zip(lrs, grads):
        optimizer.param_groups[0]["lr"] = lr
        p.grad = grad.clone()
        optimizer.step()
        params.append(p.detach().clone())
        firsts.append(optimizer.state[p]["exp_avg"].clone())
        seconds.append(optimizer.state[p]["exp_avg_sq"].clone())
    tensors = {"adamw.start": start, "adamw.grads": grads, "adamw.params": torch.stack(params),
               "adamw.exp_avg": torch.stack(firsts), "adamw.exp_avg_sq": torch.stack(seconds)}

    a, b = randn(g, 7, 5), randn(g, 11, std=3.0)
    max_norms, norms = [0.1, 1.0, 5.0, 100.0], []
    for i, max_norm in enumerate(max_norms):
        pa, pb = torch.zeros_like(a).requires_grad_(), torch.zeros_like(b).requires_grad_()
        pa.grad, pb.grad = a.clone(), b.clone()
        norms.append(torch.nn.utils.clip_grad_norm_([pa, pb], max_norm).item())
        tensors[f"clip.{i}.a"], tensors[f"clip.{i}.b"] = pa.grad, pb.grad
    tensors["clip.a"], tensors["clip.b"] = a, b

    decay, weights = 0.9, randn(g, 6, 19)
    first = randn(g, 19)
    average, averages = first.clone(), []
    for w in weights:
        average = average.lerp(w, 1 - decay)   # decay * average + (1 - decay) * w
        averages.append(average)
    tensors.update({"ema.start": first, "ema.weights": weights, "ema.averages": torch.stack(averages)})
    save("optim.safetensors", tensors, {"adamw": json.dumps(rule), "ema": json.dumps({"decay": decay}),
                                        "clip": json.dumps({"max_norms": max_norms, "norms": norms})})


# Losses and operations ------------------------------------------------------------------------------------------------

def losses():
    g, tensors, meta = generator(31), {}, {}

    logits = randn(g, 9, 5, std=3.0)
    logits[1] = exact([80, -80, 0, 40, -40])
    logits[2] = exact([1000, 999, -1000, 0, 998])
    logits[3] = exact([-1e4, -1e4 + 1, -1e4 - 1, -1e4, -1e4 + 2])
    logits[4] = 0
    labels = torch.randint(5, (9,), generator=g)
    labels[1], labels[2] = 1, 2                # confident and wrong
    soft = randn(g, 9, 5).softmax(-1).to(F32).to(F64)
    soft[5] = exact([0.25, 0, 0.75, 0, 0])     # as mixup makes them
    tensors.update({"ce.logits": logits, "ce.labels": labels, "ce.soft": soft})
    smoothings, values = [0.0, 0.1, 0.3], {"hard": [], "soft": []}
    for kind, target in (("hard", labels), ("soft", soft)):
        for i, smoothing in enumerate(smoothings):
            x = logits.clone().requires_grad_()
            each = F.cross_entropy(x, target, label_smoothing=smoothing, reduction="none")
            loss = F.cross_entropy(x, target, label_smoothing=smoothing)
            loss.backward()
            values[kind].append(loss.item())
            tensors[f"ce.{kind}.{i}.each"], tensors[f"ce.{kind}.{i}.grad"] = each, x.grad
    meta["cross_entropy"] = json.dumps({"smoothings": smoothings, **values})

    x, w, b, dy = randn(g, 5, 33, std=2.0, mean=0.5), randn(g, 33, std=0.3, mean=1.0), randn(g, 33), randn(g, 5, 33)
    x[3] = exact([0.125 + 0.001 * (i % 3) for i in range(33)])   # variance so small that eps counts
    x[4] = 2.0                                                   # no variance at all
    dy[3:] *= 2.0 ** -8                                          # their dx is hundreds of times dy
    tensors.update({"layer_norm.x": x, "layer_norm.weight": w, "layer_norm.bias": b, "layer_norm.dy": dy})
    epses = [1e-6, 1e-5]
    for i, eps in enumerate(epses):
        leaves = [t.clone().requires_grad_() for t in (x, w, b)]
        y = F.layer_norm(leaves[0], (33,), leaves[1], leaves[2], eps)
        y.backward(dy)
        tensors[f"layer_norm.{i}.y"] = y
        for key, leaf in zip(("dx", "dweight", "dbias"), leaves):
            tensors[f"layer_norm.{i}.{key}"] = leaf.grad
    meta["layer_norm"] = json.dumps({"eps": epses})

    x = torch.linspace(-9, 9, 257, dtype=F64).to(F32).to(F64)
    tensors["gelu.x"] = x
    for key, approximate in (("erf", "none"), ("tanh", "tanh")):
        leaf = x.clone().requires_grad_()
        y = F.gelu(leaf, approximate=approximate)
        y.sum().backward()
        tensors[f"gelu.{key}.y"], tensors[f"gelu.{key}.grad"] = y, leaf.grad

    x, dy = randn(g, 6, 17, std=3.0), randn(g, 6, 17)
    x[1], x[2] = x[1] * 40, x[2] - 5000
    x = x.to(F32).to(F64)
    leaf = x.clone().requires_grad_()
    y = leaf.softmax(-1)
    y.backward(dy)
    tensors.update({"softmax.x": x, "softmax.dy": dy, "softmax.y": y, "softmax.dx": leaf.grad})

    heads, qkv, dout = 3, randn(g, 2, 11, 72, std=1.5), randn(g, 2, 11, 24)
    leaf = qkv.clone().requires_grad_()
    out = attention(leaf, heads)
    out.backward(dout)
    tensors.update({"attention.qkv": qkv, "attention.dout": dout, "attention.out": out, "attention.dqkv": leaf.grad})
    meta["attention"] = json.dumps({"batch": 2, "heads": heads, "tokens": 11, "head_dim": 8, "scale": 8 ** -0.5})
    save("losses.safetensors", tensors, meta)


# Learning-rate schedule -----------------------------------------------------------------------------------------------

def schedule():
    """lr[t] is the rate of the step after t finished steps: linear from warmup_lr, then cosine down to min_lr."""
    warnings.filterwarnings("ignore", message="The epoch parameter")   # SequentialLR's own call
    cases, worst = [], 0.0
    for lr, warmup_lr, min_lr, warmup, total in ((1e-3, 1e-6, 1e-5, 10, 60), (5e-4, 1e-5, 0.0, 7, 100),
                                                 (3e-3, 1e-4, 1e-4, 1, 25), (1e-3, 1e-6, 0.0, 0, 40)):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=min_lr)
        if warmup:
            optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
            scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [
                torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=warmup_lr / lr, total_iters=warmup),
                torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=min_lr),
            ], milestones=[warmup])
        lrs = []
        for _ in range(total):
            lrs.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        half = torch.pi / (total - warmup)
        for t, value in enumerate(lrs):
            cosine = min_lr + 0.5 * (lr - min_lr) * (1 + torch.cos(torch.tensor(half * (t - warmup), dtype=F64)).item())
            worst = max(worst, abs((warmup_lr + (lr - warmup_lr) * t / warmup if t < warmup else cosine) - value))
        cases.append({"lr": lr, "warmup_lr": warmup_lr, "min_lr": min_lr, "warmup_steps": warmup, "steps": total, "lrs": lrs})
    assert worst < 1e-15, worst
    one_cycle = []
    for lr, total in ((1e-3, 60), (3e-3, 101), (5e-4, 7)):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=total, cycle_momentum=False)
        lrs = []
        for t in range(total):
            lrs.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if t + 1 < total:
                scheduler.step()
        one_cycle.append({"lr": lr, "steps": total, "lrs": lrs})
    with open(os.path.join(OUT, "schedule.json"), "w") as file:
        json.dump({"torch": torch.__version__, "formula_max_difference": worst, "cases": cases,
                   "one_cycle": one_cycle}, file, indent=1)
        file.write("\n")
    print(f"schedule.json  {len(cases)} cases and {len(one_cycle)} cycles, formula within {worst:.1e} of PyTorch")


# Fifty drawn settings each --------------------------------------------------------------------------------------------

def drawn():
    """One line for each setting, so that a diff is readable."""
    cases, tensors = differential.made()
    save("differential.safetensors", tensors, {})
    lines = lambda value: "[\n" + ",\n".join(map(json.dumps, value)) + "\n]" if isinstance(value, list) else json.dumps(value)
    text = ",\n".join(f"{json.dumps(name)}: {lines(value)}" for name, value in cases.items())
    path = os.path.join(OUT, "differential.json")
    with open(path, "w") as file:
        file.write(f"{{\n{text}\n}}\n")
    print(f"differential.json  {os.path.getsize(path)} bytes")


def models():
    small = {"image_size": [16, 16], "patch_size": [4, 4], "stride": [4, 4], "padding": [0, 0], "in_chans": 3,
             "num_classes": 7, "embed_dim": 24, "depth": 2, "num_heads": 3, "mlp_ratio": 2, "eps": 1e-6}
    vit("vit_cls.safetensors", {**small, "pool": "cls"}, batch=6, seed=1, train_steps=20)
    vit("vit_mean.safetensors", {**small, "pool": "mean"}, batch=6, seed=2, train_steps=20)
    rectangle = {**small, "image_size": [12, 18], "patch_size": [3, 6], "stride": [3, 3], "padding": [0, 3],
                 "depth": 1, "pool": "cls"}
    vit("vit_rect.safetensors", rectangle, batch=3, seed=3, image_grad=True)
    options = {**small, "layer_scale": 0.1, "qk_norm": True, "reg_tokens": 3}
    vit("vit_options.safetensors", {**options, "pool": "mean", "pos_embed": "sincos2d"}, batch=6, seed=4, train_steps=20)
    vit("vit_registers.safetensors", {**options, "pool": "cls", "depth": 1}, batch=3, seed=5)


PARTS = {part.__name__: part for part in (models, optim, losses, schedule, drawn)}


def main(names):
    torch.set_num_threads(1)   # the same bytes every time; those of models also depend on the vector unit of the CPU
    os.makedirs(OUT, exist_ok=True)
    for name in names or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
