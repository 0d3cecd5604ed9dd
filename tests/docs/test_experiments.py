"""Every option file: it passes its check, its networks can be built, and it runs, after those that it starts from.

docs/EXPERIMENTS.md says what each of them is for.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.archs import build_network
from lmdb_data import make
from small_runs import completed, launch

import dcpt_arch  # noqa: F401 - registers networks
import dcpt_models  # noqa: F401 - registers models
from dcpt_data import build_val_loaders, check_folders
from dcpt_data.datasets.options import SetOptions
from dcpt_data.preparation.stand_ins import plan, synthesise
from dcpt_models.evaluation.published import read_published
from dcpt_models.evaluation.testing import evaluate
from dcpt_models.options.files import read_options
from dcpt_models.options.schema import check_options
from dcpt_models.options.yaml_loader import Loader, load_yaml
from dcpt_models.validation.validate import Results

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ROOT / "options"
ROOMS = ("", "3d", "5d", "10d", "cdd11", "gopro", "zero_shot", "transfer/**", "ablations/**", "masked")
FILES = {file.stem: file for room in ROOMS for file in sorted(OPTIONS.glob(f"{room}/*.yml" if room else "*.yml"))}
FILES |= {f"mini_{name}": OPTIONS / f"mini/{name}.yml" for name in ("dcpt", "dc_train", "masked_dcpt", "restore")}
PACKAGE = ("guide", "restore", "polish_guide", "restore_more", "polish_more", "restore_fine", "polish_fine")
PACKAGE = (*PACKAGE, "classifier")
FILES |= {f"package_{name}": OPTIONS / f"package/{name}.yml" for name in PACKAGE}
COMMON = OPTIONS / "_base_"
BASES = {file.relative_to(COMMON).with_suffix("").as_posix(): file for file in sorted(COMMON.rglob("*.yml"))}
# The settings of dcpt_data/sources/sources.yml that the files read.
SETTINGS = ("3d", "5d", "10d", "cdd11", "transfer", "gopro", "zero_shot")
# What makes a network of each type small.
SMALL = {
    "NAFNet": {"width": 4, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]},
    "Restormer": {"dim": 4, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "heads": [1, 1, 2, 2]},
    "DCPTSwinIR": {"embed_dim": 8, "depths": [2, 2, 2], "num_heads": [2, 2, 2]},
    **{f"{kind}DegradationClassifier": {"width": 8} for kind in ("", "ViT", "Vim")},
}
SMALL["GuidedNAFNet"] = {**SMALL["NAFNet"], "guide_width": 4}
SMALL["PromptIR"] = {**SMALL["Restormer"], "prompt_dims": [4, 4, 4], "prompt_sizes": [4, 4, 4]}


@cache
def values(name: str) -> dict[str, Any]:
    """A file's options, with its bases."""
    return read_options(FILES[name]).values


@cache
def said(file: Path) -> dict[str, Any]:
    """What a file itself says."""
    loaded: dict[str, Any] = load_yaml(file.read_bytes(), str(file), Loader)
    return loaded


def at(name: str, path: str) -> Any:
    """The value of a key `section:key` of a file, None if it has none."""
    value: Any = values(name)
    for key in path.split(":"):
        value = (value or {}).get(key)
    return value


def expanded(text: str) -> list[str]:
    """The words of a line as bash expands their braces: "x_{a,b}" is "x_a x_b"."""
    words = []
    for word in text.split():
        parts = re.findall(r"{([^}]*)}|([^{}]+)", word)
        words += [
            "".join(choice)
            for choice in itertools.product(*(inner.split(",") if not text else [text] for inner, text in parts))
        ]
    return words


def trains(name: str) -> bool:
    return "train" in values(name)["datasets"]


def run_folder(name: str) -> str:
    return at(name, "path:experiments_root") or f"experiments/{at(name, 'name')}"


MAKERS = {run_folder(name): name for name in FILES if trains(name)}


def starts_from(name: str) -> dict[str, tuple[str, str]]:
    """The weights that a file starts from, or tests: which network -> the file that trains it, and the path."""
    found = {}
    for key, path in (at(name, "path") or {}).items():
        if key.startswith("pretrain_network_"):
            found[key.removeprefix("pretrain_network_")] = (MAKERS[str(Path(path).parents[1])], path)
    return found


# What the files say


@pytest.mark.parametrize("name", FILES)
def test_it_passes_its_check(name: str) -> None:
    check_options(read_options(FILES[name]), is_train=trains(name))
    assert values(name)["name"] == name


@pytest.mark.parametrize("name", FILES)
def test_what_it_starts_from_is_made_by_another_file_for_the_same_network(name: str) -> None:
    for label, (maker, path) in starts_from(name).items():
        made, wanted = values(maker)["network_g"], values(name)["network_g"]
        grows = label == "g" and at(name, "path:strict_load_g") is False  # parts that are new begin as the identity
        assert made == wanted or (grows and made.items() < wanted.items())
        found = re.fullmatch(rf"net_{label}_(latest|\d+)\.pth", Path(path).name)
        assert found, path
        if found[1] != "latest":
            assert int(found[1]) % values(maker)["logger"]["save_checkpoint_freq"] == 0
            assert int(found[1]) <= values(maker)["train"]["total_iter"]
        if label == "dc":
            assert values(maker)["network_dc"] == values(name)["network_dc"]
            assert values(maker)["degradations"] == values(name)["degradations"]
        pre_trains = maker.startswith(("dcpt", "masked_dcpt", "demo_dcpt", "package_dcpt"))
        if label == "g" and trains(name):  # the head of pre-training only reproduces its input
            assert at(name, "path:pretrain_scope_g") in (("encoder",) if pre_trains else (None, "all"))


def networks() -> Iterator[tuple[str, str, int]]:
    """The networks of all files, each once, as JSON: restoration network, classifier, and classes of that."""
    for name in FILES:
        classes = len(at(name, "degradations") or []) if at(name, "network_dc") else 0
        yield json.dumps(values(name)["network_g"]), json.dumps(at(name, "network_dc")), classes


@pytest.mark.parametrize(("network_g", "network_dc", "classes"), sorted(set(networks())))
def test_its_networks_can_be_built(network_g: str, network_dc: str, classes: int) -> None:
    with torch.device("meta"):  # shapes alone: nothing is allocated or drawn
        network = build_network(json.loads(network_g))
        assert network.feature_info
        if classes:
            given = {"feature_info": network.feature_info, "classes": classes}
            assert build_network({**json.loads(network_dc), **given}).fc.out_features == classes


@pytest.mark.parametrize(
    "name", [name for name in BASES if name.startswith("networks/") and name != "networks/classifier"]
)
def test_a_network_has_as_many_parameters_as_its_file_says(name: str) -> None:
    with torch.device("meta"):
        count = sum(p.numel() for p in build_network(read_options(BASES[name]).values["network_g"]).parameters())
    assert f"{count / 1e6:.1f} million parameters" in BASES[name].read_text(encoding="utf-8")


RATIOS = {
    "3d": {"haze": [1], "rain": [120], "noise": [9, 9]},
    "5d": {"haze": [1], "rain": [300], "noise": [15, 15], "motion_blur": [5], "low_light": [60]},
    "10d": {
        "noise": [1, 1],
        "motion_blur": [4],
        "defocus_blur": [9],
        "jpeg": [1, 1],
        "haze": [30],
        "snow": [1],
        "rain": [5, 5],
        "demosaic": [1, 1],
        "low_light": [50],
        "inpainting": [1, 1],
    },
}
NETS = "{nafnet,restormer,promptir,swinir}"
RECIPES: dict[str, dict[str, Any]] = {
    f"dcpt_{NETS}_{{3d,5d}} dcpt_{{nafnet,restormer}}_10d dcpt_promptir_5d_{{vit,vim,one_level}}": {
        "train:total_iter": 100_000,
        "train:scheduler": None,
        "train:schedule": "alternate",
        "train:stages": None,
        "train:optim_g:weight_decay": 0,
        "train:optim_dc:weight_decay": 0,
        "train:cls_opt": {"type": "FocalLoss", "gamma": 2, "loss_weight": 1},
    },
    "dcpt_nafnet_{3d,5d,10d,cdd11_multi_label}": {"train:optim_g:lr": 3e-4, "train:optim_dc:lr": 1e-4},
    "dcpt_{promptir,restormer,swinir}_{3d,5d} dcpt_restormer_10d": {
        "train:optim_g:lr": 2e-4,
        "train:optim_dc:lr": 5e-5,
    },
    f"masked_dcpt_{NETS}_5d": {
        "train:total_iter": 100_000,
        "train:scheduler": None,
        "train:optim_g:lr": 3e-4,
        "train:optim_dc:lr": 1e-4,
        "datasets:train:gt_size": 256,
        "datasets:train:batch_size_per_gpu": 4,
    },
    f"{{dcpt,finetune,scratch}}_{NETS}_{{3d,5d}} {{dcpt,finetune,scratch}}_nafnet_10d finetune_nafnet_cdd11": {
        "datasets:train:gt_size": 128,
        "datasets:train:batch_size_per_gpu": 8,
    },
    f"{{finetune,scratch}}_{NETS}_{{3d,5d}} finetune_nafnet_{{10d,cdd11}}": {
        "train:total_iter": 750_000,
        "train:ema_decay": 0.999,
    },
    "finetune_{nafnet,promptir,restormer}_{3d,5d}": {
        "train:optim_g:lr": 3e-4,
        "train:scheduler:eta_min": 1e-6,
        "train:grad_clip": 0.01,
    },
    "finetune_swinir_{3d,5d}": {
        "train:optim_g:lr": 1.5e-4,
        "train:scheduler:eta_min": 1e-6,
        "train:grad_clip": None,
    },
    "finetune_nafnet_10d": {"train:optim_g:lr": 2.5e-4, "train:scheduler:eta_min": 1e-5},
    "{finetune,scratch}_restormer_gopro": {"train:total_iter": 300_000, "train:optim_g:weight_decay": 1e-4},
    "scratch_restormer_{denoise,deblur,derain} transfer_restormer_deblur_from_denoise{,_guided}": {
        "train:total_iter": 100_000,
        "train:optim_g:lr": 3e-4,
        "train:optim_g:weight_decay": 1e-4,
        "train:grad_clip": 0.01,
        "train:ema_decay": 0.999,
        "datasets:train:batch_size_per_gpu": 8,
    },
}


@pytest.mark.parametrize("files", RECIPES)
def test_the_recipes_are_the_published_ones(files: str) -> None:
    for name in expanded(files):
        assert {path: at(name, path) for path in RECIPES[files]} == RECIPES[files], name


@pytest.mark.parametrize("setting", RATIOS)
def test_the_repeat_ratios_are_the_published_ones(setting: str) -> None:
    options = read_options(BASES[f"data/{setting}_train"]).values
    ratios: dict[str, list[int]] = {}
    for name, part in options["datasets"]["train"]["sets"].items():
        degradation = next(known for known in options["degradations"] if name.startswith(known))
        ratios.setdefault(degradation, []).append(part["repeat_ratio"])
    assert ratios == RATIOS[setting]
    assert list(ratios) == options["degradations"]
    assert read_options(BASES[f"data/{setting}_test"]).values["degradations"] == options["degradations"]


@pytest.mark.parametrize("name", [name for name in FILES if trains(name) and at(name, "train:scheduler")])
def test_schedulers_are_as_long_as_their_runs(name: str) -> None:
    scheduler = values(name)["train"]["scheduler"]
    assert scheduler.get("T_max", scheduler.get("total_steps")) == values(name)["train"]["total_iter"]


def test_restormers_rate_is_constant_for_92k_iterations_and_ends_at_1e_6() -> None:
    arguments = dict(values("scratch_restormer_gopro")["train"]["scheduler"])
    kind = getattr(torch.optim.lr_scheduler, arguments.pop("type"))
    steps = arguments["total_steps"] = 300
    rates = []
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=3e-4)
    scheduler = kind(optimizer, **arguments)
    optimizer.step()
    for _ in range(steps):
        rates.append(scheduler.get_last_lr()[0])
        if len(rates) < steps:
            scheduler.step()
    assert rates[:92] == pytest.approx([3e-4] * 92)
    cosine = [1e-6 + (3e-4 - 1e-6) * (1 + math.cos(math.pi * step / 208)) / 2 for step in range(1, 209)]
    assert rates[92:] == pytest.approx(cosine, rel=0.02, abs=1e-7)


def repeated(above: dict[str, Any], below: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """The keys that say what stood below already."""
    for key, value in above.items() if not above.get("_delete_") else ():
        if isinstance(value, dict):
            yield from repeated(value, below.get(key) if isinstance(below.get(key), dict) else {}, (*path, key))
        elif key in below and below[key] == value and key != "_base_":
            yield ":".join((*path, key))


@pytest.mark.parametrize("file", [*FILES.values(), *BASES.values()], ids=lambda file: file.stem)
def test_it_repeats_nothing_that_its_bases_say(file: Path, tmp_path: Path) -> None:
    bases = said(file).get("_base_", [])
    bases = [bases] if isinstance(bases, str) else bases
    below: dict[str, Any] = {}
    if bases:
        only_bases = tmp_path / "bases.yml"
        only_bases.write_text(json.dumps({"_base_": [str(file.parent / base) for base in bases]}), encoding="utf-8")
        below = read_options(only_bases).values
    assert list(repeated(said(file), below)) == []


def test_every_base_is_used() -> None:
    used: set[Path] = set()

    def follow(file: Path) -> None:
        bases = said(file).get("_base_", [])
        for base in [bases] if isinstance(bases, str) else bases:
            used.add((file.parent / base).resolve())
            follow((file.parent / base).resolve())

    for file in FILES.values():
        follow(file)
    assert sorted(set(BASES.values()) - used) == []


# That they run


class Experiments:
    """Runs option files in a folder that stands for the repository: each once, after those that it starts from."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.results: dict[str, Results] = {}

    def run(self, name: str) -> Results:
        """Two iterations of a small network on small crops, or the test of one image of each set."""
        if name not in self.results:
            for maker, path in starts_from(name).values():
                self.run(maker)
                if not (self.home / path).exists():  # a checkpoint of an earlier iteration than the last
                    shutil.copy(self.home / re.sub(r"\d+(?=\.pth)", "latest", path), self.home / path)
            flags = ["--force_yml", *(f"{key}={json.dumps(value)}" for key, value in self.reduced(name).items())]
            if trains(name):
                self.results[name] = launch(FILES[name], *flags, root=self.home)
            else:
                opt = completed(FILES[name], *flags, is_train=False, root=self.home)
                check_folders(opt["datasets"], opt.get("degradations"))
                Path(opt["path"]["results_root"]).mkdir(parents=True)
                self.results[name] = evaluate(opt, build_val_loaders(opt["datasets"]))
        return self.results[name]

    def reduced(self, name: str) -> dict[str, Any]:
        """What is forced."""
        force: dict[str, Any] = {"num_gpu": 0}
        for label in ("network_g", "network_dc"):
            if section := at(name, label):
                force |= {f"{label}:{key}": value for key, value in SMALL[section["type"]].items()}
        force |= {f"datasets:{key}:limit": 1 for key in values(name)["datasets"] if key != "train"}
        if trains(name):
            force |= {"train:total_iter": 2, "logger:use_tb_logger": False}
            force |= {"train:compile": False} if at(name, "train:compile") else {}  # it takes minutes
            reading = {"gt_size": 32, "batch_size_per_gpu": 1, "num_worker_per_gpu": 0}
            force |= {f"datasets:train:{key}": value for key, value in reading.items()}
        return force


@pytest.fixture(scope="module")
def experiments(crop_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Experiments]:
    """A folder with stand-ins of all data sets, and the photographs that tools/demo.py makes."""
    home = tmp_path_factory.mktemp("experiments")
    plans = [one for setting in SETTINGS for one in plan(crop_folder, setting, seed=0, test_share=0.34)]
    # Settings share data sets.
    once = {one.folder: one for one in plans}
    synthesise(list(once.values()), home / "datasets", 0, lambda *progress: None)
    for name in ("train", "val", "test", "test_tiles"):
        (home / "photographs").mkdir(exist_ok=True)
        (home / "photographs" / name).symlink_to(crop_folder)
    (home / "datasets" / "photographs").mkdir()
    (home / "datasets" / "photographs" / "val").symlink_to(crop_folder)
    make(SetOptions(degradation="clean", dataroot_gt=str(crop_folder)), home / "datasets/photographs/train.lmdb")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        yield Experiments(home)


@pytest.mark.parametrize("name", FILES)
def test_it_runs(name: str, experiments: Experiments) -> None:
    results = experiments.run(name)
    sets = [section["name"] for key, section in values(name)["datasets"].items() if key != "train"]
    assert set(sets) <= set(results)
    measured = [results[name] for name in sets]
    assert all(math.isfinite(value) for metrics in measured for value in metrics.values())
    assert all(set(at(name, "val:metrics") or {}) <= set(metrics) for metrics in measured)
    if trains(name):
        saved = {file.name for file in (experiments.home / run_folder(name) / "models").glob("*_latest.pth")}
        classifies = at(name, "network_dc") and at(name, "train:stages") != ["generation"]
        assert saved == {"net_g_latest.pth", *(["net_dc_latest.pth"] if classifies else [])}
        assert any("accuracy" in metrics for metrics in measured) == bool(classifies and sets)


def test_crops_grow_and_batches_shrink_as_in_restormers_recipe(experiments: Experiments) -> None:
    name = "scratch_restormer_gopro"
    force = {**experiments.reduced(name), "name": "growing"}
    for total, crop, batch in ((2, 32, 2), (4, 40, 1), (4, 40, 1)):
        sizes = {"train:total_iter": total, "datasets:train:gt_size": crop, "datasets:train:batch_size_per_gpu": batch}
        flags = [f"{key}={json.dumps(value)}" for key, value in {**force, **sizes}.items()]
        launch(FILES[name], "--auto_resume", "--force_yml", *flags, root=experiments.home)
    log = "".join(file.read_text() for file in sorted((experiments.home / "experiments" / "growing").glob("*.log")))
    told = re.findall(r"(Resuming from iteration|Done:) (\d+)|\[ *(\d+)/", log)
    first, second = [("", "", "2"), ("Done:", "2", "")], [("", "", "4"), ("Done:", "4", "")]
    # What is done is not trained again.
    resumed = [("Resuming from iteration", n, "") for n in "24"]
    assert told == [*first, resumed[0], *second, resumed[1]]
    assert log.count("Nothing to do: the checkpoint is of iteration 4 and train:total_iter is 4") == 1
    state = torch.load(experiments.home / "experiments/growing/training_states/4.state", weights_only=True)
    assert state["schedulers"]["schedulers"][0]["total_steps"] == 300_000


# What docs/EXPERIMENTS.md says

PAGE = (ROOT / "docs" / "EXPERIMENTS.md").read_text(encoding="utf-8")
SECTIONS = {text.partition("\n")[0]: text for text in PAGE.split("\n## ")[1:]}
COMMANDS = re.findall(r"^ {4,}((?:dcpt|torchrun) .*)$", PAGE, re.M)


def trained(section: str) -> list[str]:
    """The files that a section trains, in its order."""
    return expanded(" ".join(re.findall(r"^    train (.*)$", SECTIONS[section], re.M)))


def rows(section: str) -> list[dict[str, str]]:
    """The rows of a section's tables of runs; `published` is the table that was linked last before them."""
    found, header, published = [], [], ""
    for line in SECTIONS[section].splitlines():
        if link := re.search(r"published_tables/(\w+)\.yml", line):
            published = link[1]
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells and header[:1] == ["run"] and not set(line) <= set("|-"):
            found.append({**dict(zip(header, cells, strict=True)), "published": published})
        header = (header or cells) if cells else []
    return found


def named(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def option_files(command: str) -> list[str]:
    """Keys of FILES that a command names."""
    paths = re.findall(r"options/([\w/]+)\.yml", command)
    named = (path.rpartition("/") for path in paths)
    return [f"{room}_{name}" if room in ("package", "mini") else name for room, _, name in named]


RUNS = [(section, row) for section in SECTIONS for row in rows(section)]


def test_every_file_has_its_place_and_no_other_is_named() -> None:
    in_rows = {name for _, row in RUNS for key in ("run", "starts from") for name in named(row.get(key, ""))}
    in_commands = {name for line in COMMANDS for name in option_files(line)}
    # Those of the mini-5D study stand in docs/REPRODUCTION.md.
    assert in_rows == {name for name in FILES if trains(name) and not name.startswith("mini_")}
    assert in_rows >= {name for section in SECTIONS for name in trained(section)}
    assert in_commands >= {name for name in FILES if not trains(name)}
    assert in_commands <= set(FILES)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_trains_what_its_tables_have_in_an_order_that_works(section: str) -> None:
    names = trained(section)
    for number, name in enumerate(names):
        assert {maker for maker, _ in starts_from(name).values()} <= set(names[:number]), name
    assert not names or {name for row in rows(section) for name in named(row["run"])} <= set(names)


@pytest.mark.parametrize(("section", "row"), RUNS, ids=[f"{section}: {row['run']}" for section, row in RUNS])
def test_a_row_says_what_the_file_and_the_published_table_say(section: str, row: dict[str, str]) -> None:
    (name,) = named(row["run"])
    if "starts from" in row:
        assert named(row["starts from"]) == [maker for maker, _ in starts_from(name).values()]
    of_paper = re.findall(r"\d+\.\d+", row["paper"])
    assert bool(of_paper) == (row["row"] != "-")
    if of_paper:
        published = read_published(row["published"]).row(row["row"])
        column = name.removeprefix("transfer_restormer_").removesuffix("_guided")
        sets = [published[column]] if column in published else published.values()
        known = [value for metrics in sets for value in metrics.values()]
        for text in of_paper:
            assert any(f"{value:.{len(text.partition('.')[2])}f}" == text for value in known), text
    # A figure of ours is nothing without the file that has it.
    assert row["ours"] == "not run" or all(
        (ROOT / "docs" / link).exists() for link in re.findall(r"\]\((.*?)\)", row["ours"]) or ["no link"]
    )


@pytest.mark.parametrize("name", [name for name in FILES if not trains(name)])
def test_a_test_compares_its_weights_with_the_row_that_the_page_has_for_them(name: str) -> None:
    ((maker, _),) = starts_from(name).values()
    table = values(name)["table"]
    assert (maker, table) in [
        (named(row["run"])[0], {"published": row["published"], "row": row["row"]}) for _, row in RUNS
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_what_exists_and_fits(command: str) -> None:
    (name,) = re.findall(r"(?:dcpt|torchrun \S+ -m dcpt_tools) (\w+)", command)
    options = option_files(command)
    for word in expanded(command):
        if file := re.fullmatch(r"(?:\d+=)?(experiments/\w+)(?:/models/net_g_(latest|\d+)\.pth)?", word):
            maker = MAKERS[file[1]]
            for option in options:
                same = values(maker)["network_g"] == values(option)["network_g"]
                assert same or name in ("knn", "tsne")
            if (file[2] or "latest") != "latest":
                assert int(file[2]) % values(maker)["logger"]["save_checkpoint_freq"] == 0
                assert int(file[2]) <= values(maker)["train"]["total_iter"]


def test_its_links_lead_somewhere() -> None:
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in SECTIONS}
    for link in re.findall(r"\]\((.*?)\)", PAGE):
        assert link[1:] in anchors if link.startswith("#") else (ROOT / "docs" / link).exists(), link
