"""Pretrained backbones: from files and torch's cache, fetched, and refused; no test touches a network."""

import hashlib
import io
import urllib.error
import urllib.request

import pytest
import torch
from safetensors.torch import save_file

from rl.api import InputError, MissingPart
from rl.nn import pretrained
from rl.nn.pretrained import load_resnet
from rl.nn.resnet import ResNet

NAME = "ResNet18_Weights.IMAGENET1K_V1"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torch's hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture(scope="module")
def published():
    """(state dict, its .pth bytes, digits of their sum) as torchvision would publish it."""
    torch.manual_seed(1)
    state = ResNet("resnet18").state_dict()
    state |= {"fc.weight": torch.zeros(10, 512), "bn1.num_batches_tracked": torch.tensor(1)}
    out = io.BytesIO()
    torch.save(state, out)
    return state, out.getvalue(), hashlib.sha256(out.getvalue()).hexdigest()[:8]


@pytest.fixture
def known(published, monkeypatch):
    """The published file is the one that the name means."""
    monkeypatch.setitem(pretrained.IMAGENET, ("resnet18", "IMAGENET1K_V1"), published[2])
    return f"resnet18-{published[2]}.pth"


def answer(monkeypatch, content):
    def opened(address, timeout):
        if isinstance(content, Exception):
            raise content
        assert address.startswith(pretrained.SOURCE)
        return io.BytesIO(content)

    monkeypatch.setattr(urllib.request, "urlopen", opened)


def test_a_name_is_taken_from_the_cache(cache, known, published):
    cache.mkdir(parents=True)
    (cache / known).write_bytes(published[1])
    net = ResNet("resnet18")
    load_resnet(net, "resnet18", NAME)
    assert torch.equal(net.conv1.weight, published[0]["conv1.weight"])


def test_what_the_cache_lacks_is_fetched_once(cache, known, published, monkeypatch):
    answer(monkeypatch, published[1])
    load_resnet(ResNet("resnet18"), "resnet18", NAME)
    answer(monkeypatch, urllib.error.URLError("asked twice"))
    net = ResNet("resnet18")
    load_resnet(net, "resnet18", NAME)
    assert torch.equal(net.conv1.weight, published[0]["conv1.weight"])
    assert [p.name for p in cache.iterdir()] == [known]


@pytest.mark.parametrize("content", [urllib.error.URLError("no route"), TimeoutError("slow"), b"<html>blocked</html>"])
def test_what_cannot_be_had_is_exit_3_naming_file_and_null(cache, monkeypatch, content):
    answer(monkeypatch, content)
    net = ResNet("resnet18")
    before = net.conv1.weight.clone()
    with pytest.raises(MissingPart) as caught:
        load_resnet(net, "resnet18", NAME)
    assert caught.value.exit_code == 3
    assert "resnet18-f37072fd.pth" in str(caught.value)
    assert "--policy.pretrained_backbone_weights null" in str(caught.value)
    assert torch.equal(net.conv1.weight, before)
    assert list(cache.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_refused(cache, known, published):
    cache.mkdir(parents=True)
    (cache / known).write_bytes(published[1][:-1] + b"x")
    with pytest.raises(InputError, match="damaged"):
        load_resnet(ResNet("resnet18"), "resnet18", NAME)


def test_a_safetensors_file_is_read(tmp_path, published):
    save_file(published[0], tmp_path / "w.safetensors")
    net = ResNet("resnet18")
    load_resnet(net, "resnet18", str(tmp_path / "w.safetensors"))
    assert torch.equal(net.layer4[1].conv2.weight, published[0]["layer4.1.conv2.weight"])


def test_a_pickle_is_read_only_when_asked_for(tmp_path, published):
    path = tmp_path / "w.pth"
    path.write_bytes(published[1])
    with pytest.raises(InputError, match=r"--policy\.allow_pickle_weights"):
        load_resnet(ResNet("resnet18"), "resnet18", str(path))
    net = ResNet("resnet18")
    load_resnet(net, "resnet18", str(path), allow_pickle=True)
    assert torch.equal(net.conv1.weight, published[0]["conv1.weight"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("conv1.weight"), "lack conv1.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda s: s.update({"conv1.weight": torch.zeros(64, 3, 3, 3)}), "wrong shape for conv1.weight"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, published, change, words):
    state = dict(published[0])
    change(state)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=words):
        load_resnet(ResNet("resnet18"), "resnet18", str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("absent.safetensors", "no file absent"),
        ("ResNet18_Weights.IMAGENET9", r"known: ResNet18_Weights\.IMAGENET1K_V1"),
        ("ResNet34_Weights.IMAGENET1K_V1", "no weights of resnet18"),
    ],
)
def test_names_that_mean_nothing_are_refused(weights, words):
    with pytest.raises(InputError, match=words):
        load_resnet(ResNet("resnet18"), "resnet18", weights)
