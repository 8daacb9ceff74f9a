from restore.io.tables import Table, comma_separated, latex, markdown, markdown_rows, records_csv


def test_formats_by_hand() -> None:
    table = Table("A_b", ["run", "psnr_y"], [["_x_", "1 & 2"]])
    assert markdown(table) == "A_b\n\n| run | psnr_y |\n|---|---|\n| \\_x\\_ | 1 \\& 2 |\n"
    assert comma_separated(table) == "run,psnr_y\n_x_,1 & 2\n"
    assert latex(table).splitlines()[3:7] == [r"\toprule", r"run & psnr\_y \\", r"\midrule", r"\_x\_ & 1 \& 2 \\"]


def test_cells_that_are_markdown_stay_as_they_are() -> None:
    assert markdown_rows([["a", "b"], ["`x`", 1], ["**y**", ""]]) == "| a | b |\n|---|---|\n| `x` | 1 |\n| **y** |  |"


def test_no_cell_of_markdown_ends_early_or_begins_a_tag() -> None:
    cells = ["a|b", "<img src=x>", "a\nb", r"a\|b", r"a\\|b", r"\<x>", "**1.5**", "`code`"]
    safe = [r"a\|b", r"\<img src=x>", "a b", r"a\|b", r"a\\\|b", r"\<x>", "**1.5**", "`code`"]
    assert markdown_rows([["h"], *([cell] for cell in cells)]).splitlines()[2:] == [f"| {cell} |" for cell in safe]


def test_records_have_a_line_each_and_lack_nothing_but_what_they_lack() -> None:
    records: list[dict[str, object]] = [{"a": 1, "b": "x,y", "c": 0}, {"b": "z"}]
    assert records_csv(records, ["a", "b"]) == 'a,b\n1,"x,y"\n,z\n'


def test_no_cell_is_a_formula_or_markup() -> None:
    cells = ["=1+1", "+a", "-a.png", "@a", "-1.5", "+2", "-inf", "a=b", ""]
    inert = ["'=1+1", "'+a", "'-a.png", "'@a", "-1.5", "+2", "-inf", "a=b", ""]
    assert comma_separated(Table("", cells, [cells])) == f"{','.join(inert)}\n" * 2
    records: list[dict[str, object]] = [{"a": cell} for cell in (*cells[:-1], -2.5)]
    assert records_csv(records, ["a"]).splitlines() == ["a", *inert[:-1], "-2.5"]
    written = markdown(Table("", ["a|b"], [["<script>"], ["[x](javascript:y)"]]))
    assert written == "| a\\|b |\n|---|\n| \\<script\\> |\n| \\[x\\](javascript:y) |\n"
