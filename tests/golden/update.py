"""Write the golden files anew: ``python -m tests.golden.update``. Then read what ``git diff`` shows."""

from __future__ import annotations

from tests.corpus_oracle import FILES, repaired
from tests.golden.requests import golden_file, golden_text, requests_of


def main() -> None:
    """Write one file per definition."""
    for file in FILES:
        corpus = repaired(file)
        golden_file(corpus).write_text(golden_text(requests_of(corpus)))


if __name__ == "__main__":
    main()
