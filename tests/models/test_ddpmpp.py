"""The papers' U-Net: what it computes, what it refuses, and that its parts have the names that methods know."""

import pytest
import torch

from dpsynth import device, privacy
from dpsynth.methods import dp_sapf
from dpsynth.models import ddpmpp, diffusion, latent, lora, networks, trainable
from dpsynth.models.unet import embed_noise_level, zeroed

SMALL = {"levels": [1, 2, 3], "blocks": 1, "attention": [4, 8]}


def fits(block, resample):
    """Whether a block is from 16 channels to as many, and resamples so."""
    return (block.conv1.in_channels, block.conv2.out_channels, block.resample) == (16, 16, resample)


def without_zeros(model):
    """Zeroed layers would hide what lies before them."""
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture
def net():
    torch.manual_seed(0)
    return without_zeros(ddpmpp.DDPMpp(3, 16, 3, 8, **SMALL))


@pytest.mark.parametrize(
    ("shape", "labels", "unet"),
    [((1, 28), 10, ([1, 2, 2], 2, [7])), ((3, 32), 1, ([1, 2], 1, [])), ((3, 64), 2, ([1, 1, 2, 2], 1, [8, 16])),
     ((3, 10), 2, ([3], 1, [10])), ((4, 8), 5, ([2, 1, 4], 3, [2]))],
)  # fmt: skip
def test_an_image_keeps_its_shape_and_the_null_label_has_a_row(shape, labels, unet):
    net = ddpmpp.DDPMpp(*shape, labels, 8, *unet)
    x = torch.randn(2, shape[0], shape[1], shape[1])
    assert net(x, torch.zeros(2), torch.full((2,), labels)).shape == x.shape
    assert net.shape == x.shape[1:] and net.label.weight.shape == (labels + 1, 8)


def test_a_fresh_network_says_zero():
    x, noise = torch.randn(2, 3, 16, 16), torch.tensor([-1.0, 1.0])
    assert not ddpmpp.DDPMpp(3, 16, 3, 8, **SMALL)(x, noise, torch.tensor([0, 3])).any()


@pytest.mark.parametrize(("resample", "side"), [(None, 8), ("down", 4), ("up", 16)])
def test_a_fresh_block_is_its_shortcut_over_the_root_of_two(resample, side):
    torch.manual_seed(0)
    net, x = ddpmpp.DDPMpp(3, 16, 3, 8, **SMALL), torch.randn(2, 16, 8, 8)
    block = next(b for b in (*net.down, *net.up, ddpmpp.ResBlock(16, 16, 32)) if fits(b, resample))
    zeroed(block.conv2)  # as the network has it
    said = block(x, torch.randn(2, 32))
    assert said.shape == (2, 16, side, side)
    resized = x if resample is None else x.view(2, 16, 4, 2, 4, 2).mean((3, 5))
    if resample == "up":
        resized = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(said, block.shortcut(resized) / 2**0.5)
    lowest = torch.randn(2, 24, 4, 4)
    torch.testing.assert_close(net.attention_middle(lowest), lowest / 2**0.5)


def test_the_noise_level_is_embedded_at_the_papers_frequencies():
    angle = 0.7 * torch.tensor([1, 1e-4**0.25, 1e-2, 1e-4**0.75, 1e-4])
    expected = torch.cat([angle.cos(), angle.sin()])[None]
    torch.testing.assert_close(embed_noise_level(torch.tensor([0.7]), 10, ddpmpp.DECADES), expected)


def test_no_record_sees_another(net):
    x, noise, label = torch.randn(5, 3, 16, 16), torch.randn(5), torch.tensor([0, 1, 2, 3, 0])
    alone = torch.cat([net(x[i : i + 1], noise[i : i + 1], label[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(net(x, noise, label), alone, rtol=1e-4, atol=1e-5)


def test_noise_level_and_label_reach_every_block(net):
    blocks, said, x = (*net.down, *net.middle, *net.up), [], torch.randn(1, 3, 16, 16)
    for block in blocks:
        block.shift.register_forward_hook(lambda layer, inputs, output: said[-1].append(output.clone()))
    for noise, label in ((0.0, 0), (0.3, 0), (0.0, 1)):
        said.append([])
        net(x, torch.tensor([noise]), torch.tensor([label]))
    assert len(said[0]) == len(blocks)
    for other in said[1:]:
        assert all(not torch.allclose(a, b, atol=1e-5) for a, b in zip(said[0], other, strict=True))


def test_every_skip_is_used_once_and_by_its_own_side():
    """The blocks up that do not resample are one more a level than those down; each takes one skip."""
    levels, blocks, attends = [1, 2, 4], 2, [False, True, False]
    down = ddpmpp.way_down(8, levels, blocks, attends)
    up = ddpmpp.way_up(8, levels, blocks, attends, [8, *(step.outward for step in down)])
    assert [step.resample for step in down].count("down") == [step.resample for step in up].count("up") == 2
    taken = [step for step in up if step.resample is None]
    assert len(taken) == len(down) + 1 == 9
    assert [step.inward for step in taken] == [64, 64, 48, 48, 32, 24, 24, 16, 16]
    assert [step.outward for step in taken] == [32, 32, 32, 16, 16, 16, 8, 8, 8]
    assert [step.attends for step in taken] == [False] * 5 + [True] + [False] * 3
    assert [step.attends for step in down].count(True) == blocks


@pytest.mark.parametrize(
    ("size", "levels", "attention", "sentence"),
    [
        (28, [1, 2, 2, 2], [7], "4 levels halve a side 3 times, and 28 pixels cannot be; give fewer levels"),
        (32, [1, 2, 2], [16, 4], "attention at 4 pixels, but the levels have 32, 16, 8; name one of these"),
    ],
)
def test_what_a_side_does_not_allow_is_refused_in_one_sentence(size, levels, attention, sentence):
    with pytest.raises(ValueError, match=f"^unet: {sentence}$"):
        ddpmpp.DDPMpp(3, size, 3, 8, levels, 1, attention)


def test_groups_are_the_papers_or_as_many_as_divide_the_channels():
    groups = {channels: ddpmpp.norm(channels).groups for channels in (32, 64, 96, 128, 160, 384, 144)}
    assert groups == {32: 8, 64: 16, 96: 24, 128: 32, 160: 32, 384: 32, 144: 24}


def test_constants_are_made_where_the_input_is():
    assert embed_noise_level(torch.zeros(2, device="meta"), 8).device.type == "meta"


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch 2.9 itself does
def test_the_network_compiles_as_one_graph(net):
    torch._dynamo.reset()
    inputs = torch.randn(2, 3, 16, 16), torch.randn(2), torch.tensor([0, 3])
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs), net(*inputs))


def test_light_is_what_dpimagebench_trains_and_the_norms_of_attention():
    """Its log has 317,856 weights at CIFAR-10's network with ImageNet's labels."""
    with torch.device("meta"):
        model = diffusion.Denoiser(3, 32, 1000, 32, unet={"levels": [2, 4], "blocks": 2, "attention": [16]})
    trainable.restrict(model, "light")
    learns = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    norms = {name: n for name, n in learns.items() if ".norm." in name}
    assert sum(learns.values()) - sum(norms.values()) == 317_856 and sum(norms.values()) == 4 * 2 * 128
    assert {name.split(".")[1] for name in learns} == {
        "label", "time", "stem", "attention_down", "attention_middle", "attention_up",
    }  # fmt: skip


def test_dp_sapf_finds_its_matrices_and_adapters_change_nothing_at_first():
    torch.manual_seed(0)
    model = device.placed(without_zeros(diffusion.Denoiser(3, 16, 3, 8, unet=SMALL)))
    names = lora.candidates(model, True)
    assert {"net.time.0", "net.attention_up.1.qkv", "net.down.3.shortcut", "net.head"} < set(names)
    assert model.get_submodule(dp_sapf.LABEL_TABLE) is model.net.label
    assert {dp_sapf._block(name) for name in names} >= {"net.time", "net.down.0", "net.attention_middle", "net.stem"}
    batch = torch.randn(4, 3, 16, 16), torch.rand(4) + 0.1, torch.tensor([0, 1, 2, 3])
    before = model(*batch)
    lora.adapt(model, names, seed=0)
    assert torch.equal(model(*batch), before)
    privacy.PerExample(model).close()
    lora.merge(model)
    torch.testing.assert_close(model(*batch), before, rtol=1e-4, atol=1e-5)


def test_a_latent_denoiser_takes_it_at_the_side_of_a_code():
    unet = {"levels": [1, 2], "blocks": 1, "attention": [4]}
    model = latent.LatentDenoiser(3, 32, 3, 8, unet=unet)
    assert isinstance(model.net, ddpmpp.DDPMpp) and model.net.shape == (latent.CODES, 8, 8)
    twin = networks.rebuild(model.architecture, model.state_dict())
    x = torch.randn(2, latent.CODES, 8, 8)
    assert torch.equal(twin(x, torch.ones(2), torch.tensor([0, 1])), model(x, torch.ones(2), torch.tensor([0, 1])))
