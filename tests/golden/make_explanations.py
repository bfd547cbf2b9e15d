#!/usr/bin/env python3
"""Make the golden explanations of the tiny networks: class activation maps and pixel gradients from reference libraries.

usage: python tests/golden/make_explanations.py      (rewrites NAME.explanations.safetensors beside this script)
needs: pip install torch==2.11.0 captum==0.9.0 grad-cam==1.5.7

Weights come from NAME.pt2 (make_models.py). Per network plain, residual, mobile, branches:
    pixels              [2, h, w, 3] uint8, seeded; normalised as (pixel / 255 - mean) / std with the sidecar's numbers
    logits              [2, classes]
    METHOD.LAYER        [2, classes, rows, columns], raw: not rectified, not scaled
        gradcam         captum's LayerGradCam(relu_attributions=False)
        hirescam, layercam, gradcam++
                        pytorch-grad-cam: one backward of the class's logits through its ActivationsAndGradients, then its
                        get_cam_image, which calls get_cam_weights if the method has weights and computes the weighted
                        sum; without the rectification and the two min-max scalings that its forward applies afterwards
        cam             weight[c] . F, if average pooling and one linear layer follow the layer
    RULE.class          [2, 3, h, w], the gradient of logits[n, n % classes] of each image n w.r.t. the normalised input
        plain           autograd
        guided, deconv  captum's GuidedBackprop and Deconvolution
    element.LAYER       [2] int64: the flat index of one cell in the layer's output, a different one per image
    RULE.LAYER          [2, 3, h, w], the gradient of that cell w.r.t. the normalised input
        guided, deconv  captum's NeuronGuidedBackprop and NeuronDeconvolution

Captum hooks nn.ReLU modules, which must not be in place and must be called only once: the networks are rebuilt that way here,
with the same weights and logits. Captum does not modify ReLU6, which Prospect treats as a clamp, so guided and deconv of `mobile`
come from the autograd function below, which is first compared with Captum on the other three networks.
"""
import json
import os
import warnings
from importlib.metadata import version

import safetensors.torch
import torch
from captum.attr import Deconvolution, GuidedBackprop, LayerGradCam, NeuronDeconvolution, NeuronGuidedBackprop
from pytorch_grad_cam import GradCAMPlusPlus, HiResCAM, LayerCAM
from torch import nn
from torch.nn import functional as F

import make_models

HERE = os.path.dirname(os.path.abspath(__file__))
RULES = ("plain", "deconv", "guided")


class Plain(make_models.Plain):
    """`places` maps the names of taps that are not module paths here to their modules."""
    taps, places = ["features.0", "features.1", "features.2", "features"], {}
    cam = ("features", "classifier.1")


class Residual(make_models.Residual):
    """One ReLU module per call, and out-of-place addition."""
    taps = ["bn1", "maxpool", "layer1.0.relu#1", "layer1.0", "layer2.0.conv2", "layer2.0.downsample.0", "layer2.0"]
    places = {"layer1.0.relu#1": "layer1.0.relu_1"}
    cam = ("layer2.0", "fc")

    class Block(make_models.Residual.Block):
        def __init__(self, n_in, n_out, stride):
            super().__init__(n_in, n_out, stride)
            del self.relu
            self.relu_1, self.relu_2 = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            identity = x if self.downsample is None else self.downsample(x)
            return self.relu_2(self.bn2(self.conv2(self.relu_1(self.bn1(self.conv1(x))))) + identity)


class Mobile(make_models.Mobile):
    taps, places = ["features.0", "features.1.depthwise", "features.1.gate", "features.1", "features.2"], {}
    cam = ("features.2", "classifier")


class Branches(make_models.Branches):
    """Modules instead of F.relu."""
    taps, places = ["stem", "mixed.tall", "mixed.dilated", "mixed", "pool"], {}
    cam = None

    class Mixed(make_models.Branches.Mixed):
        def __init__(self):
            super().__init__()
            self.wide_relu, self.relu = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            third = self.pooled(F.avg_pool2d(x, 3, stride=1, padding=1))
            return self.relu(torch.cat([self.tall(self.wide_relu(self.wide(x))), self.dilated(x), third], 1))

    def __init__(self):
        super().__init__()
        self.stem_relu = nn.ReLU()

    def forward(self, x):
        x = self.pool(self.mixed(self.stem_relu(self.stem(x))))
        return F.adaptive_avg_pool2d(self.last(x), 1).flatten(1)


class Clamp(torch.autograd.Function):
    """min(max(z, low), high) with the gradient of a rule: g [low < z < high], g [g > 0], or both."""

    @staticmethod
    def forward(ctx, z, low, high, rule):
        ctx.save_for_backward((z > low) & (z < high))
        ctx.rule = rule
        return z.clamp(low, high)

    @staticmethod
    def backward(ctx, g):
        (inside,) = ctx.saved_tensors
        if ctx.rule != "deconv":
            g = g * inside
        if ctx.rule != "plain":
            g = g * (g > 0)
        return g, None, None, None


class Ruled(nn.Module):
    """A ReLU, ReLU6 or Hardtanh with the gradient of `rule`; records the smallest distance of an input from a bound."""

    def __init__(self, module):
        super().__init__()
        self.low = getattr(module, "min_val", 0.0)
        self.high = getattr(module, "max_val", float("inf"))
        self.rule, self.margin = "plain", float("inf")

    def forward(self, z):
        distance = torch.minimum((z - self.low).abs(), (z - self.high).abs())
        self.margin = min(self.margin, distance.min().item())
        return Clamp.apply(z, self.low, self.high, self.rule)


def out_of_place(model):
    for module in model.modules():
        if isinstance(module, (nn.ReLU, nn.Hardtanh)):
            module.inplace = False
    return model.eval()


def ruled(model):
    """Replaces the clamps of `model` with `Ruled`."""
    for path, module in list(model.named_modules()):
        if isinstance(module, (nn.ReLU, nn.Hardtanh)):
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, Ruled(module))
    return model.eval()


def at(elements):
    """Selects one value of each image's output."""
    return lambda output: output.flatten(1)[torch.arange(len(output)), elements]


def own_gradient(model, batch, rule, module, pick):
    """The gradient, by autograd and our clamps, of what `pick` selects from the module's output (None: from the logits)."""
    for part in model.modules():
        if isinstance(part, Ruled):
            part.rule = rule
    kept = {}
    handle = module.register_forward_hook(lambda _m, _i, output: kept.update(value=output)) if module else None
    batch = batch.clone().requires_grad_(True)
    value = model(batch)
    if handle:
        handle.remove()
        value = kept["value"]
    return torch.autograd.grad(pick(value).sum(), batch)[0]


def captums_gradient(model, batch, rule, module, pick, target):
    if rule == "plain":
        batch = batch.clone().requires_grad_(True)
        kept = {}
        handle = (module or model).register_forward_hook(lambda _m, _i, output: kept.update(value=output))
        model(batch)
        handle.remove()
        return torch.autograd.grad(pick(kept["value"]).sum(), batch)[0]
    if module is None:
        return {"guided": GuidedBackprop, "deconv": Deconvolution}[rule](model).attribute(batch.clone(), target=target).detach()
    method = {"guided": NeuronGuidedBackprop, "deconv": NeuronDeconvolution}[rule]
    return method(model, module).attribute(batch.clone(), neuron_selector=pick).detach()


def peer_maps(model, module, batch, kind, target):
    """[n, rows, columns]: the maps of pytorch-grad-cam before rectification and scaling."""
    with kind(model, [module]) as cam:
        cam.activations_and_grads(batch)[:, target].sum().backward()
        activations = cam.activations_and_grads.activations[0].numpy()
        gradients = cam.activations_and_grads.gradients[0].numpy()
        raw = cam.get_cam_image(batch, module, None, activations, gradients, eigen_smooth=False)
    return torch.from_numpy(raw)


def output_of(model, module, batch):
    kept = {}
    handle = module.register_forward_hook(lambda _m, _i, output: kept.update(value=output.detach()))
    with torch.no_grad():
        model(batch)
    handle.remove()
    return kept["value"]


def explanations(name, kind, seed):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        weights = torch.export.load(os.path.join(HERE, f"{name}.pt2")).state_dict
    model, own = out_of_place(kind()), kind()
    model.load_state_dict(weights)
    own.load_state_dict(weights)
    own = ruled(own)
    reference = safetensors.torch.load_file(os.path.join(HERE, f"{name}.reference.safetensors"))
    with torch.no_grad():
        assert torch.equal(model(reference["input"]), reference["logits"]), f"{name}: rebuilt, it gives other logits"
        assert torch.allclose(own(reference["input"]), reference["logits"], rtol=1e-6), name
    with open(os.path.join(HERE, f"{name}.json"), encoding="utf-8") as file:
        spec = json.load(file)["input"]
    mean, std = (torch.tensor(spec[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    pixels = torch.randint(256, (2, *kind.size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    batch = ((pixels.permute(0, 3, 1, 2) / 255 - mean) / std).contiguous()
    logits = model(batch).detach()
    classes = range(logits.shape[1])
    tensors = {"pixels": pixels, "logits": logits}
    captum_knows = not any(isinstance(module, nn.Hardtanh) for module in model.modules())

    def gradient(rule, layer, pick, target=None):
        path = layer and kind.places.get(layer, layer)
        ours = own_gradient(own, batch, rule, own.get_submodule(path) if path else None, pick)
        if not captum_knows and rule != "plain":
            return ours
        theirs = captums_gradient(model, batch, rule, model.get_submodule(path) if path else None, pick, target)
        difference = (ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12)
        assert difference < 1e-6, f"{name} {rule} {layer}: our clamps differ by {difference}"
        return theirs

    chosen = torch.arange(len(batch)) % len(classes)
    for rule in RULES:
        tensors[f"{rule}.class"] = gradient(rule, None, at(chosen), chosen)
    for layer in kind.taps:
        module = model.get_submodule(kind.places.get(layer, layer))
        value = output_of(model, module, batch)
        maps = {"gradcam": [LayerGradCam(model, module).attribute(batch, target=c, relu_attributions=False)[:, 0].detach()
                            for c in classes]}
        for method, peer in (("gradcam++", GradCAMPlusPlus), ("layercam", LayerCAM), ("hirescam", HiResCAM)):
            maps[method] = [peer_maps(model, module, batch, peer, c) for c in classes]
        if kind.cam and kind.cam[0] == layer:
            weight = model.get_submodule(kind.cam[1]).weight.detach()
            maps["cam"] = [torch.einsum("k,nkij->nij", weight[c], value) for c in classes]
        for method, per_class in maps.items():
            tensors[f"{method}.{layer}"] = torch.stack(per_class, 1)
        # The largest cell of a channel, a different one per image; the first channel whose guided gradient is not all zero.
        channels, cells = value.shape[1], value[0, 0].numel()
        elements = torch.zeros(2, dtype=torch.int64)
        for n in range(2):
            for channel in [*range(n, channels), *range(n)]:
                elements[n] = channel * cells + value[n, channel].argmax()
                if gradient("guided", layer, at(elements))[n].abs().max() > 0:
                    break
        tensors[f"element.{layer}"] = elements
        for rule in RULES:
            tensors[f"{rule}.{layer}"] = gradient(rule, layer, at(elements))
    # If an input of a clamp is so close to its bound that a different order of float32 sums moves it to the other side,
    # the gradients are not reproducible.
    margin = min(module.margin for module in own.modules() if isinstance(module, Ruled))
    assert margin > 1e-5, f"{name}: a clamp's input is {margin} from its bound; use a different seed"
    return {key: tensor.contiguous() for key, tensor in tensors.items()}


def main():
    warnings.filterwarnings("ignore", message="Setting backward hooks|Input Tensor 0")
    torch.set_num_threads(1)
    made_by = {"torch": torch.__version__.split("+")[0], "captum": version("captum"), "grad-cam": version("grad-cam"),
               "made_by": "tests/golden/make_explanations.py"}
    for seed, kind in enumerate([Plain, Residual, Mobile, Branches], start=100):
        name = kind.__name__.lower()
        tensors = explanations(name, kind, seed)
        path = os.path.join(HERE, f"{name}.explanations.safetensors")
        safetensors.torch.save_file(tensors, path, metadata=made_by | {"taps": json.dumps(kind.taps)})
        os.chmod(path, 0o644)
        zero = [key for key, tensor in tensors.items() if tensor.dtype == torch.float32 and tensor.flatten(1).abs().amax(1).min() == 0]
        print(f"{os.path.getsize(path):8} {name}: {len(tensors)} tensors{f', all zero for an image: {zero}' if zero else ''}")


if __name__ == "__main__":
    main()
