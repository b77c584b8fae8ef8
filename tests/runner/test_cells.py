import nbformat

from dpsynth.runner import cells

BARS = (
    "query function:  41%|████      | 247/600 [00:05<00:07, 49.29it/s]\n",
    "DP-SGD: step 10/100, epsilon so far 5.1 of 10\n",
    "reading folder:photos: file 40/40\n",
)


def test_a_finished_page_has_no_progress_bars_and_every_other_word():
    stderr = nbformat.v4.new_output("stream", name="stderr", text="".join([BARS[0], "made by other code\n", *BARS[1:]]))
    alone = nbformat.v4.new_output("stream", name="stderr", text=BARS[0])
    printed = nbformat.v4.new_output("stream", name="stdout", text="right on 84.9% of them\n")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[stderr, alone, printed])])
    cells.drop_bars(book)
    assert [(output.name, output.text) for output in book.cells[0].outputs] == [
        ("stdout", "made by other code\n"),
        ("stdout", "right on 84.9% of them\n"),
    ]
