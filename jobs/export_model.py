#!/usr/bin/env python3
"""Export a PyTorch image classifier to the two files that Prospect reads: NAME.pt2 and NAME.json.

NAME.pt2 is a torch.export archive (graph and weights, no code, any batch size). NAME.json is its sidecar with the
preprocessing and the class names. The network must take one tensor [batch, 3, height, width] and return one tensor of logits
[batch, classes].
"""
import argparse
import importlib
import importlib.util
import json
import math
import os
import re
import sys
import tempfile

# The version of Prospect's libtorch, and the first one that writes this kind of archive.
TORCH, OLDEST_TORCH = "2.11", (2, 9)
HELP = """
which network
  torchvision:NAME     any classifier of torchvision.models, e.g. torchvision:resnet18
  timm:NAME            any model of timm, e.g. timm:convnext_nano.in12k_ft_in1k
  --factory F:G        your own: function G in the file F (my_net.py) or the importable module F (my_package.nets),
                       called with --kwargs, must return a torch.nn.Module

which weights
  --weights DEFAULT    the library's own trained weights (downloaded by torchvision or timm; the default for both)
  --weights none       random weights, seeded, for experiments
  --weights FILE       a .safetensors, .pth or .pt file with a state dict (--checkpoint is the same option)
  A .pth is read with weights_only=True: a file that contains code is refused.

preprocessing
  Taken from the library's metadata. The flags override it, and are required with --factory:
  --resize 256         short side to 256 pixels;  --resize 224 224  exact height and width;  --resize none  no resizing
  --crop 224           centre crop;  --crop none  no crop
  --mean/--std         for pixels in 0..1

examples
  export_model.py torchvision:resnet50 -o models/resnet50.pt2
  export_model.py torchvision:resnet18 --weights my.pth --kwargs '{"num_classes": 2}' --classes names.txt -o my.pt2
  export_model.py timm:mobilenetv3_small_100.lamb_in1k -o mobilenet.pt2
  export_model.py --factory my_net.py:build --checkpoint best.safetensors --resize 256 --crop 224 \\
      --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225 --classes names.txt -o my_net.pt2

Networks that do not return plain logits (but a tuple or a dict) need a wrapper: let --factory build a module whose
forward calls the network and returns the logits. An encoder without a classifier needs one, such as
torch.nn.Sequential(encoder, torch.nn.Linear(384, 10)): its input is then the feature vector.

Requirements: `pip install torch==2.11.0 torchvision timm`. Torch 2.9 and 2.10 write the same kind of archive; older ones do not.
"""


def stop(message):
    sys.exit(f"export_model: {message}")


def arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__, epilog=HELP,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", metavar="torchvision:NAME | timm:NAME")
    parser.add_argument("--factory", metavar="FILE_OR_MODULE:FUNCTION", help="your own network")
    parser.add_argument("--weights", "--checkpoint", metavar="DEFAULT|none|FILE", dest="weights")
    parser.add_argument("--kwargs", type=json.loads, default={}, metavar="JSON",
                        help="keyword arguments for the builder, e.g. '{\"num_classes\": 2}'")
    parser.add_argument("-o", "--output", required=True, metavar="NAME.pt2")
    parser.add_argument("--resize", nargs="+", metavar="SIZE", help="short side, or height and width, or none")
    parser.add_argument("--crop", nargs="+", metavar="SIZE", help="centre crop: side, or height and width, or none")
    parser.add_argument("--interpolation", choices=["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
    parser.add_argument("--mean", nargs=3, type=float, metavar=("R", "G", "B"))
    parser.add_argument("--std", nargs=3, type=float, metavar=("R", "G", "B"))
    parser.add_argument("--classes", metavar="FILE", help="class names, one per line, in the order of the logits")
    parser.add_argument("--input-size", nargs=2, type=int, metavar=("H", "W"),
                        help="size of the example input, if neither crop nor resize determines it")
    parser.add_argument("--reference", action="store_true",
                        help="also write NAME.reference.safetensors: a seeded input [2,3,H,W] and its logits")
    parser.add_argument("--seed", type=int, default=0, help="seed of random weights and of --reference (0)")
    options = parser.parse_args(words)
    if bool(options.model) == bool(options.factory):
        parser.error("name one network: torchvision:NAME, timm:NAME or --factory FILE:FUNCTION")
    if not options.output.endswith(".pt2"):
        parser.error(f"the output must end in .pt2, got {options.output}")
    if not isinstance(options.kwargs, dict):
        parser.error("--kwargs must be a JSON object")
    return options


def read_state(path):
    """The state dict in a file, without the wrappers of training scripts."""
    if not os.path.isfile(path):
        stop(f"no weights at {path} (--weights takes DEFAULT, none or a file)")
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file
        state = load_file(path)
    else:
        import torch
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as problem:  # torch raises pickle, zip, runtime and type errors here
            stop(f"{path} is not a plain state dict ({type(problem).__name__}); save one with "
                 "torch.save(model.state_dict(), path)")
    for wrapper in ("state_dict_ema", "state_dict", "model_state_dict", "model"):
        if isinstance(state.get(wrapper), dict):
            print(f"weights: using entry {wrapper!r} of {path}")
            state = state[wrapper]
            break
    for prefix in ("_orig_mod.", "module.", "model."):
        if state and all(name.startswith(prefix) for name in state):
            state = {name[len(prefix):]: value for name, value in state.items()}
    return state


def load_weights(model, path):
    state = read_state(path)
    # Refuse partial weights: a layer left random would look like a bad network.
    expected = model.state_dict()
    missing = sorted(expected.keys() - state.keys())
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    surplus = sorted(state.keys() - expected.keys())
    other = [f"{name} {tuple(state[name].shape)} for {tuple(expected[name].shape)}"
             for name in expected.keys() & state.keys() if state[name].shape != expected[name].shape]
    if missing or surplus or other:
        stop(f"{path} does not fit the network: " + "; ".join(
            f"{what}: {', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
            for what, names in (("missing", missing), ("not in the network", surplus), ("other shape", other)) if names))
    model.load_state_dict(state, strict=False)


def is_library_name(weights):
    """Whether this names the library's own weights (or the default), rather than `none` or a file."""
    return weights is None or re.fullmatch("[A-Z0-9_]+", weights) is not None


def from_torchvision(name, weights, kwargs):
    """The network, its preprocessing as far as known, and its class names."""
    import torchvision
    try:
        enum = torchvision.models.get_model_weights(name)
    except ValueError:
        stop(f"torchvision has no model {name!r}; it has: {', '.join(torchvision.models.list_models(torchvision.models))}")
    known = enum.DEFAULT
    if weights and is_library_name(weights):
        if weights not in enum.__members__:
            stop(f"{name} has no weights {weights}; it has: {', '.join(enum.__members__)} (a file: ./{weights})")
        known = enum[weights]
    preset = known.transforms()
    if not hasattr(preset, "crop_size"):
        stop(f"{name} is not an image classifier (its preprocessing is {type(preset).__name__})")
    if name in ("googlenet", "inception_v3") and not is_library_name(weights):
        kwargs = {"init_weights": False, **kwargs}
        if weights != "none":
            # The published weights expect the network to rescale its input.
            kwargs = {"transform_input": True, **kwargs}
    try:
        model = torchvision.models.get_model(name, weights=known if is_library_name(weights) else None, **kwargs)
    except OSError as problem:
        stop(f"could not download {known.url}: {problem} (download it elsewhere, then use --weights FILE)")
    sides = {"resize": list(preset.resize_size), "crop": list(preset.crop_size)}
    found = {key: value[0] if len(value) == 1 else value for key, value in sides.items()}
    found |= {"mean": list(preset.mean), "std": list(preset.std), "interpolation": preset.interpolation.value}
    return model, found, known.meta.get("categories")


def from_timm(name, weights, kwargs):
    import timm
    if weights and is_library_name(weights):
        stop(f"timm selects weights by NAME.TAG, not by --weights {weights} (for a file: ./{weights})")
    try:
        model = timm.create_model(name, pretrained=weights is None, **kwargs)
    except OSError as problem:
        stop(f"could not download the weights of {name}: {problem} (download them elsewhere, then use --weights FILE)")
    except RuntimeError as problem:
        stop(f"timm could not build {name!r}: {problem} (timm.list_models('*{name.split('_')[0]}*') lists names)")
    config = timm.data.resolve_model_data_config(model)
    height, width = config["input_size"][1:]
    scaled = [math.floor(height / config["crop_pct"]), math.floor(width / config["crop_pct"])]
    found = {"crop": height if height == width else [height, width], "mean": list(config["mean"]),
             "std": list(config["std"]), "interpolation": config["interpolation"]}
    # Other crop modes (border, or the centre of a non-square input) are not supported here.
    if config["crop_mode"] == "center" and scaled[0] == scaled[1]:
        found["resize"] = scaled[0]
    elif config["crop_mode"] == "squash":
        found["resize"] = scaled
    names = model.pretrained_cfg.get("label_names")
    if names is None and model.num_classes == 1000 and "in1k" in str(model.pretrained_cfg.get("tag")):
        names = timm.data.ImageNetInfo().label_descriptions()
    return model, found, names


def from_factory(factory, kwargs):
    place, _, function = factory.rpartition(":")
    if not place:
        stop(f"--factory needs FILE.py:FUNCTION or MODULE:FUNCTION, got {factory}")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(os.path.basename(place)[:-3], place)
        if not os.path.isfile(place):
            stop(f"no file {place}")
        module = importlib.util.module_from_spec(spec)
        # Let the file import modules from its own folder.
        sys.path.insert(0, os.path.dirname(os.path.abspath(place)))
        spec.loader.exec_module(module)
    else:
        sys.path.insert(0, os.getcwd())
        module = importlib.import_module(place)
    if not callable(getattr(module, function, None)):
        stop(f"{place} has no function {function}")
    return getattr(module, function)(**kwargs)


def unwrapped(model):
    """The module inside DataParallel, DistributedDataParallel and torch.compile, which torch.export cannot trace."""
    import torch
    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, parallel):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif isinstance(model, torch.jit.ScriptModule):
            stop("a TorchScript module cannot be exported: let --factory build the original torch.nn.Module and load its state dict")
        else:
            return model


def size(words, flag):
    if words == ["none"]:
        return None
    if len(words) > 2 or not all(word.isdigit() and int(word) > 0 for word in words):
        stop(f"{flag} needs one size, height and width, or none; got {' '.join(words)}")
    return int(words[0]) if len(words) == 1 else [int(word) for word in words]


def preprocessing(found, options):
    """The library's preprocessing, overridden by the flags, in the sidecar's format."""
    result = dict(found)
    for flag in ("resize", "crop"):
        if getattr(options, flag):
            result[flag] = size(getattr(options, flag), f"--{flag}")
    for flag in ("interpolation", "mean", "std"):
        if getattr(options, flag):
            result[flag] = getattr(options, flag)
    missing = [f"--{key}" for key in ("resize", "crop", "interpolation", "mean", "std") if key not in result]
    if missing:
        stop(f"this network's preprocessing is unknown: set {' '.join(missing)} "
             "as in training (--resize none and --crop none are valid)")
    result |= {"channels": "RGB", "range": "0..1 before mean/std"}
    return result


def example_size(spec, options):
    for value in (options.input_size, spec["crop"], spec["resize"] if isinstance(spec["resize"], list) else None):
        if value:
            return value if isinstance(value, list) else [value, value]
    stop("the input size is undetermined without a crop or an exact resize: set --input-size H W")


def export(model, height, width):
    """Export `model` for any batch size, without source paths and example input."""
    import torch
    model = model.eval().float().requires_grad_(False)
    example = torch.zeros(2, 3, height, width)
    with torch.no_grad():
        result = model(example)
        if not isinstance(result, torch.Tensor) or result.dim() != 2 or len(result) != 2:
            shape = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
            stop(f"the network returns {shape} for a batch of 2; expected one tensor [2, classes] "
                 "(wrap it in a module that returns the logits, and use --factory)")
        batch = torch.export.Dim("batch", min=1, max=4096)
        try:
            program = torch.export.export(model, (example,), dynamic_shapes=({0: batch},))
        except torch._dynamo.exc.UserError as problem:
            stop(f"torch.export could not trace the network: {str(problem).splitlines()[0]}\n"
                 "If this concerns the batch size, forward must not convert it to a Python number: write "
                 "x.shape[0] instead of len(x) or int(...), and do not branch on it")
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
    # The example would be stored as a pickle of a megabyte of zeros.
    program._example_inputs = None
    return program, result.shape[1]


def check(path, model, height, width):
    """Largest difference between the file's logits and the module's, relative to the largest logit."""
    import torch
    import warnings
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        program = torch.export.load(path).module()
    worst = 0.0
    for n_images in (1, 5):
        batch = torch.randn(n_images, 3, height, width, generator=torch.Generator().manual_seed(n_images))
        with torch.no_grad():
            expected, got = model(batch), program(batch)
        worst = max(worst, ((expected - got).abs().max() / expected.abs().max().clamp_min(1e-12)).item())
    if not worst < 1e-4:
        stop(f"the exported network differs from the module by {worst:.2e}; nothing written")
    return worst


def write(model, spec, classes, output, height, width, reference_seed=None, extra=None):
    """Export, check and install NAME.pt2, NAME.json and, with a seed, NAME.reference.safetensors."""
    import torch
    mask = os.umask(0)
    os.umask(mask)
    folder = os.path.dirname(os.path.abspath(output))
    os.makedirs(folder, exist_ok=True)
    stem = os.path.basename(output)[:-len(".pt2")]
    program, n_classes = export(model, height, width)
    if classes and len(classes) != n_classes:
        stop(f"{len(classes)} class names for {n_classes} logits")
    sidecar = {"input": spec} | ({"classes": classes} if classes else {}) | (extra or {})
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as scratch:
        # The archive's inner folder takes the file's name, so the temporary file keeps it.
        names = [f"{stem}.pt2", f"{stem}.json"]
        torch.export.save(program, os.path.join(scratch, names[0]))
        worst = check(os.path.join(scratch, names[0]), model, height, width)
        with open(os.path.join(scratch, names[1]), "w", encoding="utf-8") as file:
            json.dump(sidecar, file, indent=1, ensure_ascii=False)
            file.write("\n")
        if reference_seed is not None:
            from safetensors.torch import save_file
            names.append(f"{stem}.reference.safetensors")
            batch = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(reference_seed))
            with torch.no_grad():
                save_file({"input": batch, "logits": model(batch).contiguous()}, os.path.join(scratch, names[2]))
        for name in names:
            # safetensors creates private files; give all files the default permissions.
            os.chmod(os.path.join(scratch, name), 0o666 & ~mask)
            os.replace(os.path.join(scratch, name), os.path.join(folder, name))
    return n_classes, worst


def main():
    options = arguments()
    try:
        import torch
    except ImportError:
        stop("this needs PyTorch: pip install torch==2.11.0 torchvision (and timm for timm models)")
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < OLDEST_TORCH:
        stop(f"torch {torch.__version__} writes archives of an older kind: pip install torch=={TORCH}.0")
    if not torch.__version__.startswith(TORCH + "."):
        print(f"note: torch is {torch.__version__}; prospect's own libtorch is {TORCH}", file=sys.stderr)
    torch.manual_seed(options.seed)
    weights = None if options.weights == "DEFAULT" else options.weights
    found, classes = {}, None
    if options.factory:
        model = from_factory(options.factory, options.kwargs)
        if weights is None:
            print("note: no --checkpoint: using the weights set by the function", file=sys.stderr)
    else:
        source, _, name = options.model.partition(":")
        builders = {"torchvision": from_torchvision, "timm": from_timm}
        if source not in builders or not name:
            stop(f"{options.model} is neither torchvision:NAME nor timm:NAME")
        model, found, classes = builders[source](name, weights, options.kwargs)
    if not isinstance(model, torch.nn.Module):
        stop(f"the builder returned a {type(model).__name__}, not a torch.nn.Module")
    model = unwrapped(model)
    if weights != "none" and not is_library_name(weights):
        load_weights(model, weights)
    if options.classes:
        with open(options.classes, encoding="utf-8") as file:
            classes = [line.strip() for line in file if line.strip()]
    elif weights == "none" or options.kwargs.get("num_classes"):
        classes = None
    spec = preprocessing(found, options)
    height, width = example_size(spec, options)
    model.eval()
    n_classes, worst = write(model, spec, classes, options.output, height, width,
                             options.seed if options.reference else None)
    print(f"{options.output}: {n_classes} classes{'' if classes else ' (unnamed)'}, input {height}x{width}, "
          f"{os.path.getsize(options.output) / 1e6:.1f} MB; logits differ from the module's by {worst:.1e} at batch 1 and 5")


if __name__ == "__main__":
    main()
