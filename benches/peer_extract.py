#!/usr/bin/env python3
"""The peer of `prospect run extract`: a typical PyTorch script that writes the same tables.

usage: peer_extract.py --model NAME.pt2 --images FOLDER --out FOLDER --layers layer1,layer4 [--channels-last] ...

DataLoader, torchvision transforms, forward hooks, pyarrow. Writes predictions, features and units as prospect does, and
prints one line of JSON: images, seconds and images/s of the loop (from the first image read to the last table closed).
Needs: pip install torch==2.11.0 torchvision pyarrow
"""
import argparse
import json
import os
import time
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torchvision import transforms

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class Folder(torch.utils.data.Dataset):
    def __init__(self, root, spec):
        found = [os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root, followlinks=True)
                 for name in names if name.lower().endswith(SUFFIXES)]
        # image_id is the rank of the path in byte order, with `/` as the separator.
        self.paths = sorted(found, key=lambda path: path.replace(os.sep, "/").encode())
        self.root = root
        steps = []
        if spec.get("resize"):
            mode = transforms.InterpolationMode(spec.get("interpolation", "bilinear"))
            steps.append(transforms.Resize(spec["resize"], mode, antialias=True))
        if spec.get("crop"):
            steps.append(transforms.CenterCrop(spec["crop"]))
        self.transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(spec["mean"], spec["std"])])

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with Image.open(os.path.join(self.root, self.paths[index])) as image:
            return index, self.transform(image.convert("RGB"))


def network(path):
    """The eager nn.Module of a .pt2 file with its original module paths, so that hooks work."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        return torch.export.unflatten(torch.export.load(path))


def last_linear(model):
    names = [name for name, module in model.named_modules() if name and list(module._parameters) == ["weight", "bias"]
             and module.weight.dim() == 2]
    return names[-1]


def vectors(tensor, kind):
    """[n, d] as an Arrow fixed-size list column."""
    array = tensor.contiguous().numpy()
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1), kind), array.shape[1])


class Tables:
    """One Parquet file per table (per layer for units: their vectors differ in length)."""

    def __init__(self, folder):
        self.folder, self.writers = folder, {}
        os.makedirs(folder, exist_ok=True)

    def write(self, name, columns):
        table = pa.table(columns)
        if name not in self.writers:
            path = os.path.join(self.folder, f"{name}.parquet")
            self.writers[name] = pq.ParquetWriter(path, table.schema, compression="zstd")
        self.writers[name].write_table(table)

    def close(self):
        for writer in self.writers.values():
            writer.close()


def extract(model, loader, layers, feature_layer, tables, channels_last):
    kept = {}
    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(lambda _m, _i, output, name=name: kept.__setitem__(name, output))
               for name in layers]
    handles.append(modules[feature_layer].register_forward_hook(
        lambda _m, inputs, _o: kept.__setitem__("features", inputs[0])))
    for ids, batch in loader:
        if channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        logits = model(batch)
        p = logits.softmax(1)
        top = p.topk(min(5, p.shape[1]))
        image_id = pa.array(ids.numpy(), pa.uint32())
        top5 = [[{"class": c, "p": q} for c, q in zip(classes, values)]
                for classes, values in zip(top.indices.tolist(), top.values.tolist())]
        tables.write("predictions", {
            "image_id": image_id, "pred": pa.array(top.indices[:, 0].numpy(), pa.int32()),
            "p_pred": pa.array(top.values[:, 0].numpy()), "margin": pa.array((top.values[:, 0] - top.values[:, 1]).numpy()),
            "entropy": pa.array((-(p * logits.log_softmax(1)).sum(1)).numpy()),
            "top5": pa.array(top5, pa.list_(pa.struct([("class", pa.int32()), ("p", pa.float32())]))),
            "logits": vectors(logits, pa.float32())})
        tables.write("features", {"image_id": image_id, "vector": vectors(kept["features"].flatten(1), pa.float32())})
        for name in layers:
            flat = kept[name].flatten(2)
            value, place = flat.max(2)
            tables.write(f"units-{name}", {
                "layer": pa.array([name] * len(ids)), "image_id": image_id, "max": vectors(value.half(), pa.float16()),
                "mean": vectors(flat.mean(2).half(), pa.float16()),
                "argmax": vectors(place.to(torch.uint16), pa.uint16())})
    for handle in handles:
        handle.remove()
    tables.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help=".pt2 file with its .json sidecar beside it")
    parser.add_argument("--images", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--layers", default="", help="module paths to tap, comma-separated")
    parser.add_argument("--feature-layer", help="the linear layer whose input is the feature vector (default: the last)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch, and DataLoader workers")
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with open(options.model.removesuffix(".pt2") + ".json", encoding="utf-8") as file:
        spec = json.load(file)["input"]
    model = network(options.model)
    if options.channels_last:
        model = model.to(memory_format=torch.channels_last)
    layers = [name for name in options.layers.split(",") if name]
    known = dict(model.named_modules())
    for name in layers:
        if name not in known:
            raise SystemExit(f"peer_extract: no module {name!r}; the network has {', '.join(filter(None, known))}")
    data = Folder(options.images, spec)
    started = time.monotonic()
    loader = torch.utils.data.DataLoader(data, batch_size=options.batch_size, num_workers=options.threads)
    with torch.inference_mode():
        extract(model, loader, layers, options.feature_layer or last_linear(model), Tables(options.out), options.channels_last)
    seconds = time.monotonic() - started
    print(json.dumps({"images": len(data), "seconds": round(seconds, 3), "images_per_s": round(len(data) / seconds, 2),
                      "channels_last": options.channels_last, "threads": options.threads}))


if __name__ == "__main__":
    main()
