"""Writes test/reference/augment.safetensors: two small images, and the results of every op of the augmentation policies
on them, by torchvision on PIL images. Needs torchvision. A tensor's name has the op, its value and the interpolation."""
import json
import os
import sys

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import _apply_op

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
from vit import save_safetensors  # noqa: E402

OUT = os.path.join(HERE, "..", "test", "reference", "augment.safetensors")
HEIGHT, WIDTH, FILL = 24, 28, [10, 128, 250]
INTERPOLATION = {"nearest": InterpolationMode.NEAREST, "bilinear": InterpolationMode.BILINEAR}

GEOMETRIC = {
    "ShearX": [0.27, -0.99, 0.03], "ShearY": [-0.3, 0.66],
    "TranslateX": [4, -9], "TranslateY": [-14, 1],
    "Rotate": [6.67, -27, 30, 135, -1],
}
OTHERS = {
    "Color": [0.1, 0.7, 1.3, 1.9], "Sharpness": [0.1, 0.7, 1.3, 1.9],
    "Brightness": [0.1, 0.7, 1.3, 1.9], "Contrast": [0.1, 0.7, 1.3, 1.9],
    "Hue": [0.1, -0.25, 0.5],
    "Posterize": [0, 1, 4, 7], "Solarize": [0, 26, 113.33, 255], "SolarizeAdd": [99],
    "Invert": [0], "AutoContrast": [0], "Equalize": [0],
}
WINDOWS = [(0, 0, 24, 28), (3, 5, 17, 22), (10, 0, 5, 28), (0, 21, 24, 7), (23, 27, 1, 1), (2, 3, 20, 19)]


def images():
    """One with edges and all values, and one with low contrast, whose range is narrow and differs between channels."""
    random = np.random.RandomState(7)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    disc = (x - 12) ** 2 + (y - 10) ** 2 < 60
    sharp = np.stack([255 * disc, 9 * x, 10 * y], -1) + random.randint(-20, 21, (HEIGHT, WIDTH, 3))
    dull = np.stack([90 + 2 * x, 120 + y + 20 * disc, 60 + 0 * x], -1) + random.randint(0, 6, (HEIGHT, WIDTH, 3)) * [1, 1, 0]
    return [Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)) for image in (sharp, dull)]


def apply(op, value, interpolation, image):
    if op in ("Brightness", "Contrast", "Sharpness"):
        return getattr(F, f"adjust_{op.lower()}")(image, value)
    if op == "Color":
        return F.adjust_saturation(image, value)
    if op == "Hue":
        return F.adjust_hue(image, value)
    if op == "SolarizeAdd":  # timm's
        table = [min(255, v + value) if v < 128 else v for v in range(256)]
        return image.point(table * 3)
    return _apply_op(image, op, value, interpolation, FILL)


def bytes_of(results):
    return torch.from_numpy(np.stack([np.asarray(image) for image in results]))


sources = images()
cases, tensors = [], {"images": bytes_of(sources)}
for op, values in {**GEOMETRIC, **OTHERS}.items():
    for value in values:
        for name in INTERPOLATION if op in GEOMETRIC else ["nearest"]:
            tensors[f"case.{len(cases)}"] = bytes_of([apply(op, value, INTERPOLATION[name], image) for image in sources])
            cases.append({"op": op, "value": value, "interpolation": name})
for i, window in enumerate(WINDOWS):
    resized = F.resized_crop(sources[0], *window, (HEIGHT, WIDTH), INTERPOLATION["bilinear"])
    tensors[f"window.{i}"] = bytes_of([resized])
save_safetensors(OUT, tensors, {"cases": json.dumps(cases), "windows": json.dumps(WINDOWS), "fill": json.dumps(FILL)})
print(f"{OUT}  {os.path.getsize(OUT)} bytes  {len(cases)} cases")
