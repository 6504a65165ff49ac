"""Times PyTorch training the reference model on random images, in median images per second: on all cores of the CPU, or on
a GPU (cuda: NVIDIA and AMD; mps: Apple) in float32, with TF32 products or under bf16 autocast. Eager, or with torch.compile."""
import argparse
import contextlib
import json
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference"))
from vit import VisionTransformer, param_groups  # noqa: E402


def arguments():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    a.add_argument("--embed-dim", type=int, default=192)
    a.add_argument("--depth", type=int, default=12)
    a.add_argument("--num-heads", type=int, default=3)
    a.add_argument("--patch-size", type=int, default=4)
    a.add_argument("--image-size", type=int, default=32)
    a.add_argument("--mlp-ratio", type=float, default=4)
    a.add_argument("--pool", choices=("cls", "mean"), default="cls")
    a.add_argument("--batch-size", type=int, default=64)
    a.add_argument("--steps", type=int, default=5, help="timed steps")
    a.add_argument("--warm-up", type=int, default=1, help="steps before them")
    a.add_argument("--clip-grad", type=float, default=1.0, help="0: no clipping")
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--device", choices=("cpu", "cuda", "mps"), default="cpu")
    a.add_argument("--tf32", action="store_true", help="products of float32 in TF32 (CUDA)")
    a.add_argument("--amp", action="store_true", help="autocast to bf16")
    a.add_argument("--compile", action="store_true", help="torch.compile")
    a.add_argument("--sdpa", action="store_true", help="attention by scaled_dot_product_attention, which has fused kernels")
    return a.parse_args()


def fused_attention(model):
    """Makes every block's attention use PyTorch's fused kernels, as timm does."""
    import vit

    def attention(qkv, num_heads, q_norm=torch.nn.Identity(), k_norm=torch.nn.Identity()):
        b, n, width = qkv.shape
        q, k, v = qkv.reshape(b, n, 3, num_heads, width // (3 * num_heads)).permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(q_norm(q), k_norm(k), v)
        return out.transpose(1, 2).reshape(b, n, width // 3)

    vit.attention = attention
    return model


def resident_mb(field):
    """Memory of this process: VmRSS now, or VmHWM at its peak; None where the system has no /proc."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith(field))
    except (OSError, StopIteration):
        return None


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    before_mb = resident_mb("VmRSS")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.tf32
    model = VisionTransformer(args.image_size, args.patch_size, 3, 10, args.embed_dim, args.depth, args.num_heads,
                              args.mlp_ratio, args.pool).init_weights().to(args.device)
    optimizer = torch.optim.AdamW(param_groups(model, 0.05), lr=1e-3)
    if args.sdpa:
        fused_attention(model)
    run = torch.compile(model) if args.compile else model
    images = torch.randn(args.batch_size, 3, args.image_size, args.image_size, device=args.device)
    labels = torch.randint(10, (args.batch_size,), device=args.device)
    cast = torch.autocast(args.device, torch.bfloat16) if args.amp else contextlib.nullcontext()

    seconds = []
    for _ in range(args.warm_up + args.steps):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with cast:
            loss = F.cross_entropy(run(images), labels)
        loss.backward()
        if args.clip_grad:
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip_grad)
        optimizer.step()
        loss.item()  # waits for the step
        seconds.append(time.perf_counter() - start)
    timed = seconds[args.warm_up:]
    median = statistics.median(timed)
    peak_mb = None
    if before_mb is not None and args.device == "cpu":
        peak_mb = round(resident_mb("VmHWM") - before_mb, 3)
    on = torch.cuda.get_device_name() if args.device == "cuda" else args.device
    print(json.dumps({"images_per_second": round(args.batch_size / median, 3), "ms": round(median * 1000, 3),
                      "fastest_ms": round(min(timed) * 1000, 3), "first_ms": round(seconds[0] * 1000, 3), "peak_mb": peak_mb,
                      "torch": torch.__version__, "on": on, **vars(args)}))


if __name__ == "__main__":
    main()
