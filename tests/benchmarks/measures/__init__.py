"""One module a question; each has `measure(run) -> list[Row]` and keeps its raw figures."""
