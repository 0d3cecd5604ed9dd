"""Tables of evaluated models beside published ones, and the published ones themselves."""

from __future__ import annotations

import csv
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

import pytest

from dcpt_models.errors import OptionError
from dcpt_models.evaluation.published import AVERAGE, field_averages, published_names, read_published
from dcpt_models.evaluation.table import CSV_COLUMNS, Method, Table, as_csv, latex_escaped

ALL_ROWS = [(name, row) for name in published_names() for row in read_published(name).rows]
DIGITS = {"psnr": "0.01", "ssim": "0.001", "accuracy": "0.01"}
RESULTS = {
    "SOTS": {"psnr": 31.004, "ssim": 0.98, "accuracy": 1.0},
    "mine": {"psnr": 20.0, "ssim": 0.5, "accuracy": 0.5},
    "average": {"psnr": 25.502, "ssim": 0.74, "accuracy": 0.75},
    "accuracy by class": {"haze": 1.0},
}


def cells(markdown: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()]


# --- published --------------------------------------------------------------------------------------------------------


def test_every_table_of_the_paper_is_there() -> None:
    sources = [read_published(name).source for name in published_names()]
    for number in [*range(2, 13), *range(15, 20)]:
        assert any(f"Table {number}" in s or f"Tables {number} " in s or f"and {number} " in s for s in sources), number
    assert any("Appendix A.3" in source for source in sources)


@pytest.mark.parametrize(("name", "row"), ALL_ROWS)
def test_rows_are_plausible_and_averages_are_their_means(name: str, row: str) -> None:
    """What the paper prints is repeated as it is; where its average is not the mean, the file says so."""
    table = read_published(name)
    values = table.rows[row]
    assert list(values) == list(table.columns)
    for metrics in values.values():
        assert all((5 < value < 60) if metric == "psnr" else (0 < value < 1) for metric, value in metrics.items())
    if not table.prints_average or len(table.columns) == 1:
        assert row not in table.means
        return
    for metric, printed in values[AVERAGE].items():
        each = [Decimal(str(values[column][metric])) for column in table.columns if column != AVERAGE]
        mean, last = sum(each) / len(each), Decimal(DIGITS[metric])
        stated = table.means.get(row, {}).get(metric)
        if abs(mean - Decimal(str(printed))) <= last / 2:
            assert stated is None, (row, metric)
        else:
            assert stated == float(mean.quantize(last, ROUND_HALF_UP)), (row, metric)


def test_what_two_tables_have_in_common_is_the_same_in_both() -> None:
    fives = read_published("5d").rows
    ours = {column: {"psnr": values["psnr"]} for column, values in fives["DCPT-PromptIR"].items() if column != AVERAGE}
    ablations = (("classifiers", "ResNet"), ("levels", "multi-level"), ("stages", "both"), ("dc_train", "DCPT"))
    for name, row in ablations:
        assert read_published(name).rows[row] == ours
    for row, values in read_published("denoising").rows.items():
        assert values["BSD68-25"]["psnr"] == fives[row.removesuffix("*")]["BSD68"]["psnr"]
    tens, averages = read_published("10d").rows, read_published("10d_average").rows
    for short, row in (("+DCPT", "DCPT-NAFNet"), ("+Instruct", "InstructIR"), ("+DACLIP", "DACLIP-NAFNet")):
        assert averages[short][AVERAGE] == tens[row][AVERAGE]
    for row in ("AirNet", "NAFNet", "PromptIR"):
        assert averages[row][AVERAGE] == tens[row][AVERAGE]
    length = read_published("pretraining_length").rows["DCPT-NAFNet"]
    assert length["0"]["psnr"] == fives["NAFNet"][AVERAGE]["psnr"]
    assert length["100000"]["psnr"] == fives["DCPT-NAFNet"][AVERAGE]["psnr"]
    field = read_published("field").rows
    assert field["DCPT-PromptIR"]["3d"] == read_published("3d").rows["DCPT-PromptIR"][AVERAGE]
    mixed = read_published("cdd11").row("DCPT-NAFNet")[AVERAGE]
    assert {metric: round(value, len(DIGITS[metric]) - 2) for metric, value in mixed.items()} == field["DCPT-NAFNet"][
        "cdd11"
    ]


def test_values_that_differ_between_two_tables_of_the_paper_are_noted() -> None:
    short, full = read_published("cdd11_triple"), read_published("cdd11")
    names = {"+DACLIP": "DACLIP-NAFNet", "+Instruct": "InstructIR", "+DCPT": "DCPT-NAFNet"}
    differing = {
        row
        for row, values in short.rows.items()
        for column, metrics in values.items()
        if row != "DiffUIR-L" and full.rows[names.get(row, row)][column] != metrics
    }
    assert differing == {"AirNet", "WeatherDiff"}
    assert all(row in note for row in differing for table in (short, full) for note in table.notes)


def test_an_unknown_table_or_row_is_named_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean '5d'"):
        read_published("5D")
    with pytest.raises(OptionError, match="did you mean 'DCPT-PromptIR'"):
        read_published("5d").row("DCPT-PromtIR")


def test_a_missing_average_is_the_mean_of_all_values_or_none() -> None:
    row = read_published("deblurring").row("Restormer+DegAE")
    assert row[AVERAGE] == {"psnr": pytest.approx(32.23)}  # the paper gives no SSIM for it
    assert AVERAGE not in read_published("underwater").row("AirNet")
    assert field_averages("5d")["MaskDCPT-NAFNet"] == ({"psnr": 32.09}, "MaskDCPT (arXiv 2510.13282, 2025)")
    assert "DCPT-PromptIR" not in field_averages("5d")  # the table has it already
    assert field_averages("underwater") == {}


# --- the table --------------------------------------------------------------------------------------------------------


def test_ours_and_the_papers_stand_side_by_side_with_the_difference() -> None:
    table = Table([Method("mine", RESULTS, "DCPT-PromptIR")], read_published("5d"))
    assert table.metrics() == ["psnr", "ssim", "accuracy"]
    psnr, ssim, accuracy = map(cells, table.markdown().split("\n\n"))
    assert psnr[0] == ["PSNR (dB)", "Dehazing (SOTS)", "mine", "Average"]
    assert psnr[2] == ["mine (DCPT-PromptIR)", "31.00 (30.72)", "20.00", "25.50 (30.31)"]
    assert psnr[3] == ["difference", "+0.28", "-", "-4.81"]
    assert ["AirNet", "21.04", "-", "25.49"] in psnr
    assert ["MaskDCPT-NAFNet", "-", "-", "32.09"] in psnr
    assert ssim[2:4] == [
        ["mine (DCPT-PromptIR)", "0.980 (0.977)", "0.500", "0.740 (0.911)"],
        ["difference", "+0.003", "-", "-0.171"],
    ]
    assert not any(row[0].startswith("MaskDCPT") for row in ssim)  # which has no SSIM to show
    assert accuracy[2:] == [["mine", "100.0%", "50.0%", "75.0%"]]
    assert len({len(line) for line in table.markdown().split("\n\n")[0].splitlines()}) == 1


def test_the_legend_says_where_everything_is_from() -> None:
    legend = "\n".join(Table([Method("mine", RESULTS, "DCPT-PromptIR")], read_published("5d")).legend())
    assert "In parentheses: DCPT-PromptIR. Published rows: DCPT (ICLR 2025), Table 2." in legend
    assert "MaskDCPT-SwinIR: MaskDCPT (arXiv 2510.13282, 2025)" in legend
    mixed = {name: {"psnr": 30.0} for name in (*read_published("cdd11").columns, "average")}
    legend = "\n".join(Table([Method("mine", mixed, "NAFNet")], read_published("cdd11")).legend())
    assert "The paper prints no average; the mean of its values stands in." in legend
    assert "AirNet has 22.24 here and 22.23 in Table 7" in legend


def test_several_models_are_rows_of_one_table_each_beside_its_own() -> None:
    methods = [Method("a", RESULTS, "NAFNet"), Method("b", RESULTS, "PromptIR"), Method("c", RESULTS)]
    rows = cells(Table(methods, read_published("5d")).markdown().split("\n\n")[0])
    assert [row[0] for row in rows[2:8]] == ["a (NAFNet)", "difference", "b (PromptIR)", "difference", "c", "AirNet"]
    assert [row[1] for row in rows[2:7]] == ["31.00 (25.23)", "+5.77", "31.00 (25.20)", "+5.80", "31.00"]


def test_without_a_published_table_the_input_is_shown() -> None:
    results = {"low_light": {"psnr": 30.0, "ssim": 0.9, "input_psnr": 20.0, "input_ssim": 0.5}}
    table = Table([Method("Restored", results)])
    psnr, ssim = map(cells, table.markdown().split("\n\n"))
    assert psnr[0::2] == [["PSNR (dB)", "low_light"], ["Input", "20.00"]]
    assert psnr[3:] == [["Restored", "30.00"]]
    assert ssim[3:] == [["Restored", "0.900"]]
    assert table.legend() == []


def test_a_title_repeats_no_name_that_is_in_it() -> None:
    table = Table([Method("x", {})], read_published("10d"))
    assert table.title("low_light") == "Low-light"
    assert table.title("haze") == "Dehaze"
    assert table.title("snow2") == "snow2"
    assert Table([Method("x", {})], read_published("5d")).title("LOL") == "Low-Light (LOL)"


def test_a_metric_that_only_one_side_has_is_not_compared() -> None:
    rows = cells(
        Table([Method("m", {"BSD68-15": {"psnr": 33.0, "lpips": 0.123456}}, "AirNet")], denoising()).markdown()
    )
    assert ["m (AirNet)", "33.00 (33.49)"] in rows
    assert ["lpips", "BSD68-15"] in rows
    assert rows[-1] == ["m", "0.1235"]


def denoising():
    return read_published("denoising")


def test_latex_is_a_booktabs_table_in_which_nothing_is_special_by_accident() -> None:
    results = {name: {"accuracy": 0.5} for name in ("low_light", "a&b")}
    text = Table([Method("50%_net#1", results)]).latex()
    assert text.splitlines() == [
        r"\begin{tabular}{lcc}",
        r"\toprule",
        r"Accuracy & low\_light & a\&b \\",
        r"\midrule",
        r"50\%\_net\#1 & 50.0\% & 50.0\% \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert latex_escaped("a\\b~{x}^$") == r"a\textbackslash{}b\textasciitilde{}\{x\}\textasciicircum{}\$"
    beside = Table([Method("m", RESULTS, "NAFNet")], read_published("5d")).latex()
    rules = [line for line in beside.split("\n\n")[0].splitlines() if line.endswith("rule")]
    assert rules == [r"\toprule", r"\midrule", r"\midrule", r"\bottomrule"]
    assert beside.split("\n\n")[0].index("difference") < beside.rindex(r"\midrule")


def test_csv_has_the_values_and_not_what_is_printed_of_them() -> None:
    table = Table([Method("mine", RESULTS, "DCPT-PromptIR")], read_published("5d"))
    header, *lines = csv.reader(as_csv([table, replace(table, published=None)]).splitlines())
    assert tuple(header) == CSV_COLUMNS
    assert {len(line) for line in lines} == {len(CSV_COLUMNS)}
    first = dict(zip(header, lines[0], strict=True))
    assert first == {
        **{"method": "mine", "from": "evaluation", "set": "SOTS", "metric": "psnr", "value": "31.004"},
        **{"published_row": "DCPT-PromptIR", "published_value": "30.72", "difference": str(31.004 - 30.72)},
    }
    assert ["AirNet", "DCPT (ICLR 2025), Table 2", "SOTS", "psnr", "21.04", "", "", ""] in lines
    assert lines[-1][:4] == ["mine", "evaluation", "average", "accuracy"]


# --- charts -----------------------------------------------------------------------------------------------------------


def test_a_chart_shows_ours_then_what_it_is_compared_with_then_the_best() -> None:
    from dcpt_models.evaluation.charts import MOST_LINES, chosen_lines

    published = read_published("5d")
    table = Table([Method("mine", published.row("NAFNet"), "SwinIR"), Method("half", RESULTS)], published)
    lines, ours = chosen_lines(table, "psnr")
    assert ours == ["mine"]  # the other one was not measured on every set
    assert list(lines)[:2] == ["mine", "SwinIR"]
    averages = [sum(line.values()) for line in list(lines.values())[2:]]
    assert all(high >= low for high, low in pairwise(averages))
    assert len(lines) == MOST_LINES
    assert "average" not in lines["mine"]
