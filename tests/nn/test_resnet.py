"""The backbone: names and shapes of torchvision, frozen norms, dilation, and its fast ways against the plain one."""

import pytest
import torch
from torch import nn

from rl.api import InputError
from rl.nn.resnet import FrozenBatchNorm, ResNet


def filled(name="resnet18", **options):
    """A backbone whose norms are no identity."""
    torch.manual_seed(0)
    net = ResNet(name, **options)
    for module in net.modules():
        if isinstance(module, FrozenBatchNorm):
            for buffer in (module.weight, module.running_var):
                buffer.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1)
    return net


def plainly(net, x):
    """The same network, block by block with convolution and norm apart."""

    def block(b, x):
        shortcut = x if b.downsample is None else b.downsample[1](b.downsample[0](x))
        convs = [i for i in (1, 2, 3) if hasattr(b, f"conv{i}")]
        for i in convs:
            x = getattr(b, f"bn{i}")(getattr(b, f"conv{i}")(x))
            x = x.relu() if i != convs[-1] else (x + shortcut).relu()
        return x

    x = nn.functional.max_pool2d(net.bn1(net.conv1(x)).relu(), 3, 2, 1)
    for stage in range(1, 5):
        for one in getattr(net, f"layer{stage}"):
            x = block(one, x)
    return x


@pytest.mark.parametrize(("name", "size"), [("resnet18", (32, 48)), ("resnet18", (160, 96)), ("resnet50", (32, 32))])
def test_factors_on_kernels_and_on_maps_equal_the_plain_way(name, size):
    net, x = filled(name), torch.rand(2, 3, *size)
    with torch.no_grad():
        wanted = plainly(net, x)
        found = {"forward": net(x), "folded": net.folded()(x), "inferred": net.inferred(x)}
    for way, got in found.items():
        assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max())), way


def test_the_gradient_is_that_of_the_plain_way():
    net, x = filled().double(), torch.rand(2, 3, 96, 96, dtype=torch.float64)  # in float32 a relu may flip
    grads = []
    for way in (net, lambda x: plainly(net, x)):
        net.zero_grad()
        way(x).square().mean().backward()
        grads.append({name: p.grad.clone() for name, p in net.named_parameters()})
    for name, wanted in grads[1].items():
        assert torch.allclose(grads[0][name], wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max())), name


def test_inference_sees_changed_weights():
    net, x = filled(), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        before = net.inferred(x)
        net.layer4[1].bn2.bias.add_(1)
        after = net.inferred(x)
        assert torch.allclose(after, net(x), rtol=1e-4, atol=1e-4)
    assert (after - before).abs().max() > 0.1


def test_norms_are_buffers_and_nothing_counts_batches():
    names = dict(ResNet("resnet18").named_parameters())
    state = ResNet("resnet18").state_dict()
    assert len(names) == 20
    assert len(state) == 100
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.0.weight", "layer4.1.bn2.bias"} <= set(state)
    assert sum(p.numel() for p in names.values()) == 11_166_912


@pytest.mark.parametrize(("name", "blocks"), [("resnet34", (3, 4, 6, 3)), ("resnet101", (3, 4, 23, 3))])
def test_deeper_ones_have_their_blocks(name, blocks):
    with torch.device("meta"):
        net = ResNet(name)
    assert tuple(len(getattr(net, f"layer{i}")) for i in range(1, 5)) == blocks


def test_dilation_keeps_the_map_twice_as_fine():
    with torch.device("meta"):
        shapes = [ResNet("resnet50", dilated=d)(torch.rand(1, 3, 64, 96)).shape for d in (False, True)]
    assert shapes == [(1, 2048, 2, 3), (1, 2048, 4, 6)]


def test_what_cannot_be_built_is_said():
    with pytest.raises(InputError, match="resnet18 cannot be dilated"):
        ResNet("resnet18", dilated=True)
    with pytest.raises(InputError, match="resnet7"):
        ResNet("resnet7")
