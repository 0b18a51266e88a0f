"""A table of transcripts as lines for maya-eval: to_lines.py REFERENCES.tsv OUTPUT.csv OUT.jsonl."""

import csv
import json
import sys
from pathlib import Path


def main(references: Path, output: Path, out: Path) -> None:
    """Join both by id; an utterance that the system left out is left out here too, and maya-eval says so."""
    with output.open(encoding="utf-8", newline="") as file:
        written = {row["id"]: row["transcript"] for row in csv.DictReader(file)}
    with out.open("w", encoding="utf-8") as lines:
        for row in references.read_text(encoding="utf-8").splitlines():
            name, lang, text = row.split("\t")
            if name in written:
                line = {"utt_id": name, "lang": lang, "text": text, "pred_text": written[name]}
                lines.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
