// Made from ../../words.json: `grammar/test --write` writes it.
static const char *const ITEM_WORDS[] = {
    "agx", "import", "param", "let", "env", "dataset", "model",
    "prompt", "critic", "rule", "trainer", "experiment", "matrix",
};
