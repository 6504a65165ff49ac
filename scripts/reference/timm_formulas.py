"""The formulas of timm 1.0.29 that the fixtures need, written out so that only PyTorch must be installed.
`python3 scripts/reference/timm_formulas.py` compares them with timm itself, if that is installed."""
import math

import torch
import torch.nn.functional as F

F64 = torch.float64


def ema_decay(decay, step):
    """utils.ModelEmaV3.get_decay with use_warmup and its other defaults; the training loop counts steps from 1."""
    step = max(0, step - 1)
    return 0.0 if step == 0 else max(min(1 - (1 + step) ** -(2 / 3), decay), 0.0)


def drop_path_rates(rate, depth):
    """layers.calculate_drop_path_rates, in float32: from 0 in the first block; a single block has 0."""
    return [x.item() for x in torch.linspace(0, rate, depth)]


def drop_path_scale(rate):
    """layers.drop_path with scale_by_keep: a kept branch is divided by the probability of keeping it."""
    return torch.ones(1, dtype=torch.float32).div_(1 - rate).item()


def mixup_target(labels, classes, lam, smoothing):
    """data.mixup.mixup_target: both labels smoothed, then mixed with the batch in reverse."""
    off = smoothing / classes
    on = 1 - smoothing + off

    def smoothed(which):
        return torch.full((len(labels), classes), off, dtype=F64).scatter_(1, which.view(-1, 1), on)

    return smoothed(labels) * lam + smoothed(labels.flip(0)) * (1 - lam)


def soft_target_cross_entropy(logits, target):
    """loss.SoftTargetCrossEntropy."""
    return (-target * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


def cut_box(height, width, lam, row, column):
    """data.mixup.rand_bbox for a given centre, with cutmix_bbox_and_lam's correction: (top, bottom, left, right), lam."""
    ratio = math.sqrt(1 - lam)

    def side(length, middle):
        cut = int(length * ratio)
        return min(max(middle - cut // 2, 0), length), min(max(middle + (cut + 1) // 2, 0), length)

    top, bottom = side(height, row)
    left, right = side(width, column)
    return (top, bottom, left, right), 1 - (bottom - top) * (right - left) / (height * width)


def decays(name, dimensions):
    """optim.param_groups_weight_decay with VisionTransformer.no_weight_decay, which has the registers since timm 1.0.29;
    releases before July 2026 lack them."""
    return dimensions > 1 and not name.endswith(".bias") and name not in ("pos_embed", "cls_token", "reg_token")


def compare_with_timm():
    import numpy as np
    import timm
    from timm.data import mixup
    from timm.layers import calculate_drop_path_rates, drop_path
    from timm.loss import SoftTargetCrossEntropy
    from timm.models.vision_transformer import VisionTransformer
    from timm.optim import param_groups_weight_decay
    from timm.utils import ModelEmaV3

    for decay in (0.5, 0.99, 0.9999):
        ema = ModelEmaV3(torch.nn.Linear(1, 1), decay=decay, use_warmup=True)
        for step in (1, 2, 3, 10, 999, 31623, 10 ** 6):
            assert ema.get_decay(step) == ema_decay(decay, step), (decay, step)

    for depth in range(1, 25):
        assert calculate_drop_path_rates(0.3, depth) == drop_path_rates(0.3, depth)
    kept = drop_path(torch.ones(64, 1), 0.3, training=True).unique().tolist()
    assert kept == [0, drop_path_scale(0.3)], kept

    labels = torch.tensor([3, 0, 4, 3, 1])
    ours, theirs = mixup_target(labels, 5, 0.3, 0.1), mixup.mixup_target(labels, 5, 0.3, 0.1)
    assert torch.allclose(ours.float(), theirs)
    logits = torch.randn(5, 5, dtype=F64)
    assert torch.equal(soft_target_cross_entropy(logits, ours), SoftTargetCrossEntropy()(logits, ours))

    for _ in range(1000):
        height, width, lam = np.random.randint(1, 70), np.random.randint(1, 70), np.random.rand()
        state = np.random.get_state()
        (top, bottom, left, right), corrected = mixup.cutmix_bbox_and_lam((height, width), lam)
        np.random.set_state(state)
        middle = np.random.randint(0, height), np.random.randint(0, width)
        assert cut_box(height, width, lam, *middle) == ((top, bottom, left, right), corrected)

    model = VisionTransformer(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2, reg_tokens=2, init_values=0.1,
                              qk_norm=True, num_classes=3)
    groups = param_groups_weight_decay(model, 0.05, no_weight_decay_list=model.no_weight_decay())
    decayed = {id(p) for group in groups for p in group["params"] if group["weight_decay"] > 0}
    for name, p in model.named_parameters():
        assert decays(name, p.ndim) == (id(p) in decayed), name
    print(f"timm {timm.__version__} agrees with the formulas.")


if __name__ == "__main__":
    compare_with_timm()
