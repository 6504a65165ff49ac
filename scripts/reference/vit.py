"""A plain PyTorch Vision Transformer with the names, layouts and arithmetic of timm's VisionTransformer,
and a small safetensors reader and writer. Needs torch and nothing else."""
import json
import struct

import torch
from torch import nn


def pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


class PatchEmbed(nn.Module):
    def __init__(self, in_chans, embed_dim, patch_size, stride, padding):
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, stride=stride, padding=padding)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, dim, num_heads, eps, qk_norm):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.q_norm = nn.LayerNorm(dim // num_heads, eps=eps) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(dim // num_heads, eps=eps) if qk_norm else nn.Identity()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        return self.proj(attention(self.qkv(x), self.num_heads, self.q_norm, self.k_norm))


def attention(qkv, num_heads, q_norm=nn.Identity(), k_norm=nn.Identity()):
    """(B, N, 3D) -> (B, N, D); the last axis of qkv is [q | k | v], each [head | head_dim]."""
    b, n, width = qkv.shape
    head_dim = width // (3 * num_heads)
    q, k, v = qkv.reshape(b, n, 3, num_heads, head_dim).permute(2, 0, 3, 1, 4).unbind(0)
    q, k = q_norm(q), k_norm(k)
    scores = (q * head_dim ** -0.5) @ k.transpose(-2, -1)
    return (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, num_heads * head_dim)


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()  # the exact one, with erf
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class LayerScale(nn.Module):
    def __init__(self, dim, initial):
        super().__init__()
        self.gamma = nn.Parameter(initial * torch.ones(dim))

    def forward(self, x):
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, dim, num_heads, mlp_ratio, eps, layer_scale, qk_norm):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, num_heads, eps, qk_norm)
        self.ls1 = LayerScale(dim, layer_scale) if layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.ls2 = LayerScale(dim, layer_scale) if layer_scale else nn.Identity()

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


def sincos2d(grid, dim, prefix):
    """Fixed positions of big_vision: [sin x | cos x | sin y | cos y] for every patch, zeros for the tokens before them."""
    y, x = torch.meshgrid(*(torch.arange(size, dtype=torch.float64) for size in grid), indexing="ij")
    omega = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4 - 1))
    y, x = y.reshape(-1, 1) * omega, x.reshape(-1, 1) * omega
    patches = torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1)
    return torch.cat([torch.zeros(prefix, dim, dtype=torch.float64), patches])[None]


class VisionTransformer(nn.Module):
    def __init__(self, image_size=32, patch_size=4, in_chans=3, num_classes=10, embed_dim=192, depth=12, num_heads=3,
                 mlp_ratio=4.0, pool="cls", eps=1e-6, stride=None, padding=0, layer_scale=0.0, qk_norm=False,
                 reg_tokens=0, pos_embed="learn"):
        super().__init__()
        assert pool in ("cls", "mean") and embed_dim % num_heads == 0
        image, patch, padding = pair(image_size), pair(patch_size), pair(padding)
        stride = patch if stride is None else pair(stride)
        self.pool = pool
        self.grid = tuple((image[i] + 2 * padding[i] - patch[i]) // stride[i] + 1 for i in (0, 1))
        self.prefix = (pool == "cls") + reg_tokens
        tokens = self.grid[0] * self.grid[1] + self.prefix
        if pool == "cls":
            self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        if reg_tokens:
            self.reg_token = nn.Parameter(torch.zeros(1, reg_tokens, embed_dim))
        # As timm without no_embed_class: class token and registers also have positions.
        if pos_embed == "learn":
            self.pos_embed = nn.Parameter(torch.zeros(1, tokens, embed_dim))
        else:
            self.pos_embed = nn.Parameter(sincos2d(self.grid, embed_dim, self.prefix).to(torch.float32), requires_grad=False)
        self.patch_embed = PatchEmbed(in_chans, embed_dim, patch, stride, padding)
        self.blocks = nn.Sequential(*[Block(embed_dim, num_heads, mlp_ratio, eps, layer_scale, qk_norm) for _ in range(depth)])
        self.norm = nn.LayerNorm(embed_dim, eps=eps) if pool == "cls" else nn.Identity()
        self.fc_norm = nn.LayerNorm(embed_dim, eps=eps) if pool == "mean" else nn.Identity()
        self.head = nn.Linear(embed_dim, num_classes)

    def init_weights(self):
        """timm's defaults; the patch convolution keeps PyTorch's own initialisation."""
        if self.pos_embed.requires_grad:
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        if hasattr(self, "reg_token"):
            nn.init.normal_(self.reg_token, std=1e-6)
        if self.pool == "cls":
            nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        return self

    def forward(self, x):
        x = self.patch_embed(x)
        if hasattr(self, "reg_token"):
            x = torch.cat((self.reg_token.expand(x.shape[0], -1, -1), x), dim=1)
        if self.pool == "cls":
            x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        x = self.norm(self.blocks(x + self.pos_embed))
        x = x[:, 0] if self.pool == "cls" else x[:, self.prefix:].mean(dim=1)
        return self.head(self.fc_norm(x))


def param_groups(model, weight_decay, decay="matrices"):
    """'matrices' decays weights of two or more dimensions, except positions and tokens; 'all' decays everything."""
    groups = {True: [], False: []}
    for name, p in model.named_parameters():
        groups[decay == "all" or (p.ndim >= 2 and name not in ("pos_embed", "cls_token", "reg_token"))].append(p)
    return [{"params": groups[True], "weight_decay": weight_decay}, {"params": groups[False], "weight_decay": 0.0}]


DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "I64": torch.int64, "I32": torch.int32,
          "U8": torch.uint8}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def save_safetensors(path, tensors, metadata=None):
    header, blobs, offset = {}, [], 0
    if metadata:
        header["__metadata__"] = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    # Wider elements first, then by name, so that every tensor starts at a multiple of its element size.
    for name, t in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        blob = t.detach().cpu().contiguous().numpy().tobytes()
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def load_safetensors(path):
    """Returns (tensors, metadata)."""
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + struct.unpack_from("<Q", data)[0]
    header, tensors = json.loads(data[8:start]), {}
    metadata = header.pop("__metadata__", {})
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = torch.frombuffer(bytearray(data[start + begin:start + end]), dtype=DTYPES[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return tensors, metadata
