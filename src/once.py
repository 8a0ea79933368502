"""Texts of configs are parsed once, by whoever asks first."""

import os
import pickle
from functools import cache, lru_cache
from io import TextIOBase
from typing import Any

import omegaconf

LIMIT = "OMEGACONF_MAX_YAML_EXPANDED_NODES"  # of what a text may become


@cache
def read_texts_once() -> None:
    """A third of composing a config is to parse the same files, and what stands in `${}`.

    What comes of a text depends on nothing but the text; one that is wrong is told of each time.
    """
    real, known = omegaconf.OmegaConf.load, dict[str, bytes]()

    def load(file: Any, **limits: Any) -> Any:
        whole = isinstance(file, TextIOBase) and file.seekable() and file.tell() == 0
        if limits or LIMIT in os.environ or not whole:
            return real(file, **limits)
        text = file.read()
        if text not in known:
            file.seek(0)
            known[text] = pickle.dumps(real(file))
        return pickle.loads(known[text])

    omegaconf.OmegaConf.load = load  # type: ignore[method-assign,assignment]
    parse = lru_cache(maxsize=4096)(omegaconf.grammar_parser.parse)
    for module in (omegaconf._utils, omegaconf.base, omegaconf.grammar_parser):
        module.parse = parse  # type: ignore[attr-defined]
