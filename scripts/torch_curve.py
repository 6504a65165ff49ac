"""Trains the reference model in PyTorch on CIFAR-10 in file order and writes the loss of every step, for comparison
with `node dist/train.js` started from the same --init weights with --no-shuffle, no augmentation and a constant rate."""
import argparse
import json
import os
import sys

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference"))
from vit import VisionTransformer, load_safetensors, param_groups, save_safetensors  # noqa: E402

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def parse():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    a.add_argument("--data-dir", default="data", help="folder that holds cifar-10-batches-bin")
    a.add_argument("--steps", type=int, default=100)
    a.add_argument("--batch-size", type=int, default=64)
    a.add_argument("--embed-dim", type=int, default=96)
    a.add_argument("--depth", type=int, default=4)
    a.add_argument("--num-heads", type=int, default=3)
    a.add_argument("--patch-size", type=int, default=4)
    a.add_argument("--mlp-ratio", type=float, default=4)
    a.add_argument("--pool", choices=("cls", "mean"), default="cls")
    a.add_argument("--lr", type=float, default=1e-3)
    a.add_argument("--weight-decay", type=float, default=0.05)
    a.add_argument("--decay", choices=("matrices", "all"), default="matrices")
    a.add_argument("--clip-grad", type=float, default=1.0, help="0: no clipping")
    a.add_argument("--seed", type=int, default=0)
    a.add_argument("--init", required=True, help="safetensors file of weights; written when absent")
    a.add_argument("--out", default="losses.json")
    a.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    a.add_argument("--threads", type=int, default=os.cpu_count())
    return a.parse_args()


def read_cifar(data_dir, count):
    """The first `count` training images, data_batch_1 onward, as normalised (count, 3, 32, 32), and their labels."""
    records = b""
    for i in range(1, 6):
        if len(records) < count * 3073:
            with open(os.path.join(data_dir, "cifar-10-batches-bin", f"data_batch_{i}.bin"), "rb") as file:
                records += file.read(count * 3073 - len(records))
    if len(records) < count * 3073:
        sys.exit(f"{count} images are wanted but the training set has {len(records) // 3073}: use fewer steps")
    table = torch.frombuffer(bytearray(records), dtype=torch.uint8).reshape(count, 3073)
    pixels = table[:, 1:].reshape(count, 3, 32, 32).float() / 255
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return (pixels - mean) / std, table[:, 0].long()


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    images, labels = read_cifar(args.data_dir, args.steps * args.batch_size)
    model = VisionTransformer(32, args.patch_size, 3, 10, args.embed_dim, args.depth, args.num_heads, args.mlp_ratio, args.pool)
    if os.path.exists(args.init):
        model.load_state_dict(load_safetensors(args.init)[0])
    else:
        save_safetensors(args.init, model.init_weights().state_dict(), {"format": "pt"})
    dtype = getattr(torch, args.dtype)
    model, images = model.to(dtype), images.to(dtype)
    optimizer = torch.optim.AdamW(param_groups(model, args.weight_decay, args.decay), lr=args.lr, betas=(0.9, 0.999), eps=1e-8)

    losses, norms = [], []
    for step in range(args.steps):
        batch = slice(step * args.batch_size, (step + 1) * args.batch_size)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip_grad or float("inf"))
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
        if step == 0 or (step + 1) % 10 == 0:
            print(f"step {step + 1}  loss {losses[-1]:.6f}  norm {norms[-1]:.4f}", flush=True)
    config = {key: value for key, value in vars(args).items() if key not in ("data_dir", "init", "out", "threads")}
    with open(args.out, "w") as file:
        json.dump({"losses": losses, "grad_norms": norms, "config": {**config, "torch": torch.__version__}}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
