"""The same networks in PyTorch, weights copied over, and a training loop: for the parity tests and the benchmarks."""

import jax
import numpy as np
import torch
from flax import nnx

from jnas.nn import _modules as modules
from jnas.space import _layers as lt
from jnas.train._input_pipeline import epoch_permutation


class AvgPool2d(torch.nn.AvgPool2d):
    """Average pooling without PyTorch's wrong gradient of padded channels-last maps on a GPU (pytorch#188344)."""

    def forward(self, maps):
        return super().forward(maps.contiguous() if maps.is_cuda and self.padding else maps)


def torch_layer(layer, shape):
    """The PyTorch module of one layer template for an input of `shape`."""
    window = {}
    if isinstance(layer, lt.WindowedLayer):
        window = {"kernel_size": layer.kernel_size, "stride": layer.stride, "padding": layer.pad}
    match layer:
        case lt.Conv2d():
            return torch.nn.Conv2d(shape[0], layer.out_channels, **window)
        case lt.MaxPool2d():
            return torch.nn.MaxPool2d(**window)
        case lt.AvgPool2d():
            return AvgPool2d(**window, count_include_pad=layer.count_include_pad)
        case lt.GlobalAvgPool2d():
            return torch.nn.AdaptiveAvgPool2d(1)
        case lt.BatchNorm2d():
            return torch.nn.BatchNorm2d(shape[0])
        case lt.ReLU():
            return torch.nn.ReLU()
        case lt.LeakyReLU():
            return torch.nn.LeakyReLU(layer.negative_slope)
        case lt.PReLU():
            return torch.nn.PReLU(shape[0] if layer.all_channels else 1)
        case lt.Dropout2d():
            return torch.nn.Dropout2d(layer.p)
        case lt.Dropout():
            return torch.nn.Dropout(layer.p)
        case lt.Flatten():
            return torch.nn.Flatten()
        case lt.Linear():
            return torch.nn.Linear(shape[0], layer.out_features)
    raise NotImplementedError(layer)


def torch_network(template):
    """The PyTorch network of a template."""
    inputs = (template.in_shape, *template.shapes)
    return torch.nn.Sequential(*map(torch_layer, template.layers, inputs[:-1]))


def copy_weights(template, module: nnx.Sequential, network: torch.nn.Sequential):
    """Writes the Flax module's weights into the PyTorch network."""
    inputs = (template.in_shape, *template.shapes)
    flattened = None  # the map that Flatten laid out, until a Linear has taken it
    for ours, theirs, shape in zip(module.layers, network, inputs[:-1], strict=True):
        match ours:
            case modules.Conv2d():
                _copy(theirs.weight, np.asarray(ours.kernel[...]).transpose(3, 2, 0, 1))
                _copy(theirs.bias, ours.bias[...])
            case modules.Linear():
                kernel = np.asarray(ours.kernel[...])
                if flattened:
                    channels, height, width = flattened
                    kernel = kernel.reshape(height, width, channels, -1).transpose(2, 0, 1, 3)
                    kernel = kernel.reshape(channels * height * width, -1)
                flattened = None
                _copy(theirs.weight, kernel.T)
                _copy(theirs.bias, ours.bias[...])
            case modules.BatchNorm2d():
                _copy(theirs.weight, ours.scale[...])
                _copy(theirs.bias, ours.bias[...])
            case modules.PReLU():
                _copy(theirs.weight, ours.slope[...])
            case modules.Flatten():
                flattened = shape


def _copy(parameter, value):
    value = torch.tensor(np.array(value))
    assert parameter.shape == value.shape
    with torch.no_grad():
        parameter.copy_(value)


class TorchTrainer:
    """A plain training loop in PyTorch, as good as one can be written: the peer that the benchmarks time.

    The images stay on the device, normalised once; batches are those of `jnas`, in the same order; AdamW is fused; the
    host waits for the device once an epoch.

    Args:
      template, recipe, split: as in `jnas.train.Trainer`; the recipe must not augment.
      seed: of initial weights, image order and dropout.
      memory_format: `torch.channels_last` or `torch.contiguous_format`.
    """

    def __init__(self, template, recipe, split, seed=0, memory_format=torch.channels_last):
        if recipe.flip or recipe.shift or recipe.cut_out or recipe.optimizer != "adamw":
            raise ValueError("the peer has no augmentation, and AdamW only: use Recipe.sophius()")
        self.device = "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True  # as XLA does by default
        torch.manual_seed(seed)
        self.recipe, self.seed = recipe, np.array([seed], np.uint32)
        self.images, self.labels = self._put(split.x_train, split.y_train, memory_format)
        self.val_images, self.val_labels = self._put(split.x_val, split.y_val, memory_format)
        self.network = torch_network(template).to(self.device, memory_format=memory_format)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self.autocast = torch.autocast(self.device, torch.bfloat16, enabled=recipe.precision == "bfloat16")
        self.loss_of = torch.nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        self.steps_per_epoch = len(self.images) // recipe.batch_size
        self.lr_factors = recipe.learning_rates(self.steps_per_epoch)

    def _put(self, images, labels, memory_format):
        images = torch.from_numpy(np.array(images)).to(self.device).permute(0, 3, 1, 2).float().mul_(2 / 255).sub_(1)
        labels = torch.from_numpy(np.array(labels)).to(self.device).long()
        return images.contiguous(memory_format=memory_format), labels

    def order(self, epoch):
        """`[steps, batch]`: which images each step of an epoch sees, as in jnas."""
        steps, size = self.steps_per_epoch, self.recipe.batch_size
        order = epoch_permutation(self.seed, np.int32(epoch), num_images=len(self.images), steps=steps, batch_size=size)
        return torch.from_numpy(np.array(order[0])).to(self.device).long()

    def run_steps(self, order, lr_factors):
        """Trains on the given batches; returns when the device is done."""
        self.network.train()
        for batch, factor in zip(order, lr_factors, strict=True):
            self.optimizer.param_groups[0]["lr"] = self.recipe.learning_rate * float(factor)
            with self.autocast:
                loss = self.loss_of(self.network(self.images[batch]), self.labels[batch])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        loss.item()

    @torch.inference_mode()
    def accuracy(self):
        """The share of the validation images that are labelled right."""
        self.network.eval()
        right = [
            (self.network(images).argmax(1) == labels).sum()
            for images, labels in zip(self.val_images.split(512), self.val_labels.split(512), strict=True)
        ]
        return sum(int(count) for count in right) / len(self.val_labels)

    def train(self):
        """Trains for the recipe's epochs; returns the validation accuracy after each."""
        accuracies = []
        for epoch, lr_factors in enumerate(self.lr_factors):
            self.run_steps(self.order(epoch), lr_factors)
            accuracies.append(self.accuracy())
        return accuracies
