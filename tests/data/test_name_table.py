"""Names in one string: the same as a list of them."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest

from dcpt_data import DataError
from dcpt_data.stores.name_table import NameTable, refuse_paths


@pytest.mark.parametrize("names", [[], ["a.png"], ["a/b.png", "", "ü 1.jpg", "x" * 300], ["\udcff.png"]])
def test_a_table_is_the_list_it_was_made_of(names):
    table = NameTable.of(names)
    assert len(table) == len(names)
    assert list(table) == names
    assert [table[i] for i in range(-len(names), 0)] == names
    copy = pickle.loads(pickle.dumps(table))
    assert list(NameTable(copy.text, np.array(copy.ends))) == names


@pytest.mark.parametrize("index", [3, -4])
def test_there_is_no_name_beyond_the_ends(index):
    with pytest.raises(IndexError, match="there are 3 names"):
        NameTable.of("abc")[index]


def test_many_names_take_little_memory():
    tracemalloc.start()
    table = NameTable.of(f"{i:06}_0.8_0.2.jpg" for i in range(50_000))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == 50_000
    assert kept < 50_000 * 40  # bytes; a list of such strings takes 74 each


@pytest.mark.parametrize(
    "name",
    [
        "../../../../evil.png",
        "a/../../evil.png",
        "/tmp/evil.png",
        "a/..",
        "..\\..\\evil.png",
        "C:\\evil.png",
        "c:evil.png",
        "\\evil.png",
        "\\\\host\\share\\evil.png",
        "a\0b.png",
        "",
    ],
)
def test_names_that_lead_out_of_a_folder_are_refused(name):
    with pytest.raises(DataError, match=r"here: the name .* leads out of a folder"):
        refuse_paths(NameTable.of(["a.png", name, "b.png"]), "here")


def test_ordinary_names_are_no_paths_that_lead_out():
    refuse_paths(NameTable.of([]), "here")
    refuse_paths(
        NameTable.of(["a.png", "street/0001..png", "...png", "b.c/d.png", "caf\udce9.png", "x..y/z.png"]), "here"
    )
