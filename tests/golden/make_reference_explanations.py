#!/usr/bin/env python3
"""Captum's explanations of real networks on real photos, for the ignored test in tests/reference.rs. Run manually.

usage: python tests/golden/make_reference_explanations.py MODELS PHOTOS OUT
needs: pip install torch==2.11.0 torchvision==0.26.0 captum==0.9.0

MODELS contains squeezenet1_1.pt2 and resnet50_v1.pt2 (stride in the first 1x1 of a block) with their sidecars; 32 of the photos
in PHOTOS are used, evenly spaced in the sorted names. Per network OUT/NAME.explanations.safetensors:
    pixels          [32, h, w, 3] uint8, preprocessed by PIL and torchvision as specified in the sidecar
    input           [32, 3, h, w], normalised
    logits          [32, classes]
    class           [32] int64, the class with the largest logit
    gradcam         [32, rows, columns], LayerGradCam(relu_attributions=False) for that class at the layer in the metadata
    guided, deconv  [32, 3, h, w], GuidedBackprop and Deconvolution for that class
The networks are torchvision's classes with the archive's weights, rebuilt for Captum: one ReLU module per call, not in place.
Their logits equal those of the program in the archive.

Everything runs on one thread, in batches of 8. The rules are discontinuous: if the input of a ReLU is within rounding error of
zero, or two inputs of a max-pooling are that close to each other, a different order of sums changes the path of the gradient.
Between one thread and two, Captum's gradients differ by up to 2e-3 of the largest gradient for one photo in eight.
"""
import argparse
import json
import os
import warnings
from importlib.metadata import version

import safetensors.torch
import torch
import torchvision
from captum.attr import Deconvolution, GuidedBackprop, LayerGradCam
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.models.resnet import Bottleneck, ResNet

COUNT, BATCH = 32, 8
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class BlockV1(Bottleneck):
    """ResNet v1: stride in the first 1x1; three ReLU modules, out-of-place addition."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.conv1.stride, self.conv2.stride = (self.stride, self.stride), (1, 1)
        del self.relu
        self.relu_1, self.relu_2, self.relu_3 = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu_1(self.bn1(self.conv1(x)))
        out = self.relu_2(self.bn2(self.conv2(out)))
        return self.relu_3(self.bn3(self.conv3(out)) + identity)


# The constructor, and the explanation layer according to `prospect model inspect`.
NETWORKS = {
    "squeezenet1_1": (lambda: torchvision.models.squeezenet1_1(weights=None), "features"),
    "resnet50_v1": (lambda: ResNet(BlockV1, [3, 4, 6, 3]), "layer4"),
}


def photos(folder):
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES))
    return [names[index * len(names) // COUNT] for index in range(COUNT)]


def pixels_of(folder, names, spec):
    steps = transforms.Compose([
        transforms.Resize(spec["resize"], transforms.InterpolationMode(spec["interpolation"]), antialias=True),
        transforms.CenterCrop(spec["crop"]), transforms.PILToTensor()])
    images = []
    for name in names:
        with Image.open(os.path.join(folder, name)) as image:
            images.append(steps(image.convert("RGB")))
    return torch.stack(images).permute(0, 2, 3, 1).contiguous()


def explain(model, layer, batch, target):
    return {"gradcam": LayerGradCam(model, model.get_submodule(layer)).attribute(
                batch, target=target, relu_attributions=False)[:, 0].detach(),
            "guided": GuidedBackprop(model).attribute(batch.clone(), target=target).detach(),
            "deconv": Deconvolution(model).attribute(batch.clone(), target=target).detach()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models")
    parser.add_argument("photos")
    parser.add_argument("out")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message="The given buffer is not writable|Setting backward hooks|Input Tensor 0")
    os.makedirs(asked.out, exist_ok=True)
    torch.set_num_threads(1)
    names = photos(asked.photos)
    for name, (build, layer) in NETWORKS.items():
        stem = os.path.join(asked.models, name)
        with open(f"{stem}.json", encoding="utf-8") as file:
            spec = json.load(file)["input"]
        program = torch.export.load(f"{stem}.pt2")
        model = build()
        model.load_state_dict(program.state_dict)
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        model.eval()
        pixels = pixels_of(asked.photos, names, spec)
        mean, std = (torch.tensor(spec[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
        # As in ToTensor and Normalize; in the test's memory layout, because other layouts use other kernels.
        batch = ((pixels.permute(0, 3, 1, 2).float().div(255) - mean) / std).contiguous()
        parts = []
        with torch.no_grad():
            logits = torch.cat([model(part) for part in batch.split(BATCH)])
            expected = program.module()(batch[:BATCH])
        assert torch.allclose(logits[:BATCH], expected, rtol=0, atol=1e-6 * expected.abs().max().item()), name
        classes = logits.argmax(1)
        for part, target in zip(batch.split(BATCH), classes.split(BATCH)):
            parts.append(explain(model, layer, part, target))
            print(f"{name}: {len(parts) * BATCH} of {COUNT}", flush=True)
        tensors = {"pixels": pixels, "input": batch, "logits": logits, "class": classes}
        tensors |= {key: torch.cat([part[key] for part in parts]).contiguous() for key in parts[0]}
        about = {"torch": torch.__version__.split("+")[0], "torchvision": torchvision.__version__.split("+")[0],
                 "captum": version("captum"), "layer": layer, "threads": "1", "batch": str(BATCH), "files": json.dumps(names),
                 "made_by": "tests/golden/make_reference_explanations.py"}
        safetensors.torch.save_file(tensors, os.path.join(asked.out, f"{name}.explanations.safetensors"), metadata=about)


if __name__ == "__main__":
    main()
