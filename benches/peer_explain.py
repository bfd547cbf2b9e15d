#!/usr/bin/env python3
"""The peers of `prospect run explain`: Grad-CAM of every image's predicted class, in batches, with two libraries.

usage: peer_explain.py --model NAME.pt2 --images FOLDER --library LIBRARY --layer layer4 [--out FILE.safetensors] ...

  grad-cam        pytorch-grad-cam's GradCAM with targets=None, as in its README: one forward pass for class and maps, one
                  backward pass through the entire network, with gradients of all parameters, as in a newly built network
  captum          a forward pass for the class, then LayerGradCam(relu_attributions=False): another forward pass, and a backward
                  pass down to the layer
  captum-once     LayerGradCam of a function that returns the largest logit: one forward pass, and a backward pass to the layer

DataLoader with as many workers as threads, PIL and torchvision transforms. Prints one line of JSON: images, seconds and images/s
of the loop, from the first image read to the last map computed. With --out it writes Captum's classes and raw maps, in order of
the paths.
Needs: pip install torch==2.11.0 torchvision safetensors captum==0.9.0 grad-cam==1.5.7
"""
import argparse
import json
import time

import torch
from safetensors.torch import save_file

from peer_extract import Folder, network


def grad_cam(model, layer):
    from pytorch_grad_cam import GradCAM
    cam = GradCAM(model=model, target_layers=[layer])

    def explain(batch):
        return None, torch.from_numpy(cam(input_tensor=batch, targets=None))
    return explain


def captum(model, layer):
    from captum.attr import LayerGradCam
    cam = LayerGradCam(model, layer)

    def explain(batch):
        with torch.inference_mode():
            target = model(batch).argmax(1)
        # Tensors from inference mode cannot be saved for backward.
        target = target.clone()
        return target, cam.attribute(batch, target=target, relu_attributions=False)[:, 0].detach()
    return explain


def captum_once(model, layer):
    from captum.attr import LayerGradCam
    found = {}

    def max_logit(batch):
        score, found["class"] = model(batch).max(1)
        return score
    cam = LayerGradCam(max_logit, layer)

    def explain(batch):
        maps = cam.attribute(batch, relu_attributions=False)[:, 0].detach()
        return found["class"], maps
    return explain


LIBRARIES = {"grad-cam": grad_cam, "captum": captum, "captum-once": captum_once}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help=".pt2 file with its .json sidecar beside it")
    parser.add_argument("--images", required=True)
    parser.add_argument("--library", required=True, choices=LIBRARIES)
    parser.add_argument("--layer", required=True, help="module path")
    parser.add_argument("--out", help="safetensors file of Captum's classes and raw maps")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch, and DataLoader workers")
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with open(options.model.removesuffix(".pt2") + ".json", encoding="utf-8") as file:
        spec = json.load(file)["input"]
    model = network(options.model).requires_grad_(True)
    if options.channels_last:
        model = model.to(memory_format=torch.channels_last)
    modules = dict(model.named_modules())
    if options.layer not in modules:
        raise SystemExit(f"peer_explain: no module {options.layer!r}; the network has {', '.join(filter(None, modules))}")
    explain = LIBRARIES[options.library](model, modules[options.layer])
    data = Folder(options.images, spec)
    classes, maps = [], []
    started = time.monotonic()
    loader = torch.utils.data.DataLoader(data, batch_size=options.batch_size, num_workers=options.threads)
    for _, batch in loader:
        if options.channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        found, raw = explain(batch)
        if options.out:
            classes.append(found)
            maps.append(raw)
    seconds = time.monotonic() - started
    print(json.dumps({"images": len(data), "seconds": round(seconds, 3), "images_per_s": round(len(data) / seconds, 2),
                      "library": options.library, "channels_last": options.channels_last, "threads": options.threads}))
    if options.out and options.library != "grad-cam":
        save_file({"class": torch.cat(classes), "map": torch.cat(maps).contiguous()}, options.out)


if __name__ == "__main__":
    main()
