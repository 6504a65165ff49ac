"""Times PyTorch training the reference model on the CPU with random images: median images a second, on all cores."""
import argparse
import json
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference"))
from vit import VisionTransformer, param_groups  # noqa: E402


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    a.add_argument("--embed-dim", type=int, default=192)
    a.add_argument("--depth", type=int, default=12)
    a.add_argument("--num-heads", type=int, default=3)
    a.add_argument("--patch-size", type=int, default=4)
    a.add_argument("--image-size", type=int, default=32)
    a.add_argument("--mlp-ratio", type=float, default=4)
    a.add_argument("--pool", choices=("cls", "mean"), default="cls")
    a.add_argument("--batch-size", type=int, default=64)
    a.add_argument("--steps", type=int, default=5, help="timed steps, after one that is not")
    a.add_argument("--clip-grad", type=float, default=1.0, help="0: no clipping")
    a.add_argument("--threads", type=int, default=os.cpu_count())
    args = a.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = VisionTransformer(args.image_size, args.patch_size, 3, 10, args.embed_dim, args.depth, args.num_heads,
                              args.mlp_ratio, args.pool).init_weights()
    optimizer = torch.optim.AdamW(param_groups(model, 0.05), lr=1e-3)
    images = torch.randn(args.batch_size, 3, args.image_size, args.image_size)
    labels = torch.randint(10, (args.batch_size,))

    seconds = []
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        if args.clip_grad:
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip_grad)
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[1:])
    print(json.dumps({"images_per_second": round(args.batch_size / median, 3), "ms": round(median * 1000, 3),
                      "fastest_ms": round(min(seconds[1:]) * 1000, 3), "torch": torch.__version__, **vars(args)}))


if __name__ == "__main__":
    main()
