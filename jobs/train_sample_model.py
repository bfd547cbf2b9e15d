#!/usr/bin/env python3
"""Train the sample network data/sample_model.pt2: is this solar cell functional or defective?

usage: train_sample_model.py [-o data/sample_model.pt2] [--data data/sample] [--epochs 40] [--seed 0]

A residual network of 0.2 million weights, module names as in torchvision's ResNets, trained from scratch on the sample
photos (jobs/sample_data.py) in split `train`: cells that the experts rated certainly functional (0) or certainly defective
(1). It is evaluated on split `test` once, after the last epoch. About ten minutes on two CPU cores. The last feature map is
14x14, fine enough for a heat map to show a crack. Needs PyTorch: pip install torch==2.11.0 torchvision
"""
import argparse
import csv
import os
import time

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import functional as T

import export_model

CLASSES = ["defective", "functional"]
SIDE = 224
# Grey values of the training photos.
MEAN, STD = 0.59, 0.16
SHIFT = 8


class Block(nn.Module):
    """The basic block of He et al. 2016."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Net(nn.Module):
    """[n, 3, 224, 224] -> [n, 2]; layer4 gives [n, 96, 14, 14], pooled and classified linearly, so CAM is exact."""

    def __init__(self, widths=(16, 16, 32, 64, 96), n_classes=len(CLASSES)):
        super().__init__()
        stem, *stages = widths
        self.conv1 = nn.Conv2d(3, stem, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        n_in = stem
        for number, (width, stride) in enumerate(zip(stages, (1, 2, 2, 1)), start=1):
            self.add_module(f"layer{number}", nn.Sequential(Block(n_in, width, stride)))
            n_in = width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(n_in, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, Block):
                # Each block starts as its shortcut (Goyal et al. 2017), which trains more steadily.
                nn.init.zeros_(module.bn2.weight)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def photos(folder, split):
    """Pixels, uint8 [n, 1, 224, 224], and classes [n] of one split."""
    with open(os.path.join(folder, "metadata.csv"), encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    pixels = torch.empty(len(rows), 1, SIDE, SIDE, dtype=torch.uint8)
    for index, row in enumerate(rows):
        with Image.open(os.path.join(folder, "images", row["file_name"])) as image:
            pixels[index] = T.pil_to_tensor(T.resize(image.convert("L"), [SIDE, SIDE], antialias=True))
    return pixels, torch.tensor([CLASSES.index(row["label"]) for row in rows])


def normalised(pixels):
    return ((pixels.float() / 255 - MEAN) / STD).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def augmented(pixels):
    """Random flips, shifts of up to 8 pixels, brightness and contrast, as between cameras."""
    n_images = len(pixels)
    batch = F.pad(pixels.float(), (SHIFT,) * 4, mode="reflect")
    out = torch.empty(n_images, 1, SIDE, SIDE)
    for index in range(n_images):
        row, col = torch.randint(0, 2 * SHIFT + 1, (2,)).tolist()
        image = batch[index, :, row:row + SIDE, col:col + SIDE]
        flips = [axis for axis in (1, 2) if torch.rand(()) < 0.5]
        out[index] = image.flip(flips)
    gain = torch.empty(n_images, 1, 1, 1).uniform_(0.8, 1.25)
    lift = torch.empty(n_images, 1, 1, 1).uniform_(-20, 20)
    middle = out.mean((1, 2, 3), keepdim=True)
    return ((out - middle) * gain + middle + lift).clamp(0, 255)


@torch.no_grad()
def scores(model, pixels):
    """Probability of `defective` per photo."""
    model.eval()
    return torch.cat([model(normalised(part)).softmax(1)[:, 0] for part in pixels.split(64)])


def metrics(p_defective, labels):
    """Accuracy, balanced accuracy and area under the ROC curve (ties count half)."""
    defective = labels == 0
    right = (p_defective > 0.5) == defective
    wins = (p_defective[defective][:, None] - p_defective[~defective][None, :]).sign()
    return {"accuracy": right.float().mean().item(),
            "balanced_accuracy": (right[defective].float().mean() + right[~defective].float().mean()).item() / 2,
            "auroc": ((wins + 1) / 2).mean().item()}


def train(model, pixels, labels, epochs, report):
    n_per_class = torch.bincount(labels, minlength=len(CLASSES)).float()
    lossf = nn.CrossEntropyLoss(weight=len(labels) / (len(CLASSES) * n_per_class), label_smoothing=0.05)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    batches = len(labels) // 32
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * batches, pct_start=0.2)
    for epoch in range(epochs):
        model.train()
        started, total = time.monotonic(), 0.0
        for chosen in torch.randperm(len(labels))[:batches * 32].split(32):
            loss = lossf(model(normalised(augmented(pixels[chosen]))), labels[chosen])
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
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    pixels, labels = photos(options.data, "train")
    grey = pixels.float() / 255
    print(f"{len(labels)} training photos, grey mean {grey.mean():.3f}, standard deviation {grey.std():.3f}", flush=True)
    model = Net().to(memory_format=torch.channels_last)
    train(model, pixels, labels, options.epochs, lambda line: print(line, flush=True))
    test_pixels, test_labels = photos(options.data, "test")
    held_out = metrics(scores(model, test_pixels), test_labels)
    held_out = {"images": len(test_labels), **{key: round(value, 4) for key, value in held_out.items()}}
    print("held out:", held_out)
    spec = {"resize": [SIDE, SIDE], "crop": None, "mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bilinear",
            "channels": "RGB", "range": "0..1 before mean/std"}
    about = {"about": "trained by jobs/train_sample_model.py on the ELPV dataset (CC BY-NC-SA 4.0), split `train` of "
                      "jobs/sample_data.py; held_out is the split `test`", "held_out": held_out}
    export_model.write(model.to(memory_format=torch.contiguous_format), spec, CLASSES, options.output, SIDE, SIDE,
                       extra=about)
    print(f"wrote {options.output} ({os.path.getsize(options.output) / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
