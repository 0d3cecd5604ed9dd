"""Files of weights: what is read, and what each that is not says."""

import argparse
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_checks import assert_loaded, assert_refused, saved
from safetensors.torch import save_file
from small_networks import SMALL, build

from dcpt_arch.checkpoints.initialise import initialise
from dcpt_arch.checkpoints.loading import (
    CheckpointError,
    find_weights,
    load_network,
    read_checkpoint,
)


def small():
    return build("NAFNet")


@pytest.mark.parametrize("as_path", [Path, str])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_file_round_trip(tmp_path, as_path, zipped):
    original, file = small(), tmp_path / "net_g_8.pth"
    content = {"params": original.state_dict(), "iter": 8}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(as_path(file))
    assert set(read) == {"params", "iter"} and read["iter"] == 8
    assert_loaded(load_network(as_path(file)), original)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("as_path", [Path, str])
def test_safetensors_round_trip(tmp_path, name, as_path):
    original, file = build(name), tmp_path / "net_g.safetensors"
    save_file(original.state_dict(), file, metadata={"format": "pt"})
    assert read_checkpoint(as_path(file)).keys() == original.state_dict().keys()
    assert_loaded(load_network(as_path(file)), original)


def test_damaged_safetensors_file(tmp_path):
    file = tmp_path / "net.safetensors"
    save_file(small().state_dict(), file)
    whole = file.read_bytes()
    for length in (1, 7, 8, 200, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert_refused(file, "truncated or no safetensors file", "copy or save it again")
    file.write_bytes(b"")
    assert_refused(file, "is empty; copy or save it again")
    torch.save(small().state_dict(), file)
    assert_refused(file, "is a file of torch.save; rename it to net.pth")
    save_file({}, file)
    assert_refused(file, "an empty dict")
    assert_refused(tmp_path / "no.safetensors", "no such checkpoint file")


def test_missing_file(tmp_path):
    assert_refused(tmp_path / "no.pth", "no such checkpoint file")
    assert_refused(tmp_path, "no file of weights in it")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_truncated_file(tmp_path, zipped):
    file = tmp_path / "net.pth"
    torch.save(small().state_dict(), file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    # Where the file was cut decides which of torch's many exceptions comes.
    for length in (0, 1, 7, 200, *range(1000, len(whole), len(whole) // 40), len(whole) - 1):
        file.write_bytes(whole[:length])
        assert_refused(file)


def zip_of(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 104857600\n"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "what", "then"),
    [
        (b"", "is empty", "copy or save it again"),
        (LFS, "is a pointer of Git LFS", "run `git lfs pull`"),
        (b"\n<!DOCTYPE html><html>404</html>", "is a web page", "download button"),
        (b"<html>\xc3\xa9</html>", "is a web page", "download button"),
        (b"Quota exceeded\n", "is a text file, beginning with 'Quota exceeded", "name the file of the weights"),
        (gzip.compress(b"weights", mtime=0), "is an archive (gzip)", "unpack it"),
    ],
)
def test_a_file_of_another_kind_says_what_it_is_and_what_to_do(tmp_path, content, what, then, suffix):
    file = tmp_path / f"net{suffix}"
    file.write_bytes(content)
    assert_refused(file, what, then)


def test_archives_and_programs_named_pth_say_what_they_are(tmp_path):
    file = tmp_path / "net.pth"
    file.write_bytes(zip_of("best/net_g.pth", b"weights"))
    assert_refused(file, "is a zip archive; unpack it")
    torch.jit.script(torch.nn.Linear(1, 1)).save(file)
    assert_refused(file, "is a TorchScript program", "network.state_dict()")
    save_file(small().state_dict(), file)
    assert_refused(file, "is a file of safetensors; rename it to net.safetensors")
    file.write_bytes(b"PK\x03\x04")
    assert_refused(file)


@pytest.mark.parametrize(
    ("beside", "what"),
    [
        (np.float64(31.2), "beside weights it holds numbers of numpy"),
        (argparse.Namespace(lr=1e-3), "beside weights it holds settings of the program that wrote it"),
        (torch.nn.Linear(1, 1), "it holds a whole network"),
    ],
    ids=["numpy", "namespace", "module"],
)
def test_what_a_program_has_saved_beside_weights_is_named_with_the_way_out(tmp_path, beside, what):
    file = saved(tmp_path, {"params": small().state_dict(), "beside": beside})
    assert_refused(file, what, "not opened", "torch.save({'params': network.state_dict()}, 'weights.pth')")


def test_a_training_state_given_as_weights_says_where_the_weights_are(tmp_path):
    state = {"epoch": 1, "iter": 8, "optimizers": [{}], "schedulers": [{}]}
    file = saved(tmp_path, state)
    wanted = (str(file), "a training state has no weights", "models/net_*_8.pth", "path:resume_state")
    assert_refused(file, *wanted)
    with pytest.raises(CheckpointError) as error:
        initialise(small(), file)
    assert all(part in str(error.value) for part in wanted)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused_with_the_file(tmp_path, value):
    network = small()
    with torch.no_grad():
        network.intro.weight[0, 0, 0, 0] = value
    file = saved(tmp_path, {"params": network.state_dict()})
    assert_refused(file, "'intro.weight' are NaN or infinite", "take an earlier checkpoint")
    with pytest.raises(CheckpointError, match=r"net.pth: 1 of .* are NaN or infinite"):
        initialise(small(), file)


def test_a_mask_may_be_minus_infinity():
    assert list(find_weights({"attn_mask": torch.tensor([0.0, -float("inf")])}).state) == ["attn_mask"]


def spoilt(file, name):
    """Change a byte of what a file of torch.save holds under a name."""
    with zipfile.ZipFile(file) as archive:
        (part,) = [info for info in archive.infolist() if info.filename.endswith(name)]
        content = archive.read(part)
    data = bytearray(file.read_bytes())
    data[data.index(content) + len(content) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("part", ["data/3", "data.pkl"])
def test_a_damaged_byte_of_a_weight_is_noticed(part, tmp_path):
    torch.save(build("NAFNet").state_dict(), tmp_path / "a.pth")
    load_network(tmp_path / "a.pth")
    spoilt(tmp_path / "a.pth", part)
    with pytest.raises(CheckpointError, match=f"a.pth: damaged .*{part}"):
        load_network(tmp_path / "a.pth")


def test_a_file_that_was_saved_without_checksums_is_read(tmp_path):
    state = build("NAFNet").state_dict()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(load_network(tmp_path / "a.pth").state_dict()["intro.weight"], state["intro.weight"])


def test_a_weight_of_64_bits_that_a_network_cannot_hold_is_refused():
    state = dict(build("NAFNet").double().state_dict())
    state["intro.weight"][0, 0, 0, 0] = 1e300
    with pytest.raises(CheckpointError, match=r"1 of 162 values of 'intro\.weight' are NaN or infinite"):
        load_network(state)


def test_a_damaged_name_in_a_file_is_refused(tmp_path):
    torch.save(build("NAFNet").state_dict(), tmp_path / "a.pth")
    data = bytearray((tmp_path / "a.pth").read_bytes())
    data[data.rindex(b"data.pkl")] = 0xE9  # in the directory at the end
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"a\.pth: damaged"):
        load_network(tmp_path / "a.pth")


def test_a_header_whose_length_begins_like_a_pickle_is_one_of_safetensors(tmp_path):
    state = {key: value.contiguous() for key, value in build("NAFNet").state_dict().items()}
    for length in range(257):  # of what pads the header until its length ends with 0x80
        save_file(state, tmp_path / "a.safetensors", metadata={"note": "x" * length})
        if (tmp_path / "a.safetensors").read_bytes()[0] == 0x80:
            break
    assert (tmp_path / "a.safetensors").read_bytes()[0] == 0x80
    assert torch.equal(load_network(tmp_path / "a.safetensors").state_dict()["intro.weight"], state["intro.weight"])
