#!/usr/bin/env python3
"""Make the tiny networks for the tests, with PyTorch's outputs and gradients for them.

usage: python tests/golden/make_models.py      (torch 2.11.0; rewrites the files beside this script)

Per network NAME: NAME.pt2 and NAME.json as jobs/export_model.py writes them, and NAME.reference.safetensors with
    input           [2, 3, h, w], normalised, seeded
    logits          [2, classes]
    tap.PATH        the output of the module PATH, from a forward hook; PATH#1, PATH#2 for a module called several times
    grad.PATH       the gradient of logits[n, n % classes] of each image n at that output
Weights are seeded and chosen so that no ReLU is dead; BatchNorm has running statistics far from 0 and 1.
"""
import json
import os
import sys
from collections import Counter, defaultdict

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "jobs"))
import export_model  # noqa: E402


class Plain(nn.Module):
    """Convolution, ReLU, pooling, linear, laid out as torchvision's VGG; exact CAM at features.4."""
    size, taps = (12, 10), ["features.0", "features.1", "features.2", "features.4", "avgpool"]

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
                                      nn.Conv2d(4, 6, 3), nn.ReLU(inplace=True))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Residual(nn.Module):
    """Two residual blocks with BatchNorm, a strided shortcut, one ReLU module called twice, in-place addition."""
    size = (12, 10)
    taps = ["conv1", "bn1", "maxpool", "layer1.0.relu", "layer1.0", "layer2.0.conv2", "layer2.0.downsample.0", "layer2.0"]

    class Block(nn.Module):
        def __init__(self, n_in, n_out, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(n_out)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(n_out)
            self.downsample = None
            if stride != 1:
                self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

        def forward(self, x):
            identity = x if self.downsample is None else self.downsample(x)
            out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            out += identity
            return self.relu(out)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(self.Block(4, 4, 1))
        self.layer2 = nn.Sequential(self.Block(4, 8, 2))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        x = self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x))))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Mobile(nn.Module):
    """Depthwise convolution, ReLU6, squeeze-and-excitation, hard-swish, mean instead of a pooling module."""
    size, taps = (12, 12), ["features.0", "features.1.depthwise", "features.1.gate", "features.1", "features.2"]

    class Inverted(nn.Module):
        def __init__(self, width, expanded):
            super().__init__()
            self.expand = nn.Sequential(nn.Conv2d(width, expanded, 1, bias=False), nn.BatchNorm2d(expanded), nn.ReLU6())
            self.depthwise = nn.Sequential(nn.Conv2d(expanded, expanded, 3, 1, 1, groups=expanded, bias=False),
                                           nn.BatchNorm2d(expanded), nn.ReLU6())
            self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(expanded, 2, 1), nn.ReLU(),
                                      nn.Conv2d(2, expanded, 1), nn.Sigmoid())
            self.project = nn.Conv2d(expanded, width, 1, bias=False)

        def forward(self, x):
            out = self.depthwise(self.expand(x))
            return x + self.project(out * self.gate(out))

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.Hardswish()),
                                      self.Inverted(4, 8), nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU6()))
        self.classifier = nn.Linear(6, 3)

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))


class Branches(nn.Module):
    """Branches with different receptive fields: 1x3 then 3x1, dilation 2, average pooling; joined by cat, then ceil_mode."""
    size, taps = (15, 14), ["stem", "mixed.tall", "mixed.dilated", "mixed.pooled", "mixed", "pool"]

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = nn.Conv2d(4, 2, (1, 3), padding=(0, 1))
            self.tall = nn.Conv2d(2, 2, (3, 1), padding=(1, 0))
            self.dilated = nn.Conv2d(4, 3, 3, padding=2, dilation=2)
            self.pooled = nn.Conv2d(4, 2, 1)

        def forward(self, x):
            third = self.pooled(F.avg_pool2d(x, 3, stride=1, padding=1))
            return F.relu(torch.cat([self.tall(F.relu(self.wide(x))), self.dilated(x), third], 1))

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 5, 2)
        self.mixed = self.Mixed()
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.last = nn.Conv2d(7, 3, 1)

    def forward(self, x):
        x = self.pool(self.mixed(F.relu(self.stem(x))))
        return F.adaptive_avg_pool2d(self.last(x), 1).flatten(1)


class Transformer(nn.Module):
    """A vision transformer with one block: patches, class token, attention, LayerNorm, GELU. It has no feature maps."""
    size, taps = (8, 8), ["patch", "blocks.0.attention", "blocks.0", "norm"]

    class Attention(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads = heads
            self.qkv = nn.Linear(width, 3 * width)
            self.proj = nn.Linear(width, width)

        def forward(self, x):
            n, length, width = x.shape
            q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
            out = F.scaled_dot_product_attention(q, k, v)
            return self.proj(out.transpose(1, 2).reshape(n, length, width))

    class Layer(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.norm1 = nn.LayerNorm(width)
            self.attention = Transformer.Attention(width, heads)
            self.norm2 = nn.LayerNorm(width)
            self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.position = nn.Parameter(torch.zeros(1, 5, 8))
        self.blocks = nn.Sequential(self.Layer(8, 2))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


def fill(model, generator):
    """Seeded weights, and BatchNorm statistics that change the output noticeably if an implementation omits them."""
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        values = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            values = 0.5 + values.abs()
        elif name.endswith("running_mean"):
            values = 0.3 * values
        elif tensor.dim() >= 2 and name.endswith("weight"):
            values = values * (1.5 / tensor[0].numel()) ** 0.5
        elif name.endswith("weight"):
            values = 1 + 0.2 * values
        else:
            values = 0.2 * values
        # Exact in half precision: the numbers print short and are the same elsewhere.
        tensor.copy_(values.half().float())


def reference(model, batch):
    """The input, the logits, and the activations and gradients at the taps, as PyTorch computes them."""
    outputs = defaultdict(list)

    def hook(path):
        def keep(_module, _inputs, output):
            # An in-place operation would overwrite the tensor that the hook recorded: record a copy and return it.
            output = output.clone()
            output.retain_grad()
            outputs[path].append(output)
            return output.clone()
        return keep

    handles = [model.get_submodule(path).register_forward_hook(hook(path)) for path in model.taps]
    batch = batch.clone().requires_grad_(True)
    logits = model(batch)
    sum(logits[n, n % logits.shape[1]] for n in range(len(batch))).backward()
    for handle in handles:
        handle.remove()
    tensors = {"input": batch.detach(), "logits": logits.detach(), "grad.input": batch.grad}
    for path, calls in outputs.items():
        for number, output in enumerate(calls, start=1):
            name = f"{path}#{number}" if len(calls) > 1 else path
            tensors[f"tap.{name}"] = output.detach()
            tensors[f"grad.{name}"] = output.grad
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def main():
    sizes = Counter()
    for number, kind in enumerate([Plain, Residual, Mobile, Branches, Transformer]):
        name = kind.__name__.lower()
        generator = torch.Generator().manual_seed(number)
        model = kind().eval()
        with torch.no_grad():
            fill(model, generator)
        batch = torch.randn(2, 3, *kind.size, generator=generator).half().float()
        tensors = reference(model, batch)
        height, width = kind.size
        # 64/256 and 1/4 need no rounding, so the normalised pixels of a photo match the reference exactly.
        spec = {"resize": [height, width], "crop": None, "mean": [0.25] * 3, "std": [0.25] * 3,
                "interpolation": "bilinear", "channels": "RGB", "range": "0..1 before mean/std"}
        export_model.write(model, spec, ["round", "square", "striped"], os.path.join(HERE, f"{name}.pt2"), height, width)
        about = {"torch": torch.__version__.split("+")[0], "made_by": "tests/golden/make_models.py",
                 "taps": json.dumps(model.taps)}
        safetensors.torch.save_file(tensors, os.path.join(HERE, f"{name}.reference.safetensors"), metadata=about)
        os.chmod(os.path.join(HERE, f"{name}.reference.safetensors"), 0o644)
        for suffix in (".pt2", ".json", ".reference.safetensors"):
            sizes[name + suffix] = os.path.getsize(os.path.join(HERE, name + suffix))
        dead = [key for key, value in tensors.items() if key.startswith("tap.") and (value == 0).all()]
        print(f"{name}: logits {tensors['logits'].tolist()}{f', dead: {dead}' if dead else ''}")
    for name, size in sizes.items():
        print(f"{size:8} {name}")
    print(f"{sum(sizes.values()):8} bytes in all")


if __name__ == "__main__":
    main()
