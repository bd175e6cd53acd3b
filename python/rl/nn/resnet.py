"""ResNet (He et al. 2015, arXiv 1512.03385) with frozen batch norm, under torchvision's tensor names."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl.api import InputError

#: name -> (bottleneck blocks, blocks of the four stages)
VARIANTS: dict[str, tuple[bool, tuple[int, int, int, int]]] = {
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet34": (False, (3, 4, 6, 3)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
    "resnet152": (True, (3, 8, 36, 3)),
}
EPS = 1e-5


class FrozenBatchNorm(nn.Module):
    """y = x * s + (bias - running_mean * s), s = weight / sqrt(running_var + 1e-5): buffers, never trained."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift, each (C,)."""
        scale = self.weight * (self.running_var + EPS).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.affine()
        y: Tensor = x * scale[:, None, None] + shift[:, None, None]
        return y


def convolved(conv: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """norm(conv(x)). The norm is frozen: a factor on the kernel and a bias, or a factor on the map and a shift.

    Whichever is smaller, kernel or map, takes the factor; the gradient reaches `conv.weight` either way.
    """
    assert isinstance(conv, nn.Conv2d)
    if not isinstance(norm, FrozenBatchNorm):  # folded before: the convolution has it all
        whole: Tensor = conv(x)
        return whole
    scale, shift = norm.affine()
    fan_in = conv.weight[0].numel()
    pixels = x.shape[0] * (x.shape[2] // conv.stride[0]) * (x.shape[3] // conv.stride[0])
    if pixels > fan_in:
        kernel = conv.weight * scale[:, None, None, None]
        return F.conv2d(x, kernel, shift, conv.stride, conv.padding, conv.dilation)
    y = conv(x)
    return torch.addcmul(shift.to(y.dtype)[:, None, None], y, scale.to(y.dtype)[:, None, None])


class Basic(nn.Module):
    """Two 3x3 convolutions and the shortcut."""

    widening = 1

    def __init__(self, given: int, width: int, stride: int, dilation: int, downsample: nn.Sequential | None) -> None:
        super().__init__()
        if dilation > 1:
            raise InputError("only bottleneck ResNets (50 and deeper) can be dilated", where="vision_backbone")
        self.conv1, self.bn1 = _conv(given, width, 3, stride), FrozenBatchNorm(width)
        self.conv2, self.bn2 = _conv(width, width, 3), FrozenBatchNorm(width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(convolved(self.conv1, self.bn1, x), inplace=True)
        y = convolved(self.conv2, self.bn2, y)
        return F.relu(y + _shortcut(self.downsample, x), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (stride and dilation here), 1x1 to four times the width, and the shortcut."""

    widening = 4

    def __init__(self, given: int, width: int, stride: int, dilation: int, downsample: nn.Sequential | None) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(given, width, 1), FrozenBatchNorm(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride, dilation), FrozenBatchNorm(width)
        self.conv3, self.bn3 = _conv(width, 4 * width, 1), FrozenBatchNorm(4 * width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(convolved(self.conv1, self.bn1, x), inplace=True)
        y = F.relu(convolved(self.conv2, self.bn2, y), inplace=True)
        y = convolved(self.conv3, self.bn3, y)
        return F.relu(y + _shortcut(self.downsample, x), inplace=True)


class ResNet(nn.Module):
    """Pictures (B, 3, H, W), normalised, to the last stage's map (B, `channels`, H / 32, W / 32), rounded up.

    name: resnet18 | 34 | 50 | 101 | 152. dilated: the last stage keeps stride 16 and dilates (bottleneck only).
    Errors: InputError for an unknown name, or a dilated 18 or 34.
    """

    def __init__(self, name: str, *, dilated: bool = False) -> None:
        super().__init__()
        if name not in VARIANTS:
            raise InputError(f"there is no '{name}'", where="vision_backbone", todo=f"known: {', '.join(VARIANTS)}")
        bottleneck, blocks = VARIANTS[name]
        if dilated and not bottleneck:
            raise InputError(
                f"{name} cannot be dilated", where="replace_final_stride_with_dilation", todo="use resnet50"
            )
        self._twin: tuple[object, ResNet] | None = None  # a tuple, so that it is no submodule
        block = Bottleneck if bottleneck else Basic
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), FrozenBatchNorm(64)
        given, self.channels = 64, 512 * block.widening
        for stage, count in enumerate(blocks):
            width, stride = 64 << stage, 1 if stage == 0 else 2
            dilation = 2 if dilated and stage == 3 else 1
            stride = 1 if dilation > 1 else stride
            self.add_module(f"layer{stage + 1}", _stage(block, given, width, count, stride, dilation))
            given = width * block.widening
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(convolved(self.conv1, self.bn1, x), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return x

    def inferred(self, x: Tensor) -> Tensor:
        """`forward` without gradients: by a folded twin in channels-last order, made anew when a weight has changed."""
        tensors = (*self.parameters(), *self.buffers())
        key = tuple((t._version, t.data_ptr(), t.dtype, t.device) for t in tensors)
        if self._twin is None or self._twin[0] != key:
            self._twin = (key, nn.Module.to(self.folded(), memory_format=torch.channels_last))  # type: ignore[call-overload]
        map_: Tensor = self._twin[1](x.contiguous(memory_format=torch.channels_last))
        return map_

    def folded(self) -> "ResNet":
        """A copy whose norms are inside its convolutions: for graphs, which then hold no batch norm at all."""
        self._twin = None
        twin = copy.deepcopy(self)
        for parent in list(twin.modules()):
            pairs = ("0", "1"), *((f"conv{i}", f"bn{i}") for i in (1, 2, 3))
            for conv_name, norm_name in pairs:
                norm = getattr(parent, norm_name, None)
                if isinstance(norm, FrozenBatchNorm):
                    setattr(parent, conv_name, _fold(getattr(parent, conv_name), norm))
                    setattr(parent, norm_name, nn.Identity())
        return twin


def _fold(conv: nn.Conv2d, norm: FrozenBatchNorm) -> nn.Conv2d:
    scale, shift = norm.affine()
    whole = copy.copy(conv)  # size, stride, padding and dilation stay
    whole._parameters = {
        "weight": nn.Parameter((conv.weight * scale[:, None, None, None]).detach()),
        "bias": nn.Parameter(shift.detach().clone()),
    }
    return whole


def _conv(given: int, wanted: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation if kernel == 3 else 0
    return nn.Conv2d(given, wanted, kernel, stride, padding, dilation, bias=False)


def _shortcut(downsample: nn.Sequential | None, x: Tensor) -> Tensor:
    return x if downsample is None else convolved(downsample[0], downsample[1], x)


def _stage(
    block: type[Basic] | type[Bottleneck], given: int, width: int, count: int, stride: int, dilation: int
) -> nn.Sequential:
    """`count` blocks. The first changes stride and width, and is not dilated itself."""
    wanted = width * block.widening
    downsample = None
    if stride != 1 or given != wanted:
        downsample = nn.Sequential(_conv(given, wanted, 1, stride), FrozenBatchNorm(wanted))
    first = block(given, width, stride, 1, downsample)
    rest = (block(wanted, width, 1, dilation, None) for _ in range(count - 1))
    return nn.Sequential(first, *rest)
